//! A cluster that nobody gets into without a token: real programs, tokens from files and variables, rotated under a
//! worker, and no secret in anything that anybody wrote.

use serde_json::{Value, json};

use crate::support::manifests::{self, VALUES};
use crate::support::process::{Ran, command};
use crate::support::{Cluster, Options, Process, Worker, orchctl, records, run, until};

/// A cluster with a bootstrap token, and the file of an admin's token that was made with it.
fn guarded() -> (Cluster, String, String) {
    let folder = tempfile::Builder::new().prefix("orch-e2e-token-").tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap");
    std::fs::write(&bootstrap, "the bootstrap token of this test\n".replace(' ', "-")).unwrap();
    let bootstrap_arg = format!("--bootstrap-token-file={}", bootstrap.display());
    let cluster = Cluster::with(Options { args: vec![bootstrap_arg], ..Options::default() });
    let root = cluster.path("root.token");
    let made = cluster.ctl(&[
        "--token-file",
        bootstrap.to_str().unwrap(),
        "token",
        "create",
        "root",
        "--role",
        "admin",
        "--out",
        &root,
    ]);
    made.ok().prints("its secret is in");
    let secret = std::fs::read_to_string(&root).unwrap().trim().to_owned();
    (cluster, root, secret)
}

fn as_root(cluster: &Cluster, root: &str, args: &[&str]) -> Ran {
    cluster.ctl(&[&["--token-file", root], args].concat())
}

fn worker(cluster: &Cluster, name: &str, token_file: &str) -> Worker {
    let mut worker = command("worker");
    let config = cluster.path("worker.yaml");
    worker.args(["--server", &cluster.url(), "--name", name, "--slots", "1", "--config", &config]);
    worker.args(["--token-file", token_file]);
    Worker { name: name.to_owned(), process: Process::start(worker) }
}

fn queue() -> String {
    format!("{VALUES}{}", manifests::queue("emit", "emit", ""))
}

/// Whether something in the text looks like a token.
fn has_token(text: &str) -> bool {
    text.split("orch_").skip(1).any(|rest| rest.len() >= 8 && rest.bytes().take(8).all(|byte| byte.is_ascii_hexdigit()))
}

#[test]
fn a_cluster_with_tokens_works_and_shows_no_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let (mut cluster, root, secret) = guarded();
    assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o600);
    // Nobody without one, and not with a made-up one.
    cluster.ctl(&["stats"]).ended(7).says("no token is shown").says("orchctl token create");
    let mut wrong = cluster.ctl_command(&["stats"]);
    wrong.env("ORCH_TOKEN", "orch_made-up");
    run(wrong).ended(7).says("not known here");
    let mut stranger = command("worker");
    stranger.args(["--server", &cluster.url(), "--name", "stranger"]);
    run(stranger).ended(1).says("refuses this worker").says("no token is shown");

    // A worker, and a submitter that is held to the queue.
    let manifest = cluster.file("queue.yaml", queue());
    as_root(&cluster, &root, &["submit", "-f", &manifest]).ok();
    let (pool, ci) = (cluster.path("pool.token"), cluster.path("ci.token"));
    as_root(&cluster, &root, &["token", "create", "pool-1", "--role", "worker", "--out", &pool]).ok();
    as_root(&cluster, &root, &["token", "create", "ci", "--role", "submitter", "--queue", "emit", "--out", &ci]).ok();
    let first = worker(&cluster, "w1", &pool);
    let enqueue = |n: u64| {
        let file = cluster.file(&format!("values-{n}"), format!("{{\"v\": {n}}}\n"));
        let payload = json!({ "file": file }).to_string();
        as_root(&cluster, &ci, &["enqueue", "emit", "--payload", &payload, "-o", "name"]).ok()
    };
    let accepted = |count: u64| {
        until("so many accepted", || {
            let stats: Value = as_root(&cluster, &root, &["stats", "-o", "json"]).ok().json();
            (stats["jobs"]["done"] == count || stats["jobs"]["failed"].as_u64() > Some(0)).then_some(())
        });
    };
    enqueue(1);
    accepted(1);
    as_root(&cluster, &ci, &["queue", "pause", "emit", "--reason", "x"]).ended(7).says("needs admin or operator");
    as_root(&cluster, &pool, &["stats"]).ended(7);

    // The token of the pool is rotated again and again; the worker goes on.
    for n in 2..6 {
        let (name, before) = (format!("pool-{n}"), format!("pool-{}", n - 1));
        let made = as_root(&cluster, &root, &["token", "create", &name, "--role", "worker", "-o", "json"]).ok().json();
        std::fs::write(&pool, made["secret"].as_str().unwrap()).unwrap();
        as_root(&cluster, &root, &["token", "revoke", &before]).ok();
        enqueue(n);
        accepted(n);
    }
    assert_eq!(records::check_accepted_once(&cluster.data()), 5);

    // What the orchestrator, the worker, listings and files say has no secret in it.
    let listed = as_root(&cluster, &root, &["token", "list", "-o", "json"]).ok();
    assert_eq!(listed.json()["tokens"].as_array().unwrap().len(), 3);
    let mut shown = cluster.ctl_command(&["config", "show"]);
    shown.env("ORCH_TOKEN", &secret);
    let shown = run(shown).ok();
    let mut worker_shows = command("worker");
    worker_shows.args(["config", "show", "--server", "127.0.0.1:1"]).env("ORCH_TOKEN", &secret);
    let worker_shows = run(worker_shows).ok();
    let audit = as_root(&cluster, &root, &["audit", "--limit", "10000", "-o", "json"]).ok();
    let who = as_root(&cluster, &ci, &["whoami", "-o", "json"]).ok().json();
    assert_eq!(
        (&who["actor"], &who["role"], &who["queues"]),
        (&json!("token ci"), &json!("submitter"), &json!(["emit"]))
    );
    let said = [first.process.err(), first.process.out(), listed.out, shown.out, worker_shows.out, audit.out.clone()];
    drop(first);
    let server = cluster.stop();
    let ledger = records::lines(&cluster.data()).join("\n");
    for (n, text) in said.iter().chain([&server.err, &server.out, &ledger]).enumerate() {
        assert!(!text.contains(&secret) && !text.contains("the-bootstrap-token"), "a secret in text {n}");
        assert!(!has_token(text), "something like a secret in text {n}: {text}");
    }
    // Who did what.
    let audit: Value = serde_json::from_str(&audit.out).unwrap();
    let entries = audit["entries"].as_array().unwrap();
    let has = |actor: &str, call: &str, verdict: &str| {
        entries.iter().any(|e| e["actor"] == actor && e["call"] == call && e["verdict"] == verdict)
    };
    assert!(has("bootstrap", "AdminService/CreateToken", "allowed"));
    assert!(has("token root", "AdminService/RevokeToken", "allowed"));
    assert!(has("token ci", "AdminService/Submit", "allowed"));
    assert!(has("token ci", "AdminService/PauseQueue", "denied"));
    assert!(has("token pool-1", "WorkerService/RegisterWorker", "allowed"));
    assert!(has("anonymous", "AdminService/Stats", "denied"));
}

