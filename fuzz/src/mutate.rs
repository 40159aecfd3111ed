//! The mutator: takes an input that is nearly right and makes it wrong.

use crate::{Random, Target};

/// The longest input, but for samples that are longer.
const MAX_BYTES: usize = 64 << 10;

/// Bytes and numbers that are wrong more often than others.
const EDGES: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x80",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e400",
    b"-0.0",
    b"1e-400",
    b"0.1e1",
    b"\\ud800",
    b"\\u0000",
    b"\xef\xbb\xbf",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":{\"a\":",
    b"}",
    b"]",
    b"\"",
    b",",
    b"\n",
    b"\r\n",
    b"\t",
    b": ",
    b"- ",
    b"&a *a",
    b"!!binary ",
    b"---\n",
];

/// A mutation of some of these inputs, or of a new sample.
pub(crate) fn mutated(target: &Target, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = pick(target, corpus, random);
    for _ in 0..1 + random.below(5) {
        change(&mut input, target, corpus, random);
    }
    input
}

/// An input to begin with: one of the corpus, or a new sample.
fn pick(target: &Target, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    match corpus.len() {
        n if n > 0 && random.flip() => corpus[random.below(n)].clone(),
        _ => (target.sample)(random),
    }
}

fn change(input: &mut Vec<u8>, target: &Target, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(10) {
        0 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        1 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] = random.bytes(1)[0];
        }
        2 => input.truncate(at),
        3 => insert(input, at, EDGES[random.below(EDGES.len())]),
        4 | 5 if !target.words.is_empty() => {
            insert(input, at, target.words[random.below(target.words.len())].as_bytes())
        }
        6 => {
            // A piece of it is gone, or there twice.
            let end = at + random.below(input.len() - at + 1).min(64);
            let piece: Vec<u8> = input.drain(at..end).collect();
            if random.flip() {
                insert(input, at, &piece);
                insert(input, at, &piece);
            }
        }
        7 => {
            let other = pick(target, corpus, random);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        8 => {
            let bytes = random.below(16);
            let bytes = random.bytes(bytes);
            insert(input, at, &bytes);
        }
        _ => {
            // A number becomes another one.
            let Some(digit) = input.iter().skip(at).position(u8::is_ascii_digit).map(|n| n + at) else { return };
            let end = input[digit..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |n| n + digit);
            let number = [0, 1, 255, 1 << 31, u64::from(u32::MAX), i64::MAX as u64, u64::MAX][random.below(7)];
            let number = number.to_string();
            input.splice(digit..end, number.bytes());
        }
    }
    input.truncate(input.len().min(MAX_BYTES.max(1 << 21)));
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let at = at.min(input.len());
    if input.len() + bytes.len() <= MAX_BYTES {
        input.splice(at..at, bytes.iter().copied());
    }
}
