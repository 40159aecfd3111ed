//! HEAD: the witness of the last durable batch.
//!
//! Two slots of 4 KiB are written in turn, so that a crash can tear at most the one being written. A slot is a JSON
//! line, filled up with spaces, that checks itself like a line of the ledger:
//!
//! ```text
//! {"generation":9,"epoch":2,"batch":8,"seq":31,"segment":14,"offset":2210,"chain":"<64 hex>","crc":"<8 hex>"}
//! ```
//!
//! `segment` is the first seq of the segment that the batch lies in, `offset` the byte after the batch in it. The slot
//! of a generation is its parity. A new ledger has generations 0 and 1, both naming batch 0: nothing.

use std::io;
use std::sync::Arc;

use orch_core::digest::Digest;
use orch_core::id::Seq;

use crate::chain::Link;
use crate::disk::{self, Access, Dir, File};
use crate::fault::Fault;
use crate::layout;

const SLOT: usize = 4096;

/// What HEAD says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Counts the writes of HEAD.
    pub generation: u64,
    /// The boot that wrote it.
    pub epoch: u64,
    /// The last durable batch; 0 for none.
    pub batch: u64,
    /// Its last record.
    pub seq: Seq,
    /// The first seq of its segment.
    pub segment: Seq,
    /// The offset of the byte after it.
    pub offset: u64,
    /// Its chain link.
    pub chain: Digest,
}

impl Head {
    /// The batch as a link of the chain.
    pub fn link(&self) -> Link {
        Link { seq: self.seq, batch: self.batch, chain: self.chain }
    }
}

/// Both slots as they were read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    slots: [Option<Head>; 2],
}

impl Slots {
    /// The later of the readable slots.
    pub(crate) fn newest(&self) -> Option<Head> {
        self.slots.iter().flatten().copied().max_by_key(|head| head.generation)
    }

    /// Whether one slot cannot be read: a crash while it was written, or damage.
    pub(crate) fn one_damaged(&self) -> bool {
        self.slots.iter().any(Option::is_none)
    }
}

fn encode(head: &Head) -> [u8; SLOT] {
    let Head { generation, epoch, batch, seq, segment, offset, chain } = head;
    let body = format!(
        "{{\"generation\":{generation},\"epoch\":{epoch},\"batch\":{batch},\"seq\":{seq},\"segment\":{segment},\"offset\":{offset},\"chain\":\"{chain}\""
    );
    let text = format!("{body},\"crc\":\"{:08x}\"}}", crc32c::crc32c(body.as_bytes()));
    let mut slot = [b' '; SLOT];
    slot[..text.len()].copy_from_slice(text.as_bytes());
    slot[SLOT - 1] = b'\n';
    slot
}

/// Reads the fields and compares the slot with what these fields would be written as: no byte can differ.
fn decode(slot: &[u8], parity: u64) -> Option<Head> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        generation: u64,
        epoch: u64,
        batch: u64,
        seq: u64,
        segment: u64,
        offset: u64,
        chain: Digest,
        // Compared with the rest of the bytes.
        #[serde(rename = "crc")]
        _crc: serde::de::IgnoredAny,
    }
    let Fields { generation, epoch, batch, seq, segment, offset, chain, .. } = serde_json::from_slice(slot).ok()?;
    let head = Head { generation, epoch, batch, seq: Seq(seq), segment: Seq(segment), offset, chain };
    (generation % 2 == parity && encode(&head) == slot).then_some(head)
}

/// Reads both slots. `None` if there is no HEAD.
pub(crate) fn read(dir: &dyn Dir) -> io::Result<Option<Slots>> {
    let bytes = match disk::read_file(dir, layout::HEAD, 2 * SLOT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let slot = |n: usize| bytes.get(n * SLOT..(n + 1) * SLOT).and_then(|slot| decode(slot, n as u64));
    Ok(Some(Slots { slots: [slot(0), slot(1)] }))
}

/// What HEAD names, read beside a writer and without a lock.
///
/// # Errors
/// An IO error, or `InvalidData` with [`Fault::HeadMissing`] or [`Fault::HeadDamaged`] in it.
pub fn durable_head(dir: &dyn Dir) -> io::Result<Head> {
    // A writer changes one slot at a time, but a slow reader can meet it in both: then it reads again.
    for _ in 0..100 {
        let Some(slots) = read(dir)? else { return Err(io::Error::new(io::ErrorKind::NotFound, Fault::HeadMissing)) };
        if let Some(head) = slots.newest() {
            return Ok(head);
        }
        std::thread::yield_now();
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, Fault::HeadDamaged))
}

/// HEAD, open for writing.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: Arc<dyn File>,
    generation: u64,
}

impl HeadFile {
    /// Writes a HEAD that names this batch (the default names nothing), durable together with its entry in the directory.
    pub(crate) fn create(dir: &dyn Dir, head: Head) -> io::Result<Self> {
        let file = dir.open(layout::HEAD, Access::Create)?;
        for generation in 0..2 {
            let slot = encode(&Head { generation, ..head });
            disk::write_all_at(&*file, &slot, generation * SLOT as u64)?;
        }
        file.set_len(2 * SLOT as u64)?;
        file.sync_all()?;
        dir.sync_dir("")?;
        Ok(Self { file, generation: 1 })
    }

    /// Goes on after what was read, made durable: the newest slot may be in the page cache only, and were it torn
    /// together with the next one, none would be left. It is written again because a sync of it may have failed, after
    /// which the system takes it for clean.
    pub(crate) fn open(dir: &dyn Dir, newest: &Head) -> io::Result<Self> {
        let file = dir.open(layout::HEAD, Access::Write)?;
        let generation = newest.generation;
        disk::write_all_at(&*file, &encode(newest), generation % 2 * SLOT as u64)?;
        file.sync_data()?;
        Ok(Self { file, generation })
    }

    /// Writes the slot that is not the newest. Durable only after [`HeadFile::sync`], which must come before the next
    /// write: else both slots could be torn. A write that failed is repeated in the same slot.
    pub(crate) fn write(&mut self, head: Head) -> io::Result<()> {
        let generation = self.generation + 1;
        let slot = encode(&Head { generation, ..head });
        disk::write_all_at(&*self.file, &slot, generation % 2 * SLOT as u64)?;
        self.generation = generation;
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_a_slot_counts() {
        let head = Head {
            generation: 7,
            epoch: 2,
            batch: 9,
            seq: Seq(33),
            segment: Seq(4),
            offset: 999,
            chain: Digest::of(b"x"),
        };
        let slot = encode(&head);
        assert_eq!(decode(&slot, 1), Some(head));
        assert_eq!(decode(&slot, 0), None, "the slot of another generation");
        for bit in 0..SLOT * 8 {
            let mut bad = slot;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad, 1), None, "bit {bit}");
        }
    }
}
