//! How every client connects: one place for time-outs, TLS, and what a failure means.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::client::{ClientTls, ClientTlsError};
use crate::pem::PemError;
use crate::stream::{FirstWord, Stream, alert};
use crate::url::ServerUrl;

/// How often a connection is made sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every 10 s, also while nothing is under way: a peer that vanished without a word is noticed within 20 s.
    Watched,
    /// Only by calls. For many connections of one process, in tests.
    Quiet,
}

/// How often, and after what time, files are read again that seem to be half changed.
const READ_AGAIN: u32 = 3;
const READ_AGAIN_AFTER: Duration = Duration::from_millis(150);

/// Where to connect, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    server: ServerUrl,
    tls: ClientTls,
    timeout: Duration,
    pace: Pace,
}

/// Why there is no connection. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there, or the name is nobody's.
    #[error("cannot connect to {server}")]
    Connect {
        /// The address.
        server: ServerUrl,
        /// What the system said.
        source: io::Error,
    },
    /// No answer within the time.
    #[error("{server} did not answer within {after:?}")]
    Late {
        /// The address.
        server: ServerUrl,
        /// The time.
        after: Duration,
    },
    /// Our own settings or files are no good.
    #[error(transparent)]
    Settings(#[from] ClientTlsError),
    /// The server's certificate is from somebody that we do not trust.
    #[error("the certificate of {server} is from an authority that {} does not have: {}", trusted(ca), ca_fix(ca))]
    UnknownAuthority {
        /// The address.
        server: ServerUrl,
        /// The file of authorities.
        ca: Option<PathBuf>,
    },
    /// The server's certificate is for another name.
    #[error(
        "the certificate of {server} is for {presented}, not for {name}: use that name in the address, give \
         --tls-domain, or make a certificate for {name} (`orchctl cert dev --name {name}`)"
    )]
    WrongName {
        /// The address.
        server: ServerUrl,
        /// The name that was wanted.
        name: String,
        /// Those that it has.
        presented: String,
    },
    /// The server's certificate is over, or has not begun.
    #[error("the certificate of {server} is not valid now: renew it on the server, or set this machine's clock")]
    Expired {
        /// The address.
        server: ServerUrl,
        /// What was found.
        source: io::Error,
    },
    /// What answers speaks no TLS.
    #[error("{server} answers, but not in TLS: write http:// in the address, or give the server a --tls-cert")]
    NoTls {
        /// The address.
        server: ServerUrl,
    },
    /// Anything else in the handshake.
    #[error("no TLS with {server}")]
    Handshake {
        /// The address.
        server: ServerUrl,
        /// What was wrong.
        source: io::Error,
    },
    /// The server does not want us like this.
    #[error("{server} refuses the connection: {why}")]
    Refused {
        /// The address.
        server: ServerUrl,
        /// Why, with what to do.
        why: String,
    },
    /// The connection is there, but HTTP/2 is not.
    #[error("{server} does not speak gRPC")]
    Transport {
        /// The address.
        server: ServerUrl,
        /// What was wrong.
        source: tonic::transport::Error,
    },
}

fn trusted(ca: &Option<PathBuf>) -> String {
    ca.as_ref().map_or_else(|| "this machine".to_owned(), |file| file.display().to_string())
}

fn ca_fix(ca: &Option<PathBuf>) -> &'static str {
    match ca {
        Some(_) => "name the authority that signed it with --tls-ca",
        None => "name its authority with --tls-ca",
    }
}

impl DialError {
    /// Whether another try may succeed although nobody changes anything: the server is away, not wrong.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Late { .. } | Self::Transport { .. } => true,
            Self::Settings(_)
            | Self::UnknownAuthority { .. }
            | Self::WrongName { .. }
            | Self::Expired { .. }
            | Self::NoTls { .. }
            | Self::Refused { .. }
            | Self::Handshake { .. } => false,
        }
    }
}

impl Dial {
    /// To connect to this server with these settings.
    ///
    /// # Errors
    /// Settings that contradict the address or each other. The files are read when a connection is made.
    pub fn new(server: ServerUrl, tls: ClientTls) -> Result<Self, ClientTlsError> {
        if let (false, Some(flag)) = (server.tls(), tls.any()) {
            return Err(ClientTlsError::Unused { flag, server: server.to_string() });
        }
        if tls.cert.is_some() != tls.key.is_some() {
            return Err(ClientTlsError::Half);
        }
        if let Some(domain) = &tls.domain {
            ServerName::try_from(domain.clone()).map_err(|_| ClientTlsError::Domain(domain.clone()))?;
        }
        Ok(Self { server, tls, timeout: Duration::from_secs(5), pace: Pace::Watched })
    }

