//! Follows the lines of a ledger, checks each, and takes what belongs into the data set.

use std::collections::HashMap;
use std::path::PathBuf;

use orch_core::contract::{Contract, ContractSpec};
use orch_core::id::{ContractRef, LeaseId, Seq};
use orch_core::record::{BatchJudged, CandidateAccepted, Event, NEWEST_FORMAT, knows_format};
use orch_ledger::Fault;
use orch_ledger::chain::{ChainChecker, ChainFault, Link};
use orch_ledger::line::{self, Line, LineFault};
use serde_json::Value;

use crate::error::CompactError;
use crate::key;
use crate::leases::Leases;
use crate::options::Options;
use crate::sort::Sorter;
use crate::sorted::Sorted;
use crate::summary::{ContractCount, Summary};

/// Takes a ledger's lines from the first on, in order, and gives the data set out of them.
#[derive(Debug)]
pub struct Compactor {
    options: Options,
    tmp: PathBuf,
    checker: ChainChecker,
    /// The seq that the next line must have.
    next: Seq,
    contracts: Contracts,
    leases: Leases,
    sorter: Sorter,
    summary: Summary,
    /// The key of the candidate at hand.
    key: Vec<u8>,
}

/// The contracts met so far.
#[derive(Debug, Default)]
struct Contracts {
    by_reference: HashMap<ContractRef, Known>,
}

#[derive(Debug)]
struct Known {
    contract: Contract,
    taken: u64,
}

impl Compactor {
    /// A compactor that waits for the first line. What does not fit into memory goes to `options.tmp`, or to the
    /// system's directory for such files.
    pub fn new(options: Options) -> Self {
        let tmp = options.tmp.clone().unwrap_or_else(std::env::temp_dir);
        let sorter = Sorter::new(options.memory, &tmp);
        Self {
            options,
            tmp,
            checker: ChainChecker::new(),
            next: Seq(1),
            contracts: Contracts::default(),
            leases: Leases::default(),
            sorter,
            summary: Summary::default(),
            key: Vec::new(),
        }
    }

    /// The end of the last whole batch that it took.
    pub fn link(&self) -> Link {
        self.checker.link()
    }

    /// Whether it has all it needs: the batch that `until` lies in was read. It takes no notice of further lines.
    pub fn has_enough(&self) -> bool {
        self.options.until.is_some_and(|until| self.checker.link().seq >= until)
    }

    /// Takes the next line, given without its newline.
    ///
    /// # Errors
    /// [`CompactError::Damaged`] if it is not the line that must follow, and whatever of its record does not fit.
    pub fn push_line(&mut self, raw: &[u8]) -> Result<(), CompactError> {
        if self.has_enough() {
            return Ok(());
        }
        let line = line::decode(raw).map_err(|fault| unreadable(self.next, fault))?;
        self.push(&line)
    }

    /// The same for a line that was read already.
    ///
    /// # Errors
    /// As [`Compactor::push_line`].
    pub fn push(&mut self, line: &Line<'_>) -> Result<(), CompactError> {
        if self.has_enough() {
            return Ok(());
        }
        let before = self.checker.link();
        self.checker.check_line(line).map_err(|fault| damaged(self.next, Fault::Line(fault)))?;
        self.next = line.seq.next();
        // The rest of the batch is read for the sake of its chain link only.
        if self.options.until.is_some_and(|until| line.seq > until) {
            return Ok(());
        }
        self.summary.seq = line.seq;
        self.summary.records += 1;
        if line.seq == Seq(1) && line.event_name() != "segment_opened" {
            return Err(header(line.seq, "segment_opened", line.event_name()));
        }
        if !self.is_relevant(line.event_name()) {
            return Ok(());
        }
        let event = line.event().map_err(|fault| unreadable(line.seq, fault))?;
        self.take(line.seq, before, event)
    }

    /// Ends the taking and sorts.
    ///
    /// # Errors
    /// [`CompactError::Cut`] if the lines end within a batch, [`CompactError::Until`] if they end before `until`,
    /// [`CompactError::NoSuchContract`], [`CompactError::Sort`].
    pub fn finish(mut self) -> Result<Sorted, CompactError> {
        let link = self.checker.link();
        if let Some(missing) = self.checker.lines_missing() {
            return Err(CompactError::Cut { batch: link.batch + 1, missing });
        }
        if let Some(until) = self.options.until.filter(|until| *until > link.seq) {
            return Err(CompactError::Until { until, last: link.seq });
        }
        self.summary.batch = link.batch;
        self.summary.chain = link.chain;
        self.summary.contracts = self.contracts.counts(self.options.contract.as_ref())?;
        let total = self.sorter.lines();
        let (lines, spilled_runs) = self.sorter.finish()?;
        self.summary.spilled_runs = spilled_runs;
        Ok(Sorted::new(lines, self.summary, total, self.tmp))
    }

    /// Whether a record of this name has to be read. Most need not be, which is most of the speed.
    fn is_relevant(&self, name: &str) -> bool {
        match name {
            "candidate_accepted" | "batch_judged" | "contract_registered" | "segment_opened" => true,
            "lease_granted" | "lease_released" | "lease_expired" | "job_completed" | "attempt_failed"
            | "job_cancelled" => self.options.provenance,
            _ => false,
        }
    }

