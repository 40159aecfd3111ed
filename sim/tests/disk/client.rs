//! Everybody who speaks to the engine, in one value that can be copied: people who submit, and a worker that delivers.
//!
//! It draws a few commands, has them run as one batch, and notes what it was told. What got no answer it sends again,
//! also to another engine that was started from what an accident left.

use orch_core::contract::ContractSpec;
use orch_core::id::{LeaseId, QueueName, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::receipt::Receipt;
use orch_core::record::FailureClass;
use orch_core::state::{
    BatchAnswer, CompleteAnswer, FailureReport, Judged, LeaseRequest, ResultsRefusal, Submission, SubmitRefusal,
    Submitted,
};
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::disk::memory::Random;
use orch_orchestrator::engine::commands::admin::Submit;
use orch_orchestrator::engine::commands::results::{CompleteJob, FailJob, JudgeBatch};
use orch_orchestrator::engine::commands::worker::{
    Heartbeat, HeartbeatAnswer, LeaseAnswer, LeaseJobs, RegisterRefusal, RegisterWorker, Registered,
};
use orch_orchestrator::engine::{Begun, CallError, Engine, Fatal, Pending, Replied, WorkerRegistration, envelope};
use orch_sim::checker::{Acknowledged, End, Told};

/// The time of the first start.
const T0: Timestamp = Timestamp(1_795_248_000_000);

/// Between two batches.
const STEP: u64 = 400;

/// A lease that the worker holds, and what it has sent under it.
#[derive(Clone)]
struct Held {
    lease: LeaseId,
    base: u64,
    count: u64,
    /// How many of its batches were answered.
    answered: u64,
    contract: std::sync::Arc<orch_core::contract::Contract>,
    payload: Payload,
}

/// The people and the worker.
#[derive(Clone)]
pub struct Client {
    random: Random,
    worker: WorkerId,
    held: Vec<Held>,
    receipt: Option<Receipt>,
    registered: bool,
    /// How many heartbeats in a row were refused.
    unheard: u32,
    /// The contract and the queue are there.
    set_up: bool,
    /// A submit that was not answered.
    open_submit: Option<Submission>,
    submits: u64,
    tick: u64,
    /// Everything that was answered.
    pub told: Vec<Acknowledged>,
    /// How many commands were refused because nothing can be written.
    pub refused: Vec<String>,
}

/// A command on its way.
enum Asked {
    Submit(Submission, Begun<Result<Submitted, SubmitRefusal>>),
    Register(Begun<Result<Registered, RegisterRefusal>>),
    Lease(Begun<LeaseAnswer>),
    Heartbeat(Begun<HeartbeatAnswer>),
    Judge(LeaseId, u64, Vec<String>, Begun<Result<BatchAnswer, ResultsRefusal>>),
    End(LeaseId, Begun<Result<CompleteAnswer, ResultsRefusal>>),
}

impl Client {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            worker: WorkerId::new("w").unwrap(),
            held: Vec::new(),
            receipt: None,
            registered: false,
            unheard: 0,
            set_up: false,
            open_submit: None,
            submits: 0,
            tick: 0,
            told: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Both clocks of the engine.
    pub fn now(&self) -> Now {
        Now { wall: Timestamp(T0.0 + i64::try_from(self.tick).unwrap()), tick: Tick(self.tick) }
    }

    /// The connection to the engine broke: nothing that was asked and not answered counts, and the worker registers.
    pub fn meets_another_engine(&mut self) {
        self.registered = false;
    }

    /// Runs one batch.
    ///
    /// # Errors
    /// The engine's end; then nobody was answered.
    pub fn step(&mut self, engine: &mut Engine) -> Result<(), Fatal> {
        self.tick += STEP;
        let (commands, asked) = self.draw();
        match engine.run_batch(commands, self.now()) {
            Ok(_) => {
                for asked in asked {
                    self.hear(asked);
                }
                Ok(())
            }
            Err(fatal) => {
                for asked in asked {
                    assert!(asked.unanswered(), "an answer left although the batch is not durable");
                }
                Err(fatal)
            }
        }
    }

    /// The commands of the next batch: first what everything else needs, then some of what is possible.
    fn draw(&mut self) -> (Vec<Box<dyn Pending>>, Vec<Asked>) {
        let mut out = Out::default();
        if let Some(submission) = self.open_submit.clone().or_else(|| self.submission()) {
            self.open_submit = Some(submission.clone());
            let begun = out.ask(Submit(submission.clone()));
            out.asked.push(Asked::Submit(submission, begun));
        }
        if self.registered {
            let begun = out.ask(Heartbeat {
                worker: self.worker.clone(),
                leases: self.held.iter().map(|held| (held.lease, orch_core::liveness::Progress::default())).collect(),
                last_receipt: self.receipt,
            });
            out.asked.push(Asked::Heartbeat(begun));
            for held in self.held.clone() {
                self.deliver(&held, &mut out);
            }
            if self.held.len() < 3 {
                let request = LeaseRequest::new(self.worker.clone(), Vec::new(), 2);
                let begun = out.ask(LeaseJobs::new(request, Span(0)));
                out.asked.push(Asked::Lease(begun));
            }
        } else {
            let registration =
                WorkerRegistration { kinds: vec!["roots".parse().unwrap()], slots: 3, ..Default::default() };
            let begun = out.ask(RegisterWorker {
                worker: self.worker.clone(),
                registration,
                leases: self.held.iter().map(|held| held.lease).collect(),
                last_receipt: self.receipt,
                uptime: Span(self.tick),
            });
            out.asked.push(Asked::Register(begun));
        }
        (out.commands, out.asked)
    }

    /// What is submitted next, if anything: the queue first, then some jobs that overlap with each other.
    fn submission(&mut self) -> Option<Submission> {
        if !self.set_up {
            return Some(setup());
        }
        if self.random.below(3) > 0 {
            return None;
        }
        self.submits += 1;
        let jobs = (0..1 + self.random.below(3)).map(|i| {
            let payload = serde_json::json!({"base": self.random.below(30), "count": 1 + self.random.below(4)});
            let mut job = JobSpec::new(QueueName::new("roots").unwrap(), Payload::from_value(&payload));
            job.idempotency_key = Some(format!("key-{}-{i}", self.submits));
            job
        });
        Some(Submission { jobs: jobs.collect(), ..Submission::default() })
    }

    /// A lease's next batch, all of them, one that was answered already, or its end.
    fn deliver(&mut self, held: &Held, out: &mut Out) {
        let all = 2;
        if self.random.below(8) == 0 {
            let begun = out.ask(FailJob {
                worker: self.worker.clone(),
                lease: held.lease,
                report: FailureReport::new(FailureClass::Error, "it went wrong"),
            });
            out.asked.push(Asked::End(held.lease, begun));
            return;
        }
        let from = if self.random.below(4) == 0 { 1 } else { held.answered + 1 };
        for number in from..=all.min(held.answered + 1 + u64::from(self.random.flip())) {
            let candidates = held.batch(number);
            let screen = held.contract.bind(&held.payload).unwrap();
            let judged: Vec<Judged> = candidates.iter().map(|candidate| screen.judge(candidate.as_bytes())).collect();
            let begun =
                out.ask(JudgeBatch { worker: self.worker.clone(), lease: held.lease, number, candidates: judged });
            out.asked.push(Asked::Judge(held.lease, number, candidates, begun));
        }
        if held.answered == all {
            let begun = out.ask(CompleteJob { worker: self.worker.clone(), lease: held.lease, batches: all });
            out.asked.push(Asked::End(held.lease, begun));
        }
    }

    /// Takes an answer.
    fn hear(&mut self, asked: Asked) {
        match asked {
            Asked::Submit(submission, begun) => {
                let Some(Replied { answer, receipt }) = self.answer(begun) else { return };
                let submitted = answer.unwrap_or_else(|refusal| panic!("{refusal:?}"));
                for ((job, _), spec) in submitted.jobs.iter().zip(&submission.jobs) {
                    let (key, payload) = (spec.idempotency_key.clone(), Some(spec.payload.clone()));
                    self.told.push(Acknowledged::Submitted { job: *job, key, payload });
                }
                self.note(receipt);
                self.set_up = true;
                self.open_submit = None;
            }
            Asked::Register(begun) => {
                let Some(Replied { answer, receipt }) = self.answer(begun) else { return };
                let lost = answer.unwrap_or_else(|refusal| panic!("{refusal}")).lost;
                lost.into_iter().for_each(|lease| self.lose(lease, receipt));
                self.registered = true;
            }
            Asked::Lease(begun) => {
                let Some(Replied { answer, receipt }) = self.answer(begun) else { return };
                let LeaseAnswer::Granted { leases, .. } = answer else { panic!("the worker has registered") };
                for (granted, context) in leases {
                    let (lease, job, payload) = (granted.lease, granted.job, granted.payload);
                    self.told.push(Acknowledged::Granted { worker: self.worker.clone(), lease, job });
                    let number = |name: &str| payload.value()[name].as_u64().unwrap();
                    let (base, count) = (number("base"), number("count"));
                    let contract = context.contract.expect("the queue has a contract");
                    self.held.push(Held { lease, base, count, answered: 0, contract, payload });
                }
                self.note(receipt);
            }
            Asked::Heartbeat(begun) => {
                // The batch that finds out is refused as a whole; the ones after it answer.
                let Some(Replied { answer, .. }) = self.answer(begun) else {
                    self.unheard += 1;
                    assert!(self.unheard < 2, "heartbeats go on when nothing can be written");
                    return;
                };
                self.unheard = 0;
                self.registered = answer.is_some();
            }
            Asked::Judge(lease, number, candidates, begun) => {
                let Some(Replied { answer, receipt }) = self.answer(begun) else { return };
                match answer {
                    Ok(answer) => {
                        let (worker, verdicts) = (self.worker.clone(), Told::of(&answer));
                        self.told.push(Acknowledged::Judged { worker, lease, number, verdicts, candidates, receipt });
                        self.note(receipt);
                        if let Some(held) = self.held.iter_mut().find(|held| held.lease == lease) {
                            held.answered = held.answered.max(number);
                        }
                    }
                    Err(ResultsRefusal::LeaseLost(_)) => self.lose(lease, receipt),
                    // The batch before it was refused in the same breath.
                    Err(ResultsRefusal::BatchGap { .. }) => {}
                    Err(refusal) => panic!("{refusal}"),
                }
            }
            Asked::End(lease, begun) => {
                let Some(Replied { answer, receipt }) = self.answer(begun) else { return };
                match answer {
                    Ok(answer) => {
                        let (worker, end) = (self.worker.clone(), End::of(&answer));
                        self.told.push(Acknowledged::Ended { worker, lease, end, receipt });
                        self.note(receipt);
                        self.held.retain(|held| held.lease != lease);
                    }
                    Err(ResultsRefusal::LeaseLost(_)) => self.lose(lease, receipt),
                    Err(ResultsRefusal::BatchGap { .. }) => {}
                    Err(refusal) => panic!("{refusal}"),
                }
            }
        }
    }

    fn answer<A>(&mut self, mut begun: Begun<A>) -> Option<Replied<A>> {
        match begun.try_answer().expect("every command is answered with its batch") {
            Ok(replied) => Some(replied),
            Err(CallError::ReadOnly(reason)) => {
                self.refused.push(reason);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn note(&mut self, receipt: Receipt) {
        self.told.push(Acknowledged::Receipt(receipt));
        self.receipt = self.receipt.max_by_seq(receipt);
    }

    fn lose(&mut self, lease: LeaseId, receipt: Receipt) {
        let durable = Some(receipt.seq);
        self.told.push(Acknowledged::Lost { worker: self.worker.clone(), lease, durable });
        self.held.retain(|held| held.lease != lease);
    }
}

/// The newest receipt.
trait Newest {
    fn max_by_seq(self, other: Receipt) -> Option<Receipt>;
}

impl Newest for Option<Receipt> {
    fn max_by_seq(self, other: Receipt) -> Option<Receipt> {
        self.filter(|receipt| receipt.seq > other.seq).or(Some(other))
    }
}

impl Held {
    /// The candidates of a batch: half of the job's each, and the first one twice. What they are depends on the job only.
    fn batch(&self, number: u64) -> Vec<String> {
        let half = self.count.div_ceil(2);
        let range = if number == 1 { 0..half } else { half..self.count };
        let first = range.clone().take(1);
        first.chain(range).map(|k| format!("{{\"t\":{}.25,\"q\":0.25}}", 10 * (self.base + k))).collect()
    }
}

impl Asked {
    fn unanswered(self) -> bool {
        fn none<A>(mut begun: Begun<A>) -> bool {
            matches!(begun.try_answer(), None | Some(Err(CallError::Stopped)))
        }
        match self {
            Self::Submit(_, begun) => none(begun),
            Self::Register(begun) => none(begun),
            Self::Lease(begun) => none(begun),
            Self::Heartbeat(begun) => none(begun),
            Self::Judge(_, _, _, begun) => none(begun),
            Self::End(_, begun) => none(begun),
        }
    }
}

/// A batch in the making.
#[derive(Default)]
struct Out {
    commands: Vec<Box<dyn Pending>>,
    asked: Vec<Asked>,
}

impl Out {
    fn ask<C: orch_orchestrator::engine::Command>(&mut self, command: C) -> Begun<C::Answer> {
        let (pending, begun) = envelope(command);
        self.commands.push(pending);
        begun
    }
}

fn setup() -> Submission {
    let contract: ContractSpec = serde_json::from_value(serde_json::json!({
        "contract": "roots",
        "version": 1,
        "schema": {"type": "object", "required": ["t", "q"]},
        "tolerance": [{"field": "q", "abs_lt": 0.5}],
        "identity": [{"field": "t", "quantum": 1}],
        "complete": {"count": {"payload": "count"}},
    }))
    .unwrap();
    let mut queue = QueueSpec::new(QueueName::new("roots").unwrap());
    queue.contract = Some("roots@1".parse().unwrap());
    queue.kind = Some("roots".parse().unwrap());
    Submission { contracts: vec![contract], queues: vec![queue], ..Submission::default() }
}
