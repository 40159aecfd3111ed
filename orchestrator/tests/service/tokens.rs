//! Tokens: made once, effective at once, gone at once; and the queues that their holders are held to.

use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve;
use orch_proto::v1;
use orch_proto::v1::Role;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::support::*;

fn wanted(name: &str, role: Role) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest { name: name.into(), role: role.into(), ..v1::CreateTokenRequest::default() }
}

fn denied(status: &Status) -> String {
    reason(status).0
}

#[tokio::test]
async fn the_secret_is_told_once_and_is_nowhere_else() {
    let orch = Orch::guarded().await;
    let mut admin = orch.admin_as(BOOTSTRAP).await;
    let made = admin.create_token(wanted("ci", Role::Submitter)).await.unwrap().into_inner();
    assert!(made.secret.starts_with("orch_") && made.secret.len() == 69);
    let token = made.token.unwrap();
    assert_eq!((token.name.as_str(), token.role(), token.created_by.as_str()), ("ci", Role::Submitter, "bootstrap"));
    let listed = admin.list_tokens(v1::ListTokensRequest {}).await.unwrap().into_inner().tokens;
    assert_eq!(listed, [token]);
    let who = orch.admin_as(&made.secret).await.who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!((who.actor.as_str(), who.role(), who.enforcement.as_str()), ("token ci", Role::Submitter, "strict"));
    // Neither it nor the bootstrap token is in any file of the data directory.
    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    let mut files = vec![data.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in [made.secret.as_bytes(), BOOTSTRAP.as_bytes()] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        }
    }
    // A restart knows it again.
    let running = serve::start(guarded(data.path())).await.unwrap();
    let orch = Orch { running, data };
    orch.admin_as(&made.secret).await.stats(v1::StatsRequest {}).await.unwrap();
    orch.stop().await;
}

#[tokio::test]
async fn without_tokens_everybody_is_let_in_and_the_first_one_ends_that() {
    let orch = Orch::start().await;
    let mut open = orch.admin().await;
    open.submit(submission(vec![job("q", 1)])).await.unwrap();
    // The first token must leave somebody who can make more.
    let status = open.create_token(wanted("w", Role::Worker)).await.unwrap_err();
    assert_eq!(reason(&status), ("WRONG_STATE".to_owned(), "role".to_owned()));
    // What waits, waits on; until there is a token.
    let mut follows = open.read_ledger(v1::ReadLedgerRequest { follow: true, ..Default::default() }).await.unwrap();
    let secret = open.create_token(wanted("root", Role::Admin)).await.unwrap().into_inner().secret;
    let ended = loop {
        match follows.get_mut().message().await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
    };
    assert_eq!(denied(&ended), "UNAUTHENTICATED");
    assert_eq!(denied(&open.stats(v1::StatsRequest {}).await.unwrap_err()), "UNAUTHENTICATED");
    let mut root = orch.admin_as(&secret).await;
    root.stats(v1::StatsRequest {}).await.unwrap();
    // Nor may the last who can make tokens go.
    let revoke = v1::RevokeTokenRequest { name: "root".into() };
    assert_eq!(denied(&root.revoke_token(revoke.clone()).await.unwrap_err()), "WRONG_STATE");
    // A restart does not forget that there are tokens, and a bootstrap token makes good for a lost one.
    let orch = orch.restart().await;
    assert_eq!(denied(&orch.admin().await.stats(v1::StatsRequest {}).await.unwrap_err()), "UNAUTHENTICATED");
    let orch = orch.restart_as(guarded).await;
    orch.admin_as(BOOTSTRAP).await.revoke_token(revoke).await.unwrap();
    let orch = orch.restart().await;
    let status = orch.admin().await.stats(v1::StatsRequest {}).await.unwrap_err();
    assert_eq!(denied(&status), "UNAUTHENTICATED", "revoking the last token must not open the door");
    orch.stop().await;
}

