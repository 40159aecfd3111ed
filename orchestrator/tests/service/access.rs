//! Every call and every route, tried as every kind of caller: whatever the table does not allow is denied, with a stable
//! reason, and changes nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use orch_core::access::{Permission, Role};
use orch_orchestrator::access::{Entry, Need, TABLE, check_table};
use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::http::ROUTES;
use orch_proto::DESCRIPTORS;
use orch_proto::credentials::Identified;
use orch_proto::error::WireError;
use orch_proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::codegen::InterceptedService;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::support::*;

/// A kind of caller: its name, what it shows, and its role if it is known.
struct Kind {
    name: String,
    token: String,
    role: Option<Role>,
}

/// Every kind of caller.
async fn kinds(orch: &Orch) -> Vec<Kind> {
    let unknown = |name: &str, token: &str| Kind { name: name.into(), token: token.into(), role: None };
    let mut kinds = vec![
        unknown("nobody", ""),
        unknown("garbage", "garbage"),
        unknown("a made-up token", &format!("orch_{}", "0".repeat(64))),
        Kind { name: "bootstrap".into(), token: BOOTSTRAP.into(), role: Some(Role::Admin) },
    ];
    for role in Role::ALL {
        let token = orch.token(role.name(), v1::Role::from(role), &[]).await;
        kinds.push(Kind { name: role.name().into(), token, role: Some(role) });
        if role.can_be_held_to_queues() {
            let name = format!("{role} of another queue");
            let token = orch.token(&format!("held-{role}"), v1::Role::from(role), &["other"]).await;
            kinds.push(Kind { name, token, role: Some(role) });
        }
    }
    let revoked = orch.token("revoked", v1::Role::Admin, &[]).await;
    orch.revoke("revoked").await;
    kinds.push(unknown("revoked", &revoked));
    let short = v1::CreateTokenRequest {
        name: "expired".into(),
        role: v1::Role::Admin.into(),
        expires_in_ms: 1,
        ..v1::CreateTokenRequest::default()
    };
    let expired = orch.admin_as(BOOTSTRAP).await.create_token(short).await.unwrap().into_inner().secret;
    let mut admin = orch.admin_as(&expired).await;
    until(async || admin.who_am_i(v1::WhoAmIRequest {}).await.err()).await;
    kinds.push(unknown("expired", &expired));
    kinds
}

/// What comes of an empty request to this call: the end of the answer, or its first message.
async fn call(channel: Identified, path: &'static str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let request = Request::new(tokio_stream::once(()));
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    let mut answers = client.streaming(request, path, ProstCodec::<(), ()>::default()).await?.into_inner();
    answers.message().await.map(drop)
}

/// The routes that change something, and so are not asked for with GET.
const POSTED: [&str; 1] = ["/admin/cleanup"];

/// Status and body of a request for a route, by the method that it has.
async fn route(address: SocketAddr, path: &str, token: &str) -> (u16, String) {
    let method = if POSTED.contains(&path) { "POST" } else { "GET" };
    let Page { status, body, .. } = http(address, &format!("{method} {path}"), &shown(token), "").await;
    (status, body)
}

/// What must come of it, by the table: None if it is allowed.
fn expected(entry: &Entry, role: Option<Role>) -> Option<&'static str> {
    match (entry.need, role) {
        (Need::Nothing, _) => None,
        (_, None) => Some("UNAUTHENTICATED"),
        (need, Some(role)) if need.met_by(role) => None,
        (_, Some(_)) => Some("PERMISSION_DENIED"),
    }
}

async fn tried(orch: &Orch, entry: &'static Entry, kind: &Kind) -> Option<String> {
    if entry.is_call() {
        let channel = InterceptedService::new(orch.channel().await, credentials(&kind.token));
        let error = WireError::from(&call(channel, entry.path).await.err()?);
        let denied = ["UNAUTHENTICATED", "PERMISSION_DENIED"].contains(&error.reason.as_str());
        // A caller that is held to queues may make the call, but not for all queues; that is another test's.
        let of_queues = error.message.contains("held to some queues") || error.message.contains("session");
        return (denied && !of_queues).then(|| error.reason.as_str().to_owned());
    }
    let (status, body) = route(orch.running.local_addr(), entry.path, &kind.token).await;
    let reason = body.split(':').next().unwrap().to_owned();
    match status {
        200 => None,
        401 | 403 => Some(reason),
        other => panic!("{other}: {body}"),
    }
}

