//! One connection, from its first byte to its end, with a limit on everything that a peer could draw out.
//!
//! A connection must ask something soon: the TLS handshake, the preface of HTTP/2 and the first header share one time.
//! Later it may be idle for a while, but not for ever. A peer that only makes calls and takes them back is cut.
//! A client whose certificate would not let it in any more is told to go.
//! All of it happens at the [`super::door`] first, and inside once a caller was let pass.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use orch_transport::{Certificates, Mover, Peer, Shown, Stream};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::call::{Activity, late, time_limit};
use super::connections::Pass;
use super::door::{Door, Place};
use crate::config::OrchestratorConfig;

/// What all connections share.
pub struct Server {
    routes: Router,
    limits: HttpLimits,
    /// Where connections begin.
    door: Arc<Door>,
    stopping: CancellationToken,
    /// None: without TLS.
    certificates: Option<Arc<Certificates>>,
    first_call_timeout: Duration,
    idle_timeout: Duration,
    call_timeout: Duration,
}

/// The limits on HTTP of either version.
#[derive(Clone, Copy, Debug)]
struct HttpLimits {
    streams: u32,
    header_bytes: u32,
    header_timeout: Duration,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
}

impl HttpLimits {
    /// Speaks HTTP within them; calls are where their connection is.
    fn builder(&self, place: Place) -> Builder<Place> {
        let Self { streams, header_bytes, header_timeout, keepalive_interval, keepalive_timeout } = *self;
        let mut http = Builder::new(place);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            // More streams that a peer opens only to reset them than this, and its connection is closed.
            .max_pending_accept_reset_streams(64)
            .max_local_error_reset_streams(256)
            .max_header_list_size(header_bytes)
            // An answer waits for its reader in this much memory, then in its maker.
            .max_send_buf_size(256 << 10)
            .keep_alive_interval(keepalive_interval)
            .keep_alive_timeout(keepalive_timeout)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20);
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size((header_bytes as usize).max(8 << 10));
        http
    }
}

/// What a connection that is told to go gets for its last answers.
const LINGER: Duration = Duration::from_secs(10);

/// How long an abusive peer is held before its connection is cut.
const HELD: Duration = Duration::from_secs(5);

impl Server {
    /// Serves these routes, with the limits of a configuration, until the stop.
    pub fn new(
        routes: Router,
        config: &OrchestratorConfig,
        certificates: Option<Arc<Certificates>>,
        door: Arc<Door>,
        stopping: CancellationToken,
    ) -> Self {
        let first_call_timeout = config.first_call_timeout.duration();
        let limits = HttpLimits {
            streams: config.max_streams,
            header_bytes: config.max_header_bytes,
            header_timeout: first_call_timeout,
            keepalive_interval: config.keepalive_interval.duration(),
            keepalive_timeout: config.keepalive_timeout.duration(),
        };
        Self {
            routes,
            limits,
            door,
            stopping,
            certificates,
            first_call_timeout,
            idle_timeout: config.idle_timeout.duration(),
            call_timeout: config.call_timeout.duration(),
        }
    }

    /// Where connections begin.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Told when no connection is to be accepted any more, and those that stand are to end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }
}

