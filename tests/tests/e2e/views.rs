//! Looking at the system: numbers, listings, the ledger live and at rest, data sets, the state, checks.

use serde_json::{Value, json};

use crate::support::manifests::{VALUES, job, queue};
use crate::support::{Cluster, Process, orchctl, records, run, until};

/// A cluster in which two jobs of two queues are done and one failed.
fn with_history() -> (Cluster, Vec<u64>) {
    let cluster = Cluster::start();
    let (one, two) =
        (cluster.file("one", "{\"v\":1}\n{\"v\":2.5}\n"), cluster.file("two", "{\"v\":2.5}\n{\"v\":-3}\nx\n"));
    let manifest = VALUES.to_owned()
        + &queue("a", "emit", "")
        + &queue("b", "emit", "")
        + &queue("c", "flag", "")
        + &job("a", &one, "name: first")
        + &job("b", &two, "depends_on: [first]")
        + &job("c", &cluster.path("missing"), "");
    let jobs = cluster.submit(&manifest);
    let worker = cluster.worker("w", 1);
    cluster.ctl(&["run", "--drain", "--timeout", "100s"]).ended(4);
    drop(worker);
    cluster.settle();
    (cluster, jobs)
}

#[test]
fn the_numbers_have_the_names_that_scripts_rely_on() {
    let (mut cluster, _) = with_history();
    let stats = cluster.stats();
    let jobs = json!({"blocked": 0, "ready": 0, "delayed": 0, "leased": 0, "done": 2, "failed": 1, "cancelled": 0});
    assert_eq!(stats["jobs"], jobs);
    assert_eq!(stats["candidates"], json!({"accepted": 3, "duplicate": 1, "rejected": 1}));
    for count in ["live", "stale"] {
        assert!(stats["workers"][count].is_u64(), "{stats}");
    }
    assert_eq!(stats["attempts"]["leases_granted"], 3);
    assert_eq!(stats["attempts"]["failures"], 1);
    assert!(stats["oldest_ready_age_ms"].is_null(), "{stats}");
    // The head that is told is the head that anybody finds in the files.
    let last: Value = serde_json::from_str(records::lines(&cluster.data()).last().unwrap()).unwrap();
    for field in ["seq", "batch", "chain"] {
        assert_eq!(stats["ledger"][field], last[field], "{field}");
    }
    let head = orchctl(["ledger", "head", cluster.data().to_str().unwrap(), "-o", "json"]).ok().json();
    for field in ["seq", "batch", "chain"] {
        assert_eq!(head[field], last[field], "{field}");
    }
    // A job that waits makes an age.
    cluster.ctl(&["enqueue", "a", "--payload", "{}"]).ok();
    assert!(cluster.stats()["oldest_ready_age_ms"].is_u64());

    // The same numbers after a restart, as far as they are facts and not connections.
    let looks = cluster.ctl(&["top", "--count", "2", "--interval", "100ms", "-o", "json"]).ok().jsonl();
    assert_eq!((looks.len(), looks[0]["rates"].is_null()), (2, true));
    assert!(looks[1]["rates"]["accepted_per_s"].is_number() && looks[1]["workers"].is_array(), "{}", looks[1]);
    let before = cluster.stats();
    cluster.kill9();
    cluster.restart();
    let after = cluster.stats();
    for part in ["jobs", "candidates", "attempts"] {
        assert_eq!(before[part], after[part], "{part}");
    }
}

