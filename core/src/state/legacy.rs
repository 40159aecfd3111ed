//! Older results: a file's lines go through every gate, once per file.

use super::job::Delivery;
use super::results::Judged;
use super::{BatchAnswer, Decision, Refusal, State};
use crate::digest::Digest;
use crate::id::{ContractRef, ImportId};
use crate::job::Payload;
use crate::record::{Event, Origin};

/// A legacy import.
#[derive(Clone, Debug)]
pub struct Import {
    /// SHA-256 of the file.
    pub file: Digest,
    /// The file's name.
    pub name: String,
    /// The contract that judges its lines.
    pub contract: ContractRef,
    /// What came in.
    pub delivery: Delivery,
    /// Whether every line was judged.
    pub finished: bool,
}

/// How an import starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyStart {
    /// The import.
    pub import: ImportId,
    /// Whether the file was imported whole before, so that nothing is left to do.
    pub finished: bool,
    /// How many batches of an interrupted import were judged.
    pub batches: u64,
}

impl State {
    /// Decides to start the import of a file, or to take it up where it was interrupted.
    ///
    /// # Errors
    /// [`Refusal`] if the contract is not registered, or cannot judge with this payload.
    pub fn start_import(
        &self,
        file: Digest,
        name: &str,
        contract: &ContractRef,
        payload: &Payload,
    ) -> Result<Decision<LegacyStart>, Refusal> {
        if let Some(id) = self.imports_by_file.get(&file)
            && let Some(import) = self.imports.get(id)
        {
            let batches = import.delivery.batches.len() as u64;
            return Ok(Decision::nothing(LegacyStart { import: *id, finished: import.finished, batches }));
        }
        let registered = self.contracts.get(contract).ok_or_else(|| Refusal::UnknownContract(contract.clone()))?;
        let compiled = registered.contract.as_ref().ok_or_else(|| Refusal::BrokenContract(contract.clone()))?;
        compiled.bind(payload)?;
        let event = Event::LegacyImportStarted {
            file,
            name: name.chars().take(256).collect(),
            contract: contract.clone(),
            payload: payload.clone(),
        };
        let import = ImportId(self.next_seq());
        Ok(Decision { events: vec![event], answer: LegacyStart { import, finished: false, batches: 0 } })
    }

    /// Decides the verdicts on batch `number` of an import; a repeated one gets the same. None if there is no such
    /// import, a batch is missing before it, or it holds other lines than it did.
    pub fn judge_import(&self, id: ImportId, number: u64, lines: &[Judged]) -> Option<Decision<BatchAnswer>> {
        let import = self.imports.get(&id)?;
        let expected = import.delivery.batches.len() as u64 + 1;
        let same_contract = lines.iter().flatten().all(|screened| *screened.contract() == import.contract);
        if number == 0 || number > expected || !same_contract {
            return None;
        }
        if number < expected {
            let range = import.delivery.batches[(number - 1) as usize];
            return self.repeat(number, range, lines).map(Decision::nothing);
        }
        Some(self.judge_new(Origin::Legacy { import: id }, number, lines))
    }

    /// Decides that an import is whole. False if there is no such import, or batches are missing.
    pub fn finish_import(&self, id: ImportId, batches: u64) -> Decision<bool> {
        match self.imports.get(&id) {
            Some(import) if import.finished => Decision::nothing(true),
            Some(import) if import.delivery.batches.len() as u64 == batches => {
                Decision { events: vec![Event::LegacyImportFinished { import: id }], answer: true }
            }
            Some(_) | None => Decision::nothing(false),
        }
    }
}