#[tokio::test]
async fn strict_without_any_token_does_not_start() {
    use orch_orchestrator::access::Enforcement;
    let data = tempfile::tempdir().unwrap();
    let strict = OrchestratorConfig { enforcement: Enforcement::Strict, ..config(data.path()) };
    let error = serve::start(strict).await.err().unwrap().to_string();
    assert!(error.contains("--bootstrap-token-file"), "{error}");
}

#[tokio::test]
async fn bad_tokens_are_refused_with_their_field() {
    let orch = Orch::guarded().await;
    let mut admin = orch.admin_as(BOOTSTRAP).await;
    admin.create_token(wanted("a", Role::Viewer)).await.unwrap();
    let held = v1::CreateTokenRequest { queues: vec!["q".into()], ..wanted("b", Role::Operator) };
    for (request, reason_and_field) in [
        (wanted("a", Role::Viewer), ("CONFLICT", "name")),
        (wanted("", Role::Viewer), ("INVALID_ARGUMENT", "name")),
        (wanted("b", Role::Unspecified), ("INVALID_ARGUMENT", "role")),
        (held, ("INVALID_ARGUMENT", "queues")),
    ] {
        let (reason, field) = reason(&admin.create_token(request).await.unwrap_err());
        assert_eq!((reason.as_str(), field.as_str()), reason_and_field);
    }
    let none = v1::RevokeTokenRequest { name: "none".into() };
    assert_eq!(denied(&admin.revoke_token(none).await.unwrap_err()), "NOT_FOUND");
    orch.stop().await;
}

/// A revoked token ends what its holder has open: streams in both directions, long polls, followed ledgers.
#[tokio::test]
async fn revoking_ends_what_is_open() {
    let orch = Orch::guarded().await;
    orch.admin_as(BOOTSTRAP).await.submit(submission(vec![])).await.unwrap();
    let (pool, viewer) = (orch.token("pool", Role::Worker, &[]).await, orch.token("eye", Role::Viewer, &[]).await);
    let (mut worker, _) = orch.registered_as(&pool, "w1").await;
    let (sender, messages) = mpsc::channel(4);
    let mut results = worker.submit_results(ReceiverStream::new(messages)).await.unwrap().into_inner();
    let mut polling = worker.clone();
    let poll = tokio::spawn(async move { polling.lease_job(ask("w1", 1, 60_000)).await });
    let mut follow = orch.admin_as(&viewer).await;
    let request = v1::ReadLedgerRequest { follow: true, ..v1::ReadLedgerRequest::default() };
    let mut lines = follow.read_ledger(request).await.unwrap().into_inner();
    lines.message().await.unwrap();
    let mut waiting = follow.clone();
    orch.admin_as(BOOTSTRAP).await.submit(submission(vec![job("q", 1)])).await.unwrap();
    let granted = poll.await.unwrap().unwrap().into_inner().leases;
    assert_eq!(granted.len(), 1);
    let wait = v1::WaitJobsRequest { queue: "q".into(), timeout_ms: 60_000, ..v1::WaitJobsRequest::default() };
    let wait = tokio::spawn(async move { waiting.wait_jobs(wait).await });
    let mut polling = worker.clone();
    let poll = tokio::spawn(async move { polling.lease_job(ask("w1", 1, 60_000)).await });

    orch.revoke("pool").await;
    orch.revoke("eye").await;
    assert_eq!(denied(&poll.await.unwrap().unwrap_err()), "UNAUTHENTICATED");
    assert_eq!(denied(&results.message().await.unwrap_err()), "UNAUTHENTICATED");
    sender.closed().await;
    assert_eq!(denied(&wait.await.unwrap().unwrap_err()), "UNAUTHENTICATED");
    let ended = loop {
        match lines.message().await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
    };
    assert_eq!(denied(&ended), "UNAUTHENTICATED");
    assert_eq!(denied(&worker.heartbeat(v1::HeartbeatRequest::default()).await.unwrap_err()), "UNAUTHENTICATED");
    orch.stop().await;
}

