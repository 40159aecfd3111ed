//! Starting, refusing to start, draining and stopping.

use std::time::Duration;

use orch_orchestrator::serve::{self, StartError};
use orch_proto::v1;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::*;

#[tokio::test]
async fn initialization() {
    let orch = Orch::start().await;
    let started = orch.running.started().clone();
    assert_eq!((started.epoch, started.open_jobs), (1, 0));
    assert!(orch.data.path().join("LEDGER_ID").is_file());
    assert!(orch.running.local_addr().port() > 0);
    let orch = orch.restart().await;
    assert_eq!((orch.running.started().epoch, &orch.running.started().ledger), (2, &started.ledger));
    orch.stop().await;
}

#[tokio::test]
async fn start_threads() {
    let orch = Orch::start().await;
    let mut names = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        names.push(std::fs::read_to_string(task.path().join("comm")).unwrap_or_default().trim().to_owned());
    }
    for thread in ["engine", "index"] {
        assert!(names.iter().any(|name| name == thread), "{thread} is not among {names:?}");
    }
    orch.stop().await;
}

#[tokio::test]
async fn graceful_shutdown() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![])).await.unwrap();
    let mut worker = orch.registered("w1").await;
    let url = format!("http://{}", orch.running.local_addr());
    // A long poll, an open results stream and a follower must not hold the stop.
    let poll = tokio::spawn(async move { worker.lease_job(ask("w1", 1, 60_000)).await });
    let mut other = orch.registered("w2").await;
    let _results = Results::open(&mut other, "w2").await;
    let follow = v1::ReadLedgerRequest { follow: true, ..v1::ReadLedgerRequest::default() };
    let mut follower = admin.read_ledger(follow).await.unwrap().into_inner();
    follower.message().await.unwrap().unwrap();
    // So that the poll has reached the engine: it runs what comes in turn.
    admin.stats(v1::StatsRequest {}).await.unwrap();
    let data = orch.data;
    tokio::time::timeout(Duration::from_secs(20), orch.running.stop()).await.unwrap().unwrap();
    // The poll ends, with an error or with nothing; it does not hang.
    if let Ok(answer) = tokio::time::timeout(Duration::from_secs(20), poll).await.unwrap().unwrap() {
        assert!(answer.into_inner().leases.is_empty());
    }
    assert!(tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.is_err());
    // HEAD is level: the ledger opens without anything to mend.
    let head = orch_ledger::durable_head(&orch_ledger::disk::real::RealDir::new(data.path())).unwrap();
    let running = serve::start(config(data.path())).await.unwrap();
    assert!(running.started().seq > head.seq.0);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_occupied_data_directory_is_refused_with_its_holder() {
    let orch = Orch::start().await;
    let error = serve::start(config(orch.data.path())).await.err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, StartError::Open(_)));
    let pid = format!("process {}", std::process::id());
    assert!(
        text.contains("is in use by") && text.contains(&pid) && text.contains("choose another directory"),
        "{text}"
    );
    orch.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_refused_before_the_ledger_is_touched() {
    let orch = Orch::start().await;
    let data = tempfile::tempdir().unwrap();
    let taken = orch_orchestrator::config::OrchestratorConfig {
        listen: orch.running.local_addr(),
        ..config(&data.path().join("new"))
    };
    let error = serve::start(taken).await.err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(text.contains(&orch.running.local_addr().to_string()) && text.contains("--listen"), "{text}");
    assert!(!data.path().join("new").exists());
    orch.stop().await;
}

#[tokio::test]
async fn a_damaged_ledger_is_refused_with_the_command_to_run() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    admin.submit(submission(vec![job("q", 1)])).await.unwrap();
    let Orch { running, data } = orch;
    running.stop().await.unwrap();
    let segment = std::fs::read_dir(data.path().join("ledger")).unwrap().flatten().next().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    let mut permissions = std::fs::metadata(&segment).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&segment, permissions).unwrap();
    std::fs::write(&segment, bytes).unwrap();
    let text = serve::start(config(data.path())).await.err().unwrap().to_string();
    assert!(text.contains("orchctl ledger verify") && text.contains("expected"), "{text}");
}

#[tokio::test]
async fn a_server_without_open_jobs_is_drained() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    orch.running.drained().await;
    let delayed = v1::JobSpec { delay_ms: Some(3_600_000), ..job("q", 1) };
    let submitted = admin.submit(submission(vec![delayed])).await.unwrap().into_inner();
    let drained = tokio::spawn(orch.running.drained());
    let filter = v1::JobFilter { jobs: vec![submitted.jobs[0].job], ..v1::JobFilter::default() };
    let cancel = v1::CancelJobsRequest { filter: Some(filter), ..v1::CancelJobsRequest::default() };
    admin.cancel_jobs(cancel).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), drained).await.unwrap().unwrap();
    orch.stop().await;
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    let orch = Orch::start().await;
    let url = format!("http://{}", orch.running.local_addr());
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "orch.v1.WorkerService", "orch.v1.AdminService", "ready"] {
        let mut watch = health.watch(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    }
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let mut reflection = ServerReflectionClient::new(channel);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::iter([list])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(services)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!()
    };
    let names: Vec<String> = services.service.into_iter().map(|service| service.name).collect();
    for name in ["orch.v1.WorkerService", "orch.v1.AdminService"] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
    orch.stop().await;
}

/// The engine's queue is bounded: what does not fit is refused with a time to try again, or waits in its stream, and
/// nothing is lost.
#[tokio::test]
async fn queue_backpressure() {
    let orch = Orch::start().await;
    let admin = orch.admin().await;
    admin.clone().submit(submission(vec![])).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for i in 0..2000u64 {
        let mut admin = admin.clone();
        calls.spawn(async move {
            let keyed = v1::JobSpec { idempotency_key: format!("k{}", i % 500), ..job("q", 1) };
            loop {
                match admin
                    .submit(v1::SubmitRequest { jobs: vec![keyed.clone()], ..v1::SubmitRequest::default() })
                    .await
                {
                    Ok(submitted) => return submitted.into_inner().jobs[0].job,
                    Err(status) => assert_eq!(reason(&status).0, "BUSY", "{status}"),
                }
            }
        });
    }
    let mut jobs = std::collections::BTreeSet::new();
    while let Some(job) = calls.join_next().await {
        jobs.insert(job.unwrap());
    }
    assert_eq!(jobs.len(), 500);
    let stats = admin.clone().stats(v1::StatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.jobs.unwrap().ready, 500);
    orch.stop().await;
}
