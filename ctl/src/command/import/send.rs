//! Chunks go up, answers come down; what is unanswered when the connection breaks is sent again.
//!
//! Every job carries an idempotency key, so that a chunk that was durable before its answer was lost is answered
//! with "known before".

use std::collections::VecDeque;

use orch_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::read::Chunk;
use crate::connect::{Client, Patience};
use crate::exit::Failure;
use crate::progress::Bar;
use crate::view::{ImportView, LineError};

const WHAT: &str = "cannot import";

/// What became of the lines so far.
#[derive(Debug)]
pub struct Tally {
    lines: u64,
    submitted: u64,
    existed: u64,
    refused: u64,
    errors: Vec<LineError>,
    max_errors: usize,
    seq: Option<u64>,
}

impl Tally {
    /// Nothing yet; it lists so many errors and counts the others.
    pub fn new(max_errors: usize) -> Self {
        Self { lines: 0, submitted: 0, existed: 0, refused: 0, errors: Vec::new(), max_errors, seq: None }
    }

    /// As a result.
    pub fn view(self, file: String, seconds: f64) -> ImportView {
        let Self { lines, submitted, existed, refused, mut errors, max_errors, seq } = self;
        errors.sort_by_key(|error| error.line);
        errors.truncate(max_errors);
        ImportView { file, lines, submitted, existed, refused, errors, seconds, seq }
    }

    fn refuse(&mut self, error: LineError) {
        self.refused += 1;
        if self.errors.len() < self.max_errors {
            self.errors.push(error);
        }
    }

    fn answered(&mut self, chunk: &Chunk, answer: v1::ImportJobsResponse) {
        let v1::ImportJobsResponse { chunk: _, submitted, existed, faults, receipt, first_job: _ } = answer;
        self.lines += chunk.jobs.len() as u64;
        self.submitted += submitted;
        self.existed += existed;
        self.seq = receipt.map(|receipt| receipt.seq).max(self.seq);
        for v1::ImportFault { index, reason, message } in faults {
            let line = chunk.lines.get(index as usize).copied().unwrap_or(0);
            self.refuse(LineError { line, reason, message });
        }
    }
}

/// Chunks that went up and are not answered yet, oldest first, with their numbers.
struct Unanswered {
    chunks: VecDeque<(u64, Chunk)>,
    next: u64,
    max: usize,
}

/// What there is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// A chunk, at the end of the unanswered ones.
    Chunk,
    /// Nothing this time: every line of the chunk was bad.
    Nothing,
    /// Nothing any more.
    End,
}

/// How one connection ended.
enum Ended {
    /// Everything is answered.
    Done,
    /// It broke, and the server may come back.
    Broken(Status),
}

/// Sends every chunk and counts what became of it, with at most `max` unanswered.
///
/// # Errors
/// The server's refusal, or its absence for too long.
pub async fn run(
    client: &Client,
    mut chunks: mpsc::Receiver<Chunk>,
    max: usize,
    tally: &mut Tally,
    bar: &Bar,
) -> Result<(), Failure> {
    let mut unanswered = Unanswered { chunks: VecDeque::new(), next: 1, max };
    let mut patience = Patience::new();
    loop {
        match connection(client, &mut chunks, &mut unanswered, tally, bar, &mut patience).await {
            Ended::Done => return Ok(()),
            Ended::Broken(status) if patience.wait(&status).await => {
                bar.say("the orchestrator is away, trying again");
            }
            Ended::Broken(status) => return Err(client.refused(WHAT, &status)),
        }
    }
}

