//! The polite downloader of `examples/`, against a server that counts: limits are reached and never passed.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::process::clean;
use crate::support::{Cluster, Process, project, records, until};

const JOBS: usize = 50;

/// The counting server, and how to ask it.
struct Server {
    _process: Process,
    port: u16,
}

impl Server {
    /// It holds the first requests until so many are there at once.
    fn start(gather: usize) -> Self {
        let mut command = Command::new("python3");
        command.arg(folder().join("server.py")).args(["--gather", &gather.to_string()]);
        let mut process = Process::start(clean(command));
        let port = process.until("its port", |process| process.out().trim().parse().ok());
        Self { _process: process, port }
    }

    fn counts(&self) -> Value {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(b"GET /counts HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

fn folder() -> std::path::PathBuf {
    project().join("examples/polite-downloader")
}

/// Jobs in an order in which the limits are met one after the other: 2 and 3 of the resolvers, 4 of host a, 8 in all.
fn jobs(port: u16) -> String {
    let kinds = [("a", "unpaywall"), ("b", "crossref"), ("b", "crossref"), ("a", "arxiv"), ("c", "arxiv")];
    let line = |n: usize| {
        let (host, resolver) = kinds[n % kinds.len()];
        let payload = json!({"url": format!("http://127.0.0.1:{port}/{host}/{resolver}/{n}")});
        let keys = json!({"host": host, "resolver": resolver});
        json!({"queue": "downloads", "payload": payload, "keys": keys}).to_string() + "\n"
    };
    (0..JOBS).map(line).collect()
}

fn politely(workers: u32, slots: u32, kills: bool) {
    let mut cluster = Cluster::start();
    let server = Server::start(8);
    cluster.ctl(&["submit", "-f", folder().join("submit.yaml").to_str().unwrap()]).ok();
    let file = cluster.file("jobs.jsonl", jobs(server.port));
    cluster.ctl(&["import", &file]).ok();
    let config = folder().join("worker.yaml");
    let start = |cluster: &Cluster, n: u32| cluster.worker_with(&format!("w{n}"), slots, config.to_str().unwrap());
    let mut running: Vec<_> = (0..workers).map(|n| start(&cluster, n)).collect();
    until("eight requests at once", || (server.counts()["gathered"] == json!(true)).then_some(()));
    if kills {
        // The worker takes its requests along or not: they are over long before its leases are.
        running[0].process.signal(Signal::KILL);
        running.push(start(&cluster, workers));
        cluster.kill9();
        cluster.restart();
    }
    cluster.drain();
    let most = &server.counts()["most"];
    assert_eq!(most["all"], json!(8), "{most}");
    assert_eq!(most["host=a"], json!(4), "{most}");
    assert_eq!(most["resolver=unpaywall"], json!(2), "{most}");
    assert_eq!(most["resolver=crossref"], json!(3), "{most}");
    for (key, count) in most.as_object().unwrap() {
        assert!(!key.starts_with("host=") || count.as_u64().unwrap() <= 4, "{most}");
    }
    cluster.settle();
    assert_eq!(records::accepted_count(&cluster.data()), JOBS);
    let limits = cluster.ctl(&["limit", "list", "-o", "json"]).ok().json();
    let in_use: u64 = limits["usage"].as_array().unwrap().iter().map(|usage| usage["in_use"].as_u64().unwrap()).sum();
    assert_eq!(in_use, 0, "{limits}");
}

#[test]
fn one_worker_downloads_politely() {
    politely(1, 10, false);
}

#[test]
fn three_workers_download_politely() {
    politely(3, 4, false);
}

#[test]
fn eight_workers_download_politely_while_one_and_the_orchestrator_are_killed() {
    politely(8, 2, true);
}
