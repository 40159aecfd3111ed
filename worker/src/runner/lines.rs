//! Cuts a stream of bytes into lines of bounded length. Pure; bytes are not looked at, so they need not be UTF-8.

use prost::bytes::Bytes;

/// A line that is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} of the output is longer than {limit} bytes")]
pub(crate) struct LineTooLong {
    /// Which line, from 1, empty ones counted.
    pub number: u64,
    pub limit: usize,
}

/// The bytes of the line that has not ended yet.
#[derive(Debug)]
pub(crate) struct LineCutter {
    rest: Vec<u8>,
    limit: usize,
    ended: u64,
}

impl LineCutter {
    /// Lines may have at most `limit` bytes without their end.
    pub(crate) fn new(limit: usize) -> Self {
        Self { rest: Vec::new(), limit, ended: 0 }
    }

    /// The lines that end in `chunk`, without their ends (`\n` or `\r\n`); empty ones are left out.
    ///
    /// # Errors
    /// [`LineTooLong`]; the lines of the chunk before it are lost with it, since the job fails anyway.
    pub(crate) fn cut(&mut self, chunk: &[u8]) -> Result<Vec<Bytes>, LineTooLong> {
        let mut lines = Vec::new();
        let mut pieces = chunk.split(|&byte| byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.extend(piece)?;
            self.ended += 1;
            lines.extend(self.take());
        }
        self.extend(last)?;
        Ok(lines)
    }

    /// The last line, if the stream ended without ending it.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        self.take()
    }

    fn extend(&mut self, piece: &[u8]) -> Result<(), LineTooLong> {
        // One more for a carriage return, which is no part of the line.
        if self.rest.len() + piece.len() > self.limit + 1 {
            return Err(LineTooLong { number: self.ended + 1, limit: self.limit });
        }
        self.rest.extend_from_slice(piece);
        Ok(())
    }

    fn take(&mut self) -> Option<Bytes> {
        let line = self.rest.strip_suffix(b"\r").unwrap_or(&self.rest);
        let line = (!line.is_empty()).then(|| Bytes::copy_from_slice(line));
        self.rest.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_ends_are_no_part_of_a_line() {
        let mut cutter = LineCutter::new(10);
        assert_eq!(cutter.cut(b"a\r\n\nb\n\xff").unwrap(), [&b"a"[..], b"b"]);
        assert_eq!(cutter.finish().unwrap(), &b"\xff"[..]);
        assert_eq!(cutter.finish(), None);
    }

    #[test]
    fn a_long_line_is_refused_by_its_number_before_it_is_kept() {
        let mut cutter = LineCutter::new(4);
        cutter.cut(b"1234\n12").unwrap();
        let error = cutter.cut(b"34567").unwrap_err();
        assert_eq!(error.to_string(), "line 2 of the output is longer than 4 bytes");
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(text in "[ab\n]{0,200}", cuts in prop::collection::vec(1_usize..20, 1..50)) {
            let mut cutter = LineCutter::new(200);
            let mut lines = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, more) = rest.split_at((*cut).min(rest.len()));
                lines.extend(cutter.cut(chunk).unwrap());
                rest = more;
            }
            lines.extend(cutter.finish());
            let expected: Vec<Bytes> =
                text.split('\n').filter(|line| !line.is_empty()).map(|line| Bytes::from(line.to_owned())).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
