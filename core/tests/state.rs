//! Random commands against the state: invariants after every event, and replay of every prefix equals the live state.

mod state {
    pub mod commands;
    pub mod driven;
}

use orch_core::id::JobId;
use orch_core::id::Seq;
use orch_core::job::{JobSpec, Payload};
use orch_core::record::{Event, Record};
use orch_core::state::{State, Submission};
use orch_core::summary::JobPhase;
use orch_core::time::{Span, Timestamp};
use proptest::prelude::*;
use state::commands::{Sent, command, run};
use state::driven::{Driven, queue};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_the_invariants_and_replay_equals_live(commands in prop::collection::vec(command(), 1..60)) {
        let mut driven = Driven::new();
        let mut sent = Sent::default();
        let mut exports = vec![];
        for command in commands {
            run(&mut driven, &mut sent, command);
            exports.push((driven.state.last_seq(), driven.state.export()));
        }
        let _ = &driven.screen;
        let mut replayed = State::default();
        let mut exports = exports.into_iter().peekable();
        for record in &driven.records {
            while let Some((seq, export)) = exports.next_if(|(seq, _)| *seq < record.seq) {
                prop_assert_eq!(seq, replayed.last_seq());
                prop_assert_eq!(export, replayed.export());
            }
            replayed.apply(record).unwrap();
        }
        prop_assert_eq!(replayed.export(), driven.state.export());
        prop_assert_eq!(replayed.accepted().len() as u64, replayed.counts().accepted, "an identity was accepted twice");
    }
}

#[test]
fn a_record_that_cannot_follow_is_refused() {
    let mut driven = Driven::new();
    let record = |seq, event| Record { seq, at: Timestamp(0), event };
    let wrong_seq = record(Seq(99), Event::SegmentSealed {});
    assert!(driven.state.apply(&wrong_seq).unwrap_err().to_string().contains("was expected"));
    let mut driven = Driven::new();
    let next = driven.state.next_seq();
    let unknown = record(next, Event::JobReadied { job: JobId::new(77), not_before: None });
    assert_eq!(
        driven.state.apply(&unknown).unwrap_err().to_string(),
        format!("record {next} cannot follow: job 77 is not open")
    );
    driven = Driven::new();
    let old_epoch = Event::Booted { epoch: 0, version: String::new(), host: String::new(), pid: 1 };
    assert!(driven.state.apply(&record(next, old_epoch)).is_err());
}

#[test]
fn a_job_is_cancelled_when_no_worker_took_it_in_time() {
    let mut driven = Driven::new();
    let mut timely = queue("plain", "plain@1");
    timely.queue_timeout = Some(Span(10_000));
    let job = |name: &str| {
        let mut spec = JobSpec::new("plain".parse().unwrap(), Payload::parse(b"{\"count\":2}").unwrap());
        spec.name = Some(name.into());
        spec
    };
    let own = JobSpec { queue_timeout: Some(Span(3_000)), ..job("own") };
    let behind = JobSpec { depends_on: vec!["own".into()], ..job("behind") };
    let later = JobSpec { delay: Some(Span(8_000)), ..job("later") };
    let submission =
        Submission { queues: vec![timely], jobs: vec![own, behind, later, job("plain")], ..Submission::default() };
    let decision = driven.state.submit(&submission, driven.now).unwrap();
    let ids: Vec<JobId> = driven.record(decision).jobs.into_iter().map(|(id, _)| id).collect();
    let mut pass = |ms| {
        driven.now = driven.now.plus(Span(ms));
        let decision = driven.state.ready_due(driven.now, 9);
        driven.record(decision);
        let decision = driven.state.end_waits(driven.now, 9);
        driven.record(decision);
        ids.iter().map(|id| driven.summaries[id].phase).collect::<Vec<_>>()
    };
    use JobPhase::{Blocked, Cancelled, Delayed, Ready};
    assert_eq!(pass(2_999), [Ready, Blocked, Delayed, Ready]);
    assert_eq!(pass(1), [Cancelled, Cancelled, Delayed, Ready], "with what depends on it");
    assert_eq!(pass(6_999), [Cancelled, Cancelled, Ready, Ready], "a delay is no wait");
    assert_eq!(pass(1), [Cancelled, Cancelled, Ready, Cancelled]);
    assert_eq!(pass(9_999), [Cancelled, Cancelled, Cancelled, Cancelled]);
    assert_eq!(driven.summaries[&ids[0]].message, "no worker took it for 3s, its queue_timeout");
    assert!(driven.state.next_due().is_none());
}
