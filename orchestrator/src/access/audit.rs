//! What is told of callers besides what they changed: refusals, warnings, and calls that record nothing by themselves.
//!
//! A flood of refused calls must not fill the disk. So the first of a kind is told at once, and the others of the same
//! minute are counted and told as one, at its end. Of a kind are the calls of one caller from one address to one call
//! with one outcome. There are at most [`MAX_KINDS`] kinds a minute; whatever comes beyond is counted together, as that
//! of `others`. So an hour of any flood is at most about 8,000 records, some two megabytes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orch_core::access::{Audited, MAX_AUDIT_TEXT, Verdict};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::engine::Handle;
use crate::engine::commands::access::Audit;

/// The most kinds of one window that are told apart.
const MAX_KINDS: usize = 64;

/// How long calls of a kind are counted before they are told.
const WINDOW: Duration = Duration::from_secs(60);

/// A call that is to be told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Who called.
    pub actor: String,
    /// From which address.
    pub from: String,
    /// What was called.
    pub call: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, if it was not simply let pass.
    pub reason: String,
    /// What it was about.
    pub target: String,
}

impl Seen {
    fn told(&self, count: u64) -> Audited {
        let Self { actor, from, call, verdict, reason, target } = self.clone();
        let target = target.chars().take(MAX_AUDIT_TEXT).collect();
        Audited { actor, from, call, verdict, reason, target, records: None, count }
    }
}

/// Takes in what is to be told, and tells it. Clones share it.
#[derive(Clone)]
pub struct Auditor {
    window: Arc<Mutex<Window>>,
    due: Arc<Notify>,
    objections: Arc<Objections>,
    handle: Handle,
}

/// How many calls were not simply let pass, since the start.
#[derive(Debug, Default)]
pub struct Objections {
    /// Calls that were refused.
    pub denied: AtomicU64,
    /// Calls that would have been, but for the policy.
    pub warned: AtomicU64,
}

#[derive(Default)]
struct Window {
    /// Per kind, how many came since it was last told.
    kinds: BTreeMap<Seen, u64>,
    /// By verdict, how many came of kinds beyond the bound.
    others: BTreeMap<Verdict, u64>,
    /// What is to be told at once.
    first: Vec<Audited>,
}

impl Window {
    /// Notes a call; whether something is to be told at once.
    fn note(&mut self, seen: Seen) -> bool {
        if let Some(count) = self.kinds.get_mut(&seen) {
            *count += 1;
            false
        } else if self.kinds.len() < MAX_KINDS {
            self.first.push(seen.told(1));
            self.kinds.insert(seen, 0);
            true
        } else {
            *self.others.entry(seen.verdict).or_default() += 1;
            false
        }
    }

    /// Everything that was not told yet; the next window begins.
    fn close(&mut self) -> Vec<Audited> {
        let Self { kinds, others, first } = std::mem::take(self);
        let counted = kinds.into_iter().filter(|(_, count)| *count > 0).map(|(seen, count)| seen.told(count));
        let other = |(verdict, count)| Audited {
            actor: "others".to_owned(),
            from: String::new(),
            call: "any".to_owned(),
            verdict,
            reason: String::new(),
            target: String::new(),
            records: None,
            count,
        };
        first.into_iter().chain(counted).chain(others.into_iter().map(other)).collect()
    }
}

impl Auditor {
    /// Tells through this engine until the stop.
    pub fn start(handle: Handle, stopping: CancellationToken) -> Self {
        let auditor = Self { window: Arc::default(), due: Arc::default(), objections: Arc::default(), handle };
        let telling = auditor.clone();
        tokio::spawn(async move {
            let mut windows = tokio::time::interval(WINDOW);
            windows.tick().await;
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = telling.due.notified() => {
                        let first = std::mem::take(&mut telling.lock().first);
                        telling.tell(first).await;
                    }
                    _ = windows.tick() => telling.flush().await,
                }
            }
        });
        auditor
    }

    /// Takes in a call.
    pub fn note(&self, seen: Seen) {
        if seen.verdict != Verdict::Allowed {
            let Seen { actor, from, call, verdict, reason, target } = &seen;
            tracing::debug!(actor, from, call, verdict = verdict.name(), reason, target, "a call was not allowed");
        }
        match seen.verdict {
            Verdict::Allowed => {}
            Verdict::Denied => _ = self.objections.denied.fetch_add(1, Ordering::Relaxed),
            Verdict::Warned => _ = self.objections.warned.fetch_add(1, Ordering::Relaxed),
        }
        if self.lock().note(seen) {
            self.due.notify_one();
        }
    }

    /// How many calls were not simply let pass.
    pub fn objections(&self) -> &Objections {
        &self.objections
    }

    /// Tells everything that was taken in until now, without waiting for the end of the minute.
    pub async fn flush(&self) {
        let told = self.lock().close();
        self.tell(told).await;
    }

    async fn tell(&self, entries: Vec<Audited>) {
        if entries.is_empty() {
            return;
        }
        let count = entries.len();
        if let Err(error) = self.handle.call_in_turn(Audit(entries)).await {
            tracing::warn!(%error, count, "what callers did could not be recorded, and is lost");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(actor: &str) -> Seen {
        Seen {
            actor: actor.into(),
            from: "192.0.2.1".into(),
            call: "AdminService/Submit".into(),
            verdict: Verdict::Denied,
            reason: "UNAUTHENTICATED".into(),
            target: String::new(),
        }
    }

    #[test]
    fn a_flood_is_a_few_records_and_every_call_of_it_counts() {
        let mut window = Window::default();
        assert!(window.note(seen("a")));
        assert!(!window.note(seen("a")));
        let others = 1000;
        for n in 0..others {
            window.note(seen(&format!("caller {n}")));
        }
        let told = window.close();
        assert!(told.len() <= 2 * MAX_KINDS + Verdict::ALL.len(), "{}", told.len());
        assert_eq!(told.iter().map(|entry| entry.count).sum::<u64>(), 2 + others);
        assert_eq!(told.last().map(|entry| entry.actor.as_str()), Some("others"));
        assert!(window.close().is_empty(), "it is told once");
    }
}
