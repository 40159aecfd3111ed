//! The orchestrator's edge: calls become commands of the engine, its answers become replies, as the gRPC edge does it.

use std::collections::BTreeMap;
use std::rc::Rc;

use orch_core::calls::CallNumber;
use orch_core::contract::{Rejection, Rule as Gate, Screen};
use orch_core::id::{LeaseId, WorkerId};
use orch_core::receipt::Receipt;
use orch_core::state::{
    BatchAnswer, CompleteAnswer, JobFilter, Judged, LeaseRequest, Refusal, ResultsRefusal, SubmitRefusal, Submitted,
};
use orch_orchestrator::engine::commands::admin::{CancelJobs, PauseQueue, ResumeQueue, RetryFailed, Submit};
use orch_orchestrator::engine::commands::results::{CompleteJob, DescribeLease, FailJob, JudgeBatch, LeaseTerms};
use orch_orchestrator::engine::commands::schedules::{PauseSchedule, RemoveSchedule};
use orch_orchestrator::engine::commands::trust::{ResumeWorker, SwitchRetries};
use orch_orchestrator::engine::commands::worker::{
    DeregisterWorker, Heartbeat, HeartbeatAnswer, LeaseAnswer, LeaseJobs, RegisterRefusal, RegisterWorker, Registered,
    ReleaseLeases,
};
use orch_orchestrator::engine::{Begun, CallError, Pending, Replied, WorkerRegistration, envelope};

use super::call::{Answer, Call, Change, Reply, Request, Step};
use crate::checker::{Acknowledged, End, Told};

/// By what the candidates of a lease are judged.
struct Terms(Result<Screen, Rejection>);

impl Terms {
    fn new(terms: &LeaseTerms) -> Self {
        let unjudged = |message: &str| Rejection::new(Gate::NoContract, message);
        Self(match &terms.contract {
            None => Err(unjudged("the job's queue has no contract")),
            Some(contract) => contract.bind(&terms.payload).map_err(|error| unjudged(&error.to_string())),
        })
    }

    fn judge(&self, candidate: &str) -> Judged {
        match &self.0 {
            Ok(screen) => screen.judge(candidate.as_bytes()),
            Err(rejection) => Err(rejection.clone()),
        }
    }
}

/// A batch of results on its way to its verdicts.
struct Batch {
    worker: WorkerId,
    lease: LeaseId,
    number: u64,
    candidates: Vec<String>,
}

/// An answer of the engine that is waited for, with what is needed to tell it.
enum Awaited {
    Register(WorkerId, Begun<Result<Registered, RegisterRefusal>>),
    Lease(WorkerId, Begun<LeaseAnswer>),
    Heartbeat(WorkerId, Begun<HeartbeatAnswer>),
    Describe(Batch, Begun<Option<LeaseTerms>>),
    Judge(Batch, Begun<Result<BatchAnswer, ResultsRefusal>>),
    End(WorkerId, LeaseId, Begun<Result<CompleteAnswer, ResultsRefusal>>),
    Release(WorkerId, Begun<Vec<LeaseId>>),
    Leave(Begun<()>),
    Submit(orch_core::state::Submission, Begun<Result<Submitted, SubmitRefusal>>),
    Cancel(Begun<Vec<orch_core::id::JobId>>),
    Retry(Begun<Vec<orch_core::id::JobId>>),
    Control(Begun<Result<(), Refusal>>),
    Switch(Begun<bool>),
    Schedule(Begun<Result<bool, Refusal>>),
}

struct Waiting {
    request: (u64, super::call::Party, u64),
    step: Option<Step>,
    named: Vec<LeaseId>,
    awaited: Awaited,
}

/// An answer that leaves the orchestrator.
pub(crate) struct Out {
    pub(crate) reply: Reply,
    pub(crate) step: Option<Step>,
    /// What a client may rely on from now on.
    pub(crate) told: Vec<Acknowledged>,
    /// The leases that a registration named.
    pub(crate) named: Vec<LeaseId>,
}

/// What came of looking for an answer.
enum Found {
    NotYet(Awaited),
    Answer(Answer, Vec<Acknowledged>),
    /// The lease is described now: the batch can be judged.
    Described(Batch),
}

/// The calls that are in the orchestrator, and what it keeps at hand for results.
#[derive(Default)]
pub(crate) struct Edge {
    inbox: Vec<Box<dyn Pending>>,
    waiting: Vec<Waiting>,
    terms: BTreeMap<LeaseId, Rc<Terms>>,
}

impl Edge {
    /// Takes a request in.
    pub(crate) fn accept(&mut self, request: Request) {
        let Request { id, from, life, call, step } = request;
        let named = match &call {
            Call::Register { leases, .. } => leases.clone(),
            _ => Vec::new(),
        };
        let awaited = self.begin(call, CallNumber { process: life, number: id });
        self.waiting.push(Waiting { request: (id, from, life), step, named, awaited });
    }

