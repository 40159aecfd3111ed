//! A worker acts under its own name only: every attempt to act as another is refused, and changes nothing.

use orch_proto::v1;
use orch_proto::v1::Role;
use orch_proto::v1::submit_results_request::Action;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::support::*;

/// An orchestrator with two jobs, a pool whose workers share a token, and its first worker with a lease.
async fn pool() -> (Orch, String, KnownWorker, v1::Lease) {
    let orch = Orch::guarded().await;
    orch.admin_as(BOOTSTRAP).await.submit(submission(vec![job("q", 1), job("q", 1)])).await.unwrap();
    let token = orch.token("pool", Role::Worker, &[]).await;
    let (mut worker, _) = orch.registered_as(&token, "a").await;
    let lease = worker.lease_job(ask("a", 1, 0)).await.unwrap().into_inner().leases.remove(0);
    (orch, token, worker, lease)
}

/// What becomes of one message on a results stream.
async fn say(worker: &mut KnownWorker, name: &str, lease: u64, action: Action) -> Result<(), Status> {
    let message = v1::SubmitResultsRequest { worker: name.into(), lease, action: Some(action) };
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    sender.send(message).await.unwrap();
    let mut answers = worker.submit_results(ReceiverStream::new(messages)).await?.into_inner();
    answers.message().await.map(drop)
}

/// Everything that a client can do under the name of the worker that holds the lease; all of it must be refused.
async fn all_refused(worker: &mut KnownWorker, lease: u64) {
    let progress = v1::LeaseProgress { lease, fraction: 0.5, note: "not mine".into(), step: 0 };
    let beat = v1::HeartbeatRequest { worker: "a".into(), leases: vec![progress], last_receipt: None };
    let pieces = v1::PushLogsRequest { worker: "a".into(), lease, text: "forged".into() };
    let release = v1::ReleaseLeasesRequest { worker: "a".into(), leases: vec![lease] };
    let leave = v1::DeregisterWorkerRequest { worker: "a".into() };
    let refused = [
        ("heartbeat", worker.heartbeat(beat).await.unwrap_err()),
        ("lease", worker.lease_job(ask("a", 1, 0)).await.unwrap_err()),
        ("release", worker.release_leases(release).await.unwrap_err()),
        ("deregister", worker.deregister_worker(leave).await.unwrap_err()),
        ("logs", worker.push_logs(tokio_stream::once(pieces)).await.unwrap_err()),
        ("batch", say(worker, "a", lease, batch(1, &[candidate(1.0)])).await.unwrap_err()),
        ("complete", say(worker, "a", lease, Action::Complete(v1::Complete { batches: 0 })).await.unwrap_err()),
        ("fail", say(worker, "a", lease, Action::Fail(v1::Fail::default())).await.unwrap_err()),
    ];
    for (what, status) in refused {
        let (reason, field) = reason(&status);
        // A failure without a class is malformed before anybody asks whose it is; that is no leak.
        let malformed = what == "fail" && reason == "INVALID_ARGUMENT";
        assert!(malformed || (reason.as_str(), field.as_str()) == ("PERMISSION_DENIED", "worker"), "{what}: {status}");
    }
}

/// What the ledger says but for the audit, and how the lease stands.
async fn facts(orch: &Orch) -> (Vec<String>, v1::WorkerStatus) {
    let events = orch.events().await.into_iter().filter(|event| event != "audited").collect();
    let asked = v1::ListWorkersRequest { worker: "a".into() };
    let listed = orch.admin_as(BOOTSTRAP).await.list_workers(asked).await.unwrap().into_inner();
    let mut worker = listed.workers.into_iter().next().unwrap();
    // Time goes on.
    worker.leases.iter_mut().for_each(|lease| lease.expires_in_ms = 0);
    (events, worker)
}

#[tokio::test]
async fn a_worker_of_the_pool_cannot_act_as_another() {
    let (orch, token, mut a, lease) = pool().await;
    let before = facts(&orch).await;
    // Without any session, with its own, and with a made-up one.
    let (mut nobody, shown) = orch.worker_as(&token).await;
    all_refused(&mut nobody, lease.lease).await;
    shown.set_session(&format!("{}.{}", "0".repeat(32), "0".repeat(64)));
    all_refused(&mut nobody, lease.lease).await;
    let (mut b, _) = orch.registered_as(&token, "b").await;
    all_refused(&mut b, lease.lease).await;
    // Nor is the lease b's because it says so under its own name.
    let refused = v1::submit_results_response::Answer::Refused;
    let message =
        v1::SubmitResultsRequest { worker: "b".into(), lease: lease.lease, action: Some(batch(1, &[candidate(1.0)])) };
    let mut answers = b.submit_results(tokio_stream::once(message)).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().answer {
        Some(answer) => assert!(
            matches!(&answer, v if std::mem::discriminant(v) == std::mem::discriminant(&refused(v1::ResultsRefused::default())))
        ),
        None => panic!("no answer"),
    }
    let release = v1::ReleaseLeasesRequest { worker: "b".into(), leases: vec![lease.lease] };
    assert!(b.release_leases(release).await.unwrap().into_inner().released.is_empty());
    // A name that is in use is nobody else's to register.
    for token in [token.as_str(), orch.token("other-pool", Role::Worker, &[]).await.as_str(), BOOTSTRAP] {
        let (mut thief, _) = orch.worker_as(token).await;
        let status = thief.register_worker(registration("a")).await.unwrap_err();
        assert_eq!(reason(&status), ("NAME_TAKEN".to_owned(), "worker".to_owned()), "{status}");
    }
    let mut after = facts(&orch).await;
    after.0.retain(|event| event != "token_created");
    let mut expected = before;
    expected.0.retain(|event| event != "token_created");
    assert_eq!(after, expected, "an attempt changed something");
    // The worker itself goes on.
    let done = say(&mut a, "a", lease.lease, batch(1, &[candidate(1.0)])).await;
    done.unwrap();
    let audit = orch.audit().await;
    let told = |reason: &str| audit.iter().filter(|entry| entry.verdict == "denied" && entry.reason == reason).count();
    assert!(told("PERMISSION_DENIED") >= 6 && told("NAME_TAKEN") >= 2, "{audit:?}");
    orch.stop().await;
}