#[tokio::test]
async fn a_token_ends_by_itself() {
    let orch = Orch::guarded().await;
    let short = v1::CreateTokenRequest { expires_in_ms: 1500, ..wanted("short", Role::Viewer) };
    let made = orch.admin_as(BOOTSTRAP).await.create_token(short).await.unwrap().into_inner();
    let mut viewer = orch.admin_as(&made.secret).await;
    let request = v1::ReadLedgerRequest { follow: true, ..v1::ReadLedgerRequest::default() };
    let mut lines = viewer.read_ledger(request).await.unwrap().into_inner();
    let ended = loop {
        match lines.message().await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
    };
    assert_eq!(denied(&ended), "UNAUTHENTICATED");
    let status = viewer.stats(v1::StatsRequest {}).await.unwrap_err();
    assert!(status.message().contains("token short ended at"), "{status}");
    // Its name is free again.
    orch.admin_as(BOOTSTRAP).await.create_token(wanted("short", Role::Viewer)).await.unwrap();
    orch.stop().await;
}

/// R26: rotated 100 times under callers that show the newest token they know, without a dropped call: connections that stand,
/// and new ones all the time. A token goes only when each caller has been seen with the one after it.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_rotated_under_running_calls() {
    const ROTATIONS: u64 = 100;
    let orch = Orch::guarded().await;
    let name = |n: u64| format!("rotation-{n}");
    let first = orch.token(&name(0), Role::Viewer, &[]).await;
    let (newest, watched) = watch::channel(Some(first));
    let mut seen = Vec::new();
    let mut callers = JoinSet::new();
    for standing in [true, true, false, false] {
        let (endpoint, newest) = (orch.endpoint(), watched.clone());
        let (told, last) = watch::channel(String::new());
        seen.push(last);
        callers.spawn(async move {
            let (channel, mut calls) = (endpoint.connect().await.unwrap(), 0u64);
            let token = || newest.borrow().clone();
            while let Some(token) = token() {
                let channel = if standing { channel.clone() } else { endpoint.connect().await.unwrap() };
                let mut viewer = AdminServiceClient::with_interceptor(channel, credentials(&token));
                told.send_replace(viewer.who_am_i(v1::WhoAmIRequest {}).await?.into_inner().actor);
                calls += 1;
            }
            Ok::<u64, Status>(calls)
        });
    }
    for n in 1..=ROTATIONS {
        newest.send_replace(Some(orch.token(&name(n), Role::Viewer, &[]).await));
        let now = format!("token {}", name(n));
        for caller in &mut seen {
            if caller.wait_for(|actor| *actor == now).await.is_err() {
                panic!("a call was dropped: {:?}", callers.join_next().await);
            }
        }
        orch.revoke(&name(n - 1)).await;
    }
    newest.send_replace(None);
    let mut calls = 0;
    while let Some(ended) = callers.join_next().await {
        calls += ended.unwrap().unwrap();
    }
    assert!(calls >= 4 * ROTATIONS);
    let listed =
        orch.admin_as(BOOTSTRAP).await.list_tokens(v1::ListTokensRequest {}).await.unwrap().into_inner().tokens;
    assert_eq!(listed.into_iter().map(|token| token.name).collect::<Vec<_>>(), [name(ROTATIONS)]);
    orch.stop().await;
}

/// Two queues, a job in each, and a submitter, a viewer and a worker that are held to the first.
async fn two_queues() -> (Orch, [v1::SubmittedJob; 2], [String; 3]) {
    let orch = Orch::guarded().await;
    let both = v1::SubmitRequest {
        queues: vec![queue("mine"), queue("other")],
        ..submission(vec![job("mine", 1), job("other", 1)])
    };
    let submitted = orch.admin_as(BOOTSTRAP).await.submit(both).await.unwrap().into_inner();
    let jobs = submitted.jobs.try_into().unwrap();
    let mut tokens = Vec::new();
    for (name, role) in [("submits", Role::Submitter), ("looks", Role::Viewer), ("works", Role::Worker)] {
        tokens.push(orch.token(name, role, &["mine"]).await);
    }
    (orch, jobs, tokens.try_into().unwrap())
}

