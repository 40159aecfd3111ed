//! Older results, once per file.

use std::sync::Arc;

use orch_core::contract::Contract;
use orch_core::digest::Digest;
use orch_core::id::{ContractRef, ImportId};
use orch_core::job::Payload;
use orch_core::state::{BatchAnswer, Judged, LegacyStart, Refusal};
use orch_core::time::Now;

use crate::engine::{Command, Engine, Step};

/// Starts the import of a file, or takes it up where it was interrupted.
pub struct StartImport {
    /// SHA-256 of the file.
    pub file: Digest,
    /// Its name.
    pub name: String,
    /// The contract that judges its lines.
    pub contract: ContractRef,
    /// What stands in for a job's payload.
    pub payload: Payload,
}

impl Command for StartImport {
    type Answer = Result<(LegacyStart, Option<Arc<Contract>>), Refusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        let decided = engine.state.start_import(self.file, &self.name, &self.contract, &self.payload);
        Step::Answer(decided.map(|decision| {
            let start = engine.record(decision, now);
            // A file that was begun under another contract goes on under that one.
            let contract = engine.state.imports().get(&start.import).map(|import| &import.contract);
            let registered = contract.and_then(|reference| engine.state.contracts().get(reference));
            (start, registered.and_then(|registered| registered.contract.clone()))
        }))
    }
}

/// Delivers a batch of lines.
pub struct JudgeImport {
    /// The import.
    pub import: ImportId,
    /// The batch's number.
    pub number: u64,
    /// The lines, screened.
    pub lines: Vec<Judged>,
}

impl Command for JudgeImport {
    /// None: no such import, a gap, or other lines than this number had before.
    type Answer = Option<BatchAnswer>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        match engine.state.judge_import(self.import, self.number, &self.lines) {
            Some(decision) => {
                let answer = engine.record(decision, now);
                let last = answer.last;
                Step::AnswerFor(Some(answer), last)
            }
            None => Step::Answer(None),
        }
    }
}

/// Says that every line was delivered.
pub struct FinishImport {
    /// The import.
    pub import: ImportId,
    /// How many batches it had.
    pub batches: u64,
}

impl Command for FinishImport {
    /// False: no such import, or batches are missing.
    type Answer = bool;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<bool> {
        let decision = engine.state.finish_import(self.import, self.batches);
        Step::Answer(engine.record(decision, now))
    }
}