#[test]
fn the_ledger_is_printed_byte_for_byte_and_filtered() {
    let (cluster, jobs) = with_history();
    let data = cluster.data();
    let data = data.to_str().unwrap();
    let all = records::lines(&cluster.data()).join("\n") + "\n";
    assert_eq!(orchctl(["ledger", "cat", data]).ok().out, all);
    assert_eq!(cluster.ctl(&["ledger", "cat"]).ok().out, all);
    let id = jobs[0].to_string();
    let filters: [&[&str]; 6] = [
        &["--job", &id],
        &["--queue", "b"],
        &["--type", "candidate_accepted"],
        &["--type", "lease_granted", "--type", "job_completed", "--queue", "a"],
        &["--from", "5", "--until", "9"],
        &["--job", &id, "--type", "job_completed", "--from", "3"],
    ];
    let mut sizes = Vec::new();
    for filter in filters {
        let offline = orchctl([&["ledger", "cat", data], filter].concat()).ok();
        let online = cluster.ctl(&[&["ledger", "cat"], filter].concat()).ok();
        assert_eq!(offline.out, online.out, "{filter:?}");
        sizes.push(offline.out.lines().count());
        for line in offline.jsonl() {
            assert!(all.contains(&format!("\"seq\":{},", line["seq"])));
        }
    }
    // Of the first job: submitted, granted, judged, two accepted, completed.
    assert_eq!((sizes[0], sizes[2], sizes[3], sizes[4], sizes[5]), (6, 3, 2, 5, 1), "{sizes:?}");
    orchctl(["ledger", "cat", data, "--type", "job_done"]).ended(2).says("no event has the type \"job_done\"");
    orchctl(["ledger", "cat", "/nonexistent"]).ended(3).says("/nonexistent");
    let verified = orchctl(["ledger", "verify", data, "-o", "json"]).ok().json();
    assert_eq!((&verified["whole"], &verified["records"]), (&json!(true), &json!(all.lines().count())), "{verified}");
    assert_eq!(verified["events"]["candidate_accepted"], 3);
}

#[test]
fn the_tail_shows_records_as_they_become_durable_and_rides_out_a_restart() {
    let mut cluster = Cluster::start();
    let good = cluster.file("good", "{\"v\":1}\n");
    cluster.submit(&(VALUES.to_owned() + &queue("q", "emit", "")));
    let args = ["ledger", "tail", "-f", "-n", "1", "--type", "queue_defined", "--type", "candidate_accepted"];
    let mut tail = Process::start(cluster.ctl_command(&args));
    tail.until("the queue", |tail| tail.out().contains("queue_defined").then_some(()));
    let mut everything = Process::start(cluster.ctl_command(&["ledger", "tail", "-f", "-n", "3", "-o", "table"]));
    everything.until("the newest records", |tail| tail.out().contains("queue_defined").then_some(()));
    let _worker = cluster.worker("w", 1);
    cluster.submit(&job("q", &good, ""));
    tail.until("the candidate", |tail| tail.out().contains("candidate_accepted").then_some(()));
    everything.until("the end of the job", |tail| tail.out().contains("job_completed").then_some(()));
    cluster.kill9();
    cluster.restart();
    let more = cluster.file("more", "{\"v\":2}\n");
    cluster.submit(&job("q", &more, ""));
    tail.until("the second candidate", |tail| (tail.out().matches("candidate_accepted").count() == 2).then_some(()));
    // Nothing twice and nothing left out: what was printed is what the ledger has.
    let expected: Vec<String> = records::lines(&cluster.data())
        .into_iter()
        .filter(|line| line.contains("{\"queue_defined\"") || line.contains("{\"candidate_accepted\""))
        .collect();
    assert_eq!(tail.out().lines().collect::<Vec<_>>(), expected);
    tail.signal(rustix::process::Signal::INT);
    assert_eq!(tail.wait().code, 130);
}

