//! Older results: the lines of a file, through every gate, once per file.

use orch_core::contract::{Rejection, Rule, Screen};
use orch_core::id::ImportId;
use orch_core::job::Payload;
use orch_core::record::{Event, Record};
use orch_core::state::BatchAnswer;
use orch_proto::convert::{self, LegacyFile, LegacyPart};
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::import_legacy_response::Answer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{ANSWERS_AHEAD, Answers, internal, invalid, refused};
use crate::access::Caller;
use crate::engine::commands::access::As;
use crate::engine::commands::legacy::{FinishImport, JudgeImport, StartImport};
use crate::engine::{Begun, Handle};
use crate::grpc::worker::{MAX_BATCH_BYTES, MAX_BATCH_CANDIDATES};

/// Batches of one stream that await their sync.
const MAX_AHEAD: usize = 64;

/// What was handed to the engine and awaits its answer.
enum Awaited {
    Started(v1::LegacyStarted),
    Judged { number: u64, begun: Begun<Option<BatchAnswer>> },
    Finished { import: ImportId, batches: u64, begun: Begun<bool> },
}

/// Serves one stream.
pub(super) fn serve(
    handle: Handle,
    caller: Caller,
    messages: Streaming<v1::ImportLegacyRequest>,
) -> Answers<v1::ImportLegacyResponse> {
    let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
    let (ahead, awaited) = mpsc::channel(MAX_AHEAD);
    let reader = Reader { handle: handle.clone(), caller, import: None };
    let writer = tokio::spawn(write(handle, awaited, sender.clone()));
    tokio::spawn(async move {
        if let Err(status) = reader.run(messages, ahead).await {
            // The answers to what came before the fault go first.
            let _ = writer.await;
            let _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(answers)
}

struct Reader {
    handle: Handle,
    caller: Caller,
    import: Option<(ImportId, Result<Screen, Rejection>)>,
}

impl Reader {
    async fn run(
        mut self,
        mut messages: Streaming<v1::ImportLegacyRequest>,
        ahead: mpsc::Sender<Awaited>,
    ) -> Result<(), Status> {
        while let Some(message) = messages.message().await? {
            let awaited = match (LegacyPart::try_from(message)?, &self.import) {
                (LegacyPart::Start(file), None) => Awaited::Started(self.start(file).await?),
                (LegacyPart::Start(_), Some(_)) => return Err(invalid("a stream imports one file", "part")),
                (LegacyPart::Batch { .. } | LegacyPart::Finish { .. }, None) => {
                    return Err(invalid("start must come first", "part"));
                }
                (LegacyPart::Batch { number, lines }, Some((import, screen))) => {
                    let bytes: usize = lines.iter().map(|line| line.len()).sum();
                    if lines.len() > MAX_BATCH_CANDIDATES as usize || bytes > MAX_BATCH_BYTES as usize {
                        return Err(too_large(number, lines.len(), bytes));
                    }
                    let judge = |line: &[u8]| match screen {
                        Ok(screen) => screen.judge(line),
                        Err(rejection) => Err(rejection.clone()),
                    };
                    let lines = lines.iter().map(|line| judge(line)).collect();
                    let begun = self.handle.begin(JudgeImport { import: *import, number, lines }).await;
                    Awaited::Judged { number, begun: begun.map_err(refused)? }
                }
                (LegacyPart::Finish { batches }, Some((import, _))) => {
                    let actor = self.caller.actor(format!("import {import}"));
                    let command = FinishImport { import: *import, batches };
                    let begun = self.handle.begin(As { actor, command }).await;
                    Awaited::Finished { import: *import, batches, begun: begun.map_err(refused)? }
                }
            };
            if ahead.send(awaited).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn start(&mut self, file: LegacyFile) -> Result<v1::LegacyStarted, Status> {
        let LegacyFile { sha256, name, contract, payload } = file;
        let actor = self.caller.actor(format!("file {name}, contract {contract}"));
        let command = StartImport { file: sha256, name, contract, payload };
        let answer = self.handle.call(As { actor, command }).await.map_err(refused)?.answer;
        let (start, contract) = answer.map_err(|refusal| WireError::from(&refusal))?;
        // A file that was begun with another payload goes on with that one.
        let payload = self.recorded_payload(start.import).await?;
        let unjudged = |message: String| Rejection { rule: Rule::NoContract, message };
        let screen = match contract {
            Some(contract) => contract.bind(&payload).map_err(|error| unjudged(error.to_string())),
            None => Err(unjudged("the contract cannot be compiled by this version".to_owned())),
        };
        self.import = Some((start.import, screen));
        Ok(v1::LegacyStarted {
            import: start.import.get(),
            finished_before: start.finished,
            batches_done: start.batches,
        })
    }

    async fn recorded_payload(&self, import: ImportId) -> Result<Payload, Status> {
        let read = self.handle.query(move |engine, _| engine.ledger().read(import.0)).await.map_err(refused)?;
        match read.map_err(|error| internal(&error))? {
            Record { event: Event::LegacyImportStarted { payload, .. }, .. } => Ok(payload),
            Record { seq, .. } => {
                Err(WireError::new(Reason::Internal, format!("record {seq} does not start an import")).into())
            }
        }
    }
}

fn too_large(number: u64, lines: usize, bytes: usize) -> Status {
    let message = format!(
        "batch {number} has {lines} lines of {bytes} bytes in all, at most {MAX_BATCH_CANDIDATES} of {MAX_BATCH_BYTES} \
         bytes are allowed"
    );
    WireError::new(Reason::BatchTooLarge, message).at("batch").into()
}

/// Sends the engine's answers in the order of the messages.
async fn write(
    handle: Handle,
    mut awaited: mpsc::Receiver<Awaited>,
    sender: mpsc::Sender<Result<v1::ImportLegacyResponse, Status>>,
) {
    while let Some(awaited) = awaited.recv().await {
        let answer = match awaited {
            Awaited::Started(started) => Ok(Answer::Started(started)),
            Awaited::Judged { number, begun } => judged(number, begun).await,
            Awaited::Finished { import, batches, begun } => finished(&handle, import, batches, begun).await,
        };
        let ended = answer.is_err();
        let response = answer.map(|answer| v1::ImportLegacyResponse { answer: Some(answer) });
        if sender.send(response).await.is_err() || ended {
            return;
        }
    }
}

async fn judged(number: u64, begun: Begun<Option<BatchAnswer>>) -> Result<Answer, Status> {
    let replied = begun.answer().await.map_err(refused)?;
    match replied.answer {
        Some(answer) => Ok(Answer::Verdicts(convert::verdicts(answer, replied.receipt))),
        None => {
            let message =
                format!("batch {number} does not follow the batches before it, or was judged with other lines");
            Err(WireError::new(Reason::BatchGap, message).at("batch.number").into())
        }
    }
}

async fn finished(handle: &Handle, import: ImportId, batches: u64, begun: Begun<bool>) -> Result<Answer, Status> {
    let replied = begun.answer().await.map_err(refused)?;
    let counted = handle.query(move |engine, _| {
        let delivery = &engine.state().imports().get(&import)?.delivery;
        Some((delivery.batches.len(), delivery.accepted, delivery.duplicate, delivery.rejected))
    });
    let counted = counted.await.map_err(refused)?;
    let (judged, accepted, duplicate, rejected) = counted.unwrap_or_default();
    if !replied.answer {
        let message = format!("{batches} batches are said to be the whole file, {judged} were judged");
        return Err(WireError::new(Reason::BatchGap, message).at("finish.batches").into());
    }
    let receipt = Some(replied.receipt.into());
    Ok(Answer::Finished(v1::LegacyFinished { import: import.get(), accepted, duplicate, rejected, receipt }))
}
