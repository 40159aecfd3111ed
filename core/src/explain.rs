//! Why a job does not run, and why a worker does not work: in words, and as data for programs.
//!
//! A look at the state and at the workers that are registered; it decides nothing. Every reason that holds is given,
//! the one that a person can do most about first.

mod resources;

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::gang::Gathering;
use crate::id::{JobId, Kind, LeaseId, QueueName, WorkerId};
use crate::limit::LimitTarget;
use crate::liveness::{Liveness, Order, Worker};
use crate::record::FailureClass;
use crate::resource::{Offer as Offered, Requirements};
use crate::state::{GivenBack, Hold, JobState, NextLease, State};
use crate::time::{Now, Span, Timestamp};
use resources::Standing;

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It waits for other jobs.
    Blocked {
        /// Those that have not ended.
        on: Vec<JobId>,
    },
    /// It waits for a time.
    Delayed {
        /// When it becomes ready.
        until: Timestamp,
    },
    /// It waits for another attempt, and there are none for now.
    RetriesPaused {
        /// Why, in the words of who paused them.
        reason: String,
    },
    /// It runs.
    Leased {
        /// Who has it.
        worker: WorkerId,
        /// Under which lease.
        lease: LeaseId,
        /// The other members, if it is a gang.
        others: Vec<WorkerId>,
    },
    /// It is an array: how its tasks stand.
    Tasks {
        /// How many there are.
        tasks: u64,
        /// Those that wait to be leased for the first time.
        left: u64,
        /// Those that were leased and have not ended.
        open: u64,
        /// Those that failed for good.
        failed: u64,
    },
    /// It failed for good.
    Failed {
        /// How.
        class: FailureClass,
    },
    /// Its queue is paused.
    Paused {
        /// The queue.
        queue: QueueName,
        /// Why, in the words of who paused it.
        reason: String,
    },
    /// As many jobs of its queue run as may.
    QueueFull {
        /// The queue.
        queue: QueueName,
        /// How many run.
        running: u64,
        /// How many may.
        max: u32,
    },
    /// It wants more than there is: no end of another job makes room.
    NeverFits {
        /// What is limited.
        target: LimitTarget,
        /// How much it wants.
        wants: u32,
        /// How much there is.
        max: u32,
    },
    /// A limit is reached.
    AtMax {
        /// What is limited.
        target: LimitTarget,
        /// How much it wants.
        wants: u32,
        /// How much is in use.
        in_use: u64,
        /// How much there is.
        max: u32,
    },
    /// A rate allows no start now.
    RateSpent {
        /// What is limited.
        target: LimitTarget,
        /// When it allows one.
        until: Timestamp,
    },
    /// No worker that takes jobs offers its kind.
    NoWorker {
        /// The kind.
        kind: Kind,
        /// Workers that offer it, but are stale.
        stale: u64,
        /// Workers that offer it, but take no more jobs.
        draining: u64,
        /// Workers that offer it, but were set aside.
        set_aside: u64,
    },
    /// Every worker that offers its kind is full.
    WorkersFull {
        /// The kind.
        kind: Kind,
        /// The workers.
        workers: u64,
        /// The jobs that they run together.
        leases: u64,
    },
    /// No worker that offers its kind could run it, whatever else it runs.
    NoFit {
        /// The kind.
        kind: Kind,
        /// What it requires, and what the workers lack.
        lacking: String,
    },
    /// It is a gang, and fewer workers than it needs could ever be its members.
    GangTooFew {
        /// How many it needs at once.
        needs: u32,
        /// How many are registered that could be.
        fit: u64,
    },
    /// It is a gang, and fewer workers than it needs have room for it now.
    GangWaits {
        /// How many it needs at once.
        needs: u32,
        /// How many could be its members.
        fit: u64,
        /// How many of those have room for it.
        free: u64,
    },
    /// It is a gang at its turn: workers are kept free for it until there are enough.
    Gathers {
        /// How many are kept.
        kept: u64,
        /// How many it needs at once.
        needs: u32,
        /// For how long yet.
        left: Span,
    },
    /// It is a gang that was granted last to workers of which one gave it back, or did not show up.
    GivenBack {
        /// When.
        at: Timestamp,
        /// Which one, and what it did.
        reason: String,
    },
    /// Workers could run it, but what it needs of them is in use.
    ResourcesTaken {
        /// What it needs, in words.
        needs: String,
        /// How many workers could run it.
        workers: u64,
    },
    /// Jobs of its queue and kind go first.
    Behind {
        /// How many.
        jobs: u64,
    },
    /// It is the next of its kind.
    Next,
    /// It may run, and jobs of other queues are at their turn.
    OtherQueues,
    /// It may run, and jobs of another fair key are at their turn.
    OtherShares,
    /// It does not wait for ever.
    GivesUp {
        /// When it is cancelled if no worker took it.
        at: Timestamp,
    },
}

