//! Who is at the other end of a connection, as far as the connection itself can tell.
//!
//! A server puts a [`Peer`] into the extensions of every request. Nothing in it comes from what the peer says of itself:
//! the address is the socket's, the certificate was verified against the configured authorities.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The other end of a connection: an extension of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Its certificate, if it showed one. It was verified.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// What a verified certificate says of its owner. The texts are the authority's, but may hold any character: escape them
/// where they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject, like `O=Orch, CN=worker-7`.
    pub subject: String,
    /// The common name in the subject.
    pub common_name: Option<String>,
    /// The DNS names and URIs that the certificate is for.
    pub names: Vec<String>,
    /// The serial number, in hexadecimal digits: what an authority's records know it by.
    pub serial: String,
    /// The last second of its validity, since 1970.
    pub not_after: i64,
}

impl PeerCertificate {
    /// Whether this is its common name, or a DNS name or URI that it is for.
    pub fn is_called(&self, name: &str) -> bool {
        self.common_name.as_deref() == Some(name) || self.names.iter().any(|other| other == name)
    }

    /// Reads a certificate. None if it cannot be understood.
    pub fn parse(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let names = alternatives.map(|names| {
            let text = |name: &GeneralName<'_>| match name {
                GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
                _ => None,
            };
            names.value.general_names.iter().filter_map(text).collect()
        });
        Some(Self {
            subject: parsed.subject().to_string(),
            common_name: common_name.map(str::to_owned),
            names: names.unwrap_or_default(),
            serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }
}
