//! The simulated world: one `u64` seed, virtual time, and every step of it in a queue.
//!
//! The engine, its commands, its ledger, contracts and screening are the product's own. Time, the network and the disk
//! are simulated, and so are the processes around the engine. Nothing reads a clock, iterates over a hash map or draws
//! from anything but the seed, so that a seed is a run: the same steps with the same hash, every time.
//!
//! A run has a time of faults, then a time without: whatever is open by then must be leased again within three times
//! the time to live, and end. Last, the [`checker`](crate::checker) compares everything that was told to anybody with
//! the ledger.
//!
//! Where to look: `faults` is what goes wrong; `process` the orchestrator's process and its disk; `edge` what the gRPC
//! edge does; `worker` and `people` the clients; `machines`, `time_limit`, `rules` and `calendar` what jobs need, how they fail
//! and when they come again; `lease_time` the model of how long leases live.

mod calendar;
mod call;
mod dice;
mod edge;
mod faults;
pub(crate) mod jobs;
mod lease_time;
mod machines;
mod people;
mod process;
mod recover;
mod rules;
mod step;
mod time_limit;
mod trace;
mod variety;
mod worker;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use orch_core::id::{JobId, LeaseId};
use orch_orchestrator::engine::commands::worker::LeaseAnswer;

pub use call::{CallKind, Step};
pub use faults::FaultKind;

use call::{Call, Party, Reply, Request};
use dice::Dice;
use edge::Edge;
use faults::{Fault, Plan, Weather};
use lease_time::LeaseTime;
use people::People;
use process::Process;
use time_limit::TimeLimit;
use trace::Trace;
use variety::Variety;
use worker::SimWorker;

use crate::checker::{Acknowledged, Machine, Rule, Violation, check_in};

/// A call at one step of which something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind of call.
    pub kind: CallKind,
    /// The how-manieth of its kind, from 0.
    pub nth: usize,
    /// What goes wrong.
    pub step: Step,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, nth, step } = self;
        write!(f, "{kind:?}:{nth}:{step:?}")
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is no target: write it like Results:0:ResponseLost");
        let mut parts = text.split(':');
        let (Some(kind), Some(nth), Some(step), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(wanted());
        };
        let kind = CallKind::ALL.into_iter().find(|known| format!("{known:?}") == kind).ok_or_else(wanted)?;
        let step = Step::ALL.into_iter().find(|known| format!("{known:?}") == step).ok_or_else(wanted)?;
        Ok(Self { kind, nth: nth.parse().map_err(|_| wanted())?, step })
    }
}

/// What a run is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything that chance decides.
    pub seed: u64,
    /// The kinds of faults that may happen.
    pub faults: Vec<FaultKind>,
    /// One more fault, at one step of one call.
    pub target: Option<Target>,
    /// Print every step.
    pub trace: bool,
}

impl Options {
    /// A run with every kind of fault.
    pub fn new(seed: u64) -> Self {
        Self { seed, faults: FaultKind::ALL.to_vec(), target: None, trace: false }
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What does not hold; nothing if all is well.
    pub violations: Vec<Violation>,
    /// How many steps the run had, and their hash.
    pub steps: u64,
    /// SHA-256 over every step.
    pub hash: String,
    /// How many answers were told to clients.
    pub told: usize,
    /// How many records the ledger has.
    pub records: u64,
    /// How many times the orchestrator was started.
    pub starts: u64,
    /// Whether the targeted call was made.
    pub hit: bool,
}

/// The time of faults, in milliseconds.
const FAULTS_UNTIL: u64 = 40_000;

/// The time of faults if only one call is aimed at.
const TARGET_UNTIL: u64 = 14_000;

/// How often workers and people look around.
const LOOK: u64 = 100;

/// Something that happens at a time.
enum Happening {
    Arrives(Request),
    Answered(Reply),
    EngineRuns,
    OrchestratorStarts,
    Looks(Party),
    WorkerStarts { worker: usize, renamed: bool },
    Goes(Fault),
    SpaceReturns,
    FaultsEnd,
}

/// Everything there is.
struct World {
    options: Options,
    now: u64,
    order: u64,
    /// What is to happen, by time and then by the order in which it was decided.
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<(u64, u64), Happening>,
    dice: Dice,
    variety: Variety,
    trace: Trace,
    weather: Weather,
    calm: bool,
    until: u64,
    process: Process,
    edge: Edge,
    /// When the engine runs next, if that is planned.
    engine_at: Option<u64>,
    stalled_until: u64,
    /// Whether the end of the process, if it comes, takes the machine along.
    power: bool,
    workers: Vec<SimWorker>,
    people: People,
    lease_time: LeaseTime,
    calls: u64,
    kinds: BTreeMap<CallKind, usize>,
    hit: bool,
    starts: u64,
    told: Vec<Acknowledged>,
    violations: Vec<Violation>,
    /// Jobs that were open when the faults ended, and the last record then.
    open_at_end: Option<(u64, Vec<JobId>)>,
    alive_checked: bool,
    /// The newest lease that was seen since, and when.
    newest_lease: (Option<LeaseId>, u64),
}

/// Runs a seed.
///
/// # Errors
/// If the world cannot be set up, in words: a bug of the simulation.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let mut world = World::new(options)?;
    world.go();
    Ok(world.finish())
}

