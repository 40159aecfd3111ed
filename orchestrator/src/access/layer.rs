//! The layer that every request passes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use orch_core::access::{Queues, Role, Secret, Verdict};
use orch_core::digest::Digest;
use orch_core::time::Timestamp;
use orch_proto::credentials::SESSION;
use orch_proto::error::{Reason, WireError};
use orch_transport::{Peer, PeerCertificate};
use tokio::sync::watch;

use super::caller::{Caller, Identity};
use super::guard::{self, Ended};
use super::policy::{Enforcement, Mode};
use super::refusal::{answer, is_grpc};
use super::registry::{Tokens, same};
use super::review::ReviewError;
use super::table::{self, Entry, Need};
use super::{Accounts, Auditor};
use crate::serve::Place;

/// How often the clock is asked whether a token's time is over, at least: clocks are set, too.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(15);

/// When a caller may try again whom nobody could tell us about.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What a path that is none needs: to be known, so that strangers learn nothing of what there is.
static UNKNOWN: Entry = Entry { path: "unknown", need: Need::AnyRole, long: false, certificate: false };

/// Who may come in. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    tokens: watch::Receiver<Arc<Tokens>>,
    /// SHA-256 of the bootstrap token.
    bootstrap: Option<Digest>,
    /// Kubernetes' service accounts, if any is let in.
    accounts: Option<Arc<Accounts>>,
    /// The name in the certificate that opens the calls of the table which a certificate opens.
    certificate: Option<Arc<str>>,
    enforcement: Enforcement,
    auditor: Auditor,
}

impl Access {
    /// For the holders of these tokens, of the bootstrap token, for these service accounts, and for whoever has a
    /// certificate of this name.
    pub fn new(
        tokens: watch::Receiver<Arc<Tokens>>,
        bootstrap: Option<Digest>,
        accounts: Option<Accounts>,
        certificate: Option<&str>,
        enforcement: Enforcement,
        auditor: Auditor,
    ) -> Self {
        Self {
            tokens,
            bootstrap,
            accounts: accounts.map(Arc::new),
            certificate: certificate.map(Into::into),
            enforcement,
            auditor,
        }
    }

    /// What is in force now.
    pub fn mode(&self) -> Mode {
        let known = self.bootstrap.is_some() || self.accounts.is_some() || self.tokens.borrow().ever();
        self.enforcement.mode(known)
    }

    /// Tells of callers.
    pub fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    /// Who shows these headers.
    async fn caller(
        &self,
        headers: &HeaderMap,
        entry: &'static Entry,
        peer: Option<&Peer>,
    ) -> (Caller, Option<WireError>) {
        let session = headers.get(SESSION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mode = self.mode();
        let mut caller = Caller {
            identity: Identity::Nobody,
            role: None,
            queues: Queues::All,
            expires: None,
            from: peer.map(|peer| peer.address.ip()),
            call: entry.name(),
            session,
            mode,
            auditor: self.auditor.clone(),
        };
        if mode == Mode::Off || entry.need == Need::Nothing {
            return (caller, None);
        }
        let unknown = |message: &str| Some(WireError::new(Reason::Unauthenticated, message));
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            if let Some(certificate) = self.opens(entry, peer) {
                caller.identity = Identity::Certificate(certificate.subject.clone());
                let ends = Timestamp(certificate.not_after.saturating_mul(1000));
                caller.expires = Some(ends);
                let over = now() > ends;
                return (caller, over.then(|| unknown("the certificate's time is over")).flatten());
            }
            return (caller, unknown("no token is shown: give one with --token-file FILE, or in ORCH_TOKEN"));
        };
        let Some((_, shown)) =
            value.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        else {
            return (caller, unknown("the authorization header is not `Bearer TOKEN`"));
        };
        let digest = Digest::of(shown.trim_ascii());
        if self.bootstrap.is_some_and(|bootstrap| same(&bootstrap, &digest)) {
            (caller.identity, caller.role) = (Identity::Bootstrap, Some(Role::Admin));
            return (caller, None);
        }
        let found = self.tokens.borrow().find(&digest).map(|(id, token)| (id, Arc::clone(token)));
        let Some((id, token)) = found else {
            let stranger = self.account(shown, &mut caller).await.err();
            return (caller, stranger);
        };
        caller.identity = Identity::Token(id, token.made.name.clone());
        if token.is_over(now()) {
            let at = token.made.expires.unwrap_or_default();
            return (caller, unknown(&format!("token {} ended at {at}", token.made.name)));
        }
        caller.role = Some(token.made.role);
        caller.queues = token.queues.clone();
        caller.expires = token.made.expires;
        (caller, None)
    }

