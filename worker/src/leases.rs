//! The leases that this worker holds, and the signal that stops the job under each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use orch_core::id::LeaseId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::gang::Membership;

/// Why a job is stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The lease is another's or nobody's: stop, send nothing.
    Lost,
    /// The job was cancelled: stop and give the lease back.
    Cancelled,
    /// The worker leaves: stop and give the lease back, without charge.
    Drained,
    /// Its results were refused for good; the failure is on its way already.
    Refused,
    /// The worker ends at once.
    Killed,
}

/// Raised once, with its reason; whoever runs the job waits for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopSignal {
    token: CancellationToken,
    reason: Arc<OnceLock<StopReason>>,
    /// Raised when there is no time for courtesy: skip SIGTERM.
    at_once: CancellationToken,
}

impl StopSignal {
    /// Raises the signal; the first reason stands. `Killed` also ends the patience with a job that is stopping.
    pub(crate) fn raise(&self, reason: StopReason) {
        // An error says that it was raised before.
        let _ = self.reason.set(reason);
        if reason == StopReason::Killed {
            self.at_once.cancel();
        }
        self.token.cancel();
    }

    /// Waits until the signal is raised.
    pub(crate) async fn raised(&self) {
        self.token.cancelled().await;
    }

    /// Waits until the job must end without courtesy.
    pub(crate) async fn killed(&self) {
        self.at_once.cancelled().await;
    }

    /// The reason, once raised.
    pub(crate) fn reason(&self) -> Option<StopReason> {
        if self.token.is_cancelled() { self.reason.get().copied() } else { None }
    }
}

/// How far a job is, as its runner last said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Progress {
    /// Between 0 and 1, negative while unknown.
    pub fraction: f64,
    pub note: String,
}

/// One lease that the worker holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub lease: LeaseId,
    pub heartbeat: Duration,
    pub stop: StopSignal,
    /// Set if other workers have the job, too.
    pub membership: Option<Membership>,
    progress: Mutex<Progress>,
}

impl Held {
    pub(crate) fn new(lease: LeaseId, heartbeat: Duration, membership: Option<Membership>) -> Self {
        let progress = Mutex::new(Progress { fraction: -1.0, note: String::new() });
        Self { lease, heartbeat, stop: StopSignal::default(), membership, progress }
    }

    /// How long it may be silent.
    pub(crate) fn interval(&self) -> Duration {
        let member = self.membership.as_ref().map(Membership::interval);
        [Some(self.heartbeat), member]
            .into_iter()
            .flatten()
            .filter(|interval| !interval.is_zero())
            .min()
            .unwrap_or_default()
    }

    pub(crate) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// Notes how far the job is; what is no fraction becomes unknown, a long note is cut.
    pub(crate) fn set_progress(&self, fraction: f64, note: &str) {
        const MAX_NOTE_CHARS: usize = 200;
        let fraction = if fraction.is_finite() { fraction.clamp(-1.0, 1.0) } else { -1.0 };
        let note = note.chars().take(MAX_NOTE_CHARS).collect();
        *lock(&self.progress) = Progress { fraction, note };
    }
}

/// Whether a lease still occupies a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its runner works, or is being stopped.
    Running,
    /// Its runner is done; results or the end wait for their acknowledgement.
    Delivering,
}