    /// The same, with this time for TCP and TLS together [default: 5 s].
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same, at this pace [default: watched].
    #[must_use]
    pub fn pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The server.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Connects. The channel connects again by itself when the connection breaks, with the files as they are then.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn connect(&self) -> Result<Channel, DialError> {
        let transport = |source| DialError::Transport { server: self.server.clone(), source };
        let mut endpoint = Endpoint::from_shared(self.server.as_str().to_owned()).map_err(transport)?;
        match self.pace {
            Pace::Watched => {
                endpoint = endpoint
                    .http2_keep_alive_interval(Duration::from_secs(10))
                    .keep_alive_timeout(Duration::from_secs(10))
                    .keep_alive_while_idle(true);
            }
            Pace::Quiet => {}
        }
        // The first connection is made here, so that its failure is told as what it is; the channel makes later ones.
        let mut stream = self.stream().await?;
        let first_word = stream.first_word();
        let first = Arc::new(Mutex::new(Some(stream)));
        let dial = Arc::new(self.clone());
        let connector = tower::service_fn(move |_: Uri| {
            let (dial, first) = (Arc::clone(&dial), Arc::clone(&first));
            async move {
                let made = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                match made {
                    Some(stream) => Ok(TokioIo::new(stream)),
                    None => dial.stream().await.map(TokioIo::new),
                }
            }
        });
        let connected = endpoint.connect_with_connector(connector).await;
        // A server refuses a certificate after our side of the handshake is done: it is let in who hears something else.
        let server = self.server.clone();
        match tokio::time::timeout(self.timeout, first_word).await {
            Ok(Ok(FirstWord::Said)) => connected.map_err(transport),
            Ok(Ok(FirstWord::Refused(why))) => Err(DialError::Refused { server, why }),
            Ok(Err(_)) => {
                let text = match server.tls() {
                    true => {
                        "it closed the connection before it said anything: does it want a certificate (--tls-cert)?"
                    }
                    false => "it closed the connection before it said anything: does it speak TLS (https://)?",
                };
                Err(DialError::Connect { server, source: io::Error::new(io::ErrorKind::ConnectionReset, text) })
            }
            Err(_) => Err(DialError::Late { server, after: self.timeout }),
        }
    }

    /// A connection without anything said over it yet.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn stream(&self) -> Result<Stream, DialError> {
        let late = |_| DialError::Late { server: self.server.clone(), after: self.timeout };
        tokio::time::timeout(self.timeout, self.open()).await.map_err(late)?
    }

    async fn open(&self) -> Result<Stream, DialError> {
        let server = &self.server;
        let failed = |source| DialError::Connect { server: server.clone(), source };
        let tls = if server.tls() { Some(self.config().await?) } else { None };
        let tcp = TcpStream::connect((server.host(), server.port())).await.map_err(failed)?;
        // Without it every small message waits 40 ms for the peer's delayed acknowledgement.
        tcp.set_nodelay(true).map_err(failed)?;
        let Some(config) = tls else { return Ok(Stream::dialled(tcp)) };
        let name = self.tls.domain.as_deref().unwrap_or(server.host());
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|_| ClientTlsError::Domain(server.host().to_owned()))?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        tls.map(Stream::encrypted).map_err(|error| self.handshake(error))
    }

    /// The files as they are now. A certificate and its key change one after the other: two that do not fit are read
    /// again after a moment.
    async fn config(&self) -> Result<ClientConfig, ClientTlsError> {
        for _ in 0..READ_AGAIN {
            match self.tls.load() {
                Err(ClientTlsError::Pem(PemError::Pair { .. })) => tokio::time::sleep(READ_AGAIN_AFTER).await,
                loaded => return loaded,
            }
        }
        self.tls.load()
    }

    /// What a failed handshake means.
    fn handshake(&self, error: io::Error) -> DialError {
        let server = self.server.clone();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(fault)) => match fault {
                // The second: signed by another authority of the same name, such as one that was made anew.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    DialError::UnknownAuthority { server, ca: self.tls.ca.clone() }
                }
                CertificateError::NotValidForName => self.wrong_name("other names"),
                CertificateError::NotValidForNameContext { presented, .. } => self.wrong_name(&presented.join(", ")),
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => DialError::Expired { server, source: error },
                _ => DialError::Handshake { server, source: error },
            },
            Some(rustls::Error::InvalidMessage(_)) => DialError::NoTls { server },
            Some(_) => DialError::Handshake { server, source: alert(error) },
            None if error.kind() == io::ErrorKind::UnexpectedEof => DialError::NoTls { server },
            None => DialError::Handshake { server, source: error },
        }
    }

    fn wrong_name(&self, presented: &str) -> DialError {
        let name = self.tls.domain.clone().unwrap_or_else(|| self.server.host().to_owned());
        DialError::WrongName { server: self.server.clone(), name, presented: presented.to_owned() }
    }
}
