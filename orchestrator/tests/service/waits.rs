//! Jobs that do not wait for ever, and keys that do not stand for ever.

use orch_proto::v1;

use crate::support::*;

#[tokio::test]
async fn a_job_that_nobody_takes_in_time_is_cancelled_by_a_record() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let patient = v1::JobSpec { queue_timeout_ms: Some(3_600_000), ..job("q", 1) };
    let hasty = v1::JobSpec { queue_timeout_ms: Some(50), ..job("q", 1) };
    let jobs = admin.submit(submission(vec![patient, hasty])).await.unwrap().into_inner().jobs;
    let (patient, hasty) = (jobs[0].job, jobs[1].job);
    let request = v1::WaitJobsRequest { jobs: vec![hasty], timeout_ms: 60_000, ..v1::WaitJobsRequest::default() };
    let waited = admin.wait_jobs(request).await.unwrap().into_inner();
    assert_eq!(waited.jobs[0].state(), v1::JobState::Cancelled);
    assert_eq!(waited.jobs[0].message, "no worker took it for 50ms, its queue_timeout");
    let shown = admin.get_job(v1::GetJobRequest { job: hasty }).await.unwrap().into_inner();
    let last = &shown.history.last().unwrap().event_json;
    assert!(last.contains("\"cause\":{\"queue_timeout\":\"50ms\"}"), "{last}");
    // The other one says until when it waits, also after a restart.
    for orch in [orch.restart().await] {
        let mut admin = orch.admin().await;
        let shown = admin.get_job(v1::GetJobRequest { job: patient }).await.unwrap().into_inner();
        assert_eq!(shown.waits_until_unix_ms, shown.summary.unwrap().submitted_unix_ms + 3_600_000);
        let why = admin.explain_job(v1::ExplainJobRequest { job: patient }).await.unwrap().into_inner().why;
        let gives_up = why.iter().find(|why| why.code == "queue_timeout").unwrap();
        assert_eq!(gives_up.until_unix_ms, shown.waits_until_unix_ms);
        orch.stop().await;
    }
}

#[tokio::test]
async fn a_key_stands_for_its_job_until_that_is_done() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let until = Some(v1::unique::Until::Done(true));
    let keyed = v1::JobSpec { idempotency_key: "nightly".into(), unique: Some(v1::Unique { until }), ..job("q", 1) };
    let mut submit = async || admin.submit(submission(vec![keyed.clone()])).await.unwrap().into_inner().jobs[0];
    let first = submit().await;
    assert_eq!((submit().await.job, submit().await.existed), (first.job, true));
    let filter = Some(v1::JobFilter { jobs: vec![first.job], ..v1::JobFilter::default() });
    orch.admin().await.cancel_jobs(v1::CancelJobsRequest { filter, ..v1::CancelJobsRequest::default() }).await.unwrap();
    let second = submit().await;
    assert!(!second.existed && second.job > first.job);
    assert_eq!(submit().await.job, second.job);
    let without = v1::JobSpec { idempotency_key: String::new(), ..keyed.clone() };
    let refused = orch.admin().await.submit(submission(vec![without])).await.unwrap_err();
    assert_eq!(reason(&refused).1, "jobs[0].unique");
    orch.stop().await;
}

#[tokio::test]
async fn stats_tell_how_long_jobs_waited_and_which_is_next() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let urgent = v1::JobSpec { priority: 5, ..job("q", 1) };
    let jobs = admin.submit(submission(vec![job("q", 1), urgent])).await.unwrap().into_inner().jobs;
    let mut stats = async || admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    let before = stats().await;
    assert_eq!(before.queues[0].waits, None);
    let next = before.next.unwrap();
    assert_eq!((next.job, next.queue.as_str(), next.priority), (jobs[1].job, "q", 5));
    let mut worker = orch.registered("w1").await;
    let explained = orch.admin().await.explain_worker(v1::ExplainWorkerRequest { worker: "w1".into() }).await.unwrap();
    assert_eq!(explained.into_inner().next.unwrap().job, jobs[1].job);
    assert_eq!(lease(&mut worker, "w1").await.job, jobs[1].job, "as was told");
    let after = stats().await;
    let waits = after.queues[0].waits.unwrap();
    assert_eq!((waits.count, waits.p50_ms), (1, waits.longest_ms));
    assert!(waits.p99_ms <= after.uptime_ms);
    assert_eq!(after.next.unwrap().job, jobs[0].job);
    orch.stop().await;
}