    fn take(&mut self, seq: Seq, before: Link, event: Event) -> Result<(), CompactError> {
        match event {
            Event::SegmentOpened { ledger, format, previous } => {
                if !knows_format(format) {
                    return Err(header(
                        seq,
                        &format!("a format of 1 to {NEWEST_FORMAT}, which this version reads,"),
                        &format!("format {format}"),
                    ));
                }
                if previous != before.chain {
                    return Err(header(seq, &format!("previous chain link {}", before.chain), &previous.to_string()));
                }
                match &self.summary.ledger {
                    Some(known) if *known != ledger => {
                        Err(header(seq, &format!("ledger {known}"), &format!("ledger {ledger}")))
                    }
                    Some(_) => Ok(()),
                    None => {
                        self.summary.ledger = Some(ledger);
                        Ok(())
                    }
                }
            }
            Event::ContractRegistered(spec) => self.contracts.register(seq, *spec),
            Event::LeaseGranted {
                job,
                attempt,
                worker,
                contract: _,
                expected: _,
                variant: _,
                session: _,
                members: _,
            } => {
                self.leases.grant(job, LeaseId(seq), attempt, worker);
                Ok(())
            }
            Event::LeaseReleased { job, .. }
            | Event::LeaseExpired { job, .. }
            | Event::JobCompleted { job, .. }
            | Event::AttemptFailed { job, .. }
            | Event::JobCancelled { job, .. } => {
                self.leases.end(job);
                Ok(())
            }
            Event::BatchJudged(judged) => {
                let BatchJudged { origin: _, number: _, accepted: _, duplicates, rejected, rejections: _ } = *judged;
                self.summary.duplicates += duplicates.len() as u64;
                self.summary.rejected += u64::from(rejected);
                Ok(())
            }
            Event::CandidateAccepted(accepted) => self.take_candidate(seq, &accepted),
            Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueueDefined(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::JobSubmitted(_)
            | Event::TaskMade { .. }
            | Event::ArrayEnded { .. }
            | Event::JobReadied { .. }
            | Event::JobRetried { .. }
            | Event::LegacyImportStarted { .. }
            | Event::LegacyImportFinished { .. }
            | Event::LimitSet(_)
            | Event::LimitUnset { .. }
            | Event::TokenCreated(_)
            | Event::TokenRevoked { .. }
            | Event::Audited(_)
            | Event::WorkerSetAside { .. }
            | Event::WorkerResumed { .. }
            | Event::RetriesPaused { .. }
            | Event::RetriesResumed {}
            | Event::ScheduleSet(_)
            | Event::SchedulePaused { .. }
            | Event::ScheduleResumed { .. }
            | Event::ScheduleRemoved { .. }
            | Event::ScheduleFired { .. }
            | Event::LedgerRepaired { .. } => Ok(()),
        }
    }

    fn take_candidate(&mut self, seq: Seq, accepted: &CandidateAccepted) -> Result<(), CompactError> {
        self.summary.accepted += 1;
        let reference = &accepted.contract;
        let known = self.contracts.by_reference.get_mut(reference);
        let known = known.ok_or_else(|| CompactError::Unregistered { seq, contract: reference.clone() })?;
        if self.options.contract.as_ref().is_some_and(|wanted| wanted != reference) {
            return Ok(());
        }
        let text = accepted.candidate.get();
        let value: Value = serde_json::from_str(text)
            .map_err(|error| unreadable(seq, LineFault::Event { message: error.to_string() }))?;
        key::encode(reference, &known.contract.sort_key(&value), seq, &mut self.key);
        if self.options.provenance {
            let line = self.leases.annotate(seq, accepted, value)?;
            self.sorter.push(&self.key, line.as_bytes())?;
        } else {
            self.sorter.push(&self.key, text.as_bytes())?;
        }
        known.taken += 1;
        Ok(())
    }
}

impl Contracts {
    fn register(&mut self, seq: Seq, spec: ContractSpec) -> Result<(), CompactError> {
        let unusable = |error| CompactError::Contract { seq, source: Box::new(error) };
        let contract = Contract::compile(spec).map_err(unusable)?;
        // A version never changes, so that the first record of it is as good as any.
        self.by_reference.entry(contract.reference().clone()).or_insert(Known { contract, taken: 0 });
        Ok(())
    }

    /// What was taken, in the order of the output.
    fn counts(&self, wanted: Option<&ContractRef>) -> Result<Vec<ContractCount>, CompactError> {
        let mut counts: Vec<ContractCount> = self
            .by_reference
            .iter()
            .map(|(contract, known)| ContractCount { contract: contract.clone(), written: known.taken })
            .collect();
        counts.sort_by(|a, b| a.contract.cmp(&b.contract));
        let Some(wanted) = wanted else { return Ok(counts) };
        if !self.by_reference.contains_key(wanted) {
            let known = counts.into_iter().map(|count| count.contract).collect();
            return Err(CompactError::NoSuchContract { contract: wanted.clone(), known });
        }
        counts.retain(|count| count.contract == *wanted);
        Ok(counts)
    }
}

fn damaged(seq: Seq, fault: Fault) -> CompactError {
    CompactError::Damaged { seq, fault, dir: None }
}

fn unreadable(seq: Seq, fault: LineFault) -> CompactError {
    damaged(seq, Fault::Line(ChainFault::Line(fault)))
}

fn header(seq: Seq, expected: &str, found: &str) -> CompactError {
    damaged(seq, Fault::Header { expected: expected.to_owned(), found: found.to_owned() })
}
