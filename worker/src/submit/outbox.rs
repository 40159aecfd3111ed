//! What was produced and not yet acknowledged: a pure state machine without clock, task or socket.
//!
//! Promises, each held by the property test in `outbox/tests.rs`: batches of a lease go out in order
//! and without gaps; nothing is forgotten before its verdicts arrive or its lease is lost; sent and unanswered bytes
//! stay within the window; after a break everything unanswered goes out again, in the same batches with the same
//! numbers. Time comes in as a duration since the worker's start.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use orch_core::id::LeaseId;
use prost::bytes::Bytes;

use super::message::{Answer, Bounds, Effect, End, Failure, FailureKind, Message, Refusal, Tally, cost};

/// A wait before resending after a gap, so that the refusals of what was already under way arrive before it.
const GAP_PAUSE: Duration = Duration::from_millis(20);

/// Gaps in a row without one batch accepted in between, after which the orchestrator makes no sense.
const MAX_GAPS: u32 = 100;

#[derive(Debug)]
struct Kept {
    number: u64,
    candidates: Vec<Bytes>,
    bytes: usize,
    sent: bool,
}

#[derive(Debug, Default)]
struct Entry {
    batches: VecDeque<Kept>,
    /// How many batches were ever offered; the next one is this + 1.
    offered: u64,
    end: Option<End>,
    end_sent: bool,
    hold_until: Duration,
    gaps: u32,
    /// Whether the lease stands in the queue of those with something to send.
    queued: bool,
}

impl Entry {
    fn has_unsent(&self) -> bool {
        self.batches.iter().any(|batch| !batch.sent) || (self.end.is_some() && !self.end_sent)
    }

    /// Everything from batch `number` on counts as not sent; returns the bytes that left the window.
    fn unsend_from(&mut self, number: u64) -> usize {
        self.end_sent = false;
        let mut bytes = 0;
        for batch in self.batches.iter_mut().filter(|batch| batch.number >= number && batch.sent) {
            batch.sent = false;
            bytes += batch.bytes;
        }
        bytes
    }
}

/// What a lease may send now.
enum Next {
    Message(Message),
    /// Its next batch waits for verdicts on others.
    WindowFull,
    /// It has nothing to send, or is held back.
    NotNow,
}

