//! The worker's calls: lease, heartbeat, results, and what a worker gets that is not, or no longer, the grantee.

use std::time::Duration;

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;

use crate::support::*;

#[tokio::test]
async fn dispatcher_leases_jobs() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let submitted = admin.submit(submission(vec![job("q", 2), job("q", 1)])).await.unwrap().into_inner();
    assert_eq!(submitted.jobs.len(), 2);
    let mut worker = orch.registered("w1").await;

    let leases = worker.lease_job(ask("w1", 8, 0)).await.unwrap().into_inner().leases;
    let jobs: Vec<u64> = leases.iter().map(|lease| lease.job).collect();
    assert_eq!(jobs, submitted.jobs.iter().map(|job| job.job).collect::<Vec<_>>());
    let first = &leases[0];
    assert_eq!((first.attempt, first.queue.as_str(), first.kind.as_str()), (1, "q", "roots"));
    assert_eq!((first.contract.as_str(), first.ttl_ms, first.heartbeat_ms), ("roots@1", 600_000, 30_000));
    assert_eq!(first.payload_json, "{\"count\":2,\"eps\":1e-8}");

    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(first.lease, 1, &[candidate(1.0), candidate(2.0), candidate(2.000_000_1)]).await;
    results.say(first.lease, Action::Complete(v1::Complete { batches: 1 })).await;
    let verdicts = results.verdicts().await;
    assert_eq!(words(&verdicts), ["accepted", "accepted", "duplicate"]);
    let ended = results.ended().await;
    assert_eq!(ended.state(), v1::JobState::Done);
    assert!(ended.receipt.unwrap().seq > verdicts.receipt.unwrap().seq);

    let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    let jobs = stats.jobs.unwrap();
    assert_eq!((jobs.done, jobs.leased, jobs.ready), (1, 1, 0));
    let candidates = stats.candidates.unwrap();
    assert_eq!((candidates.accepted, candidates.duplicate, candidates.rejected), (2, 1, 0));
    orch.stop().await;
}

#[tokio::test]
async fn config_passed_to_workers() {
    let data = tempfile::tempdir().unwrap();
    let config = orch_orchestrator::config::OrchestratorConfig {
        stale_after: orch_core::time::Span::seconds(8),
        ..config(data.path())
    };
    let running = orch_orchestrator::serve::start(config).await.unwrap();
    let orch = Orch { running, data };
    let ledger = orch.running.started().ledger.clone();
    let mut worker = orch.worker().await;
    let registered = worker.register_worker(registration("w1")).await.unwrap().into_inner();
    assert_eq!((registered.ledger, registered.epoch), (ledger, 1));
    // Silent for three heartbeats, it is not lost yet.
    assert_eq!((registered.stale_after_ms, registered.heartbeat_ms), (8000, 2000));
    assert_eq!((registered.max_batch_bytes, registered.max_unacked_bytes), (1 << 20, 8 << 20));
    orch.stop().await;
}

#[tokio::test]
async fn heartbeat_extends_leases() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let submitted = admin.submit(submission(vec![job("q", 1), job("q", 1)])).await.unwrap().into_inner();
    let mut worker = orch.registered("w1").await;
    let leases = worker.lease_job(ask("w1", 2, 0)).await.unwrap().into_inner().leases;
    let filter = v1::JobFilter { jobs: vec![submitted.jobs[1].job], ..v1::JobFilter::default() };
    let cancel = v1::CancelJobsRequest { filter: Some(filter), reason: "no".into(), dry_run: false };
    assert_eq!(admin.cancel_jobs(cancel).await.unwrap().into_inner().cancelled, [submitted.jobs[1].job]);

    let progress = |lease| v1::LeaseProgress { lease, fraction: 0.5, note: "half".into(), step: 0 };
    let heartbeat = v1::HeartbeatRequest {
        worker: "w1".into(),
        leases: vec![progress(leases[0].lease), progress(leases[1].lease), progress(999)],
        last_receipt: None,
    };
    let answer = worker.heartbeat(heartbeat.clone()).await.unwrap().into_inner();
    assert_eq!(answer.order(), v1::WorkerOrder::Run);
    let orders: Vec<v1::LeaseOrder> = answer.leases.iter().map(v1::LeaseStanding::order).collect();
    assert_eq!(orders, [v1::LeaseOrder::Extended, v1::LeaseOrder::Cancel, v1::LeaseOrder::Lost]);

    let shown = admin.get_job(v1::GetJobRequest { job: submitted.jobs[0].job }).await.unwrap().into_inner();
    assert_eq!(shown.progress.unwrap().note, "half");

    // Somebody else's heartbeat extends nothing, and an unknown worker should register.
    let mut other = orch.registered("w2").await;
    let theirs = v1::HeartbeatRequest { worker: "w2".into(), ..heartbeat.clone() };
    let answer = other.heartbeat(theirs).await.unwrap().into_inner();
    assert_eq!(answer.leases[0].order(), v1::LeaseOrder::Lost);
    let unknown = v1::HeartbeatRequest { worker: "w3".into(), ..heartbeat };
    assert_eq!(other.heartbeat(unknown).await.unwrap().into_inner().order(), v1::WorkerOrder::Register);
    orch.stop().await;
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_job_comes() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let poll = tokio::spawn(async move { worker.lease_job(ask("w1", 1, 60_000)).await });
    let submitted = admin.submit(submission(vec![job("q", 1)])).await.unwrap().into_inner();
    let leased = tokio::time::timeout(Duration::from_secs(20), poll).await.unwrap().unwrap().unwrap().into_inner();
    assert_eq!(leased.leases[0].job, submitted.jobs[0].job);
    orch.stop().await;
}

