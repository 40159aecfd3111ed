//! Runs targets on their corpus and on seeded mutations, and says exactly how to do a failure again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::mutate::mutated;
use crate::{Random, TARGETS, Target, corpus};

/// An input that runs for so long hangs. Far longer than any takes, on the slowest machine.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// The most memory that the whole process may come to have, in bytes, however many inputs it reads.
pub const MAX_RESIDENT: u64 = 1 << 30;

/// An input that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// The target.
    pub target: &'static str,
    /// What was told.
    pub message: String,
    /// Where the input was put.
    pub file: PathBuf,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, message, file } = self;
        let file = file.display();
        write!(f, "{target}: {message}\n  input: {file}\n  again: cargo run -p orch-fuzz -- {target} --input {file}")
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Inputs of the corpus.
    pub kept: u64,
    /// Mutations.
    pub cases: u64,
    /// The input that took longest.
    pub slowest: Duration,
}

/// Runs one input.
///
/// # Errors
/// [`Failure`]; the input is in `failures`.
pub fn one(target: &'static Target, input: &[u8], failures: &Path) -> Result<Duration, Box<Failure>> {
    let watch = Watch::begin(target.name, input, failures);
    let started = Instant::now();
    let checked = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let took = started.elapsed();
    watch.end();
    checked.map(|()| took).map_err(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let message = message.unwrap_or_else(|| "panicked".to_owned());
        Box::new(Failure { target: target.name, message, file: save(failures, target.name, input) })
    })
}

/// Runs a target's corpus, then `cases` mutations drawn from `seed`.
///
/// # Errors
/// The first [`Failure`].
pub fn target(target: &'static Target, cases: u64, seed: u64, failures: &Path) -> Result<Summary, Box<Failure>> {
    let mut summary = Summary::default();
    let kept: Vec<Vec<u8>> =
        corpus::load(target.name).unwrap_or_default().into_iter().map(|(_, input)| input).collect();
    for input in &kept {
        summary.slowest = summary.slowest.max(one(target, input, failures)?);
        summary.kept += 1;
    }
    let mut random = Random::new(seed ^ name_seed(target.name));
    for _ in 0..cases {
        let input = mutated(target, &kept, &mut random);
        summary.slowest = summary.slowest.max(one(target, &input, failures)?);
        summary.cases += 1;
    }
    let resident = resident();
    assert!(resident <= MAX_RESIDENT, "{} has grown to {resident} bytes", target.name);
    Ok(summary)
}

/// How many of all cases each target gets.
pub fn shares(cases: u64) -> impl Iterator<Item = (&'static Target, u64)> {
    let all: usize = TARGETS.iter().map(|target| target.share).sum();
    TARGETS.iter().map(move |target| (target, cases * target.share as u64 / all as u64))
}

fn name_seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn save(failures: &Path, target: &str, input: &[u8]) -> PathBuf {
    let name = format!("{target}-{:08x}", crc32c::crc32c(input));
    let file = failures.join(name);
    // The failure is told in any case; without the file it is harder to do again.
    let _ = std::fs::create_dir_all(failures).and_then(|()| std::fs::write(&file, input));
    file
}

/// The memory that the process has now, in bytes; 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Watches one input from a thread of its own, which ends the process if the input never ends.
struct Watch {
    number: u64,
}

struct Watched {
    number: u64,
    since: Instant,
    target: &'static str,
    input: Vec<u8>,
    failures: PathBuf,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

impl Watch {
    fn begin(target: &'static str, input: &[u8], failures: &Path) -> Self {
        static THREAD: std::sync::OnceLock<Arc<std::thread::JoinHandle<()>>> = std::sync::OnceLock::new();
        THREAD.get_or_init(|| Arc::new(std::thread::spawn(watch)));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (input, failures) = (input.to_vec(), failures.to_owned());
        watched().push(Watched { number, since: Instant::now(), target, input, failures });
        Self { number }
    }

    fn end(self) {
        watched().retain(|watched| watched.number != self.number);
    }
}

fn watched() -> std::sync::MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::print_stderr)]
fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        if let Some(hung) = watched().iter().find(|watched| watched.since.elapsed() > HANGS_AFTER) {
            let file = save(&hung.failures, hung.target, &hung.input);
            eprintln!("{}: an input hangs: {}", hung.target, file.display());
            std::process::abort();
        }
    }
}
