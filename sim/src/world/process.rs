//! The orchestrator's process: an engine on a faulty disk, that can be ended at any call to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use orch_core::id::Seq;
use orch_core::record::Record;
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::disk::memory::{Call, MemoryDir, Mishap, errno};
use orch_ledger::{OpenError, OpenOptions};
use orch_orchestrator::engine::{Engine, OpenedEngine, Pending};

use super::dice::Dice;

/// A worker that is silent for so long counts as lost.
pub(crate) const STALE_AFTER: u64 = 20_000;

/// The wall clock at the start of a run, in milliseconds.
pub(crate) const EPOCH: i64 = 1_795_000_000_000;

/// What the disk was told to do, and whether it has.
#[derive(Default)]
struct Fuse {
    burnt: Arc<AtomicBool>,
    /// The mishap was a failed sync.
    sync: bool,
    set: bool,
}

/// What came of a batch.
pub(crate) enum Ran {
    /// It is durable up to here.
    Fine,
    /// The process ends, as it should after what the disk did.
    Ended(String),
    /// The process ends though the disk did nothing wrong, or goes on though it did.
    Wrong(crate::checker::Rule, String),
}

/// What came of a start.
pub(crate) enum Started {
    Up(String),
    /// The disk is full: later.
    NoSpace,
    /// The disk failed.
    Ended(String),
    Wrong(crate::checker::Rule, String),
}

/// The process and its machine.
pub(crate) struct Process {
    pub(crate) dir: MemoryDir,
    pub(crate) engine: Option<Engine>,
    /// How far the wall clock is off, in milliseconds.
    pub(crate) wall_off: i64,
    options: OpenOptions,
    booted_at: u64,
    looked_at: u64,
    /// Since when HEAD names the batch before the last one.
    lags: bool,
    fuse: Fuse,
    seen: Seq,
}