impl Why {
    /// The reason's name for programs; stable.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Blocked { .. } => "blocked",
            Self::Delayed { .. } => "delayed",
            Self::RetriesPaused { .. } => "retries_paused",
            Self::Leased { .. } => "leased",
            Self::Tasks { .. } => "tasks",
            Self::Failed { .. } => "failed",
            Self::Paused { .. } => "queue_paused",
            Self::QueueFull { .. } => "queue_full",
            Self::NeverFits { .. } => "never_fits",
            Self::AtMax { .. } => "limit_reached",
            Self::RateSpent { .. } => "rate_spent",
            Self::NoWorker { .. } => "no_worker",
            Self::WorkersFull { .. } => "workers_full",
            Self::NoFit { .. } => "no_fit",
            Self::GangTooFew { .. } => "gang_too_few",
            Self::GangWaits { .. } => "gang_waits",
            Self::Gathers { .. } => "gathers",
            Self::GivenBack { .. } => "given_back",
            Self::ResourcesTaken { .. } => "resources_taken",
            Self::Behind { .. } => "behind",
            Self::Next => "next",
            Self::OtherQueues => "other_queues",
            Self::OtherShares => "other_shares",
            Self::GivesUp { .. } => "queue_timeout",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked { on } => write!(f, "it waits for {}", jobs(on)),
            Self::Delayed { until } => write!(f, "it is delayed until {until}"),
            Self::RetriesPaused { reason } if reason.is_empty() => f.write_str("retries are paused"),
            Self::RetriesPaused { reason } => write!(f, "retries are paused: {reason}"),
            Self::Leased { worker, lease, others } if others.is_empty() => {
                write!(f, "it runs on worker {worker}, under lease {lease}")
            }
            Self::Leased { worker, lease, others } => {
                write!(f, "it runs on workers {}, under lease {lease}", names(std::iter::once(worker).chain(others)))
            }
            Self::Tasks { tasks, left, open, failed } => {
                write!(f, "of its {tasks} tasks {left} wait, {open} are under way and {failed} failed")
            }
            Self::Failed { class } => {
                let class = serde_json::to_string(class).unwrap_or_default();
                write!(f, "it failed for good ({}): put it back with `orchctl retry-failed`", class.trim_matches('"'))
            }
            Self::Paused { queue, reason } if reason.is_empty() => write!(f, "queue {queue} is paused"),
            Self::Paused { queue, reason } => write!(f, "queue {queue} is paused: {reason}"),
            Self::QueueFull { queue, running, max } => {
                write!(f, "queue {queue} runs {running} of at most {max} jobs")
            }
            Self::NeverFits { target, wants, max } => {
                write!(f, "it wants {wants} of {target}, of which there is {max} in all: it can never run so")
            }
            Self::AtMax { target, wants: 1, in_use, max } => write!(f, "{target} is at {in_use} of {max}"),
            Self::AtMax { target, wants, in_use, max } => {
                write!(f, "{target} is at {in_use} of {max}, and it wants {wants}")
            }
            Self::RateSpent { target, until } => write!(f, "the rate of {target} allows the next start at {until}"),
            Self::NoWorker { kind, stale: 0, draining: 0, set_aside: 0 } => {
                write!(f, "no registered worker offers kind {kind}")
            }
            Self::NoWorker { kind, stale, draining, set_aside } => {
                write!(
                    f,
                    "no worker takes kind {kind}: of those that offer it {stale} are stale and {draining} draining"
                )?;
                match set_aside {
                    0 => Ok(()),
                    _ => write!(f, ", and {set_aside} set aside: see `orchctl worker list`"),
                }
            }
            Self::WorkersFull { kind, workers, leases } => {
                write!(f, "every worker that offers kind {kind} is full: {workers} run {leases} jobs")
            }
            Self::NoFit { kind: _, lacking } => f.write_str(lacking),
            Self::GangTooFew { needs, fit } => write!(f, "needs {needs} workers at once: {fit} registered fit"),
            Self::GangWaits { needs, fit, free } => {
                write!(f, "needs {needs} workers at once: of {fit} that fit {free} have room for it")
            }
            Self::Gathers { kept, needs, left } => {
                write!(f, "it is at its turn: of {needs} workers {kept} are kept free for it, for {left} more at most")
            }
            Self::GivenBack { at, reason } => write!(f, "its last attempt was given back at {at}: {reason}"),
            Self::ResourcesTaken { needs, workers: 1 } => {
                write!(f, "needs {needs}: 1 worker could run it, and what it has is in use")
            }
            Self::ResourcesTaken { needs, workers } => {
                write!(f, "needs {needs}: {workers} workers could run it, and what they have is in use")
            }
            Self::Behind { jobs } => write!(f, "{jobs} ready jobs of its queue and kind go first"),
            Self::Next => f.write_str("it is the next of its kind: a worker that asks gets it"),
            Self::OtherQueues => f.write_str("it may run, and a job of another queue is at its turn"),
            Self::OtherShares => f.write_str("it may run, and a job of another fair_key of its queue is at its turn"),
            Self::GivesUp { at } => write!(f, "it is cancelled at {at} if no worker has taken it by then"),
        }
    }
}