#[tokio::test]
async fn every_call_as_every_caller_is_as_the_table_says() {
    let orch = Orch::guarded().await;
    let kinds = kinds(&orch).await;
    let before = orch.events().await.len();
    let (mut denied, mut allowed) = (0, 0);
    for entry in TABLE {
        for kind in &kinds {
            let expected = expected(entry, kind.role);
            // First what is denied: it must leave no trace but in the audit.
            if expected.is_some() {
                let found = tried(&orch, entry, kind).await;
                assert_eq!(found.as_deref(), expected, "{} as {}", entry.path, kind.name);
                denied += 1;
            }
        }
    }
    orch.running.auditor().flush().await;
    let traces: BTreeSet<String> = orch.events().await.split_off(before).into_iter().collect();
    assert_eq!(traces, BTreeSet::from(["audited".to_owned()]), "what was denied changed something");
    for entry in TABLE {
        for kind in &kinds {
            if expected(entry, kind.role).is_none() {
                assert_eq!(tried(&orch, entry, kind).await, None, "{} as {}", entry.path, kind.name);
                allowed += 1;
            }
        }
    }
    assert_eq!(denied + allowed, TABLE.len() * kinds.len());
    assert!(denied > 200 && allowed > 100, "{denied} denied, {allowed} allowed");
    orch.stop().await;
}

#[tokio::test]
async fn a_path_that_is_none_tells_strangers_nothing() {
    let orch = Orch::guarded().await;
    let address = orch.running.local_addr();
    assert_eq!(route(address, "/secret", "").await.0, 401);
    // Whoever is known hears from gRPC that there is no such call.
    assert_eq!(route(address, "/secret", BOOTSTRAP).await, (200, String::new()));
    // Nor does the wrong method of a route, nor a path that is written otherwise.
    let viewer = orch.token("viewer", v1::Role::Viewer, &[]).await;
    for (asked, viewers) in
        [("GET /admin/cleanup", 403), ("POST /workers", 405), ("GET //workers", 200), ("GET /workers/", 200)]
    {
        assert_eq!(http(address, asked, "", "").await.status, 401, "{asked}");
        let page = http(address, asked, &shown(&viewer), "").await;
        assert!(page.status == viewers && !page.body.contains("workers"), "{asked}: {page:?}");
    }
    let none = InterceptedService::new(orch.channel().await, credentials(""));
    let status = call(none, "/orch.v1.AdminService/Nothing").await.unwrap_err();
    assert_eq!(reason(&status).0, "UNAUTHENTICATED");
    let known = InterceptedService::new(orch.channel().await, credentials(BOOTSTRAP));
    let status = call(known, "/orch.v1.AdminService/Nothing").await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    orch.stop().await;
}

/// Asks over a connection that stays, and reads until an answer's last line.
async fn asked(stream: &mut TcpStream, path: &str, token: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\n{}\r\n", shown(token));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.split_once("\r\n\r\n").is_some_and(|(_, text)| text.ends_with('\n')) {
        answer.push(char::from(stream.read_u8().await.unwrap()));
    }
    answer
}

#[tokio::test]
async fn whoever_was_only_answered_or_refused_makes_way_for_others() {
    let small = |data: &std::path::Path| OrchestratorConfig { max_connections: 2, ..guarded(data) };
    let orch = Orch::guarded().await.restart_as(small).await;
    let connect = async || TcpStream::connect(orch.running.local_addr()).await.unwrap();
    let (mut stranger, mut known) = (connect().await, connect().await);
    assert!(asked(&mut stranger, "/healthz", "").await.ends_with("alive\n"));
    assert!(asked(&mut stranger, "/workers", "wrong").await.starts_with("HTTP/1.1 401"));
    assert!(asked(&mut known, "/workers", BOOTSTRAP).await.starts_with("HTTP/1.1 200"));
    let mut next = connect().await;
    assert!(asked(&mut next, "/workers", BOOTSTRAP).await.starts_with("HTTP/1.1 200"));
    assert_eq!(stranger.read(&mut [0]).await.unwrap_or(0), 0, "it made way");
    assert!(asked(&mut known, "/workers", BOOTSTRAP).await.starts_with("HTTP/1.1 200"));
    // Both are at work: there is no room.
    if let Ok(mut late) = TcpStream::connect(orch.running.local_addr()).await {
        assert_eq!(late.read(&mut [0]).await.unwrap_or(0), 0);
    }
    orch.stop().await;
}

