//! From bytes to a line: the checksum first, then every byte in its place.

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::record::{Event, Record};
use orch_core::time::Timestamp;

use super::at::{self, AT_BYTES};
use super::{CHAIN_KEY, CHAIN_TAIL, CRC_KEY, CRC_TAIL, LINE_START, MAX_LINE_BYTES};

/// A line whose checksum is right and whose bytes are exactly those that its fields call for. The event is text
/// still: [`Line::event`] reads it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The place of its record.
    pub seq: Seq,
    /// The number of the commit that wrote it, from 1.
    pub batch: u64,
    /// How many lines of the batch follow.
    pub left: u32,
    /// When its record was decided.
    pub at: Timestamp,
    /// The event as JSON.
    pub event_json: &'a str,
    /// The chain link, on the last line of a batch.
    pub chain: Option<Digest>,
    raw: &'a [u8],
}

/// Why bytes are not a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Longer than a line may be.
    #[error("expected a line of at most {MAX_LINE_BYTES} bytes, found {bytes} or more")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The bytes are not those that the checksum in the line was made of.
    #[error("expected checksum {computed:08x} for these bytes, found {stated:08x} in the line")]
    Crc {
        /// The checksum of the bytes.
        computed: u32,
        /// The checksum that the line states.
        stated: u32,
    },
    /// The bytes are not in the form of a line.
    #[error("expected {expected} at byte {at} of the line, found {found}")]
    Form {
        /// What should stand there.
        expected: &'static str,
        /// Where, counted from the line's first byte.
        at: usize,
        /// What stands there, escaped and cut short.
        found: String,
    },
    /// The event is not one that this version knows.
    #[error(
        "expected an event of formats 1 to {}, found one that cannot be read, perhaps of a newer version of orch: {message}",
        orch_core::record::NEWEST_FORMAT
    )]
    Event {
        /// The reader's complaint.
        message: String,
    },
}

impl<'a> Line<'a> {
    /// The line's bytes, without the newline.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The part of the line that its batch's chain link is made of: all of it, or up to `,"chain":`.
    pub fn chained(&self) -> &'a [u8] {
        match self.chain {
            Some(_) => &self.raw[..self.raw.len() - CRC_TAIL - CHAIN_TAIL],
            None => self.raw,
        }
    }

    /// The event's name, for example `job_submitted`.
    pub fn event_name(&self) -> &'a str {
        let name = self.event_json.trim_start_matches(['{', '"']);
        name.split('"').next().unwrap_or(name)
    }

    /// The event.
    ///
    /// # Errors
    /// [`LineFault::Event`] if this version does not know such an event.
    pub fn event(&self) -> Result<Event, LineFault> {
        read_event(self.event_json)
    }

    /// The record.
    ///
    /// # Errors
    /// [`LineFault::Event`] if this version does not know such an event.
    pub fn record(&self) -> Result<Record, LineFault> {
        Ok(Record { seq: self.seq, at: self.at, event: self.event()? })
    }
}

/// Reads an event.
pub(crate) fn read_event(json: &str) -> Result<Event, LineFault> {
    serde_json::from_str(json).map_err(|error| LineFault::Event { message: error.to_string() })
}