/// Serves a connection until it ends, at the door and then inside, among these tasks.
pub async fn serve(tcp: TcpStream, address: SocketAddr, pass: Pass, server: Arc<Server>, tasks: TaskTracker) {
    let began = Instant::now();
    // Without it every small answer waits 40 ms for the peer's delayed acknowledgement.
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(server.first_call_timeout, handshake(&server, tcp, address)) => shaken,
        () = pass.out.cancelled() => return,
        () = server.stopping.cancelled() => return,
    };
    let (mut stream, peer, shown) = match shaken {
        Ok(Some(shaken)) => shaken,
        Ok(None) => {
            pass.counts().handshakes_failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Err(_) => {
            pass.counts().cut.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    let (place, mover): (Place, Mover) = (server.door.place(), stream.mover());
    let pass = Arc::new(pass);
    let life = speak(stream, peer, shown, began, Arc::clone(&pass), server, place.clone());
    if let Some(life) = place.until_known(Box::pin(life)).await {
        pass.proven();
        mover.now();
        tasks.spawn_on(life, place.inside());
    }
}

/// TLS, if it is spoken here.
async fn handshake(server: &Server, tcp: TcpStream, address: SocketAddr) -> Option<(Stream, Peer, Option<Shown>)> {
    let Some(certificates) = &server.certificates else {
        return Some((Stream::accepted(tcp), Peer { address, tls: false, certificate: None }, None));
    };
    match certificates.accept(tcp).await {
        Ok((stream, shown)) => {
            let certificate = shown.as_ref().map(|shown| Arc::clone(&shown.certificate));
            Some((stream, Peer { address, tls: true, certificate }, shown))
        }
        Err(error) => {
            tracing::debug!(%error, %address, "no TLS with a peer");
            None
        }
    }
}

/// Returns when a certificate that let its owner in would not do so any more.
async fn until_refused(server: &Server, shown: Option<&Shown>) {
    match (&server.certificates, shown) {
        (Some(certificates), Some(shown)) => certificates.until_refused(shown).await,
        (None, _) | (_, None) => std::future::pending().await,
    }
}

async fn speak(
    stream: Stream,
    peer: Peer,
    shown: Option<Shown>,
    began: Instant,
    pass: Arc<Pass>,
    server: Arc<Server>,
    place: Place,
) {
    let mut refused = pin!(until_refused(&server, shown.as_ref()));
    let stopping = &server.stopping;
    let activity = Activity::new(began);
    let address = peer.address;
    let service = service_fn(|request: Request<Incoming>| {
        let call = activity.begin();
        let limit = time_limit(request.headers(), server.call_timeout);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        if !place.is_inside() {
            request.extensions_mut().insert(place.clone());
        }
        let answer = server.routes.clone().call(request);
        async move {
            let response = tokio::time::timeout(limit, answer).await;
            let response: Response<Body> = match response {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => late(),
            };
            Ok::<_, Infallible>(call.answer(response))
        }
    });
    let http = server.limits.builder(place.clone());
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut leaving: Option<Instant> = None;
    loop {
        let look_at = match leaving {
            Some(at) => at,
            // Nobody tells this loop of a first call: it looks again no later than it would have to for the second.
            None if !activity.asked() => (began + server.first_call_timeout).min(Instant::now() + server.idle_timeout),
            None => activity.idle_since().unwrap_or_else(Instant::now) + server.idle_timeout,
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, %address, "a connection broke");
                }
                return;
            }
            () = pass.out.cancelled() => return,
            () = activity.abused.cancelled() => {
                tracing::warn!(%address, "a peer makes calls only to take them back: its connection is cut");
                pass.counts().cut.fetch_add(1, Ordering::Relaxed);
                // Not read from any more, and held: who is cut at once comes back at once.
                tokio::select! {
                    () = tokio::time::sleep(HELD) => {}
                    () = stopping.cancelled() => {}
                }
                return;
            }
            () = stopping.cancelled(), if leaving.is_none() => {
                connection.as_mut().graceful_shutdown();
                leaving = Some(Instant::now() + LINGER);
            }
            () = refused.as_mut(), if leaving.is_none() => {
                tracing::info!(%address, "a client's certificate is not good any more: its connection ends");
                connection.as_mut().graceful_shutdown();
                leaving = Some(Instant::now() + LINGER);
            }
            () = tokio::time::sleep_until(look_at.into()) => {
                let now = Instant::now();
                if leaving.is_some_and(|at| at <= now) {
                    return;
                }
                if !activity.asked() && began + server.first_call_timeout <= now {
                    pass.counts().cut.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                let idle = activity.idle_since().is_some_and(|since| since + server.idle_timeout <= now);
                if activity.asked() && idle && leaving.is_none() {
                    connection.as_mut().graceful_shutdown();
                    leaving = Some(now + LINGER);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::routing::get;
    use orch_core::time::Span;
    use orch_transport::development::{self, Development, Existing};
    use orch_transport::{ClientAuth, ClientTls, Dial, ServerTls};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::accept::accept;
    use super::super::connections::{Caps, Connections};
    use super::*;

    /// A door with a route that says who asks.
    async fn door(config: OrchestratorConfig) -> (SocketAddr, Arc<Connections>) {
        let (address, connections, _) = door_with_certificates(config).await;
        (address, connections)
    }

    async fn door_with_certificates(
        config: OrchestratorConfig,
    ) -> (SocketAddr, Arc<Connections>, Option<Arc<Certificates>>) {
        let (door, stopping) = (Door::new().unwrap(), CancellationToken::new());
        let listener = door.handle().spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::new(Caps { all: 10, per_address: 10 });
        let who = async |Extension(peer): Extension<Peer>| {
            let name = peer.certificate.and_then(|certificate| certificate.common_name.clone());
            format!("{} {} {name:?}", peer.address.ip(), peer.tls)
        };
        let thread = async || format!("{:?}\n", std::thread::current().name());
        let let_in = async move |Extension(place): Extension<Place>| {
            place.let_in().await;
            thread().await
        };
        let routes = Router::new().route("/who", get(who)).route("/thread", get(thread)).route("/in", get(let_in));
        let certificates = config.tls.clone().map(|tls| Arc::new(Certificates::open(tls).unwrap()));
        let server = Arc::new(Server::new(routes, &config, certificates.clone(), Arc::clone(&door), stopping));
        door.handle().spawn(accept(listener, server, Arc::clone(&connections)));
        (address, connections, certificates)
    }

    /// What a server shows, and a client that it knows.
    fn certificates(dir: &std::path::Path) -> (ServerTls, ClientTls) {
        let asked = Development {
            dir: dir.to_owned(),
            names: Vec::new(),
            client: "worker-7".into(),
            valid: Duration::from_secs(3600),
            existing: Existing::Keep,
        };
        let made = development::make(&asked).unwrap();
        let client_ca = Some(made.ca.clone());
        let tls = ServerTls { cert: made.server, key: made.server_key, client_ca, client_auth: ClientAuth::Optional };
        let (cert, key) = (Some(made.client), Some(made.client_key));
        (tls, ClientTls { ca: Some(made.ca), cert, key, ..ClientTls::default() })
    }

    /// The line that this route answers, over a connection that stays.
    async fn told(stream: &mut Stream, path: &str) -> String {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.split_once("\r\n\r\n").is_some_and(|(_, line)| line.ends_with('\n')) {
            answer.push(char::from(stream.read_u8().await.unwrap()));
        }
        answer.rsplit("\r\n\r\n").next().unwrap().trim().to_owned()
    }

    async fn ask(stream: &mut Stream) -> String {
        stream.write_all(b"GET /who HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_request_knows_its_peer() {
        let dir = tempfile::tempdir().unwrap();
        let (tls, known) = certificates(dir.path());
        let (address, _) = door(OrchestratorConfig { tls: Some(tls), ..OrchestratorConfig::default() }).await;
        let dial = |tls| Dial::new(format!("https://{address}").parse().unwrap(), tls).unwrap();
        let client = ClientTls { cert: None, key: None, ..known.clone() };
        let nobody = ask(&mut dial(client).stream().await.unwrap()).await;
        assert!(nobody.ends_with("127.0.0.1 true None"), "{nobody}");
        let known = ask(&mut dial(known).stream().await.unwrap()).await;
        assert!(known.ends_with("127.0.0.1 true Some(\"worker-7\")"), "{known}");
    }

    #[tokio::test]
    async fn whose_authority_is_taken_away_is_told_to_go() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut tls, client) = certificates(dir.path());
        // Clients go on trusting the server.
        let authority = dir.path().join("clients.pem");
        std::fs::copy(tls.client_ca.replace(authority.clone()).unwrap(), &authority).unwrap();
        let config = OrchestratorConfig { tls: Some(tls), ..OrchestratorConfig::default() };
        let (address, _, certificates) = door_with_certificates(config).await;
        let dial = Dial::new(format!("https://{address}").parse().unwrap(), client).unwrap();
        let (mut at_the_door, mut inside) = (dial.stream().await.unwrap(), dial.stream().await.unwrap());
        told(&mut at_the_door, "/thread").await;
        told(&mut inside, "/in").await;
        std::fs::copy(self::certificates(other.path()).0.client_ca.unwrap(), authority).unwrap();
        certificates.unwrap().reload().unwrap();
        for stream in [&mut at_the_door, &mut inside] {
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        }
        // With nothing but that authority nobody gets in again.
        let mut again = dial.stream().await.unwrap();
        assert_eq!(again.read(&mut [0]).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn a_connection_is_at_the_door_until_a_caller_is_let_in_and_then_inside() {
        let inside = format!("{:?}", std::thread::current().name());
        let (plain, _) = door(OrchestratorConfig::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let (tls, client) = certificates(dir.path());
        let (encrypted, _) = door(OrchestratorConfig { tls: Some(tls), ..OrchestratorConfig::default() }).await;
        let dial = |url: String, tls| Dial::new(url.parse().unwrap(), tls).unwrap();
        for dial in
            [dial(format!("http://{plain}"), ClientTls::default()), dial(format!("https://{encrypted}"), client)]
        {
            let mut stream = dial.stream().await.unwrap();
            assert_eq!(told(&mut stream, "/thread").await, "Some(\"door\")");
            assert_eq!(told(&mut stream, "/in").await, inside);
            assert_eq!(told(&mut stream, "/thread").await, inside);
        }
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_cut_and_an_idle_one_is_closed() {
        let (short, long) = (Span(200), Span::seconds(600));
        let config =
            OrchestratorConfig { first_call_timeout: short, idle_timeout: long, ..OrchestratorConfig::default() };
        let (address, connections) = door(config).await;
        for begin in [&b""[..], b"GET /who HTTP/1.1\r\nhost: h\r\nx: ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            tcp.write_all(begin).await.unwrap();
            let mut rest = Vec::new();
            // It ends: by a close, or by a reset for what was sent and not read.
            let _ = tcp.read_to_end(&mut rest).await;
        }
        assert!(connections.counts.cut.load(Ordering::Relaxed) >= 1);

        let config =
            OrchestratorConfig { first_call_timeout: long, idle_timeout: short, ..OrchestratorConfig::default() };
        let (address, _) = door(config).await;
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"GET /who HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("127.0.0.1 false None"), "{answer}");
    }

    #[tokio::test]
    async fn a_full_house_turns_nobody_out_who_is_at_work() {
        let (address, connections) = door(OrchestratorConfig::default()).await;
        // One that was let in, one that was only answered, eight that say nothing, and two more that ask: the oldest that
        // were not let in make way.
        let mut known = Stream::accepted(TcpStream::connect(address).await.unwrap());
        let mut answered = Stream::accepted(TcpStream::connect(address).await.unwrap());
        told(&mut known, "/in").await;
        told(&mut answered, "/thread").await;
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..2 {
            let mut stream = Stream::accepted(TcpStream::connect(address).await.unwrap());
            assert!(ask(&mut stream).await.contains("127.0.0.1"));
        }
        assert_eq!(answered.read(&mut [0]).await.unwrap_or(0), 0);
        assert_ne!(told(&mut known, "/thread").await, "Some(\"door\")");
        assert_eq!(connections.counts.refused.load(Ordering::Relaxed), 0);
    }
}
