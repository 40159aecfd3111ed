//! Whose token it is, asked of a Kubernetes API server: a TokenReview.
//!
//! The wire is that of `authentication.k8s.io/v1`, over the HTTP/2 that every API server speaks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orch_core::access::Secret;
use orch_transport::{ClientTls, Dial, DialError, ServerUrl};
use serde::{Deserialize, Serialize};

use super::accounts::Account;

/// How long a review may take, the connection included.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer that is read: reviews have some hundred bytes.
const MAX_ANSWER: usize = 256 << 10;

/// Where a pod finds what it needs to speak to its API server.
pub const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why a token could not be reviewed. It says nothing about the token.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// No connection.
    #[error("the Kubernetes API server cannot be asked")]
    Dial(#[from] DialError),
    /// Our own token cannot be read.
    #[error("our own token {} cannot be read: it lets us ask the Kubernetes API server", file.display())]
    Own {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the Kubernetes API server broke off")]
    Broken(#[from] hyper::Error),
    /// No answer in time.
    #[error("the Kubernetes API server did not answer within {PATIENCE:?}")]
    Late,
    /// It did not answer a moment ago, and is not asked.
    #[error("the Kubernetes API server could not be asked a moment ago")]
    Away,
    /// It does not let us ask.
    #[error(
        "the Kubernetes API server refuses a token review with {0}: the orchestrator's service account must be allowed to \
         create tokenreviews, as the cluster role system:auth-delegator does"
    )]
    Refused(StatusCode),
    /// Not a TokenReview.
    #[error("the Kubernetes API server's answer cannot be read: {0}")]
    Answer(String),
}

/// An API server that reviews tokens for one audience.
#[derive(Debug)]
pub struct Reviewer {
    dial: Dial,
    own_token: PathBuf,
    audience: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    token: &'a str,
    audiences: [&'a str; 1],
}

#[derive(Deserialize)]
struct Answered {
    status: ReviewStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReviewStatus {
    authenticated: bool,
    user: User,
    audiences: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
}

impl Reviewer {
    /// For tokens that were made for `audience`. `credentials` has `token`, which lets us ask, and `ca.crt`, the authority
    /// of the server; both are read again for each review, because they are rotated.
    pub fn new(api: ServerUrl, credentials: &Path, audience: String) -> Self {
        let ca = api.tls().then(|| credentials.join("ca.crt"));
        let tls = ClientTls { ca, ..ClientTls::default() };
        // Nothing in it can contradict the address.
        #[allow(clippy::expect_used)]
        let dial = Dial::new(api, tls).expect("an authority for TLS only");
        Self { dial: dial.within(PATIENCE), own_token: credentials.join("token"), audience }
    }

    /// The service account that the token is of, if it is good, and made for us.
    ///
    /// # Errors
    /// [`ReviewError`].
    pub async fn review(&self, token: &Secret) -> Result<Option<Account>, ReviewError> {
        tokio::time::timeout(PATIENCE, self.ask(token)).await.map_err(|_| ReviewError::Late)?
    }

    async fn ask(&self, token: &Secret) -> Result<Option<Account>, ReviewError> {
        let own = tokio::fs::read_to_string(&self.own_token).await;
        let own = own.map_err(|source| ReviewError::Own { file: self.own_token.clone(), source })?;
        let answer = |error: &dyn std::fmt::Display| ReviewError::Answer(error.to_string());
        let spec = Spec { token: token.expose(), audiences: [&self.audience] };
        let asked = Asked { api_version: "authentication.k8s.io/v1", kind: "TokenReview", spec };
        let body = serde_json::to_vec(&asked).map_err(|error| answer(&error))?;
        let server = self.dial.server();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{server}/apis/authentication.k8s.io/v1/tokenreviews"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", own.trim()))
            .body(Body::from(body))
            .map_err(|error| answer(&error))?;
        let stream = TokioIo::new(self.dial.stream().await?);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        // It ends with the sender.
        tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(ReviewError::Refused(status));
        }
        let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await.map_err(|error| answer(&error))?;
        let answered: Answered = serde_json::from_slice(&body).map_err(|error| answer(&error))?;
        Ok(self.read(answered.status))
    }

    /// What an answer says. A server that does not know of audiences names none: then the token may be anybody's.
    fn read(&self, status: ReviewStatus) -> Option<Account> {
        let ReviewStatus { authenticated, user, audiences } = status;
        let ours = authenticated && audiences.contains(&self.audience);
        ours.then(|| Account::of_username(&user.username)).flatten()
    }
}
