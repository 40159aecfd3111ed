//! How long calls took.

use std::time::Duration;

/// Times of calls.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Takes one.
    pub fn note(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Takes those of another.
    pub fn absorb(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The time that 99 of 100 calls kept.
    pub fn p99(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * 99 / 100).or(sorted.last()).copied().unwrap_or_default()
    }

    /// `p50 1ms, p99 7ms of 1234`.
    pub fn summary(mut self) -> String {
        self.0.sort_unstable();
        let at =
            |percent: usize| self.0.get(self.0.len() * percent / 100).or(self.0.last()).copied().unwrap_or_default();
        format!("p50 {:.1?}, p99 {:.1?}, longest {:.1?} of {}", at(50), at(99), at(100), self.0.len())
    }
}

/// The memory of a process in bytes: now, and at most so far.
pub fn memory(pid: rustix::process::Pid) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
    };
    (bytes("VmRSS:").unwrap_or(0), bytes("VmHWM:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_tail() {
        let mut latencies = Latencies::default();
        (1..=200).for_each(|ms| latencies.note(Duration::from_millis(ms)));
        assert_eq!(latencies.summary(), "p50 101.0ms, p99 199.0ms, longest 200.0ms of 200");
        assert_eq!(Latencies::default().summary(), "p50 0.0ns, p99 0.0ns, longest 0.0ns of 0");
        let (now, most) = memory(rustix::process::getpid());
        assert!(now > 0 && most >= now);
    }
}
