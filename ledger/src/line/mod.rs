//! One line of the ledger: its exact bytes, both ways.
//!
//! ```text
//! {"seq":7,"batch":3,"left":1,"at":"2026-11-21T08:00:00.000Z","event":{...},"crc":"1f2e3d4c"}
//! {"seq":8,"batch":3,"left":0,"at":"2026-11-21T08:00:00.000Z","event":{...},"chain":"<64 hex>","crc":"0a1b2c3d"}
//! ```
//!
//! Fields stand in this order and there is no space between them; numbers are decimal without leading zeros. `left`
//! says how many lines of the batch follow. `crc` is the CRC-32C (Castagnoli) of every byte of the line before
//! `,"crc":`. The line that ends a batch, the one with `left` 0, has the `chain` link, which [`crate::chain`] explains.
//! The newline after a line belongs to no line.

mod at;
mod decode;
mod encode;

pub(crate) use decode::read_event;
pub use decode::{Line, LineFault, decode, decode_prefix};
pub(crate) use encode::{AtText, EventFault, check_event, encode_batch};

/// The longest line, without its newline.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// The longest event that surely fits into a line: the fields around it take less than 256 bytes.
pub const MAX_EVENT_BYTES: usize = MAX_LINE_BYTES - 256;

/// The deepest nesting of an event, its own braces included. `serde_json` reads no deeper than 128.
pub const MAX_EVENT_DEPTH: usize = 100;

/// The most bytes of a batch. Longer, and a torn batch could not be told from damage.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

/// How every line starts.
pub(crate) const LINE_START: &[u8] = b"{\"seq\":";

const CRC_KEY: &[u8] = b",\"crc\":\"";
const CHAIN_KEY: &[u8] = b",\"chain\":\"";
/// `,"crc":"xxxxxxxx"}`
const CRC_TAIL: usize = CRC_KEY.len() + 8 + 2;
/// `,"chain":"<64>"`
const CHAIN_TAIL: usize = CHAIN_KEY.len() + 64 + 1;