/// R26: what the holder of a revoked token has open ends at once, so its worker comes back with the next one; its leases stay
/// its own meanwhile.
#[test]
fn a_hundred_rotations_of_a_workers_token_lose_no_lease() {
    const ROTATIONS: usize = 100;
    /// One after the other; each runs over several rotations.
    const JOBS: usize = 10;
    let (mut cluster, root, _) = guarded();
    let gates: Vec<String> = (0..JOBS).map(|n| cluster.path(&format!("gate-{n}"))).collect();
    let jobs: String = gates.iter().map(|gate| manifests::job("gated", gate, "")).collect();
    let manifest = cluster.file("jobs.yaml", format!("{VALUES}{}{jobs}", manifests::queue("gated", "gate", "")));
    as_root(&cluster, &root, &["submit", "-f", &manifest]).ok();
    let pool = cluster.path("pool.token");
    as_root(&cluster, &root, &["token", "create", "pool-0", "--role", "worker", "--out", &pool]).ok();
    let worker = worker(&cluster, "w1", &pool);
    for n in 1..=ROTATIONS {
        let name = format!("pool-{n}");
        let made = as_root(&cluster, &root, &["token", "create", &name, "--role", "worker", "-o", "json"]).ok().json();
        std::fs::write(&pool, made["secret"].as_str().unwrap()).unwrap();
        as_root(&cluster, &root, &["token", "revoke", &format!("pool-{}", n - 1)]).ok();
        if n % (ROTATIONS / JOBS) == 0 {
            cluster.file(&format!("gate-{}", n / (ROTATIONS / JOBS) - 1), format!("{{\"v\": {n}}}\n"));
        }
    }
    as_root(&cluster, &root, &["run", "--drain", "--timeout", "5m"]).ok();
    let said = worker.process.err() + &worker.process.out();
    drop(worker);
    let server = cluster.stop();
    let count = |event: &str| records::events(&cluster.data(), event).len();
    // A grant whose answer was cut off with its call comes back when the worker does, free of charge.
    assert_eq!((count("lease_granted"), count("job_completed")), (JOBS + count("lease_released"), JOBS));
    assert_eq!((count("lease_expired"), count("attempt_failed")), (0, 0));
    assert_eq!((count("token_created"), count("token_revoked")), (ROTATIONS + 2, ROTATIONS));
    assert_eq!(records::check_accepted_once(&cluster.data()), JOBS);
    for text in [&said, &server.err, &server.out, &records::lines(&cluster.data()).join("\n")] {
        assert!(!has_token(text), "something like a secret in {text}");
    }
}

#[test]
fn a_backup_has_the_secret_of_its_directory() {
    let (cluster, root, _) = guarded();
    let manifest = cluster.file("queue.yaml", queue());
    as_root(&cluster, &root, &["submit", "-f", &manifest]).ok();
    let viewer = cluster.path("viewer.token");
    as_root(&cluster, &root, &["token", "create", "eye", "--role", "viewer", "--out", &viewer]).ok();
    let secret = |dir: &str| std::fs::read_to_string(std::path::Path::new(dir).join("SECRET")).ok();
    let own = secret(cluster.data().to_str().unwrap());
    assert!(own.is_some());
    let (files, wire, without) = (cluster.path("files"), cluster.path("wire"), cluster.path("without"));
    orchctl(["backup", cluster.data().to_str().unwrap(), "--to", &files]).ok();
    as_root(&cluster, &root, &["backup", "--to", &wire]).ok();
    as_root(&cluster, &viewer, &["backup", "--to", &without]).ok().says("without the directory's secret");
    assert_eq!((secret(&files), secret(&wire), secret(&without)), (own.clone(), own.clone(), None));
    let restored = cluster.path("restored");
    orchctl(["restore", &wire, "--to", &restored]).ok();
    assert_eq!(secret(&restored), own);
}
