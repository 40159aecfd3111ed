//! Messages of workers become checked values, each bad field named; answers say on the wire what they say in core.

use std::collections::HashMap;

use orch_core::calls::CallNumber;
use orch_core::contract::{Rejection, Rule};
use orch_core::digest::Digest;
use orch_core::id::{ContractRef, JobId, Kind, LeaseId, QueueName, Seq, WorkerId};
use orch_core::job::Payload;
use orch_core::receipt::Mac;
use orch_core::record::FailureClass;
use orch_core::state::{
    BatchAnswer, CompleteAnswer, Granted, Place, ResultsRefusal, SubmitFault, SubmitRefusal, Verdict,
};
use orch_core::summary::JobPhase;
use orch_core::time::{Span, Timestamp};
use orch_proto::convert::{
    AskForJobs, HeartbeatReport, JobConditions, LegacyPart, MAX_WAIT, Receipt, Register, ResultsAction, ResultsMessage,
    ended, lease, refused, verdicts,
};
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use proptest::prelude::*;

fn worker() -> WorkerId {
    WorkerId::new("w1").unwrap()
}

#[test]
fn a_registration_is_checked_field_by_field() {
    let wire = v1::RegisterWorkerRequest {
        worker: "w1".into(),
        kinds: vec!["zeta-zeros".into()],
        slots: 3,
        hardware: Some(v1::Hardware { host: "h\u{1b}[31m".into(), ..v1::Hardware::default() }),
        labels: HashMap::from([("zone".into(), "a".into())]),
        version: "1".into(),
        leases: vec![4, 9],
        last_receipt: Some(v1::Receipt { seq: 9, chain: vec![7; 32].into(), mac: vec![5; 16].into() }),
        ledger: "the-ledger".into(),
        uptime_ms: 5000,
        call: Some(v1::CallNumber { process: 7, number: 3 }),
        ..v1::RegisterWorkerRequest::default()
    };
    let checked = Register::try_from(wire.clone()).unwrap();
    assert_eq!((&checked.worker, checked.registration.slots), (&worker(), 3));
    assert_eq!(checked.leases, [LeaseId::new(4), LeaseId::new(9)]);
    assert_eq!(checked.last_receipt, Some(Receipt { seq: Seq(9), chain: Digest([7; 32]), mac: Mac([5; 16]) }));
    assert_eq!((checked.uptime, checked.ledger.as_deref()), (Span(5000), Some("the-ledger")));
    assert_eq!(checked.registration.hardware.host, "h[31m");
    assert_eq!(checked.registration.call, Some(CallNumber { process: 7, number: 3 }));

    let bad = v1::RegisterWorkerRequest {
        worker: "w 1".into(),
        kinds: vec!["ok".into(), "-".into()],
        slots: 1 << 20,
        last_receipt: Some(v1::Receipt { seq: 9, chain: vec![7; 3].into(), ..v1::Receipt::default() }),
        ..wire
    };
    let faults = Register::try_from(bad).unwrap_err();
    let fields: Vec<&str> = faults.listed().iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["worker", "kinds[1]", "slots", "last_receipt.chain"]);
}

#[test]
fn a_wait_is_cut_and_no_jobs_is_no_question() {
    let ask = |max, wait_ms| v1::LeaseJobRequest {
        worker: "w1".into(),
        kinds: vec![],
        max,
        wait_ms,
        ..v1::LeaseJobRequest::default()
    };
    let checked = AskForJobs::try_from(ask(2, u64::MAX)).unwrap();
    assert_eq!((checked.wait, checked.request.max, checked.call), (MAX_WAIT, 2, None));
    let call = Some(v1::CallNumber { process: u64::MAX, number: 4 });
    let numbered = AskForJobs::try_from(v1::LeaseJobRequest { call, ..ask(2, 0) }).unwrap();
    assert_eq!(numbered.call, Some(CallNumber { process: u64::MAX, number: 4 }));
    assert_eq!(AskForJobs::try_from(ask(0, 0)).unwrap_err().first_field(), "max");
}

