//! Probes and metrics, as Prometheus and a kubelet ask for them: plain HTTP/1 on the port of gRPC.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;

use crate::support::*;

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let Page { status, head, body } = http(address, &format!("GET {path}"), "", "").await;
    (status, head, body)
}

/// The samples of a scrape, by name with labels.
async fn scrape(orch: &Orch) -> (BTreeMap<String, f64>, String) {
    let (status, head, body) = get(orch.running.local_addr(), "/metrics").await;
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"));
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    let parsed = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    (parsed.collect(), body)
}

#[tokio::test]
async fn probes_tell_alive_from_ready() {
    let orch = Orch::start().await;
    let address = orch.running.local_addr();
    let (status, _, body) = get(address, "/healthz").await;
    assert_eq!((status, body.as_str()), (200, "alive\n"));
    let (status, _, body) = get(address, "/readyz").await;
    assert_eq!((status, body.as_str()), (200, "ready\n"));
    orch.stop().await;
}

#[tokio::test]
async fn the_metrics_follow_a_job_through_its_life() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let limits = vec![v1::Limit { limit: "running".into(), max: Some(8), ..v1::Limit::default() }];
    admin.submit(v1::SubmitRequest { limits, ..submission(vec![job("q", 2), job("q", 1)]) }).await.unwrap();
    let (before, _) = scrape(&orch).await;
    assert_eq!(before["orch_jobs{queue=\"q\",state=\"ready\"}"], 2.0);
    assert_eq!(before["orch_leases_granted_total"], 0.0);
    assert_eq!(before["orch_workers{state=\"live\"}"], 0.0);

    let mut worker = orch.registered("w").await;
    let lease = lease(&mut worker, "w").await;
    assert_eq!(scrape(&orch).await.0["orch_limit_in_use{limit=\"running\"}"], 1.0);
    let mut results = Results::open(&mut worker, "w").await;
    let wrong = "{\"t\":7,\"root_val\":1}".to_owned();
    results.batch(lease.lease, 1, &[candidate(1.0), candidate(1.0), candidate(2.0), wrong]).await;
    results.verdicts().await;
    results.say(lease.lease, Action::Complete(v1::Complete { batches: 1 })).await;
    results.ended().await;

    let (after, text) = scrape(&orch).await;
    documented_are(&text);
    let expected = [
        ("orch_jobs{queue=\"q\",state=\"ready\"}", 1.0),
        ("orch_jobs{queue=\"q\",state=\"done\"}", 1.0),
        ("orch_jobs_ended_total", 1.0),
        ("orch_leases", 0.0),
        ("orch_limit_in_use{limit=\"running\"}", 0.0),
        ("orch_limit_max{limit=\"running\"}", 8.0),
        ("orch_access_objections_total{verdict=\"denied\"}", 0.0),
        ("orch_leases_granted_total", 1.0),
        ("orch_candidates_total{verdict=\"accepted\"}", 2.0),
        ("orch_candidates_total{verdict=\"duplicate\"}", 1.0),
        ("orch_candidates_total{verdict=\"rejected\"}", 1.0),
        ("orch_candidates_rejected_total{rule=\"tolerance\"}", 1.0),
        ("orch_job_wait_seconds_count", 1.0),
        ("orch_job_run_seconds_count", 1.0),
        ("orch_engine_command_seconds_count{command=\"LeaseJobs\"}", 1.0),
        ("orch_workers{state=\"live\"}", 1.0),
        ("orch_worker_slots", 2.0),
        ("orch_worker_candidates_accepted_total{worker=\"w\"}", 2.0),
        ("orch_worker_jobs_done_total{worker=\"w\"}", 1.0),
        ("orch_ledger_read_only", 0.0),
        ("orch_ledger_epoch", 1.0),
    ];
    for (name, value) in expected {
        assert_eq!(after.get(name), Some(&value), "{name}");
    }
    assert!(after["orch_ledger_seq"] > before["orch_ledger_seq"]);
    assert!(after["orch_ledger_commit_seconds_count"] >= 4.0 && after["orch_ledger_size_bytes"] > 1000.0);
    assert!(after["process_resident_memory_bytes"] > 1e6);

    // Totals are the ledger's: they survive a restart.
    let orch = orch.restart().await;
    let (again, _) = scrape(&orch).await;
    assert_eq!(again["orch_candidates_total{verdict=\"accepted\"}"], 2.0);
    assert_eq!(again["orch_ledger_epoch"], 2.0);
    assert_eq!(again["orch_ledger_commit_seconds_count"], 0.0);
    orch.stop().await;
}

/// `docs/metrics.md` names every metric, and no other.
fn documented_are(text: &str) {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<&str> = types.map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(told, documented());
}

fn documented() -> BTreeSet<&'static str> {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| !row.starts_with('/'));
    rows.map(|row| row.split('`').next().unwrap()).collect()
}

/// Every `expr` of a tree, wherever it stands.
fn expressions<'v>(value: &'v serde_json::Value, found: &mut Vec<&'v str>) {
    match value {
        serde_json::Value::Object(map) => {
            found.extend(map.get("expr").and_then(serde_json::Value::as_str));
            map.values().for_each(|value| expressions(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let alerts: serde_json::Value =
        serde_saphyr::from_str(include_str!("../../../helm/orchestrator/files/alerts.yaml")).unwrap();
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../helm/orchestrator/files/dashboard.json")).unwrap();
    let documented = documented();
    for (file, least) in [(&alerts, 9), (&dashboard, 30)] {
        let mut found = Vec::new();
        expressions(file, &mut found);
        assert!(found.len() >= least, "{found:?}");
        for expression in found {
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            for word in words.filter(|word| word.starts_with("orch_") || word.starts_with("process_")) {
                let suffixes = ["_total", "_bucket", "_sum", "_count"];
                let name = suffixes.iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
                assert!(documented.contains(name), "{name} in {expression}");
            }
        }
    }
}
