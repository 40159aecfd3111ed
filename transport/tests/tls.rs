//! TLS over real sockets: who gets in, what the one who does not is told, and certificates that change meanwhile.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orch_transport::development::{self, Development, DevelopmentError, Existing, Made};
use orch_transport::{Certificates, ClientAuth, ClientTls, Dial, DialError, ServerTls, ServerUrl, Shown};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn asked(dir: &Path, client: &str) -> Development {
    Development {
        dir: dir.to_owned(),
        names: vec!["orch.example.org".into(), "10.1.2.3".into()],
        client: client.into(),
        valid: Duration::from_secs(86_400),
        existing: Existing::Replace,
    }
}

fn made() -> (TempDir, Made) {
    let dir = tempfile::tempdir().unwrap();
    let made = development::make(&asked(dir.path(), "worker-7")).unwrap();
    (dir, made)
}

fn files(made: &Made, client_ca: bool, client_auth: ClientAuth) -> ServerTls {
    let client_ca = client_ca.then(|| made.ca.clone());
    ServerTls { cert: made.server.clone(), key: made.server_key.clone(), client_ca, client_auth }
}

fn trusting(made: &Made) -> ClientTls {
    ClientTls { ca: Some(made.ca.clone()), ..ClientTls::default() }
}

fn with_certificate(made: &Made) -> ClientTls {
    ClientTls { cert: Some(made.client.clone()), key: Some(made.client_key.clone()), ..trusting(made) }
}

/// A server that answers every connection with one byte, and tells who came.
struct Server {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    came: mpsc::UnboundedReceiver<Option<Shown>>,
}

