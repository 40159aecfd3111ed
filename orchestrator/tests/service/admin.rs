//! What people do: submit, import, list, steer, export.

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;

use crate::support::*;

#[tokio::test]
async fn a_key_again_is_the_same_job_and_another_spec_is_refused_with_the_difference() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let keyed = v1::JobSpec { idempotency_key: "k1".into(), ..job("q", 1) };
    let first = admin.submit(submission(vec![keyed.clone()])).await.unwrap().into_inner();
    assert_eq!((first.contracts.len(), first.queues.len(), first.jobs[0].existed), (1, 1, false));
    let again = admin.submit(submission(vec![keyed.clone()])).await.unwrap().into_inner();
    assert_eq!((again.contracts_known.len(), again.queues_known.len()), (1, 1));
    assert_eq!((again.jobs[0].job, again.jobs[0].existed), (first.jobs[0].job, true));

    let other = v1::JobSpec { idempotency_key: "k1".into(), priority: 4, ..job("q", 2) };
    let status = admin.submit(submission(vec![job("q", 1), other])).await.unwrap_err();
    assert_eq!(reason(&status), ("CONFLICT".into(), "jobs[1].idempotency_key".into()));
    assert!(status.message().ends_with("they differ in payload, priority"), "{}", status.message());

    let filter = v1::JobFilter { idempotency_key: "k1".into(), ..v1::JobFilter::default() };
    let listed = v1::ListJobsRequest { filter: Some(filter), ..v1::ListJobsRequest::default() };
    let listed = admin.list_jobs(listed).await.unwrap().into_inner().jobs;
    assert_eq!(listed.iter().map(|job| job.job).collect::<Vec<_>>(), [first.jobs[0].job]);
    orch.stop().await;
}

#[tokio::test]
async fn a_submit_is_all_or_nothing_and_names_each_fault() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let bad = v1::JobSpec { queue: "a b".into(), payload_json: "{\"a\":1,\"a\":2}".into(), ..v1::JobSpec::default() };
    let status = admin.submit(submission(vec![job("q", 1), bad])).await.unwrap_err();
    assert_eq!(reason(&status), ("INVALID_ARGUMENT".into(), "jobs[1].queue".into()));
    assert!(status.message().contains("jobs[1].payload_json: key \"a\" stands twice"), "{}", status.message());
    let status = admin.submit(submission(vec![job("q", 1), job("nowhere", 1)])).await.unwrap_err();
    assert_eq!(reason(&status), ("NOT_FOUND".into(), "jobs[1].queue".into()));
    let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.jobs.unwrap(), v1::JobCounts::default());
    assert!(stats.queues.is_empty());
    orch.stop().await;
}

#[tokio::test]
async fn an_import_takes_good_lines_and_names_bad_ones() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![])).await.unwrap();
    let keyed = |i: u64| v1::JobSpec { idempotency_key: format!("k{i}"), ..job("q", i) };
    let chunks = vec![
        v1::ImportJobsRequest { chunk: 1, jobs: (0..500).map(keyed).collect() },
        v1::ImportJobsRequest { chunk: 2, jobs: vec![keyed(1), job("nowhere", 1), v1::JobSpec::default(), keyed(501)] },
        v1::ImportJobsRequest { chunk: 3, jobs: vec![v1::JobSpec { priority: 1, ..keyed(7) }] },
    ];
    let mut answers = admin.import_jobs(tokio_stream::iter(chunks)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!((first.chunk, first.submitted, first.existed, first.faults.len()), (1, 500, 0, 0));
    let second = answers.message().await.unwrap().unwrap();
    assert_eq!((second.submitted, second.existed), (1, 1));
    let faults: Vec<(u32, &str)> = second.faults.iter().map(|fault| (fault.index, fault.reason.as_str())).collect();
    assert_eq!(faults, [(1, "NOT_FOUND"), (2, "INVALID_ARGUMENT")]);
    let third = answers.message().await.unwrap().unwrap();
    assert_eq!(third.faults[0].reason, "CONFLICT");
    assert!(third.faults[0].message.ends_with("they differ in priority"), "{}", third.faults[0].message);
    assert!(answers.message().await.unwrap().is_none());
    let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.jobs.unwrap().ready, 501);
    orch.stop().await;
}

#[tokio::test]
async fn stats_available() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin
        .submit(submission(vec![job("q", 1), v1::JobSpec { delay_ms: Some(3_600_000), ..job("q", 1) }]))
        .await
        .unwrap();
    orch.registered("w1").await;
    // A listing waits until the index is open.
    admin.list_jobs(v1::ListJobsRequest::default()).await.unwrap();
    let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    let jobs = stats.jobs.unwrap();
    assert_eq!((jobs.ready, jobs.delayed, jobs.blocked, jobs.leased), (1, 1, 0, 0));
    let workers = stats.workers.unwrap();
    assert_eq!((workers.live, workers.stale, workers.slots), (1, 0, 2));
    let ledger = stats.ledger.unwrap();
    assert!(ledger.seq > 0 && ledger.batch > 0 && ledger.bytes > 0 && ledger.segments == 1 && ledger.epoch == 1);
    assert_eq!((ledger.chain.len(), ledger.read_only_reason.as_str()), (32, ""));
    assert!(stats.oldest_ready_unix_ms > 0);
    assert_eq!(stats.attempts.unwrap(), v1::AttemptCounts::default());
    assert_eq!(stats.queues[0].jobs.unwrap(), jobs);
    assert_eq!(stats.index.unwrap().kind, "sled");
    let info = admin.server_info(v1::ServerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.ledger, info.epoch, info.pid), (ledger.ledger, 1, std::process::id()));
    assert!(info.config_json.contains("\"stale_after\":\"2m\""), "{}", info.config_json);
    orch.stop().await;
}