#[tokio::test]
async fn stale_and_forged_tokens_change_nothing() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1), job("q", 1)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let mut thief = orch.registered("w2").await;
    let mine = lease(&mut worker, "w1").await;

    let mut forged = Results::open(&mut thief, "w2").await;
    forged.batch(mine.lease, 1, &[candidate(1.0)]).await;
    assert_eq!(forged.refused().await.reason, "NOT_GRANTEE");
    forged.say(mine.lease, Action::Complete(v1::Complete { batches: 0 })).await;
    assert_eq!(forged.refused().await.reason, "NOT_GRANTEE");
    forged.batch(mine.job, 1, &[candidate(1.0)]).await;
    assert_eq!(forged.refused().await.reason, "LEASE_LOST");
    forged.batch(u64::MAX, 1, &[candidate(1.0)]).await;
    assert_eq!(forged.refused().await.reason, "LEASE_LOST");

    // Given back: the token is stale, and the job goes to somebody else under another one.
    let release = v1::ReleaseLeasesRequest { worker: "w1".into(), leases: vec![mine.lease] };
    assert_eq!(worker.release_leases(release).await.unwrap().into_inner().released, [mine.lease]);
    let mut stale = Results::open(&mut worker, "w1").await;
    stale.batch(mine.lease, 1, &[candidate(1.0)]).await;
    assert_eq!(stale.refused().await.reason, "LEASE_LOST");
    let theirs = lease(&mut thief, "w2").await;
    assert_eq!((theirs.job, theirs.attempt), (mine.job, 2));
    assert!(theirs.lease > mine.lease);

    let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.candidates.unwrap(), v1::CandidateCounts::default());
    orch.stop().await;
}

#[tokio::test]
async fn a_gap_is_refused_with_the_number_that_is_expected() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let lease = lease(&mut worker, "w1").await.lease;
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(lease, 3, &[candidate(1.0)]).await;
    let refused = results.refused().await;
    assert_eq!((refused.reason.as_str(), refused.expected_batch, refused.number), ("BATCH_GAP", 1, 3));
    results.say(lease, Action::Complete(v1::Complete { batches: 5 })).await;
    assert_eq!(results.refused().await.reason, "BATCH_GAP");
    // Other candidates under a number that was judged.
    results.batch(lease, 1, &[candidate(1.0)]).await;
    assert_eq!(words(&results.verdicts().await), ["accepted"]);
    results.batch(lease, 1, &[candidate(7.0)]).await;
    assert_eq!(results.refused().await.reason, "CONFLICT");
    orch.stop().await;
}

#[tokio::test]
async fn too_few_candidates_do_not_complete_a_job() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let submitted = admin.submit(submission(vec![job("q", 3)])).await.unwrap().into_inner();
    let mut worker = orch.registered("w1").await;
    let lease = lease(&mut worker, "w1").await.lease;
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(lease, 1, &[candidate(1.0), candidate(2.0)]).await;
    results.verdicts().await;
    results.say(lease, Action::Complete(v1::Complete { batches: 1 })).await;
    let ended = results.ended().await;
    assert_eq!((ended.state(), ended.failure_class()), (v1::JobState::Failed, v1::FailureClass::Incomplete));
    assert!(ended.message.contains("2 distinct candidates were delivered"), "{}", ended.message);
    let failed = v1::JobFilter { states: vec![v1::JobState::Failed.into()], ..v1::JobFilter::default() };
    let listed = v1::ListJobsRequest { filter: Some(failed), ..v1::ListJobsRequest::default() };
    let listed = admin.list_jobs(listed).await.unwrap().into_inner().jobs;
    assert_eq!(listed.iter().map(|job| job.job).collect::<Vec<_>>(), [submitted.jobs[0].job]);
    orch.stop().await;
}

