//! What bad input gets: an error that names the place and the fix; nothing accepted, nothing lost, no panic. (That no
//! process of ours ever panics is checked at the end of each one, in every test.)

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::manifests::{VALUES, job, queue};
use crate::support::process::command;
use crate::support::{Cluster, orchctl, project, records, run};

#[test]
fn a_manifest_with_faults_is_refused_as_a_whole_with_every_place() {
    let cluster = Cluster::start();
    let known = "---\nqueue: q\nkind: emit\n";
    cluster.submit(known);
    let seq = cluster.stats()["ledger"]["seq"].clone();
    let bomb: String = (1..40)
        .fold("a0: &a0 [x, x]\n".to_owned(), |text, i| format!("{text}a{i}: &a{i} [*a{}, *a{}]\n", i - 1, i - 1));
    // A manifest, the exit code, and what must be said of it.
    let contract = "contract: c\nversion: 1\n";
    let table: Vec<(String, i32, Vec<&str>)> = vec![
        ("job: {queue: q\n".into(), 2, vec!["is not a manifest", "line 1, column 6: unclosed bracket '{'"]),
        ("\tjob: 1".into(), 2, vec!["line 1"]),
        (bomb, 2, vec!["is not a manifest"]),
        (format!("job: {}", "[".repeat(10_000)), 2, vec!["is not a manifest"]),
        ("job: {queue: q, payload: .nan}".into(), 2, vec!["line 1, column 26", "not a finite number"]),
        ("job: {queue: q, payload: 1e400}".into(), 2, vec!["line 1, column 26", "not a finite number"]),
        ("queue: q\nqueue: r\n".into(), 2, vec!["line 2, column 1", "duplicate mapping key"]),
        ("job: {queue: q, prioritty: 3}".into(), 2, vec!["job.prioritty: is not a field: did you mean priority?"]),
        ("job: {queue: q, priority: high}".into(), 2, vec!["job.priority: invalid type: string \"high\""]),
        (
            "jobs: {queue: q, range: {from: 3, to: 1, step: 1, as: [a, b]}}".into(),
            2,
            vec!["1 is not greater than from = 3"],
        ),
        ("job: {queue: q, name: a, depends_on: [b]}".into(), 2, vec!["\"b\" is no job of this submit"]),
        (
            format!("{contract}schema: {{type: objekt}}\nidentity: [{{field: x, quantum: -1}}]\n"),
            2,
            vec!["line 3, column 16: schema/type", "line 4, column 32: identity[0].quantum: -1 is not greater than 0"],
        ),
        (format!("{contract}schema: true\nidentity: []\n"), 2, vec!["identity"]),
        (
            format!("{contract}schema: {{$ref: \"file:///etc/passwd\"}}\nidentity: [{{field: x}}]\n"),
            2,
            vec!["schema", "file:///etc/passwd"],
        ),
        (
            format!("{contract}schema: true\nidentity: [{{field: x}}]\ntolerance: [{{field: x, lt: 1, gt: 2}}]\n"),
            2,
            vec!["tolerance[0]", "exactly one"],
        ),
        ("job: {queue: none}".into(), 3, vec!["queue none does not exist", "orchctl submit"]),
        ("queue: r\ncontract: none@1\nkind: x\n".into(), 3, vec!["none@1, which is not registered"]),
        ("queue: r\n---\njob: {queue: r}\n".into(), 1, vec!["kind"]),
    ];
    for (number, (manifest, code, texts)) in table.iter().enumerate() {
        // A good document beside the bad one: all of it or nothing.
        let file =
            cluster.file(&format!("bad-{number}.yaml"), format!("queue: good-{number}\nkind: emit\n---\n{manifest}"));
        let shifted = cluster.file(&format!("alone-{number}.yaml"), manifest);
        cluster.ctl(&["submit", "-f", &file]).ended(*code);
        let refused = cluster.ctl(&["submit", "-f", &shifted]).ended(*code);
        for text in texts {
            assert!(refused.err.contains(text), "expected {text:?} for {manifest:.200}: {refused}");
        }
    }
    let bytes = cluster.file("bytes.yaml", b"\xff\xfe");
    cluster.ctl(&["submit", "-f", &bytes]).ended(2).says("it is not UTF-8");
    cluster.ctl(&["submit", "-f", "/nonexistent"]).ended(2).says("cannot open /nonexistent");
    cluster.ctl(&["submit", "-f", "/"]).ended(2).says("it is a directory");
    assert_eq!(cluster.stats()["ledger"]["seq"], seq);
    let queues = cluster.ctl(&["queue", "list", "-o", "name"]).ok().out;
    assert_eq!(queues, "q\n");
}

