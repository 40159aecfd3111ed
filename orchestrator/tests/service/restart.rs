//! What a restart of the orchestrator changes for a worker: nothing that counts.

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;

use crate::support::*;

#[tokio::test]
async fn a_resend_gets_the_same_answers_also_after_a_restart() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 3)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let held = lease(&mut worker, "w1").await;
    let first = [candidate(1.0), candidate(2.0), "nonsense".to_owned(), candidate(1.0)];
    let second = [candidate(3.0)];
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(held.lease, 1, &first).await;
    results.batch(held.lease, 2, &second).await;
    let answers = [results.verdicts().await, results.verdicts().await];
    assert_eq!(words(&answers[0]), ["accepted", "accepted", "json", "duplicate"]);

    let mut again = Results::open(&mut worker, "w1").await;
    again.batch(held.lease, 1, &first).await;
    assert_eq!(again.verdicts().await, answers[0]);

    let orch = orch.restart().await;
    let mut worker = orch.worker().await;
    let unknown = worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner();
    assert_eq!(unknown.order(), v1::WorkerOrder::Register);
    let register = v1::RegisterWorkerRequest {
        leases: vec![held.lease, 999],
        last_receipt: answers[1].receipt.clone(),
        ..registration("w1")
    };
    let registered = worker.register_worker(register).await.unwrap().into_inner();
    assert_eq!((registered.epoch, registered.lost), (2, vec![999]));

    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(held.lease, 1, &first).await;
    results.batch(held.lease, 2, &second).await;
    results.say(held.lease, Action::Complete(v1::Complete { batches: 2 })).await;
    assert_eq!(results.verdicts().await, answers[0]);
    assert_eq!(results.verdicts().await, answers[1]);
    let ended = results.ended().await;
    assert_eq!(ended.state(), v1::JobState::Done);

    // The end was not heard: asked again after another restart, it is the same.
    let orch = orch.restart().await;
    let mut worker = orch.registered("w1").await;
    let mut results = Results::open(&mut worker, "w1").await;
    results.batch(held.lease, 2, &second).await;
    results.say(held.lease, Action::Complete(v1::Complete { batches: 2 })).await;
    assert_eq!(results.verdicts().await, answers[1]);
    assert_eq!(results.ended().await, ended);
    orch.stop().await;
}

#[tokio::test]
async fn a_worker_that_lost_its_leases_says_so_by_registering() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let held = lease(&mut worker, "w1").await;
    // It was killed and started again: it knows no leases.
    worker.register_worker(registration("w1")).await.unwrap();
    let again = lease(&mut worker, "w1").await;
    assert_eq!((again.job, again.attempt), (held.job, 2));
    let shown = admin.get_job(v1::GetJobRequest { job: held.job }).await.unwrap().into_inner();
    let summary = shown.summary.unwrap();
    assert_eq!((summary.crashes, summary.failures), (1, 0));
    orch.stop().await;
}

#[tokio::test]
async fn a_grant_that_its_worker_never_heard_of_is_given_back_without_a_charge() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1)])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let held = lease(&mut worker, "w1").await;
    // The same process, long running, registers again and does not list the lease: its answer was lost on the way.
    let register = v1::RegisterWorkerRequest { uptime_ms: 3_600_000, ..registration("w1") };
    worker.register_worker(register).await.unwrap();
    let again = lease(&mut worker, "w1").await;
    assert_eq!((again.job, again.attempt), (held.job, 2));
    let shown = admin.get_job(v1::GetJobRequest { job: held.job }).await.unwrap().into_inner();
    let summary = shown.summary.unwrap();
    assert_eq!((summary.crashes, summary.failures), (0, 0));
    orch.stop().await;
}

#[tokio::test]
async fn a_worker_with_a_receipt_of_another_ledger_is_refused() {
    let orch = Orch::start().await;
    let mut worker = orch.worker().await;
    let receipt = v1::Receipt { seq: 1_000_000, chain: vec![1; 32].into(), ..v1::Receipt::default() };
    let register = v1::RegisterWorkerRequest { last_receipt: Some(receipt), ..registration("w1") };
    let status = worker.register_worker(register).await.unwrap_err();
    assert!(status.message().contains("1000000"), "{status}");
    orch.stop().await;
}

#[tokio::test]
async fn listings_are_the_same_after_a_restart_and_without_the_index() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission((0..50).map(|_| job("q", 1)).collect())).await.unwrap();
    let mut worker = orch.registered("w1").await;
    lease(&mut worker, "w1").await;
    let list = v1::ListJobsRequest { limit: 1000, ..v1::ListJobsRequest::default() };
    let before = admin.list_jobs(list.clone()).await.unwrap().into_inner().jobs;
    assert_eq!(before.len(), 50);
    let orch = orch.restart().await;
    assert_eq!(orch.admin().await.list_jobs(list.clone()).await.unwrap().into_inner().jobs, before);
    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    std::fs::remove_dir_all(data.path().join("index")).unwrap();
    let running = orch_orchestrator::serve::start(config(data.path())).await.unwrap();
    let orch = Orch { running, data };
    assert_eq!(orch.admin().await.list_jobs(list).await.unwrap().into_inner().jobs, before);
    orch.stop().await;
}
