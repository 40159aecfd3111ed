//! The command as its users meet it: what it prints, how it ends, what it leaves.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use support::{Book, zeros};

fn small(data: &Path) -> PathBuf {
    let mut book = Book::new(data);
    let contract = book.contract(zeros("zeros", 1));
    book.deliver(&contract, "w1", &[3.0, 1.0]);
    book.deliver(&contract, "w2", &[2.0, 3.0]);
    book.close()
}

fn compactor(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("compactor").unwrap();
    command.args(args).env_remove("ORCH_COMPACTOR_MEMORY").env_remove("ORCH_COMPACTOR_TMP").output().unwrap()
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const CLEAN: &str =
    "{\"method\":\"secant\",\"t\":1}\n{\"method\":\"secant\",\"t\":2}\n{\"method\":\"secant\",\"t\":3}\n";

#[test]
fn a_ledger_goes_in_and_a_clean_file_comes_out() {
    let dir = tempfile::tempdir().unwrap();
    let data = small(&dir.path().join("data"));
    let out = dir.path().join("merged_clean.jsonl");
    let (data, path) = (data.to_str().unwrap(), out.to_str().unwrap());
    let (code, stdout, stderr) = texts(&compactor(&[data, path]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(&out).unwrap(), CLEAN);
    assert!(stdout.contains("candidates  3 accepted, 1 duplicate, 0 rejected\n"), "{stdout}");
    assert!(stdout.contains("contract    zeros@1: 3 written\n"), "{stdout}");

    let (code, stdout, _) = texts(&compactor(&[data, path, "-o", "json"]));
    let counts: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &counts["written"], &counts["out"]), (Some(0), &Value::from(3), &Value::from(path)));

    let (code, stdout, stderr) = texts(&compactor(&[data, path, "-q"]));
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn standard_output_holds_the_data_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let data = small(dir.path());
    let (code, stdout, stderr) = texts(&compactor(&[data.to_str().unwrap(), "-", "--memory", "4MiB"]));
    assert_eq!((code, stdout.as_str()), (Some(0), CLEAN));
    assert!(stderr.contains("3 candidates") && stderr.contains("to standard output"), "{stderr}");
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::with_segments(dir.path(), 1 << 20);
    let contract = book.contract(zeros("zeros", 1));
    book.deliver(&contract, "w", &(0..8000).map(f64::from).collect::<Vec<_>>());
    let data = book.close();
    let program = assert_cmd::cargo::cargo_bin("compactor");
    let mut child = std::process::Command::new(program)
        .args([data.to_str().unwrap(), "-"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody reads: more than a pipe holds is on its way.
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn failures_say_where_and_what_to_do_and_end_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let data = small(&dir.path().join("data"));
    let out = dir.path().join("out.jsonl");
    fs::write(&out, "older\n").unwrap();
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let fails = |args: &[&str]| {
        let (code, stdout, stderr) = texts(&compactor(args));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert_eq!(fs::read_to_string(out).unwrap(), "older\n");
        stderr
    };
    let missing = format!("{data}/nothing");
    assert_eq!(fails(&[&missing, out]), format!("error: {missing} is not a ledger: there is no such directory\n"));
    let contract = fails(&[data, out, "--contract", "other@3"]);
    assert_eq!(contract, "error: contract other@3 is not in the ledger, which has zeros@1\n");
    let until = fails(&[data, out, "--until", "100000"]);
    assert!(until.ends_with("records until 100000 were asked for\n"), "{until}");
    let tmp = fails(&[data, out, "--format", "parquet", "--tmp", "/no/such/dir"]);
    assert!(tmp.contains("failed to use a temporary file in /no/such/dir: No such file"), "{tmp}");

    let segment = fs::read_dir(format!("{data}/ledger")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[700] ^= 1;
    fs::write(&segment, bytes).unwrap();
    for format in ["jsonl", "parquet"] {
        let damaged = fails(&[data, out, "--format", format]);
        assert!(damaged.starts_with("error: the ledger is damaged: ledger/"), "{damaged}");
        assert!(damaged.ends_with(&format!("; run next: orchctl ledger verify {data}\n")), "{damaged}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn wrong_usage_ends_with_2_and_shows_the_right_one() {
    let wrong = |args: &[&str], says: &str| {
        let (code, stdout, stderr) = texts(&compactor(args));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    };
    wrong(&["data"], "<OUT>");
    wrong(
        &["data", "out", "--memory", "lots"],
        "\"lots\" is not a size: write a whole number and a unit, for example 256MiB",
    );
    wrong(&["data", "out", "--memory", "1KiB"], "1KiB is too little to sort with: give at least 4.00 MiB");
    wrong(&["data", "out", "--contract", "zeros"], "has no version: write name@version, for example zeros@1");
    wrong(&["data", "out", "--until", "0"], "\"0\" is not the seq of a record: write a whole number from 1");
    wrong(&["data", "-", "--format", "parquet"], "a Parquet file cannot go to standard output: name a file");
}

#[test]
fn help_teaches_with_examples() {
    let (code, stdout, _) = texts(&compactor(&["--help"]));
    assert_eq!(code, Some(0));
    for expected in ["compactor data merged_clean.jsonl", "--provenance", "Exit codes:", "[default: 256MiB]"] {
        assert!(stdout.contains(expected), "{expected}: {stdout}");
    }
}

/// Killed while the new output has no name yet: the older one is as it was, and nothing lies beside it.
#[cfg(target_os = "linux")]
#[test]
fn a_kill_leaves_the_older_output_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::with_segments(&dir.path().join("data"), 1 << 20);
    let contract = book.contract(zeros("zeros", 1));
    for n in 0..4 {
        book.deliver(&contract, "w", &(n * 5000..(n + 1) * 5000).map(f64::from).collect::<Vec<_>>());
    }
    let data = book.close();
    let outs = dir.path().join("outs");
    fs::create_dir(&outs).unwrap();
    let out = outs.join("out.jsonl");
    for format in ["jsonl", "parquet"] {
        fs::write(&out, "older\n").unwrap();
        let program = assert_cmd::cargo::cargo_bin("compactor");
        let mut command = std::process::Command::new(program);
        command.arg(&data).arg(&out).args(["--format", format, "-q"]);
        let mut child = command.spawn().unwrap();
        // Until it has begun the output.
        let fds = format!("/proc/{}/fd", child.id());
        let draft = || {
            let targets = fs::read_dir(&fds).into_iter().flatten().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
            targets.into_iter().find(|target| target.starts_with(&outs))
        };
        let draft = loop {
            let (ended, draft) = (child.try_wait().unwrap().is_some(), draft());
            if ended || draft.is_some() {
                break draft;
            }
            std::thread::yield_now();
        };
        child.kill().unwrap();
        let done = child.wait().unwrap().success();
        let is_older = fs::read_to_string(&out).is_ok_and(|text| text == "older\n");
        assert!(is_older || done || fs::metadata(&out).unwrap().len() > 10_000, "{format}: cut short");
        assert!(!(is_older && done), "{format}: done, but not written");
        // Where the file system knows no files without a name, a kill leaves one with another name.
        if draft.is_some_and(|draft| !draft.to_string_lossy().ends_with(" (deleted)")) {
            continue;
        }
        assert_eq!(fs::read_dir(&outs).unwrap().count(), 1);
    }
}