#[test]
fn a_contract_never_changes_and_a_payload_must_fit_it() {
    let cluster = Cluster::start();
    let example = std::fs::read_to_string(project().join("examples/zeta-zeros.yaml")).unwrap();
    let (definitions, _) = example.rsplit_once("---\njobs:").unwrap();
    cluster.submit(definitions);
    let seq = cluster.stats()["ledger"]["seq"].clone();
    let changed = cluster.file("changed.yaml", definitions.replace("exclusiveMinimum: 14", "exclusiveMinimum: 13"));
    cluster
        .ctl(&["submit", "-f", &changed])
        .ended(1)
        .says("contract zeta-zeros@1 is registered with another text: give the new text a new version");
    // A payload, the exit code, and what must be said of it.
    for (payload, code, text) in [
        ("{\"a\":1}", 1, "payload field \"eps_root\" is missing"),
        ("{\"a\":1,\"b\":5,\"eps_root\":\"x\"}", 1, "payload field \"eps_root\" = \"x\": not a decimal"),
        ("{\"a\":1,\"b\":5,\"eps_root\":0}", 1, "eps_root"),
        ("{\"a\":5,\"b\":1,\"eps_root\":1e-8}", 1, "payload field \"b\" minus a is -4: a count is not negative"),
        ("{a:1}", 2, "not JSON: key must be a string at line 1 column 2"),
        ("{\"a\":NaN}", 2, "not JSON: expected value at line 1 column 6"),
        ("{\"a\":1e400}", 2, "cannot be held by a double"),
        ("{\"a\":1,\"a\":2}", 2, "key \"a\" stands twice in one object"),
        ("", 2, "payload"),
        ("@/nonexistent", 2, "cannot open /nonexistent"),
    ] {
        let refused = cluster.ctl(&["enqueue", "zeta-zeros", "--payload", payload]).ended(code);
        assert!(refused.err.contains(text), "expected {text:?} for {payload}: {refused}");
    }
    let deep = cluster.file("deep.json", "[".repeat(10_000) + &"]".repeat(10_000));
    cluster.ctl(&["enqueue", "zeta-zeros", "--payload", &format!("@{deep}")]).ended(2).says("nested");
    let large = cluster.file("large.json", format!("\"{}\"", "x".repeat(10 << 20)));
    cluster.ctl(&["enqueue", "zeta-zeros", "--payload", &format!("@{large}")]).ended(2).says("262144");
    cluster.ctl(&["enqueue", "none", "--payload", "1"]).ended(3).says("queue none does not exist");
    assert_eq!(cluster.stats()["ledger"]["seq"], seq);
}

