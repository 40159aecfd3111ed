//! The one checker: what clients were told against what the ledger says, and the ledger against itself.
//!
//! A client notes every answer that it got as an [`Acknowledged`], before it acts on it; [`AcknowledgedLog`] keeps them
//! in a JSONL file outside the system under test. Afterwards [`check_dir`] reads the ledger of a data directory (or
//! [`check_in`] of any disk) with the real verifier and the real reader, and says in words what does not hold:
//!
//! ```text
//! let mut log = AcknowledgedLog::create(&path)?;
//! log.note(&Acknowledged::Submitted { job, key: None, payload: None })?;
//! ...
//! let told = AcknowledgedLog::read(&path)?;
//! let violations = orch_sim::checker::check_dir(data_dir, &told);
//! assert!(violations.is_empty(), "{}", orch_sim::checker::describe(&violations));
//! ```
//!
//! What is checked is listed in [`Rule`]. The folds in `facts`, `rooms` (resources), `retries` and `schedules` (with its own
//! `calendar`) are written anew, from the meaning of the records only, and share no code with `State`: a mistake there does
//! not hide itself here.
//! [`Checker`] takes records one by one, for those who have them already.

mod acknowledged;
mod calendar;
mod facts;
mod identity;
mod machine;
mod read;
mod retries;
mod rooms;
mod schedules;
mod told;

use std::fmt;

use orch_core::record::Record;
use orch_core::state::State;
use orch_ledger::Position;
use serde_json::Value;

pub use acknowledged::{Acknowledged, AcknowledgedLog, End, Told};
pub use machine::{Has, Machine};
pub use read::{Checked, check_dir, check_in};

use facts::Facts;
use retries::Retries;
use rooms::Rooms;
use schedules::Schedules;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Everything that was acknowledged is in the ledger, as it was told.
    AcknowledgedIsKept,
    /// No identity is accepted twice, and every accepted candidate passes its contract.
    AcceptedOnce,
    /// A job has at most one live lease.
    OneLease,
    /// Lease ids and attempts grow.
    LeasesGrow,
    /// A result counts only from a lease that is current.
    CurrentLease,
    /// A result counts only from the worker that the lease was granted to, and under the lease it was sent for.
    Grantee,
    /// The seq and the chain link of a receipt are the ledger's.
    Receipt,
    /// A duplicate names an accepted record that was there before.
    Duplicate,
    /// A lease that a worker was told it lost has ended, by a record.
    ExpiryIsRecorded,
    /// A job is done only with as much as its contract asks for.
    Complete,
    /// Replaying the ledger gives the live state.
    ReplayIsLive,
    /// Lines, batches and chain verify, and the ledger can be opened.
    Chain,
    /// What was wanted came to be: every open job is leased again, the run ends.
    Liveness,
    /// No lease ends before its time, none lives on without a worker.
    LeaseTime,
    /// Nothing is answered after a write or a sync failed in an unknown way.
    Fatal,
    /// The engine does not panic.
    Panic,
    /// A key stands for one job at a time.
    OneJobPerKey,
    /// No job is given up before it has waited as long as it may.
    QueueTime,
    /// A gang is granted to as many different workers as it needs, all at once.
    Gang,
    /// No worker holds more at once than it has, or a job that is not for it.
    Room,
    /// What follows from a failure is what the rules say: final ones are not tried again, and nothing is while retries are
    /// paused.
    Retry,
    /// No schedule fires twice for one time, none early, and missed times by their policy.
    Schedule,
}

impl Rule {
    /// The rule in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcknowledgedIsKept => "acknowledged is kept",
            Self::AcceptedOnce => "accepted once",
            Self::OneLease => "one live lease per job",
            Self::LeasesGrow => "leases grow",
            Self::CurrentLease => "only the current lease counts",
            Self::Grantee => "only the grantee counts",
            Self::Receipt => "receipts are the ledger's",
            Self::Duplicate => "a duplicate names an earlier record",
            Self::ExpiryIsRecorded => "every expiry is a record",
            Self::Complete => "done means complete",
            Self::ReplayIsLive => "replay equals live",
            Self::Chain => "the ledger verifies and opens",
            Self::Liveness => "alive again",
            Self::LeaseTime => "no early expiry, no immortal lease",
            Self::Fatal => "no answer after a failed sync",
            Self::Panic => "the engine does not panic",
            Self::OneJobPerKey => "one job per key",
            Self::QueueTime => "no job is given up early",
            Self::Gang => "all members or none",
            Self::Room => "no more than there is room for",
            Self::Retry => "retries follow their rules",
            Self::Schedule => "each time of a schedule once",
        }
    }
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What should hold.
    pub rule: Rule,
    /// What is the case instead.
    pub message: String,
}

impl Violation {
    /// A violation of `rule`, described by `message`.
    pub fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self { rule, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.name(), self.message)
    }
}

/// Violations as lines of text.
pub fn describe(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("{violation}\n")).collect()
}

/// Takes the records of a ledger in order, then judges.
#[derive(Default)]
pub struct Checker {
    facts: Facts,
    rooms: Rooms,
    retries: Retries,
    schedules: Schedules,
    state: State,
    /// The state refused a record, so that it means nothing from there on.
    state_failed: bool,
}

impl Checker {
    /// A checker before the first record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record.
    pub fn take(&mut self, record: &Record, position: &Position) {
        self.facts.take(record, position);
        self.rooms.take(record);
        self.retries.take(record, position.batch);
        self.schedules.take(record, &self.facts);
        if !self.state_failed
            && let Err(error) = self.state.apply(record)
        {
            self.state_failed = true;
            self.facts.violated(Rule::ReplayIsLive, format!("the state cannot be replayed: {error}"));
        }
    }

    /// The state that the records taken so far fold to.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What does not hold, given what clients were told, and the live state's export if there is one.
    pub fn finish(self, told: &[Acknowledged], live: Option<&Value>) -> Vec<Violation> {
        let Self { mut facts, mut rooms, retries, schedules, state, state_failed } = self;
        told::compare(&mut facts, &mut rooms, told);
        if let (Some(live), false) = (live, state_failed) {
            let replayed = state.export();
            if replayed != *live {
                facts.violated(Rule::ReplayIsLive, difference(&replayed, live));
            }
        }
        let folds = [rooms.into_violations(), retries.into_violations(), schedules.into_violations()];
        facts.into_violations().into_iter().chain(folds.into_iter().flatten()).collect()
    }
}

/// The first difference between two exports, with its place.
fn difference(replayed: &Value, live: &Value) -> String {
    fn walk(path: &str, replayed: &Value, live: &Value) -> Option<String> {
        match (replayed, live) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                let (none_a, none_b) = (Value::Null, Value::Null);
                keys.into_iter().find_map(|key| {
                    let (a, b) = (a.get(key).unwrap_or(&none_a), b.get(key).unwrap_or(&none_b));
                    walk(&format!("{path}.{key}"), a, b)
                })
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                let mut pairs = a.iter().zip(b).enumerate();
                pairs.find_map(|(i, (a, b))| walk(&format!("{path}[{i}]"), a, b))
            }
            (a, b) if a == b => None,
            (a, b) => Some(format!("{path}: replayed {a}, live {b}")),
        }
    }
    walk("state", replayed, live).unwrap_or_else(|| "the exports differ".to_owned())
}
