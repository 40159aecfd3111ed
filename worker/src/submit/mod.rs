//! Delivery of results: at least once on the wire, exactly once in the ledger.
//!
//! A job's candidates are packed into numbered batches ([`pack`]), kept in the [`outbox`] until their verdicts arrive,
//! and sent by one stream for the whole worker ([`stream`]). A break of the stream costs nothing but time: what was not
//! answered is sent again under the same numbers, and the orchestrator gives the same answers.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use orch_core::id::LeaseId;
use prost::bytes::Bytes;
use tokio::sync::watch;

use crate::leases::lock;

pub(crate) mod message;
mod outbox;
pub(crate) mod pack;
pub(crate) mod stream;

use message::{Answer, Bounds, Effect, End, Message, cost};
use outbox::Outbox;

/// The outbox, shared by the jobs that fill it and the stream that empties it.
#[derive(Debug)]
pub(crate) struct Delivery {
    outbox: Mutex<Outbox>,
    started: Instant,
    /// Something may be sent that could not before.
    filled: watch::Sender<()>,
    /// Something was acknowledged or forgotten: there is room.
    emptied: watch::Sender<()>,
}

impl Delivery {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            outbox: Mutex::new(Outbox::new(bounds)),
            started: Instant::now(),
            filled: watch::Sender::new(()),
            emptied: watch::Sender::new(()),
        }
    }

    /// Starts a lease.
    pub(crate) fn open(&self, lease: LeaseId) {
        lock(&self.outbox).open(lease);
    }

    /// Keeps a batch for delivery; waits while too much is kept already. False if the lease is over.
    pub(crate) async fn offer(&self, lease: LeaseId, candidates: Vec<Bytes>) -> bool {
        let bytes: usize = candidates.iter().map(cost).sum();
        let mut emptied = self.emptied.subscribe();
        loop {
            {
                let mut outbox = lock(&self.outbox);
                if outbox.has_room(bytes) {
                    let offered = outbox.offer(lease, candidates);
                    drop(outbox);
                    self.filled.send_replace(());
                    return offered;
                }
            }
            // The sender lives as long as self: no error here.
            let _ = emptied.changed().await;
        }
    }

    /// Notes how a job ended. False if the lease is over or has an end already.
    pub(crate) fn end(&self, lease: LeaseId, end: End) -> bool {
        let noted = lock(&self.outbox).end(lease, end);
        self.filled.send_replace(());
        noted
    }

    /// Forgets a lease and what was kept for it. False if it was unknown.
    pub(crate) fn forget(&self, lease: LeaseId) -> bool {
        let known = lock(&self.outbox).forget(lease);
        self.emptied.send_replace(());
        known
    }

    pub(crate) fn set_window(&self, bytes: usize) {
        lock(&self.outbox).set_window(bytes);
        self.filled.send_replace(());
    }

    /// The stream is gone: what was not answered is to be sent again.
    pub(crate) fn disconnected(&self) {
        lock(&self.outbox).disconnected();
    }

    fn next_message(&self) -> Option<(LeaseId, Message)> {
        lock(&self.outbox).next_message(self.started.elapsed())
    }

    /// How long until something that is held back may go.
    fn next_wake(&self) -> Option<Duration> {
        let now = self.started.elapsed();
        lock(&self.outbox).next_wake(now).map(|at| at.saturating_sub(now))
    }

    fn answer(&self, lease: LeaseId, answer: Answer) -> Effect {
        let effect = lock(&self.outbox).answer(lease, answer, self.started.elapsed());
        self.emptied.send_replace(());
        self.filled.send_replace(());
        effect
    }

    /// Whether something of this lease is still to be delivered.
    pub(crate) fn knows(&self, lease: LeaseId) -> bool {
        lock(&self.outbox).knows(lease)
    }

    /// Bytes of results that nobody acknowledged yet.
    pub(crate) fn kept_bytes(&self) -> usize {
        lock(&self.outbox).kept()
    }
}