impl World {
    fn new(options: &Options) -> Result<Self, String> {
        let mut dice = Dice::new(options.seed);
        let until = if options.target.is_some() { TARGET_UNTIL } else { FAULTS_UNTIL };
        let process = Process::new(&mut dice);
        let count = 2 + dice.below(4);
        let mut variety = Variety::draw(options.seed, options.target.is_some());
        let machines: Vec<Machine> = (0..count).map(|_| machines::machine(&mut variety.dice)).collect();
        let of_name = |(i, machine): (usize, &Machine)| (format!("w{i}"), machine.clone());
        let workers = machines.iter().enumerate().map(of_name);
        let workers = workers.map(|(name, machine)| {
            let limit = TimeLimit::draw(0, false, &mut variety);
            SimWorker::new(&name, 1 + dice.below(3), machine, limit)
        });
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        let mut plan = Plan::draw(&mut dice, &options.faults, count, until);
        if options.target.is_some() {
            // Every kind of call is to be made.
            plan.faults.push((dice.between(2_000, until / 2), Fault::WorkerLeaves { worker: 0 }));
        }
        if variety.schedules && options.faults.contains(&FaultKind::Clock) {
            let steps = calendar::steps(&mut variety.dice, until);
            let leaps = if variety.calendars { calendar::leaps(&mut variety, until) } else { Vec::new() };
            let all = steps.into_iter().chain(leaps);
            plan.faults.extend(all.map(|(at, by_ms)| (at, Fault::ClockJumps { by_ms })));
        }
        let everything = options.target.is_some();
        let people = People::draw(&mut dice, until * 3 / 4, everything, &mut variety, &machines)?;
        let mut world = Self {
            options: options.clone(),
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            dice,
            variety,
            trace: Trace::new(options.trace),
            weather: plan.weather,
            calm: false,
            until,
            process,
            edge: Edge::default(),
            engine_at: None,
            stalled_until: 0,
            power: false,
            workers,
            people,
            lease_time: LeaseTime::default(),
            calls: 0,
            kinds: BTreeMap::new(),
            hit: false,
            starts: 0,
            told: Vec::new(),
            violations: Vec::new(),
            open_at_end: None,
            alive_checked: false,
            newest_lease: (None, 0),
        };
        world.trace.step(0, format_args!("seed {} plan {plan:?}", options.seed));
        for (at, fault) in plan.faults {
            world.at(at, Happening::Goes(fault));
        }
        world.at(until, Happening::FaultsEnd);
        world.at(0, Happening::OrchestratorStarts);
        world.at(1, Happening::Looks(Party::People));
        for worker in 0..count {
            let at = world.dice.between(1, 300);
            world.at(at, Happening::Looks(Party::Worker(worker)));
        }
        Ok(world)
    }

