//! The secrets of a data directory, and what is proved with them.
//!
//! One file, [`layout::SECRET`], holds 256 random bits. It is made with the directory, or by the first start that finds
//! none, and every copy and backup of the directory has it. Two keys are drawn from it: one for the codes of receipts, so
//! that a receipt which a copy of this directory gave is known to be one, and one for the sessions of workers, so that
//! a worker can prove after a restart which registration is its own.

use std::io;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use orch_core::access::{Secret, SessionId};
use orch_core::digest::Digest;
use orch_core::id::WorkerId;
use orch_core::receipt::{Mac, Receipt};
use orch_ledger::{layout, secret};
use orch_proto::credentials::TOKEN_PREFIX;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

type Code = Hmac<Sha256>;

/// Why the secret of a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("failed to {doing} {}", file.display())]
    File {
        /// What failed.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not as it was made.
    #[error(
        "{} is damaged: it must hold 64 hex digits. Put back a copy of it, from a backup of this directory say; without \
         one, remove it: a new one is made, and receipts that were given until now prove nothing any more",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("failed to draw random bytes: {0}")]
    Random(String),
}

/// The keys of a data directory. They are never shown.
#[derive(Clone)]
pub struct Keys {
    secret: Digest,
    receipts: Code,
    sessions: Code,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

impl Keys {
    /// The keys of the directory, whose lock is held. The secret is made if there is none, and is durable then.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(dir: &Path) -> Result<Self, KeyError> {
        let failed = |doing| move |source| KeyError::File { doing, file: dir.join(layout::SECRET), source };
        match secret::read(dir) {
            Ok(Some(secret)) => Ok(Self::of(secret)),
            Ok(None) => {
                let secret = Digest(random()?);
                secret::put(dir, secret).map_err(failed("make"))?;
                tracing::info!("the data directory got a secret of its own");
                Ok(Self::of(secret))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(KeyError::Damaged { file: dir.join(layout::SECRET) })
            }
            Err(source) => Err(failed("read")(source)),
        }
    }

    /// The keys that are drawn from a secret.
    #[allow(clippy::expect_used)]
    pub fn of(secret: Digest) -> Self {
        let code = |key: &[u8]| Code::new_from_slice(key).expect("a key of any length will do");
        let draw = |purpose: &[u8]| {
            let mut drawn = code(&secret.0);
            drawn.update(purpose);
            code(&drawn.finalize().into_bytes())
        };
        Self { secret, receipts: draw(b"orch receipts"), sessions: draw(b"orch sessions") }
    }

    /// The secret itself, for a backup.
    pub fn secret(&self) -> Secret {
        Secret::new(self.secret.to_string())
    }

    /// The code of a receipt.
    pub fn seal(&self, receipt: &Receipt) -> Mac {
        let mut code = self.receipts.clone();
        code.update(&receipt.seq.0.to_be_bytes());
        code.update(&receipt.chain.0);
        let mut mac = Mac::default();
        mac.0.copy_from_slice(&code.finalize().into_bytes()[..16]);
        mac
    }

    /// Whether a copy of this directory gave the receipt.
    pub fn sealed(&self, receipt: &Receipt) -> bool {
        self.seal(receipt).0.ct_eq(&receipt.mac.0).into()
    }

    /// What proves that a registration of this worker is the caller's own: its id, and the code of it.
    pub fn session(&self, worker: &WorkerId, session: SessionId) -> Secret {
        let code = self.session_code(worker, session).finalize().into_bytes();
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&code);
        Secret::new(format!("{session}.{}", Digest(bytes)))
    }

    /// The registration that a text proves to be this worker's; None: it proves nothing.
    pub fn proved(&self, worker: &WorkerId, text: &str) -> Option<SessionId> {
        let (session, code) = text.split_once('.')?;
        let (session, code) = (session.parse().ok()?, code.parse::<Digest>().ok()?);
        let expected = self.session_code(worker, session).finalize().into_bytes();
        bool::from(expected.as_slice().ct_eq(&code.0)).then_some(session)
    }

    fn session_code(&self, worker: &WorkerId, session: SessionId) -> Code {
        let mut code = self.sessions.clone();
        code.update(&session.0);
        code.update(worker.as_str().as_bytes());
        code
    }
}

/// A new token's secret: 256 random bits.
///
/// # Errors
/// [`KeyError::Random`].
pub fn new_token() -> Result<Secret, KeyError> {
    Ok(Secret::new(format!("{TOKEN_PREFIX}{}", Digest(random()?))))
}

/// A new registration's id.
///
/// # Errors
/// [`KeyError::Random`].
pub fn new_session() -> Result<SessionId, KeyError> {
    random().map(SessionId)
}

fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use orch_core::id::Seq;

    use super::*;

    #[test]
    fn a_directory_keeps_its_secret_and_shows_it_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let again = Keys::open(dir.path()).unwrap();
        let other = Keys::open(tempfile::tempdir().unwrap().path()).unwrap();
        let mut receipt = Receipt { seq: Seq(7), chain: Digest::of(b"x"), ..Receipt::default() };
        receipt.mac = keys.seal(&receipt);
        assert!(keys.sealed(&receipt) && again.sealed(&receipt) && !other.sealed(&receipt));
        assert!(!keys.sealed(&Receipt { seq: Seq(8), ..receipt }));
        assert!(!keys.sealed(&Receipt { mac: Mac::default(), ..receipt }));
        let file = dir.path().join(layout::SECRET);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let secret = fs::read_to_string(&file).unwrap();
        assert!(!format!("{keys:?}").contains(secret.trim()));
        fs::write(&file, "no").unwrap();
        assert!(matches!(Keys::open(dir.path()), Err(KeyError::Damaged { .. })));
    }

    #[test]
    fn a_session_is_its_workers_own() {
        let keys = Keys::of(Digest::of(b"a secret"));
        let (a, b) = (WorkerId::new("a").unwrap(), WorkerId::new("b").unwrap());
        let session = new_session().unwrap();
        let proof = keys.session(&a, session);
        assert_eq!(keys.proved(&a, proof.expose()), Some(session));
        assert_eq!(keys.proved(&b, proof.expose()), None);
        for forged in ["", ".", &session.to_string(), &format!("{session}.{}", Digest::default())] {
            assert_eq!(keys.proved(&a, forged), None, "{forged}");
        }
    }

    #[test]
    fn tokens_are_long_random_and_recognisable() {
        let (one, two) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, two);
        assert!(one.expose().starts_with("orch_") && one.expose().len() == 5 + 64);
    }
}