    fn begin(&mut self, call: Call, number: CallNumber) -> Awaited {
        match call {
            Call::Register { worker, leases, last_receipt, uptime, pools, labels, lives_for } => {
                let (kinds, slots, call) = (kinds(), 1, Some(number));
                let registration = WorkerRegistration {
                    kinds,
                    slots,
                    pools,
                    labels,
                    lives_for,
                    call,
                    ..WorkerRegistration::default()
                };
                let name = worker.clone();
                let command = RegisterWorker { worker, registration, leases, last_receipt, uptime };
                Awaited::Register(name, self.hand_in(command))
            }
            Call::Lease { worker, max, wait, pools, remaining } => {
                let name = worker.clone();
                let mut request = LeaseRequest::new(worker, Vec::new(), max);
                (request.offer.pools, request.offer.remaining) = (pools, remaining);
                let command = LeaseJobs { call: Some(number), ..LeaseJobs::new(request, wait) };
                Awaited::Lease(name, self.hand_in(command))
            }
            Call::Heartbeat { worker, leases, last_receipt } => {
                let name = worker.clone();
                Awaited::Heartbeat(name, self.hand_in(Heartbeat { worker, leases, last_receipt }))
            }
            Call::Results { worker, lease, number, candidates } => {
                self.results(Batch { worker, lease, number, candidates })
            }
            Call::Complete { worker, lease, batches } => {
                let name = worker.clone();
                Awaited::End(name, lease, self.hand_in(CompleteJob { worker, lease, batches }))
            }
            Call::Fail { worker, lease, report } => {
                let name = worker.clone();
                Awaited::End(name, lease, self.hand_in(FailJob { worker, lease, report }))
            }
            Call::Release { worker, leases } => {
                let name = worker.clone();
                Awaited::Release(name, self.hand_in(ReleaseLeases { worker, leases }))
            }
            Call::Deregister { worker } => Awaited::Leave(self.hand_in(DeregisterWorker { worker })),
            Call::Submit(submission) => Awaited::Submit(submission.clone(), self.hand_in(Submit(submission))),
            Call::Cancel { jobs } => {
                let filter = JobFilter { jobs, ..JobFilter::default() };
                Awaited::Cancel(self.hand_in(CancelJobs { filter, reason: "no need".to_owned(), dry_run: false }))
            }
            Call::Retry => {
                let filter = JobFilter::default();
                Awaited::Retry(self.hand_in(RetryFailed { filter, limit: 0, dry_run: false }))
            }
            Call::Pause { queue } => {
                Awaited::Control(self.hand_in(PauseQueue { queue, reason: "maintenance".to_owned() }))
            }
            Call::Resume { queue } => Awaited::Control(self.hand_in(ResumeQueue { queue })),
            Call::Retries { pause } => {
                let pause = pause.then(|| "an incident".to_owned());
                Awaited::Switch(self.hand_in(SwitchRetries { pause }))
            }
            Call::Schedule { schedule, change } => match change {
                Change::Remove => Awaited::Control(self.hand_in(RemoveSchedule { schedule })),
                Change::Pause | Change::Resume => {
                    let reason = (change == Change::Pause).then(|| "holidays".to_owned());
                    Awaited::Schedule(self.hand_in(PauseSchedule { schedule, reason }))
                }
            },
            Call::Trust { worker } => Awaited::Control(self.hand_in(ResumeWorker { worker })),
        }
    }

    /// Screens a batch and hands it in; asks first by what it is judged, if that is not known.
    fn results(&mut self, batch: Batch) -> Awaited {
        let Some(terms) = self.terms.get(&batch.lease).cloned() else {
            let lease = batch.lease;
            return Awaited::Describe(batch, self.hand_in(DescribeLease { lease }));
        };
        let candidates = batch.candidates.iter().map(|candidate| terms.judge(candidate)).collect();
        let (worker, lease, number) = (batch.worker.clone(), batch.lease, batch.number);
        Awaited::Judge(batch, self.hand_in(JudgeBatch { worker, lease, number, candidates }))
    }

    fn hand_in<C: orch_orchestrator::engine::Command>(&mut self, command: C) -> Begun<C::Answer> {
        let (pending, begun) = envelope(command);
        self.inbox.push(pending);
        begun
    }

    /// The commands of the next batch.
    pub(crate) fn take_commands(&mut self) -> Vec<Box<dyn Pending>> {
        std::mem::take(&mut self.inbox)
    }

