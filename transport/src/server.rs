//! What a server shows and asks for, loaded anew while it runs.
//!
//! A handshake uses what is current when it begins. A connection that stands is not touched by a reload, unless its client
//! would not be let in any more: see [`Certificates::until_refused`]. Files that are no good are never taken up: the old
//! ones stay in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::pem::{self, PemError};
use crate::{PeerCertificate, Shown, Stream, VERSIONS, provider};

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nobody gets in without one.
    #[default]
    Required,
    /// One that is shown must be good; none is fine.
    Optional,
}

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate and those that lead from it to its authority, as PEM.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities of clients' certificates. None: no client is asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show a certificate; without meaning if there are no authorities.
    pub client_auth: ClientAuth,
}

/// Why a server cannot speak TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file is no good.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The authorities of clients cannot be used.
    #[error("the client authority {} cannot be used ({why}): name a PEM file of CA certificates", file.display())]
    ClientCa {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The owner of the server's certificate, and its serial number.
    pub certificate: PeerCertificate,
    /// Whether anybody on this machine may read the key.
    pub key_is_open: bool,
}

/// The bytes of the files, to tell a change. The key is among them: never shown.
#[derive(Clone, PartialEq, Eq)]
struct Material {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What a server shows and asks for.
pub struct Certificates {
    files: ServerTls,
    state: Mutex<State>,
    /// How often the authorities of clients have changed.
    authorities: watch::Sender<u64>,
}

struct State {
    config: Arc<ServerConfig>,
    /// What lets clients in, if they are asked for certificates.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    in_use: Material,
    loaded: Loaded,
    seen: Seen,
}

/// What the last look saw.
enum Seen {
    /// What is in use.
    Same,
    /// Something else, at this look for the first time. Files change one after the other: it may be half of a change.
    New(Material),
    /// Something that is no good, and was told.
    Bad(Option<Material>),
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`ServerTlsError`].
    pub fn open(files: ServerTls) -> Result<Self, ServerTlsError> {
        let in_use = read(&files)?;
        let state = Mutex::new(build(&files, in_use)?);
        Ok(Self { files, state, authorities: watch::Sender::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files.
    pub fn files(&self) -> &ServerTls {
        &self.files
    }

    /// What is in use.
    pub fn loaded(&self) -> Loaded {
        self.state().loaded.clone()
    }

    /// Takes up the files as they are now, if they are good.
    ///
    /// # Errors
    /// [`ServerTlsError`]; then what was in use stays.
    pub fn reload(&self) -> Result<Loaded, ServerTlsError> {
        let now = read(&self.files)?;
        self.take_up(now)
    }

    /// Looks whether the files changed, to be called every few seconds. A change is taken up when it was seen twice, so
    /// that a certificate is not taken for broken while its key is still to be written. A fault is told once.
    pub fn look(&self) -> Option<Result<Loaded, ServerTlsError>> {
        let now = match read(&self.files) {
            Ok(now) => now,
            Err(error) => {
                let told = matches!(std::mem::replace(&mut self.state().seen, Seen::Bad(None)), Seen::Bad(None));
                return (!told).then_some(Err(error.into()));
            }
        };
        let mut state = self.state();
        if now == state.in_use {
            state.seen = Seen::Same;
            return None;
        }
        match &state.seen {
            Seen::Bad(Some(bad)) if *bad == now => None,
            Seen::New(new) if *new == now => {
                drop(state);
                Some(self.take_up(now))
            }
            Seen::Same | Seen::New(_) | Seen::Bad(_) => {
                state.seen = Seen::New(now);
                None
            }
        }
    }

    fn take_up(&self, now: Material) -> Result<Loaded, ServerTlsError> {
        let built = build(&self.files, now.clone());
        let mut state = self.state();
        match built {
            Ok(built) => {
                let others = built.in_use.client_ca != state.in_use.client_ca;
                *state = built;
                if others {
                    self.authorities.send_modify(|changes| *changes += 1);
                }
                Ok(state.loaded.clone())
            }
            Err(error) => {
                state.seen = Seen::Bad(Some(now));
                Err(error)
            }
        }
    }

    /// Shakes hands with a client. Bound its time.
    ///
    /// # Errors
    /// As TLS has it: no TLS, no certificate, a bad one, or the connection broke.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<(Stream, Option<Shown>)> {
        let (config, authorities) = {
            let state = self.state();
            (Arc::clone(&state.config), *self.authorities.borrow())
        };
        let tls = match TlsAcceptor::from(config).accept(tcp).into_fallible().await {
            Ok(tls) => tls,
            Err((error, tcp)) => {
                hear_out(tcp).await;
                return Err(error);
            }
        };
        let shown = Shown::of(tls.get_ref().1.peer_certificates(), authorities);
        Ok((Stream::encrypted(tls), shown))
    }

    /// Returns when the owner of this certificate would not be let in any more: its time is over, or its authority was
    /// taken away.
    pub async fn until_refused(&self, shown: &Shown) {
        let mut changes = self.authorities.subscribe();
        let mut verified_by = shown.authorities;
        loop {
            let (now, authorities) = (UnixTime::now(), *changes.borrow_and_update());
            if (authorities != verified_by || shown.left(now).is_zero()) && !self.lets_in(shown, now) {
                return;
            }
            verified_by = authorities;
            // The clock may be set meanwhile: a look now and then is enough for that.
            let look_in = shown.left(now).clamp(Duration::from_secs(1), Duration::from_secs(3600));
            tokio::select! {
                () = tokio::time::sleep(look_in) => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Whether the owner of this certificate would be let in at this time.
    fn lets_in(&self, shown: &Shown, now: UnixTime) -> bool {
        let verifier = self.state().verifier.clone();
        verifier.is_none_or(|verifier| shown.passes(&*verifier, now))
    }
}

/// Closes a connection so that the alert which says why arrives: closed with something unread, it would be reset, and
/// the alert lost on the way.
async fn hear_out(mut tcp: TcpStream) {
    if tcp.shutdown().await.is_err() {
        return;
    }
    let rest = async {
        let (mut left, mut bytes) = (64_usize, [0; 1024]);
        while left > 0 && tcp.read(&mut bytes).await.is_ok_and(|read| read > 0) {
            left -= 1;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
}

fn read(files: &ServerTls) -> Result<Material, PemError> {
    let ServerTls { cert, key, client_ca, client_auth: _ } = files;
    Ok(Material {
        cert: pem::read("certificate", cert)?,
        key: pem::read("key", key)?,
        client_ca: client_ca.as_ref().map(|file| pem::read("client authority", file)).transpose()?,
    })
}

fn build(files: &ServerTls, bytes: Material) -> Result<State, ServerTlsError> {
    let chain = pem::certificates("certificate", &files.cert, &bytes.cert)?;
    pem::in_time(&files.cert, &chain[0])?;
    let certificate = PeerCertificate::parse(&chain[0]).unwrap_or_default();
    let pair = |why: String| PemError::Pair { cert: files.cert.clone(), key: files.key.clone(), why };
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(VERSIONS).map_err(|error| pair(error.to_string()))?;
    let verifier = match (&files.client_ca, &bytes.client_ca) {
        (Some(file), Some(bytes)) => Some(verifier(file, bytes, files.client_auth)?),
        (None, _) | (_, None) => None,
    };
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, pem::key(&files.key, &bytes.key)?);
    let mut config = config.map_err(|error| pair(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // No session is resumed: whose authority was taken away cannot come back by a ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let loaded = Loaded { certificate, key_is_open: is_open(&files.key) };
    Ok(State { config: Arc::new(config), verifier, in_use: bytes, loaded, seen: Seen::Same })
}

fn verifier(file: &Path, bytes: &[u8], auth: ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, ServerTlsError> {
    let roots = Arc::new(pem::roots("client authority", file, bytes)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| ServerTlsError::ClientCa { file: file.to_owned(), why: error.to_string() })
}

fn is_open(key: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(key).is_ok_and(|found| found.permissions().mode() & 0o007 != 0)
}