/// All leases that the worker holds. Every change is announced, so that nobody has to poll.
#[derive(Debug)]
pub(crate) struct Leases {
    map: Mutex<BTreeMap<LeaseId, (Phase, Arc<Held>)>>,
    changed: watch::Sender<()>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { map: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Leases {
    /// Adds a lease whose job is about to run. False if it is held already (the same grant told twice).
    pub(crate) fn add(&self, held: Arc<Held>) -> bool {
        let mut map = lock(&self.map);
        if map.contains_key(&held.lease) {
            return false;
        }
        map.insert(held.lease, (Phase::Running, held));
        drop(map);
        self.changed.send_replace(());
        true
    }

    /// The lease's runner is done: its slot is free.
    pub(crate) fn delivering(&self, lease: LeaseId) {
        if let Some((phase, _)) = lock(&self.map).get_mut(&lease) {
            *phase = Phase::Delivering;
        }
        self.changed.send_replace(());
    }

    /// The lease is no more the worker's concern. False if it was not held.
    pub(crate) fn remove(&self, lease: LeaseId) -> bool {
        let removed = lock(&self.map).remove(&lease).is_some();
        self.changed.send_replace(());
        removed
    }

    /// Stops the job under a lease if its runner still works. False if there is none.
    pub(crate) fn stop_running(&self, lease: LeaseId, reason: StopReason) -> bool {
        match lock(&self.map).get(&lease) {
            Some((Phase::Running, held)) => {
                held.stop.raise(reason);
                true
            }
            Some((Phase::Delivering, _)) | None => false,
        }
    }

    /// Stops every job whose runner still works.
    pub(crate) fn stop_all(&self, reason: StopReason) {
        for (phase, held) in lock(&self.map).values() {
            match phase {
                Phase::Running => held.stop.raise(reason),
                Phase::Delivering => {}
            }
        }
    }

    /// Every lease held, with its state for a heartbeat.
    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        lock(&self.map).values().map(|(_, held)| Arc::clone(held)).collect()
    }

    /// How many more jobs may be leased: free slots and `ahead`, as long as not too many ended ones wait for their
    /// answer. So many as there are slots may, so that an orchestrator that grants but does not answer is not drained
    /// of jobs.
    pub(crate) fn free(&self, slots: usize, ahead: usize) -> usize {
        let map = lock(&self.map);
        let running = map.values().filter(|(phase, _)| *phase == Phase::Running).count();
        let most = slots.saturating_add(ahead);
        most.saturating_sub(running).min(most.saturating_add(slots).saturating_sub(map.len()))
    }

    /// How many leases are held, and under how many of them a runner still works.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let map = lock(&self.map);
        (map.len(), map.values().filter(|(phase, _)| *phase == Phase::Running).count())
    }

    /// A lease that is held.
    pub(crate) fn get(&self, lease: LeaseId) -> Option<Arc<Held>> {
        lock(&self.map).get(&lease).map(|(_, held)| Arc::clone(held))
    }

    /// Tells those who watch that something about a lease has changed.
    pub(crate) fn announce(&self) {
        self.changed.send_replace(());
    }

    /// Announces every change from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// A lock whose holder cannot have left it half-written: every critical section of this crate is a few assignments.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(lease: u64) -> Arc<Held> {
        Arc::new(Held::new(LeaseId::new(lease), Duration::from_secs(30), None))
    }

    #[test]
    fn slots_are_free_when_runners_end_but_not_without_bound() {
        let leases = Leases::default();
        assert_eq!(leases.free(2, 0), 2);
        assert!(leases.add(held(1)) && leases.add(held(2)));
        assert!(!leases.add(held(2)), "the same grant told twice is one lease");
        assert_eq!(leases.free(2, 0), 0);
        leases.delivering(LeaseId::new(1));
        leases.delivering(LeaseId::new(2));
        assert_eq!(leases.free(2, 0), 2);
        assert_eq!(leases.free(2, 2), 4);
        assert!(leases.add(held(3)));
        leases.delivering(LeaseId::new(3));
        assert_eq!(leases.free(2, 0), 1, "three ended jobs wait for their answers");
        assert!(leases.remove(LeaseId::new(1)) && !leases.remove(LeaseId::new(1)));
    }

    #[test]
    fn the_first_reason_of_a_stop_stands() {
        let stop = StopSignal::default();
        assert_eq!(stop.reason(), None);
        stop.raise(StopReason::Drained);
        stop.raise(StopReason::Killed);
        assert_eq!(stop.reason(), Some(StopReason::Drained));
        assert!(stop.at_once.is_cancelled());
    }

    #[test]
    fn an_ended_job_cannot_be_stopped_any_more() {
        let leases = Leases::default();
        assert!(leases.add(held(1)));
        leases.delivering(LeaseId::new(1));
        assert!(!leases.stop_running(LeaseId::new(1), StopReason::Lost));
    }

    #[test]
    fn progress_is_made_harmless() {
        let held = held(1);
        held.set_progress(f64::NAN, &"x".repeat(1000));
        assert_eq!(held.progress(), Progress { fraction: -1.0, note: "x".repeat(200) });
        held.set_progress(7.0, "");
        assert_eq!(held.progress().fraction, 1.0);
    }
}
