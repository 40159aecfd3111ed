//! What happened, as one hash: two runs of a seed are the same run if their hashes are.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The steps of a run.
pub(crate) struct Trace {
    hasher: Sha256,
    steps: u64,
    print: bool,
    line: String,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self { hasher: Sha256::new(), steps: 0, print, line: String::new() }
    }

    /// Notes a step.
    pub(crate) fn step(&mut self, now: u64, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.line, "{:>4}.{:03} {what}", now / 1000, now % 1000);
        if self.print {
            use std::io::Write as _;
            // Whoever reads may have seen enough.
            let _ = writeln!(std::io::stdout(), "{}", self.line);
        }
        self.hasher.update(self.line.as_bytes());
        self.hasher.update(b"\n");
        self.steps += 1;
    }

    /// How many steps there were, and their hash.
    pub(crate) fn finish(&self) -> (u64, String) {
        let hash: [u8; 32] = self.hasher.clone().finalize().into();
        (self.steps, hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
