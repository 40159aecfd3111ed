//! Each of the seeded bugs is caught, and without it the same runs are quiet.
//!
//! `cargo test -p orch-sim --features seeded-bugs --test seeded_bugs -- --nocapture` says by what.

use orch_core::seeded::Bug;
use orch_sim::bugs;
use orch_sim::checker::Rule;

/// As many seeds as a hunt may need.
const SEEDS: u64 = 150;

/// The bug is noticed by each kind of run that is for it, by one of these rules at least.
fn caught(bug: Bug, by: &[Rule]) {
    let all = bugs::hunt(bug, SEEDS).unwrap();
    for caught in &all {
        println!("{}: caught by {caught}", bug.name());
        let expected = caught.rules.iter().any(|rule| by.contains(rule));
        assert!(expected, "{}: {:?}, not {by:?}: {caught}", bug.name(), caught.rules);
    }
    let loud = bugs::quiet(bug, 12).unwrap();
    assert_eq!(loud, None, "without the bug");
}

#[test]
fn fsync_removed() {
    caught(Bug::FsyncRemoved, &[Rule::Chain]);
}

#[test]
fn ack_before_sync() {
    caught(Bug::AckBeforeSync, &[Rule::AcknowledgedIsKept, Rule::Fatal]);
}

#[test]
fn directory_sync_removed() {
    caught(Bug::DirectorySyncRemoved, &[Rule::Chain]);
}

#[test]
fn head_not_checked() {
    caught(Bug::HeadNotChecked, &[Rule::AcknowledgedIsKept]);
}

#[test]
fn torn_line_kept() {
    caught(Bug::TornLineKept, &[Rule::Chain]);
}

#[test]
fn index_miss_trusted() {
    caught(Bug::IndexMissTrusted, &[Rule::AcceptedOnce]);
}

#[test]
fn token_not_compared() {
    // A batch that was judged under the lease before comes again: it is judged anew, or told with another receipt.
    caught(Bug::TokenNotCompared, &[Rule::AcknowledgedIsKept, Rule::Receipt]);
}

#[test]
fn grantee_not_compared() {
    caught(Bug::GranteeNotCompared, &[Rule::Grantee]);
}

#[test]
fn expiry_by_clock_at_submit() {
    caught(Bug::ExpiryByClockAtSubmit, &[Rule::ExpiryIsRecorded]);
}

#[test]
fn duplicate_answered_before_durable() {
    caught(Bug::DuplicateAnsweredBeforeDurable, &[Rule::Fatal]);
}

#[test]
fn retry_after_failed_sync() {
    caught(Bug::RetryAfterFailedSync, &[Rule::Fatal]);
}

#[test]
fn replay_that_judges_again() {
    caught(Bug::ReplayRejudges, &[Rule::ReplayIsLive]);
}

#[test]
fn room_not_set_apart() {
    caught(Bug::RoomNotSetApart, &[Rule::Room]);
}

#[test]
fn avoided_worker_forgotten() {
    caught(Bug::AvoidedWorkerForgotten, &[Rule::Room]);
}

#[test]
fn final_failure_retried() {
    caught(Bug::FinalFailureRetried, &[Rule::Retry]);
}

#[test]
fn crash_limit_not_kept() {
    caught(Bug::CrashLimitNotKept, &[Rule::Retry]);
}

#[test]
fn retried_while_paused() {
    caught(Bug::RetriedWhilePaused, &[Rule::Retry]);
}

#[test]
fn time_fired_again() {
    caught(Bug::TimeFiredAgain, &[Rule::Schedule]);
}

#[test]
fn minimum_time_forgotten() {
    caught(Bug::MinTimeForgotten, &[Rule::Room]);
}
