//! The state as JSON, in pieces.
//!
//! There may be millions of open jobs, and the engine has other things to do: it is asked for some of them at a time.
//! So a job is shown as it stands when its turn comes, and one that has ended by then is left out; everything else is
//! as it was at the record that `seq` names.

use orch_core::id::JobId;
use orch_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{ANSWERS_AHEAD, Admin, Answers, internal, refused};
use crate::access::Caller;
use crate::engine::Handle;

/// About so many bytes go into one message.
const MESSAGE_BYTES: usize = 256 << 10;

/// How many jobs the engine is asked for at once: some milliseconds of its time.
const JOBS_AT_ONCE: usize = 1000;

type Sender = mpsc::Sender<Result<v1::ExportStateResponse, Status>>;

impl Admin {
    pub(super) async fn export(&self, caller: &Caller) -> Result<Answers<v1::ExportStateResponse>, Status> {
        caller.check_all_queues("", "")?;
        let look = self.handle.query(|engine, _| (engine.state().export_frame(), engine.state().held_jobs()));
        let (frame, jobs) = look.await.map_err(refused)?;
        let frame = serde_json::to_string(&frame).map_err(|error| internal(&error))?;
        let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
        let handle = self.handle.clone();
        tokio::spawn(async move {
            if let Err(status) = send(&handle, &frame, &jobs, &sender).await {
                // The caller may have gone.
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(ReceiverStream::new(answers))
    }
}

/// Sends `{"open_jobs":[...],` and the rest of the frame behind it.
async fn send(handle: &Handle, frame: &str, jobs: &[JobId], sender: &Sender) -> Result<(), Status> {
    let mut piece = b"{\"open_jobs\":[".to_vec();
    let mut first = true;
    for some in jobs.chunks(JOBS_AT_ONCE) {
        let some = some.to_vec();
        let look = handle.query(move |engine, _| {
            some.into_iter().filter_map(|job| engine.state().export_job(job)).collect::<Vec<_>>()
        });
        for job in look.await.map_err(refused)? {
            if !std::mem::take(&mut first) {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, &job).map_err(|error| internal(&error))?;
            if piece.len() >= MESSAGE_BYTES && !flush(&mut piece, sender).await {
                return Ok(());
            }
        }
    }
    piece.extend_from_slice(b"],");
    // The frame is an object with keys, so that its brace can go.
    piece.extend_from_slice(frame.trim_start_matches('{').as_bytes());
    flush(&mut piece, sender).await;
    Ok(())
}

/// False if the caller has gone.
async fn flush(piece: &mut Vec<u8>, sender: &Sender) -> bool {
    let json = std::mem::take(piece);
    sender.send(Ok(v1::ExportStateResponse { json: json.into() })).await.is_ok()
}
