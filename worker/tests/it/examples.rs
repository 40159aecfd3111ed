//! The runners under `examples/runners` do what `docs/runners.md` says of them.

use std::path::Path;

use orch_proto::v1;
use orch_worker::config::file;

use crate::server::{Ended, Server, lease};
use crate::support::{Running, config};

fn example_worker(server: &Server) -> Running {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/runners/worker.yaml");
    let mut settings = config(server, 2, &[]);
    settings.kinds = file::read(&path).unwrap().kinds.unwrap();
    Running::start(settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_serves_primes() {
    let server = Server::new();
    let worker = example_worker(&server);
    server.offer(lease(1, "primes", r#"{"from":2,"to":31}"#));
    server.offer(lease(2, "primes", r#"{"from":9000,"to":20000}"#));
    server.offer(lease(3, "primes", r#"{"from":5}"#));
    server.offer(lease(4, "primes", r#"{"from":7,"to":3}"#));
    assert!(matches!(server.end_of(1).await, Ended::Complete { .. }));
    assert!(matches!(server.end_of(2).await, Ended::Complete { .. }));
    let small: Vec<String> = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29].map(|p| format!("{{\"p\": {p}}}")).to_vec();
    assert_eq!(server.candidates(1), small);
    assert_eq!(server.candidates(2).len(), 2262 - 1117, "by the tables: pi(20000) = 2262, pi(9000) = 1117");
    server.with(|state| assert_eq!(state.logs[&1], "10 primes from 2 to 31, attempt 1\n"));
    let permanent = |message: &str| Ended::Fail {
        class: v1::FailureClass::Permanent,
        message: message.to_owned(),
        exit_code: None,
    };
    assert_eq!(server.end_of(3).await, permanent("KeyError: 'to'"));
    assert_eq!(server.end_of(4).await, permanent("ValueError: from 7 to 3 is not a range up to 10^8"));
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_example_commands_collatz() {
    let server = Server::new();
    let worker = example_worker(&server);
    server.offer(lease(1, "collatz", r#"{"from":1,"to":31}"#));
    server.offer(lease(2, "collatz", r#"{"from":1}"#));
    assert!(matches!(server.end_of(1).await, Ended::Complete { .. }));
    let candidates = server.candidates(1);
    assert_eq!(candidates.len(), 30);
    assert_eq!(candidates[0], r#"{"n":1,"steps":0,"peak":1}"#);
    assert_eq!(candidates[26], r#"{"n":27,"steps":111,"peak":9232}"#);
    server.with(|state| assert_eq!(state.logs[&1], "job 1001, attempt 1, queue q: 1 to 31\n"));
    let Ended::Fail { class, message, exit_code } = server.end_of(2).await else { panic!("it has no end") };
    assert_eq!((class, exit_code), (v1::FailureClass::Error, Some(65)));
    assert!(message.ends_with("the payload has no whole number \"to\": {\"from\":1}"), "{message}");
    worker.drained().await;
}

#[test]
fn the_guide_shows_the_examples_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = std::fs::read_to_string(root.join("docs/runners.md")).unwrap();
    for name in ["collatz.sh", "primes.py"] {
        let example = std::fs::read_to_string(root.join("examples/runners").join(name)).unwrap();
        assert!(guide.contains(&example), "docs/runners.md shows another {name}");
    }
}

#[test]
fn the_examples_manifest_is_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("examples/runners/submit.yaml")).unwrap();
    let manifest = orch_core::manifest::parse(&text).unwrap();
    assert_eq!(manifest.documents.len(), 6);
}