#[test]
fn something_that_is_not_in_the_table_does_not_start() {
    let all = [DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
    check_table(&all, &ROUTES).unwrap();
    let more = [ROUTES.as_slice(), &["/new"]].concat();
    let unlisted = check_table(&all, &more).unwrap_err().to_string();
    assert!(unlisted.contains("/new is served and not listed"), "{unlisted}");
    let unserved = check_table(&all[..1], &ROUTES).unwrap_err().to_string();
    assert!(unserved.contains("grpc.") && unserved.contains("listed and not served"), "{unserved}");
}

#[test]
fn the_table_says_what_it_is_to_say() {
    let need = |name: &str| TABLE.iter().find(|entry| entry.name() == name).unwrap().need;
    for (name, permission) in [
        ("AdminService/Submit", Permission::Submit),
        ("AdminService/PauseQueue", Permission::Operate),
        ("AdminService/CleanupWorkers", Permission::Operate),
        ("AdminService/ListWorkers", Permission::View),
        ("AdminService/CreateToken", Permission::Administer),
        ("AdminService/ReadDirectorySecret", Permission::Administer),
        ("WorkerService/SubmitResults", Permission::Work),
        ("/metrics", Permission::View),
        ("/workers", Permission::View),
        ("/admin/cleanup", Permission::Operate),
    ] {
        assert_eq!(need(name), Need::May(permission), "{name}");
    }
    let open: Vec<&str> = TABLE.iter().filter(|entry| entry.need == Need::Nothing).map(Entry::name).collect();
    assert_eq!(open, ["/healthz", "/readyz", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]);
}

#[test]
fn the_documented_table_is_the_real_one() {
    let documented = include_str!("../../../docs/security.md");
    for entry in TABLE {
        let roles: Vec<&str> = match entry.need {
            Need::Nothing => vec!["anybody"],
            Need::AnyRole => vec!["any role"],
            Need::May(permission) => {
                Role::ALL.into_iter().filter(|role| role.may(permission)).map(Role::name).collect()
            }
        };
        let or = if entry.certificate { "; the certificate of `scaler_certificate`" } else { "" };
        let row = format!("| `{}` | {}{or} |", entry.name(), roles.join(", "));
        assert!(documented.contains(&row), "docs/security.md lacks the row\n{row}");
    }
    let rows = documented.lines().filter(|line| line.starts_with("| `") && line.contains('/')).count();
    assert_eq!(rows, TABLE.len(), "docs/security.md has rows for calls that there are not");
}

#[tokio::test]
async fn warn_lets_pass_and_tells_and_off_asks_nobody() {
    use orch_orchestrator::access::Enforcement;
    let with = |enforcement| move |data: &std::path::Path| OrchestratorConfig { enforcement, ..guarded(data) };
    let orch = Orch::guarded().await.restart_as(with(Enforcement::Warn)).await;
    orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap();
    let warned = orch.audit().await;
    let found = warned.iter().find(|entry| entry.verdict == "warned" && entry.call == "AdminService/Submit").unwrap();
    assert_eq!((found.actor.as_str(), found.reason.as_str()), ("anonymous", "UNAUTHENTICATED"));
    assert_eq!(found.from, "127.0.0.1");
    let count = warned.len();
    let orch = orch.restart_as(with(Enforcement::Off)).await;
    orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap();
    assert_eq!(orch.audit().await.len(), count, "nobody is asked, so nobody is told of");
    let orch = orch.restart_as(with(Enforcement::Strict)).await;
    orch.admin().await.submit(submission(vec![job("q", 1)])).await.unwrap_err();
    orch.stop().await;
}
