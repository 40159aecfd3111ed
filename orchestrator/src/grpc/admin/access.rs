//! Who may come in, and who did what.

use orch_core::access::NewToken;
use orch_core::id::TokenName;
use orch_core::state::TokenRefusal;
use orch_proto::convert::{self, AuditFilter, Faults, WantedToken};
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use tonic::Status;

use super::{Admin, internal, refused};
use crate::access::{Caller, new_token};
use crate::engine::commands::access::{As, CreateToken, RevokeToken};

impl Admin {
    pub(super) fn who(caller: &Caller) -> v1::WhoAmIResponse {
        let queues = match caller.queues() {
            orch_core::access::Queues::All => Vec::new(),
            orch_core::access::Queues::Only(queues) => queues.iter().map(ToString::to_string).collect(),
        };
        v1::WhoAmIResponse {
            actor: caller.name(),
            role: caller.role().map_or(v1::Role::Unspecified, Into::into).into(),
            queues,
            enforcement: caller.mode().name().to_owned(),
            expires_unix_ms: caller.expires().map_or(0, |at| at.0),
        }
    }

    /// Whether an admin gets in without the tokens of the ledger.
    fn safe(&self) -> bool {
        self.about.config.bootstrap_token.is_some()
    }

    pub(super) async fn make_token(
        &self,
        caller: &Caller,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenResponse, Status> {
        let WantedToken { name, role, queues, lasts } = request.try_into()?;
        let secret = new_token().map_err(|error| internal(&error))?;
        let actor = caller.actor(format!("token {name}, {role}"));
        let token = NewToken { name, role, queues, expires: None, digest: secret.digest() };
        let command = CreateToken { token, lasts, by: caller.name(), safe: self.safe() };
        let replied = self.handle.call(As { actor, command }).await.map_err(refused)?;
        let id = replied.answer.map_err(|refusal| WireError::from(&refusal))?;
        let made = self.handle.query(move |engine, now| {
            engine.state().tokens().get(&id).map(|token| convert::token(id, token, now.wall))
        });
        // None: somebody revoked it at once.
        let token = made.await.map_err(refused)?;
        tracing::info!(token = id.0.0, by = caller.name(), "a token was made");
        let (secret, receipt) = (secret.expose().to_owned(), Some(replied.receipt.into()));
        Ok(v1::CreateTokenResponse { token, secret, receipt })
    }

    pub(super) async fn tokens(&self) -> Result<v1::ListTokensResponse, Status> {
        let listed = self.handle.query(|engine, now| {
            engine.state().tokens().iter().map(|(id, token)| convert::token(*id, token, now.wall)).collect()
        });
        Ok(v1::ListTokensResponse { tokens: listed.await.map_err(refused)? })
    }

    pub(super) async fn revoke(
        &self,
        caller: &Caller,
        request: v1::RevokeTokenRequest,
    ) -> Result<v1::RevokeTokenResponse, Status> {
        let v1::RevokeTokenRequest { name } = request;
        let mut faults = Faults::new();
        let Some(name) = faults.take("name", TokenName::new(&name)) else { return Err(faults.into()) };
        let actor = caller.actor(format!("token {name}"));
        let command = RevokeToken { name, by: caller.name(), safe: self.safe() };
        let replied = self.handle.call(As { actor, command }).await.map_err(refused)?;
        let id = replied.answer.map_err(|refusal: TokenRefusal| WireError::from(&refusal))?;
        tracing::info!(token = id.0.0, by = caller.name(), "a token was revoked");
        Ok(v1::RevokeTokenResponse { token: id.0.0, receipt: Some(replied.receipt.into()) })
    }

    pub(super) async fn audit(
        &self,
        caller: &Caller,
        request: v1::ListAuditRequest,
    ) -> Result<v1::ListAuditResponse, Status> {
        let filter: AuditFilter = request.try_into()?;
        // What is counted until the end of the minute is to be seen, too.
        caller.auditor().flush().await;
        let listed = self.handle.query(move |engine, _| {
            let (entries, total) = engine.state().audit();
            let meant = entries.filter(|(_, at, entry)| filter.matches(*at, entry)).take(filter.limit);
            let entries = meant.map(|(seq, at, entry)| convert::audit_entry(*seq, *at, entry)).collect();
            v1::ListAuditResponse { entries, total }
        });
        listed.await.map_err(refused)
    }

    pub(super) async fn directory_secret(&self, caller: &Caller) -> Result<v1::ReadDirectorySecretResponse, Status> {
        let keys = self.handle.query(|engine, _| engine.keys()).await.map_err(refused)?;
        let missing = || WireError::new(Reason::WrongState, "the data directory has no secret");
        let secret = keys.ok_or_else(missing)?.secret();
        caller.did("the directory's secret");
        Ok(v1::ReadDirectorySecretResponse { secret: secret.expose().to_owned() })
    }
}