#[test]
fn the_data_set_is_the_same_from_the_files_and_over_the_wire() {
    let (cluster, jobs) = with_history();
    let data = cluster.data();
    let data = data.to_str().unwrap();
    let paths: Vec<String> = ["binary", "offline", "remote", "early"].map(|name| cluster.path(name)).to_vec();
    for more in [&[][..], &["--provenance"], &["--contract", "values@1"]] {
        let mut compactor = crate::support::process::command("compactor");
        compactor.args([data, &paths[0], "--quiet"]).args(more);
        run(compactor).ok();
        orchctl([&["compact", data, "--out", &paths[1]], more].concat()).ok();
        cluster.ctl(&[&["compact", "--out", &paths[2]], more].concat()).ok();
        let bytes: Vec<Vec<u8>> = paths[..3].iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert!(bytes[0] == bytes[1] && bytes[1] == bytes[2], "{more:?}");
        let lines: Vec<Value> = bytes[0]
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        let values: Vec<f64> = lines.iter().map(|line| line["v"].as_f64().unwrap()).collect();
        assert_eq!(values, [-3.0, 1.0, 2.5]);
        if more == ["--provenance"] {
            let found_by: Vec<u64> = lines.iter().map(|line| line["_orch"]["job"].as_u64().unwrap()).collect();
            assert_eq!(found_by, [jobs[1], jobs[0], jobs[0]]);
            assert!(lines.iter().all(|line| line["_orch"]["worker"] == "w" && line["_orch"]["attempt"] == 1));
        }
    }
    // As it was at a record.
    let first = records::records(&cluster.data()).iter().find(|(_, name, _)| name == "candidate_accepted").unwrap().0;
    cluster.ctl(&["compact", "--out", &paths[3], "--until", &first.to_string()]).ok();
    assert_eq!(std::fs::read_to_string(&paths[3]).unwrap(), "{\"v\":1}\n");
    cluster.ctl(&["compact", "--out", "-", "--quiet"]).ok().prints("{\"v\":-3}\n{\"v\":1}\n{\"v\":2.5}\n");
}

