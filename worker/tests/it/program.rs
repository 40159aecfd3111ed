//! The `worker` program: exit codes, signals, what it prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::server::{Ended, Server, lease};
use crate::support::Fifo;

fn worker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.args(args).env_remove("ORCH_SERVER").env_remove("ORCH_LOG").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = worker(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("worker.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn help_teaches() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for taught in ["Examples:", "worker --server http://127.0.0.1:50051 --slots 2", "Exit codes:", "ORCH_SERVER"] {
        assert!(out.contains(taught), "{taught}: {out}");
    }
}

#[test]
fn settings_that_are_no_good_exit_with_2_and_every_fault() {
    assert_eq!(run(&["--slots", "0"]).0, 2);
    assert_eq!(run(&["--no-such-flag"]).0, 2);
    let (code, _, err) = run(&[]);
    assert_eq!(code, 2);
    let fix =
        "worker: no orchestrator is named: use --server http://HOST:PORT, ORCH_SERVER, or `server:` in the file\n";
    assert_eq!(err, fix);
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "server: a:1\nslotz: 1\nkinds: {x: {runner: command}}\n");
    let path = path.to_str().unwrap();
    let (code, _, err) = run(&["config", "check", "--config", path]);
    assert_eq!(code, 2);
    let expected = format!(
        "worker: the configuration is not sound:\n\
         {path}:2: slotz: is not a key here; there are: log, tls, server, name, slots, kinds, labels, resources, time_limit, idle_timeout, grace, flush, keep_bytes, give_up_after, token_file, otlp_endpoint\n\
         {path}:3: kinds.x.argv: is missing: name the program and its arguments, like [python3, x.py]\n"
    );
    assert_eq!(err, expected);
    let (code, _, err) = run(&["--server", "a:1", "--log-level", "="]);
    assert_eq!((code, err.starts_with("worker: --log-level: \"=\" is no log level")), (2, true), "{err}");
}

#[test]
fn settings_in_force_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "server: a:1\nslots: 7\nname: from-file\n");
    let path = path.to_str().unwrap();
    let shown = worker(&["config", "show", "--config", path, "--name", "from-flag"])
        .env("ORCH_WORKER_NAME", "from-environment")
        .env("ORCH_WORKER_SLOTS", "5")
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in ["server: [\"http://a:1\"]\n", "name: \"from-flag\"\n", "slots: 5\n", "miner: zeta-zeros\n"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let (code, out, _) = run(&["config", "check", "--config", path]);
    assert_eq!((code, out.as_str()), (0, "sound: worker from-file would run zeta-zeros\n"));
}

#[test]
fn hardware_is_told_for_people_and_for_programs() {
    let (code, out, _) = run(&["hwdetect"]);
    assert_eq!(code, 0);
    assert!(out.contains("cpus ") && out.contains("memory "), "{out}");
    let (_, out, _) = run(&["hwdetect", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(json["cpus"].as_u64().unwrap() > 0 && json["gpus"].is_array(), "{out}");
}

#[test]
fn without_an_orchestrator_it_gives_up_when_told_to() {
    let (code, _, err) = run(&["--server", "127.0.0.1:1", "--give-up-after", "0s"]);
    assert_eq!(code, 8);
    assert!(err.contains("no orchestrator answered for 0s (http://127.0.0.1:1)"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_to_do_it_leaves_and_exits_with_0() {
    let server = Server::new();
    let url = server.url();
    let ended = tokio::task::spawn_blocking(move || run(&["--server", &url, "--idle-timeout", "50ms"]));
    let (code, _, err) = ended.await.unwrap();
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("nothing to do for 50ms: draining"), "{err}");
    assert!(server.with(|state| state.deregistered));
}

fn signal(child: &std::process::Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

async fn exit_code(mut child: std::process::Child) -> Option<i32> {
    tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_a_second_one_ends_at_once() {
    let server = Server::new();
    let fifo = Fifo::new();
    let folder = tempfile::tempdir().unwrap();
    let pipe = fifo.path().display();
    let kinds = format!(
        "kinds:
  family: {{runner: command, argv: [sh, -c, 'trap \"\" TERM; exec 9>{pipe}; echo here >&9; sleep 1000 & sleep 1000'], stop_grace: 1h}}
  say: {{runner: command, argv: [echo, '1']}}\n"
    );
    let path = file(folder.path(), &kinds);
    let url = server.url();
    let args = ["--server", url.as_str(), "--slots", "2", "--config", path.to_str().unwrap(), "--log-format", "json"];
    let start = || worker(&args).stderr(Stdio::null()).spawn().unwrap();

    let child = start();
    server.offer(lease(1, "say", "null"));
    server.end_of(1).await;
    signal(&child, Signal::TERM);
    assert_eq!(exit_code(child).await, Some(0));
    assert!(server.with(|state| state.deregistered));

    let child = start();
    let mut processes = fifo.processes();
    server.offer(lease(2, "family", "null"));
    processes.up().await;
    signal(&child, Signal::INT);
    signal(&child, Signal::TERM);
    assert_eq!(exit_code(child).await, Some(0));
    processes.gone().await;
    server.with(|state| assert!(!matches!(state.ended.get(&2), Some(Ended::Complete { .. }))));
}