    fn at(&mut self, time: u64, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((time, self.order)));
        self.happenings.insert((time, self.order), happening);
    }

    fn wrong(&mut self, rule: Rule, message: impl Into<String>) {
        let violation = Violation::new(rule, message);
        self.trace.step(self.now, format_args!("WRONG {violation}"));
        self.violations.push(violation);
    }

    fn wrong_all(&mut self, violations: impl IntoIterator<Item = Violation>) {
        for Violation { rule, message } in violations {
            self.wrong(rule, message);
        }
    }

    fn go(&mut self) {
        while let Some(Reverse(key)) = self.queue.pop() {
            let Some(happening) = self.happenings.remove(&key) else { continue };
            self.now = key.0;
            self.happens(happening);
            if self.is_over() {
                return;
            }
        }
    }

    fn is_over(&mut self) -> bool {
        if !self.violations.is_empty() {
            return true;
        }
        self.check_alive();
        self.calm && self.alive_checked && self.all_done()
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(request) => self.arrives(request),
            Happening::Answered(reply) => self.answered(reply),
            Happening::EngineRuns => self.engine_runs(),
            Happening::OrchestratorStarts => self.orchestrator_starts(),
            Happening::Looks(party) => self.looks(party),
            Happening::WorkerStarts { worker, renamed } => {
                if !self.workers[worker].up {
                    self.trace.step(self.now, format_args!("worker {worker} starts, renamed {renamed}"));
                    let limit = TimeLimit::draw(self.now, self.calm, &mut self.variety);
                    self.workers[worker].start(self.now, renamed, limit);
                }
            }
            Happening::Goes(fault) if !self.calm => self.goes(fault),
            Happening::Goes(_) => {}
            Happening::SpaceReturns => {
                self.trace.step(self.now, format_args!("there is space again"));
                self.process.dir.set_capacity(None);
            }
            Happening::FaultsEnd => self.faults_end(),
        }
    }

    /// Somebody looks around and calls.
    fn looks(&mut self, party: Party) {
        let again = self.dice.between(LOOK / 2, LOOK * 3 / 2);
        self.at(self.now + again, Happening::Looks(party));
        let now = self.now;
        match party {
            Party::People => {
                if self.calm {
                    let set_aside = self.process.engine.iter().flat_map(|engine| engine.state().set_aside().keys());
                    set_aside.for_each(|worker| self.people.trust_again(worker, now));
                }
                for call in self.people.look(now, &mut self.dice) {
                    let id = self.calls(party, 0, call.clone());
                    self.people.asks(id, call, now);
                }
            }
            Party::Worker(worker) => {
                let sim = &mut self.workers[worker];
                if !sim.up || sim.frozen_until > now {
                    return;
                }
                let life = sim.life;
                for call in sim.look(now, &mut self.dice) {
                    let kind = call.kind();
                    let id = self.calls(party, life, call);
                    self.workers[worker].asks(id, kind, now);
                }
            }
        }
    }

    /// Sends a call on its way.
    fn calls(&mut self, from: Party, life: u64, call: Call) -> u64 {
        self.calls += 1;
        let id = self.calls;
        let kind = call.kind();
        let nth = self.kinds.entry(kind).or_default();
        let aimed = self.options.target.filter(|target| target.kind == kind && target.nth == *nth);
        *nth += 1;
        let step = aimed.map(|target| target.step);
        self.hit |= step.is_some();
        self.trace.step(self.now, format_args!("{from:?} calls {id}: {call} {step:?}"));
        let request = Request { id, from, life, call, step };
        if step == Some(Step::Duplicate) {
            let at = self.now + self.dice.between(1, 40);
            self.at(at, Happening::Arrives(request.clone()));
        }
        if step != Some(Step::RequestLost) {
            self.travels(from, |_| Happening::Arrives(request.clone()));
        }
        id
    }

    /// Something is on its way between a party and the orchestrator: it may be lost, late, or arrive twice.
    fn travels(&mut self, party: Party, message: impl Fn(&mut Self) -> Happening) {
        let Weather { lost, doubled, late } = self.weather;
        let cut_off = match party {
            Party::Worker(worker) => self.workers[worker].cut_off_until > self.now,
            Party::People => false,
        };
        if cut_off || self.dice.chance(lost) {
            return;
        }
        let copies = 1 + u64::from(self.dice.chance(doubled));
        for _ in 0..copies {
            let takes = if self.dice.chance(late) { self.dice.between(50, 4_000) } else { self.dice.between(1, 15) };
            let message = message(self);
            self.at(self.now + takes, message);
        }
    }

    /// A call reaches the orchestrator.
    fn arrives(&mut self, request: Request) {
        let Request { id, from, life, .. } = request;
        if self.process.engine.is_none() {
            let reply = Reply { id, to: from, life, answer: call::Answer::Broken };
            self.travels(from, |_| Happening::Answered(reply.clone()));
            return;
        }
        if request.step == Some(Step::CrashBeforeCommit) {
            self.process.die_at_call(0, false);
        }
        self.edge.accept(request);
        let soon = self.now + self.dice.between(0, 6);
        self.engine_by(soon);
    }

    /// The engine runs at this time at the latest.
    fn engine_by(&mut self, time: u64) {
        let time = time.max(self.now).max(self.stalled_until);
        if self.engine_at.is_none_or(|planned| planned > time) {
            self.engine_at = Some(time);
            self.at(time, Happening::EngineRuns);
        }
    }

    /// An answer reaches who waits for it.
    fn answered(&mut self, reply: Reply) {
        let Reply { id, to, life, answer } = reply;
        match to {
            Party::People => {
                let wrong = self.people.take(id, &answer, self.now);
                self.wrong_all(wrong);
            }
            Party::Worker(worker) => {
                let frozen = self.workers[worker].frozen_until;
                if frozen > self.now {
                    let at = frozen + self.dice.between(0, 20);
                    self.at(at, Happening::Answered(Reply { id, to, life, answer }));
                    return;
                }
                let sim = &mut self.workers[worker];
                if sim.up && sim.life == life {
                    let grants = matches!(&answer, call::Answer::Leased(LeaseAnswer::Granted { leases, .. }) if !leases.is_empty());
                    self.told.extend(sim.asked_for(id, &answer));
                    let wrong = sim.take(id, answer, self.now, self.calm, &mut self.dice, &mut self.variety);
                    if grants {
                        self.told.push(sim.holds());
                    }
                    self.wrong_all(wrong);
                }
            }
        }
    }

    fn finish(mut self) -> Outcome {
        let live = self.process.engine.as_ref().map(|engine| engine.state().export());
        let checked = check_in(Arc::new(self.process.dir.clone()), &self.told, live.as_ref());
        self.wrong_all(checked.violations);
        self.trace.step(self.now, format_args!("{} records, link {}", checked.records, checked.link.chain));
        let (steps, hash) = self.trace.finish();
        Outcome {
            violations: self.violations,
            steps,
            hash,
            told: self.told.len(),
            records: checked.records,
            starts: self.starts,
            hit: self.hit,
        }
    }
}
