//! TLS on the one port: who gets in, what speaks it, and certificates that are rotated under running calls.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve::{self, Running, StartError};
use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_transport::development::{self, Development, Existing, Made};
use orch_transport::{ClientAuth, ClientTls, Dial, ServerTls};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::*;

fn certificates(dir: &Path, existing: Existing) -> Made {
    let valid = Duration::from_secs(86_400);
    development::make(&Development { dir: dir.join("certs"), names: vec![], client: "w".into(), valid, existing })
        .unwrap()
}

fn server_tls(made: &Made) -> ServerTls {
    let client_ca = Some(made.ca.clone());
    ServerTls { cert: made.server.clone(), key: made.server_key.clone(), client_ca, client_auth: ClientAuth::Required }
}

fn client_tls(made: &Made) -> ClientTls {
    ClientTls {
        ca: Some(made.ca.clone()),
        cert: Some(made.client.clone()),
        key: Some(made.client_key.clone()),
        domain: None,
    }
}

async fn start() -> (Running, Made, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let made = certificates(dir.path(), Existing::Keep);
    let config = OrchestratorConfig { tls: Some(server_tls(&made)), ..config(&dir.path().join("data")) };
    (serve::start(config).await.unwrap(), made, dir)
}

fn dial(address: SocketAddr, tls: ClientTls) -> Dial {
    Dial::new(format!("https://{address}").parse().unwrap(), tls).unwrap().within(Duration::from_secs(60))
}

/// What `/healthz` answers over this connection.
async fn healthz(dial: &Dial) -> Result<String, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let mut stream = dial.stream().await.map_err(|error| text(&error))?;
    let request = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(|error| text(&error))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| text(&error))?;
    Ok(answer)
}

#[tokio::test]
async fn grpc_and_probes_share_the_port_under_tls() {
    let (running, made, _dir) = start().await;
    let dial = dial(running.local_addr(), client_tls(&made));
    let mut admin = AdminServiceClient::new(dial.connect().await.unwrap());
    admin.stats(v1::StatsRequest {}).await.unwrap();
    let answer = healthz(&dial).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive\n"), "{answer}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn nobody_gets_in_without_a_certificate_and_is_told_so() {
    let (running, made, _dir) = start().await;
    let without = ClientTls { ca: Some(made.ca.clone()), ..ClientTls::default() };
    let dial = dial(running.local_addr(), without);
    assert!(healthz(&dial).await.unwrap_err().contains("--tls-cert"));
    // The handshake of TLS 1.3 ends before the server's refusal arrives: a call is told of it.
    let refused = match dial.connect().await {
        Ok(channel) => AdminServiceClient::new(channel).stats(v1::StatsRequest {}).await.map(drop).map_err(chain),
        Err(error) => Err(chain(error)),
    };
    assert!(refused.as_ref().unwrap_err().contains("--tls-cert"), "{refused:?}");
    // Without TLS at all.
    let plain: Dial =
        Dial::new(format!("http://{}", running.local_addr()).parse().unwrap(), ClientTls::default()).unwrap();
    let refused = match plain.connect().await {
        Ok(channel) => AdminServiceClient::new(channel).stats(v1::StatsRequest {}).await.map(drop).map_err(chain),
        Err(error) => Err(chain(error)),
    };
    assert!(refused.as_ref().unwrap_err().contains("https://"), "{refused:?}");
    running.stop().await.unwrap();
}

fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn what_others_reach_is_refused_unless_it_is_secured_or_insisted_upon() {
    let dir = tempfile::tempdir().unwrap();
    let made = certificates(dir.path(), Existing::Keep);
    let open = OrchestratorConfig { listen: "0.0.0.0:0".parse().unwrap(), ..config(&dir.path().join("data")) };
    let Err(error) = serve::start(open.clone()).await else { panic!("it listens to everybody") };
    assert!(matches!(error, StartError::Exposed(_)) && error.to_string().contains("--insecure"), "{error}");
    assert!(!dir.path().join("data").exists(), "nothing was touched");
    let optional = ServerTls { client_auth: ClientAuth::Optional, ..server_tls(&made) };
    let half = OrchestratorConfig { tls: Some(optional), ..open.clone() };
    assert!(matches!(serve::start(half.clone()).await.err(), Some(StartError::Exposed(_))));
    // With a token that callers must show it is secured as well.
    let token = Some(orch_core::access::Secret::new("a bootstrap token"));
    let known = OrchestratorConfig { bootstrap_token: token, ..half };
    serve::start(known).await.unwrap().stop().await.unwrap();
    let secured = OrchestratorConfig { tls: Some(server_tls(&made)), ..open.clone() };
    serve::start(secured).await.unwrap().stop().await.unwrap();
    serve::start(OrchestratorConfig { insecure: true, ..open }).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn bad_certificates_are_no_start() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (made, stranger) = (certificates(dir.path(), Existing::Keep), certificates(other.path(), Existing::Keep));
    let tls = ServerTls { key: stranger.server_key, ..server_tls(&made) };
    let crossed = OrchestratorConfig { tls: Some(tls), ..config(&dir.path().join("data")) };
    let error = serve::start(crossed).await.err().unwrap().to_string();
    assert!(error.contains("does not fit") && error.contains("server.pem"), "{error}");
}

/// R26: rotated 100 times during a run, without a dropped call; connections that stand, and new ones all the time.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_rotated_under_running_calls() {
    const ROTATIONS: u64 = 100;
    let (running, made, dir) = start().await;
    let dial = dial(running.local_addr(), client_tls(&made));
    let (stop, calls, connections) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
    let mut callers = tokio::task::JoinSet::new();
    for standing in [true, true, false, false] {
        let (dial, stop) = (dial.clone(), Arc::clone(&stop));
        let (calls, connections): (Arc<AtomicU64>, Arc<AtomicU64>) = (Arc::clone(&calls), Arc::clone(&connections));
        callers.spawn(async move {
            let connect = async || dial.connect().await.map(AdminServiceClient::new).map_err(chain);
            let mut admin = connect().await?;
            while !stop.load(Ordering::Relaxed) {
                if !standing {
                    admin = connect().await?;
                    connections.fetch_add(1, Ordering::Relaxed);
                }
                admin.stats(v1::StatsRequest {}).await.map_err(chain)?;
                calls.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, String>(())
        });
    }
    for _ in 0..ROTATIONS {
        certificates(dir.path(), Existing::Renew);
        assert!(running.reload_certificates());
        // Each is used by a new connection before the next one comes.
        let before = connections.load(Ordering::Relaxed);
        while connections.load(Ordering::Relaxed) <= before + 1 && callers.len() == 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Some(ended) = callers.try_join_next() {
                panic!("a call was dropped: {ended:?}");
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap().unwrap();
    }
    assert!(calls.load(Ordering::Relaxed) > ROTATIONS);
    running.stop().await.unwrap();
}
