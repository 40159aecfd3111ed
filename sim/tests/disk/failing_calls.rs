//! Calls to the disk that fail under the engine, at every call of a run, once and for good.
//!
//! - **No space** (ENOSPC, EDQUOT, EFBIG where space is needed): nothing that was answered is lost, what cannot be recorded
//!   is refused with the reason, heartbeats go on, and when there is space again the engine resumes by itself.
//! - **Short and interrupted reads and writes**: nobody notices.
//! - **A sync that fails, or anything unknown**: the engine ends, at once and for ever, and the batch is not answered.
//!
//! Afterwards the checker compares what was told with the ledger, and its replay with the live state; then once more
//! after a kill, and after a loss of power.

use orch_ledger::OpenError;
use orch_ledger::disk::memory::errno::{EDQUOT, EFBIG, EINTR, EIO, ENOSPC};
use orch_ledger::disk::memory::{Call, Lasting, MemoryDir, Mishap, Random};
use orch_orchestrator::engine::Engine;

use super::client::Client;
use super::machine::{check, start};

/// Batches of a run, and of its time after the fault.
const BATCHES: usize = 9;

/// How long the engine may take to notice that there is space again, in batches 400 ms apart.
const NOTICES: usize = 4;

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub cases: u64,
    /// Runs in which something was refused for lack of space.
    pub read_only: u64,
    /// Runs that ended in the engine's end.
    pub ended: u64,
    /// Runs that could not start until the fault was gone.
    pub not_started: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { cases, read_only, ended, not_started } = other;
        self.cases += cases;
        self.read_only += read_only;
        self.ended += ended;
        self.not_started += not_started;
    }
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An error number that says there is no space, where space is asked for.
    NoSpace(i32),
    /// A sync, with EIO or even with ENOSPC.
    Sync(i32),
    /// Any change, in an unknown way.
    Unknown,
    /// A write is short.
    Short,
    /// A write is interrupted.
    Interrupted,
    /// A read is short.
    ShortRead,
    /// A read is interrupted.
    InterruptedRead,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::NoSpace(ENOSPC),
        Self::NoSpace(EDQUOT),
        Self::NoSpace(EFBIG),
        Self::Sync(EIO),
        Self::Sync(ENOSPC),
        Self::Unknown,
        Self::Short,
        Self::Interrupted,
        Self::ShortRead,
        Self::InterruptedRead,
    ];

    /// Whether a call is one that this may happen to. LOCK's text is information only: nobody minds.
    pub fn happens_to(self, call: Call, name: &str) -> bool {
        let takes_space = matches!(call, Call::Write { .. } | Call::Allocate | Call::Create | Call::Rename);
        name != "LOCK"
            && match self {
                Self::NoSpace(_) => takes_space,
                Self::Sync(_) => call.is_sync(),
                Self::Unknown => !call.is_read() && call != Call::Remove,
                Self::Short => matches!(call, Call::Write { .. }),
                Self::Interrupted => matches!(call, Call::Write { .. } | Call::Allocate),
                Self::ShortRead | Self::InterruptedRead => call.is_read(),
            }
    }

    /// Whether it comes when something is read.
    fn is_read(self) -> bool {
        matches!(self, Self::ShortRead | Self::InterruptedRead)
    }

    fn set(self, disk: &MemoryDir, at: usize, lasting: Lasting) {
        let happens = move |call, name: &str| self.happens_to(call, name);
        let short = if lasting == Lasting::Once { 1 } else { 700 };
        match self {
            Self::NoSpace(number) | Self::Sync(number) => disk.fail(at, lasting, Mishap::Error(number), happens),
            Self::Unknown => disk.fail(at, lasting, Mishap::Error(EIO), happens),
            Self::Short | Self::ShortRead => disk.fail(at, lasting, Mishap::Short(short), happens),
            Self::Interrupted | Self::InterruptedRead => {
                // No system interrupts for ever: for good means every second call.
                let mut n = 0;
                disk.set_hook(move |call, name| {
                    n += usize::from(happens(call, name));
                    let hit =
                        happens(call, name) && n > at && (n == at + 1 || lasting == Lasting::ForGood && n % 2 == 0);
                    hit.then_some(Mishap::Error(EINTR))
                });
            }
        }
    }
}

/// How many calls of a kind a run has; of reads, the start after it.
fn calls(kind: Kind, seed: u64) -> usize {
    let disk = MemoryDir::new();
    let (sender, counted) = std::sync::mpsc::channel();
    let count = move |call, name: &str| {
        if kind.happens_to(call, name) {
            sender.send(()).unwrap();
        }
        None
    };
    if kind.is_read() {
        let mut client = healthy(&disk, seed);
        let disk = disk.kill();
        disk.set_hook(count);
        drop(start(&disk, seed, &mut client).unwrap());
    } else {
        disk.set_hook(count);
        healthy(&disk, seed);
        disk.clear_hook();
    }
    counted.iter().count()
}

/// A run without a fault.
fn healthy(disk: &MemoryDir, seed: u64) -> Client {
    let mut client = Client::new(seed);
    let mut engine = start(disk, seed, &mut client).unwrap().engine;
    for _ in 0..BATCHES {
        client.step(&mut engine).unwrap();
    }
    engine.level_head().unwrap();
    client
}

/// One run with one fault.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub kind: Kind,
    /// The call that fails, of those that it may happen to.
    pub at: usize,
    pub lasting: Lasting,
    pub seed: u64,
}

impl Case {
    /// Every call of a run, once and for good.
    pub fn all(kind: Kind, seed: u64) -> impl Iterator<Item = Self> {
        let at = 0..calls(kind, seed);
        at.flat_map(move |at| [Lasting::Once, Lasting::ForGood].map(|lasting| Self { kind, at, lasting, seed }))
    }

