//! What comes at times of the calendar: each time once, not before it has come, and what was missed by its policy.

use std::collections::BTreeMap;

use orch_core::id::{JobId, ScheduleName};
use orch_core::record::{Event, Record};
use orch_core::time::Timestamp;
use orch_core::timetable::{Firing, Missed, Overlap, ScheduleSpec};

use super::calendar::Calendar;
use super::facts::Facts;
use super::{Rule, Violation};

const MINUTE: i64 = 60_000;

/// What is later than this was missed.
const IN_TIME: i64 = MINUTE;

/// So many missed times are made up for at most.
const MOST: usize = 100;

/// A schedule, as the records tell it.
struct Known {
    spec: ScheduleSpec,
    /// Its times; None if they are of a kind that is not judged.
    calendar: Option<Calendar>,
    /// Only times behind this one are to come.
    since: Timestamp,
    paused: bool,
    last_job: Option<JobId>,
}

/// A fold over schedules and their times.
#[derive(Default)]
pub(super) struct Schedules {
    known: BTreeMap<ScheduleName, Known>,
    violations: Vec<Violation>,
}

impl Schedules {
    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    fn violated(&mut self, message: String) {
        self.violations.push(Violation::new(Rule::Schedule, message));
    }

    /// Takes a record that the facts have seen.
    pub(super) fn take(&mut self, record: &Record, facts: &Facts) {
        let at = record.at;
        match &record.event {
            Event::ScheduleSet(spec) => match self.known.get_mut(&spec.name) {
                Some(known) => {
                    (known.spec, known.since) = ((**spec).clone(), at);
                    known.calendar = Calendar::of(spec);
                }
                None => {
                    let (spec, calendar) = ((**spec).clone(), Calendar::of(spec));
                    let known = Known { spec, calendar, since: at, paused: false, last_job: None };
                    self.known.insert(known.spec.name.clone(), known);
                }
            },
            Event::SchedulePaused { schedule, .. } => self.paused(schedule, true, at),
            Event::ScheduleResumed { schedule } => self.paused(schedule, false, at),
            Event::ScheduleRemoved { schedule } => drop(self.known.remove(schedule)),
            Event::ScheduleFired { schedule, due, outcome } => self.fired(record, schedule, *due, outcome, facts),
            // The rest says nothing of schedules.
            Event::JobCancelled { .. }
            | Event::SegmentOpened { .. }
            | Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueueDefined(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::ContractRegistered(_)
            | Event::JobSubmitted(_)
            | Event::TaskMade { .. }
            | Event::ArrayEnded { .. }
            | Event::JobReadied { .. }
            | Event::LeaseGranted { .. }
            | Event::LeaseReleased { .. }
            | Event::LeaseExpired { .. }
            | Event::BatchJudged(_)
            | Event::CandidateAccepted(_)
            | Event::JobCompleted { .. }
            | Event::AttemptFailed { .. }
            | Event::JobRetried { .. }
            | Event::LegacyImportStarted { .. }
            | Event::LegacyImportFinished { .. }
            | Event::LimitSet(_)
            | Event::LimitUnset { .. }
            | Event::TokenCreated(_)
            | Event::TokenRevoked { .. }
            | Event::Audited(_)
            | Event::WorkerSetAside { .. }
            | Event::WorkerResumed { .. }
            | Event::RetriesPaused { .. }
            | Event::RetriesResumed {}
            | Event::LedgerRepaired { .. } => {}
        }
    }

    /// What came during a pause is left out, and before it too.
    fn paused(&mut self, name: &ScheduleName, paused: bool, at: Timestamp) {
        if let Some(known) = self.known.get_mut(name) {
            known.paused = paused;
            known.since = known.since.max(at);
        }
    }

    fn fired(&mut self, record: &Record, name: &ScheduleName, due: Timestamp, outcome: &Firing, facts: &Facts) {
        let (seq, at) = (record.seq, record.at);
        let Some(known) = self.known.get_mut(name) else {
            return self.violated(format!("record {seq} fires schedule {name}, which is not there"));
        };
        let mut wrong = Vec::new();
        if known.paused {
            wrong.push("it is paused".to_owned());
        }
        if due <= known.since {
            wrong.push(format!("everything up to {} has come already", known.since));
        }
        if due > at {
            wrong.push(format!("it is {at} only"));
        }
        wrong.extend(by_policy(known, due, at, outcome));
        let running = known.last_job.filter(|job| facts.is_open(*job));
        match outcome {
            Firing::Submitted(job) => {
                if let Some(job) = running.filter(|_| known.spec.overlap == Overlap::Skip) {
                    wrong.push(format!("its last job {job} has not ended"));
                }
                let key = format!("schedule/{name}/{due}");
                if !facts.has_key(*job, &key) {
                    wrong.push(format!("job {job} is not there under the key {key}"));
                }
                known.last_job = Some(*job);
            }
            Firing::Overlapped(job) => {
                if running != Some(*job) || known.spec.overlap == Overlap::Allow {
                    wrong.push(format!("it is left out for job {job}, but {running:?} is its last that runs"));
                }
            }
            Firing::Missed | Firing::Refused(_) => {}
        }
        known.since = known.since.max(due);
        for what in wrong {
            self.violated(format!("record {seq} fires {name} for {due} as {outcome:?}, but {what}"));
        }
    }
}

/// What is wrong with a time by the calendar, and by what is to become of missed times.
fn by_policy(known: &Known, due: Timestamp, at: Timestamp, outcome: &Firing) -> Vec<String> {
    let mut wrong = Vec::new();
    let late = at.0 - due.0 > IN_TIME;
    let is_missed = *outcome == Firing::Missed;
    if is_missed != (late && known.spec.missed == Missed::Skip) {
        wrong.push(format!("it is {at}, and what was missed is to be {:?}", known.spec.missed));
    }
    let Some(calendar) = &known.calendar else { return wrong };
    let minute = |at: Timestamp| at.0.div_euclid(MINUTE);
    if due.0.rem_euclid(MINUTE) != 0 || calendar.is_time(minute(due)) == Some(false) {
        wrong.push("the calendar has no such time".to_owned());
    }
    let most = match known.spec.missed {
        Missed::Skip | Missed::Once => 1,
        Missed::All => MOST,
    };
    if let Some(times) = calendar.last(minute(known.since), minute(at), most)
        && times.last() != Some(&minute(due))
    {
        let turn = times.last().map(|minute| Timestamp(minute * MINUTE).to_string());
        wrong.push(format!("it was the turn of {}", turn.as_deref().unwrap_or("none")));
    }
    wrong
}