    /// Whether a batch has something to do.
    pub(crate) fn has_commands(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether a call that waits has this step, and is in the orchestrator.
    pub(crate) fn has_step(&self, step: Step) -> bool {
        self.waiting.iter().any(|waiting| waiting.step == Some(step))
    }

    /// The answers that there are by now.
    pub(crate) fn take_answers(&mut self) -> Vec<Out> {
        let mut out = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let Waiting { request, step, named, awaited } = waiting;
            match self.find(awaited) {
                Found::NotYet(awaited) => self.waiting.push(Waiting { request, step, named, awaited }),
                Found::Described(batch) => {
                    let awaited = self.results(batch);
                    self.waiting.push(Waiting { request, step, named, awaited });
                }
                Found::Answer(answer, told) => {
                    let (id, to, life) = request;
                    out.push(Out { reply: Reply { id, to, life, answer }, step, told, named });
                }
            }
        }
        out
    }

    /// Everybody who waits, when the process is gone.
    pub(crate) fn break_all(&mut self) -> Vec<Reply> {
        let waiting = std::mem::take(&mut self.waiting);
        *self = Self::default();
        waiting
            .into_iter()
            .map(|Waiting { request: (id, to, life), .. }| Reply { id, to, life, answer: Answer::Broken })
            .collect()
    }

    fn find(&mut self, awaited: Awaited) -> Found {
        match awaited {
            Awaited::Register(worker, mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Register(worker, begun)),
                Some(replied) => answered(
                    replied,
                    |answer: &Result<Registered, _>, receipt| match answer {
                        Ok(registered) => lost(&worker, registered.lost.iter().copied(), receipt),
                        Err(_) => Vec::new(),
                    },
                    |answer, _| Answer::Registered(answer),
                ),
            },
            Awaited::Lease(worker, mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Lease(worker, begun)),
                Some(replied) => {
                    if let Ok(Replied { answer: LeaseAnswer::Granted { leases, .. }, .. }) = &replied {
                        for (granted, context) in leases {
                            let (job, attempt, contract) = (granted.job, granted.attempt, context.contract.clone());
                            let payload = granted.payload.clone();
                            let terms = LeaseTerms { job, attempt, workers: vec![worker.clone()], contract, payload };
                            self.terms.insert(granted.lease, Rc::new(Terms::new(&terms)));
                        }
                    }
                    answered(
                        replied,
                        |answer, receipt| granted(&worker, answer, receipt),
                        |answer, _| Answer::Leased(answer),
                    )
                }
            },
            Awaited::Heartbeat(worker, mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Heartbeat(worker, begun)),
                Some(replied) => answered(
                    replied,
                    |answer: &HeartbeatAnswer, receipt| {
                        use orch_orchestrator::engine::commands::worker::LeaseStanding;
                        let standings = answer.iter().flat_map(|(standings, _)| standings);
                        let gone = standings.filter(|(_, standing)| match standing {
                            LeaseStanding::Lost | LeaseStanding::Cancel => true,
                            LeaseStanding::Extended | LeaseStanding::Wait | LeaseStanding::Finish => false,
                        });
                        lost(&worker, gone.map(|(lease, _)| *lease), receipt)
                    },
                    |answer, _| Answer::Beat(answer),
                ),
            },
            Awaited::Describe(batch, mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Describe(batch, begun)),
                Some(Ok(Replied { answer: Some(terms), .. })) => {
                    self.terms.insert(batch.lease, Rc::new(Terms::new(&terms)));
                    Found::Described(batch)
                }
                Some(Ok(Replied { answer: None, receipt })) => {
                    let Batch { worker, lease, number, .. } = batch;
                    let verdicts = Err(ResultsRefusal::LeaseLost(lease));
                    let told = lost(&worker, [lease].into_iter(), receipt);
                    Found::Answer(Answer::Judged { lease, number, verdicts, receipt }, told)
                }
                Some(Err(error)) => Found::Answer(Answer::NotTaken(error), Vec::new()),
            },
            Awaited::Judge(batch, mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Judge(batch, begun)),
                Some(replied) => {
                    let (lease, number) = (batch.lease, batch.number);
                    answered(
                        replied,
                        |verdicts, receipt| judged(batch, verdicts, receipt),
                        |verdicts, receipt| Answer::Judged { lease, number, verdicts, receipt },
                    )
                }
            },
            Awaited::End(worker, lease, mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::End(worker, lease, begun)),
                Some(replied) => answered(
                    replied,
                    |end: &Result<CompleteAnswer, ResultsRefusal>, receipt| match end {
                        Ok(end) => vec![Acknowledged::Ended { worker, lease, end: End::of(end), receipt }],
                        Err(refusal) => refused(&worker, refusal, receipt),
                    },
                    |end, receipt| Answer::Ended { lease, end, receipt },
                ),
            },
            Awaited::Release(worker, mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Release(worker, begun)),
                Some(replied) => answered(
                    replied,
                    |leases: &Vec<LeaseId>, _| {
                        let released = leases.iter();
                        released.map(|lease| Acknowledged::Released { worker: worker.clone(), lease: *lease }).collect()
                    },
                    |leases, _| Answer::Released(leases),
                ),
            },
            Awaited::Leave(mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Leave(begun)),
                Some(replied) => answered(replied, |(), _| Vec::new(), |(), _| Answer::Left),
            },
            Awaited::Submit(submission, mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Submit(submission, begun)),
                Some(replied) => answered(
                    replied,
                    |answer, receipt| submitted(&submission, answer, receipt),
                    |answer, _| Answer::Submitted(answer),
                ),
            },
            Awaited::Cancel(mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Cancel(begun)),
                Some(replied) => answered(
                    replied,
                    |jobs: &Vec<_>, _| jobs.iter().map(|job| Acknowledged::Cancelled { job: *job }).collect(),
                    |_, _| Answer::Cancelled,
                ),
            },
            Awaited::Retry(mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Retry(begun)),
                Some(replied) => answered(
                    replied,
                    |jobs: &Vec<_>, _| jobs.iter().map(|job| Acknowledged::Retried { job: *job }).collect(),
                    |_, _| Answer::Retried,
                ),
            },
            Awaited::Control(mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Control(begun)),
                Some(replied) => answered(replied, |_, _| Vec::new(), |answer, _| Answer::Controlled(answer)),
            },
            Awaited::Switch(mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Switch(begun)),
                Some(replied) => answered(replied, |_, _| Vec::new(), |_, _| Answer::Controlled(Ok(()))),
            },
            Awaited::Schedule(mut begun) => match begun.try_answer() {
                None => Found::NotYet(Awaited::Schedule(begun)),
                Some(replied) => {
                    answered(replied, |_, _| Vec::new(), |answer, _| Answer::Controlled(answer.map(|_| ())))
                }
            },
        }
    }
}

