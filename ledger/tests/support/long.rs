//! The long forms of tests, as commands: flags, a line of progress.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::cores;

/// A command line: words, and flags with a number each, like `--bytes 1MiB`.
pub struct Flags {
    pub words: Vec<String>,
    flags: BTreeMap<String, u64>,
}

impl Flags {
    /// The command line of this process, with the flags that it knows besides `--threads` and `--seconds`. Says how it is used, and ends the process, if it cannot be read or names
    /// another flag.
    pub fn of_process(usage: &str, known: &[&str]) -> Self {
        Self::parse(std::env::args().skip(1), known).unwrap_or_else(|wrong| {
            eprintln!("{wrong}\nusage: {usage}");
            std::process::exit(2)
        })
    }

    fn parse(args: impl Iterator<Item = String>, known: &[&str]) -> Result<Self, String> {
        let (mut words, mut flags) = (Vec::new(), BTreeMap::new());
        let mut args = args;
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix("--") else {
                words.push(arg);
                continue;
            };
            if flag != "threads" && flag != "seconds" && !known.contains(&flag) {
                return Err(format!("there is no flag {arg}"));
            }
            let value = args.next().ok_or_else(|| format!("{arg} lacks its value"))?;
            flags.insert(flag.to_owned(), number(&value).ok_or_else(|| format!("{arg} {value}: no number"))?);
        }
        Ok(Self { words, flags })
    }

    pub fn get(&self, flag: &str) -> Option<u64> {
        self.flags.get(flag).copied()
    }

    /// All cores, unless told otherwise.
    pub fn threads(&self) -> usize {
        self.get("threads").map_or_else(cores::count, |threads| usize::try_from(threads).unwrap_or(1).max(1))
    }
}

fn number(text: &str) -> Option<u64> {
    let units = [("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)));
    let (digits, size) = unit.unwrap_or((text, 1));
    digits.replace('_', "").parse::<u64>().ok()?.checked_mul(size)
}

/// Tells how far a command is, now and then.
pub struct Progress {
    started: Instant,
    told: Mutex<Instant>,
    limit: u64,
}

impl Progress {
    /// Starts the clock; `--seconds` says when it is enough.
    pub fn start(flags: &Flags) -> Self {
        let limit = flags.get("seconds").unwrap_or(u64::MAX);
        Self { started: Instant::now(), told: Mutex::new(Instant::now()), limit }
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        self.seconds() >= self.limit
    }

    /// Prints the line if the last one is some seconds old.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() > Duration::from_secs(10) {
            eprintln!("{:>5} s: {}", self.seconds(), line());
            *told = Instant::now();
        }
    }

    pub fn seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}
