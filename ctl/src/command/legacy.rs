//! `orchctl import-legacy`: older results through every gate, once per file.
//!
//! The file's SHA-256 names the import, and its lines are cut into batches in a way that depends on nothing but the
//! file, so that an interrupted import goes on with the batch that comes next.

use std::io::{BufRead, Read as _};
use std::path::Path;

use orch_core::digest::Digest;
use orch_proto::v1;
use orch_proto::v1::import_legacy_request::Part;
use orch_proto::v1::import_legacy_response::Answer;
use orch_proto::v1::verdict;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::Bytes;
use tonic::{Status, Streaming};

use super::input::{self, ReadLine};
use crate::args::ImportLegacyArgs;
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress::{Bar, Unit};
use crate::view::{LegacyView, RejectedLine};

/// How lines are cut into batches. Part of what makes an interrupted import go on: a change here would cut a
/// half-imported file in other places.
const BATCH_LINES: usize = 250;
const BATCH_BYTES: usize = 512 * 1024;

/// A line beyond this is sent cut: every contract's size limit is below it, so that it is rejected all the same.
const MAX_SENT_BYTES: usize = 128 * 1024;

/// Batches that may be under way unanswered.
const WINDOW: usize = 8;

/// The most rejections that the result lists, and that are printed.
const LISTED: usize = 100;
const PRINTED: usize = 20;

/// Imports the file and prints the verdicts.
pub async fn run(context: &Context, args: ImportLegacyArgs) -> Result<Exit, Failure> {
    let ImportLegacyArgs { file, contract, payload, name } = args;
    if file == Path::new("-") {
        return Err(
            Failure::usage("older results cannot come from standard input").fix("name a file: it is read twice")
        );
    }
    let payload = input::payload(&payload)?;
    let name = name.unwrap_or_else(|| file.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let client = context.connect().await?;
    let bar = context.bars.start("import-legacy", input::length(&file), Unit::Bytes);
    let file_sha256 = hash(&file)?;
    let start = v1::LegacyStart {
        file_sha256: Bytes::copy_from_slice(&file_sha256.0),
        name,
        contract: contract.to_string(),
        payload_json: payload.as_str().to_owned(),
    };
    let view = LegacyView {
        import: 0,
        file: input::name(&file),
        file_sha256,
        contract: contract.to_string(),
        finished_before: false,
        accepted: 0,
        duplicate: 0,
        rejected: 0,
        rejections: Vec::new(),
    };
    let view = Import::new(&client, view, &bar).run(&file, start).await?;
    drop(bar);
    for RejectedLine { line, rule, message } in view.rejections.iter().take(PRINTED) {
        context.complain(&format!("rejected: {} line {line}: {rule}: {message}", view.file));
    }
    if view.rejections.len() > PRINTED {
        context.complain("rejected: and more; -o json lists the first 100");
    }
    context.print(&view)?;
    Ok(if view.rejected == 0 { Exit::Done } else { Exit::Error })
}

/// SHA-256 of the whole file.
fn hash(file: &Path) -> Result<Digest, Failure> {
    let mut input = input::open(file)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let read = input.read(&mut block);
        match read.map_err(|error| Failure::error(format!("cannot read {}", input::name(file))).because(error))? {
            0 => return Ok(Digest(hasher.finalize().into())),
            n => hasher.update(&block[..n]),
        }
    }
}

/// A batch of lines.
#[derive(Debug, Default)]
struct Lines {
    candidates: Vec<Bytes>,
    /// The line of each candidate.
    numbers: Vec<u64>,
    bytes: usize,
}

/// The next batch of the file; empty at its end.
fn next_batch(input: &mut dyn BufRead, line: &mut u64) -> std::io::Result<Lines> {
    let (mut text, mut batch) = (Vec::new(), Lines::default());
    while batch.candidates.len() < BATCH_LINES && batch.bytes < BATCH_BYTES {
        match input::read_line(input, &mut text)? {
            ReadLine::End => break,
            ReadLine::Whole(bytes) | ReadLine::Cut(bytes) => batch.bytes += bytes,
        }
        *line += 1;
        let candidate = text.trim_ascii();
        if !candidate.is_empty() {
            batch.candidates.push(Bytes::copy_from_slice(&candidate[..candidate.len().min(MAX_SENT_BYTES)]));
            batch.numbers.push(*line);
        }
    }
    Ok(batch)
}

/// One import under way.
struct Import<'a> {
    client: &'a Client,
    view: LegacyView,
    bar: &'a Bar,
    /// The lines of each unanswered batch, with its number.
    unanswered: std::collections::VecDeque<(u64, Vec<u64>)>,
}

impl<'a> Import<'a> {
    fn new(client: &'a Client, view: LegacyView, bar: &'a Bar) -> Self {
        Self { client, view, bar, unanswered: std::collections::VecDeque::new() }
    }

