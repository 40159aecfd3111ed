//! The state as JSON, in pieces.

use std::io::{self, Write};

use orch_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{ANSWERS_AHEAD, Admin, Answers, internal, refused};

/// How many bytes go into one message.
const MESSAGE_BYTES: usize = 256 << 10;

impl Admin {
    pub(super) async fn export(&self) -> Result<Answers<v1::ExportStateResponse>, Status> {
        let state = self.handle.query(|engine, _| engine.state().export()).await.map_err(refused)?;
        let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut pieces = Pieces { piece: Vec::with_capacity(MESSAGE_BYTES), sender };
            let written = serde_json::to_writer(&mut pieces, &state).map_err(io::Error::from);
            if let Err(error) = written.and_then(|()| pieces.flush())
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                let _ = pieces.sender.blocking_send(Err(internal(&error)));
            }
        });
        Ok(ReceiverStream::new(answers))
    }
}

/// Sends what is written, a message at a time. `BrokenPipe`: the caller has gone.
struct Pieces {
    piece: Vec<u8>,
    sender: mpsc::Sender<Result<v1::ExportStateResponse, Status>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MESSAGE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == MESSAGE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let json = std::mem::replace(&mut self.piece, Vec::with_capacity(MESSAGE_BYTES));
        let sent = self.sender.blocking_send(Ok(v1::ExportStateResponse { json: json.into() }));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
