//! The command itself: its settings, its signals, its exit codes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::*;

fn orchestrator(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    command.arg("--data").arg(data).args(["--listen", "127.0.0.1:0", "--allow-any-filesystem"]);
    command.env("ORCH_LOG_LEVEL", "warn");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A child that is gone with the test.
struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    url: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it listened");
        }
        let address = line.split("listening on ").nth(1).unwrap().split(',').next().unwrap();
        let url = format!("http://{address}");
        Self { child, stderr, url }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(&mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap(), text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn sigterm_and_ctrl_c_stop_it_cleanly() {
    let data = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = Running::start(orchestrator(data.path()));
        let mut admin = AdminServiceClient::connect(running.url.clone()).await.unwrap();
        admin.submit(submission(vec![job("q", 1)])).await.unwrap();
        running.signal(signal);
        let (status, text) = tokio::task::spawn_blocking(move || running.end()).await.unwrap();
        assert!(status.success() && text.contains("stopped"), "{status}: {text}");
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for _ in 0..3 {
        let mut running = Running::start(orchestrator(data.path()));
        let mut admin = AdminServiceClient::connect(running.url.clone()).await.unwrap();
        let stats = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
        assert_eq!(stats.jobs.unwrap().ready, acknowledged);
        for _ in 0..20 {
            admin.submit(submission(vec![job("q", 1); 3])).await.unwrap();
            acknowledged += 3;
        }
        running.signal(Signal::KILL);
        let (status, _) = tokio::task::spawn_blocking(move || running.end()).await.unwrap();
        assert!(!status.success());
    }
}

#[tokio::test]
async fn with_drain_it_ends_when_nothing_is_open() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(orchestrator(data.path()));
    let mut admin = AdminServiceClient::connect(running.url.clone()).await.unwrap();
    let submitted = admin.submit(submission(vec![job("q", 1)])).await.unwrap().into_inner();
    running.signal(Signal::TERM);
    tokio::task::spawn_blocking(move || running.end()).await.unwrap();

    let mut command = orchestrator(data.path());
    command.arg("--drain");
    let mut running = Running::start(command);
    let mut admin = AdminServiceClient::connect(running.url.clone()).await.unwrap();
    let filter = v1::JobFilter { jobs: vec![submitted.jobs[0].job], ..v1::JobFilter::default() };
    let cancel = v1::CancelJobsRequest { filter: Some(filter), ..v1::CancelJobsRequest::default() };
    admin.cancel_jobs(cancel).await.unwrap();
    let (status, text) = tokio::task::spawn_blocking(move || running.end()).await.unwrap();
    assert!(status.success() && text.contains("nothing is open any more"), "{status}: {text}");
}

#[test]
fn what_it_cannot_do_is_said_and_exits_with_1() {
    let data = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = orchestrator(data.path()).args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = run(&["--stale-after", "soon"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("stale_after: \"soon\" is not a length of time"), "{text}");
    let running = Running::start(orchestrator(data.path()));
    let (code, text) = run(&[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("is in use by process"), "{text}");
    drop(running);
    let file = data.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let (code, text) = run(&["--config", file.join("below").to_str().unwrap()]);
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn the_settings_in_force_are_shown() {
    let data = tempfile::tempdir().unwrap();
    let mut command = orchestrator(data.path());
    let output = command.args(["--print-config", "--drain"]).env("ORCH_STALE_AFTER", "7m").output().unwrap();
    assert!(output.status.success());
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["stale_after"], &shown["drain"]), (&"7m".into(), &true.into()));
}

/// The largest size of a file stands in for the size of the disk: the system refuses what goes beyond in the same way.
#[tokio::test]
async fn a_full_disk_turns_it_read_only_until_there_is_space() {
    let data = tempfile::tempdir().unwrap();
    let plain = orchestrator(data.path());
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command);
    let pid = Pid::from_child(&running.child);
    let limit = |bytes| Rlimit { current: bytes, maximum: None };
    prlimit(Some(pid), Resource::Fsize, limit(Some(40 << 20))).unwrap();

    let channel = tonic::transport::Endpoint::from_shared(running.url.clone()).unwrap().connect().await.unwrap();
    let mut admin = AdminServiceClient::new(channel.clone());
    let unjudged = v1::QueueSpec { contract: String::new(), ..queue("q") };
    let request = v1::SubmitRequest { queues: vec![unjudged], ..v1::SubmitRequest::default() };
    admin.submit(request).await.unwrap();
    let payload = format!("\"{}\"", "x".repeat(200_000));
    let large = v1::JobSpec { queue: "q".into(), payload_json: payload, ..v1::JobSpec::default() };
    let request = v1::SubmitRequest { jobs: vec![large; 18], ..v1::SubmitRequest::default() };
    let mut acknowledged = 0;
    let status = loop {
        match admin.submit(request.clone()).await {
            Ok(_) => acknowledged += 18,
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status).0, "READ_ONLY", "{status}");
    assert!(acknowledged > 18, "{acknowledged}");
    let mut stats = async || admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    let seen = stats().await;
    assert_eq!(seen.jobs.unwrap().ready, acknowledged);
    assert!(!seen.ledger.unwrap().read_only_reason.is_empty());
    let mut health = HealthClient::new(channel);
    let mut becomes = async |wanted: ServingStatus| {
        let watch = HealthCheckRequest { service: "ready".into() };
        let mut watch = health.watch(watch).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status() != wanted {}
    };
    becomes(ServingStatus::NotServing).await;

    prlimit(Some(pid), Resource::Fsize, limit(None)).unwrap();
    becomes(ServingStatus::Serving).await;
    assert_eq!(stats().await.ledger.unwrap().read_only_reason, "");
    admin.submit(request).await.unwrap();
    running.signal(Signal::TERM);
    let (status, text) = tokio::task::spawn_blocking(move || running.end()).await.unwrap();
    assert!(status.success(), "{status}: {text}");
    let mut again = Running::start(orchestrator(data.path()));
    let mut admin = AdminServiceClient::connect(again.url.clone()).await.unwrap();
    let seen = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner();
    assert_eq!(seen.jobs.unwrap().ready, acknowledged + 18);
    again.signal(Signal::TERM);
    tokio::task::spawn_blocking(move || again.end()).await.unwrap();
}

#[tokio::test]
async fn the_log_goes_to_a_file_too() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("orch.log");
    let mut command = orchestrator(&data.path().join("data"));
    command.args(["--log-level=info", "--log-format=json", "--log-file"]).arg(&log);
    let mut running = Running::start(command);
    running.signal(Signal::TERM);
    let (status, text) = tokio::task::spawn_blocking(move || running.end()).await.unwrap();
    assert!(status.success(), "{status}: {text}");
    let lines = std::fs::read_to_string(&log).unwrap();
    let told: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listens = |line: &serde_json::Value| line["level"] == "INFO" && line["message"] == "the orchestrator listens";
    assert!(told.iter().any(listens), "{lines}");

    let mut command = orchestrator(&data.path().join("data"));
    let output = command.arg("--log-file").arg(data.path().join("no/such/folder/orch.log")).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("--log-file"), "{text}");
}
