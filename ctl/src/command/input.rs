//! Reading what the command line names: files, standard input, payloads.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use orch_core::job::{MAX_PAYLOAD_BYTES, Payload};

use crate::exit::Failure;

/// The most bytes of a file that is read as a whole. What is larger belongs into `orchctl import`.
const MAX_TEXT_BYTES: u64 = 64 * 1024 * 1024;

/// The most bytes of one line of JSON: far more than a job or a candidate may have.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// The name of an input for people.
pub fn name(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The whole text of a file, or of standard input for `-`.
pub fn text(path: &Path) -> Result<String, Failure> {
    let cannot = |why: &str| Failure::usage(format!("cannot read {}{why}", name(path)));
    let mut bytes = Vec::new();
    let read = open(path)?.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| cannot("").fix("name a file that can be read").because(error))?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(cannot(": it has more than 64 MiB").fix("for many jobs use `orchctl import FILE.jsonl`"));
    }
    String::from_utf8(bytes).map_err(|error| cannot(": it is not UTF-8").because(error))
}

/// A file to read in pieces, or standard input for `-`.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    if is_stdin(path) {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let cannot = |error| {
        Failure::usage(format!("cannot open {}", name(path))).fix("name a file that can be read").because(error)
    };
    let file = File::open(path).map_err(cannot)?;
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(Failure::usage(format!("cannot read {}: it is a directory", name(path))).fix("name a file"));
    }
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}

/// The length of a file, for a progress bar.
pub fn length(path: &Path) -> Option<u64> {
    let meta = std::fs::metadata(path).ok()?;
    meta.is_file().then_some(meta.len())
}

/// One line read from an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLine {
    /// A line, with its newline, of so many bytes.
    Whole(usize),
    /// A line longer than [`MAX_LINE_BYTES`]: its start was read, the rest passed over. So many bytes in all.
    Cut(usize),
    /// The input is over.
    End,
}

/// Reads a line into `line`, without its newline, and never more than [`MAX_LINE_BYTES`] of it.
pub fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<ReadLine> {
    line.clear();
    let mut bytes = 0;
    loop {
        let block = input.fill_buf()?;
        if block.is_empty() {
            break;
        }
        let end = block.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(block.len(), |end| end + 1);
        let wanted = end.unwrap_or(taken).min(MAX_LINE_BYTES - line.len().min(MAX_LINE_BYTES));
        line.extend_from_slice(&block[..wanted]);
        bytes += taken;
        input.consume(taken);
        if end.is_some() {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(match bytes {
        0 => ReadLine::End,
        _ if bytes > MAX_LINE_BYTES + 2 => ReadLine::Cut(bytes),
        _ => ReadLine::Whole(bytes),
    })
}

/// The payload that an argument means: JSON, `@FILE`, or `-` for standard input.
pub fn payload(argument: &str) -> Result<Payload, Failure> {
    let (source, bytes) = match argument.strip_prefix('@') {
        Some(file) => (format!("payload in {file}"), text(Path::new(file))?),
        None if argument == "-" => ("payload on standard input".to_owned(), text(Path::new("-"))?),
        None => ("payload".to_owned(), argument.to_owned()),
    };
    Payload::parse(bytes.trim().as_bytes()).map_err(|error| {
        let fix = format!("give JSON of at most {MAX_PAYLOAD_BYTES} bytes, in quotes: --payload '{{\"a\": 1}}'");
        Failure::usage(source).fix(fix).because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(Vec<u8>, ReadLine)> {
        let mut input = BufReader::with_capacity(3, bytes);
        let mut found = Vec::new();
        loop {
            let mut line = Vec::new();
            match read_line(&mut input, &mut line).unwrap() {
                ReadLine::End => return found,
                read => found.push((line, read)),
            }
        }
    }

    #[test]
    fn lines_end_at_newlines_and_at_the_end() {
        let found = lines(b"one\r\n\nthree");
        let expected: Vec<(Vec<u8>, ReadLine)> = vec![
            (b"one".to_vec(), ReadLine::Whole(5)),
            (b"".to_vec(), ReadLine::Whole(1)),
            (b"three".to_vec(), ReadLine::Whole(5)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let mut bytes = vec![b'x'; MAX_LINE_BYTES + 100];
        bytes.extend_from_slice(b"\nnext\n");
        let mut input = BufReader::new(bytes.as_slice());
        let mut line = Vec::new();
        assert_eq!(read_line(&mut input, &mut line).unwrap(), ReadLine::Cut(MAX_LINE_BYTES + 101));
        assert_eq!(line.len(), MAX_LINE_BYTES);
        assert_eq!(read_line(&mut input, &mut line).unwrap(), ReadLine::Whole(5));
        assert_eq!(line, b"next");
    }

    #[test]
    fn a_payload_is_json_or_a_file() {
        assert_eq!(payload("{\"b\":1, \"a\":2}").unwrap().as_str(), "{\"a\":2,\"b\":1}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[1]\n").unwrap();
        assert_eq!(payload(&format!("@{}", file.path().display())).unwrap().as_str(), "[1]");
        assert!(payload("{a: 1}").is_err());
        assert!(payload("@/nonexistent").is_err());
    }
}