    /// What repeats it.
    pub fn command(&self) -> String {
        let Self { kind, at, lasting, seed } = self;
        let kind = Kind::ALL.iter().position(|known| known == kind).unwrap_or_default();
        let for_good = u8::from(*lasting == Lasting::ForGood);
        format!(
            "cargo run --release -p orch-sim --example engine_disk -- failing-calls --seed {seed} --kind {kind} --call {at} --for-good {for_good}"
        )
    }

    /// Runs it.
    ///
    /// # Panics
    /// If something is lost, answered that must not be, or not as good as before.
    pub fn run(&self) -> Tally {
        let Self { kind, at, lasting, seed } = *self;
        case(kind, at, lasting, seed)
    }
}

fn case(kind: Kind, at: usize, lasting: Lasting, seed: u64) -> Tally {
    let disk = MemoryDir::new();
    let mut client = Client::new(seed);
    let mut tally = Tally { cases: 1, ..Tally::default() };
    kind.set(&disk, at, lasting);
    let mut engine = match start(&disk, seed, &mut client) {
        Ok(opened) => opened.engine,
        Err(error @ (OpenError::Io { .. } | OpenError::NoSpace { .. })) => {
            assert!(matches!(kind, Kind::NoSpace(_) | Kind::Sync(_) | Kind::Unknown), "{error}");
            tally.not_started += 1;
            disk.clear_hook();
            start(&disk, seed, &mut client).unwrap().engine
        }
        Err(error) => panic!("{error}"),
    };
    let mut ended = false;
    for n in 0..=BATCHES {
        let ran = if n < BATCHES { client.step(&mut engine) } else { engine.level_head() };
        if let Err(fatal) = ran {
            assert!(matches!(kind, Kind::Sync(_) | Kind::Unknown), "{kind:?} ended the engine: {fatal}");
            ended = true;
            break;
        }
    }
    tally.read_only += u64::from(!client.refused.is_empty());
    tally.ended += u64::from(ended);
    if ended {
        // For ever, even if the disk is well again.
        disk.clear_hook();
        let told = client.told.len();
        assert!(client.step(&mut engine).is_err() && engine.level_head().is_err(), "the engine goes on after its end");
        assert_eq!(client.told.len(), told);
    } else {
        assert!(!matches!(kind, Kind::Sync(_)) || tally.not_started > 0, "a sync failed and nobody noticed");
        recovers(&disk, &mut engine, &mut client, kind, seed);
    }
    let mut random = Random::new(seed ^ at as u64);
    for accident in [disk.kill(), disk.power_loss(&mut random), disk.power_loss(&mut random)] {
        let mut client = client.clone();
        if kind.is_read() {
            kind.set(&accident, at, lasting);
        }
        let mut engine = start(&accident, seed, &mut client).unwrap_or_else(|error| panic!("refused: {error}")).engine;
        check(&accident, &client.told, &engine);
        // Life goes on, and what was not answered is asked again.
        for _ in 0..2 {
            client.step(&mut engine).unwrap();
        }
        check(&accident, &client.told, &engine);
    }
    tally
}

/// The fault is over: the engine notices by itself.
fn recovers(disk: &MemoryDir, engine: &mut Engine, client: &mut Client, kind: Kind, seed: u64) {
    let reasons = ["No space left on device", "Disk quota exceeded", "File too large"];
    for reason in &client.refused {
        let named = reasons.iter().any(|known| reason.contains(known)) && reason.contains("no space for");
        assert!(matches!(kind, Kind::NoSpace(_)) && named, "{kind:?}: {reason}");
    }
    if matches!(kind, Kind::Short | Kind::Interrupted | Kind::ShortRead | Kind::InterruptedRead) {
        assert_eq!(client.told, healthy(&MemoryDir::new(), seed).told, "somebody noticed {kind:?}");
    }
    disk.clear_hook();
    for _ in 0..NOTICES {
        client.step(engine).unwrap();
    }
    assert_eq!(engine.read_only(), None, "there is space again");
    let (refused, told) = (client.refused.len(), client.told.len());
    for _ in 0..3 {
        client.step(engine).unwrap();
    }
    assert_eq!(client.refused.len(), refused, "refused although there is space");
    assert!(client.told.len() > told);
    check(disk, &client.told, engine);
}

/// A disk that is full after so many bytes, for a while.
///
/// # Panics
/// As [`Case::run`].
pub fn full_disk(capacity: u64) -> Tally {
    let (disk, seed) = (MemoryDir::new(), capacity);
    let mut client = Client::new(seed);
    let mut tally = Tally { cases: 1, ..Tally::default() };
    disk.set_capacity(Some(capacity));
    let mut engine = match start(&disk, seed, &mut client) {
        Ok(opened) => opened.engine,
        Err(OpenError::NoSpace { .. }) => {
            tally.not_started += 1;
            disk.set_capacity(None);
            start(&disk, seed, &mut client).unwrap().engine
        }
        Err(error) => panic!("{error}"),
    };
    for _ in 0..2 * BATCHES {
        client.step(&mut engine).unwrap();
    }
    tally.read_only += u64::from(!client.refused.is_empty());
    check(&disk, &client.told, &engine);
    disk.set_capacity(None);
    recovers(&disk, &mut engine, &mut client, Kind::NoSpace(ENOSPC), seed);
    tally
}

/// What repeats a full disk.
pub fn full_disk_command(capacity: u64) -> String {
    format!("cargo run --release -p orch-sim --example engine_disk -- full-disk --capacity {capacity}")
}
