//! Limits as callers meet them: set and lifted at run time, exact across workers and restarts, and explained.

use orch_proto::error::{Reason, WireError};
use orch_proto::v1;

use crate::support::*;

fn limit(about: &str, max: u32) -> v1::Limit {
    v1::Limit { limit: about.into(), max: Some(max), ..v1::Limit::default() }
}

fn on(host: &str) -> v1::JobSpec {
    v1::JobSpec { keys: [("host".to_owned(), host.to_owned())].into(), ..job("q", 1) }
}

async fn set(admin: &mut Admin, limit: v1::Limit) -> bool {
    admin.set_limit(v1::SetLimitRequest { limit: Some(limit) }).await.unwrap().into_inner().changed
}

async fn in_use(admin: &mut Admin, about: &str) -> Option<(u64, Option<u32>)> {
    let listed = admin.list_limits(v1::ListLimitsRequest {}).await.unwrap().into_inner();
    listed.usage.into_iter().find(|usage| usage.limit == about).map(|usage| (usage.in_use, usage.max))
}

/// How many jobs a worker gets that asks for many.
async fn leases(worker: &mut Worker, name: &str) -> Vec<u64> {
    let answer = worker.lease_job(ask(name, 9, 0)).await.unwrap().into_inner();
    answer.leases.into_iter().map(|lease| lease.lease).collect()
}

/// A limit for some values of a key, one for each value of another, and one for everything: each at its own number.
#[tokio::test]
async fn limiter_configuration() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let with = |key: &str, value: &str| v1::JobSpec { keys: [(key.into(), value.into())].into(), ..job("q", 1) };
    let by = |key: &str, value: &str| vec![with(key, value); 9];
    let of = [("resolver=unpaywall", 2), ("resolver=crossref", 3), ("host=*", 4), ("running", 8)];
    let limits = of.map(|(about, max)| limit(about, max)).to_vec();
    let jobs = [by("resolver", "unpaywall"), by("resolver", "crossref")].concat();
    admin.submit(v1::SubmitRequest { limits, ..submission(jobs) }).await.unwrap();
    let listed = admin.list_limits(v1::ListLimitsRequest {}).await.unwrap().into_inner().limits;
    let mut listed: Vec<_> = listed.iter().map(|limit| (limit.limit.as_str(), limit.max.unwrap())).collect();
    listed.sort_unstable();
    let mut expected = of;
    expected.sort_unstable();
    assert_eq!(listed, expected);

    let mut worker = orch.registered("w").await;
    assert_eq!(leases(&mut worker, "w").await.len(), 5);
    let counts = [in_use(&mut admin, of[0].0).await, in_use(&mut admin, of[1].0).await];
    assert_eq!(counts, [Some((2, Some(2))), Some((3, Some(3)))]);
    // A resolver that no limit names goes up to what all may have, and so do hosts, four each.
    admin.submit(submission([by("host", "a"), by("resolver", "other")].concat())).await.unwrap();
    assert_eq!(leases(&mut worker, "w").await.len(), 3, "eight run");
    admin.unset_limit(v1::UnsetLimitRequest { limit: "running".into() }).await.unwrap();
    while !leases(&mut worker, "w").await.is_empty() {}
    assert_eq!(in_use(&mut admin, "host=a").await, Some((4, Some(4))));
    assert_eq!(in_use(&mut admin, "resolver=other").await, Some((9, None)));
    orch.stop().await;
}

