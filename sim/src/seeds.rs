//! Seeds that once failed: they run first, for ever.

use crate::world::{FaultKind, Options};

/// The committed list: a seed a line, and behind `#` what it found.
const LIST: &str = include_str!("../seeds.txt");

/// The seeds of the list.
pub fn known() -> Vec<u64> {
    LIST.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok()).collect()
}

/// The command that replays a run.
pub fn command(options: &Options) -> String {
    let Options { seed, faults, target, trace: _ } = options;
    let mut command = format!("cargo run --release -p orch-sim -- run --seed {seed} --trace");
    if faults.len() < FaultKind::ALL.len() && !faults.is_empty() {
        let names: Vec<&str> = faults.iter().map(|kind| kind.name()).collect();
        command = format!("{command} --only {}", names.join(","));
    }
    if let Some(target) = target {
        command = format!("{command} --aim {target}");
    }
    command
}
