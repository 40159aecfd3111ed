//! The same results, sent two to a hundred times: in one batch of the engine, in later ones, after a crash and after
//! the job's end. Each candidate is accepted once, every answer is the same, and none is out before it is durable.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use orch_core::contract::{Contract, Screen};
use orch_core::id::{LeaseId, WorkerId};
use orch_core::receipt::Receipt;
use orch_core::state::{BatchAnswer, CompleteAnswer, Judged, LeaseRequest, ResultsRefusal};
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::OpenOptions;
use orch_ledger::disk::memory::{MemoryDir, Mishap, Random, errno};
use orch_orchestrator::engine::commands::admin::Submit;
use orch_orchestrator::engine::commands::results::{CompleteJob, JudgeBatch};
use orch_orchestrator::engine::commands::worker::{LeaseAnswer, LeaseJobs, RegisterWorker};
use orch_orchestrator::engine::{Begun, Command, Engine, Replied, WorkerRegistration, envelope};

use crate::checker::{Acknowledged, End, Rule, Told, Violation, check_in};
use crate::world::jobs;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Different candidates.
    pub candidates: u64,
    /// Candidates sent, with those sent again.
    pub sent: u64,
    /// Crashes of the orchestrator, of which some in the middle of a commit.
    pub crashes: u64,
    /// What does not hold.
    pub violations: Vec<Violation>,
}

type Answer = Begun<Result<BatchAnswer, ResultsRefusal>>;
type Outstanding = Arc<Mutex<Vec<Answer>>>;

/// Candidates of one job.
const PER_JOB: u64 = 500;

struct Run {
    dir: MemoryDir,
    engine: Engine,
    random: Random,
    tick: u64,
    worker: WorkerId,
    told: Vec<Acknowledged>,
    report: Report,
    outstanding: Outstanding,
    early: Arc<Mutex<bool>>,
}

/// A batch of results, screened.
struct Batch {
    lease: LeaseId,
    number: u64,
    candidates: Vec<Judged>,
    /// What was answered when it was first acknowledged.
    answer: Option<(BatchAnswer, Receipt)>,
}

/// Candidates of one ledger: each start replays what is there, so several small ledgers see more crashes.
const PER_LEDGER: u64 = 5_000;

/// Sends `candidates` different candidates, each at least twice, over as many ledgers as that needs.
///
/// # Errors
/// In words, if the run itself cannot be made.
pub fn run(seed: u64, candidates: u64) -> Result<Report, String> {
    let mut all = Report::default();
    let mut n = 0;
    while all.candidates < candidates && all.violations.is_empty() {
        n += 1;
        let Report { candidates, sent, crashes, violations } =
            one_ledger(seed.wrapping_mul(1_000_003) + n, (candidates - all.candidates).min(PER_LEDGER))?;
        all.candidates += candidates;
        all.sent += sent;
        all.crashes += crashes;
        all.violations = violations;
    }
    Ok(all)
}

fn one_ledger(seed: u64, candidates: u64) -> Result<Report, String> {
    let mut run = Run::new(seed)?;
    let screen = Arc::new(Contract::compile(jobs::contract(1)?).map_err(|error| error.to_string())?);
    run.ask(Submit(jobs::setup(&None)?))?.map_err(|error| error.to_string())?;
    run.register()?;
    let mut n = 0;
    while run.report.candidates < candidates && run.report.violations.is_empty() {
        let submission = jobs::one(n, PER_JOB)?;
        let screen = screen.bind(&submission.jobs[0].payload).map_err(|error| error.to_string())?;
        run.ask(Submit(submission))?.map_err(|error| error.to_string())?;
        run.job(&screen, n)?;
        n += 1;
    }
    let live = run.engine.state().export();
    let checked = check_in(Arc::new(run.dir.clone()), &run.told, Some(&live));
    run.report.violations.extend(checked.violations);
    Ok(run.report)
}