/// Results of all leases, from their packing to their acknowledgement.
#[derive(Debug)]
pub(crate) struct Outbox {
    bounds: Bounds,
    entries: BTreeMap<LeaseId, Entry>,
    /// Leases with something to send, in turn, so that a lease with many batches does not starve the others.
    turn: VecDeque<LeaseId>,
    in_flight: usize,
    kept: usize,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, entries: BTreeMap::new(), turn: VecDeque::new(), in_flight: 0, kept: 0 }
    }

    /// Sets the bytes that may be sent and unanswered, as the orchestrator said at registration.
    pub(crate) fn set_window(&mut self, window: usize) {
        self.bounds.window = window;
    }

    /// Starts a lease's numbering.
    pub(crate) fn open(&mut self, lease: LeaseId) {
        self.entries.entry(lease).or_default();
    }

    /// Whether a batch of so many bytes may be offered now. One batch always may when nothing is kept.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.kept == 0 || self.kept + bytes <= self.bounds.keep
    }

    /// Keeps a batch until its verdicts arrive. False, and nothing kept, if the lease is unknown or has ended.
    pub(crate) fn offer(&mut self, lease: LeaseId, candidates: Vec<Bytes>) -> bool {
        let Some(entry) = self.entries.get_mut(&lease).filter(|entry| entry.end.is_none()) else {
            return false;
        };
        let bytes = candidates.iter().map(cost).sum();
        entry.offered += 1;
        entry.batches.push_back(Kept { number: entry.offered, candidates, bytes, sent: false });
        self.kept += bytes;
        self.queue(lease);
        true
    }

    /// Notes how the job ended; it goes out behind its batches. False if the lease is unknown or has an end.
    pub(crate) fn end(&mut self, lease: LeaseId, end: End) -> bool {
        let Some(entry) = self.entries.get_mut(&lease).filter(|entry| entry.end.is_none()) else {
            return false;
        };
        entry.end = Some(end);
        self.queue(lease);
        true
    }

    /// Forgets a lease and everything kept for it. False if it was unknown.
    pub(crate) fn forget(&mut self, lease: LeaseId) -> bool {
        let Some(entry) = self.entries.remove(&lease) else {
            return false;
        };
        for batch in entry.batches {
            self.released(batch.bytes, batch.sent);
        }
        true
    }

    /// The stream broke: nothing that was sent and not answered counts as sent.
    pub(crate) fn disconnected(&mut self) {
        for entry in self.entries.values_mut() {
            let _ = entry.unsend_from(0);
        }
        self.in_flight = 0;
        let leases: Vec<LeaseId> = self.entries.keys().copied().collect();
        for lease in leases {
            self.queue(lease);
        }
    }

    /// The next message to send, if any may go now. It counts as sent.
    pub(crate) fn next_message(&mut self, now: Duration) -> Option<(LeaseId, Message)> {
        for _ in 0..self.turn.len() {
            let lease = self.turn.pop_front()?;
            let next = self.next_of(lease, now);
            if let Some(entry) = self.entries.get_mut(&lease) {
                entry.queued = entry.has_unsent();
                match (&next, entry.queued) {
                    // First in line again when the window opens, or small batches of others could pass it for ever.
                    (Next::WindowFull, _) => self.turn.push_front(lease),
                    (Next::Message(_) | Next::NotNow, true) => self.turn.push_back(lease),
                    (Next::Message(_) | Next::NotNow, false) => {}
                }
            }
            match next {
                Next::Message(message) => return Some((lease, message)),
                Next::WindowFull => return None,
                Next::NotNow => {}
            }
        }
        None
    }

    fn next_of(&mut self, lease: LeaseId, now: Duration) -> Next {
        let Some(entry) = self.entries.get_mut(&lease).filter(|entry| entry.hold_until <= now) else {
            return Next::NotNow;
        };
        if let Some(batch) = entry.batches.iter_mut().find(|batch| !batch.sent) {
            // A batch larger than the window goes alone, or it would never go.
            if self.in_flight != 0 && self.in_flight + batch.bytes > self.bounds.window {
                return Next::WindowFull;
            }
            batch.sent = true;
            self.in_flight += batch.bytes;
            return Next::Message(Message::Batch { number: batch.number, candidates: batch.candidates.clone() });
        }
        let Some(end) = entry.end.as_ref().filter(|_| !entry.end_sent) else {
            return Next::NotNow;
        };
        entry.end_sent = true;
        Next::Message(match end {
            End::Complete => Message::Complete { batches: entry.offered },
            End::Fail(failure) => Message::Fail(failure.clone()),
        })
    }

    /// When something that is held back may go, if anything is held back.
    pub(crate) fn next_wake(&self, now: Duration) -> Option<Duration> {
        self.entries
            .values()
            .filter(|entry| entry.has_unsent())
            .map(|entry| entry.hold_until)
            .filter(|&until| until > now)
            .min()
    }

    /// Takes in an answer.
    pub(crate) fn answer(&mut self, lease: LeaseId, answer: Answer, now: Duration) -> Effect {
        match answer {
            Answer::Verdicts { number, tally } => self.judged(lease, number, tally),
            Answer::Ended => {
                if self.forget(lease) {
                    Effect::Ended
                } else {
                    Effect::Nothing
                }
            }
            Answer::Refused(refusal) => self.refused(lease, refusal, now),
        }
    }

    fn judged(&mut self, lease: LeaseId, number: u64, tally: Tally) -> Effect {
        let Some(entry) = self.entries.get_mut(&lease) else {
            return Effect::Nothing;
        };
        let Some(position) = entry.batches.iter().position(|batch| batch.number == number) else {
            return Effect::Nothing;
        };
        entry.gaps = 0;
        if let Some(batch) = entry.batches.remove(position) {
            self.released(batch.bytes, batch.sent);
        }
        Effect::Judged(tally)
    }

    fn refused(&mut self, lease: LeaseId, refusal: Refusal, now: Duration) -> Effect {
        let Some(entry) = self.entries.get_mut(&lease) else {
            return Effect::Nothing;
        };
        match refusal.reason.as_str() {
            "LEASE_LOST" | "NOT_GRANTEE" => {
                self.forget(lease);
                Effect::Lost(refusal.to_string())
            }
            "BATCH_GAP" => {
                entry.gaps += 1;
                let first_kept = entry.batches.front().map(|batch| batch.number);
                // Without a kept batch of that number the orchestrator speaks of results that it once acknowledged
                // or that never were: resending cannot heal this.
                if entry.gaps <= MAX_GAPS && first_kept.is_some_and(|first| first <= refusal.expected) {
                    self.resend(lease, refusal.expected, now + GAP_PAUSE);
                    return Effect::Nothing;
                }
                self.replace_by_failure(lease, &refusal)
            }
            _ if !refusal.retry_after.is_zero() => {
                let from = if refusal.number == 0 { u64::MAX } else { refusal.number };
                self.resend(lease, from, now + refusal.retry_after);
                Effect::Nothing
            }
            _ => self.replace_by_failure(lease, &refusal),
        }
    }

    /// Sends batch `from` and all behind it again, not before `not_before`.
    fn resend(&mut self, lease: LeaseId, from: u64, not_before: Duration) {
        if let Some(entry) = self.entries.get_mut(&lease) {
            entry.hold_until = not_before;
            self.in_flight -= entry.unsend_from(from);
            self.queue(lease);
        }
    }

    /// Drops the lease's results and sends a failure in their place; if even that was refused, forgets the lease.
    fn replace_by_failure(&mut self, lease: LeaseId, refusal: &Refusal) -> Effect {
        let Some(entry) = self.entries.get_mut(&lease) else {
            return Effect::Nothing;
        };
        let message = refusal.to_string();
        if refusal.number == 0 && matches!(entry.end, Some(End::Fail(_))) {
            self.forget(lease);
            return Effect::Lost(message);
        }
        let dropped = std::mem::take(&mut entry.batches);
        let failure = Failure { kind: FailureKind::Error, message: message.clone(), exit_code: None };
        entry.end = Some(End::Fail(failure));
        entry.end_sent = false;
        entry.hold_until = Duration::ZERO;
        for batch in dropped {
            self.released(batch.bytes, batch.sent);
        }
        self.queue(lease);
        Effect::Replaced(message)
    }

    fn released(&mut self, bytes: usize, sent: bool) {
        self.kept -= bytes;
        if sent {
            self.in_flight -= bytes;
        }
    }

    fn queue(&mut self, lease: LeaseId) {
        if let Some(entry) = self.entries.get_mut(&lease)
            && !entry.queued
            && entry.has_unsent()
        {
            entry.queued = true;
            self.turn.push_back(lease);
        }
    }

    /// Bytes sent and not yet answered.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Bytes kept, sent or not.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Whether results or an end of this lease are still to be delivered.
    pub(crate) fn knows(&self, lease: LeaseId) -> bool {
        self.entries.contains_key(&lease)
    }

    /// Whether no lease is known.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