#[test]
fn progress_that_is_no_number_is_unknown() {
    let progress = |fraction| v1::LeaseProgress { lease: 1, fraction, note: "x\ny".into(), step: 0 };
    let wire = v1::HeartbeatRequest {
        worker: "w1".into(),
        leases: vec![progress(0.5), progress(f64::NAN), progress(7.0)],
        last_receipt: None,
    };
    let checked = HeartbeatReport::try_from(wire).unwrap();
    let fractions: Vec<f64> = checked.leases.iter().map(|(_, progress)| progress.fraction).collect();
    assert_eq!(fractions, [0.5, -1.0, 1.0]);
    assert_eq!(checked.leases[0].1.note, "xy");
}

#[test]
fn a_results_message_says_one_thing_under_one_lease() {
    use v1::submit_results_request::Action;
    let message = |action| v1::SubmitResultsRequest { worker: String::new(), lease: 5, action };
    let fail = |class, code| {
        let class = v1::FailureClass::into(class);
        Some(Action::Fail(v1::Fail { class, message: "died".into(), exit_code: code }))
    };
    let checked = ResultsMessage::try_from(message(fail(v1::FailureClass::Error, Some(3)))).unwrap();
    let action =
        ResultsAction::Fail { class: FailureClass::Error, message: "died (exit code 3)".into(), exit_code: Some(3) };
    assert_eq!(checked, ResultsMessage { worker: None, lease: LeaseId::new(5), action });
    for class in [v1::FailureClass::Quarantined, v1::FailureClass::Unspecified] {
        let faults = ResultsMessage::try_from(message(fail(class, None))).unwrap_err();
        assert_eq!(faults.first_field(), "fail.class");
    }
    assert_eq!(ResultsMessage::try_from(message(None)).unwrap_err().first_field(), "action");
}

#[test]
fn a_grant_goes_out_whole() {
    let granted = Granted {
        lease: LeaseId::new(8),
        job: JobId::new(3),
        attempt: 2,
        contract: Some("c@1".parse::<ContractRef>().unwrap()),
        ttl: Span::seconds(600),
        heartbeat: Span::seconds(30),
        timeout: None,
        payload: Payload::parse(b"{\"a\":1}").unwrap(),
        variant: "gpus=0.5,min_time=1s".parse().unwrap(),
        task: Some(orch_core::array::Task { array: JobId::new(2), index: -7 }),
        place: Some(Place { rank: 1, members: vec!["a".parse().unwrap(), "b".parse().unwrap()] }),
    };
    let (queue, kind) = (QueueName::new("q").unwrap(), Kind::new("k").unwrap());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let expected = v1::Lease {
        lease: 8,
        job: 3,
        attempt: 2,
        queue: "q".into(),
        kind: "k".into(),
        payload_json: "{\"a\":1}".into(),
        contract: "c@1".into(),
        ttl_ms: 600_000,
        heartbeat_ms: 30_000,
        timeout_ms: 0,
        traceparent: trace.into(),
        name: "n".into(),
        resources: Some(v1::ResourceVariant {
            needs: vec![v1::ResourceNeed { name: "gpus".into(), amount: 5000, all: false, min_memory_mib: 0 }],
            min_time_ms: Some(1000),
        }),
        task: Some(v1::Task { array: 2, index: -7 }),
        gang: Some(v1::GangPlace {
            rank: 1,
            members: vec!["a".into(), "b".into()],
            hosts: vec!["ha".into(), "hb".into()],
        }),
    };
    let hosts = vec!["ha".into(), "hb".into()];
    assert_eq!(lease(granted, &queue, &kind, "n".into(), trace.into(), hosts), expected);
}