fn open(dir: &MemoryDir) -> Result<Engine, String> {
    let new_ledger_id = Some("00000000-0000-4000-8000-000000000002".to_owned());
    let options = OpenOptions::new(Timestamp(0), "simulation", "simulated", 1);
    let options = OpenOptions { new_ledger_id, claim_bytes: 0, zero_bytes: 0, segment_bytes: 4 << 20, ..options };
    let opened = Engine::open_in(Arc::new(dir.clone()), options, Span::seconds(3600), Now::default());
    Ok(opened.map_err(|error| error.to_string())?.engine)
}

impl Run {
    fn new(seed: u64) -> Result<Self, String> {
        let dir = MemoryDir::new();
        Ok(Self {
            engine: open(&dir)?,
            dir,
            random: Random::new(seed),
            tick: 1,
            worker: WorkerId::new("w").map_err(|error| error.to_string())?,
            told: Vec::new(),
            report: Report::default(),
            outstanding: Outstanding::default(),
            early: Arc::default(),
        })
    }

    fn now(&mut self) -> Now {
        self.tick += 1;
        Now { wall: Timestamp(i64::try_from(self.tick).unwrap_or(0)), tick: Tick(self.tick) }
    }

    /// A command in a batch of its own.
    fn ask<C: Command>(&mut self, command: C) -> Result<C::Answer, String> {
        Ok(self.ask_for_receipt(command)?.answer)
    }

    fn ask_for_receipt<C: Command>(&mut self, command: C) -> Result<Replied<C::Answer>, String> {
        let (pending, mut begun) = envelope(command);
        let now = self.now();
        self.engine.run_batch(vec![pending], now).map_err(|error| error.to_string())?;
        begun.try_answer().ok_or("a command is not answered")?.map_err(|error| error.to_string())
    }

