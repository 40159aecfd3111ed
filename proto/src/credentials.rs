//! What a client shows of itself: its token, and a worker's session. Both travel as headers.
//!
//! A token that stands in a file is read again when the file changes, so that it can be replaced under a running client.
//! Neither is ever shown: see [`Secret`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use orch_core::access::Secret;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// The header of a token: `Bearer TOKEN`.
pub const AUTHORIZATION: &str = "authorization";

/// The header of a worker's session.
pub const SESSION: &str = "orch-session";

/// What every token that an orchestrator makes begins with, for those who search for secrets that got out.
pub const TOKEN_PREFIX: &str = "orch_";

/// A connection whose calls carry the client's credentials.
pub type Identified = InterceptedService<Channel, Credentials>;

/// How often a token's file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest file that can hold a token.
const MAX_FILE_BYTES: u64 = 4096;

/// Where a client's token comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TokenSource {
    /// It has none.
    #[default]
    None,
    /// It was told.
    Told(Secret),
    /// It stands in this file, white space around it.
    File(PathBuf),
}

/// Why a token cannot be used. It never says the token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("failed to read the token file {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be a token.
    #[error("{0} holds no token: a token is one line of printable characters without spaces, like {TOKEN_PREFIX}...")]
    NoToken(String),
}

/// The secret in a file: one line, white space around it cut off.
///
/// # Errors
/// [`TokenError`].
pub fn read_token(path: &Path) -> Result<Secret, TokenError> {
    use std::io::Read as _;
    let failed = |source| TokenError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    checked(text.trim(), &path.display().to_string())
}

/// The text as a secret that can be a header.
///
/// # Errors
/// [`TokenError::NoToken`], which names where it came from.
pub fn checked(text: &str, from: &str) -> Result<Secret, TokenError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::NoToken(from.to_owned()));
    }
    Ok(Secret::new(text))
}

/// What a client shows of itself. Clones share it.
#[derive(Clone, Default)]
pub struct Credentials {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    source: TokenSource,
    kept: Mutex<Kept>,
    session: Mutex<Option<MetadataValue<Ascii>>>,
}

/// The token as it is shown, and when its file was last looked at.
#[derive(Default)]
struct Kept {
    header: Option<MetadataValue<Ascii>>,
    changed: Option<SystemTime>,
    looked: Option<Instant>,
}

impl Credentials {
    /// With a token from there.
    ///
    /// # Errors
    /// [`TokenError`], if there is none.
    pub fn new(source: TokenSource) -> Result<Self, TokenError> {
        let mut kept = Kept::default();
        match &source {
            TokenSource::None => {}
            TokenSource::Told(secret) => kept.header = Some(bearer(secret, "the token")?),
            TokenSource::File(path) => kept.look(path)?,
        }
        Ok(Self { shared: Arc::new(Shared { source, kept: Mutex::new(kept), session: Mutex::default() }) })
    }

    /// Shows this session from now on; none if it is empty or cannot be shown.
    pub fn set_session(&self, session: &str) {
        let value = if session.is_empty() { None } else { hidden(session) };
        *self.shared.session.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    fn token(&self) -> Option<MetadataValue<Ascii>> {
        let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let TokenSource::File(path) = &self.shared.source {
            // A file that is away for a moment, while it is replaced, takes nothing away.
            let _ = kept.look(path);
        }
        kept.header.clone()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("source", &self.shared.source).finish_non_exhaustive()
    }
}

impl Kept {
    /// Takes the file's token, if the file changed since it was last looked at, which is not too often.
    fn look(&mut self, path: &Path) -> Result<(), TokenError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let changed = std::fs::metadata(path).and_then(|file| file.modified());
        let changed = changed.map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
        if self.header.is_none() || self.changed != Some(changed) {
            self.header = Some(bearer(&read_token(path)?, &path.display().to_string())?);
            self.changed = Some(changed);
        }
        Ok(())
    }
}

fn bearer(secret: &Secret, from: &str) -> Result<MetadataValue<Ascii>, TokenError> {
    let secret = checked(secret.expose(), from)?;
    hidden(&format!("Bearer {}", secret.expose())).ok_or_else(|| TokenError::NoToken(from.to_owned()))
}

/// A header's value that no layer shows.
fn hidden(text: &str) -> Option<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> = text.parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = self.token() {
            request.metadata_mut().insert(AUTHORIZATION, token);
        }
        let session = self.shared.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(session) = session {
            request.metadata_mut().insert(SESSION, session);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(credentials: &mut Credentials) -> Option<String> {
        let request = credentials.call(Request::new(())).unwrap();
        request.metadata().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_is_shown_to_the_server_and_to_nobody_else() {
        let mut told = Credentials::new(TokenSource::Told(Secret::new("orch_abc"))).unwrap();
        assert_eq!(shown(&mut told).as_deref(), Some("Bearer orch_abc"));
        let request = told.call(Request::new(())).unwrap();
        assert!(!format!("{told:?} {request:?}").contains("abc"));
        assert_eq!(shown(&mut Credentials::default()), None);
        let bad = Credentials::new(TokenSource::Told(Secret::new("two words"))).unwrap_err().to_string();
        assert!(!bad.contains("two"), "{bad}");
    }

    #[test]
    fn a_token_file_that_is_replaced_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(matches!(Credentials::new(TokenSource::File(path.clone())), Err(TokenError::Read { .. })));
        std::fs::write(&path, " orch_1\n").unwrap();
        let mut credentials = Credentials::new(TokenSource::File(path.clone())).unwrap();
        assert_eq!(shown(&mut credentials).as_deref(), Some("Bearer orch_1"));
        std::fs::write(&path, "orch_2\n").unwrap();
        let later = std::fs::File::options().write(true).open(&path).unwrap();
        later.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
        let look_again = |credentials: &Credentials| credentials.shared.kept.lock().unwrap().looked = None;
        look_again(&credentials);
        assert_eq!(shown(&mut credentials).as_deref(), Some("Bearer orch_2"));
        // While it is away, the last one goes on.
        std::fs::remove_file(&path).unwrap();
        look_again(&credentials);
        assert_eq!(shown(&mut credentials).as_deref(), Some("Bearer orch_2"));
    }
}
