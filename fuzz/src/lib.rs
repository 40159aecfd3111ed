//! Malformed and hostile input for every parser and call of Orch.
//!
//! A [`Target`] takes any bytes and panics if a promise about them does not hold: nothing panics, what is read can be
//! written and read again, what is accepted can be replayed. The same functions are driven by the mutator in [`run`]
//! (stable Rust, seeded, in every test run) and by libFuzzer (`fuzz/libfuzzer`, guided by coverage). Inputs that once
//! failed, and those that reach furthest, are in `fuzz/corpus`. `docs/fuzzing.md` has the commands.

mod candidate;
mod commands;
mod contract;
pub mod corpus;
mod edge;
mod line;
mod manifest;
mod mutate;
mod recovery;
pub mod run;
mod runner;
mod sample;
mod wire;

pub use orch_ledger::disk::memory::Random;

pub use candidate::candidate;
pub use commands::{commands, reached};
pub use contract::contract;
pub use edge::{edge, recorded};
pub use line::line;
pub use manifest::manifest;
pub use recovery::recovery;
pub use runner::runner;
pub use wire::wire;

/// Something that takes any bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is also its folder in the corpus.
    pub name: &'static str,
    /// Takes bytes; panics if a promise does not hold.
    pub check: fn(&[u8]),
    /// Makes an input that is nearly right, for the mutator to begin with.
    pub sample: fn(&mut Random) -> Vec<u8>,
    /// Pieces that inputs of this target are made of.
    pub words: &'static [&'static str],
    /// Of so many parts of all cases, how many this target gets: slow ones get fewer.
    pub share: usize,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "line", check: line, sample: sample::line, words: sample::LINE_WORDS, share: 20 },
    Target { name: "recovery", check: recovery, sample: sample::recovery, words: sample::LINE_WORDS, share: 8 },
    Target { name: "contract", check: contract, sample: sample::contract, words: sample::CONTRACT_WORDS, share: 10 },
    Target { name: "manifest", check: manifest, sample: sample::manifest, words: sample::MANIFEST_WORDS, share: 12 },
    Target { name: "candidate", check: candidate, sample: sample::candidate, words: sample::JSON_WORDS, share: 20 },
    Target { name: "wire", check: wire, sample: sample::wire, words: sample::JSON_WORDS, share: 16 },
    Target { name: "commands", check: commands, sample: sample::commands, words: sample::JSON_WORDS, share: 8 },
    Target { name: "runner", check: runner, sample: sample::runner, words: sample::JSON_WORDS, share: 6 },
    Target { name: "edge", check: edge, sample: sample::edge, words: sample::JSON_WORDS, share: 1 },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