#[tokio::test]
async fn who_is_held_to_a_queue_sees_and_touches_no_other() {
    let (orch, [mine, other], [submitter, viewer, _]) = two_queues().await;
    let mut submits = orch.admin_as(&submitter).await;
    let only = |jobs| v1::SubmitRequest { jobs, ..v1::SubmitRequest::default() };
    submits.submit(only(vec![job("mine", 1)])).await.unwrap();
    let status = submits.submit(only(vec![job("mine", 1), job("other", 1)])).await.unwrap_err();
    assert_eq!(reason(&status), ("PERMISSION_DENIED".to_owned(), "jobs[1].queue".to_owned()));
    // What it goes by is not its to define; what is known as it is does no harm.
    let known = v1::SubmitRequest { queues: vec![queue("mine")], ..only(vec![job("mine", 1)]) };
    submits.submit(known).await.unwrap();
    let changed = v1::QueueSpec { kind: "else".into(), ..queue("mine") };
    let status = submits.submit(v1::SubmitRequest { queues: vec![changed], ..only(vec![]) }).await.unwrap_err();
    assert_eq!(reason(&status), ("PERMISSION_DENIED".to_owned(), "queues".to_owned()));
    // In bulk, each job by itself.
    let chunk = v1::ImportJobsRequest { chunk: 1, jobs: vec![job("other", 1), job("mine", 1)] };
    let mut imported = submits.import_jobs(tokio_stream::once(chunk)).await.unwrap().into_inner();
    let imported = imported.message().await.unwrap().unwrap();
    assert_eq!((imported.submitted, imported.faults[0].reason.as_str()), (1, "PERMISSION_DENIED"));

    let all = || v1::ListJobsRequest { limit: 1000, ..v1::ListJobsRequest::default() };
    for token in [&submitter, &viewer] {
        let mut client = orch.admin_as(token).await;
        let listed = client.list_jobs(all()).await.unwrap().into_inner().jobs;
        assert!(listed.len() == 4 && listed.iter().all(|job| job.queue == "mine"), "{listed:?}");
        let queues = client.list_queues(v1::ListQueuesRequest {}).await.unwrap().into_inner().queues;
        assert_eq!(queues.len(), 1);
        client.get_job(v1::GetJobRequest { job: mine.job }).await.unwrap();
        let hidden = [
            client.get_job(v1::GetJobRequest { job: other.job }).await.unwrap_err(),
            client.explain_job(v1::ExplainJobRequest { job: other.job }).await.unwrap_err(),
            client.read_job_log(v1::ReadJobLogRequest { job: other.job, ..Default::default() }).await.unwrap_err(),
            client.wait_jobs(v1::WaitJobsRequest { jobs: vec![other.job], ..Default::default() }).await.unwrap_err(),
            client.read_ledger(v1::ReadLedgerRequest { job: other.job, ..Default::default() }).await.unwrap_err(),
        ];
        for status in hidden {
            assert_eq!(status.code(), Code::NotFound, "{status}");
            assert!(status.message().ends_with("does not exist"), "it must look as if it were not there: {status}");
        }
        let not_for_it = [
            client.wait_jobs(v1::WaitJobsRequest { queue: "other".into(), ..Default::default() }).await.unwrap_err(),
            client.wait_jobs(v1::WaitJobsRequest::default()).await.unwrap_err(),
            client.read_ledger(v1::ReadLedgerRequest::default()).await.unwrap_err(),
            client.export_state(v1::ExportStateRequest {}).await.unwrap_err(),
        ];
        for status in not_for_it {
            assert_eq!(denied(&status), "PERMISSION_DENIED", "{status}");
        }
    }
    // Cancelling everything cancels everything of its own.
    let cancelled = submits.cancel_jobs(v1::CancelJobsRequest::default()).await.unwrap().into_inner().cancelled;
    assert_eq!(cancelled.len(), 4);
    let named = v1::JobFilter { jobs: vec![other.job], ..v1::JobFilter::default() };
    let request = v1::CancelJobsRequest { filter: Some(named), ..v1::CancelJobsRequest::default() };
    assert!(submits.cancel_jobs(request).await.unwrap().into_inner().cancelled.is_empty());
    let retried = submits.retry_failed(v1::RetryFailedRequest::default()).await.unwrap().into_inner().retried;
    assert!(retried.is_empty());
    let left = orch.admin_as(BOOTSTRAP).await.get_job(v1::GetJobRequest { job: other.job }).await.unwrap();
    assert_eq!(left.into_inner().summary.unwrap().state(), v1::JobState::Ready);
    orch.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_held_to_a_queue_gets_no_job_of_another() {
    let (orch, [mine, other], [_, _, works]) = two_queues().await;
    let (mut worker, _) = orch.registered_as(&works, "w1").await;
    let leases = worker.lease_job(ask("w1", 10, 0)).await.unwrap().into_inner().leases;
    assert_eq!(leases.iter().map(|lease| lease.job).collect::<Vec<_>>(), [mine.job]);
    let free = orch.token("free", Role::Worker, &[]).await;
    let (mut worker, _) = orch.registered_as(&free, "w2").await;
    let leases = worker.lease_job(ask("w2", 10, 0)).await.unwrap().into_inner().leases;
    assert_eq!(leases.iter().map(|lease| lease.job).collect::<Vec<_>>(), [other.job]);
    orch.stop().await;
}

#[tokio::test]
async fn the_ledger_tells_who_did_what() {
    let orch = Orch::guarded().await;
    let secret = orch.token("ops", Role::Operator, &[]).await;
    let mut ops = orch.admin_as(&secret).await;
    ops.submit(submission(vec![job("q", 1)])).await.unwrap();
    let paused = ops.pause_queue(v1::PauseQueueRequest { queue: "q".into(), reason: "night".into() }).await.unwrap();
    ops.create_token(wanted("x", Role::Admin)).await.unwrap_err();
    let audit = orch.audit().await;
    let of = |call: &str| audit.iter().find(|entry| entry.call == call && entry.actor == "token ops").unwrap();
    let pause = of("AdminService/PauseQueue");
    assert_eq!((pause.verdict.as_str(), pause.target.as_str()), ("allowed", "queue q"));
    assert_eq!(pause.from, "127.0.0.1");
    // It stands right behind what it tells of, in the same batch: the receipt speaks for both.
    assert_eq!((pause.first_record, pause.last_record), (pause.seq - 1, pause.seq - 1));
    assert_eq!(paused.into_inner().receipt.unwrap().seq, pause.seq);
    let refused = of("AdminService/CreateToken");
    assert_eq!((refused.verdict.as_str(), refused.reason.as_str()), ("denied", "PERMISSION_DENIED"));
    assert_eq!(of("AdminService/Submit").target, "1 jobs in q, 2 definitions");
    // Looking is not told of.
    ops.stats(v1::StatsRequest {}).await.unwrap();
    assert_eq!(orch.audit().await.len(), audit.len());
    let filter = v1::ListAuditRequest { verdict: "denied".into(), actor: "ops".into(), ..Default::default() };
    let found = orch.admin_as(BOOTSTRAP).await.list_audit(filter).await.unwrap().into_inner();
    assert_eq!((found.entries.len(), found.total), (1, audit.len() as u64));
    // A flood of refusals is a record or two, and every one of it counts.
    for _ in 0..500 {
        orch_flood(&mut ops).await;
    }
    let audit = orch.audit().await;
    let refused: Vec<_> = audit.iter().filter(|entry| entry.call == "AdminService/ListTokens").collect();
    assert!(refused.len() <= 3, "{}", refused.len());
    assert_eq!(refused.iter().map(|entry| entry.count).sum::<u64>(), 500);
    orch.stop().await;
}

async fn orch_flood(ops: &mut KnownAdmin) {
    ops.list_tokens(v1::ListTokensRequest {}).await.unwrap_err();
}
