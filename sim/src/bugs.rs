//! The harness proves itself: with each seeded bug on, some check must fail.
//!
//! A hunt runs, with the bug on, what the tests run without it: seeds of the simulation with the kinds of faults that
//! the bug can show under, results that are sent again and again, and a ledger whose end is cut off. It says by which
//! check the bug was caught. Without a bug the same runs must be quiet: [`quiet`].

use std::fmt;

use orch_core::seeded::{self, Bug};

use crate::checker::{Rule, Violation};
use crate::scenario::{cut, resend};
use crate::world::{self, FaultKind, Options};

/// How a bug was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// By which run.
    pub run: String,
    /// What did not hold in it first.
    pub violation: Violation,
    /// Every rule that did not hold in it.
    pub rules: Vec<Rule>,
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.run, self.violation)
    }
}

/// A run of a hunt.
#[derive(Clone, Debug)]
enum Hunt {
    Seeds(Vec<FaultKind>),
    Resend,
    Cut,
}

/// Where a bug shows.
fn hunts(bug: Bug) -> Vec<Hunt> {
    use FaultKind::{Clock, Kill, Network, Power, Sync, Workers};
    let seeds = |kinds: &[FaultKind]| Hunt::Seeds(kinds.to_vec());
    match bug {
        Bug::FsyncRemoved | Bug::DirectorySyncRemoved => vec![seeds(&[Power])],
        Bug::AckBeforeSync => vec![seeds(&[Kill]), Hunt::Resend],
        Bug::HeadNotChecked => vec![Hunt::Cut],
        Bug::TornLineKept | Bug::ReplayRejudges => vec![seeds(&[Kill])],
        Bug::IndexMissTrusted | Bug::ExpiryByClockAtSubmit => vec![seeds(&[Network])],
        Bug::TokenNotCompared | Bug::GranteeNotCompared => vec![seeds(&[Network, Workers])],
        Bug::DuplicateAnsweredBeforeDurable => vec![Hunt::Resend],
        Bug::RetryAfterFailedSync => vec![seeds(&[Sync])],
        Bug::RoomNotSetApart
        | Bug::AvoidedWorkerForgotten
        | Bug::FinalFailureRetried
        | Bug::RetriedWhilePaused
        | Bug::MinTimeForgotten => vec![seeds(&[Kill])],
        Bug::CrashLimitNotKept => vec![seeds(&[Network, Workers])],
        Bug::TimeFiredAgain => vec![seeds(&[Clock])],
    }
}

impl Hunt {
    /// Runs up to `seeds` seeds; the first violation, if there is one.
    fn run(&self, seeds: u64) -> Result<Option<Caught>, String> {
        for seed in 1..=seeds {
            let (run, violations) = match self {
                Self::Seeds(faults) => {
                    let names: Vec<&str> = faults.iter().map(|kind| kind.name()).collect();
                    let outcome = world::run(&Options { faults: faults.clone(), ..Options::new(seed) })?;
                    (format!("seed {seed} with {}", names.join(" and ")), outcome.violations)
                }
                Self::Resend => (format!("results sent again, seed {seed}"), resend::run(seed, 1_000)?.violations),
                Self::Cut => {
                    let keep = usize::try_from(seed).unwrap_or(usize::MAX);
                    (format!("a ledger cut back to {keep} batches"), cut::run(keep)?)
                }
            };
            let mut rules: Vec<Rule> = violations.iter().map(|violation| violation.rule).collect();
            rules.sort_unstable();
            rules.dedup();
            if let Some(violation) = violations.into_iter().next() {
                return Ok(Some(Caught { run, violation, rules }));
            }
            // A ledger has only so many batches to be cut off.
            if matches!(self, Self::Cut) && seed == cut::MOST {
                break;
            }
        }
        Ok(None)
    }
}

/// Hunts a bug with up to `seeds` seeds in each kind of run. Every kind must catch it, so that all of them are proved.
///
/// # Errors
/// In words, if a run cannot be made, or a kind of run does not notice the bug.
pub fn hunt(bug: Bug, seeds: u64) -> Result<Vec<Caught>, String> {
    let mut all = Vec::new();
    for hunt in hunts(bug) {
        let caught = seeded::with(Some(bug), || hunt.run(seeds));
        let missed = || format!("{} is not noticed by {hunt:?} in {seeds} seeds", bug.name());
        all.push(caught?.ok_or_else(missed)?);
    }
    Ok(all)
}

/// The same runs without a bug: the first violation, if there is one.
///
/// # Errors
/// In words, if a run cannot be made.
pub fn quiet(bug: Bug, seeds: u64) -> Result<Option<Caught>, String> {
    for hunt in hunts(bug) {
        if let Some(caught) = seeded::with(None, || hunt.run(seeds))? {
            return Ok(Some(caught));
        }
    }
    Ok(None)
}
