//! Text that may quote a candidate: short, and safe on a terminal whatever the candidate holds.

use crate::json::Tree;

/// The most characters of a rejection's message.
pub(super) const MAX_CHARS: usize = 300;

/// A value as a message shows it.
pub(super) fn show(tree: &Tree<'_>) -> String {
    match tree {
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => tree.canonical_text(),
        Tree::Text(text) => quoted(text),
        Tree::List(values) => format!("an array of {}", values.len()),
        Tree::Map(members) => format!("an object of {}", members.len()),
    }
}

/// A string in quotes, cut to 60 characters.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((at, _)) => format!("{:?}...", &text[..at]),
    }
}

/// The text with what a terminal would obey escaped, cut to [`MAX_CHARS`] characters.
pub(super) fn clip(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_CHARS));
    let mut count = 0;
    for c in text.chars() {
        let escaped = if is_unsafe(c) { c.escape_unicode().collect() } else { String::from(c) };
        count += escaped.chars().count();
        if count > MAX_CHARS {
            // Make room for the dots.
            while out.chars().count() > MAX_CHARS - 3 {
                out.pop();
            }
            out.push_str("...");
            return out;
        }
        out.push_str(&escaped);
    }
    out
}

/// Control characters, and those that reorder or hide the text around them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_short_and_has_no_control_characters() {
        assert_eq!(clip("a\u{1b}[31mb\u{202e}"), "a\\u{1b}[31mb\\u{202e}");
        let long = clip(&"é\n".repeat(400));
        assert!(long.chars().count() <= MAX_CHARS, "{long}");
        assert!(long.ends_with("..."));
        assert_eq!(clip(&"x".repeat(300)).len(), 300);
        assert_eq!(show(&Tree::Text("q\"\n".into())), r#""q\"\n""#);
    }
}
