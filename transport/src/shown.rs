//! The certificate that a client showed, for as long as its connection stands.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;

use crate::PeerCertificate;

/// A certificate that a handshake verified, with what leads from it to its authority.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What it says of its owner.
    pub certificate: Arc<PeerCertificate>,
    chain: Vec<CertificateDer<'static>>,
    /// Which authorities it was verified by.
    pub(crate) authorities: u64,
}

impl Shown {
    /// None if no certificate was shown, or it cannot be understood.
    pub(crate) fn of(chain: Option<&[CertificateDer<'static>]>, authorities: u64) -> Option<Self> {
        let chain = chain?.to_vec();
        let certificate = Arc::new(PeerCertificate::parse(chain.first()?)?);
        Some(Self { certificate, chain, authorities })
    }

    /// How long it is still valid by its own words.
    pub(crate) fn left(&self, now: UnixTime) -> Duration {
        Duration::from_secs(u64::try_from(self.certificate.not_after).unwrap_or(0).saturating_sub(now.as_secs()))
    }

    /// Whether it would be let in at this time.
    pub(crate) fn passes(&self, verifier: &dyn ClientCertVerifier, now: UnixTime) -> bool {
        let first = self.chain.split_first();
        first.is_some_and(|(first, others)| verifier.verify_client_cert(first, others, now).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::server::WebPkiClientVerifier;

    use super::*;
    use crate::development::{self, Development, Existing};
    use crate::provider;

    #[test]
    fn it_passes_until_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Development {
            dir: dir.path().join("certs"),
            names: Vec::new(),
            client: "worker-7".into(),
            valid: Duration::from_secs(3600),
            existing: Existing::Keep,
        };
        let made = development::make(&asked).unwrap();
        let read = |file| CertificateDer::from_pem_file(file).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(read(&made.ca)).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let shown = Shown::of(Some(&[read(&made.client)]), 0).unwrap();
        let end = u64::try_from(shown.certificate.not_after).unwrap();
        for (at, left, passes) in [(end - 60, 60, true), (end, 0, true), (end + 1, 0, false)] {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
            assert_eq!(shown.left(at), Duration::from_secs(left));
            assert_eq!(shown.passes(&*verifier, at), passes, "{left} s before its end");
        }
        assert!(Shown::of(None, 0).is_none() && Shown::of(Some(&[]), 0).is_none());
    }
}