impl Process {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let mut options = OpenOptions::new(Timestamp(0), "simulation", "simulated", 1);
        options.new_ledger_id = Some("00000000-0000-4000-8000-000000000000".to_owned());
        options.segment_bytes = dice.between(2_000, 40_000);
        options.zero_bytes = [0, 0, 1_024, 4_096][dice.below(4)];
        options.claim_bytes = if dice.chance(100) { dice.between(1_000, 20_000) } else { 0 };
        Self {
            dir: MemoryDir::new(),
            engine: None,
            wall_off: 0,
            options,
            booted_at: 0,
            looked_at: 0,
            lags: false,
            fuse: Fuse::default(),
            seen: Seq(0),
        }
    }

    /// When the engine last looked at the clock.
    pub(crate) fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// Both clocks.
    pub(crate) fn now(&self, now: u64) -> Now {
        let wall = EPOCH + i64::try_from(now).unwrap_or(i64::MAX) + self.wall_off;
        Now { wall: Timestamp(wall), tick: Tick(now - self.booted_at) }
    }

    /// Starts the process.
    pub(crate) fn start(&mut self, now: u64) -> Started {
        self.booted_at = now;
        self.looked_at = now;
        let clocks = self.now(now);
        let options = OpenOptions { now: clocks.wall, ..self.options.clone() };
        let dir = Arc::new(self.dir.clone());
        let opened = catch_unwind(AssertUnwindSafe(|| Engine::open_in(dir, options, Span(STALE_AFTER), clocks)));
        let burnt = self.burnt();
        match opened {
            Err(panic) => Started::Wrong(crate::checker::Rule::Panic, said(&*panic)),
            Ok(Ok(_)) if burnt && self.fuse.sync => {
                let message = "the ledger was opened although a sync failed on the way".to_owned();
                Started::Wrong(crate::checker::Rule::Fatal, message)
            }
            Ok(Ok(OpenedEngine { engine, recovered })) => {
                self.seen = Seq(0);
                self.lags = true;
                self.engine = Some(engine);
                Started::Up(format!("{recovered:?}"))
            }
            Ok(Err(OpenError::NoSpace { .. })) => Started::NoSpace,
            Ok(Err(error)) if burnt => Started::Ended(error.to_string()),
            Ok(Err(error)) => Started::Wrong(crate::checker::Rule::Chain, format!("the ledger is not opened: {error}")),
        }
    }

    /// Runs a batch, and makes HEAD level when there is nothing else to do.
    pub(crate) fn run(&mut self, commands: Vec<Box<dyn Pending>>, now: u64) -> Ran {
        let clocks = self.now(now);
        let gap = Span(now - self.looked_at);
        self.looked_at = now;
        let Some(engine) = &mut self.engine else { return Ran::Fine };
        let (idle, before) = (commands.is_empty(), engine.state().last_seq());
        engine.looked_up_after(gap);
        let lags = self.lags;
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let last = engine.run_batch(commands, clocks)?;
            if lags && idle && last == before {
                engine.level_head()?;
            }
            Ok::<_, orch_orchestrator::engine::Fatal>(last)
        }));
        let burnt = self.burnt();
        match ran {
            Err(panic) => Ran::Wrong(crate::checker::Rule::Panic, said(&*panic)),
            Ok(Ok(_)) if burnt && self.fuse.sync => {
                Ran::Wrong(crate::checker::Rule::Fatal, "the engine goes on although a sync failed".to_owned())
            }
            Ok(Ok(last)) => {
                self.lags = last != before;
                Ran::Fine
            }
            Ok(Err(error)) if burnt => Ran::Ended(error.to_string()),
            Ok(Err(error)) => {
                Ran::Wrong(crate::checker::Rule::Fatal, format!("the engine ends without a reason: {error}"))
            }
        }
    }

    /// How long the engine may sleep.
    pub(crate) fn idle_for(&self, now: u64) -> u64 {
        let clocks = self.now(now);
        self.engine.as_ref().map_or(1_000, |engine| engine.idle_for(clocks).0)
    }

    /// The records since the last time that this was asked, in this life of the process from the first on.
    pub(crate) fn new_records(&mut self) -> Vec<Record> {
        let Some(engine) = &self.engine else { return Vec::new() };
        let last = engine.state().last_seq();
        let from = std::mem::replace(&mut self.seen, last);
        // After a full disk the state may have gone back.
        (from.0 + 1..=last.0).filter_map(|seq| engine.ledger().read(Seq(seq)).ok()).collect()
    }

    /// Passes over the records that there are.
    pub(crate) fn skip_records(&mut self) {
        self.seen = self.engine.as_ref().map_or(Seq(0), |engine| engine.state().last_seq());
    }

    /// From the call of this number on, of those that change something, the process is dead. A write at that moment
    /// may be torn.
    pub(crate) fn die_at_call(&mut self, at: u64, torn: bool) {
        let burnt = self.set_fuse(false);
        let calls = AtomicU64::new(0);
        self.dir.set_hook(move |call, _| {
            if call.is_read() {
                return None;
            }
            let n = calls.fetch_add(1, Ordering::Relaxed);
            if n < at {
                return None;
            }
            burnt.store(true, Ordering::Relaxed);
            match call {
                Call::Write { bytes } if torn && n == at && bytes > 1 => Some(Mishap::Short(bytes * 3 / 5)),
                _ => Some(Mishap::Error(errno::EIO)),
            }
        });
    }

    /// The sync of this number fails, once.
    pub(crate) fn fail_sync(&mut self, at: u64) {
        let burnt = self.set_fuse(true);
        let syncs = AtomicU64::new(0);
        self.dir.set_hook(move |call, _| {
            if !call.is_sync() || syncs.fetch_add(1, Ordering::Relaxed) != at {
                return None;
            }
            burnt.store(true, Ordering::Relaxed);
            Some(Mishap::Error(errno::EIO))
        });
    }

    fn set_fuse(&mut self, sync: bool) -> Arc<AtomicBool> {
        let burnt = Arc::new(AtomicBool::new(false));
        self.fuse = Fuse { burnt: Arc::clone(&burnt), sync, set: true };
        burnt
    }

    fn burnt(&self) -> bool {
        self.fuse.set && self.fuse.burnt.load(Ordering::Relaxed)
    }

    /// The disk works again as it should.
    pub(crate) fn heal_disk(&mut self) {
        self.dir.clear_hook();
        self.fuse = Fuse::default();
    }

    /// The process is gone; with `power` the machine too.
    pub(crate) fn die(&mut self, power: bool, dice: &mut Dice) {
        // What it held open is closed by the system, not by it.
        self.engine = None;
        self.dir = if power { self.dir.power_loss(&mut dice.0) } else { self.dir.kill() };
        self.fuse = Fuse::default();
    }
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
