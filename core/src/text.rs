//! Text from strangers, where it is shown.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One line for people, whatever is in it: what could end the line or steer a terminal is written out (`\n`, `\u{1b}`), so
/// that nobody can make a log say what it does not say. Tabs stay. `colours`: so do escape characters, for a terminal to
/// whose colours the line has them; what strangers said must have lost its own before.
pub fn one_line(text: &str, colours: bool) -> Cow<'_, str> {
    let steers = |c: char| match c {
        '\t' => false,
        '\u{1b}' => !colours,
        // The separators of lines and paragraphs, and what turns the direction of text round.
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            // Writing to a text cannot fail.
            c if steers(c) => drop(write!(line, "\\u{{{:x}}}", u32::from(c))),
            c => line.push(c),
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_steers_nothing() {
        assert!(matches!(one_line("plain\ttext, ünï", false), Cow::Borrowed(_)));
        let hostile = "w\n2026-01-01 ERROR forged\r\u{1b}[2J\u{7}\u{9b}\u{202e}\u{2028}\0";
        let line = one_line(hostile, false);
        assert_eq!(line, "w\\n2026-01-01 ERROR forged\\r\\u{1b}[2J\\u{7}\\u{9b}\\u{202e}\\u{2028}\\u{0}");
        assert!(!line.chars().any(char::is_control));
        assert_eq!(one_line("\u{1b}[32mINFO\u{1b}[0m a\nb", true), "\u{1b}[32mINFO\u{1b}[0m a\\nb");
    }
}