#[tokio::test]
async fn a_job_is_shown_with_its_history() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let specs = vec![
        v1::JobSpec { name: "a".into(), ..job("q", 1) },
        v1::JobSpec { name: "b".into(), depends_on: vec!["a".into()], ..job("q", 1) },
    ];
    let submitted = admin.submit(submission(specs.clone())).await.unwrap().into_inner();
    let [a, b] = [submitted.jobs[0].job, submitted.jobs[1].job];
    let mut worker = orch.registered("w1").await;
    let lease = lease(&mut worker, "w1").await;
    assert_eq!((lease.job, lease.name.as_str()), (a, "a"));
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(lease.lease, 1, &[candidate(1.0)]).await;
    results.say(lease.lease, Action::Complete(v1::Complete { batches: 1 })).await;
    results.verdicts().await;
    results.ended().await;

    let shown = admin.get_job(v1::GetJobRequest { job: a }).await.unwrap().into_inner();
    let summary = shown.summary.unwrap();
    assert_eq!((summary.state(), summary.accepted, summary.worker.as_str()), (v1::JobState::Done, 1, "w1"));
    let names: Vec<&str> = shown.history.iter().map(|line| line.event_json.split('"').nth(1).unwrap()).collect();
    assert_eq!(names, ["job_submitted", "lease_granted", "batch_judged", "job_completed"]);
    assert_eq!(shown.spec.unwrap(), specs[0]);
    let shown = admin.get_job(v1::GetJobRequest { job: b }).await.unwrap().into_inner();
    assert_eq!(shown.depends_on, [a]);
    assert_eq!(shown.summary.unwrap().state(), v1::JobState::Ready);
    for job in [a + 1000, 1, 0] {
        let status = admin.get_job(v1::GetJobRequest { job }).await.unwrap_err();
        assert_eq!(reason(&status), ("NOT_FOUND".into(), "job".into()), "{status}");
    }
    orch.stop().await;
}

#[tokio::test]
async fn failed_jobs_are_retried_by_filter_and_dry_runs_change_nothing() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let named = |name: &str| v1::JobSpec { name: name.into(), ..job("q", 1) };
    let submitted = admin.submit(submission(vec![named("x"), named("y")])).await.unwrap().into_inner();
    let mut worker = orch.registered("w1").await;
    let mut results = Results::open(&mut worker, "w1").await;
    for class in [v1::FailureClass::Error, v1::FailureClass::Permanent] {
        let lease = lease(&mut worker, "w1").await.lease;
        let fail = v1::Fail { class: class.into(), message: "no".into(), exit_code: None };
        results.say(lease, Action::Fail(fail)).await;
        assert_eq!(results.ended().await.state(), v1::JobState::Failed);
    }
    let [x, y] = [submitted.jobs[0].job, submitted.jobs[1].job];
    let retry = |filter, dry_run| v1::RetryFailedRequest { filter: Some(filter), limit: 0, dry_run };
    let all = v1::JobFilter::default();
    assert_eq!(admin.retry_failed(retry(all.clone(), true)).await.unwrap().into_inner().retried, [x, y]);
    let by_class = v1::JobFilter { failure_class: v1::FailureClass::Permanent.into(), ..all.clone() };
    assert_eq!(admin.retry_failed(retry(by_class, false)).await.unwrap().into_inner().retried, [y]);
    let by_name = v1::JobFilter { name: "x".into(), ..all.clone() };
    assert_eq!(admin.retry_failed(retry(by_name, false)).await.unwrap().into_inner().retried, [x]);
    assert!(admin.retry_failed(retry(all.clone(), false)).await.unwrap().into_inner().retried.is_empty());
    // Nothing open has ended, so nothing is meant.
    let done = v1::JobFilter { states: vec![v1::JobState::Done.into()], ..all };
    let cancel = v1::CancelJobsRequest { filter: Some(done), reason: String::new(), dry_run: false };
    assert!(admin.cancel_jobs(cancel).await.unwrap().into_inner().cancelled.is_empty());
    orch.stop().await;
}

