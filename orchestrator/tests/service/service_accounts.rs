//! Kubernetes' service accounts: whose token it is says an API server, here one that speaks the same wire.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use orch_core::time::Span;
use orch_orchestrator::config::{OrchestratorConfig, ServiceAccounts};
use orch_orchestrator::serve;
use orch_proto::v1;
use orch_proto::v1::Role;
use orch_transport::development::{self, Development, Existing};
use orch_transport::{Certificates, ClientAuth, ServerTls};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::*;

const WORKER: &str = "eyJhbGciOiJSUzI1NiJ9.d29ya2Vy.c2ln";
const OTHERS: &str = "eyJhbGciOiJSUzI1NiJ9.b3RoZXJz.c2ln";
const FAR: &str = "eyJhbGciOiJSUzI1NiJ9.ZmFy.c2ln";
const STRANGER: &str = "eyJhbGciOiJSUzI1NiJ9.c3RyYW5nZXI.c2ln";

/// What an API server of Kubernetes says of tokens, over TLS and HTTP/2.
struct ApiServer {
    url: String,
    /// `token` and `ca.crt`, as a pod has them.
    credentials: TempDir,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    /// By token: the user, and the audiences that it was made for.
    tokens: Mutex<BTreeMap<String, (String, Vec<String>)>>,
    away: AtomicBool,
    asked: AtomicUsize,
}

async fn review(State(known): State<Arc<Known>>, headers: HeaderMap, body: Bytes) -> Result<String, StatusCode> {
    known.asked.fetch_add(1, Ordering::Relaxed);
    if known.away.load(Ordering::Relaxed) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    if headers.get("authorization").is_none_or(|shown| shown != "Bearer own-token") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let asked: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    if asked["apiVersion"] != "authentication.k8s.io/v1" || asked["kind"] != "TokenReview" {
        return Err(StatusCode::BAD_REQUEST);
    }
    let (token, audience) = (asked["spec"]["token"].as_str().unwrap(), asked["spec"]["audiences"][0].as_str().unwrap());
    let tokens = known.tokens.lock().unwrap();
    let status = match tokens.get(token) {
        Some((user, audiences)) if audiences.iter().any(|made_for| made_for == audience) => json!({
            "authenticated": true, "audiences": [audience],
            "user": {"username": user, "uid": "1", "groups": ["system:serviceaccounts"]}
        }),
        Some(_) => json!({"error": "token audiences are invalid for the target audiences"}),
        None => json!({"error": "token is not known"}),
    };
    Ok(json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}, "status": status})
        .to_string())
}

impl ApiServer {
    async fn start() -> Self {
        let credentials = tempfile::tempdir().unwrap();
        let dir = credentials.path().join("certs");
        let valid = Duration::from_secs(3600);
        let asked = Development { dir, names: vec![], client: "c".into(), valid, existing: Existing::Keep };
        let made = development::make(&asked).unwrap();
        std::fs::copy(&made.ca, credentials.path().join("ca.crt")).unwrap();
        std::fs::write(credentials.path().join("token"), "own-token\n").unwrap();
        let files = ServerTls {
            cert: made.server.clone(),
            key: made.server_key.clone(),
            client_ca: None,
            client_auth: ClientAuth::Optional,
        };
        let certificates = Arc::new(Certificates::open(files).unwrap());
        let known = Arc::new(Known::default());
        let routes = Router::new()
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(review))
            .with_state(Arc::clone(&known));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (certificates, routes) = (Arc::clone(&certificates), routes.clone());
                tokio::spawn(async move {
                    let Ok((stream, _)) = certificates.accept(tcp).await else { return };
                    let service = TowerToHyperService::new(routes);
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, credentials, known }
    }

    fn knows(&self, token: &str, user: &str, audience: &str) {
        self.known.tokens.lock().unwrap().insert(token.into(), (user.into(), vec![audience.into()]));
    }

    fn forgets(&self, token: &str) {
        self.known.tokens.lock().unwrap().remove(token);
    }

    fn asked(&self) -> usize {
        self.known.asked.load(Ordering::Relaxed)
    }

    /// An orchestrator that lets workers of `jobs/worker` in.
    fn lets_in(&self, data: &Path) -> OrchestratorConfig {
        let service_accounts = ServiceAccounts {
            accounts: vec!["jobs/worker=worker:q".parse().unwrap()],
            audience: "orch".into(),
            recheck: Span::seconds(1),
            api: Some(self.url.parse().unwrap()),
            credentials: self.credentials.path().to_owned(),
        };
        OrchestratorConfig { service_accounts, ..guarded(data) }
    }

