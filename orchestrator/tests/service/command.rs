//! The command itself: its settings, its signals, its exit codes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::*;

fn orchestrator(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    command.arg("--data").arg(data).args(["--listen", "127.0.0.1:0", "--allow-any-filesystem", "--log-level", "warn"]);
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