#[tokio::test]
async fn a_paused_queue_leases_nothing() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let pause = v1::PauseQueueRequest { queue: "q".into(), reason: "maintenance".into() };
    admin.pause_queue(pause).await.unwrap();
    assert!(worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner().leases.is_empty());
    let queues = admin.list_queues(v1::ListQueuesRequest {}).await.unwrap().into_inner().queues;
    assert_eq!((queues[0].paused, queues[0].paused_reason.as_str()), (true, "maintenance"));
    admin.resume_queue(v1::ResumeQueueRequest { queue: "q".into() }).await.unwrap();
    lease(&mut worker, "w1").await;
    let status = admin.resume_queue(v1::ResumeQueueRequest { queue: "p".into() }).await.unwrap_err();
    assert_eq!(reason(&status), ("NOT_FOUND".into(), "queue".into()));
    orch.stop().await;
}

#[tokio::test]
async fn waiting_ends_with_the_job_or_with_the_time() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let submitted = admin.submit(submission(vec![job("q", 1)])).await.unwrap().into_inner();
    let job = submitted.jobs[0].job;
    let wait = move |ms| v1::WaitJobsRequest { jobs: vec![job], queue: String::new(), timeout_ms: ms };
    let waited = admin.wait_jobs(wait(1)).await.unwrap().into_inner();
    assert_eq!((waited.ended, waited.open, waited.jobs[0].job), (false, 1, job));
    let mut other = admin.clone();
    let waiting = tokio::spawn(async move { other.wait_jobs(wait(60_000)).await });
    let filter = v1::JobFilter { jobs: vec![job], ..v1::JobFilter::default() };
    let cancel = v1::CancelJobsRequest { filter: Some(filter), reason: "enough".into(), dry_run: false };
    admin.cancel_jobs(cancel).await.unwrap();
    let waited = waiting.await.unwrap().unwrap().into_inner();
    assert!(waited.ended);
    assert_eq!((waited.jobs[0].state(), waited.jobs[0].message.as_str()), (v1::JobState::Cancelled, "enough"));
    let whole = v1::WaitJobsRequest { jobs: vec![], queue: "q".into(), timeout_ms: 60_000 };
    assert!(admin.wait_jobs(whole).await.unwrap().into_inner().ended);
    let unknown = v1::WaitJobsRequest { jobs: vec![], queue: "p".into(), timeout_ms: 1 };
    assert_eq!(reason(&admin.wait_jobs(unknown).await.unwrap_err()), ("NOT_FOUND".into(), "queue".into()));
    orch.stop().await;
}

#[tokio::test]
async fn older_results_come_in_once_and_through_every_gate() {
    use v1::import_legacy_request::Part;
    use v1::import_legacy_response::Answer;
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![])).await.unwrap();
    let start = v1::LegacyStart {
        file_sha256: vec![9; 32].into(),
        name: "old.jsonl".into(),
        contract: "roots@1".into(),
        payload_json: "{\"count\":1,\"eps\":1e-8}".into(),
    };
    let lines = [candidate(1.0), candidate(1.0), "{\"t\":1,\"root_val\":1}".into(), "no json".into()];
    let lines = lines.iter().map(|line| line.clone().into_bytes().into()).collect();
    let part = |part| v1::ImportLegacyRequest { part: Some(part) };
    let whole = vec![
        part(Part::Start(start.clone())),
        part(Part::Batch(v1::Batch { number: 1, candidates: lines })),
        part(Part::Finish(v1::LegacyFinish { batches: 1 })),
    ];
    let mut answers = admin.import_legacy(tokio_stream::iter(whole)).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        seen.push(answer.answer.unwrap());
    }
    let [Answer::Started(started), Answer::Verdicts(verdicts), Answer::Finished(finished)] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert!(!started.finished_before);
    assert_eq!(words(verdicts), ["accepted", "duplicate", "tolerance", "json"]);
    assert_eq!((finished.accepted, finished.duplicate, finished.rejected), (1, 1, 2));

    let again = vec![part(Part::Start(start))];
    let mut answers = admin.import_legacy(tokio_stream::iter(again)).await.unwrap().into_inner();
    let Some(Answer::Started(again)) = answers.message().await.unwrap().unwrap().answer else { panic!() };
    assert_eq!((again.import, again.finished_before, again.batches_done), (started.import, true, 1));

    let unstarted = vec![part(Part::Finish(v1::LegacyFinish { batches: 1 }))];
    let mut answers = admin.import_legacy(tokio_stream::iter(unstarted)).await.unwrap().into_inner();
    assert_eq!(reason(&answers.message().await.unwrap_err()), ("INVALID_ARGUMENT".into(), "part".into()));
    orch.stop().await;
}

#[tokio::test]
async fn the_state_is_exported_as_json() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission((0..3000).map(|_| job("q", 1)).collect())).await.unwrap();
    let mut pieces = admin.export_state(v1::ExportStateRequest {}).await.unwrap().into_inner();
    let (mut json, mut messages) = (Vec::new(), 0);
    while let Some(piece) = pieces.message().await.unwrap() {
        json.extend_from_slice(&piece.json);
        messages += 1;
    }
    assert!(messages > 1);
    let state: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(state["open_jobs"].as_array().unwrap().len(), 3000);
    assert_eq!(state["jobs"]["ready"], 3000);
    orch.stop().await;
}