    async fn orch(&self) -> Orch {
        let data = tempfile::tempdir().unwrap();
        let running = serve::start(self.lets_in(data.path())).await.unwrap();
        Orch { running, data }
    }
}

async fn who(orch: &Orch, token: &str) -> Result<v1::WhoAmIResponse, (String, String)> {
    let answer = orch.admin_as(token).await.who_am_i(v1::WhoAmIRequest {}).await;
    answer.map(tonic::Response::into_inner).map_err(|status| reason(&status))
}

#[tokio::test]
async fn an_account_is_what_the_settings_say_and_nobody_else_is_let_in() {
    let api = ApiServer::start().await;
    api.knows(WORKER, "system:serviceaccount:jobs:worker", "orch");
    api.knows(OTHERS, "system:serviceaccount:jobs:other", "orch");
    api.knows(FAR, "system:serviceaccount:jobs:worker", "https://kubernetes.default.svc");
    let orch = api.orch().await;
    let known = who(&orch, WORKER).await.unwrap();
    assert_eq!((known.actor.as_str(), known.role()), ("service account jobs/worker", Role::Worker));
    // An account without a line in the settings, a token for somebody else, and one that nobody made.
    for token in [OTHERS, FAR, STRANGER] {
        assert_eq!(who(&orch, token).await.unwrap_err().0, "UNAUTHENTICATED");
    }
    let asked = api.asked();
    assert_eq!(who(&orch, "orch_no-web-token").await.unwrap_err().0, "UNAUTHENTICATED");
    assert_eq!(api.asked(), asked, "what cannot be one is not asked about");
    // It works, within its role and its queues.
    let mut root = orch.admin_as(BOOTSTRAP).await;
    root.submit(submission(vec![job("q", 1)])).await.unwrap();
    let (mut worker, credentials) = orch.registered_as(WORKER, "pod-1").await;
    let leased = worker.lease_job(ask("pod-1", 1, 0)).await.unwrap().into_inner();
    assert_eq!(leased.leases.len(), 1);
    drop(credentials);
    let refused = orch.admin_as(WORKER).await.submit(submission(vec![job("q", 1)])).await.unwrap_err();
    assert_eq!(reason(&refused).0, "PERMISSION_DENIED");
    let audit = orch.audit().await;
    assert!(audit.iter().any(|entry| entry.verdict == "denied" && entry.actor == "service account jobs/worker"));
    orch.stop().await;
}

#[tokio::test]
async fn who_is_revoked_is_out_soon_also_with_an_open_stream() {
    let api = ApiServer::start().await;
    api.knows(WORKER, "system:serviceaccount:jobs:worker", "orch");
    let orch = api.orch().await;
    let (mut worker, _credentials) = orch.registered_as(WORKER, "pod-1").await;
    let waiting = tokio::spawn(async move { worker.lease_job(ask("pod-1", 1, 60_000)).await });
    // An API server that is away ends nothing, and those whom it vouched for may go on.
    api.known.away.store(true, Ordering::Relaxed);
    let asked = api.asked();
    until(async || (api.asked() > asked + 1).then_some(())).await;
    assert!(!waiting.is_finished());
    // Nor does anybody wait for it in turn: it is asked a few times a second, whoever calls.
    let (asked, began) = (api.asked(), std::time::Instant::now());
    for _ in 0..50 {
        who(&orch, WORKER).await.unwrap();
    }
    // The open call looks too, from three sides.
    let most = 8 * (1 + began.elapsed().as_secs() as usize);
    assert!(api.asked() - asked <= most, "{} questions", api.asked() - asked);
    assert_eq!(who(&orch, STRANGER).await.unwrap_err().0, "UNAVAILABLE", "and of others nothing is known");
    api.known.away.store(false, Ordering::Relaxed);
    api.forgets(WORKER);
    let ended = waiting.await.unwrap().unwrap_err();
    assert_eq!(reason(&ended).0, "UNAUTHENTICATED");
    assert_eq!(who(&orch, WORKER).await.unwrap_err().0, "UNAUTHENTICATED");
    orch.stop().await;
}

#[tokio::test]
async fn a_busy_worker_costs_one_question_at_a_time() {
    let api = ApiServer::start().await;
    api.knows(WORKER, "system:serviceaccount:jobs:worker", "orch");
    let data = tempfile::tempdir().unwrap();
    let mut config = api.lets_in(data.path());
    config.service_accounts.recheck = Span::seconds(3600);
    let orch = Orch { running: serve::start(config).await.unwrap(), data };
    let mut admin = orch.admin_as(WORKER).await;
    for _ in 0..50 {
        admin.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    }
    assert_eq!(api.asked(), 1);
    orch.stop().await;
}