/// A list of jobs that stays readable.
fn jobs(ids: &[JobId]) -> String {
    let shown: Vec<String> = ids.iter().take(5).map(ToString::to_string).collect();
    let more = ids.len().saturating_sub(5);
    let what = if ids.len() == 1 { "job" } else { "jobs" };
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{what} {}{and}", shown.join(", "))
}

/// A list of workers that stays readable.
fn names<'a>(workers: impl Iterator<Item = &'a WorkerId>) -> String {
    let all: Vec<String> = workers.map(ToString::to_string).collect();
    let more = all.len().saturating_sub(8);
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{and}", all[..all.len() - more].join(", "))
}

/// The most jobs that a reason lists.
const MAX_LISTED: usize = 100;

/// Why a job does not run, or that it does. None if it is neither open nor failed: it is done, cancelled or unknown.
pub fn job<H>(state: &State, liveness: &Liveness<H>, id: JobId, now: Now) -> Option<Vec<Why>> {
    let job = state.job(id)?;
    let tasks = state.array(id).map(|array| Why::Tasks {
        tasks: array.tasks(),
        left: array.left,
        open: array.open(),
        failed: array.failed,
    });
    let why = match &job.state {
        JobState::Blocked { waiting_on } => {
            vec![Why::Blocked { on: waiting_on.iter().copied().take(MAX_LISTED).collect() }]
        }
        JobState::Delayed { until } => {
            let paused = state.retries_paused().filter(|_| job.attempts > 0);
            let paused = paused.map(|reason| Why::RetriesPaused { reason: reason.to_owned() });
            paused.into_iter().chain([Why::Delayed { until: *until }]).collect()
        }
        JobState::Failed { class, at: _ } => vec![Why::Failed { class: *class }],
        JobState::Leased { lease } => match state.leases().get(lease) {
            Some(held) => vec![Why::Leased {
                worker: held.worker.clone(),
                lease: *lease,
                others: held.workers().skip(1).cloned().collect(),
            }],
            None => Vec::new(),
        },
        JobState::Running => Vec::new(),
        JobState::Ready => ready(state, liveness, id, now),
    };
    Some(tasks.into_iter().chain(why).collect())
}

