//! Certificates for development and tests: an authority, one for a server, one for a client.
//!
//! The authority's key lies beside them, so whoever can read the folder can be anybody. It is not how a certificate for a
//! server that strangers reach is made.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Development {
    /// Where the files go; made if it is not there.
    pub dir: PathBuf,
    /// More names and addresses of the server, beside `localhost`, `127.0.0.1` and `::1`.
    pub names: Vec<String>,
    /// The common name of the client.
    pub client: String,
    /// How long the certificates are valid.
    pub valid: Duration,
    /// What becomes of files that are there.
    pub existing: Existing,
}

/// What becomes of files that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing is made.
    Keep,
    /// The authority stays; what it signed is made anew. Whoever trusts it goes on doing so.
    Renew,
    /// Everything is made anew.
    Replace,
}

/// The files that were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The authority's certificate: what both sides trust.
    pub ca: PathBuf,
    /// The authority's key.
    pub ca_key: PathBuf,
    /// The server's certificate.
    pub server: PathBuf,
    /// The server's key.
    pub server_key: PathBuf,
    /// The client's certificate.
    pub client: PathBuf,
    /// The client's key.
    pub client_key: PathBuf,
    /// The names that the server's certificate is for.
    pub names: Vec<String>,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// A file is there already.
    #[error(
        "{} is there already: choose another folder, make new certificates of the same authority with --renew, or replace \
         everything with --force",
        file.display()
    )]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The authority's key is not there, or is none.
    #[error("cannot read the authority's key {}: without it nothing can be renewed; make everything anew with --force", file.display())]
    NoAuthority {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that no certificate can have.
    #[error("cannot make a certificate: are all names those of hosts?")]
    Make(#[from] rcgen::Error),
}

/// Makes an authority, and certificates of a server and of a client that it signed.
///
/// # Errors
/// [`DevelopmentError`].
pub fn make(asked: &Development) -> Result<Made, DevelopmentError> {
    let Development { dir, names, client, valid, existing } = asked;
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    all.extend(names.iter().filter(|name| !["localhost", "127.0.0.1", "::1"].contains(&name.as_str())).cloned());
    let file = |name: &str| dir.join(name);
    let made = Made {
        ca: file("ca.pem"),
        ca_key: file("ca-key.pem"),
        server: file("server.pem"),
        server_key: file("server-key.pem"),
        client: file("client.pem"),
        client_key: file("client-key.pem"),
        names: all,
    };
    let Made { ca, ca_key, server, server_key, client: client_cert, client_key, names } = &made;
    let files = [ca, ca_key, server, server_key, client_cert, client_key];
    let there = files.into_iter().find(|file| file.exists());
    if let (Existing::Keep, Some(there)) = (existing, there) {
        return Err(DevelopmentError::Exists { file: there.clone() });
    }
    fs::create_dir_all(dir).map_err(|source| DevelopmentError::Write { file: dir.clone(), source })?;
    let until = SystemTime::now() + *valid;
    let authority = authority(until);
    let issuer_key = match existing {
        Existing::Renew => {
            let read = fs::read_to_string(ca_key);
            KeyPair::from_pem(&read.map_err(|source| DevelopmentError::NoAuthority { file: ca_key.clone(), source })?)?
        }
        Existing::Keep | Existing::Replace => {
            let key = KeyPair::generate()?;
            write(ca, 0o644, &authority.self_signed(&key)?.pem())?;
            write(ca_key, 0o600, &key.serialize_pem())?;
            key
        }
    };
    let issuer = Issuer::new(authority, issuer_key);
    let server_params = leaf("orchestrator", names, ExtendedKeyUsagePurpose::ServerAuth, until)?;
    pair(&issuer, &server_params, server, server_key)?;
    let client_params = leaf(client, &[], ExtendedKeyUsagePurpose::ClientAuth, until)?;
    pair(&issuer, &client_params, client_cert, client_key)?;
    Ok(made)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Orch development");
    name.push(DnType::CommonName, common);
    name
}

fn validity(params: &mut CertificateParams, until: SystemTime) {
    // A clock that is a little behind must not find a certificate that has not begun.
    params.not_before = (SystemTime::now() - Duration::from_secs(3600)).into();
    params.not_after = until.into();
}

fn authority(until: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Orch development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, until);
    params
}

fn leaf(
    common: &str,
    names: &[String],
    usage: ExtendedKeyUsagePurpose,
    until: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = name(common);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, until);
    Ok(params)
}

fn pair(
    issuer: &Issuer<'_, KeyPair>,
    params: &CertificateParams,
    cert: &Path,
    key: &Path,
) -> Result<(), DevelopmentError> {
    let secret = KeyPair::generate()?;
    write(key, 0o600, &secret.serialize_pem())?;
    write(cert, 0o644, &params.signed_by(&secret, issuer)?.pem())
}

/// Replaces a file whole, with these permissions from its first byte on.
fn write(file: &Path, mode: u32, text: &str) -> Result<(), DevelopmentError> {
    let failed = |source| DevelopmentError::Write { file: file.to_owned(), source };
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let _ = fs::remove_file(&beside);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(failed)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
    fs::rename(&beside, file).map_err(failed)
}
