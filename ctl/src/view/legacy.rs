//! What an import of older results came to.

use orch_core::digest::Digest;
use serde::Serialize;

use crate::output::{Page, View};

/// A line that a gate rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedLine {
    /// From 1.
    pub line: u64,
    /// The rule it broke.
    pub rule: String,
    pub message: String,
}

/// What an import of older results came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegacyView {
    /// The seq of the record that started it.
    pub import: u64,
    pub file: String,
    pub file_sha256: Digest,
    pub contract: String,
    /// The whole file was imported before: nothing was done now.
    pub finished_before: bool,
    pub accepted: u64,
    pub duplicate: u64,
    pub rejected: u64,
    /// The first of the lines that were rejected now, at most 100.
    pub rejections: Vec<RejectedLine>,
}

impl View for LegacyView {
    fn table(&self, _page: &Page) -> String {
        if self.finished_before {
            return format!("{} was imported before, as import {}: nothing to do", self.file, self.import);
        }
        let Self { import, file, contract, accepted, duplicate, rejected, .. } = self;
        format!(
            "{file}: import {import}, judged by {contract}: {accepted} accepted, {duplicate} duplicate, \
             {rejected} rejected"
        )
    }

    fn names(&self) -> Vec<String> {
        vec![self.import.to_string()]
    }
}