    async fn run(mut self, file: &Path, start: v1::LegacyStart) -> Result<LegacyView, Failure> {
        let (up, requests) = mpsc::channel(WINDOW + 2);
        send(&up, Part::Start(start)).await?;
        let call = self.client.admin().import_legacy(ReceiverStream::new(requests)).await;
        let mut answers = call.map_err(|status| self.broken(&status))?.into_inner();
        let done = match self.next(&mut answers).await? {
            Answer::Started(v1::LegacyStarted { import, finished_before, batches_done }) => {
                self.view.import = import;
                self.view.finished_before = finished_before;
                if finished_before {
                    return Ok(self.view);
                }
                batches_done
            }
            Answer::Verdicts(_) | Answer::Finished(_) => return Err(out_of_turn()),
        };
        let batches = self.send_batches(file, &up, &mut answers, done).await?;
        send(&up, Part::Finish(v1::LegacyFinish { batches })).await?;
        loop {
            match self.next(&mut answers).await? {
                Answer::Verdicts(verdicts) => self.judged(verdicts)?,
                Answer::Finished(v1::LegacyFinished { import: _, accepted, duplicate, rejected, receipt: _ }) => {
                    // The server's counts are of the whole file, whatever was interrupted in between.
                    (self.view.accepted, self.view.duplicate, self.view.rejected) = (accepted, duplicate, rejected);
                    return Ok(self.view);
                }
                Answer::Started(_) => return Err(out_of_turn()),
            }
        }
    }

    /// Sends every batch behind the first `done`, and says how many there are.
    async fn send_batches(
        &mut self,
        file: &Path,
        up: &mpsc::Sender<v1::ImportLegacyRequest>,
        answers: &mut Streaming<v1::ImportLegacyResponse>,
        done: u64,
    ) -> Result<u64, Failure> {
        let mut input = input::open(file)?;
        let (mut line, mut number) = (0, 0);
        loop {
            let batch = next_batch(&mut *input, &mut line);
            let batch =
                batch.map_err(|error| Failure::error(format!("cannot read {}", input::name(file))).because(error))?;
            self.bar.add(batch.bytes as u64);
            if batch.bytes == 0 {
                return Ok(number);
            }
            if batch.candidates.is_empty() {
                // Nothing but blank lines: no batch of the import.
                continue;
            }
            number += 1;
            if number <= done {
                continue;
            }
            while self.unanswered.len() >= WINDOW {
                match self.next(answers).await? {
                    Answer::Verdicts(verdicts) => self.judged(verdicts)?,
                    Answer::Started(_) | Answer::Finished(_) => return Err(out_of_turn()),
                }
            }
            self.unanswered.push_back((number, batch.numbers));
            send(up, Part::Batch(v1::Batch { number, candidates: batch.candidates })).await?;
        }
    }

    fn judged(&mut self, answer: v1::BatchVerdicts) -> Result<(), Failure> {
        let v1::BatchVerdicts { number, verdicts, receipt: _ } = answer;
        let lines = match self.unanswered.pop_front() {
            Some((expected, lines)) if expected == number && lines.len() == verdicts.len() => lines,
            Some(_) | None => return Err(out_of_turn()),
        };
        for (line, v1::Verdict { verdict }) in lines.into_iter().zip(verdicts) {
            match verdict {
                Some(verdict::Verdict::Accepted(_)) => self.view.accepted += 1,
                Some(verdict::Verdict::Duplicate(_)) => self.view.duplicate += 1,
                Some(verdict::Verdict::Rejected(v1::Rejection { rule, message })) => {
                    self.view.rejected += 1;
                    if self.view.rejections.len() < LISTED {
                        self.view.rejections.push(RejectedLine { line, rule, message });
                    }
                }
                None => return Err(out_of_turn()),
            }
        }
        let LegacyView { accepted, duplicate, rejected, .. } = &self.view;
        self.bar.say(format!("{accepted} accepted, {duplicate} duplicate, {rejected} rejected"));
        Ok(())
    }

    async fn next(&self, answers: &mut Streaming<v1::ImportLegacyResponse>) -> Result<Answer, Failure> {
        let answer = answers.message().await.map_err(|status| self.broken(&status))?;
        match answer {
            Some(v1::ImportLegacyResponse { answer: Some(answer) }) => Ok(answer),
            Some(v1::ImportLegacyResponse { answer: None }) => Err(out_of_turn()),
            None => Err(self.broken(&Status::unavailable("the server ended the import early"))),
        }
    }

    fn broken(&self, status: &Status) -> Failure {
        let failure = self.client.refused("cannot import older results", status);
        failure.resumable("what was judged is recorded; run the same command again to go on")
    }
}

async fn send(up: &mpsc::Sender<v1::ImportLegacyRequest>, part: Part) -> Result<(), Failure> {
    let sent = up.send(v1::ImportLegacyRequest { part: Some(part) }).await;
    sent.map_err(|_| {
        Failure::new(Exit::Unreachable, "the connection broke off")
            .fix("what was judged is recorded; run the same command again to go on")
    })
}

fn out_of_turn() -> Failure {
    Failure::error("the server's answer does not belong to what was sent")
        .fix("compare versions with `orchctl doctor`; what was judged is recorded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_into_the_same_batches_every_time() {
        let mut text = String::new();
        for n in 0..600 {
            text.push_str(&format!("{{\"n\":{n}}}\n\n"));
        }
        text.push_str(&"x".repeat(MAX_SENT_BYTES + 10));
        let cut = || {
            let (mut input, mut line) = (text.as_bytes(), 0);
            let mut found = Vec::new();
            loop {
                let batch = next_batch(&mut input, &mut line).unwrap();
                if batch.bytes == 0 {
                    return found;
                }
                found.push((batch.candidates.len(), batch.numbers[0], batch.candidates.iter().map(Bytes::len).max()));
            }
        };
        let found = cut();
        assert_eq!(
            found.iter().map(|(len, first, _)| (*len, *first)).collect::<Vec<_>>(),
            [(250, 1), (250, 501), (101, 1001)]
        );
        assert_eq!(found[2].2, Some(MAX_SENT_BYTES));
        assert_eq!(found, cut());
    }
}
