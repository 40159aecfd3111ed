//! What a torture found: facts, and violations of what is promised.

use std::fmt;

/// What a torture found.
#[derive(Debug)]
pub struct Report {
    /// The torture.
    pub title: &'static str,
    facts: Vec<(String, String)>,
    violations: Vec<String>,
}

impl Report {
    /// An empty report.
    pub fn new(title: &'static str) -> Self {
        Self { title, facts: Vec::new(), violations: Vec::new() }
    }

    /// Notes a fact.
    pub fn fact(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        self.facts.push((name.into(), value.to_string()));
    }

    /// Notes that a promise was broken.
    pub fn violation(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    /// Notes that promises were broken.
    pub fn violations(&mut self, texts: impl IntoIterator<Item = String>) {
        self.violations.extend(texts);
    }

    /// Whether every promise held.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// A fact, for tests.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Says how far a torture is, now and then.
#[derive(Debug)]
pub struct Progress {
    said: std::sync::Mutex<Option<std::time::Instant>>,
    quiet: bool,
}

impl Progress {
    /// Speaks on standard error, every two seconds at most.
    pub fn new() -> Self {
        Self { said: std::sync::Mutex::new(None), quiet: false }
    }

    /// Says nothing, for tests.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::new() }
    }

    /// Says something, unless it said something a moment ago.
    pub fn say(&self, what: fmt::Arguments<'_>) {
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.quiet && said.is_none_or(|at| at.elapsed().as_secs() >= 2) {
            *said = Some(std::time::Instant::now());
            eprintln!("  ... {what}");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// The most violations that are listed; the first few are what people read.
const LISTED: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &self.facts {
            writeln!(f, "  {name:width$}  {value}")?;
        }
        for violation in self.violations.iter().take(LISTED) {
            writeln!(f, "  VIOLATION: {violation}")?;
        }
        match self.violations.len() {
            0 => write!(f, "{}: ok", self.title),
            n => write!(f, "{}: FAILED, {n} violations", self.title),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_verdict() {
        let mut report = Report::new("kill");
        report.fact("cycles", 50);
        report.fact("acknowledged", 12_345);
        assert_eq!(report.to_string(), "  cycles        50\n  acknowledged  12345\nkill: ok");
        report.violation("job 5 is gone");
        assert!(report.to_string().ends_with("\n  VIOLATION: job 5 is gone\nkill: FAILED, 1 violations"));
        assert_eq!((report.get("cycles"), report.is_good()), (Some("50"), false));
    }
}
