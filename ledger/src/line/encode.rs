//! From records to bytes.

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::at::{self, AT_BYTES};
use super::{CHAIN_KEY, CRC_KEY, MAX_EVENT_BYTES, MAX_EVENT_DEPTH};

/// A time as text, made once and used for every record of that time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtText {
    time: Timestamp,
    text: [u8; AT_BYTES],
}

impl AtText {
    /// `None` outside the years 0000 to 9999.
    pub(crate) fn new(time: Timestamp) -> Option<Self> {
        Some(Self { time, text: at::encode(time)? })
    }

    pub(crate) fn time(&self) -> Timestamp {
        self.time
    }
}

/// What makes a serialised event unfit for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFault {
    TooLong { bytes: usize },
    TooDeep,
    ControlByte { at: usize },
}

/// Checks what serde cannot: length, depth, and that the text stays on one line. Raw JSON inside an event may hold
/// line breaks between its values; inside strings they are escaped.
pub(crate) fn check_event(json: &[u8]) -> Result<(), EventFault> {
    if json.len() > MAX_EVENT_BYTES {
        return Err(EventFault::TooLong { bytes: json.len() });
    }
    // Passes without branches first: nearly always there is nothing to find.
    let lowest = json.iter().fold(u8::MAX, |lowest, byte| lowest.min(*byte));
    if lowest < b' ' {
        let at = json.iter().position(|byte| *byte < b' ').unwrap_or(0);
        return Err(EventFault::ControlByte { at });
    }
    let may_be_deep = memchr::memchr2_iter(b'{', b'[', json).nth(MAX_EVENT_DEPTH).is_some();
    if may_be_deep && depth(json) > MAX_EVENT_DEPTH { Err(EventFault::TooDeep) } else { Ok(()) }
}

/// The deepest nesting of a JSON text.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => in_string = true,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
    }
    deepest
}

/// Appends a batch, newlines included, and gives its chain link.
///
/// `records` are times and serialised events, the first of which gets seq `first`. There is at least one. `begins`
/// learns where in `out` each line begins.
pub(crate) fn encode_batch<'a>(
    out: &mut Vec<u8>,
    previous: &Digest,
    batch: u64,
    first: Seq,
    records: impl ExactSizeIterator<Item = (&'a AtText, &'a [u8])>,
    mut begins: impl FnMut(Seq, usize),
) -> Digest {
    let start = out.len();
    let mut left = records.len();
    let mut chain = Digest::default();
    for (seq, (at, event)) in (first.0..).zip(records) {
        left -= 1;
        let line = out.len();
        begins(Seq(seq), line);
        out.extend_from_slice(b"{\"seq\":");
        number(out, seq);
        out.extend_from_slice(b",\"batch\":");
        number(out, batch);
        out.extend_from_slice(b",\"left\":");
        number(out, left as u64);
        out.extend_from_slice(b",\"at\":\"");
        out.extend_from_slice(&at.text);
        out.extend_from_slice(b"\",\"event\":");
        out.extend_from_slice(event);
        if left == 0 {
            chain = Digest(Sha256::new().chain_update(previous.0).chain_update(&out[start..]).finalize().into());
            out.extend_from_slice(CHAIN_KEY);
            hex(out, &chain.0);
            out.push(b'"');
        }
        let crc = crc32c::crc32c(&out[line..]);
        out.extend_from_slice(CRC_KEY);
        hex(out, &crc.to_be_bytes());
        out.extend_from_slice(b"\"}\n");
    }
    chain
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_on_one_line_and_shallow() {
        assert_eq!(check_event(b"{\"a\":[1,\"\\n\"]}"), Ok(()));
        assert_eq!(check_event(b"{\"a\":\n1}"), Err(EventFault::ControlByte { at: 5 }));
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check_event(deep(MAX_EVENT_DEPTH).as_bytes()), Ok(()));
        assert_eq!(check_event(deep(MAX_EVENT_DEPTH + 1).as_bytes()), Err(EventFault::TooDeep));
        // Brackets in strings are not nesting.
        let text = format!("[\"{}\\\"\"]", "[".repeat(1000));
        assert_eq!(check_event(text.as_bytes()), Ok(()));
        assert!(matches!(check_event(&vec![b' '; MAX_EVENT_BYTES + 1]), Err(EventFault::TooLong { .. })));
    }
}