#[tokio::test]
async fn many_batches_ahead_are_answered_in_order() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 400)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let lease = lease(&mut worker, "w1").await.lease;
    let mut results = Results::open(&mut worker, "w1").await;
    for number in 1..=40 {
        let some: Vec<String> = (0..10).map(|i| candidate(f64::from(number as u32 * 10 + i))).collect();
        results.batch(lease, number, &some).await;
    }
    results.say(lease, Action::Complete(v1::Complete { batches: 40 })).await;
    let mut last = 0;
    for number in 1..=40 {
        let verdicts = results.verdicts().await;
        assert_eq!(verdicts.number, number);
        assert_eq!(words(&verdicts), vec!["accepted"; 10]);
        let seq = verdicts.receipt.unwrap().seq;
        assert!(seq > last);
        last = seq;
    }
    assert_eq!(results.ended().await.state(), v1::JobState::Done);
    orch.stop().await;
}

#[tokio::test]
async fn logs_are_kept_for_the_grantee_only_and_can_be_followed() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let submitted = admin.submit(submission(vec![job("q", 1)])).await.unwrap().into_inner();
    let job = submitted.jobs[0].job;
    let mut worker = orch.registered("w1").await;
    let mut other = orch.registered("w2").await;
    let lease = lease(&mut worker, "w1").await.lease;
    let push = |worker: &str, text: &str| v1::PushLogsRequest {
        worker: worker.into(),
        lease,
        text: text.as_bytes().to_vec().into(),
    };
    let pushed = worker.push_logs(tokio_stream::iter([push("w1", "one\n"), push("", "two\n")])).await;
    assert_eq!(pushed.unwrap().into_inner().kept_bytes, 8);
    let pushed = other.push_logs(tokio_stream::iter([push("w2", "mine now\n")])).await.unwrap().into_inner();
    assert_eq!((pushed.kept_bytes, pushed.dropped_bytes), (0, 9));

    let read = v1::ReadJobLogRequest { job, attempt: 0, follow: true };
    let mut log = admin.read_job_log(read).await.unwrap().into_inner();
    assert_eq!(&log.message().await.unwrap().unwrap().text[..], b"one\ntwo\n");
    worker.push_logs(tokio_stream::iter([push("w1", "three\n")])).await.unwrap();
    assert_eq!(&log.message().await.unwrap().unwrap().text[..], b"three\n");
    let fail = v1::Fail { class: v1::FailureClass::Permanent.into(), message: "no".into(), exit_code: Some(3) };
    let mut results = Results::open(&mut worker, "w1").await;
    results.say(lease, Action::Fail(fail)).await;
    assert_eq!(results.ended().await.message, "no (exit code 3)");
    assert!(log.message().await.unwrap().is_none(), "the job has ended");
    orch.stop().await;
}

#[tokio::test]
async fn a_drained_worker_gets_nothing_and_a_removed_one_loses_its_leases() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1), job("q", 1)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let held = lease(&mut worker, "w1").await;
    let drain = v1::DrainWorkersRequest { workers: vec!["w1".into()], all: false, terminate: false };
    assert_eq!(admin.drain_workers(drain).await.unwrap().into_inner().draining, ["w1"]);
    let answer = worker.lease_job(ask("w1", 1, 60_000)).await.unwrap().into_inner();
    assert_eq!((answer.leases.len(), answer.order()), (0, v1::WorkerOrder::Drain));
    let listed = admin.list_workers(v1::ListWorkersRequest { worker: "w1".into() }).await.unwrap().into_inner();
    assert!(listed.workers[0].draining);
    assert_eq!((listed.workers[0].leases[0].lease, listed.workers[0].leases[0].job), (held.lease, held.job));

    let cleanup = v1::CleanupWorkersRequest { workers: vec!["w1".into()] };
    let cleaned = admin.cleanup_workers(cleanup).await.unwrap().into_inner();
    assert_eq!((cleaned.removed, cleaned.leases_ended), (vec!["w1".to_owned()], 1));
    let answer = worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner();
    assert_eq!(answer.order(), v1::WorkerOrder::Register);
    let status = admin.list_workers(v1::ListWorkersRequest { worker: "w1".into() }).await.unwrap_err();
    assert_eq!(reason(&status), ("NOT_FOUND".into(), "worker".into()));
    orch.stop().await;
}

#[tokio::test]
async fn an_older_call_for_jobs_gets_none_and_one_of_another_process_is_to_register() {
    let orch = Orch::start().await;
    orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap();
    let call = |process, number| Some(v1::CallNumber { process, number });
    let mut worker = orch.worker().await;
    worker.register_worker(v1::RegisterWorkerRequest { call: call(7, 1), ..registration("w1") }).await.unwrap();
    let mut ask_by = async |call| {
        let answer = worker.lease_job(v1::LeaseJobRequest { call, ..ask("w1", 1, 0) }).await.unwrap().into_inner();
        (answer.leases.len(), answer.order())
    };
    assert_eq!(ask_by(call(7, 1)).await, (0, v1::WorkerOrder::Run), "it registered before it asked");
    assert_eq!(ask_by(call(6, 9)).await, (0, v1::WorkerOrder::Register));
    assert_eq!(ask_by(call(7, 2)).await, (1, v1::WorkerOrder::Run));
    orch.stop().await;
}
