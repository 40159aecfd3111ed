//! The binary as people run it: help, exit codes, offline commands, errors. No server is needed here; commands that
//! talk to one are driven end to end by the workspace's `tests` crate.

use std::path::Path;
use std::process::{Command, Output};

/// An `orchctl` that sees nothing of this machine's settings.
fn orchctl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchctl"));
    for name in ["ORCH_SERVER", "ORCH_OUTPUT", "ORCH_COLOR", "ORCH_CALL_TIMEOUT", "ORCH_CTL_CONFIG", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME").env("COLUMNS", "100").args(args);
    command
}

fn run(args: &[&str]) -> Output {
    orchctl(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A port of this machine where nothing listens.
fn free_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn help_teaches() {
    insta::assert_snapshot!("help", stdout(&run(&["--help"])));
    for path in [
        &["submit"][..],
        &["enqueue"],
        &["import"],
        &["run"],
        &["stats"],
        &["retry-failed"],
        &["job"],
        &["job", "list"],
        &["job", "wait"],
        &["job", "cancel"],
        &["job", "explain"],
        &["limit"],
        &["limit", "set"],
        &["token"],
        &["token", "create"],
        &["audit"],
        &["queue"],
        &["worker"],
        &["contract", "test"],
        &["ledger", "verify"],
        &["ledger", "cat"],
        &["ledger", "tail"],
        &["ledger", "repair"],
        &["backup"],
        &["restore"],
        &["import-legacy"],
        &["compact"],
        &["local", "run"],
        &["doctor"],
    ] {
        let mut args = path.to_vec();
        args.push("--help");
        let output = run(&args);
        assert_eq!(code(&output), 0, "{path:?}");
        let text = stdout(&output);
        // The global options are the same everywhere: once is enough.
        let text = text.split("Global options:").map(|part| part.trim_end()).collect::<Vec<_>>();
        let examples = text.last().and_then(|part| part.split_once("Examples:")).map_or("", |(_, text)| text);
        insta::assert_snapshot!(format!("help_{}", path.join("_")), format!("{}\n\nExamples:{examples}", text[0]));
    }
}

#[test]
fn a_bad_command_line_is_usage() {
    for args in [
        &["frobnicate"][..],
        &["stats", "--frobnicate"],
        &["job", "show", "seven"],
        &["job", "list", "--state", "asleep"],
        &["enqueue", "no spaces please"],
        &["contract", "show", "zeta@0"],
        &["run"],
        &["job", "cancel"],
        &["enqueue", "q", "--payload", "{a: 1}"],
        &["--server", "ftp://h:1", "stats"],
        &["--server", "localhost", "stats"],
        &["ledger", "cat", "--type", "job_done"],
        &[],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty() && !stderr(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn no_server_is_8_and_says_how_to_start_one() {
    let server = free_server();
    let dir = tempfile::tempdir().unwrap();
    let jobs = write(dir.path(), "jobs.jsonl", "{\"queue\":\"q\"}\n");
    let backup = dir.path().join("backup").to_str().unwrap().to_owned();
    for args in [
        &["stats"][..],
        &["run", "--drain"],
        &["job", "list"],
        &["enqueue", "q"],
        &["import", &jobs],
        &["ledger", "tail"],
        &["backup", "--to", &backup],
        &["compact", "--out", "-"],
    ] {
        let output = orchctl(args).args(["--server", &server]).output().unwrap();
        assert_eq!(code(&output), 8, "{args:?}: {}", stderr(&output));
        let text = stderr(&output);
        let listen = server.trim_start_matches("http://");
        assert!(text.starts_with(&format!("error: no orchestrator answers at {server}\n")), "{text}");
        assert!(text.contains(&format!("orchestrator --data DIR --listen {listen}")), "{text}");
    }
    let output = orchctl(&["doctor", "-o", "json"]).args(["--server", &server]).output().unwrap();
    assert_eq!(code(&output), 8);
    assert!(stdout(&output).contains("\"problem\""));
}

#[test]
fn a_dry_run_checks_files_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(
        dir.path(),
        "good.yaml",
        "queue: sums\nkind: sum\n---\njobs:\n  queue: sums\n  range: {from: 0, to: 100, step: 10, as: [a, b]}\n",
    );
    let output = run(&["submit", "-f", &good, "--dry-run", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let view: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "contracts": [], "queues": ["sums"], "jobs": 10, "limits": [], "schedules": [],
        "jobs_by_queue": {"sums": 10}
    });
    assert_eq!(view, expected);

    let bad = write(dir.path(), "bad.yaml", "queue: sums\ncolour: red\n---\njob: {queue: 7}\n");
    let output = run(&["submit", "-f", &bad, "--dry-run"]);
    assert_eq!(code(&output), 2);
    let text = stderr(&output);
    assert!(text.contains("bad.yaml") && text.contains("line 2") && text.contains("colour"), "{text}");
    assert!(text.contains("document 2"), "every fault is told: {text}");

    let missing = run(&["submit", "-f", "/nonexistent.yaml"]);
    assert_eq!(code(&missing), 2);
    assert!(stderr(&missing).contains("cannot open /nonexistent.yaml"), "{}", stderr(&missing));
}

#[test]
fn a_submit_reads_standard_input() {
    use std::io::Write as _;
    let mut command = orchctl(&["submit", "-f", "-", "--dry-run", "-o", "name"]);
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"queue: from-stdin\nkind: k\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "from-stdin\n"));
}

const CONTRACT: &str = "\
contract: points
version: 2
schema: {type: object, required: [x]}
tolerance:
  - {field: err, abs_lt: {payload: eps}}
identity:
  - {field: x, quantum: 1e-3}
complete:
  count: {payload: n}
";

#[test]
fn a_contract_is_tested_offline() {
    let dir = tempfile::tempdir().unwrap();
    let contract = write(dir.path(), "points.yaml", CONTRACT);
    let candidates = write(
        dir.path(),
        "found.jsonl",
        "{\"x\":1,\"err\":0}\n\n{\"x\":1.0004,\"err\":0}\n{\"x\":2,\"err\":0.5}\n{\"x\":NaN}\n{\"err\":0}\n{\"x\":3,\"err\":1e400}\n",
    );
    let payload = "{\"eps\":0.1,\"n\":1}";
    let output =
        run(&["contract", "test", &contract, "--candidates", &candidates, "--payload", payload, "-o", "jsonl"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let verdicts: Vec<(u64, String, Option<String>)> = stdout(&output)
        .lines()
        .map(|line| {
            let view: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| view[key].as_str().map(str::to_owned);
            (view["line"].as_u64().unwrap(), text("verdict").unwrap(), text("rule"))
        })
        .collect();
    let expected = [
        (1, "accepted", None),
        (3, "duplicate", None),
        (4, "rejected", Some("tolerance")),
        (5, "rejected", Some("json")),
        (6, "rejected", Some("schema")),
        (7, "rejected", Some("json")),
    ];
    let expected = expected.map(|(line, verdict, rule)| (line, verdict.to_owned(), rule.map(str::to_owned)));
    assert_eq!(verdicts, expected);

    let unbound = run(&["contract", "test", &contract, "--candidates", &candidates]);
    assert_eq!(code(&unbound), 1);
    assert!(stderr(&unbound).contains("--payload"), "{}", stderr(&unbound));

    let alone = run(&["contract", "test", &contract]);
    assert_eq!((code(&alone), stdout(&alone).as_str()), (0, "contract points@2 is well-formed\n"));
}

#[test]
fn a_place_without_ledger_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    for args in [
        &["ledger", "verify", place][..],
        &["ledger", "cat", place],
        &["ledger", "head", place],
        &["compact", place, "--out", "-"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 3, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(place), "{}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn settings_say_where_they_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "orchctl.yaml", "server: http://from-file:1\noutput: json\n");
    let mut show = orchctl(&["config", "show", "-o", "json"]);
    let output = show.env("ORCH_CTL_CONFIG", &file).env("ORCH_COLOR", "never").output().unwrap();
    let view: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let source = |name: &str| {
        let settings = view["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["setting"] == name).unwrap()["source"].as_str().unwrap().to_owned()
    };
    let sources = ["server", "output", "color", "quiet"].map(source);
    assert_eq!(sources, ["file", "flag", "environment", "default"]);

    let bad = write(dir.path(), "bad.yaml", "sever: x\n");
    let output = orchctl(&["config", "check"]).env("ORCH_CTL_CONFIG", &bad).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("bad.yaml") && stderr(&output).contains("sever"), "{}", stderr(&output));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completion", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(stdout(&output).contains("retry-failed"), "{shell}");
    }
}

#[test]
fn colour_only_when_asked_for() {
    let plain = run(&["config", "show"]);
    assert!(!stdout(&plain).contains('\u{1b}'));
    let colored = run(&["config", "show", "--color", "always"]);
    assert!(stdout(&colored).contains('\u{1b}'));
    let no_color = orchctl(&["config", "show"]).env("NO_COLOR", "1").output().unwrap();
    assert!(!stdout(&no_color).contains('\u{1b}'));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut command = orchctl(&["completion", "bash"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}