/// Lines that a runner may write, and the rule that each of them breaks.
fn bad_candidates() -> Vec<(Vec<u8>, &'static str)> {
    let text = |text: &str, rule| (text.as_bytes().to_vec(), rule);
    vec![
        text("{\"v\":NaN}", "json"),
        text("{\"v\":Infinity}", "json"),
        text("{\"v\":1e400}", "json"),
        text("{\"v\":-1e400}", "json"),
        text("{\"v\":0x10}", "json"),
        text("{\"v\":01}", "json"),
        text("{\"v\":1", "json"),
        text("{\"v\":1}{\"v\":2}", "json"),
        text("{\"v\":1,}", "json"),
        text("{'v':1}", "json"),
        text("hello", "json"),
        text("{\"v\":1,\"v\":2}", "json"),
        text("{\"v\":\"\\ud800\"}", "json"),
        (b"{\"v\":\"\xff\xfe\"}".to_vec(), "json"),
        (b"\xef\xbb\xbf{\"v\":1}".to_vec(), "json"),
        (b"{\"v\":\0}".to_vec(), "json"),
        text("{\"v\":\"1\"}", "schema"),
        text("{\"v\":null}", "schema"),
        text("{\"v\":[1]}", "schema"),
        text("{\"v\":true}", "schema"),
        text("{}", "schema"),
        text("[]", "schema"),
        text("null", "schema"),
        text("7", "schema"),
        text("{\"v\":1,\"w\":2}", "schema"),
        text("{\"V\":1}", "schema"),
        text("{\"v\":1e9}", "tolerance"),
        text("{\"v\":1000}", "tolerance"),
        text("{\"v\":-1000.0}", "tolerance"),
        (("[".repeat(5_000) + &"]".repeat(5_000)).into_bytes(), "size"),
        (format!("{{\"v\":{}1{}}}", "[".repeat(20), "]".repeat(20)).into_bytes(), "size"),
        (format!("{{\"v\":1,\"w\":\"{}\"}}", "x".repeat(20_000)).into_bytes(), "size"),
        (("[".repeat(10_000) + &"]".repeat(10_000)).into_bytes(), "size"),
    ]
}

