//! The bytes of a file, in sectors that copies share until one is written.

use std::ops::RangeInclusive;
use std::sync::Arc;

/// What a disk writes or does not write, in bytes.
pub const SECTOR: usize = 512;

/// A sector; without one it reads as zeros.
pub(super) type Sector = Option<Arc<[u8; SECTOR]>>;

/// The bytes of a file. What lies behind its sectors, up to its length, reads as zeros.
#[derive(Clone, Default)]
pub(super) struct Content {
    sectors: Vec<Sector>,
    pub(super) len: usize,
}

impl Content {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(bytes, 0);
        content
    }

    pub(super) fn sector(&self, i: usize) -> Sector {
        self.sectors.get(i).cloned().flatten()
    }

    /// Replaces a sector; the length stays.
    pub(super) fn set_sector(&mut self, i: usize, sector: Sector) {
        if i >= self.sectors.len() {
            if sector.is_none() {
                return;
            }
            self.sectors.resize(i + 1, None);
        }
        self.sectors[i] = sector;
    }

    /// The sectors that are more than zeros from this one on.
    pub(super) fn sectors_from(&self, first: usize) -> impl Iterator<Item = usize> + '_ {
        (first..self.sectors.len()).filter(|i| self.sectors[*i].is_some())
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let n = self.len.saturating_sub(offset).min(buffer.len());
        let mut done = 0;
        while done < n {
            let (i, within) = ((offset + done) / SECTOR, (offset + done) % SECTOR);
            let part = &mut buffer[done..n.min(done + SECTOR - within)];
            match self.sectors.get(i) {
                Some(Some(sector)) => part.copy_from_slice(&sector[within..within + part.len()]),
                Some(None) | None => part.fill(0),
            }
            done += part.len();
        }
        n
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let mut done = 0;
        while done < bytes.len() {
            let (i, within) = ((offset + done) / SECTOR, (offset + done) % SECTOR);
            let part = &bytes[done..bytes.len().min(done + SECTOR - within)];
            if i >= self.sectors.len() {
                self.sectors.resize(i + 1, None);
            }
            let sector = self.sectors[i].get_or_insert_with(|| Arc::new([0; SECTOR]));
            Arc::make_mut(sector)[within..within + part.len()].copy_from_slice(part);
            done += part.len();
        }
        self.len = self.len.max(offset + bytes.len());
    }

    /// Cuts or lengthens; what is behind the end reads as zeros should it grow again.
    pub(super) fn set_len(&mut self, len: usize) {
        if len < self.len {
            self.sectors.truncate(len.div_ceil(SECTOR));
            if let Some(Some(last)) = self.sectors.get_mut(len / SECTOR) {
                Arc::make_mut(last)[len % SECTOR..].fill(0);
            }
        }
        self.len = len;
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(&mut bytes, 0);
        bytes
    }
}

/// The sectors that a range of bytes touches; none if it is empty.
pub(super) fn touched(offset: usize, len: usize) -> RangeInclusive<usize> {
    #[allow(clippy::reversed_empty_ranges)]
    if len == 0 { 1..=0 } else { offset / SECTOR..=(offset + len - 1) / SECTOR }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_file() {
        let mut random = super::super::Random::new(1);
        for _ in 0..200 {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for _ in 0..20 {
                let (at, len) = (random.below(2000), random.below(1500));
                if random.flip() {
                    let bytes = random.bytes(len);
                    content.write(&bytes, at);
                    if len > 0 {
                        model.resize(model.len().max(at + len), 0);
                        model[at..at + len].copy_from_slice(&bytes);
                    }
                    content.len = model.len();
                } else {
                    content.set_len(at);
                    model.resize(at, 0);
                }
                assert_eq!(content.bytes(), model);
            }
        }
    }
}
