//! Bugs on purpose, by which the tests prove that they would notice the real ones.
//!
//! Each variant of [`Bug`] breaks one rule at the line that keeps it. Without the feature `seeded-bugs` [`on`] is the
//! constant `false`, so that a build for use has none of them; with it, a test turns one on for its own thread.

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A batch is not synced.
    FsyncRemoved,
    /// Answers leave before the batch is durable.
    AckBeforeSync,
    /// The directory is not synced when a segment gets its name.
    DirectorySyncRemoved,
    /// A start does not ask HEAD how far the ledger must reach.
    HeadNotChecked,
    /// Recovery leaves a torn batch where it is.
    TornLineKept,
    /// An index that is behind is asked whether a candidate is new, and its "no" is believed.
    IndexMissTrusted,
    /// Whoever has held the job is let in under its current lease.
    TokenNotCompared,
    /// Any worker may deliver under any lease.
    GranteeNotCompared,
    /// A result is refused by the clock, without a record that the lease has ended.
    ExpiryByClockAtSubmit,
    /// What needs no record is answered at once, though what it repeats is not durable yet.
    DuplicateAnsweredBeforeDurable,
    /// A sync that failed is tried again.
    RetryAfterFailedSync,
    /// A start judges old candidates by the newest version of their contract.
    ReplayRejudges,
    /// What a job gets of a worker is there for the next one too.
    RoomNotSetApart,
    /// A worker gets a job again that was to be kept away from it.
    AvoidedWorkerForgotten,
    /// A failure that a rule makes final is tried again.
    FinalFailureRetried,
    /// A job goes on however many workers were lost with it.
    CrashLimitNotKept,
    /// A retry whose time has come goes on although retries are paused.
    RetriedWhilePaused,
    /// A schedule that goes on after a pause begins anew at the clock, wherever that was set.
    TimeFiredAgain,
    /// A job goes to a worker that does not live for as long as the job asks.
    MinTimeForgotten,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 19] = [
        Self::FsyncRemoved,
        Self::AckBeforeSync,
        Self::DirectorySyncRemoved,
        Self::HeadNotChecked,
        Self::TornLineKept,
        Self::IndexMissTrusted,
        Self::TokenNotCompared,
        Self::GranteeNotCompared,
        Self::ExpiryByClockAtSubmit,
        Self::DuplicateAnsweredBeforeDurable,
        Self::RetryAfterFailedSync,
        Self::ReplayRejudges,
        Self::RoomNotSetApart,
        Self::AvoidedWorkerForgotten,
        Self::FinalFailureRetried,
        Self::CrashLimitNotKept,
        Self::RetriedWhilePaused,
        Self::TimeFiredAgain,
        Self::MinTimeForgotten,
    ];

    /// Its name, for lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FsyncRemoved => "fsync removed",
            Self::AckBeforeSync => "answer before the sync",
            Self::DirectorySyncRemoved => "directory sync removed",
            Self::HeadNotChecked => "HEAD not checked",
            Self::TornLineKept => "torn line kept",
            Self::IndexMissTrusted => "index miss trusted",
            Self::TokenNotCompared => "token not compared",
            Self::GranteeNotCompared => "grantee not compared",
            Self::ExpiryByClockAtSubmit => "expiry by the clock at submit",
            Self::DuplicateAnsweredBeforeDurable => "duplicate answered before it is durable",
            Self::RetryAfterFailedSync => "retry after a failed sync",
            Self::ReplayRejudges => "replay that judges again",
            Self::RoomNotSetApart => "room not set apart",
            Self::AvoidedWorkerForgotten => "avoided worker forgotten",
            Self::FinalFailureRetried => "final failure retried",
            Self::CrashLimitNotKept => "crash limit not kept",
            Self::RetriedWhilePaused => "retried while paused",
            Self::TimeFiredAgain => "time fired again",
            Self::MinTimeForgotten => "minimum time forgotten",
        }
    }
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static ON: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this thread runs with the bug.
    pub fn on(bug: Bug) -> bool {
        ON.get() == Some(bug)
    }

    /// Turns the bug off again when it is dropped, also by a panic.
    #[derive(Debug)]
    #[must_use]
    pub struct TurnedOn(Option<Bug>);

    impl Drop for TurnedOn {
        fn drop(&mut self) {
            ON.set(self.0);
        }
    }

    /// Has this thread run with a bug, or with none, until the answer is dropped.
    pub fn turn_on(bug: Option<Bug>) -> TurnedOn {
        TurnedOn(ON.replace(bug))
    }

    /// Runs something with a bug, or with none, on this thread.
    pub fn with<T>(bug: Option<Bug>, run: impl FnOnce() -> T) -> T {
        let _on = turn_on(bug);
        run()
    }
}

#[cfg(feature = "seeded-bugs")]
pub use switch::{TurnedOn, on, turn_on, with};

/// Whether this thread runs with the bug: never, in a build for use.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub const fn on(_bug: Bug) -> bool {
    false
}
