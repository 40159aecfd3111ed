//! Runners as their authors see them: what goes in, what comes out, how each end is told.

use std::time::Duration;

use orch_proto::v1;
use orch_worker::config::{RunnerConfig, ServeConfig};

use crate::server::{Ended, Server, lease};
use crate::support::{Fifo, Running, config, process, python_serve, sh};

fn error(message: &str, exit_code: Option<i32>) -> Ended {
    Ended::Fail { class: v1::FailureClass::Error, message: message.to_owned(), exit_code }
}

/// Runs one job and returns how it ended.
async fn one(server: &Server, runner: RunnerConfig, job: v1::Lease) -> Ended {
    let number = job.lease;
    let worker = Running::start(config(server, 1, &[("x", runner)]));
    server.offer(job);
    let ended = server.end_of(number).await;
    worker.drained().await;
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_the_payload_and_the_environment() {
    let server = Server::new();
    let script = "cat; printf '{\"env\":\"%s %s %s %s\"}\\r\\n\\n' $ORCH_JOB_ID $ORCH_ATTEMPT $ORCH_QUEUE $ORCH_KIND; printf '\"last\"'";
    let ended = one(&server, sh(script), lease(1, "x", "{\"a\":\n[1, 2]}")).await;
    assert!(matches!(ended, Ended::Complete { .. }), "{ended:?}");
    assert_eq!(server.candidates(1), ["{\"a\": [1, 2]}", "{\"env\":\"1001 1 q x\"}", "\"last\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_json_is_the_orchestrators_to_judge() {
    let server = Server::new();
    let ended = one(&server, sh("echo not json; printf '\\377\\n'"), lease(1, "x", "")).await;
    assert!(matches!(ended, Ended::Complete { .. }), "{ended:?}");
    assert_eq!(server.candidates(1), ["not json", "\u{fffd}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_code_fails_the_job_and_standard_error_is_its_log() {
    let server = Server::new();
    let script = "echo 1; echo first >&2; echo 'no such thing: x' >&2; exit 3";
    let ended = one(&server, sh(script), lease(1, "x", "null")).await;
    let message = "the command exited with code 3; the end of its standard error:\nfirst\nno such thing: x";
    assert_eq!(ended, error(message, Some(3)));
    assert_eq!(server.candidates(1), ["1"], "what it found before still counts");
    assert_eq!(server.with(|state| state.logs[&1].clone()), "first\nno such thing: x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_named() {
    let server = Server::new();
    let ended = one(&server, sh("kill -SEGV $$"), lease(1, "x", "null")).await;
    let message = "the command was killed by signal 11 (SIGSEGV); it wrote nothing to standard error";
    assert_eq!(ended, error(message, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_named() {
    let server = Server::new();
    let runner = RunnerConfig::Command(process(&["/no/such/program"]));
    let ended = one(&server, runner, lease(1, "x", "null")).await;
    assert_eq!(ended, error("cannot start \"/no/such/program\": No such file or directory (os error 2)", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_ends_the_whole_family() {
    let server = Server::new();
    let fifo = Fifo::new();
    // The shell obeys SIGTERM, its children do not.
    let script = "exec 9>$FIFO; (trap '' TERM; sleep 1000; sleep 1000) & echo here >&9; wait";
    let processes = fifo.processes();
    let job = v1::Lease { timeout_ms: 2000, ..lease(1, "x", "null") };
    let ended = one(&server, RunnerConfig::Command(fifo.sh(script)), job).await;
    let message = "the job ran longer than its time-out of 2s".to_owned();
    assert_eq!(ended, Ended::Fail { class: v1::FailureClass::Timeout, message, exit_code: None });
    assert_eq!(processes.gone().await, "here\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_deaf_to_sigterm_is_killed_after_its_grace() {
    let server = Server::new();
    let fifo = Fifo::new();
    let mut deaf = fifo.sh("trap '' TERM; exec 9>$FIFO; echo here >&9; while :; do sleep 1000; done");
    deaf.stop_grace = Duration::from_millis(50);
    deaf.timeout = Some(Duration::from_secs(2));
    let processes = fifo.processes();
    let ended = one(&server, RunnerConfig::Command(deaf), lease(1, "x", "null")).await;
    assert!(matches!(ended, Ended::Fail { class: v1::FailureClass::Timeout, .. }), "{ended:?}");
    processes.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_finished_command_leaves_behind_is_killed() {
    let server = Server::new();
    let fifo = Fifo::new();
    let processes = fifo.processes();
    let script = "exec 9>$FIFO; sleep 1000 & echo here >&9; echo 1";
    let ended = one(&server, RunnerConfig::Command(fifo.sh(script)), lease(1, "x", "null")).await;
    assert!(matches!(ended, Ended::Complete { .. }), "{ended:?}");
    assert_eq!(server.candidates(1), ["1"]);
    processes.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_without_end_fails_the_job() {
    let server = Server::new();
    let ended = one(&server, sh("tr '\\0' x </dev/zero"), lease(1, "x", "null")).await;
    assert_eq!(ended, error("line 1 of the output is longer than 65536 bytes", None));
    let mut endless = process(&["yes"]);
    endless.max_output_bytes = 100_000;
    let ended = one(&server, RunnerConfig::Command(endless), lease(2, "x", "null")).await;
    assert_eq!(ended, error("the command's output is longer than 100000 bytes in all", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_beyond_every_batch_fails_the_job() {
    let server = Server::new();
    server.with(|state| state.settings.batch_bytes = 100);
    let ended = one(&server, sh("printf '%200s\\n' x; exec sleep 1000"), lease(1, "x", "null")).await;
    assert_eq!(ended, error("a candidate of 200 bytes is larger than a whole batch may be (100 bytes)", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_never_blocks_a_job() {
    let server = Server::new();
    let ended = one(&server, sh("head -c 50000000 /dev/zero | tr '\\0' x >&2; echo 1"), lease(1, "x", "null")).await;
    assert!(matches!(ended, Ended::Complete { .. }), "{ended:?}");
    assert_eq!(server.candidates(1), ["1"]);
}

/// Serves: squares of what the payload lists. Tells its process number, so that tests see which process served.
const SQUARES: &str = r#"
import json, os, sys
print('{"ready":true}')
for line in sys.stdin:
    job = json.loads(line)
    print("job", job["job"], file=sys.stderr)
    payload = job["payload"]
    if payload == "die":
        sys.exit("giving up")
    if payload == "hang":
        while True: sys.stdin.read(1) or __import__("time").sleep(1)
    if payload == "babble":
        print("hello")
        continue
    if payload == "fail" or payload == "never":
        print(json.dumps({"error": "cannot do " + payload, "class": "permanent" if payload == "never" else "error"}))
        continue
    for i, x in enumerate(payload):
        print(json.dumps({"candidate": {"x": x, "xx": x * x, "pid": os.getpid()}}))
        print(json.dumps({"progress": (i + 1) / len(payload), "note": "at %d" % x}))
    print(json.dumps({"log": "queue " + job["queue"] + " attempt %d" % job["attempt"]}))
    print('{"done":true}')
"#;

fn pid_of(server: &Server, lease: u64) -> i64 {
    let candidate: serde_json::Value = serde_json::from_str(&server.candidates(lease)[0]).unwrap();
    candidate["pid"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_process_does_job_after_job() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("sq", python_serve(SQUARES))]));
    for number in 1..=3 {
        server.offer(lease(number, "sq", "[2,3]"));
        assert!(matches!(server.end_of(number).await, Ended::Complete { .. }));
        assert_eq!(server.candidates(number).len(), 2);
    }
    assert_eq!(pid_of(&server, 1), pid_of(&server, 3), "one process serves them all");
    server.with(|state| assert!(state.logs[&2].contains("queue q attempt 1\n"), "{:?}", state.logs));
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_process_may_fail_a_job_and_lives_on() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("sq", python_serve(SQUARES))]));
    for (number, payload) in [(1, "[1]"), (2, "\"fail\""), (3, "\"never\""), (4, "[1]")] {
        server.offer(lease(number, "sq", payload));
        server.end_of(number).await;
    }
    assert_eq!(server.end_of(2).await, error("cannot do fail", None));
    let never = Ended::Fail { class: v1::FailureClass::Permanent, message: "cannot do never".into(), exit_code: None };
    assert_eq!(server.end_of(3).await, never);
    assert_eq!(pid_of(&server, 1), pid_of(&server, 4));
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_process_that_dies_or_babbles_is_replaced() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("sq", python_serve(SQUARES))]));
    for (number, payload) in [(1, "[1]"), (2, "\"die\""), (3, "[1]"), (4, "\"babble\""), (5, "[1]")] {
        server.offer(lease(number, "sq", payload));
        server.end_of(number).await;
    }
    let Ended::Fail { message, .. } = server.end_of(2).await else { panic!("it died") };
    let start = "the runner process exited with code 1 in the middle of the job; the end of its standard error:\n";
    assert!(message.starts_with(start) && message.ends_with("giving up"), "{message}");
    let Ended::Fail { message, .. } = server.end_of(4).await else { panic!("it babbled") };
    assert!(message.starts_with("the runner wrote a line that is not of the protocol: "), "{message}");
    let pids = [1, 3, 5].map(|number| pid_of(&server, number));
    assert!(pids[0] != pids[1] && pids[1] != pids[2], "{pids:?}");
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_process_that_hangs_is_replaced() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("sq", python_serve(SQUARES))]));
    server.offer(v1::Lease { timeout_ms: 2_000, ..lease(1, "sq", "\"hang\"") });
    let Ended::Fail { class, .. } = server.end_of(1).await else { panic!("it hung") };
    assert_eq!(class, v1::FailureClass::Timeout);
    server.offer(lease(2, "sq", "[1]"));
    assert!(matches!(server.end_of(2).await, Ended::Complete { .. }));
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_process_that_does_not_start_is_told() {
    let server = Server::new();
    let serve = |argv: &[&str], ms| {
        RunnerConfig::Serve(ServeConfig { process: process(argv), start_timeout: Duration::from_millis(ms) })
    };
    let ended = one(&server, serve(&["sh", "-c", "echo oops >&2; exit 7"], 10_000), lease(1, "x", "null")).await;
    let message = "the runner process exited with code 7 before it was ready; the end of its standard error:\noops";
    assert_eq!(ended, error(message, None));
    let ended = one(&server, serve(&["sleep", "1000"], 50), lease(2, "x", "null")).await;
    let message = "the runner was not ready within its start time-out of 50ms; it wrote nothing to standard error";
    assert_eq!(ended, error(message, None));
    let ended = one(&server, serve(&["sh", "-c", "echo hi; exec sleep 1000"], 10_000), lease(3, "x", "null")).await;
    let Ended::Fail { message, .. } = ended else { panic!("it said hi") };
    assert!(message.starts_with("the runner's first line must be {\"ready\":true}: "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_processes_are_gone_with_the_worker() {
    let server = Server::new();
    let fifo = Fifo::new();
    let mut serving = process(&["python3", "-u", "-c", SQUARES]);
    // The pipe stays open for as long as the process lives.
    serving.argv = ["sh", "-c", "exec 9>$FIFO; exec python3 -u -c \"$0\"", SQUARES].map(str::to_owned).to_vec();
    serving.env.insert("FIFO".into(), fifo.path().to_str().unwrap().to_owned());
    let processes = fifo.processes();
    let runner = RunnerConfig::Serve(ServeConfig { process: serving, start_timeout: Duration::from_secs(20) });
    let ended = one(&server, runner, lease(1, "x", "[1]")).await;
    assert!(matches!(ended, Ended::Complete { .. }), "{ended:?}");
    processes.gone().await;
}
