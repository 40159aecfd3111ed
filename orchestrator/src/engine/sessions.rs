//! Whose each worker's name is: a worker that registers gets a session, and, where callers are known, nobody acts under
//! its name without the secret of it.
//!
//! A pool of workers shares a token, so that a token alone does not tell one from the other. The session does. It is
//! in memory, and its id in every lease that it gets: after a restart, when nothing is in memory, whoever registers under
//! a name that holds leases must prove the session that they were granted to.

use std::collections::HashMap;

use orch_core::access::SessionId;
use orch_core::id::WorkerId;
use orch_core::time::Now;

use super::Engine;

/// The registration in force of each worker.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<WorkerId, Held>);

#[derive(Debug)]
struct Held {
    session: SessionId,
    /// Whose token it was registered with.
    holder: String,
}

/// Who acts under a worker's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The name.
    pub worker: WorkerId,
    /// The caller, as the audit knows it.
    pub holder: String,
    /// The session that it proves to be this worker's.
    pub proved: Option<SessionId>,
}

/// Why somebody may not act under a worker's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBound {
    /// It proves no session of this worker.
    #[error(
        "worker {0} is registered by somebody else: a call under its name must show the session of its registration"
    )]
    Unproven(WorkerId),
    /// The worker is not registered.
    #[error("worker {0} is not registered here: register first")]
    Unknown(WorkerId),
    /// Its session is an older one, or was registered with another token.
    #[error("worker {0} was registered anew: register again")]
    Superseded(WorkerId),
}

/// The name is another's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "worker {0} is registered by another process, which was heard of lately or holds leases: take another name; or, if \
     that process is gone, wait until it counts as lost, or have `orchctl worker cleanup {0}` forget it"
)]
pub struct NameTaken(pub WorkerId);

impl Sessions {
    pub(super) fn forget(&mut self, worker: &WorkerId) {
        self.0.remove(worker);
    }
}

impl Engine {
    /// Whether this caller may act under the worker's name.
    pub(crate) fn check_bound(&self, who: &Who) -> Result<(), NotBound> {
        let Who { worker, holder, proved } = who;
        let Some(proved) = proved else { return Err(NotBound::Unproven(worker.clone())) };
        match self.sessions.0.get(worker) {
            None => Err(NotBound::Unknown(worker.clone())),
            Some(held) if held.session == *proved && held.holder == *holder => Ok(()),
            Some(_) => Err(NotBound::Superseded(worker.clone())),
        }
    }

    /// Whether this caller may register under the name: it is nobody's, or its own.
    pub(crate) fn check_name(&self, who: &Who, now: Now) -> Result<(), NameTaken> {
        let Who { worker, holder: _, proved } = who;
        let free = match self.sessions.0.get(worker) {
            Some(held) if Some(held.session) == *proved => true,
            Some(_) => {
                let known = self.liveness.workers().get(worker);
                let live = known.is_some_and(|known| !self.liveness.is_stale(known, now.tick));
                !live && self.liveness.held_by(worker).next().is_none()
            }
            None => {
                let leases = self.liveness.held_by(worker).filter_map(|lease| self.state.leases().get(&lease));
                let mut sessions = leases.filter_map(|held| held.session_of(worker));
                sessions.all(|session| Some(session) == *proved)
            }
        };
        if free { Ok(()) } else { Err(NameTaken(worker.clone())) }
    }

    /// Gives the name to this caller: with the session that it proves, if that is still the name's, or else with a fresh
    /// one.
    pub(crate) fn bind(&mut self, who: &Who, fresh: SessionId) -> SessionId {
        let Who { worker, holder, proved } = who;
        let session = match self.sessions.0.get(worker) {
            Some(held) => proved.filter(|proved| *proved == held.session),
            None => *proved,
        };
        let session = session.unwrap_or(fresh);
        self.sessions.0.insert(worker.clone(), Held { session, holder: holder.clone() });
        session
    }

    /// Forgets a worker. False if it was not known.
    pub(crate) fn forget_worker(&mut self, worker: &WorkerId) -> bool {
        self.sessions.forget(worker);
        self.forget_asking(worker);
        self.called_back.remove(worker);
        self.liveness.forget(worker)
    }
}