impl Server {
    async fn start(files: ServerTls) -> Self {
        let certificates = Arc::new(Certificates::open(files).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, came) = mpsc::unbounded_channel();
        let shown = Arc::clone(&certificates);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (shown, sender) = (Arc::clone(&shown), sender.clone());
                tokio::spawn(async move {
                    if let Ok((mut stream, peer)) = shown.accept(tcp).await {
                        let _ = sender.send(peer);
                        let _ = stream.write_all(b"!").await;
                        // Open until the client goes.
                        let _ = stream.read(&mut [0]).await;
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        Self { address, certificates, came }
    }

    fn url(&self, host: &str) -> ServerUrl {
        format!("https://{host}:{}", self.address.port()).parse().unwrap()
    }

    /// Connects and reads the byte, so that a refusal after the handshake is seen too.
    async fn reach(&self, host: &str, tls: ClientTls) -> Result<(), String> {
        let mut stream = dial(self.url(host), tls).await.map_err(|error| error.to_string())?;
        stream.read_exact(&mut [0]).await.map(drop).map_err(|error| error.to_string())
    }
}

async fn dial(url: ServerUrl, tls: ClientTls) -> Result<orch_transport::Stream, DialError> {
    Dial::new(url, tls)?.within(Duration::from_secs(60)).stream().await
}

#[tokio::test]
async fn a_certificate_tells_who_came() {
    let (_dir, made) = made();
    let mut server = Server::start(files(&made, true, ClientAuth::Required)).await;
    for host in ["localhost", "127.0.0.1"] {
        server.reach(host, with_certificate(&made)).await.unwrap();
        let peer = server.came.recv().await.unwrap().unwrap().certificate;
        assert_eq!(peer.common_name.as_deref(), Some("worker-7"));
        assert_eq!(peer.subject, "O=Orch development, CN=worker-7");
        assert!(!peer.serial.is_empty() && peer.not_after > 0);
    }
    let domain = ClientTls { domain: Some("orch.example.org".into()), ..with_certificate(&made) };
    server.reach("127.0.0.1", domain).await.unwrap();
}

#[tokio::test]
async fn whoever_does_not_get_in_is_told_why() {
    let (_dir, made) = made();
    let (_other_dir, other) = self::made();
    let server = Server::start(files(&made, true, ClientAuth::Required)).await;
    let refused = async |host: &str, tls| server.reach(host, tls).await.unwrap_err();

    let text = refused("127.0.0.1", trusting(&other)).await;
    assert!(text.contains("authority that") && text.contains("ca.pem") && text.contains("--tls-ca"), "{text}");
    let domain = ClientTls { domain: Some("other.example.org".into()), ..with_certificate(&made) };
    let text = refused("127.0.0.1", domain).await;
    assert!(text.contains("other.example.org") && text.contains("orch.example.org"), "{text}");
    assert!(text.contains("orchctl cert dev --name other.example.org"), "{text}");
    let text = refused("127.0.0.1", trusting(&made)).await;
    assert!(text.contains("--tls-cert"), "{text}");
    let stranger = ClientTls { ca: Some(made.ca.clone()), ..with_certificate(&other) };
    let text = refused("127.0.0.1", stranger).await;
    assert!(text.contains("certificate"), "{text}");
    // The server's own certificate is none of a client.
    let disguised =
        ClientTls { cert: Some(made.server.clone()), key: Some(made.server_key.clone()), ..trusting(&made) };
    let text = refused("127.0.0.1", disguised).await;
    assert!(text.contains("certificate"), "{text}");
    let crossed = ClientTls { key: Some(other.client_key.clone()), ..with_certificate(&made) };
    let text = refused("127.0.0.1", crossed).await;
    assert!(text.contains("does not fit") && text.contains("client-key.pem"), "{text}");
    let missing = ClientTls { ca: Some("/nowhere/ca.pem".into()), ..ClientTls::default() };
    let text = refused("127.0.0.1", missing).await;
    assert!(text.contains("/nowhere/ca.pem"), "{text}");
    let no_pem = ClientTls { ca: Some(made.ca_key.clone()), ..ClientTls::default() };
    let text = refused("127.0.0.1", no_pem).await;
    assert!(text.contains("-----BEGIN CERTIFICATE-----"), "{text}");
}

#[tokio::test]
async fn a_certificate_may_be_optional_but_not_bad() {
    let (_dir, made) = made();
    let (_other_dir, other) = self::made();
    let mut server = Server::start(files(&made, true, ClientAuth::Optional)).await;
    server.reach("localhost", trusting(&made)).await.unwrap();
    assert!(server.came.recv().await.unwrap().is_none());
    server.reach("localhost", with_certificate(&made)).await.unwrap();
    assert!(server.came.recv().await.unwrap().is_some());
    let stranger = ClientTls { ca: Some(made.ca.clone()), ..with_certificate(&other) };
    assert!(server.reach("localhost", stranger).await.is_err());
}

#[tokio::test]
async fn tls_and_plain_tell_each_other_apart() {
    let (_dir, made) = made();
    let server = Server::start(files(&made, false, ClientAuth::Required)).await;
    let plain: ServerUrl = format!("http://{}", server.address).parse().unwrap();
    let mut stream = dial(plain, ClientTls::default()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let text = stream.read(&mut [0; 64]).await.unwrap_err().to_string();
    assert!(text.contains("https://"), "{text}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let url: ServerUrl = format!("https://127.0.0.1:{port}").parse().unwrap();
    let error = dial(url, trusting(&made)).await.unwrap_err();
    assert!(matches!(error, DialError::NoTls { .. }), "{error}");
    assert!(error.to_string().contains("http://"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_said_to_have() {
    let dir = tempfile::tempdir().unwrap();
    let made = development::make(&Development { valid: Duration::from_secs(3), ..asked(dir.path(), "c") }).unwrap();
    let server = Server::start(files(&made, false, ClientAuth::Required)).await;
    let url = server.url("localhost");
    let end = std::time::Instant::now() + Duration::from_secs(120);
    let error = loop {
        match dial(url.clone(), trusting(&made)).await {
            Ok(_) => assert!(std::time::Instant::now() < end, "it never ends"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(error.to_string().contains("not valid now: renew it"), "{error}");
    // Nor does a server start with it, nor a client show it.
    let text = Certificates::open(files(&made, false, ClientAuth::Required)).unwrap_err().to_string();
    assert!(text.contains("server.pem") && text.contains("renew it"), "{text}");
}

#[tokio::test]
async fn new_certificates_are_taken_up_and_bad_ones_are_not() {
    let (dir, made) = made();
    let server = Server::start(files(&made, true, ClientAuth::Required)).await;
    let first = server.certificates.loaded().certificate.serial;
    assert!(server.certificates.look().is_none(), "nothing has changed");
    let mut standing = dial(server.url("localhost"), with_certificate(&made)).await.unwrap();
    standing.read_exact(&mut [0]).await.unwrap();

    development::make(&Development { existing: Existing::Renew, ..asked(dir.path(), "worker-8") }).unwrap();
    assert!(server.certificates.look().is_none(), "a change is seen twice before it is taken up");
    let loaded = server.certificates.look().unwrap().unwrap();
    assert_ne!(loaded.certificate.serial, first);
    assert!(server.certificates.look().is_none());
    // The files of the client are read anew by themselves.
    server.reach("localhost", with_certificate(&made)).await.unwrap();

    std::fs::write(&made.server_key, "no key").unwrap();
    assert!(server.certificates.look().is_none());
    let text = server.certificates.look().unwrap().unwrap_err().to_string();
    assert!(text.contains("server-key.pem"), "{text}");
    assert!(server.certificates.look().is_none(), "a fault is told once");
    assert!(server.certificates.reload().is_err(), "and again to whoever asks for it");
    server.reach("localhost", with_certificate(&made)).await.unwrap();
    std::fs::remove_file(&made.server_key).unwrap();
    assert!(server.certificates.look().unwrap().is_err());
    assert!(server.certificates.look().is_none());
    server.reach("localhost", with_certificate(&made)).await.unwrap();

    let again = development::make(&asked(dir.path(), "worker-9")).unwrap();
    assert!(server.certificates.look().is_none());
    assert!(server.certificates.look().unwrap().is_ok());
    server.reach("localhost", with_certificate(&again)).await.unwrap();
    // The connection from before all of that stands: nobody has closed it.
    standing.write_all(b"!").await.unwrap();
    assert_eq!(standing.read(&mut [0]).await.unwrap(), 0, "the server ends it in order, after our byte");
}

#[test]
fn development_certificates_are_not_overwritten_and_keys_are_the_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, made) = made();
    let careful = Development { existing: Existing::Keep, ..asked(dir.path(), "c") };
    let error = development::make(&careful).unwrap_err();
    assert!(matches!(error, DevelopmentError::Exists { .. }) && error.to_string().contains("--force"), "{error}");
    for key in [&made.ca_key, &made.server_key, &made.client_key] {
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
    // Renewed by the same authority, they are trusted by whoever trusted it.
    let (ca, server) = (std::fs::read(&made.ca).unwrap(), std::fs::read(&made.server).unwrap());
    development::make(&Development { existing: Existing::Renew, ..asked(dir.path(), "c") }).unwrap();
    assert_eq!(std::fs::read(&made.ca).unwrap(), ca);
    assert_ne!(std::fs::read(&made.server).unwrap(), server);
    assert_eq!(made.names, ["localhost", "127.0.0.1", "::1", "orch.example.org", "10.1.2.3"]);
    let open = Certificates::open(files(&made, false, ClientAuth::Required)).unwrap();
    assert!(!open.loaded().key_is_open);
    std::fs::set_permissions(&made.server_key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open.reload().unwrap().key_is_open);
}

#[tokio::test]
async fn whose_authority_is_taken_away_is_refused_while_the_connection_stands() {
    let ((_dir, made), (_other_dir, other)) = (made(), made());
    let mut server = Server::start(files(&made, true, ClientAuth::Required)).await;
    server.reach("localhost", with_certificate(&made)).await.unwrap();
    let shown = server.came.recv().await.unwrap().unwrap();
    let is_refused = async || {
        tokio::select! {
            biased;
            () = server.certificates.until_refused(&shown) => true,
            () = std::future::ready(()) => false,
        }
    };
    assert!(!is_refused().await);
    // Another certificate of the server, and another authority beside the one that is: nothing is to be done.
    let (ours, others) = (std::fs::read(&made.ca).unwrap(), std::fs::read(&other.ca).unwrap());
    std::fs::write(&made.ca, [ours, others.clone()].concat()).unwrap();
    server.certificates.reload().unwrap();
    assert!(!is_refused().await);
    std::fs::write(&made.ca, others).unwrap();
    server.certificates.reload().unwrap();
    assert!(is_refused().await);
}