#[tokio::test]
async fn limits_hold_across_workers_and_restarts() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let jobs = [vec![on("a"); 5], vec![on("b"); 2], vec![job("q", 1); 2]].concat();
    let request = v1::SubmitRequest { limits: vec![limit("host=*", 2)], ..submission(jobs) };
    let submitted = admin.submit(request).await.unwrap().into_inner();
    assert_eq!(submitted.limits, ["host=*"]);
    assert!(set(&mut admin, limit("running", 5)).await);
    assert!(!set(&mut admin, limit("running", 5)).await, "it is set so");

    let (mut one, mut two) = (orch.registered("w1").await, orch.registered("w2").await);
    let first = leases(&mut one, "w1").await;
    assert_eq!(first.len(), 5, "two on a, two on b, and one without a host");
    assert!(leases(&mut two, "w2").await.is_empty());
    assert_eq!(in_use(&mut admin, "running").await, Some((5, Some(5))));
    assert_eq!(in_use(&mut admin, "host=a").await, Some((2, Some(2))));
    let why = admin.explain_job(v1::ExplainJobRequest { job: submitted.jobs[2].job }).await.unwrap().into_inner();
    let texts: Vec<&str> = why.why.iter().map(|why| why.text.as_str()).collect();
    assert!(texts.contains(&"host=a is at 2 of 2") && texts.contains(&"running is at 5 of 5"), "{texts:?}");

    // A restart frees nothing twice.
    let orch = orch.restart().await;
    let (mut admin, mut two) = (orch.admin().await, orch.registered("w2").await);
    assert_eq!(in_use(&mut admin, "running").await, Some((5, Some(5))));
    assert!(leases(&mut two, "w2").await.is_empty());

    // What is lifted or raised holds at once; what is given back is free.
    admin.unset_limit(v1::UnsetLimitRequest { limit: "running".into() }).await.unwrap();
    assert_eq!(leases(&mut two, "w2").await.len(), 1, "the other one without a host");
    set(&mut admin, limit("host=a", 3)).await;
    assert_eq!(leases(&mut two, "w2").await.len(), 1);
    let mut one = orch.worker().await;
    one.register_worker(v1::RegisterWorkerRequest { leases: first.clone(), ..registration("w1") }).await.unwrap();
    one.release_leases(v1::ReleaseLeasesRequest { worker: "w1".into(), leases: first }).await.unwrap();
    assert_eq!(in_use(&mut admin, "host=b").await, Some((0, Some(2))));
    let error: WireError =
        (&admin.unset_limit(v1::UnsetLimitRequest { limit: "running".into() }).await.unwrap_err()).into();
    assert_eq!((error.reason, error.field.as_str()), (Reason::NotFound, "limit"));
    orch.stop().await;
}

#[tokio::test]
async fn at_a_limit_a_submit_is_refused_or_takes_the_place_of_an_older_one() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![])).await.unwrap();
    let reject = v1::Limit { at_limit: v1::AtLimit::Reject.into(), ..limit("host=r", 1) };
    let replace = v1::Limit { at_limit: v1::AtLimit::CancelOldest.into(), ..limit("host=c", 1) };
    set(&mut admin, reject).await;
    set(&mut admin, replace).await;
    admin.submit(submission(vec![on("r")])).await.unwrap();
    let error: WireError = (&admin.submit(submission(vec![on("r")])).await.unwrap_err()).into();
    assert_eq!((error.reason, error.field.as_str()), (Reason::LimitReached, "jobs[0].keys"));

    let first = admin.submit(submission(vec![on("c")])).await.unwrap().into_inner().jobs[0].job;
    let second = admin.submit(submission(vec![on("c")])).await.unwrap().into_inner().jobs[0].job;
    let explained = |job| v1::ExplainJobRequest { job };
    let why = admin.explain_job(explained(first)).await.unwrap().into_inner();
    assert_eq!(why.why[0].text, "it is cancelled: limit host=c was reached: newer jobs took its place");
    let why = admin.explain_job(explained(second)).await.unwrap().into_inner();
    assert_eq!((why.state(), why.why[0].code.as_str()), (v1::JobState::Ready, "no_worker"));
    let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.unoffered, [v1::UnofferedKind { kind: "roots".into(), ready: 2, lacking: String::new() }]);
    orch.stop().await;
}

#[tokio::test]
async fn a_worker_that_waits_gets_the_job_when_its_rate_allows_it() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let rate = Some(v1::Rate { tokens: 1, per_ms: 300, burst: 1 });
    set(&mut admin, v1::Limit { limit: "host=*".into(), rate, ..v1::Limit::default() }).await;
    let submitted = admin.submit(submission(vec![on("a"); 3])).await.unwrap().into_inner();
    let mut worker = orch.registered("w1").await;
    for _ in 0..3 {
        let answer = worker.lease_job(ask("w1", 9, 20_000)).await.unwrap().into_inner();
        assert_eq!(answer.leases.len(), 1, "one token, one start");
    }
    // The times of the grants are the proof: never two within the time of a token.
    let mut granted = Vec::new();
    for job in submitted.jobs {
        let shown = admin.get_job(v1::GetJobRequest { job: job.job }).await.unwrap().into_inner();
        let grant = shown.history.iter().find(|line| line.event_json.starts_with("{\"lease_granted\""));
        granted.push(grant.unwrap().at_unix_ms);
    }
    assert!(granted.windows(2).all(|two| two[1] - two[0] >= 300), "{granted:?}");
    orch.stop().await;
}