fn ready<H>(state: &State, liveness: &Liveness<H>, id: JobId, now: Now) -> Vec<Why> {
    let Some(job) = state.job(id) else { return Vec::new() };
    let (queue, kind, _) = state.lane(job);
    let mut why: Vec<Why> = offers(state, liveness, kind, state.requirements(job), now).into_iter().collect();
    let holds = state.holds(id).unwrap_or_default();
    why.extend(holds.into_iter().map(|hold| match hold {
        Hold::Paused => {
            let reason = state.queues().get(queue).and_then(|known| known.paused.clone()).unwrap_or_default();
            Why::Paused { queue: queue.clone(), reason }
        }
        Hold::QueueFull { running, max } => Why::QueueFull { queue: queue.clone(), running, max },
        Hold::AtMax { target, wants, in_use: _, max } if wants > max => Why::NeverFits { target, wants, max },
        Hold::AtMax { target, wants, in_use, max } => Why::AtMax { target, wants, in_use, max },
        Hold::Empty { target, until } => Why::RateSpent { target, until },
    }));
    let held_back = !why.is_empty();
    match state.ahead_of(id) {
        0 if held_back => {}
        0 => {
            // Among those that a worker which fits it could run.
            let next = state.next_job(std::slice::from_ref(kind), &|other| other.is_like(state.requirements(job)));
            let queue_of_next = next.and_then(|next| state.job(next)).map(|next| state.lane(next).0);
            why.push(match next {
                Some(next) if next == id => Why::Next,
                Some(_) if queue_of_next == Some(queue) => Why::OtherShares,
                Some(_) | None => Why::OtherQueues,
            });
        }
        jobs => why.push(Why::Behind { jobs }),
    }
    why.extend(state.waits_until(id).map(|at| Why::GivesUp { at }));
    why.extend(given_back(state, id));
    why
}

fn given_back(state: &State, id: JobId) -> Option<Why> {
    state.given_back(id).map(|GivenBack { at, reason }| Why::GivenBack { at: *at, reason: reason.clone() })
}

/// Who is kept free for a job, if it is a gang that gathers.
pub fn gathers(state: &State, gathering: &Gathering, id: JobId, now: Now) -> Option<Why> {
    let job = state.job(id).filter(|job| job.state == JobState::Ready)?;
    let required = state.requirements(job);
    let (until, kept) = gathering.kept_for(required)?;
    Some(Why::Gathers { kept: kept as u64, needs: required.workers(), left: until.since(now.tick) })
}

/// Whether as many live workers could be members of a gang as it needs, whatever they do now.
pub fn enough_workers<H>(state: &State, liveness: &Liveness<H>, required: &Requirements, now: Now) -> bool {
    let Some(gang) = &required.gang else { return true };
    let fit = |(id, worker): &(&WorkerId, &Worker<H>)| required.fits(id, &liveness.offer(worker, now)).is_some();
    resources::takers(state, liveness, &gang.kind, now).filter(fit).take(gang.workers as usize).count()
        == gang.workers as usize
}

