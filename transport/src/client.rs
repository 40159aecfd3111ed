//! What a client trusts and shows.

use std::path::PathBuf;

use rustls::{ClientConfig, RootCertStore};

use crate::pem::{self, PemError};
use crate::{VERSIONS, provider};

/// What a client is told about TLS. The files are read at each new connection: rotated ones are taken up by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities whose servers are trusted, as PEM. None: those that this machine trusts.
    pub ca: Option<PathBuf>,
    /// The certificate that the client shows.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must have. None: the host of the address.
    pub domain: Option<String>,
}

/// Why a client cannot speak TLS as it was told.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// A file is no good.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate without its key, or the other way round.
    #[error("--tls-cert and --tls-key go together: name both or none")]
    Half,
    /// TLS is spelled out for an address without it.
    #[error("{flag} is given, but {server} is without TLS: write https:// in the address")]
    Unused {
        /// What was given.
        flag: &'static str,
        /// The address.
        server: String,
    },
    /// There is nobody to trust.
    #[error("this machine trusts no authority: name the one of the server with --tls-ca")]
    NoRoots,
    /// Not a name that a certificate can have.
    #[error("{0:?} is no name of a server: correct --tls-domain")]
    Domain(String),
}

impl ClientTls {
    /// The first setting that is there, for messages.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let Self { ca, cert, key, domain } = self;
        let given = [
            (ca.is_some(), "--tls-ca"),
            (cert.is_some(), "--tls-cert"),
            (key.is_some(), "--tls-key"),
            (domain.is_some(), "--tls-domain"),
        ];
        given.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<ClientConfig, ClientTlsError> {
        let roots = match &self.ca {
            Some(file) => pem::roots("authority", file, &pem::read("authority", file)?)?,
            None => machine_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(provider());
        // The provider is ours, and speaks this version.
        let builder = builder.with_protocol_versions(VERSIONS).map_err(|_| ClientTlsError::NoRoots)?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match (&self.cert, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = pem::certificates("certificate", cert, &pem::read("certificate", cert)?)?;
                pem::in_time(cert, &chain[0])?;
                let secret = pem::key(key, &pem::read("key", key)?)?;
                let pair = builder.with_client_auth_cert(chain, secret);
                pair.map_err(|error| PemError::Pair { cert: cert.clone(), key: key.clone(), why: error.to_string() })?
            }
            (Some(_), None) | (None, Some(_)) => return Err(ClientTlsError::Half),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// What this machine trusts. What of it cannot be read is left out, as everybody does.
fn machine_roots() -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(ClientTlsError::NoRoots) } else { Ok(roots) }
}
