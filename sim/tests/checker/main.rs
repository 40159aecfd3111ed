//! Each rule of the checker, broken by records and answers made by hand: here what is told and what counts, in `attempts` whom
//! jobs go to and what follows from failures, in `calendar` schedules.

mod attempts;
mod calendar;

use orch_core::contract::{Contract, ContractSpec};
use orch_core::digest::Digest;
use orch_core::id::{JobId, LeaseId, QueueName, Seq, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::receipt::Receipt;
use orch_core::record::{
    BatchJudged, CandidateAccepted, Event, ExpiryCause, FailureClass, JobSubmitted, Next, Origin, Record,
};
use orch_core::time::Timestamp;
use orch_ledger::Position;
use orch_sim::checker::{Acknowledged, AcknowledgedLog, Checker, End, Rule, Told, describe};
use std::sync::Arc;

/// Records in the making, a batch each.
struct Story {
    events: Vec<Event>,
}

fn contract() -> ContractSpec {
    serde_json::from_value(serde_json::json!({
        "contract": "c", "version": 1,
        "schema": {"type": "object", "properties": {"t": {"type": "number"}}},
        "identity": [{"field": "t", "quantum": 1}],
        "complete": {"count": 1},
    }))
    .unwrap()
}

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

fn job() -> JobId {
    JobId::new(3)
}

fn grant(attempt: u32, to: &str) -> Event {
    let contract = Some("c@1".parse().unwrap());
    Event::LeaseGranted {
        job: job(),
        attempt,
        worker: worker(to),
        contract,
        expected: Some(1),
        variant: 0,
        session: None,
        members: Vec::new(),
    }
}

fn accepted(lease: u64, t: f64) -> Event {
    let contract = Arc::new(Contract::compile(contract()).unwrap());
    let screened = contract.bind(&Payload::default()).unwrap().judge(format!("{{\"t\":{t}}}").as_bytes()).unwrap();
    Event::CandidateAccepted(Box::new(CandidateAccepted {
        origin: Origin::Lease { job: job(), lease: LeaseId::new(lease) },
        contract: "c@1".parse().unwrap(),
        digest: screened.digest(),
        offsets: screened.offsets().to_vec(),
        candidate: screened.into_candidate(),
    }))
}

fn judged(lease: u64, number: u64, accepted: u32, duplicates: Vec<Seq>) -> Event {
    let origin = Origin::Lease { job: job(), lease: LeaseId::new(lease) };
    Event::BatchJudged(Box::new(BatchJudged { origin, number, accepted, duplicates, rejected: 0, rejections: vec![] }))
}

fn expired(lease: u64) -> Event {
    Event::LeaseExpired {
        job: job(),
        lease: LeaseId::new(lease),
        cause: ExpiryCause::Ttl,
        next: Next::Ready,
        worker: None,
    }
}

fn completed(lease: u64) -> Event {
    Event::JobCompleted { job: job(), lease: LeaseId::new(lease) }
}

/// What does not hold of these records, one batch each, and of what was told.
fn rules(records: &[(i64, Event)], told: &[Acknowledged]) -> Vec<Rule> {
    let mut checker = Checker::new();
    for (seq, (at, event)) in (1..).zip(records) {
        let record = Record { seq: Seq(seq), at: Timestamp(*at), event: event.clone() };
        let chain = Some(Digest::of(&seq.to_be_bytes()));
        checker.take(&record, &Position { batch: seq, left: 0, chain });
    }
    let violations = checker.finish(told, None);
    println!("{}", describe(&violations));
    violations.into_iter().map(|violation| violation.rule).collect()
}

/// Record 1 is the contract, 2 the queue, 3 the job.
fn story(more: Vec<Event>) -> Story {
    let mut queue = QueueSpec::new(QueueName::new("q").unwrap());
    queue.contract = Some("c@1".parse().unwrap());
    let spec = JobSpec::new(queue.name.clone(), Payload::default());
    let submitted = JobSubmitted { spec, kind: "k".parse().unwrap(), depends_on: vec![], not_before: None };
    let mut events = vec![
        Event::ContractRegistered(Box::new(contract())),
        Event::QueueDefined(Box::new(queue)),
        Event::JobSubmitted(Box::new(submitted)),
    ];
    events.extend(more);
    Story { events }
}

impl Story {
    /// A link for each record that ends a batch: all but those that accepted candidates follow.
    fn links(&self) -> Vec<Option<Digest>> {
        let followed = |i: usize| matches!(self.events.get(i + 1), Some(Event::CandidateAccepted(_)));
        (0..self.events.len()).map(|i| (!followed(i)).then(|| Digest::of(&[i as u8]))).collect()
    }

    /// The receipt of a record.
    fn receipt(&self, seq: u64) -> Receipt {
        let links = self.links();
        let at = usize::try_from(seq).unwrap() - 1;
        Receipt { seq: Seq(seq), chain: links[at..].iter().flatten().next().copied().unwrap(), ..Receipt::default() }
    }

    fn check(&self, told: &[Acknowledged], replays: bool) -> Vec<Rule> {
        let mut checker = Checker::new();
        let mut batch = 1;
        for ((seq, event), chain) in (1..).zip(&self.events).zip(self.links()) {
            let record = Record { seq: Seq(seq), at: Timestamp(0), event: event.clone() };
            checker.take(&record, &Position { batch, left: u32::from(chain.is_none()), chain });
            batch += u64::from(chain.is_some());
        }
        let live = checker.state().export();
        let violations = checker.finish(told, replays.then_some(&live));
        println!("{}", describe(&violations));
        violations.into_iter().map(|violation| violation.rule).collect()
    }
}

/// One attempt that is granted, delivers and completes: grant 4, judgement 5, candidate 6, end 7.
fn good() -> Story {
    story(vec![grant(1, "w"), judged(4, 1, 1, vec![]), accepted(4, 5.0), completed(4)])
}

fn told_of(story: &Story) -> Vec<Acknowledged> {
    let (worker, lease) = (worker("w"), LeaseId::new(4));
    vec![
        Acknowledged::Submitted { job: job(), key: None, payload: Some(Payload::default()) },
        Acknowledged::Granted { worker: worker.clone(), lease, job: job() },
        Acknowledged::Judged {
            worker: worker.clone(),
            lease,
            number: 1,
            verdicts: vec![Told::Accepted(Seq(6))],
            candidates: vec!["{ \"t\": 5.0 }".to_owned()],
            receipt: story.receipt(6),
        },
        Acknowledged::Ended { worker, lease, end: End::Done, receipt: story.receipt(7) },
    ]
}

#[test]
fn what_was_told_and_is_there_is_no_violation() {
    let story = good();
    assert_eq!(story.check(&told_of(&story), true), []);
}

#[test]
fn what_was_told_and_is_not_there_is_lost() {
    let story = good();
    let told = told_of(&story);
    let short = Story { events: story.events[..4].to_vec() };
    let rules = short.check(&told, true);
    assert!(rules.contains(&Rule::AcknowledgedIsKept) && rules.contains(&Rule::Receipt), "{rules:?}");
    let empty = Story { events: vec![] };
    assert_eq!(empty.check(&told[..1], true), [Rule::AcknowledgedIsKept]);
}

#[test]
fn an_identity_is_accepted_once_whatever_its_bucket() {
    // 5.4 and 4.9 lie in two buckets and are the same under a quantum of 1.
    for again in [5.0, 5.4, 4.9] {
        let story = story(vec![grant(1, "w"), judged(4, 1, 2, vec![]), accepted(4, 5.0), accepted(4, again)]);
        assert_eq!(story.check(&[], true), [Rule::AcceptedOnce], "{again}");
    }
}

#[test]
fn a_job_has_one_live_lease() {
    let rules = story(vec![grant(1, "w"), grant(2, "x")]).check(&[], false);
    assert!(rules.contains(&Rule::OneLease), "{rules:?}");
    let rules = story(vec![grant(1, "w"), expired(4), grant(1, "x")]).check(&[], false);
    assert!(rules.contains(&Rule::LeasesGrow), "{rules:?}");
}

#[test]
fn nothing_counts_under_a_lease_that_has_ended() {
    let late = story(vec![grant(1, "w"), expired(4), judged(4, 1, 1, vec![]), accepted(4, 5.0)]);
    assert!(late.check(&[], false).contains(&Rule::CurrentLease));
    let gap = story(vec![grant(1, "w"), judged(4, 2, 0, vec![])]);
    assert!(gap.check(&[], false).contains(&Rule::CurrentLease));
}

#[test]
fn only_the_grantee_is_told_verdicts() {
    let story = good();
    let mut told = told_of(&story);
    if let Acknowledged::Judged { worker, .. } = &mut told[2] {
        *worker = self::worker("x");
    }
    assert_eq!(story.check(&told, true), [Rule::Grantee]);
}

#[test]
fn a_receipt_is_the_ledgers_and_a_resend_gets_the_same() {
    let story = good();
    let mut told = told_of(&story);
    let mut again = told[2].clone();
    if let Acknowledged::Judged { receipt, .. } = &mut again {
        receipt.chain = Digest::of(b"another");
    }
    told.push(again);
    assert_eq!(story.check(&told, true), [Rule::Receipt, Rule::Receipt]);
}

#[test]
fn a_duplicate_names_what_was_accepted_before() {
    let story = story(vec![grant(1, "w"), judged(4, 1, 0, vec![Seq(3)])]);
    assert!(story.check(&[], true).contains(&Rule::Duplicate));
}

#[test]
fn a_lease_is_lost_by_a_record() {
    let (worker, lease) = (worker("w"), LeaseId::new(4));
    let lost = |durable| vec![Acknowledged::Lost { worker: worker.clone(), lease, durable }];
    assert_eq!(story(vec![grant(1, "w")]).check(&lost(None), true), [Rule::ExpiryIsRecorded]);
    let ended = story(vec![grant(1, "w"), expired(4)]);
    assert_eq!(ended.check(&lost(Some(Seq(4))), true), [Rule::ExpiryIsRecorded]);
    assert_eq!(ended.check(&lost(Some(Seq(5))), true), []);
}

#[test]
fn done_means_complete() {
    assert_eq!(story(vec![grant(1, "w"), completed(4)]).check(&[], true), [Rule::Complete]);
    let failed = Event::AttemptFailed {
        job: job(),
        lease: LeaseId::new(4),
        class: FailureClass::Incomplete,
        message: String::new(),
        next: Next::Delayed(Timestamp(61_000)),
        exit_code: None,
        needs: None,
        avoid_worker: false,
        worker: None,
    };
    assert_eq!(story(vec![grant(1, "w"), failed]).check(&[], true), []);
}

#[test]
fn a_replay_that_differs_from_the_live_state_is_told_with_its_place() {
    let mut checker = Checker::new();
    let record = Record { seq: Seq(1), at: Timestamp(0), event: Event::ContractRegistered(Box::new(contract())) };
    checker.take(&record, &Position { batch: 1, left: 0, chain: Some(Digest::default()) });
    let mut live = checker.state().export();
    live["contracts"][0]["accepted"] = 7.into();
    let violations = checker.finish(&[], Some(&live));
    assert_eq!(describe(&violations), "replay equals live: state.contracts[0].accepted: replayed 0, live 7\n");
}

#[test]
fn answers_are_read_back_up_to_a_line_that_was_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("told.jsonl");
    let story = good();
    let mut told = told_of(&story);
    // A payload that is null is read back as none, which is not compared.
    told[0] = Acknowledged::Submitted { job: job(), key: Some("a key".to_owned()), payload: None };
    let mut log = AcknowledgedLog::create(&path).unwrap();
    told.iter().for_each(|one| log.note(one).unwrap());
    assert_eq!(AcknowledgedLog::read(&path).unwrap(), told);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 4);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(AcknowledgedLog::read(&path).unwrap(), told[..told.len() - 1]);
}
