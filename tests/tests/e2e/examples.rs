//! The examples of the documentation, run as they stand there.

use serde_json::{Value, json};

use crate::support::{Cluster, project, records};

#[test]
fn the_python_and_the_shell_runner_do_what_the_documentation_says() {
    let cluster = Cluster::start();
    let runners = project().join("examples/runners");
    let config = runners.join("worker.yaml");
    let _worker = cluster.worker_with("w", 2, config.to_str().unwrap());
    cluster.ctl(&["submit", "-f", runners.join("submit.yaml").to_str().unwrap()]).ok();
    cluster.drain();

    let stats = cluster.stats();
    assert_eq!((&stats["jobs"]["failed"], &stats["candidates"]["rejected"]), (&json!(0), &json!(0)), "{stats}");
    let of = |contract: &str| -> Vec<Value> {
        let out = cluster.path("out.jsonl");
        cluster.ctl(&["compact", "--out", &out, "--contract", contract]).ok();
        let text = std::fs::read_to_string(out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let primes = of("primes@1");
    // There are 1229 primes below 10,000.
    assert_eq!((primes.len(), &primes[0], &primes[1228]), (1229, &json!({"p": 2}), &json!({"p": 9973})));
    let collatz = of("collatz@1");
    assert!(collatz.contains(&json!({"n": 27, "steps": 111, "peak": 9232})));
    assert_eq!(collatz.len() + primes.len(), records::check_accepted_once(&cluster.data()));

    // What the runners logged is the jobs' log.
    let job = |queue: &str| cluster.ctl(&["job", "list", "--queue", queue, "-o", "name"]).ok().out;
    let logs = |queue: &str| cluster.ctl(&["job", "logs", job(queue).lines().next().unwrap()]).ok().out;
    assert_eq!(logs("primes"), "168 primes from 0 to 1000, attempt 1\n");
    assert!(logs("collatz").contains("attempt 1, queue collatz: "), "{}", logs("collatz"));

    // A payload that is no use is the end of that job, by the runner's own word.
    let bad = cluster.ctl(&["enqueue", "primes", "--payload", "{\"from\":1,\"to\":1000000000}", "-o", "name"]).ok();
    cluster.ctl(&["job", "wait", bad.out.trim(), "--timeout", "100s"]).ended(4);
    let bad = cluster.job(bad.out.trim().parse().unwrap());
    assert_eq!((&bad["failure_class"], &bad["attempts"]), (&json!("permanent"), &json!(1)), "{bad}");
    assert!(bad["message"].as_str().unwrap().contains("is not a range up to 10^8"), "{bad}");
}
