//! How the programs of Orch reach each other: addresses, TLS, and what goes wrong with them.
//!
//! [`Dial`] is how every client connects, with or without TLS; [`Certificates`] is what a server shows, and can be
//! loaded anew while it runs. One provider of cryptography (ring) and one version of TLS (1.3) serve both. This crate
//! does not know what is said over a connection, nor who may say it.

pub mod client;
#[cfg(feature = "development")]
pub mod development;
pub mod dial;
pub mod peer;
pub mod pem;
pub mod server;
pub mod shown;
pub mod stream;
pub mod url;

use std::sync::{Arc, OnceLock};

pub use client::{ClientTls, ClientTlsError};
pub use dial::{Dial, DialError, Pace};
pub use peer::{Peer, PeerCertificate};
pub use pem::PemError;
pub use server::{Certificates, ClientAuth, Loaded, ServerTls, ServerTlsError};
pub use shown::Shown;
pub use stream::{Mover, Stream, tls_refusal};
pub use url::{InTheClear, ServerUrl, UrlError};

use rustls::crypto::CryptoProvider;

/// The one provider. It is passed where it is needed, so that no crate can install another one for the whole process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// The one version: everything that speaks gRPC or HTTP today speaks it, and it has no renegotiation, no static keys and
/// no choice of weak ciphers that somebody would have to switch off.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
