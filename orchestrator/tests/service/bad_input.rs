//! Bad input: a clear verdict or error each, nothing accepted, no panic, and the stream goes on where it can.

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;
use tonic::Code;

use crate::support::*;

async fn leased(orch: &Orch) -> (Worker, u64) {
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let lease = lease(&mut worker, "w1").await.lease;
    (worker, lease)
}

#[tokio::test]
async fn bad_candidates_are_rejected_by_rule_and_good_ones_beside_them_are_not() {
    let orch = Orch::start().await;
    let (mut worker, lease) = leased(&orch).await;
    let deep = format!("{{\"t\":1,\"root_val\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("{{\"t\":1,\"root_val\":1e-9,\"pad\":\"{}\"}}", "x".repeat(500_000));
    let bad: Vec<(&[u8], &str)> = vec![
        (b"{\"t\":NaN,\"root_val\":1e-9}", "json"),
        (b"{\"t\":Infinity,\"root_val\":1e-9}", "json"),
        (b"{\"t\":1e400,\"root_val\":1e-9}", "json"),
        (deep.as_bytes(), "size"),
        (large.as_bytes(), "size"),
        (b"{\"t\":\"one\",\"root_val\":1e-9}", "schema"),
        (b"{\"t\":1,\"root_val\":1e-9,\"extra\":1}", "schema"),
        (b"{\"t\":1}", "schema"),
        (b"{\"t\":1,\"t\":2,\"root_val\":1e-9}", "json"),
        (b"{\"t\":1,\"root_val\":1e-8}", "tolerance"),
        (b"{\"t\":9007199254740993,\"root_val\":1e-9}", "json"),
        (b"[1,2]", "schema"),
        (b"", "json"),
        (b"\xff\xfe", "json"),
        (b"{\"t\":1,\"root_val\":1e-9} {}", "json"),
    ];
    let mut candidates: Vec<Vec<u8>> = bad.iter().map(|(text, _)| text.to_vec()).collect();
    candidates.push(candidate(3.0).into_bytes());
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(lease, 1, &candidates).await;
    let verdicts = results.verdicts().await;
    let expected: Vec<&str> = bad.iter().map(|(_, rule)| *rule).chain(["accepted"]).collect();
    assert_eq!(words(&verdicts), expected, "{verdicts:?}");
    for verdict in &verdicts.verdicts {
        if let Some(v1::verdict::Verdict::Rejected(rejection)) = &verdict.verdict {
            assert!(!rejection.message.is_empty() && rejection.message.chars().count() <= 300);
        }
    }
    // Again: the same answers.
    results.batch(lease, 1, &candidates).await;
    assert_eq!(results.verdicts().await.verdicts, verdicts.verdicts);
    orch.stop().await;
}

#[tokio::test]
async fn a_batch_beyond_the_bounds_is_refused_and_the_stream_goes_on() {
    let orch = Orch::start().await;
    let (mut worker, lease) = leased(&orch).await;
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(lease, 1, &[vec![b' '; 2 << 20]]).await;
    let refused = results.refused().await;
    assert_eq!((refused.reason.as_str(), refused.number), ("BATCH_TOO_LARGE", 1));
    results.batch(lease, 1, &vec![candidate(1.0); 5000]).await;
    assert_eq!(results.refused().await.reason, "BATCH_TOO_LARGE");
    results.batch(lease, 1, &[candidate(1.0)]).await;
    assert_eq!(words(&results.verdicts().await), ["accepted"]);
    orch.stop().await;
}

#[tokio::test]
async fn ten_megabytes_in_one_message_end_the_stream_with_a_clear_error() {
    let orch = Orch::start().await;
    let (mut worker, lease) = leased(&orch).await;
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(lease, 1, &[vec![b' '; 10 << 20]]).await;
    let status = results.answer().await.unwrap_err();
    assert!(status.message().contains("4194304") || status.message().contains("too large"), "{status}");
    // Nothing came of it, and the lease is as it was.
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(lease, 1, &[candidate(1.0)]).await;
    assert_eq!(words(&results.verdicts().await), ["accepted"]);
    orch.stop().await;
}

#[tokio::test]
async fn malformed_messages_name_their_field() {
    let orch = Orch::start().await;
    let (mut worker, lease) = leased(&orch).await;
    let status = worker.register_worker(registration("not a name")).await.unwrap_err();
    assert_eq!(reason(&status), ("INVALID_ARGUMENT".into(), "worker".into()));
    let status = worker.lease_job(ask("w1", 0, 0)).await.unwrap_err();
    assert_eq!(reason(&status), ("INVALID_ARGUMENT".into(), "max".into()));
    let quarantined = v1::Fail { class: v1::FailureClass::Quarantined.into(), ..v1::Fail::default() };
    let mut results = Results::open(&mut worker, "w1").await;
    results.say(lease, Action::Fail(quarantined)).await;
    let status = results.answer().await.unwrap_err();
    assert_eq!(reason(&status), ("INVALID_ARGUMENT".into(), "fail.class".into()));
    orch.stop().await;
}

#[tokio::test]
async fn bad_payloads_and_contracts_are_refused_at_the_submit() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let huge = format!("\"{}\"", "x".repeat(300_000));
    // Short on the wire, long in canonical form.
    let swollen = format!("[{}1]", "1e20,".repeat(50_000));
    for payload in ["{", "NaN", "1e400", &deep, &huge, &swollen, "{\"count\":1,\"count\":2}"] {
        let bad = v1::JobSpec { payload_json: payload.into(), ..job("q", 1) };
        let status = admin.submit(submission(vec![bad])).await.unwrap_err();
        let (reason, field) = reason(&status);
        assert_eq!((reason.as_str(), field.as_str()), ("INVALID_ARGUMENT", "jobs[0].payload_json"), "{status}");
    }
    let missing = v1::JobSpec { payload_json: "{\"count\":1}".into(), ..job("q", 1) };
    let status = admin.submit(submission(vec![missing])).await.unwrap_err();
    assert!(status.message().contains("payload field \"eps\" is missing"), "{status}");
    for contract in ["", "{}", "{\"contract\":\"c\",\"version\":1,\"schema\":{\"type\":5},\"identity\":[]}", &deep] {
        let request = v1::SubmitRequest { contracts_json: vec![contract.into()], ..v1::SubmitRequest::default() };
        let status = admin.submit(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let changed = CONTRACT.replace("1e-6", "1e-7");
    admin.submit(submission(vec![])).await.unwrap();
    let request = v1::SubmitRequest { contracts_json: vec![changed], ..v1::SubmitRequest::default() };
    assert_eq!(reason(&admin.submit(request).await.unwrap_err()).0, "CONFLICT");
    orch.stop().await;
}

#[tokio::test]
async fn too_many_jobs_for_one_submit_are_refused() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let many = submission(vec![job("q", 1); 10_001]);
    assert_eq!(reason(&admin.submit(many).await.unwrap_err()), ("INVALID_ARGUMENT".into(), "jobs".into()));
    orch.stop().await;
}

/// Each call is within its bounds; together they are more than one batch of the ledger can hold.
#[tokio::test]
async fn many_large_calls_at_once_are_more_than_one_batch() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let unjudged = v1::QueueSpec { contract: String::new(), ..queue("q") };
    let request = v1::SubmitRequest { queues: vec![unjudged], ..v1::SubmitRequest::default() };
    admin.submit(request).await.unwrap();
    let payload = format!("\"{}\"", "x".repeat(200_000));
    let large = v1::JobSpec { queue: "q".into(), payload_json: payload, ..v1::JobSpec::default() };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let mut admin = admin.clone();
        let request = v1::SubmitRequest { jobs: vec![large.clone(); 18], ..v1::SubmitRequest::default() };
        calls.spawn(async move { admin.submit(request).await.unwrap() });
    }
    while let Some(submitted) = calls.join_next().await {
        assert_eq!(submitted.unwrap().into_inner().jobs.len(), 18);
    }
    // And one call that means all of them, with a reason as long as can be.
    let reason = "\u{1}".repeat(3000);
    let cancel = v1::CancelJobsRequest { filter: None, reason, dry_run: false };
    assert_eq!(admin.cancel_jobs(cancel).await.unwrap().into_inner().cancelled.len(), 24 * 18);
    orch.stop().await;
}

/// An error travels in headers, which have a bound of their own: it is cut rather than lost.
#[tokio::test]
async fn an_error_with_much_to_say_still_arrives() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let bad = v1::JobSpec { queue: "é".repeat(10_000), name: "ä\n".repeat(50), ..v1::JobSpec::default() };
    let status = admin.submit(submission(vec![bad; 50])).await.unwrap_err();
    assert_eq!(reason(&status), ("INVALID_ARGUMENT".into(), "jobs[0].queue".into()), "{status}");
    let rules: Vec<String> = (0..500).map(|i| format!("{{\"field\":\"é{i}\"}}")).collect();
    let contract = format!(
        "{{\"contract\":\"c\",\"version\":1,\"schema\":{{}},\"identity\":[{{\"field\":\"t\"}}],\"tolerance\":[{}]}}",
        rules.join(",")
    );
    let request = v1::SubmitRequest { contracts_json: vec![contract], ..v1::SubmitRequest::default() };
    let status = admin.submit(request).await.unwrap_err();
    assert_eq!(reason(&status).0, "INVALID_ARGUMENT", "{status}");
    assert!(status.message().contains("tolerance[0]") && status.message().ends_with("..."));
    orch.stop().await;
}
