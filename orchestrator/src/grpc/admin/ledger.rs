//! Lines of the ledger, byte for byte, from its files.

use orch_core::id::{JobId, Seq};
use orch_core::summary::job_of;
use orch_ledger::reader::{FollowError, Follower};
use orch_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Admin, Answers, internal, refused};
use crate::access::Caller;

/// About so many bytes of lines go into one message. With the longest line behind it, a message stays below the
/// 4 MiB that clients take by default.
const MESSAGE_BYTES: usize = 256 << 10;

/// At most so many bytes are looked through for one message, when only a job's records are wanted.
const LOOK_BYTES: usize = 8 << 20;

/// Messages that wait for the caller.
const MESSAGES_AHEAD: usize = 4;

impl Admin {
    pub(super) async fn ledger_lines(
        &self,
        caller: &Caller,
        request: v1::ReadLedgerRequest,
    ) -> Result<Answers<v1::ReadLedgerResponse>, Status> {
        let v1::ReadLedgerRequest { from_seq, until_seq, follow, job } = request;
        let job = (job != 0).then(|| JobId::new(job));
        match job {
            Some(job) if caller.queues().is_held() => drop(self.entry(caller, job).await?),
            Some(_) => {}
            None => caller.check_all_queues("job", ": name a job")?,
        }
        let head = self.handle.query(|engine, _| engine.state().last_seq()).await.map_err(refused)?;
        // No record before its submit speaks of a job.
        let from = Seq(from_seq.max(job.map_or(1, JobId::get)));
        let end = match (until_seq, follow) {
            (0, true) => None,
            (0, false) => Some(head),
            (until, true) => Some(Seq(until)),
            (until, false) => Some(Seq(until).min(head)),
        };
        let (sender, answers) = mpsc::channel(MESSAGES_AHEAD);
        let lines = Lines { admin: self.clone(), head, end, job, sender };
        tokio::spawn(lines.send(Follower::new(&self.about.data, from)));
        Ok(ReceiverStream::new(answers))
    }
}

/// A stream of lines on its way.
struct Lines {
    admin: Admin,
    head: Seq,
    /// The last record that is wanted; None: whatever comes.
    end: Option<Seq>,
    job: Option<JobId>,
    sender: mpsc::Sender<Result<v1::ReadLedgerResponse, Status>>,
}

impl Lines {
    async fn send(mut self, mut reader: Follower) {
        let mut durable = self.admin.handle.durable();
        loop {
            self.head = self.head.max(*durable.borrow_and_update());
            let until = self.end.map_or(self.head, |end| end.min(self.head));
            if reader.next_seq() <= until {
                let job = self.job;
                let read = tokio::task::spawn_blocking(move || read(reader, until, job)).await;
                let (back, lines) = match read {
                    Ok(Ok(read)) => read,
                    Ok(Err(error)) => return self.fail(&error).await,
                    Err(error) => return self.fail(&error).await,
                };
                reader = back;
                if let Some((lines, last)) = lines {
                    let response =
                        v1::ReadLedgerResponse { lines: lines.into(), last_seq: last.0, durable_seq: self.head.0 };
                    if self.sender.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
            } else if self.end.is_some_and(|end| reader.next_seq() > end) {
                return;
            } else {
                tokio::select! {
                    changed = durable.changed() => if changed.is_err() { return },
                    () = self.sender.closed() => return,
                    () = self.admin.stopping.cancelled() => return,
                }
            }
        }
    }

    async fn fail(&self, error: &(dyn std::error::Error + Sync)) {
        // The caller may have gone.
        let _ = self.sender.send(Err(internal(error))).await;
    }
}

/// The reader where it got to, and some whole lines with the seq of the last.
type Got = (Follower, Option<(Vec<u8>, Seq)>);

/// Reads lines until a message is full, too much was looked through, or `until` is reached.
fn read(mut reader: Follower, until: Seq, job: Option<JobId>) -> Result<Got, FollowError> {
    let mut lines = Vec::new();
    let (mut last, mut looked) = (None, 0);
    while lines.len() < MESSAGE_BYTES
        && looked < LOOK_BYTES
        && let Some(line) = reader.next_line(until)?
    {
        looked += line.raw().len();
        let wanted = job.is_none_or(|job| line.record().is_ok_and(|record| job_of(&record) == Some(job)));
        if wanted {
            lines.extend_from_slice(line.raw());
            lines.push(b'\n');
            last = Some(line.seq);
        }
    }
    Ok((reader, last.map(|last| (lines, last))))
}