#[test]
fn the_state_is_exported_whole() {
    let (cluster, jobs) = with_history();
    let open = cluster.submit(&job("a", "/nowhere", "name: open"));
    let file = cluster.path("state.json");
    cluster.ctl(&["state", "export", &file]).ok();
    let state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(cluster.ctl(&["state", "export"]).ok().json(), state);
    assert_eq!(state["accepted_identities"], 3);
    assert_eq!(state["contracts"][0]["contract"], "values@1");
    assert_eq!(
        (&state["jobs"]["done"], &state["jobs"]["failed"], &state["jobs"]["ready"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let ids: Vec<u64> = state["open_jobs"].as_array().unwrap().iter().map(|job| job["job"].as_u64().unwrap()).collect();
    // A failed job may be retried: it is not over.
    assert_eq!(ids, [jobs[2], open[0]]);
    assert_eq!(state["queues"].as_array().unwrap().len(), 3);
}

#[test]
fn lists_and_details_agree() {
    let (cluster, jobs) = with_history();
    let listed = cluster.ctl(&["job", "list", "-o", "json"]).ok().json();
    let listed = listed["jobs"].as_array().unwrap();
    assert_eq!(listed.len(), jobs.len());
    for (id, line) in jobs.iter().zip(listed) {
        let job = cluster.job(*id);
        for (field, value) in line.as_object().unwrap() {
            assert_eq!(&job[field], value, "{field} of job {id}");
        }
        // Its history is its records in the ledger, candidates left out.
        let seqs: Vec<u64> =
            job["history"].as_array().unwrap().iter().map(|line| line["seq"].as_u64().unwrap()).collect();
        let cat = cluster.ctl(&["ledger", "cat", "--job", &id.to_string()]).ok();
        let expected = cat.jsonl().into_iter().filter(|line| line["event"].get("candidate_accepted").is_none());
        assert_eq!(seqs, expected.map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>());
    }
    let by_name = cluster.ctl(&["job", "list", "--name", "first", "-o", "name"]).ok().out;
    assert_eq!(by_name, format!("{}\n", jobs[0]));
    let pages = [&["--limit", "2"][..], &["--limit", "2", "--after", &jobs[1].to_string()]]
        .map(|page| cluster.ctl(&[&["job", "list", "-o", "name"], page].concat()).ok().out);
    assert_eq!(pages.concat(), jobs.iter().map(|id| format!("{id}\n")).collect::<String>());
    for format in ["table", "json", "jsonl", "yaml", "name"] {
        for list in [&["job", "list"][..], &["queue", "list"], &["worker", "list"], &["contract", "list"], &["stats"]] {
            cluster.ctl(&[list, &["-o", format]].concat()).ok();
        }
    }
    let contract = cluster.ctl(&["contract", "show", "values", "-o", "json"]).ok().json();
    assert_eq!((&contract["contract"], &contract["accepted"]), (&json!("values@1"), &json!(3)), "{contract}");
    cluster.ctl(&["contract", "show", "none"]).ended(3).says("contract none is not registered");
    cluster.ctl(&["worker", "show", "none"]).ended(3).says("none");
}

#[test]
fn workers_are_seen_while_they_work_and_forgotten_when_they_are_gone() {
    let cluster = Cluster::with(crate::support::Options {
        args: vec!["--stale-after=2s".into()],
        ..crate::support::Options::default()
    });
    let gate = cluster.path("gate");
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("q", "gate", "") + &job("q", &gate, "")));
    let worker = cluster.worker("w", 3);
    cluster.until_job(jobs[0], "leased");
    let shown = cluster.ctl(&["worker", "show", "w", "-o", "json"]).ok().json();
    assert_eq!((&shown["status"], &shown["slots"]), (&json!("live"), &json!(3)), "{shown}");
    assert_eq!(shown["leases"][0]["job"], jobs[0]);
    assert!(shown["hardware"]["cpus"].as_u64() > Some(0) && shown["kinds"].as_array().unwrap().len() == 6, "{shown}");
    // The log is there while the job runs, and following it ends with the job.
    let following = Process::start(cluster.ctl_command(&["job", "logs", "-f", &jobs[0].to_string()]));
    until("the log", || following.out().contains("attempt 1 waits").then_some(()));
    std::fs::write(&gate, "{\"v\":1}\n").unwrap();
    assert_eq!(following.wait().ok().out, "attempt 1 waits\n");
    cluster.until_job(jobs[0], "done");

    worker.process.signal(rustix::process::Signal::KILL);
    until("the worker to be stale", || (cluster.stats()["workers"]["stale"] == 1).then_some(()));
    cluster.ctl(&["worker", "list"]).ok().prints("stale");
    cluster.ctl(&["worker", "cleanup"]).ok().prints("w");
    assert_eq!(cluster.ctl(&["worker", "list", "-o", "name"]).ok().out, "");
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let (cluster, _) = with_history();
    let healthy = cluster.ctl(&["doctor", "-o", "json"]).ok().json();
    let checks = healthy["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["status"] != "problem"), "{healthy:#}");
    cluster.ctl(&["doctor"]).ok().prints("c has 1 failed jobs").prints("orchctl retry-failed --queue c");
    cluster.ctl(&["enqueue", "a"]).ok();
    cluster.ctl(&["queue", "pause", "a", "--reason", "lunch"]).ok();
    cluster
        .ctl(&["doctor"])
        .ended(1)
        .prints("none is live, and 1 jobs are open")
        .prints("a is paused with 1 open jobs: lunch");
}

#[test]
fn completions_and_settings_need_no_server() {
    for shell in ["bash", "zsh", "fish"] {
        let script = orchctl(["completion", shell]).ok().out;
        for word in ["retry-failed", "import-legacy", "orchctl"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let mut shown = crate::support::process::command("orchctl");
    shown.args(["--quiet", "config", "show", "-o", "json"]).env("ORCH_SERVER", "http://127.0.0.1:1");
    let shown = run(shown).ok().json();
    let settings = shown["settings"].as_array().unwrap();
    let server = settings.iter().find(|setting| setting["setting"] == "server").unwrap();
    assert_eq!((&server["value"], &server["source"]), (&json!("http://127.0.0.1:1"), &json!("environment")));
    orchctl(["config", "check"]).ok();
    orchctl(["--server", "ftp://x", "config", "check"]).ended(2).says("ftp://x");
    orchctl(["no-such-command"]).ended(2);
}