#[test]
fn no_bad_candidate_is_accepted_and_each_is_told_why() {
    let cluster = Cluster::start();
    let contract = VALUES.to_owned() + "tolerance:\n  - {field: v, abs_lt: 1000}\n";
    let mut manifest = contract + &queue("q", "emit", "");
    let table = bad_candidates();
    for (number, (line, _)) in table.iter().enumerate() {
        let file = cluster.file(&format!("bad-{number}"), [line.as_slice(), b"\n"].concat());
        manifest += &job("q", &file, "");
    }
    // One good one, to show that the way is open.
    let good = cluster.file("good", "{\"v\":999.9999}\n");
    manifest += &job("q", &good, "");
    let jobs = cluster.submit(&manifest);
    let _worker = cluster.worker("w", 2);
    cluster.drain();
    let counts = json!({"accepted": 1, "duplicate": 0, "rejected": table.len()});
    assert_eq!(cluster.stats()["candidates"], counts);
    let batches = records::events(&cluster.data(), "batch_judged");
    for ((line, rule), job) in table.iter().zip(&jobs) {
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        let batch = batches.iter().find(|batch| batch["origin"]["lease"]["job"] == *job).unwrap();
        let rejection = &batch["rejections"][0];
        assert_eq!(rejection["rule"], *rule, "{shown}: {batch}");
        let message = rejection["message"].as_str().unwrap();
        assert!((5..=300).contains(&message.chars().count()), "{shown}: {message}");
        assert!(!message.chars().any(char::is_control), "{shown}: {message:?}");
        // A rejection is no failure of the job.
        let job = cluster.job(*job);
        assert_eq!((&job["state"], &job["rejected"]), (&json!("done"), &json!(1)), "{shown}");
    }
    assert_eq!(records::check_accepted_once(&cluster.data()), 1);
    cluster.verify();

    // The same judgement without a server, before anything is run.
    let contract = cluster.file("contract.yaml", VALUES.to_owned() + "tolerance:\n  - {field: v, abs_lt: 1000}\n");
    let all: Vec<u8> = table.iter().flat_map(|(line, _)| [line.as_slice(), b"\n"].concat()).collect();
    let all = cluster.file("all.jsonl", all);
    let tested = orchctl(["contract", "test", &contract, "--candidates", &all, "-o", "json"]).ended(1).json();
    let verdicts = tested["verdicts"].as_array().unwrap();
    let rules: Vec<&str> = verdicts.iter().map(|verdict| verdict["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, table.iter().map(|(_, rule)| *rule).collect::<Vec<_>>());
}

#[test]
fn a_runner_that_floods_fails_its_job_and_nothing_else() {
    let cluster = Cluster::start();
    let flood = cluster.file("flood", format!("{{\"v\":1}}\n{{\"v\":\"{}\"}}\n{{\"v\":2}}\n", "x".repeat(10 << 20)));
    let endless = cluster.file("endless", vec![b'y'; 3 << 20]);
    let good = cluster.file("good", "{\"v\":3}\n");
    let manifest = VALUES.to_owned()
        + &queue("q", "emit", "")
        + &job("q", &flood, "")
        + &job("q", &endless, "")
        + &job("q", &good, "");
    let jobs = cluster.submit(&manifest);
    let _worker = cluster.worker("w", 1);
    cluster.ctl(&["run", "--drain", "--timeout", "100s"]).ended(4);
    for failed in &jobs[..2] {
        let failed = cluster.job(*failed);
        assert_eq!((&failed["state"], &failed["failure_class"]), (&json!("failed"), &json!("error")), "{failed}");
        let message = failed["message"].as_str().unwrap();
        assert!(message.contains("line") && message.contains("65536"), "{message}");
    }
    assert_eq!(cluster.job(jobs[2])["state"], "done");
}

#[test]
fn a_queue_without_a_contract_accepts_nothing() {
    let cluster = Cluster::start();
    let file = cluster.file("values", "{\"v\":1}\n{\"v\":2}\n");
    let jobs = cluster.submit(&("queue: q\nkind: emit\n".to_owned() + &job("q", &file, "")));
    let _worker = cluster.worker("w", 1);
    cluster.until_job(jobs[0], "done");
    assert_eq!(cluster.stats()["candidates"], json!({"accepted": 0, "duplicate": 0, "rejected": 2}));
    let batches = records::events(&cluster.data(), "batch_judged");
    assert_eq!(batches[0]["rejections"][0]["rule"], "no_contract", "{}", batches[0]);
}

#[test]
fn a_kind_that_nobody_offers_waits_and_the_doctor_names_it() {
    let cluster = Cluster::start();
    let good = cluster.file("good", "{\"v\":1}\n");
    let manifest = VALUES.to_owned() + &queue("q", "emit", "") + &queue("odd", "no-such-kind", "");
    cluster.submit(&manifest);
    let odd = cluster.submit(&job("odd", &good, ""));
    let _worker = cluster.worker("w", 1);
    let even = cluster.submit(&job("q", &good, ""));
    cluster.until_job(even[0], "done");
    assert_eq!(cluster.job(odd[0])["state"], "ready");
    cluster
        .ctl(&["doctor"])
        .ended(1)
        .prints("odd has 1 open jobs of kind no-such-kind, which no live worker runs")
        .prints("start a worker whose config lists no-such-kind");
}

#[test]
fn a_data_directory_in_use_names_its_holder() {
    let mut cluster = Cluster::start();
    let pid = cluster.server().pid().as_raw_nonzero();
    let data = cluster.data();
    let mut second = command("orchestrator");
    second.args(["--listen", "127.0.0.1:0", "--allow-any-filesystem", "--data"]).arg(&data);
    run(second)
        .ended(1)
        .says(&format!("data directory {} is in use by process {pid} on ", data.display()))
        .says("stop that process or choose another directory");
    cluster.submit("queue: q\nkind: emit\n");
    cluster.kill9();
    // The kernel's lock died with its holder: nothing has to be cleaned up by hand.
    cluster.restart();
}

#[test]
fn a_port_in_use_leaves_no_directory_behind() {
    let cluster = Cluster::start();
    let listen = cluster.url().replace("http://", "");
    let other = cluster.folder().join("other");
    let mut second = command("orchestrator");
    second.args(["--listen", &listen, "--allow-any-filesystem", "--data"]).arg(&other);
    run(second).ended(1).says(&format!("failed to listen on {listen}")).says("choose another address with --listen");
    assert!(!other.exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let folder = crate::support::folder();
    let set_mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (data, binary) = (folder.path().join("data"), folder.path().join("orchestrator"));
    std::fs::create_dir(&data).unwrap();
    set_mode(folder.path(), 0o755);
    set_mode(&data, 0o555);
    let mut orchestrator = command("orchestrator");
    if rustix::process::getuid().is_root() {
        // Root may write anywhere: somebody else tries, with a copy of the program that he can reach.
        std::fs::copy(orch_tests::binaries::path("orchestrator"), &binary).unwrap();
        set_mode(&binary, 0o755);
        orchestrator = crate::support::process::clean(std::process::Command::new(&binary));
        orchestrator.uid(65_534).gid(65_534);
    }
    orchestrator.args(["--listen", "127.0.0.1:0", "--allow-any-filesystem", "--data"]).arg(&data);
    run(orchestrator)
        .ended(1)
        .says(&format!("in {}, which this process may not write: give the directory to the user", data.display()))
        .says("Permission denied");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    set_mode(&data, 0o755);

    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let mut orchestrator = command("orchestrator");
    orchestrator.args(["--listen", "127.0.0.1:0", "--allow-any-filesystem", "--data"]).arg(&file);
    run(orchestrator).ended(1).says(&file.display().to_string());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn an_orchestrator_that_is_away_is_told_with_how_to_start_one() {
    let mut cluster = Cluster::start();
    cluster.stop();
    let listen = cluster.url().replace("http://", "");
    for args in [&["stats"][..], &["submit", "-f", "/dev/null"], &["job", "list"], &["run", "--drain"]] {
        cluster
            .ctl(args)
            .ended(8)
            .says(&format!("error: no orchestrator answers at {}", cluster.url()))
            .says(&format!("fix: start one with `orchestrator --data DIR --listen {listen}`"));
    }
    cluster.ctl(&["doctor"]).ended(8).prints("no orchestrator answers");
    let mut worker = command("worker");
    worker.args(["--server", &cluster.url(), "--give-up-after", "0s"]);
    run(worker).ended(8).says("worker: no orchestrator answered for 0s").says(&listen);
}

#[test]
fn a_damaged_ledger_is_refused_at_its_place_by_everyone() {
    let mut cluster = Cluster::start();
    let emit = cluster.file("emit", "{\"v\":1}\n{\"v\":2}\n{\"v\":3}\n");
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("q", "emit", "") + &job("q", &emit, "")));
    let worker = cluster.worker("w", 1);
    cluster.until_job(jobs[0], "done");
    drop(worker);
    cluster.stop();
    let segment = records::segments(&cluster.data()).remove(0);
    let whole = std::fs::read(&segment).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let name = format!("ledger/{}", segment.file_name().unwrap().to_str().unwrap());

    // One digit of an accepted value.
    let at = text.find("\"candidate\":{\"v\":2}").unwrap() + "\"candidate\":{\"v\":".len();
    let line = text[..at].matches('\n').count() + 1;
    let offset = text[..at].rfind('\n').unwrap() + 1;
    let mut damaged = whole.clone();
    damaged[at] = b'7';
    refused_by_all(&cluster, &segment, &damaged, &name, line, offset, "expected checksum");

    // A whole record, checksum and all, is taken out.
    let (start, end) = (offset, offset + text[offset..].find('\n').unwrap() + 1);
    let cut = [&whole[..start], &whole[end..]].concat();
    refused_by_all(&cluster, &segment, &cut, &name, line, offset, "expected");

    // The last batch, which was acknowledged, is gone.
    let batch = |line: &str| serde_json::from_str::<Value>(line).unwrap()["batch"].clone();
    let newest = batch(text.lines().last().unwrap());
    let lines = text.lines().filter(|line| batch(line) != newest).count();
    let last = text.match_indices('\n').nth(lines - 1).unwrap().0 + 1;
    let offset = last;
    refused_by_all(&cluster, &segment, &whole[..last], &name, lines, offset, "acknowledged records are missing");

    // Nobody changed anything: with its bytes back, the ledger is what it was.
    std::fs::write(&segment, &whole).unwrap();
    cluster.restart();
    assert_eq!(cluster.stats()["candidates"]["accepted"], 3);
    cluster.verify();
}

/// Starts, verifies, and compacts a ledger with these bytes in a segment: all must refuse it, and leave it as it is.
#[track_caller]
fn refused_by_all(
    cluster: &Cluster,
    segment: &std::path::Path,
    bytes: &[u8],
    name: &str,
    line: usize,
    offset: usize,
    text: &str,
) {
    std::fs::write(segment, bytes).unwrap();
    let data = cluster.data();
    let place = format!("{name} line {line} (byte {offset}): ");
    let started = run(cluster.command()).ended(1);
    let finding = started.err.split("left as it is: ").nth(1).unwrap_or_else(|| panic!("{started}"));
    let finding = finding.split("; run next: ").next().unwrap();
    assert!(finding.starts_with(&place) && finding.contains(text), "expected {place}...{text}: {started}");
    assert!(started.err.contains(&format!("run next: orchctl ledger verify {}", data.display())), "{started}");
    let verified = orchctl(["ledger", "verify", data.to_str().unwrap(), "-o", "json"]).ended(1);
    let found = &verified.json()["findings"][0];
    assert_eq!((&found["file"], &found["line"], &found["offset"]), (&json!(name), &json!(line), &json!(offset)));
    assert!(finding.contains(found["fault"].as_str().unwrap()), "{finding} / {found}");
    let out = cluster.path("must-not-be");
    let mut compactor = command("compactor");
    compactor.arg(&data).arg(&out);
    // It reads up to what HEAD names, and finds that it cannot get there.
    run(compactor).ended(1).says("the ledger is damaged: ledger").says("run next: orchctl ledger verify");
    assert!(!std::path::Path::new(&out).exists());
    assert_eq!(std::fs::read(segment).unwrap(), bytes);
}

#[test]
fn noise_on_the_port_harms_nobody() {
    let cluster = Cluster::start();
    let address = cluster.url().replace("http://", "");
    for noise in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff", &[0; 4096]]
    {
        let mut stream = TcpStream::connect(&address).unwrap();
        // It may hang up in the middle.
        let _ = stream.write_all(noise);
    }
    assert_eq!(cluster.stats()["jobs"]["ready"], 0);
}

#[test]
fn settings_that_cannot_be_are_named_all_at_once() {
    let folder = crate::support::folder();
    let config = folder.path().join("orch.yaml");
    let orchestrator = |text: &str, args: &[&str]| {
        std::fs::write(&config, text).unwrap();
        let mut orchestrator = command("orchestrator");
        orchestrator.arg("--config").arg(&config).args(args);
        run(orchestrator)
    };
    orchestrator("", &["--listen", "here", "--stale-after", "soon", "--segment-bytes", "1"])
        .ended(1)
        .says("listen: \"here\" is no address")
        .says("stale_after: ")
        .says("segment_bytes: 1 is not within");
    orchestrator("listn: 127.0.0.1:1\n", &[]).ended(1).says(config.to_str().unwrap()).says("listn");
    orchestrator("listen: [\n", &[]).ended(1).says(config.to_str().unwrap());
    let shown: Value = orchestrator("segment_bytes: 2000000\n", &["--data", "d", "--print-config"]).ok().json();
    assert_eq!((&shown["segment_bytes"], &shown["data"]), (&json!(2_000_000), &json!("d")));
}