/// What is wrong with the workers that offer a kind; None if one of them has room for what requires so much.
fn offers<H>(state: &State, liveness: &Liveness<H>, kind: &Kind, required: &Requirements, now: Now) -> Option<Why> {
    let standing = resources::standing(state, liveness, kind, required, now);
    let Standing { workers, could, slot, now: fitting, leases } = standing;
    let kind = kind.clone();
    if workers == 0 {
        let (mut stale, mut draining, mut set_aside) = (0, 0, 0);
        for (id, worker) in liveness.workers().iter().filter(|(_, worker)| worker.registration.kinds.contains(&kind)) {
            let count = match (liveness.is_stale(worker, now.tick), state.set_aside().contains_key(id)) {
                (true, _) => &mut stale,
                (false, true) => &mut set_aside,
                (false, false) => &mut draining,
            };
            *count += 1;
        }
        return Some(Why::NoWorker { kind, stale, draining, set_aside });
    }
    if could == 0 {
        let lacking = resources::lacking(state, liveness, &kind, required, now);
        return Some(Why::NoFit { kind, lacking });
    }
    let needs = required.workers();
    if could < u64::from(needs) {
        return Some(Why::GangTooFew { needs, fit: could });
    }
    if needs > 1 && fitting < u64::from(needs) {
        return Some(Why::GangWaits { needs, fit: could, free: fitting });
    }
    match (slot, fitting) {
        (0, _) => Some(Why::WorkersFull { kind, workers: could, leases }),
        (_, 0) => Some(Why::ResourcesTaken { needs: required.needs.words(), workers: could }),
        (_, _) => None,
    }
}

/// How many leases each worker holds.
fn held(state: &State) -> HashMap<&WorkerId, u64> {
    let mut held = HashMap::new();
    for worker in state.leases().values().flat_map(|lease| lease.workers()) {
        *held.entry(worker).or_default() += 1;
    }
    held
}

/// Ready jobs that no registered worker could ever run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unoffered {
    /// Their kind.
    pub kind: Kind,
    /// How many.
    pub jobs: u64,
    /// What they require and the workers lack; empty if no worker offers the kind.
    pub lacking: String,
}

/// The ready jobs that no registered worker could ever run, by kind and by what they require.
pub fn unoffered<H>(state: &State, liveness: &Liveness<H>, now: Now) -> Vec<Unoffered> {
    let takes = |id: &WorkerId, worker: &Worker<H>| {
        takes_jobs(worker) && !liveness.is_stale(worker, now.tick) && !state.set_aside().contains_key(id)
    };
    let live = liveness.workers().iter().filter(|(id, worker)| takes(id, worker));
    let offered: BTreeSet<&Kind> = live.flat_map(|(_, worker)| &worker.registration.kinds).collect();
    let ready = state.ready_by_kind().filter(|(kind, jobs)| *jobs > 0 && !offered.contains(kind));
    let none = ready.map(|(kind, jobs)| Unoffered { kind: kind.clone(), jobs, lacking: String::new() });
    let unfit = state.ready_by_need().filter(|(kind, required, _)| {
        let could = |(id, worker): &(&WorkerId, &Worker<H>)| required.fits(id, &liveness.offer(worker, now)).is_some();
        let needs = required.workers() as usize;
        offered.contains(kind)
            && resources::takers(state, liveness, kind, now).filter(could).take(needs).count() < needs
    });
    // Gangs of several queues that require the same are told of once.
    let mut alike: Vec<(&Kind, &Requirements, u64)> = Vec::new();
    for (kind, required, jobs) in unfit {
        match alike.iter_mut().find(|(known, other, _)| *known == kind && other.is_like(required)) {
            Some((.., count)) => *count += jobs,
            None => alike.push((kind, required, jobs)),
        }
    }
    let unfit = alike.into_iter().map(|(kind, required, jobs)| {
        let lacking = resources::lacking(state, liveness, kind, required, now);
        Unoffered { kind: kind.clone(), jobs, lacking }
    });
    none.chain(unfit).collect()
}