#[test]
fn verdicts_and_ends_carry_their_receipt() {
    let receipt = Receipt { seq: Seq(7), chain: Digest([1; 32]), ..Receipt::default() };
    let rejected = Verdict::Rejected(Rejection::new(Rule::Tolerance, "too far"));
    let answer = BatchAnswer {
        number: 2,
        verdicts: vec![Verdict::Accepted(Seq(6)), Verdict::Duplicate(Seq(1)), rejected],
        last: Seq(7),
    };
    let wire = verdicts(answer, receipt);
    use v1::verdict::Verdict as Wire;
    let rejection = v1::Rejection { rule: "tolerance".into(), message: "too far".into() };
    let expected = [Wire::Accepted(6), Wire::Duplicate(1), Wire::Rejected(rejection)];
    assert_eq!(wire.verdicts.into_iter().flat_map(|verdict| verdict.verdict).collect::<Vec<_>>(), expected);
    assert_eq!(Receipt::try_from(wire.receipt.unwrap()), Ok(receipt));

    let failed =
        |finally| CompleteAnswer::Failed { class: FailureClass::Incomplete, message: "3 of 4".into(), finally };
    assert_eq!(ended(CompleteAnswer::Done, receipt).state(), v1::JobState::Done);
    assert_eq!(ended(failed(true), receipt).state(), v1::JobState::Failed);
    assert_eq!(ended(failed(false), receipt).state(), v1::JobState::Unspecified);
    assert_eq!(ended(failed(false), receipt).failure_class(), v1::FailureClass::Incomplete);
}

#[test]
fn a_refusal_keeps_its_reason() {
    let gap = ResultsRefusal::BatchGap { lease: LeaseId::new(1), got: 5, expected: 3 };
    let wire = refused(&gap, 5);
    assert_eq!((wire.reason.as_str(), wire.expected_batch, wire.number), ("BATCH_GAP", 3, 5));
    let forged = ResultsRefusal::NotGrantee { lease: LeaseId::new(1), worker: worker() };
    assert_eq!(refused(&forged, 0).reason, "NOT_GRANTEE");

    let refusal = SubmitRefusal::Job { index: 3, fault: SubmitFault::UnknownQueue(QueueName::new("q").unwrap()) };
    let error = WireError::from(&refusal);
    assert_eq!((error.reason, error.field.as_str()), (Reason::NotFound, "jobs[3].queue"));
}

#[test]
fn a_filter_names_each_bad_condition() {
    let wire = v1::JobFilter {
        queue: "q".into(),
        states: vec![v1::JobState::Failed.into()],
        failure_class: v1::FailureClass::Timeout.into(),
        since_unix_ms: Some(5),
        jobs: vec![1, 2],
        ..v1::JobFilter::default()
    };
    let expected = JobConditions {
        queue: Some(QueueName::new("q").unwrap()),
        phases: vec![JobPhase::Failed],
        jobs: vec![JobId::new(1), JobId::new(2)],
        class: Some(FailureClass::Timeout),
        since: Some(Timestamp(5)),
        ..JobConditions::default()
    };
    assert_eq!(JobConditions::try_from(wire), Ok(expected));
    let wire = v1::JobFilter {
        queue: "a b".into(),
        kind: "?".into(),
        states: vec![0, 99],
        failure_class: 77,
        ..v1::JobFilter::default()
    };
    let faults = JobConditions::try_from(wire).unwrap_err();
    let fields: Vec<&str> = faults.listed().iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["states[0]", "states[1]", "queue", "kind", "failure_class"]);
}

#[test]
fn a_legacy_file_needs_its_digest_and_its_contract() {
    use v1::import_legacy_request::Part;
    let start = v1::LegacyStart {
        file_sha256: vec![1; 5].into(),
        contract: "c".into(),
        payload_json: "{".into(),
        ..Default::default()
    };
    let wire = v1::ImportLegacyRequest { part: Some(Part::Start(start)) };
    let faults = LegacyPart::try_from(wire).unwrap_err();
    let fields: Vec<&str> = faults.listed().iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["file_sha256", "contract", "payload_json"]);
}

proptest! {
    #[test]
    fn a_receipt_survives_the_wire(seq in any::<u64>(), chain in any::<[u8; 32]>(), mac in any::<[u8; 16]>()) {
        let receipt = Receipt { seq: Seq(seq), chain: Digest(chain), mac: Mac(mac) };
        prop_assert_eq!(Receipt::try_from(v1::Receipt::from(receipt)), Ok(receipt));
    }

    #[test]
    fn states_survive_the_wire(state in 1..8i32) {
        let state = v1::JobState::try_from(state).unwrap();
        let phase = JobPhase::try_from(state).unwrap();
        prop_assert_eq!(v1::JobState::from(phase), state);
    }
}
