//! The end of a process's standard error, for the message of its failure.

/// Bytes kept: enough for a stack trace's last lines, little enough for a message.
const KEPT: usize = 4 << 10;

/// Lines shown.
const LINES: usize = 8;

/// The last bytes that a process wrote.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    pub(crate) fn write(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(&text[text.len().saturating_sub(KEPT)..]);
        let excess = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..excess);
    }

    /// `what`, followed by the last lines if there are any.
    pub(crate) fn after(&self, what: &str) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        if last.is_empty() {
            return format!("{what}; it wrote nothing to standard error");
        }
        format!("{what}; the end of its standard error:\n{}", last.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_stand_in_the_message() {
        let mut tail = Tail::default();
        assert_eq!(tail.after("it failed"), "it failed; it wrote nothing to standard error");
        for i in 0..10_000 {
            tail.write(format!("line {i}\n").as_bytes());
        }
        let message = tail.after("it failed");
        assert!(message.starts_with("it failed; the end of its standard error:\nline 9992\n"), "{message}");
        assert!(message.ends_with("\nline 9999"), "{message}");
        tail.write(&[b'x'; 100_000]);
        assert_eq!(tail.bytes.len(), KEPT);
    }
}