    fn register(&mut self) -> Result<(), String> {
        let leases = self.engine.liveness().held_by(&self.worker).collect::<Vec<_>>();
        let registration = WorkerRegistration { kinds: "roots".parse().into_iter().collect(), ..Default::default() };
        let worker = self.worker.clone();
        let command = RegisterWorker { worker, registration, leases, last_receipt: None, uptime: Span(0) };
        self.ask(command)?.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// One job, from its lease to resends after its end.
    fn job(&mut self, screen: &Screen, n: u64) -> Result<(), String> {
        let request = LeaseRequest::new(self.worker.clone(), Vec::new(), 1);
        let LeaseAnswer::Granted { leases, .. } = self.ask(LeaseJobs::new(request, Span(0)))? else {
            return Err("the worker is not registered".to_owned());
        };
        let lease = leases.first().ok_or("there is no job")?.0.lease;
        let texts: Vec<String> =
            (0..PER_JOB).map(|i| format!("{{\"t\":{},\"q\":0.5}}", (n * PER_JOB + i) * 10)).collect();
        let mut batches: BTreeMap<u64, Batch> = BTreeMap::new();
        let mut rest = &texts[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at((1 + self.random.below(250)).min(rest.len()));
            let candidates = some.iter().map(|text| screen.judge(text.as_bytes())).collect();
            let number = batches.len() as u64 + 1;
            batches.insert(number, Batch { lease, number, candidates, answer: None });
            rest = others;
        }
        self.report.candidates += PER_JOB;
        for batch in batches.values_mut() {
            // The more candidates, the fewer times: few are sent a hundred times, all of them twice.
            let most = (2_000 / batch.candidates.len()).clamp(4, 100);
            let times = 2 + self.random.below(most - 1);
            self.send(batch, times)?;
        }
        let command = CompleteJob { worker: self.worker.clone(), lease, batches: batches.len() as u64 };
        let ended = self.ask_for_receipt(command)?;
        let end = ended.answer.map_err(|error| error.to_string())?;
        if end != CompleteAnswer::Done {
            self.wrong(Rule::Complete, format!("the job of lease {lease} ended as {end:?}"));
        }
        let (worker, receipt) = (self.worker.clone(), ended.receipt);
        self.told.push(Acknowledged::Ended { worker, lease, end: End::of(&end), receipt });
        if self.random.below(4) == 0 {
            self.restart(false)?;
        }
        // A worker that missed it all sends once more, after the end.
        for batch in batches.values_mut() {
            self.send(batch, 1)?;
        }
        Ok(())
    }

    fn wrong(&mut self, rule: Rule, message: String) {
        self.report.violations.push(Violation::new(rule, message));
    }

    /// Sends a batch so many times: some together, some later, some across a crash.
    fn send(&mut self, batch: &mut Batch, times: usize) -> Result<(), String> {
        let mut left = times;
        while left > 0 {
            let together = 1 + self.random.below(left);
            left -= together;
            let fails = batch.answer.is_none() && self.random.below(6) == 0;
            let answers = self.together(batch, together, fails)?;
            if fails {
                self.restart(true)?;
                // It does not count as sent: nobody was answered.
                left += together;
            }
            for (answer, receipt) in answers {
                self.answered(batch, answer, receipt);
            }
            if self.random.below(200) == 0 {
                self.restart(false)?;
            }
        }
        Ok(())
    }

    /// One batch of the engine with the results in it so many times; with `fails` its sync does, if there is one: what a
    /// failed sync before it left on the disk by luck is durable since the restart, and answered without. While the disk is
    /// at work, no answer may be out.
    fn together(&mut self, batch: &Batch, times: usize, fails: bool) -> Result<Vec<(BatchAnswer, Receipt)>, String> {
        let mut commands = Vec::new();
        {
            let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
            outstanding.clear();
            for _ in 0..times {
                let Batch { lease, number, candidates, .. } = batch;
                let (worker, candidates) = (self.worker.clone(), candidates.clone());
                self.report.sent += candidates.len() as u64;
                let (pending, begun) = envelope(JudgeBatch { worker, lease: *lease, number: *number, candidates });
                commands.push(pending);
                outstanding.push(begun);
            }
        }
        let (outstanding, early) = (Arc::clone(&self.outstanding), Arc::clone(&self.early));
        let failed = Arc::new(AtomicBool::new(false));
        let hit = Arc::clone(&failed);
        let mut found = Vec::new();
        self.dir.set_hook(move |call, _| {
            if call.is_read() {
                return None;
            }
            let mut outstanding = outstanding.lock().unwrap_or_else(PoisonError::into_inner);
            if outstanding.iter_mut().any(|begun| begun.try_answer().is_some()) {
                *early.lock().unwrap_or_else(PoisonError::into_inner) = true;
            }
            let fails = fails && call.is_sync();
            hit.fetch_or(fails, Ordering::Relaxed);
            fails.then_some(Mishap::Error(errno::EIO))
        });
        let now = self.now();
        let ran = self.engine.run_batch(commands, now);
        self.dir.clear_hook();
        if std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner)) {
            let message =
                format!("an answer to batch {} of lease {} was out before its sync", batch.number, batch.lease);
            self.wrong(Rule::Fatal, message);
        }
        let failed = failed.load(Ordering::Relaxed);
        if failed != ran.is_err() {
            let message = format!("a sync that fails: {failed}, the engine ends: {}", ran.is_err());
            self.wrong(Rule::Fatal, message);
        }
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        for mut begun in outstanding.drain(..) {
            if let Some(Ok(Replied { answer, receipt })) = begun.try_answer() {
                found.push((answer.map_err(|refusal| refusal.to_string())?, receipt));
            }
        }
        Ok(found)
    }

    fn answered(&mut self, batch: &mut Batch, answer: BatchAnswer, receipt: Receipt) {
        let (worker, lease, number) = (self.worker.clone(), batch.lease, batch.number);
        match &batch.answer {
            None => {
                let verdicts = Told::of(&answer);
                self.told.push(Acknowledged::Judged {
                    worker,
                    lease,
                    number,
                    verdicts,
                    candidates: Vec::new(),
                    receipt,
                });
                batch.answer = Some((answer, receipt));
            }
            Some(first) if *first != (answer, receipt) => {
                let message = format!("batch {number} of lease {lease} got another answer when it was sent again");
                self.wrong(Rule::Receipt, message);
            }
            Some(_) => {}
        }
    }

    /// The process dies and another one starts; after a failed sync power is lost too.
    fn restart(&mut self, power: bool) -> Result<(), String> {
        self.report.crashes += 1;
        self.dir = if power { self.dir.power_loss(&mut self.random) } else { self.dir.kill() };
        self.engine = open(&self.dir)?;
        self.register()
    }
}
