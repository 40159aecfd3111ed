//! Schedules: which there are, when each comes next, and what is recorded when it does.

use std::collections::{BTreeMap, BTreeSet};

use super::submit::Pending;
use super::{Decision, Refusal, ScheduleRefusal, State};
use crate::id::{JobId, ScheduleName};
use crate::record::{Event, MAX_MESSAGE_CHARS};
use crate::seeded::{self, Bug};
use crate::time::Timestamp;
use crate::timetable::{Firing, IN_TIME, MAX_CAUGHT_UP, MAX_SCHEDULES, Missed, Overlap, ScheduleSpec};

/// A schedule and what the ledger says of it.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Its definition.
    pub spec: ScheduleSpec,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// Only times behind this one are to come.
    since: Timestamp,
    /// When it comes next, pause or not; None: never again.
    pub next: Option<Timestamp>,
    /// The last time, and what came of it.
    pub last: Option<(Timestamp, Firing)>,
    /// The last job.
    pub last_job: Option<JobId>,
}

/// Every schedule, and those that are not paused by their next time.
#[derive(Debug, Default)]
pub(super) struct Timetable {
    schedules: BTreeMap<ScheduleName, Scheduled>,
    due: BTreeSet<(Timestamp, ScheduleName)>,
}

impl Timetable {
    pub(super) fn set(&mut self, spec: &ScheduleSpec, at: Timestamp) {
        match self.schedules.contains_key(&spec.name) {
            true => {
                self.change(&spec.name, |schedule| (schedule.spec, schedule.since) = (spec.clone(), at));
            }
            false => {
                let next = spec.next(at);
                let schedule =
                    Scheduled { spec: spec.clone(), paused: None, since: at, next, last: None, last_job: None };
                self.schedules.insert(spec.name.clone(), schedule);
                self.due.extend(next.map(|next| (next, spec.name.clone())));
            }
        }
    }

    /// Whether there was one of this name.
    pub(super) fn remove(&mut self, name: &ScheduleName) -> bool {
        let Some(schedule) = self.schedules.remove(name) else { return false };
        if let Some(next) = schedule.next {
            self.due.remove(&(next, name.clone()));
        }
        true
    }

    /// Pauses or (None) resumes a schedule; whether there is one of this name.
    pub(super) fn set_paused(&mut self, name: &ScheduleName, reason: Option<&str>, at: Timestamp) -> bool {
        self.change(name, |schedule| {
            schedule.paused = reason.map(str::to_owned);
            // What came during the pause was left out on purpose.
            schedule.since = if seeded::on(Bug::TimeFiredAgain) { at } else { schedule.since.max(at) };
        })
    }

    /// Notes what came of a time; whether there is a schedule of this name.
    pub(super) fn fired(&mut self, name: &ScheduleName, due: Timestamp, outcome: &Firing) -> bool {
        self.change(name, |schedule| {
            schedule.since = due;
            schedule.last = Some((due, outcome.clone()));
            if let Firing::Submitted(job) = outcome {
                schedule.last_job = Some(*job);
            }
        })
    }

    /// Changes a schedule, and what follows for its next time; whether there is one of this name.
    fn change(&mut self, name: &ScheduleName, change: impl FnOnce(&mut Scheduled)) -> bool {
        let Some(schedule) = self.schedules.get_mut(name) else { return false };
        if let Some(before) = schedule.next {
            self.due.remove(&(before, name.clone()));
        }
        change(schedule);
        schedule.next = schedule.spec.next(schedule.since);
        if schedule.paused.is_none() {
            self.due.extend(schedule.next.map(|next| (next, name.clone())));
        }
        true
    }

    pub(super) fn get(&self, name: &ScheduleName) -> Option<&Scheduled> {
        self.schedules.get(name)
    }

    pub(super) fn all(&self) -> &BTreeMap<ScheduleName, Scheduled> {
        &self.schedules
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }
}

impl Scheduled {
    /// The times that are to be looked at by now, oldest first, and whether each is made up for: at most so many.
    fn times(&self, now: Timestamp) -> Vec<(Timestamp, bool)> {
        let ScheduleSpec { cron, zone, missed, .. } = &self.spec;
        let most = match missed {
            Missed::Skip | Missed::Once => 1,
            Missed::All => MAX_CAUGHT_UP,
        };
        let last = cron.last(zone, self.since, now, most);
        if last.is_empty() {
            // Two looks at the calendar that disagree: it is not looked at for ever.
            return self.next.into_iter().map(|due| (due, false)).collect();
        }
        let fires = |due: Timestamp| *missed != Missed::Skip || now.since(due) <= IN_TIME;
        last.into_iter().map(|due| (due, fires(due))).collect()
    }
}