    /// The certificate that the peer showed, if it opens this call: whoever signs for workers signs for others, too, so it
    /// has to be the one that was named.
    fn opens<'p>(&self, entry: &Entry, peer: Option<&'p Peer>) -> Option<&'p PeerCertificate> {
        let name = self.certificate.as_deref().filter(|_| entry.certificate)?;
        peer?.certificate.as_deref().filter(|certificate| certificate.is_called(name))
    }

    /// Makes the caller the service account whose token is shown.
    async fn account(&self, shown: &[u8], caller: &mut Caller) -> Result<(), WireError> {
        let unknown = || {
            let text = "the token is not known here: it was revoked, or is another cluster's";
            WireError::new(Reason::Unauthenticated, text)
        };
        let accounts = self.accounts.as_ref().ok_or_else(unknown)?;
        let token = Secret::new(str::from_utf8(shown.trim_ascii()).map_err(|_| unknown())?);
        match accounts.find(&token).await {
            Ok(Some(admitted)) => {
                caller.identity = Identity::ServiceAccount(admitted.account, token);
                (caller.role, caller.queues) = (Some(admitted.role), admitted.queues);
                Ok(())
            }
            Ok(None) => Err(unknown()),
            Err(error) => Err(not_known(&error)),
        }
    }

    /// Why this caller may not go on, if so.
    async fn gone(&self, identity: &Identity, expires: Option<Timestamp>) -> Option<WireError> {
        let over = |message: String| Some(WireError::new(Reason::Unauthenticated, message));
        match (identity, self.mode()) {
            (_, Mode::Off | Mode::Warn) | (Identity::Bootstrap, Mode::Strict) => None,
            (Identity::Certificate(_), Mode::Strict) if expires.is_some_and(|at| now() > at) => {
                over("the certificate's time is over".to_owned())
            }
            (Identity::Certificate(_), Mode::Strict) => None,
            (Identity::ServiceAccount(account, token), Mode::Strict) => match self.accounts.as_ref()?.find(token).await
            {
                Ok(Some(_)) => None,
                // It is away, and has been for longer than its last answer counts.
                Err(error) => Some(not_known(&error)),
                Ok(None) => over(format!("the token of service account {account} was revoked, or its time is over")),
            },
            (Identity::Nobody, Mode::Strict) => over("a token is needed from now on".to_owned()),
            (Identity::Token(id, name), Mode::Strict) if !self.tokens.borrow().is_in_force(*id, now()) => {
                over(format!("token {name} was revoked, or its time is over"))
            }
            (Identity::Token(..), Mode::Strict) => None,
        }
    }

    /// Resolves when this caller may not go on.
    fn ended(&self, caller: &Caller) -> Ended {
        let recheck = self.accounts.as_ref().map_or(LOOK_AT_CLOCK, |accounts| accounts.recheck());
        let (mut access, identity, expires) = (self.clone(), caller.identity.clone(), caller.expires);
        Box::pin(async move {
            loop {
                access.tokens.mark_unchanged();
                if let Some(error) = access.gone(&identity, expires).await {
                    return error;
                }
                let clock = async {
                    match (expires, &identity) {
                        (Some(at), _) => tokio::time::sleep(at.since(now()).duration().min(LOOK_AT_CLOCK)).await,
                        (None, Identity::ServiceAccount(..)) => tokio::time::sleep(recheck).await,
                        (None, _) => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = access.tokens.changed() => if changed.is_err() {
                        // The engine has ended, and everything with it.
                        std::future::pending::<()>().await;
                    },
                    () = clock => {}
                }
            }
        })
    }
}

/// Nobody can say now whose token it is.
fn not_known(error: &ReviewError) -> WireError {
    let text = format!("whose token it is cannot be found out now: {error}");
    WireError { retry_after: Some(ASK_AGAIN), ..WireError::new(Reason::Unavailable, text) }
}

/// Lets a request pass, with its [`Caller`], or refuses it.
pub async fn authorize(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let entry = table::find(request.uri().path()).unwrap_or(&UNKNOWN);
    let peer = request.extensions().get::<Peer>().cloned();
    let (caller, unknown) = access.caller(request.headers(), entry, peer.as_ref()).await;
    if let Some(error) = unknown.or_else(|| caller.lacks(entry.need)) {
        let reason = error.reason.as_str();
        match caller.mode {
            Mode::Strict => {
                caller.note(Verdict::Denied, reason, String::new());
                return answer(is_grpc(request.headers()), error);
            }
            Mode::Warn => caller.note(Verdict::Warned, reason, String::new()),
            Mode::Off => {}
        }
    }
    let guarded = entry.long && caller.mode != Mode::Warn;
    let ended = guarded.then(|| (access.ended(&caller), access.ended(&caller), access.ended(&caller)));
    request.extensions_mut().insert(caller);
    // What nobody needs to be known for is answered at the door, if that is where the connection is.
    if let Some(place) = request.extensions_mut().remove::<Place>().filter(|_| entry.need != Need::Nothing) {
        place.let_in().await;
    }
    let Some((for_request, for_answer, for_response)) = ended else { return next.run(request).await };
    let grpc = is_grpc(request.headers());
    let request = request.map(|body| guard::request(body, for_request));
    tokio::select! {
        error = for_answer => answer(grpc, error),
        response = next.run(request) => response.map(|body| guard::response(body, for_response)),
    }
}

/// The wall clock: tokens end by it.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