/// What a worker has, and what its leases leave of it; None if it is not registered.
pub fn offer<H>(state: &State, liveness: &Liveness<H>, id: &WorkerId, now: Now) -> Option<Offered> {
    let worker = liveness.workers().get(id)?;
    Some(resources::left(liveness.offer(worker, now), resources::set_apart(state).get(id)))
}

/// What a worker that runs every kind, and has everything, would get if it asked now.
pub fn next_of_all(state: &State) -> Option<NextLease> {
    let kinds: Vec<Kind> = state.ready_by_kind().map(|(kind, _)| kind.clone()).collect();
    state.next_lease(&kinds, &|_| true)
}

/// What a worker could have of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The kind.
    pub kind: Kind,
    /// Ready jobs of it, held back or not.
    pub ready: u64,
    /// The one that a worker that asks gets; None if there is none, or a limit or a pause holds back all of them.
    pub next: Option<JobId>,
}

/// A worker as the choice of jobs sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSeen {
    /// Whether it was not heard of for too long.
    pub stale: bool,
    /// Whether it takes no more jobs.
    pub draining: bool,
    /// Why it gets no jobs, if it was set aside.
    pub set_aside: Option<String>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How many leases it holds.
    pub leases: u64,
    /// What it could have, by the kinds that it offers.
    pub offers: Vec<Offer>,
    /// What it would get if it asked now; None if it would get nothing.
    pub next: Option<NextLease>,
}

/// How a worker stands; None if it is not registered.
pub fn worker<H>(state: &State, liveness: &Liveness<H>, id: &WorkerId, now: Now) -> Option<WorkerSeen> {
    let worker = liveness.workers().get(id)?;
    let ready: HashMap<&Kind, u64> = state.ready_by_kind().collect();
    let offer = resources::left(liveness.offer(worker, now), resources::set_apart(state).get(id));
    let fits = |required: &Requirements| required.fits(id, &offer).is_some();
    let seen = |kind: &Kind| Offer {
        kind: kind.clone(),
        ready: ready.get(kind).copied().unwrap_or(0),
        next: state.next_job(std::slice::from_ref(kind), &fits),
    };
    let takes = takes_jobs(worker) && !state.set_aside().contains_key(id);
    let kinds = &worker.registration.kinds;
    let next = if takes { state.next_lease(kinds, &fits) } else { None };
    Some(WorkerSeen {
        next,
        stale: liveness.is_stale(worker, now.tick),
        draining: !takes_jobs(worker),
        set_aside: state.set_aside().get(id).map(|aside| aside.reason.clone()),
        slots: worker.registration.slots,
        leases: held(state).get(id).copied().unwrap_or(0),
        offers: worker.registration.kinds.iter().map(seen).collect(),
    })
}

impl WorkerSeen {
    /// Why it has no more to do than it has, or what it gets next: a line for each thing to know.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.stale {
            words.push("it was not heard of for too long: its jobs go to others".to_owned());
        }
        if self.draining {
            words.push("it is draining: it takes no more jobs".to_owned());
        }
        if let Some(reason) = &self.set_aside {
            words.push(format!("it was set aside: {reason}; `orchctl worker resume` gives it jobs again"));
        }
        if self.leases >= u64::from(self.slots) {
            words.push(format!("it is full: it holds {} leases for {} slots", self.leases, self.slots));
        }
        words.extend(self.offers.iter().map(|Offer { kind, ready, next }| match (next, ready) {
            (Some(job), _) => format!("kind {kind}: job {job} is next, of {ready} ready jobs"),
            (None, 0) => format!("kind {kind}: no job is ready"),
            (None, ready) => {
                format!(
                    "kind {kind}: {ready} jobs are ready, and limits, pauses or what they need hold back all of them"
                )
            }
        }));
        words
    }
}

fn takes_jobs<H>(worker: &Worker<H>) -> bool {
    match worker.order {
        Order::Run => true,
        Order::Drain | Order::Terminate => false,
    }
}
