//! The switch for retries, and workers that get jobs again.

use serde::Serialize;

use crate::output::{Page, View};

/// How the switch stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetriesView {
    pub paused: bool,
    /// Whether it stood otherwise before.
    pub changed: bool,
    /// A record that says so, or a later one.
    pub seq: Option<u64>,
}

impl View for RetriesView {
    fn table(&self, _page: &Page) -> String {
        match (self.paused, self.changed) {
            (true, _) => "retries are paused".to_owned(),
            (false, true) => "retries go on".to_owned(),
            (false, false) => "retries were not paused".to_owned(),
        }
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A worker that gets jobs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerResumedView {
    pub worker: String,
    /// The record that says so.
    pub seq: Option<u64>,
}

impl View for WorkerResumedView {
    fn table(&self, _page: &Page) -> String {
        format!("worker {} gets jobs again", self.worker)
    }

    fn names(&self) -> Vec<String> {
        vec![self.worker.clone()]
    }
}
