//! Which faults there are in a run, and what each must lead to.

use std::collections::BTreeMap;

use super::strace::{Fault, What};

/// What a fault must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The process ends, and nothing is acknowledged, written or synced after the fault.
    Ends,
    /// The process goes on, and everything is done in the end without a restart.
    GoesOn,
    /// Either: as long as nothing is lost.
    Either,
}

/// Errors that say "no space", in their several words.
const NO_SPACE: [&str; 3] = ["ENOSPC", "EDQUOT", "EFBIG"];

/// What a fault must lead to in an orchestrator that works.
pub fn expected(fault: &Fault) -> Expect {
    match fault.what {
        What::Kill => Expect::Ends,
        // Whatever a sync says: nobody knows what is on the disk.
        What::Error(_) if fault.is_sync() => Expect::Ends,
        What::Error("EINTR") => Expect::GoesOn,
        What::Error(error) if NO_SPACE.contains(&error) && fault.is_write() => Expect::GoesOn,
        What::Error("EIO") if fault.call == "pwrite64" => Expect::Ends,
        What::Error(_) => Expect::Either,
    }
}

/// Every fault for calls that are made so often: first the kills, then errors once, then errors for good.
pub fn all(counts: &BTreeMap<String, u64>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |call: &str, count: u64, for_good: bool, what: What| {
        faults.extend((1..=count).map(|when| Fault { call: call.to_owned(), when, for_good, what }));
    };
    for (call, count) in counts {
        add(call, *count, false, What::Kill);
    }
    for (call, count) in counts {
        add(call, *count, false, What::Error("EIO"));
    }
    for (call, count) in counts {
        let probe = Fault { call: call.clone(), when: 1, for_good: false, what: What::Kill };
        if probe.is_write() || call == "openat" || call.starts_with("rename") || call == "ftruncate" {
            add(call, *count, false, What::Error("ENOSPC"));
        }
        if probe.is_write() {
            add(call, *count, false, What::Error("EDQUOT"));
            add(call, *count, false, What::Error("EFBIG"));
            add(call, *count, false, What::Error("EINTR"));
            add(call, *count, true, What::Error("ENOSPC"));
        }
        if probe.is_sync() {
            add(call, *count, false, What::Error("ENOSPC"));
        }
    }
    faults
}

/// Every `every`-th of them, from a place that the seed gives.
pub fn choose(faults: Vec<Fault>, every: u64, seed: u64) -> Vec<Fault> {
    let every = every.max(1);
    let keep = |at: usize| (at as u64).wrapping_add(seed).is_multiple_of(every);
    faults.into_iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, fault)| fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_killed_and_every_error_tried() {
        let counts = BTreeMap::from([("fsync".to_owned(), 2), ("pwrite64".to_owned(), 3), ("flock".to_owned(), 1)]);
        let faults = all(&counts);
        let count = |what: What| faults.iter().filter(|fault| fault.what == what && !fault.for_good).count();
        assert_eq!(count(What::Kill), 6);
        assert_eq!(count(What::Error("EIO")), 6);
        assert_eq!(count(What::Error("ENOSPC")), 5);
        assert_eq!(count(What::Error("EINTR")), 3);
        let chosen: usize = (0..10).map(|seed| choose(faults.clone(), 10, seed).len()).sum();
        assert_eq!(chosen, faults.len());
        assert_eq!(choose(faults.clone(), 1, 7), faults);
    }
}