/// The kinds of jobs of every run.
fn kinds() -> Vec<orch_core::id::Kind> {
    "roots".parse().into_iter().collect()
}

fn answered<A>(
    replied: Result<Replied<A>, CallError>,
    told: impl FnOnce(&A, Receipt) -> Vec<Acknowledged>,
    answer: impl FnOnce(A, Receipt) -> Answer,
) -> Found {
    match replied {
        Ok(Replied { answer: a, receipt }) => {
            let told = told(&a, receipt);
            Found::Answer(answer(a, receipt), told)
        }
        Err(error) => Found::Answer(Answer::NotTaken(error), Vec::new()),
    }
}

fn lost(worker: &WorkerId, leases: impl Iterator<Item = LeaseId>, receipt: Receipt) -> Vec<Acknowledged> {
    let durable = Some(receipt.seq);
    leases.map(|lease| Acknowledged::Lost { worker: worker.clone(), lease, durable }).collect()
}

fn refused(worker: &WorkerId, refusal: &ResultsRefusal, receipt: Receipt) -> Vec<Acknowledged> {
    match refusal {
        ResultsRefusal::LeaseLost(lease) => lost(worker, [*lease].into_iter(), receipt),
        ResultsRefusal::NotGrantee { .. }
        | ResultsRefusal::BatchGap { .. }
        | ResultsRefusal::BatchChanged { .. }
        | ResultsRefusal::OtherContract { .. } => Vec::new(),
    }
}

fn granted(worker: &WorkerId, answer: &LeaseAnswer, receipt: Receipt) -> Vec<Acknowledged> {
    match answer {
        LeaseAnswer::Unregistered => Vec::new(),
        LeaseAnswer::Granted { leases, .. } => {
            let told = |granted: &orch_core::state::Granted| Acknowledged::Granted {
                worker: worker.clone(),
                lease: granted.lease,
                job: granted.job,
            };
            let leases = leases.iter().map(|(granted, _)| told(granted));
            leases.chain([Acknowledged::Receipt(receipt)]).collect()
        }
    }
}

fn judged(batch: Batch, verdicts: &Result<BatchAnswer, ResultsRefusal>, receipt: Receipt) -> Vec<Acknowledged> {
    let Batch { worker, lease, number, candidates } = batch;
    match verdicts {
        Ok(answer) => {
            vec![Acknowledged::Judged { worker, lease, number, verdicts: Told::of(answer), candidates, receipt }]
        }
        Err(refusal) => refused(&worker, refusal, receipt),
    }
}

fn submitted(
    submission: &orch_core::state::Submission,
    answer: &Result<Submitted, SubmitRefusal>,
    receipt: Receipt,
) -> Vec<Acknowledged> {
    let Ok(answer) = answer else { return Vec::new() };
    let jobs = answer.jobs.iter().zip(&submission.jobs).map(|((job, _), spec)| Acknowledged::Submitted {
        job: *job,
        key: spec.idempotency_key.clone(),
        payload: Some(spec.payload.clone()),
    });
    jobs.chain([Acknowledged::Receipt(receipt)]).collect()
}
