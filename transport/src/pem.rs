//! Certificates and keys in files, as PEM: read in one place, so that every complaint names the file and the fix.

use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The largest file that is read: a bundle of every public authority has 250 KiB.
const MAX_BYTES: u64 = 4 << 20;

/// Why a file of certificates or a key cannot be used. Each message names the file, and the fix.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("cannot read the {what} {}: correct the path, or let this user read it", file.display())]
    Read {
        /// What it was to be.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too large to be what it should be.
    #[error("the {what} {} has more than {MAX_BYTES} bytes: name a PEM file", file.display())]
    Large {
        /// What it was to be.
        what: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// It holds no PEM of the right sort.
    #[error("the {what} {} is none: it must be PEM, with a line {marker:?}", file.display())]
    None {
        /// What it was to be.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// The line that begins what was looked for.
        marker: &'static str,
    },
    /// A certificate in it cannot be understood.
    #[error("the {what} {} holds something that is no certificate ({why}): make it anew", file.display())]
    Bad {
        /// What it was to be.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key is not the certificate's, or of a sort that is not known.
    #[error(
        "the key {} does not fit the certificate {} ({why}): name the two that were made together",
        key.display(), cert.display()
    )]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The certificate's time is over, or has not begun.
    #[error("the certificate {} is valid from {from} to {until}, which is not now: renew it", file.display())]
    Time {
        /// The file.
        file: PathBuf,
        /// The first moment of its validity.
        from: String,
        /// The last.
        until: String,
    },
}

/// Reads a file that holds `what`.
pub(crate) fn read(what: &'static str, file: &Path) -> Result<Vec<u8>, PemError> {
    let failed = |source| PemError::Read { what, file: file.to_owned(), source };
    if std::fs::metadata(file).map_err(failed)?.len() > MAX_BYTES {
        return Err(PemError::Large { what, file: file.to_owned() });
    }
    std::fs::read(file).map_err(failed)
}

/// The certificates of a file's bytes, the first one being the owner's own; at least one.
pub(crate) fn certificates(
    what: &'static str,
    file: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bad = |why: String| PemError::Bad { what, file: file.to_owned(), why };
    let chain = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| bad(error.to_string()))?;
    if chain.is_empty() {
        return Err(PemError::None { what, file: file.to_owned(), marker: "-----BEGIN CERTIFICATE-----" });
    }
    for certificate in &chain {
        X509Certificate::from_der(certificate).map_err(|error| bad(error.to_string()))?;
    }
    Ok(chain)
}

/// The private key of a file's bytes.
pub(crate) fn key(file: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    let none = |_| PemError::None { what: "key", file: file.to_owned(), marker: "-----BEGIN PRIVATE KEY-----" };
    PrivateKeyDer::from_pem_slice(bytes).map_err(none)
}

/// The authorities of a file's bytes.
pub(crate) fn roots(what: &'static str, file: &Path, bytes: &[u8]) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, file, bytes)? {
        let added = roots.add(certificate);
        added.map_err(|error| PemError::Bad { what, file: file.to_owned(), why: error.to_string() })?;
    }
    Ok(roots)
}

/// When a certificate ends, in seconds since 1970; an error if that is past, or it has not begun.
pub(crate) fn in_time(file: &Path, certificate: &CertificateDer<'_>) -> Result<i64, PemError> {
    let parsed = X509Certificate::from_der(certificate);
    let (_, parsed) =
        parsed.map_err(|error| PemError::Bad { what: "certificate", file: file.to_owned(), why: error.to_string() })?;
    let validity = parsed.validity();
    if validity.is_valid() {
        return Ok(validity.not_after.timestamp());
    }
    let (from, until) = (validity.not_before.to_string(), validity.not_after.to_string());
    Err(PemError::Time { file: file.to_owned(), from, until })
}
