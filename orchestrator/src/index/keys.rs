//! Keys of the store. Numbers are big-endian, so that the order of bytes is the order of numbers.
//!
//! ```text
//! b <block: 8>                          entries: see [`super::block`]
//! l <queue> 00 <phase: 1> <block: 8>    a bitmap: the places of that block in this queue and phase
//! m                                     the mark
//! ```

use orch_core::summary::JobPhase;

use super::block::BlockId;

pub(super) const MARK: &[u8] = b"m";

/// Every phase, in the order of their codes.
pub(super) const PHASES: [JobPhase; 8] = [
    JobPhase::Blocked,
    JobPhase::Ready,
    JobPhase::Delayed,
    JobPhase::Leased,
    JobPhase::Done,
    JobPhase::Failed,
    JobPhase::Cancelled,
    JobPhase::Running,
];

pub(super) const fn phase_code(phase: JobPhase) -> u8 {
    match phase {
        JobPhase::Blocked => 0,
        JobPhase::Ready => 1,
        JobPhase::Delayed => 2,
        JobPhase::Leased => 3,
        JobPhase::Done => 4,
        JobPhase::Failed => 5,
        JobPhase::Cancelled => 6,
        JobPhase::Running => 7,
    }
}

pub(super) fn block(block: BlockId) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(b'b');
    key.extend_from_slice(&block.0.to_be_bytes());
    key
}

/// Behind every block.
pub(super) const BLOCKS_END: &[u8] = b"c";

pub(super) fn listed(queue: &str, phase: JobPhase, block: BlockId) -> Vec<u8> {
    let mut key = Vec::with_capacity(queue.len() + 11);
    key.push(b'l');
    key.extend_from_slice(queue.as_bytes());
    key.extend_from_slice(&[0, phase_code(phase)]);
    key.extend_from_slice(&block.0.to_be_bytes());
    key
}

/// Behind every listing of a queue and phase.
pub(super) fn listed_end(queue: &str, phase: JobPhase) -> Vec<u8> {
    let mut key = Vec::with_capacity(queue.len() + 3);
    key.push(b'l');
    key.extend_from_slice(queue.as_bytes());
    key.extend_from_slice(&[0, phase_code(phase) + 1]);
    key
}

/// The queue of a listing.
pub(super) fn listed_queue(key: &[u8]) -> Option<&str> {
    let names = key.strip_prefix(b"l")?;
    let end = names.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&names[..end]).ok()
}

/// Behind every listing of a queue. No name holds a byte below 1.
pub(super) fn queue_end(queue: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(queue.len() + 2);
    key.push(b'l');
    key.extend_from_slice(queue.as_bytes());
    key.push(1);
    key
}

/// The block in which a key ends.
pub(super) fn block_of(key: &[u8]) -> Option<BlockId> {
    let id = key.get(key.len().checked_sub(8)?..)?;
    Some(BlockId(u64::from_be_bytes(id.try_into().ok()?)))
}
