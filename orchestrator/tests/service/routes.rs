//! `/workers` and `/admin/cleanup`: the same as the calls of gRPC that they are another form of.

use orch_core::time::Span;
use orch_orchestrator::config::OrchestratorConfig;
use orch_proto::v1;
use orch_proto::view::WorkersView;
use serde_json::{Value, json};

use crate::support::*;

fn parsed(page: &Page) -> Value {
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.head.contains("content-type: application/json"), "{page:?}");
    serde_json::from_str(&page.body).unwrap()
}

#[tokio::test]
async fn workers_are_listed_as_orchctl_lists_them_and_held_to_the_callers_queues() {
    let orch = Orch::guarded().await;
    let mut admin = orch.admin_as(BOOTSTRAP).await;
    admin.submit(submission(vec![job("q", 1)])).await.unwrap();
    let pool = orch.token("pool", v1::Role::Worker, &[]).await;
    let (mut worker, _) = orch.registered_as(&pool, "w1").await;
    let held = worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner().leases.remove(0);

    let address = orch.running.local_addr();
    let listed = parsed(&http(address, "GET /workers", &shown(BOOTSTRAP), "").await);
    let called = admin.list_workers(v1::ListWorkersRequest::default()).await.unwrap().into_inner();
    let mut called = serde_json::to_value(WorkersView::from(called)).unwrap();
    // Time went on between the two.
    called["workers"][0]["leases"][0]["expires_in_ms"] = listed["workers"][0]["leases"][0]["expires_in_ms"].clone();
    assert_eq!(listed, called);
    let [one] = listed["workers"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&one["worker"], &one["status"], &one["kinds"]), (&json!("w1"), &json!("live"), &json!(["roots"])));
    assert_eq!((&one["leases"][0]["job"], &one["leases"][0]["queue"]), (&json!(held.job), &json!("q")));

    let other = orch.token("other", v1::Role::Viewer, &["other"]).await;
    let listed = parsed(&http(address, "GET /workers", &shown(&other), "").await);
    assert_eq!(listed["workers"][0]["leases"], json!([]), "the lease is of a queue that it may not see");
    orch.stop().await;
}

#[tokio::test]
async fn cleanup_puts_jobs_back_and_the_audit_says_who_did_it() {
    let orch = Orch::guarded().await;
    let mut admin = orch.admin_as(BOOTSTRAP).await;
    admin.submit(submission(vec![job("q", 1)])).await.unwrap();
    let pool = orch.token("pool", v1::Role::Worker, &[]).await;
    let (mut worker, _) = orch.registered_as(&pool, "w1").await;
    assert_eq!(worker.lease_job(ask("w1", 1, 0)).await.unwrap().into_inner().leases.len(), 1);
    let operator = shown(&orch.token("operator", v1::Role::Operator, &[]).await);

    let address = orch.running.local_addr();
    // It is not stale, and nobody named it.
    let nothing = parsed(&http(address, "POST /admin/cleanup", &operator, "").await);
    assert_eq!(nothing, json!({"removed": [], "leases_ended": 0}));
    // Somebody who may not, and bodies that are not understood, change nothing.
    let named = r#"{"workers": ["w1"]}"#;
    assert_eq!(http(address, "POST /admin/cleanup", &shown(&pool), named).await.status, 403);
    for wrong in ["w1", r#"["w1"]"#, r#"{"worker": ["w1"]}"#, r#"{"workers": ["not a name\n"]}"#] {
        let page = http(address, "POST /admin/cleanup", &operator, wrong).await;
        assert!(page.status == 400 && page.body.starts_with("INVALID_ARGUMENT: "), "{wrong}: {page:?}");
    }
    let listed = admin.list_workers(v1::ListWorkersRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.workers.len(), 1);

    let cleaned = parsed(&http(address, "POST /admin/cleanup", &operator, named).await);
    assert_eq!(cleaned, json!({"removed": ["w1"], "leases_ended": 1}));
    let jobs = admin.stats(v1::StatsRequest {}).await.unwrap().into_inner().jobs.unwrap();
    assert_eq!((jobs.ready, jobs.leased), (1, 0));
    let told = orch.audit().await.into_iter().find(|entry| entry.call == "/admin/cleanup" && entry.last_record > 0);
    let told = told.expect("it is told of");
    assert_eq!((told.actor.as_str(), told.verdict.as_str()), ("token operator", "allowed"));
    assert!(told.target.contains("w1"), "{told:?}");
    orch.stop().await;
}

#[tokio::test]
async fn a_worker_that_went_silent_is_cleaned_up_without_being_named() {
    let brief = |data: &std::path::Path| OrchestratorConfig { stale_after: Span(1), ..config(data) };
    let orch = Orch::start().await.restart_as(brief).await;
    orch.registered("w1").await;
    let address = orch.running.local_addr();
    until(async || {
        let listed = parsed(&http(address, "GET /workers", "", "").await);
        (listed["workers"][0]["status"] == "stale").then_some(())
    })
    .await;
    let cleaned = parsed(&http(address, "POST /admin/cleanup", "", "").await);
    assert_eq!(cleaned, json!({"removed": ["w1"], "leases_ended": 0}));
    assert_eq!(parsed(&http(address, "GET /workers", "", "").await), json!({"workers": []}));
    orch.stop().await;
}

#[tokio::test]
async fn a_page_in_a_browser_changes_nothing_where_nobody_is_asked_for_a_token() {
    let orch = Orch::start().await;
    orch.registered("w1").await;
    let address = orch.running.local_addr();
    let named = r#"{"workers": ["w1"]}"#;
    let page = http(address, "POST /admin/cleanup", "origin: https://example.com\r\n", named).await;
    assert!(page.status == 403 && page.body.starts_with("PERMISSION_DENIED: "), "{page:?}");
    let listed = parsed(&http(address, "GET /workers", "", "").await);
    assert_eq!(listed["workers"][0]["worker"], "w1");
    orch.stop().await;
}
