//! Which faults a run has, drawn from its seed.

use std::fmt;
use std::str::FromStr;

use super::dice::Dice;

/// Kinds of faults, which a run can be narrowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Messages are lost, late, doubled and out of order; workers are cut off.
    Network,
    /// Workers stand still, die and come back, with what they had or without, under their name or another one.
    Workers,
    /// The orchestrator's process dies, also in the middle of a write and during recovery.
    Kill,
    /// The orchestrator's machine loses power.
    Power,
    /// A sync fails.
    Sync,
    /// The disk is full for a while.
    Space,
    /// The wall clock jumps.
    Clock,
    /// The orchestrator's machine stands still for a while.
    Stall,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Network, Self::Workers, Self::Kill, Self::Power, Self::Sync, Self::Space, Self::Clock, Self::Stall];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Workers => "workers",
            Self::Kill => "kill",
            Self::Power => "power",
            Self::Sync => "sync",
            Self::Space => "space",
            Self::Clock => "clock",
            Self::Stall => "stall",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("{text:?} is no kind of fault: there are {}", names()))
    }
}

/// Something that goes wrong at a moment of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    WorkerPauses {
        worker: usize,
        for_ms: u64,
    },
    WorkerDies {
        worker: usize,
        for_ms: u64,
        keeps: bool,
        renamed: bool,
    },
    WorkerLeaves {
        worker: usize,
    },
    WorkerIsCutOff {
        worker: usize,
        for_ms: u64,
    },
    /// The process dies between two batches, or at that call to the disk of the next ones.
    OrchestratorDies {
        at_call: Option<u64>,
        torn: bool,
        power: bool,
    },
    SyncFails {
        at_sync: u64,
    },
    DiskIsFull {
        for_ms: u64,
        room: u64,
    },
    ClockJumps {
        by_ms: i64,
    },
    Stall {
        for_ms: u64,
    },
}

/// How likely messages suffer, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) late: u64,
}

/// The faults of a run: the weather, and what happens when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) weather: Weather,
    pub(crate) faults: Vec<(u64, Fault)>,
}

const HOUR: i64 = 3_600_000;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;

impl Plan {
    /// Draws a plan for `workers` workers and the first `until` milliseconds. Every run has some kinds of faults only:
    /// all of them at once would hide each other.
    pub(crate) fn draw(dice: &mut Dice, kinds: &[FaultKind], workers: usize, until: u64) -> Self {
        let mut plan = Self::default();
        for kind in FaultKind::ALL {
            let drawn = dice.chance(550);
            let count = dice.between(1, 4);
            if !kinds.contains(&kind) || !(drawn || kinds.len() == 1) {
                continue;
            }
            if kind == FaultKind::Network {
                plan.weather =
                    Weather { lost: dice.between(0, 120), doubled: dice.between(0, 120), late: dice.between(0, 150) };
            }
            for _ in 0..count {
                let at = dice.between(200, until);
                let fault = draw(dice, kind, workers);
                plan.faults.push((at, fault));
            }
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }
}

fn draw(dice: &mut Dice, kind: FaultKind, workers: usize) -> Fault {
    let worker = dice.below(workers);
    match kind {
        FaultKind::Network => Fault::WorkerIsCutOff { worker, for_ms: dice.between(500, 14_000) },
        FaultKind::Workers => match dice.below(8) {
            0..=2 => Fault::WorkerPauses { worker, for_ms: dice.between(1_000, 15_000) },
            3 => Fault::WorkerLeaves { worker },
            4 | 5 => {
                Fault::WorkerDies { worker, for_ms: dice.between(50, 4_000), keeps: true, renamed: dice.chance(600) }
            }
            _ => Fault::WorkerDies { worker, for_ms: dice.between(100, 9_000), keeps: false, renamed: false },
        },
        FaultKind::Kill | FaultKind::Power => {
            let at_call = dice.chance(700).then(|| dice.between(0, 14));
            Fault::OrchestratorDies { at_call, torn: dice.chance(500), power: kind == FaultKind::Power }
        }
        FaultKind::Sync => Fault::SyncFails { at_sync: dice.between(0, 5) },
        FaultKind::Space => Fault::DiskIsFull { for_ms: dice.between(200, 6_000), room: dice.between(0, 6_000) },
        FaultKind::Clock => {
            let by_ms = [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS][dice.below(4)];
            Fault::ClockJumps { by_ms }
        }
        FaultKind::Stall => Fault::Stall { for_ms: dice.between(500, 60_000) },
    }
}
