//! Rules about failures, workers that are set aside, the switch for every retry; and who is preferred for a job.

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;

use crate::support::*;

/// A queue of three attempts with these rules.
fn with_rules(rules: Vec<v1::RetryRule>) -> v1::SubmitRequest {
    let retry = v1::RetryPatch {
        max_attempts: Some(3),
        backoff_ms: Some(0),
        jitter_ms: Some(0),
        rules: Some(v1::RetryRules { rules }),
        ..v1::RetryPatch::default()
    };
    let queues = vec![v1::QueueSpec { retry: Some(retry), ..queue("q") }];
    v1::SubmitRequest { queues, ..submission(Vec::new()) }
}

/// A job fails under a worker with this code.
async fn fail(client: &mut Worker, name: &str, code: i32) -> v1::JobEnded {
    let lease = lease(client, name).await.lease;
    let mut results = Results::open(client, name).await;
    let class = v1::FailureClass::Error.into();
    results.say(lease, Action::Fail(v1::Fail { class, message: "no".into(), exit_code: Some(code) })).await;
    results.ended().await
}

#[tokio::test]
async fn the_exit_code_decides_and_stands_in_the_ledger() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let at_once = v1::RetryRule { exit_codes: vec![2], fail: true, ..v1::RetryRule::default() };
    admin.submit(with_rules(vec![at_once])).await.unwrap();
    let job = admin.submit(submission(vec![job("q", 1)])).await.unwrap().into_inner().jobs[0].job;
    // `submission` defines the queue anew, without rules: that is what holds now.
    let mut worker = orch.registered("w1").await;
    assert_eq!(fail(&mut worker, "w1", 3).await.state(), v1::JobState::Failed, "one attempt is all");
    admin
        .submit(with_rules(vec![v1::RetryRule { exit_codes: vec![2], fail: true, ..v1::RetryRule::default() }]))
        .await
        .unwrap();
    let filter = Some(v1::JobFilter { jobs: vec![job], ..v1::JobFilter::default() });
    admin.retry_failed(v1::RetryFailedRequest { filter, ..v1::RetryFailedRequest::default() }).await.unwrap();
    assert_eq!(fail(&mut worker, "w1", 1).await.state(), v1::JobState::Unspecified, "it is tried again");
    assert_eq!(fail(&mut worker, "w1", 2).await.state(), v1::JobState::Failed, "at once");
    let shown = admin.get_job(v1::GetJobRequest { job }).await.unwrap().into_inner();
    assert!(shown.history.iter().any(|line| line.event_json.contains("\"exit_code\":2")), "{:?}", shown.history);
    let bad = with_rules(vec![v1::RetryRule { message: "(".into(), ..v1::RetryRule::default() }]);
    let refused = admin.submit(bad).await.unwrap_err();
    assert!(refused.message().contains("queues[0].retry.rules[0].message"), "{}", refused.message());
    orch.stop().await;
}

#[tokio::test]
async fn a_worker_is_set_aside_and_comes_back() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1); 8])).await.unwrap();
    let (mut bad, mut good) = (orch.registered("bad").await, orch.registered("good").await);
    fail(&mut bad, "bad", 1).await;
    let lease_id = lease(&mut good, "good").await.lease;
    let mut results = Results::open(&mut good, "good").await;
    results.batch(lease_id, 1, &[candidate(1.0)]).await;
    results.say(lease_id, Action::Complete(v1::Complete { batches: 1 })).await;
    results.verdicts().await;
    assert_eq!(results.ended().await.state(), v1::JobState::Done);
    for _ in 0..4 {
        fail(&mut bad, "bad", 1).await;
    }
    assert!(bad.lease_job(ask("bad", 1, 0)).await.unwrap().into_inner().leases.is_empty());
    let listed = admin.list_workers(v1::ListWorkersRequest { worker: "bad".into() }).await.unwrap().into_inner();
    assert!(listed.workers[0].set_aside.contains("5 different jobs failed"), "{:?}", listed.workers);
    let explained = v1::ExplainWorkerRequest { worker: "bad".into() };
    assert!(admin.explain_worker(explained).await.unwrap().into_inner().text[0].contains("set aside"));
    let resume = v1::ResumeWorkerRequest { worker: "bad".into() };
    admin.resume_worker(resume.clone()).await.unwrap();
    lease(&mut bad, "bad").await;
    assert_eq!(admin.resume_worker(resume).await.unwrap_err().code(), tonic::Code::NotFound);
    orch.stop().await;
}

#[tokio::test]
async fn retries_wait_while_they_are_paused() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(with_rules(Vec::new())).await.unwrap();
    let spec = v1::SubmitRequest { jobs: vec![job("q", 1)], ..v1::SubmitRequest::default() };
    let job = admin.submit(spec).await.unwrap().into_inner().jobs[0].job;
    let pause = v1::PauseRetriesRequest { reason: "the file server is down".into() };
    assert!(admin.pause_retries(pause).await.unwrap().into_inner().changed);
    let mut worker = orch.registered("w1").await;
    fail(&mut worker, "w1", 1).await;
    assert!(worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner().leases.is_empty());
    let why = admin.explain_job(v1::ExplainJobRequest { job }).await.unwrap().into_inner().why;
    assert_eq!(
        (why[0].code.as_str(), why[0].text.as_str()),
        ("retries_paused", "retries are paused: the file server is down")
    );
    let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.retries_paused.as_deref(), Some("the file server is down"));
    assert!(admin.resume_retries(v1::ResumeRetriesRequest {}).await.unwrap().into_inner().changed);
    let leased = worker.lease_job(ask("w1", 1, 10_000)).await.unwrap().into_inner().leases;
    assert_eq!(leased[0].job, job);
    orch.stop().await;
}

#[tokio::test]
async fn a_preferred_worker_that_waits_gets_the_job() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(Vec::new())).await.unwrap();
    for (name, disk) in [("slow", "hdd"), ("fast", "nvme")] {
        let labels = [("disk".to_owned(), disk.to_owned())].into();
        orch.worker().await.register_worker(v1::RegisterWorkerRequest { labels, ..registration(name) }).await.unwrap();
    }
    let waits =
        async |name: &str| orch.worker().await.lease_job(ask(name, 1, 5_000)).await.unwrap().into_inner().leases;
    let prefers = v1::Preference { label: "disk".into(), value: "nvme".into(), weight: 10 };
    let spec = v1::JobSpec { prefer: vec![prefers], ..job("q", 1) };
    let submit = async |mut admin: Admin, spec: v1::JobSpec| {
        let request = v1::SubmitRequest { jobs: vec![spec], ..v1::SubmitRequest::default() };
        admin.submit(request).await.unwrap().into_inner().jobs[0].job
    };
    // Nobody else waits: an idle worker does not stay idle for want of a label.
    let job = submit(admin.clone(), spec.clone()).await;
    assert_eq!(waits("slow").await[0].job, job);
    // Both wait, whoever came first: the one with the label gets the job, and the other one the job behind it.
    let (slow, fast, _) = tokio::join!(waits("slow"), waits("fast"), async {
        let (first, second) = (spec.clone(), v1::JobSpec { prefer: Vec::new(), ..spec.clone() });
        let request = v1::SubmitRequest { jobs: vec![first, second], ..v1::SubmitRequest::default() };
        admin.clone().submit(request).await.unwrap();
    });
    assert_eq!((slow.len(), fast.len()), (1, 1));
    orch.stop().await;
}