#[tokio::test]
async fn after_a_restart_a_lease_is_still_its_workers_alone() {
    let (orch, token, _, lease) = pool().await;
    let (mut again, shown) = orch.worker_as(&token).await;
    let status = again.register_worker(registration("a")).await.unwrap_err();
    assert_eq!(reason(&status).0, "NAME_TAKEN");
    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    let running = orch_orchestrator::serve::start(guarded(data.path())).await.unwrap();
    let orch = Orch { running, data };
    // Nobody is registered now, and the name is still not free: it holds a lease.
    let (mut thief, _) = orch.worker_as(&token).await;
    let listing = v1::RegisterWorkerRequest { leases: vec![lease.lease], ..registration("a") };
    let status = thief.register_worker(listing.clone()).await.unwrap_err();
    assert_eq!(reason(&status).0, "NAME_TAKEN", "{status}");
    assert_eq!(orch.events().await.iter().filter(|event| *event == "lease_expired").count(), 0);
    drop((again, shown));
    orch.stop().await;
}

#[tokio::test]
async fn a_worker_takes_its_session_along_over_restarts_and_new_tokens() {
    let orch = Orch::guarded().await;
    orch.admin_as(BOOTSTRAP).await.submit(submission(vec![job("q", 1)])).await.unwrap();
    let token = orch.token("pool-1", Role::Worker, &[]).await;
    let (mut worker, _) = orch.worker_as(&token).await;
    let session = worker.register_worker(registration("a")).await.unwrap().into_inner().session;
    let with = |token: String| {
        let shown = credentials(&token);
        shown.set_session(&session);
        shown
    };
    let client = async |orch: &Orch, token: &str| {
        v1::worker_service_client::WorkerServiceClient::with_interceptor(orch.channel().await, with(token.to_owned()))
    };
    let mut worker = client(&orch, &token).await;
    let lease = worker.lease_job(ask("a", 1, 0)).await.unwrap().into_inner().leases.remove(0);
    let orch = orch.restart_as(guarded).await;
    let listing = v1::RegisterWorkerRequest { leases: vec![lease.lease], ..registration("a") };
    let mut worker = client(&orch, &token).await;
    // Before it registers again it is asked to.
    let asked = worker.lease_job(ask("a", 1, 0)).await.unwrap().into_inner();
    assert_eq!(asked.order(), v1::WorkerOrder::Register);
    let registered = worker.register_worker(listing.clone()).await.unwrap().into_inner();
    assert_eq!((registered.lost.len(), &registered.session), (0, &session));
    // The token is replaced under it: it registers again, and keeps its lease.
    let newer = orch.token("pool-2", Role::Worker, &[]).await;
    orch.revoke("pool-1").await;
    let mut worker = client(&orch, &newer).await;
    let beat = || v1::HeartbeatRequest { worker: "a".into(), ..v1::HeartbeatRequest::default() };
    assert_eq!(worker.heartbeat(beat()).await.unwrap().into_inner().order(), v1::WorkerOrder::Register);
    let registered = worker.register_worker(listing).await.unwrap().into_inner();
    assert_eq!((registered.lost.len(), &registered.session), (0, &session));
    say(&mut worker, "a", lease.lease, batch(1, &[candidate(1.0)])).await.unwrap();
    // Who leaves gives the name back.
    worker.deregister_worker(v1::DeregisterWorkerRequest { worker: "a".into() }).await.unwrap();
    orch.registered_as(&newer, "a").await;
    orch.stop().await;
}

#[tokio::test]
async fn a_name_whose_worker_is_cleaned_up_is_free() {
    let (orch, token, mut a, lease) = pool().await;
    let clean = v1::CleanupWorkersRequest { workers: vec!["a".into()] };
    let cleaned = orch.admin_as(BOOTSTRAP).await.cleanup_workers(clean).await.unwrap().into_inner();
    assert_eq!((cleaned.removed.len(), cleaned.leases_ended), (1, 1));
    orch.registered_as(&token, "a").await;
    // The one before has lost the name with its lease; it is told to register, and cannot.
    let beat = v1::HeartbeatRequest { worker: "a".into(), ..v1::HeartbeatRequest::default() };
    assert_eq!(a.heartbeat(beat).await.unwrap().into_inner().order(), v1::WorkerOrder::Register);
    let status = say(&mut a, "a", lease.lease, batch(1, &[candidate(1.0)])).await.unwrap_err();
    assert_eq!(reason(&status).0, "UNKNOWN_WORKER");
    assert_eq!(reason(&a.register_worker(registration("a")).await.unwrap_err()).0, "NAME_TAKEN");
    orch.stop().await;
}