impl State {
    /// Every schedule, by name.
    pub fn schedules(&self) -> &BTreeMap<ScheduleName, Scheduled> {
        self.timetable.all()
    }

    /// Decides to set a schedule; the answer is whether that changes anything.
    ///
    /// # Errors
    /// [`ScheduleRefusal`] if its job could not be submitted, or it never comes.
    pub fn set_schedule(&self, spec: &ScheduleSpec, now: Timestamp) -> Result<Decision<bool>, ScheduleRefusal> {
        let mut pending = Pending::new(self);
        pending.schedule(spec, now)?;
        let changes = !pending.events.is_empty();
        Ok(Decision { events: pending.events, answer: changes })
    }

    /// Decides to pause a schedule, or to let it go on. What comes during the pause is left out.
    ///
    /// # Errors
    /// [`Refusal::UnknownSchedule`].
    pub fn pause_schedule(&self, name: &ScheduleName, reason: Option<&str>) -> Result<Decision<bool>, Refusal> {
        let known = self.timetable.get(name).ok_or_else(|| Refusal::UnknownSchedule(name.clone()))?;
        let reason = reason.map(|reason| reason.chars().take(MAX_MESSAGE_CHARS).collect::<String>());
        if known.paused == reason {
            return Ok(Decision::nothing(false));
        }
        let schedule = name.clone();
        let event = match reason {
            Some(reason) => Event::SchedulePaused { schedule, reason },
            None => Event::ScheduleResumed { schedule },
        };
        Ok(Decision { events: vec![event], answer: true })
    }

    /// Decides to remove a schedule. Jobs that it submitted stay.
    ///
    /// # Errors
    /// [`Refusal::UnknownSchedule`].
    pub fn remove_schedule(&self, name: &ScheduleName) -> Result<Decision<()>, Refusal> {
        match self.timetable.get(name) {
            Some(_) => Ok(Decision { events: vec![Event::ScheduleRemoved { schedule: name.clone() }], answer: () }),
            None => Err(Refusal::UnknownSchedule(name.clone())),
        }
    }

    /// Decides what the schedules that are due by now come to, for at most `max` of them. Each job stands before the record of
    /// the time that it is for.
    pub fn fire(&self, now: Timestamp, max: usize) -> Decision<()> {
        let mut pending = Pending::new(self);
        for (_, name) in self.timetable.due.iter().take_while(|(due, _)| *due <= now).take(max) {
            let Some(schedule) = self.timetable.get(name) else { continue };
            let mut last_job = schedule.last_job;
            for (due, fires) in schedule.times(now) {
                let runs = last_job.filter(|job| job.0 >= self.next_seq() || self.is_open(*job));
                let outcome = match runs {
                    _ if !fires => Firing::Missed,
                    Some(job) if schedule.spec.overlap == Overlap::Skip => Firing::Overlapped(job),
                    Some(_) | None => match pending.job(&schedule.spec.job_at(due), Vec::new(), now) {
                        Ok((job, _)) => Firing::Submitted(job),
                        Err(fault) => Firing::Refused(fault.to_string().chars().take(MAX_MESSAGE_CHARS).collect()),
                    },
                };
                if let Firing::Submitted(job) = outcome {
                    last_job = Some(job);
                }
                pending.events.push(Event::ScheduleFired { schedule: name.clone(), due, outcome });
            }
        }
        pending.make_room();
        Decision { events: pending.events, answer: () }
    }
}

impl<'a> Pending<'a> {
    /// Sets a schedule whose job could be submitted now.
    pub(super) fn schedule(&mut self, spec: &'a ScheduleSpec, now: Timestamp) -> Result<bool, ScheduleRefusal> {
        let known = self.state.timetable.get(&spec.name);
        if known.is_some_and(|known| known.spec == *spec) {
            return Ok(false);
        }
        if known.is_none() && self.state.timetable.all().len() >= MAX_SCHEDULES {
            return Err(ScheduleRefusal::TooMany);
        }
        if spec.next(now).is_none() {
            return Err(ScheduleRefusal::Never { schedule: spec.name.clone(), cron: spec.cron.to_string() });
        }
        let refused = |fault| ScheduleRefusal::Job { schedule: spec.name.clone(), fault };
        self.could_submit(&spec.job).map_err(refused)?;
        self.events.push(Event::ScheduleSet(Box::new(spec.clone())));
        Ok(true)
    }
}
