//! The connection to the orchestrator, and what its refusals mean here.

use std::error::Error as _;
use std::time::Duration;

use orch_proto::credentials::{Credentials, Identified, TokenSource};
use orch_proto::error::{Reason, WireError};
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_transport::{Dial, DialError, ServerUrl, tls_refusal};
use tonic::{Response, Status};

use crate::exit::{Exit, Failure, how_to_reach};

/// How long a command that waits rides out a server that is away: longer than a restart with a large ledger takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The wait between tries while the server is away, or does not say how long it wants.
const RETRY_EVERY: Duration = Duration::from_millis(500);
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// The largest answer, in bytes: a page of 10,000 jobs, or lines of the ledger.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// An orchestrator that answered at least once.
#[derive(Clone, Debug)]
pub struct Client {
    admin: AdminServiceClient<Identified>,
    server: ServerUrl,
    call_timeout: Duration,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] with how to start a server.
    pub async fn connect(dial: &Dial, token: &TokenSource, call_timeout: Duration) -> Result<Self, Failure> {
        let server = dial.server();
        let credentials = Credentials::new(token.clone()).map_err(|error| {
            Failure::new(Exit::Auth, "there is no token to show").fix("name its file with --token-file").because(error)
        })?;
        if *token != TokenSource::None {
            server.may_carry_secrets().map_err(|error| Failure::usage(error.to_string()))?;
        }
        let channel = dial.connect().await.map_err(|error| match error {
            DialError::Settings(error) => Failure::usage(error.to_string()),
            error if error.is_away() => {
                let failure = Failure::new(Exit::Unreachable, format!("no orchestrator answers at {server}"));
                failure.fix(how_to_reach(server)).because(error)
            }
            error @ DialError::Refused { .. } => Failure::new(Exit::Auth, error.to_string()),
            error => Failure::new(Exit::Unreachable, error.to_string()).caused(error),
        })?;
        let admin = AdminServiceClient::with_interceptor(channel, credentials)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
            .max_encoding_message_size(MAX_ANSWER_BYTES);
        Ok(Self { admin, server: server.clone(), call_timeout })
    }

    /// The service, to call. Clones share the connection.
    pub fn admin(&self) -> AdminServiceClient<Identified> {
        self.admin.clone()
    }

    /// The answer to a call, within the call's time.
    ///
    /// # Errors
    /// The server's refusal of `what`, as [`Failure::refused`] words it.
    pub async fn unary<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match self.timed(call).await {
            Ok(answer) => Ok(answer),
            Err(status) => Err(self.refused(what, &status)),
        }
    }

    /// The answer to a call that changes nothing, made again while the server is away.
    ///
    /// # Errors
    /// As [`Client::unary`], with [`Exit::Unreachable`] only after [`PATIENCE`].
    pub async fn patient<T, F, C>(&self, what: &str, mut call: F) -> Result<T, Failure>
    where
        F: FnMut(AdminServiceClient<Identified>) -> C,
        C: Future<Output = Result<Response<T>, Status>>,
    {
        let mut patience = Patience::new();
        loop {
            match self.timed(call(self.admin())).await {
                Ok(answer) => return Ok(answer),
                Err(status) if !patience.wait(&status).await => return Err(self.refused(what, &status)),
                Err(_) => {}
            }
        }
    }

    /// What the server's (or the connection's) refusal of `what` means here.
    pub fn refused(&self, what: &str, status: &Status) -> Failure {
        let failure = Failure::refused(what, &wire_error(status), &self.server);
        match status.source() {
            Some(source) => failure.because(source.to_string()),
            None => failure,
        }
    }

    async fn timed<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
        let within = tokio::time::timeout(self.call_timeout, call).await;
        let late = || Status::deadline_exceeded(format!("no answer within {:?}", self.call_timeout));
        within.unwrap_or_else(|_| Err(late())).map(Response::into_inner)
    }
}

/// Waits out a server that is away, up to [`PATIENCE`] from its first refusal.
#[derive(Debug)]
pub struct Patience {
    away_since: Option<tokio::time::Instant>,
}

impl Patience {
    /// Fresh.
    pub fn new() -> Self {
        Self { away_since: None }
    }

    /// The server answered: the next absence counts anew.
    pub fn answered(&mut self) {
        self.away_since = None;
    }

    /// Whether it is worth trying again after this status: the server is away, or asks for a pause. Waits before it
    /// says yes.
    pub async fn wait(&mut self, status: &Status) -> bool {
        let error = wire_error(status);
        if !matches!(error.reason, Reason::Unavailable | Reason::Busy) {
            return false;
        }
        let since = *self.away_since.get_or_insert_with(tokio::time::Instant::now);
        if since.elapsed() > PATIENCE {
            return false;
        }
        tokio::time::sleep(error.retry_after.unwrap_or(RETRY_EVERY).clamp(SHORTEST_WAIT, RETRY_EVERY)).await;
        true
    }
}

/// A broken connection is the same to us whatever layer noticed: the server is away.
fn wire_error(status: &Status) -> WireError {
    let mut error = WireError::from(status);
    let from_server = status.metadata().contains_key(orch_proto::error::DETAIL_KEY);
    if let Some(refusal) = status.source().and_then(tls_refusal) {
        // Another try would end in the same way.
        return WireError::new(Reason::Unauthenticated, refusal);
    }
    let broken = matches!(error.reason, Reason::Internal | Reason::CallCancelled) && status.source().is_some();
    if broken && !from_server {
        error.reason = Reason::Unavailable;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_is_a_server_that_is_away() {
        let broken = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert_eq!(wire_error(&broken).reason, Reason::Unavailable);
        assert_eq!(wire_error(&Status::internal("bug")).reason, Reason::Internal);
    }
}
