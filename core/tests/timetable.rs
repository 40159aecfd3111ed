//! Schedules: what comes when, after whatever clocks and restarts did.

use std::collections::BTreeSet;

use orch_core::id::{JobId, ScheduleName};
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, Record};
use orch_core::state::{Decision, ScheduleRefusal, State, Submission, SubmitFault};
use orch_core::time::{Span, Timestamp};
use orch_core::timetable::{Firing, MAX_CAUGHT_UP, Missed, Overlap, ScheduleSpec};
use proptest::prelude::*;

struct Driven {
    state: State,
    records: Vec<Record>,
    now: Timestamp,
}

fn every_ten_minutes() -> ScheduleSpec {
    let mut job = JobSpec::new("q".parse().unwrap(), Payload::default());
    job.kind = Some("k".parse().unwrap());
    ScheduleSpec {
        name: name(),
        cron: "*/10 * * * *".parse().unwrap(),
        zone: "America/New_York".parse().unwrap(),
        missed: Missed::Skip,
        overlap: Overlap::Allow,
        job,
    }
}

fn name() -> ScheduleName {
    "s".parse().unwrap()
}

impl Driven {
    fn new(spec: ScheduleSpec) -> Self {
        let now = "2026-11-01T05:00:01Z".parse().unwrap();
        let mut driven = Self { state: State::default(), records: Vec::new(), now };
        let submission = Submission {
            queues: vec![QueueSpec::new("q".parse().unwrap())],
            schedules: vec![spec],
            ..Submission::default()
        };
        let decision = driven.state.submit(&submission, now).unwrap();
        let answer = driven.record(decision);
        assert_eq!(answer.schedules, [name()]);
        driven
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let event: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
            let record = Record { seq: self.state.next_seq(), at: self.now, event };
            self.state.apply(&record).unwrap();
            self.records.push(record);
        }
        decision.answer
    }

    /// The process dies, and another one replays the ledger.
    fn restart(&mut self) {
        let mut replayed = State::default();
        for record in &self.records {
            replayed.apply(record).unwrap();
        }
        assert_eq!(replayed.export(), self.state.export());
        let next = |state: &State| state.schedules().values().map(|known| known.next).collect::<Vec<_>>();
        assert_eq!(next(&replayed), next(&self.state));
        self.state = replayed;
    }

    /// What fires at this time: when each was due, in minutes behind 5:00, and what came of it.
    fn fire(&mut self) -> Vec<(i64, Firing)> {
        let before = self.records.len();
        while self.state.next_due().is_some_and(|due| due <= self.now) {
            let decision = self.state.fire(self.now, 7);
            assert!(!decision.events.is_empty(), "what is due comes to something");
            self.record(decision);
        }
        let start: Timestamp = "2026-11-01T05:00:00Z".parse().unwrap();
        let fired = self.records[before..].iter().filter_map(|record| match &record.event {
            Event::ScheduleFired { due, outcome, .. } => Some(((due.0 - start.0) / 60_000, outcome.clone())),
            _ => None,
        });
        fired.collect()
    }

    fn minutes_later(&mut self, minutes: u64) -> Vec<(i64, Firing)> {
        self.now = self.now.plus(Span(minutes * 60_000));
        self.fire()
    }

    fn jobs(&self) -> Vec<JobId> {
        let submitted = self.records.iter().filter(|record| matches!(record.event, Event::JobSubmitted(_)));
        submitted.map(|record| JobId(record.seq)).collect()
    }
}

#[test]
fn each_time_is_a_job_once() {
    let mut driven = Driven::new(every_ten_minutes());
    assert_eq!(driven.fire(), []);
    assert_eq!(driven.minutes_later(9), [], "not before its time");
    let fired = driven.minutes_later(1);
    assert_eq!(fired, [(10, Firing::Submitted(driven.jobs()[0]))]);
    driven.restart();
    assert_eq!(driven.fire(), [], "a restart fires nothing again");
    // The job stands before the record of its time, under the key of both.
    let [.., submitted, fired] = &driven.records[..] else { panic!() };
    let Event::JobSubmitted(submitted) = &submitted.event else { panic!("{submitted:?}") };
    assert_eq!(submitted.spec.idempotency_key.as_deref(), Some("schedule/s/2026-11-01T05:10:00.000Z"));
    assert!(matches!(fired.event, Event::ScheduleFired { .. }));
}

#[test]
fn missed_times_by_policy() {
    // The last of them came 30 s ago: that one is in time. Then one that is 5 minutes late.
    for (missed, first, second) in [
        (Missed::Skip, vec![60], vec![]),
        (Missed::Once, vec![60], vec![120]),
        (Missed::All, vec![10, 20, 30, 40, 50, 60], vec![70, 80, 90, 100, 110, 120]),
    ] {
        let mut driven = Driven::new(ScheduleSpec { missed, ..every_ten_minutes() });
        let submitted = |fired: Vec<(i64, Firing)>| -> Vec<i64> {
            fired
                .into_iter()
                .filter(|(_, outcome)| matches!(outcome, Firing::Submitted(_)))
                .map(|(due, _)| due)
                .collect()
        };
        let fired = driven.minutes_later(60);
        assert_eq!(submitted(fired), first, "{missed:?}");
        let fired = driven.minutes_later(65);
        assert_eq!(fired.last().map(|(due, _)| *due), Some(120), "what was missed is recorded");
        assert_eq!(submitted(fired), second, "{missed:?}");
        assert_eq!(driven.fire(), []);
    }
    let mut driven = Driven::new(ScheduleSpec { missed: Missed::All, ..every_ten_minutes() });
    let fired = driven.minutes_later(365 * 24 * 60);
    assert_eq!(fired.len(), MAX_CAUGHT_UP, "and no more, after a year");
}

