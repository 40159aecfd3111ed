//! Segments: the files that the lines lie in.
//!
//! [`scan`] cuts a file into lines; [`check`] follows the chain through one segment and hands out its batches in a
//! [`chunk`], where their events are read; [`list`] knows which segments
//! there are; [`offsets`] remembers where records lie.

pub(crate) mod check;
pub(crate) mod chunk;
pub(crate) mod list;
pub(crate) mod offsets;
pub(crate) mod scan;