async fn connection(
    client: &Client,
    chunks: &mut mpsc::Receiver<Chunk>,
    unanswered: &mut Unanswered,
    tally: &mut Tally,
    bar: &Bar,
    patience: &mut Patience,
) -> Ended {
    // The call is opened with something to send: a server may answer only when it has heard something.
    while unanswered.chunks.is_empty() {
        if unanswered.take(chunks.recv().await, tally) == Taken::End {
            return Ended::Done;
        }
    }
    // Room for the whole window: sending never waits for the connection.
    let (up, requests) = mpsc::channel(unanswered.max + 1);
    for (number, chunk) in &unanswered.chunks {
        let _ = up.try_send(request(*number, chunk));
    }
    let mut answers = match client.admin().import_jobs(ReceiverStream::new(requests)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return Ended::Broken(status),
    };
    let mut more = true;
    loop {
        if !more && unanswered.chunks.is_empty() {
            return Ended::Done;
        }
        tokio::select! {
            chunk = chunks.recv(), if more && unanswered.chunks.len() < unanswered.max => {
                let taken = unanswered.take(chunk, tally);
                more = taken != Taken::End;
                if let (Taken::Chunk, Some((number, chunk))) = (taken, unanswered.chunks.back()) {
                    // A closed channel is a broken connection: the other branch hears of it.
                    let _ = up.try_send(request(*number, chunk));
                }
            }
            answer = answers.message() => match answer {
                Ok(Some(answer)) => match unanswered.settle(answer.chunk) {
                    Some(chunk) => {
                        patience.answered();
                        bar.add(chunk.bytes);
                        tally.answered(&chunk, answer);
                        bar.say(format!("{} submitted, {} known, {} refused", tally.submitted, tally.existed, tally.refused));
                    }
                    None => return Ended::Broken(Status::internal("the server answered a chunk that was not sent")),
                },
                Ok(None) => return Ended::Broken(Status::unavailable("the server ended the import early")),
                Err(status) => return Ended::Broken(status),
            },
        }
    }
}

fn request(number: u64, chunk: &Chunk) -> v1::ImportJobsRequest {
    v1::ImportJobsRequest { chunk: number, jobs: chunk.jobs.clone() }
}

impl Unanswered {
    /// Takes the next chunk in, its bad lines counted.
    fn take(&mut self, chunk: Option<Chunk>, tally: &mut Tally) -> Taken {
        let Some(mut chunk) = chunk else { return Taken::End };
        for error in std::mem::take(&mut chunk.bad) {
            tally.lines += 1;
            tally.refuse(error);
        }
        if chunk.jobs.is_empty() {
            return Taken::Nothing;
        }
        let number = self.next;
        self.next += 1;
        self.chunks.push_back((number, chunk));
        Taken::Chunk
    }

    /// The chunk with this number, which is answered now.
    fn settle(&mut self, number: u64) -> Option<Chunk> {
        let place = self.chunks.iter().position(|(n, _)| *n == number)?;
        self.chunks.remove(place).map(|(_, chunk)| chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_and_faults_find_their_line() {
        let mut tally = Tally::new(1);
        let chunk = Chunk { jobs: vec![v1::JobSpec::default(); 3], lines: vec![4, 6, 7], ..Chunk::default() };
        let fault =
            |index| v1::ImportFault { index, reason: "NOT_FOUND".into(), message: "queue x does not exist".into() };
        let answer = v1::ImportJobsResponse {
            chunk: 1,
            submitted: 1,
            existed: 0,
            faults: vec![fault(1), fault(2)],
            receipt: Some(v1::Receipt { seq: 99, ..v1::Receipt::default() }),
            first_job: 7,
        };
        tally.answered(&chunk, answer);
        let view = tally.view("f".into(), 1.0);
        assert_eq!((view.lines, view.submitted, view.refused, view.seq), (3, 1, 2, Some(99)));
        assert_eq!(view.errors.iter().map(|error| error.line).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn a_chunk_is_settled_once_and_in_any_order() {
        let mut unanswered = Unanswered { chunks: VecDeque::new(), next: 1, max: 8 };
        let mut tally = Tally::new(10);
        let chunk = |bytes| Some(Chunk { jobs: vec![v1::JobSpec::default()], bytes, ..Chunk::default() });
        assert_eq!(unanswered.take(chunk(5), &mut tally), Taken::Chunk);
        assert_eq!(unanswered.take(chunk(6), &mut tally), Taken::Chunk);
        assert_eq!(unanswered.take(Some(Chunk::default()), &mut tally), Taken::Nothing);
        assert_eq!(unanswered.take(None, &mut tally), Taken::End);
        assert_eq!(unanswered.settle(2).map(|chunk| chunk.bytes), Some(6));
        assert!(unanswered.settle(2).is_none());
    }
}