#[test]
fn it_waits_for_its_last_job_or_does_not() {
    let mut driven = Driven::new(ScheduleSpec { overlap: Overlap::Skip, ..every_ten_minutes() });
    driven.minutes_later(10);
    let first = driven.jobs()[0];
    assert_eq!(driven.minutes_later(10), [(20, Firing::Overlapped(first))]);
    let decision = driven.state.cancel(first, "enough");
    driven.record(decision);
    let fired = driven.minutes_later(10);
    assert_eq!(fired, [(30, Firing::Submitted(driven.jobs()[1]))]);
}

#[test]
fn what_comes_during_a_pause_is_left_out() {
    let mut driven = Driven::new(ScheduleSpec { missed: Missed::All, ..every_ten_minutes() });
    let decision = driven.state.pause_schedule(&name(), Some("holidays")).unwrap();
    assert!(driven.record(decision));
    assert!(!driven.state.pause_schedule(&name(), Some("holidays")).unwrap().answer);
    assert_eq!(driven.minutes_later(35), []);
    driven.restart();
    let decision = driven.state.pause_schedule(&name(), None).unwrap();
    driven.record(decision);
    assert_eq!(driven.fire(), []);
    assert_eq!(driven.minutes_later(5).len(), 1);
    let decision = driven.state.remove_schedule(&name()).unwrap();
    driven.record(decision);
    assert_eq!(driven.minutes_later(60), []);
    assert!(driven.state.remove_schedule(&name()).is_err() && driven.state.next_due().is_none());
}

#[test]
fn a_job_that_cannot_be_is_refused_before_or_recorded_when_it_comes() {
    let mut driven = Driven::new(every_ten_minutes());
    let mut elsewhere = every_ten_minutes();
    elsewhere.job.queue = "nowhere".parse().unwrap();
    let refused = driven.state.set_schedule(&elsewhere, driven.now).unwrap_err();
    assert!(matches!(refused, ScheduleRefusal::Job { fault: SubmitFault::UnknownQueue(_), .. }), "{refused}");
    let never = ScheduleSpec { cron: "0 0 31 2 *".parse().unwrap(), ..every_ten_minutes() };
    assert!(matches!(driven.state.set_schedule(&never, driven.now), Err(ScheduleRefusal::Never { .. })));
    // A limit that lets nobody wait.
    let mut limited = every_ten_minutes();
    limited.job.keys.insert("host".parse().unwrap(), "a".parse().unwrap());
    let decision = driven.state.set_schedule(&limited, driven.now).unwrap();
    assert!(driven.record(decision));
    let limit = serde_json::from_str(r#"{"limit":"host=a","max":1,"at_limit":"reject"}"#).unwrap();
    let decision = driven.state.set_limit(&limit);
    driven.record(decision);
    assert!(matches!(driven.minutes_later(10)[..], [(10, Firing::Submitted(_))]));
    let fired = driven.minutes_later(10);
    assert!(matches!(&fired[..], [(20, Firing::Refused(why))] if why.contains("host=a")), "{fired:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the clock does, across restarts, changes of the schedule and the end of summer time: no instant is a job
    /// twice, and every job is of an instant of the schedule that has come.
    #[test]
    fn no_time_fires_twice(
        missed in prop::sample::select(vec![Missed::Skip, Missed::Once, Missed::All]),
        steps in prop::collection::vec((-90..180i64, 0..12u8), 1..40),
    ) {
        let mut driven = Driven::new(ScheduleSpec { missed, ..every_ten_minutes() });
        let mut latest = driven.now;
        for (minutes, what) in steps {
            driven.now = Timestamp(driven.now.0 + minutes * 60_000);
            latest = latest.max(driven.now);
            driven.fire();
            match what {
                0 => driven.restart(),
                1 => {
                    let other = if driven.state.schedules()[&name()].spec.job.priority == 0 { 1 } else { 0 };
                    let mut spec = ScheduleSpec { missed, ..every_ten_minutes() };
                    spec.job.priority = other;
                    let decision = driven.state.set_schedule(&spec, driven.now).unwrap();
                    driven.record(decision);
                }
                2 => {
                    let decision = driven.state.pause_schedule(&name(), Some("")).unwrap();
                    driven.record(decision);
                }
                3..6 => {
                    let decision = driven.state.pause_schedule(&name(), None).unwrap();
                    driven.record(decision);
                }
                _ => {}
            }
        }
        driven.restart();
        let mut keys = BTreeSet::new();
        for record in &driven.records {
            if let Event::JobSubmitted(submitted) = &record.event {
                let key = submitted.spec.idempotency_key.clone().unwrap();
                let due: Timestamp = key.strip_prefix("schedule/s/").unwrap().parse().unwrap();
                prop_assert!(due <= latest && due.0 % 600_000 == 0);
                prop_assert!(keys.insert(key), "an instant fired twice");
            }
        }
    }
}