/// Reads a line, given without its newline. Its checksum is looked at before anything else.
///
/// # Errors
/// [`LineFault`], the first fault found.
pub fn decode(raw: &[u8]) -> Result<Line<'_>, LineFault> {
    if raw.len() > MAX_LINE_BYTES {
        return Err(LineFault::TooLong { bytes: raw.len() });
    }
    let Some(body) = raw.len().checked_sub(CRC_TAIL) else {
        return Err(form("a line", 0, raw));
    };
    let stated =
        stated_crc(&raw[body..]).ok_or_else(|| form("`,\"crc\":\"` and 8 hex digits at its end", body, raw))?;
    let computed = crc32c::crc32c(&raw[..body]);
    if computed != stated {
        return Err(LineFault::Crc { computed, stated });
    }
    let mut cursor = Cursor { raw: &raw[..body], at: 0 };
    cursor.literal(LINE_START, "`{\"seq\":`")?;
    let seq = Seq(cursor.number("a seq from 1")?);
    cursor.literal(b",\"batch\":", "`,\"batch\":`")?;
    let batch = cursor.number("a batch number from 1")?;
    cursor.literal(b",\"left\":", "`,\"left\":`")?;
    let left = u32::try_from(cursor.number_or_zero("a count")?).map_err(|_| form("a smaller count", cursor.at, raw))?;
    cursor.literal(b",\"at\":\"", "`,\"at\":\"`")?;
    let at = cursor.time()?;
    cursor.literal(b"\",\"event\":", "`\",\"event\":`")?;
    let start = cursor.at;
    let (end, chain) = if left == 0 {
        let end = body.checked_sub(CHAIN_TAIL).filter(|end| *end >= start).unwrap_or(start);
        (end, Some(stated_chain(&raw[end..body]).ok_or_else(|| form("`,\"chain\":\"` and 64 hex digits", end, raw))?))
    } else {
        (body, None)
    };
    let event = &raw[start..end];
    if event.len() < 2 || event[0] != b'{' || event[event.len() - 1] != b'}' {
        return Err(form("an event in braces", start, raw));
    }
    let event_json = std::str::from_utf8(event).map_err(|error| form("UTF-8", start + error.valid_up_to(), raw))?;
    Ok(Line { seq, batch, left, at, event_json, chain, raw })
}

/// The line that `bytes` begin with, if they do, whatever follows it: for looking into a tail whose newlines may be
/// damaged.
pub fn decode_prefix(bytes: &[u8]) -> Option<Line<'_>> {
    if !bytes.starts_with(LINE_START) {
        return None;
    }
    let window = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    // The key can also stand inside an event; then the checksum does not fit and the search goes on.
    memchr::memmem::find_iter(window, CRC_KEY).find_map(|body| decode(window.get(..body + CRC_TAIL)?).ok())
}

fn stated_crc(tail: &[u8]) -> Option<u32> {
    let digits = tail.strip_prefix(CRC_KEY)?.strip_suffix(b"\"}")?;
    digits.iter().try_fold(0, |crc, digit| Some(crc << 4 | u32::from(nibble(*digit)?)))
}

fn stated_chain(tail: &[u8]) -> Option<Digest> {
    let digits = tail.strip_prefix(CHAIN_KEY)?.strip_suffix(b"\"")?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(Digest(digest))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn form(expected: &'static str, at: usize, raw: &[u8]) -> LineFault {
    let rest = raw.get(at..).unwrap_or_default();
    let found = match rest.len() {
        0 => "the end".to_owned(),
        n => format!("`{}`", rest[..n.min(24)].escape_ascii()),
    };
    LineFault::Form { expected, at, found }
}

struct Cursor<'a> {
    raw: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn literal(&mut self, literal: &[u8], expected: &'static str) -> Result<(), LineFault> {
        if !self.raw[self.at..].starts_with(literal) {
            return Err(form(expected, self.at, self.raw));
        }
        self.at += literal.len();
        Ok(())
    }

    fn number(&mut self, expected: &'static str) -> Result<u64, LineFault> {
        let at = self.at;
        match self.number_or_zero(expected)? {
            0 => Err(form(expected, at, self.raw)),
            n => Ok(n),
        }
    }

    /// Digits without a leading zero.
    fn number_or_zero(&mut self, expected: &'static str) -> Result<u64, LineFault> {
        let digits = self.raw[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = &self.raw[self.at..self.at + digits];
        let value =
            text.iter().try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
        match value {
            Some(value) if digits == 1 || (digits > 1 && text[0] != b'0') => {
                self.at += digits;
                Ok(value)
            }
            Some(_) | None => Err(form(expected, self.at, self.raw)),
        }
    }

    fn time(&mut self) -> Result<Timestamp, LineFault> {
        let text = self.raw.get(self.at..self.at + AT_BYTES);
        let time =
            text.and_then(at::decode).ok_or_else(|| form("a time like 2026-11-21T08:00:00.000Z", self.at, self.raw))?;
        self.at += AT_BYTES;
        Ok(time)
    }
}
