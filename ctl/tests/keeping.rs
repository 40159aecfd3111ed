//! Backup, restore and repair as people run them, on data directories made here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use orch_core::id::QueueName;
use orch_core::queue::QueueSpec;
use orch_core::record::Event;
use orch_core::time::Timestamp;
use orch_ledger::{Ledger, OpenError, OpenOptions};
use serde_json::Value;
use tempfile::TempDir;

fn orchctl(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchctl"));
    for name in ["ORCH_SERVER", "ORCH_OUTPUT", "ORCH_COLOR", "ORCH_CALL_TIMEOUT", "ORCH_CTL_CONFIG", "NO_COLOR"] {
        command.env_remove(name);
    }
    let command = command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME").env("USER", "olga");
    command.args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn ok(args: &[&str]) -> String {
    let output = orchctl(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(&[args, &["-o", "json"]].concat())).unwrap()
}

/// What was refused: the exit code and all that was said.
#[track_caller]
fn refused(args: &[&str]) -> (i32, String) {
    let output = orchctl(args);
    let code = output.status.code().unwrap();
    assert_ne!(code, 0, "{args:?}: {}", text(&output.stdout));
    (code, format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// A data directory with two boots, whose second ended without a word.
struct Data {
    folder: TempDir,
}

impl Data {
    fn new() -> Self {
        let data = Self { folder: tempfile::tempdir().unwrap() };
        data.go_on("one", 8);
        data.go_on("two", 8);
        data
    }

    fn go_on(&self, name: &str, batches: u32) {
        let now = Timestamp(1_795_248_000_000);
        let mut ledger = self.open();
        for n in 0..batches {
            let queue = QueueName::new(&format!("{name}-{n}")).unwrap();
            let spec: QueueSpec = serde_json::from_value(serde_json::json!({ "queue": queue })).unwrap();
            ledger.stage(now, &Event::QueueDefined(Box::new(spec))).unwrap();
            ledger.commit().unwrap();
        }
        ledger.close().unwrap();
    }

    /// Another test of this process may just be starting a program, which for a moment has a copy of every lock.
    fn open(&self) -> Ledger {
        let now = Timestamp(1_795_248_000_000);
        let options = OpenOptions { allow_any_filesystem: true, ..OpenOptions::new(now, "0.1.0", "host-1", 7) };
        loop {
            match Ledger::open(&self.dir(), options.clone(), &mut |_, _| Ok(())) {
                Ok(opened) => return opened.ledger,
                Err(OpenError::Locked { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Damages the ledger's last segment in the middle.
    fn damage(&self) {
        let last = segments(&self.dir()).pop().unwrap();
        let mut bytes = std::fs::read(&last).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(last, bytes).unwrap();
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir.join("ledger")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Every file of a directory with its bytes.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(tree(&path)),
            false => files.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}

#[test]
fn a_ledger_is_backed_up_extended_and_restored() {
    let data = Data::new();
    let (dir, backup) = (data.at("data"), data.at("backup"));
    let first = json(&["backup", &dir, "--to", &backup]);
    let head = json(&["ledger", "head", &dir]);
    assert_eq!((&first["seq"], &first["chain"]), (&head["seq"], &head["chain"]));
    assert_eq!((&first["added"], &first["segments"]), (&first["seq"], &Value::from(2)));
    data.go_on("three", 3);
    let second = json(&["backup", &dir, "--to", &backup]);
    assert_eq!((second["added"].as_u64(), second["segments"].as_u64()), (Some(5), Some(3)));
    assert!(ok(&["backup", &dir, "--to", &backup]).contains(" 0 records in "));
    assert!(ok(&["ledger", "verify", &backup]).contains("whole"));

    let chain = second["chain"].as_str().unwrap();
    let shown = ok(&["restore", &backup, "--to", &data.at("restored"), "--expect-chain", chain]);
    assert!(shown.contains("everything that was acknowledged after seq"), "{shown}");
    assert!(shown.contains(&format!("orchestrator --data {}", data.at("restored"))), "{shown}");
    for (copy, original) in segments(Path::new(&data.at("restored"))).iter().zip(segments(&data.dir())) {
        assert_eq!(copy.file_name(), original.file_name());
        assert!(std::fs::read(copy).unwrap() == std::fs::read(original).unwrap());
    }

    let (code, said) = refused(&["restore", &backup, "--to", &data.at("restored")]);
    assert!(code == 1 && said.contains("is not empty") && said.contains("fix: move what is there away"), "{said}");
    let stale = first["chain"].as_str().unwrap();
    let (code, said) = refused(&["restore", &backup, "--to", &data.at("other"), "--expect-chain", stale]);
    assert!(code == 1 && said.contains(&format!("expected {stale}")), "{said}");
    assert!(!Path::new(&data.at("other")).exists());
    let (code, said) = refused(&["backup", &dir, "--to", &dir]);
    assert!(code == 2 && said.contains("cannot be its own backup"), "{said}");
    let other = Data::new();
    let (code, said) = refused(&["backup", &other.at("data"), "--to", &backup]);
    assert!(code == 1 && said.contains("is a backup of ledger"), "{said}");
    assert_eq!(refused(&["restore", &data.at("nothing"), "--to", &data.at("x")]).0, 3);
    assert_eq!(refused(&["backup", &data.at("nothing"), "--to", &data.at("x")]).0, 3);
    let (_, said) = refused(&["ledger", "repair", &backup, "--to", &data.at("x"), "--accept-loss"]);
    assert!(said.contains("there is nothing to repair"), "{said}");
}

#[test]
fn a_damaged_ledger_is_repaired_only_at_an_accepted_price() {
    let data = Data::new();
    data.damage();
    let (dir, repaired) = (data.at("data"), data.at("repaired"));
    let before = tree(&data.dir());
    assert!(refused(&["ledger", "verify", &dir]).1.contains("orchctl ledger repair"));
    let plan = json(&["ledger", "repair", &dir, "--dry-run"]);
    let kept = plan["kept"]["seq"].as_u64().unwrap();
    assert!(kept > 10 && kept < 20, "{plan}");
    assert_eq!(plan["lost"]["acknowledged_records"].as_u64(), Some(20 - kept));
    assert_eq!((&plan["to"], &plan["repaired"]), (&Value::Null, &Value::Null));

    let (code, said) = refused(&["ledger", "repair", &dir, "--to", &repaired]);
    assert!(code == 1 && said.contains("--accept-loss") && said.contains("HEAD names as durable"), "{said}");
    assert!(!Path::new(&repaired).exists(), "nothing is written");
    assert_eq!(refused(&["ledger", "repair", &dir]).0, 2, "--to or --dry-run");
    let inside = format!("{dir}/repaired");
    assert_eq!(refused(&["ledger", "repair", &dir, "--to", &inside, "--accept-loss"]).0, 2);

    let done = json(&["ledger", "repair", &dir, "--to", &repaired, "--accept-loss"]);
    assert_eq!(done["repaired"]["seq"].as_u64(), Some(kept + 2));
    assert_eq!(tree(&data.dir()), before, "the damaged directory is left as it is");
    let quarantined = done["quarantined"][0].as_str().unwrap();
    assert!(Path::new(&repaired).join(quarantined).exists());
    assert!(ok(&["ledger", "verify", &repaired]).contains("ledger_repaired 1"));
    let line = ok(&["ledger", "cat", &repaired, "--type", "ledger_repaired"]);
    let record: Value = serde_json::from_str(&line).unwrap();
    let event = &record["event"]["ledger_repaired"];
    assert_eq!((event["lost_from"].as_u64(), event["lost_to"].as_u64()), (Some(kept + 1), Some(20)));
    assert!(event["by"].as_str().unwrap().starts_with("olga on "), "{event}");
    assert!(ok(&["ledger", "cat", &repaired, "--type", "ledger_repaired", "-o", "table"]).contains("ledger_repaired"));
    // It takes records again.
    let again = Data { folder: tempfile::tempdir().unwrap() };
    std::fs::rename(&repaired, again.dir()).unwrap();
    again.go_on("after", 1);
    assert!(ok(&["ledger", "verify", &again.at("data")]).contains("whole"));
}

#[test]
fn a_ledger_in_use_is_backed_up_and_not_repaired() {
    let data = Data::new();
    let held = data.open();
    let (code, said) = refused(&["ledger", "repair", &data.at("data"), "--dry-run"]);
    assert!(code == 1 && said.contains("is in use"), "{said}");
    ok(&["backup", &data.at("data"), "--to", &data.at("backup")]);
    drop(held);
}
