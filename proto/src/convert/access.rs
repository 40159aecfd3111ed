//! Tokens, roles and the audit on the wire.

use std::collections::BTreeSet;

use orch_core::access::{Audited, Role, Token, TokenId, Verdict};
use orch_core::id::{QueueName, Seq, TokenName};
use orch_core::state::TokenRefusal;
use orch_core::time::{Span, Timestamp};

use super::{Faults, MAX_SPAN};
use crate::error::{Reason, WireError};
use crate::v1;

/// The most queues that one token can be held to.
pub const MAX_TOKEN_QUEUES: usize = 1000;

/// The most entries of the audit that one answer lists, and how many come if the caller does not say.
pub const MAX_AUDIT_ENTRIES: u32 = 10_000;
const AUDIT_ENTRIES: u32 = 100;

/// A token that somebody asks for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedToken {
    /// Its name.
    pub name: TokenName,
    /// What its holder is to be.
    pub role: Role,
    /// The queues that its holder may touch; empty: all.
    pub queues: BTreeSet<QueueName>,
    /// How long it is to last, if it ends by itself.
    pub lasts: Option<Span>,
}

impl TryFrom<v1::CreateTokenRequest> for WantedToken {
    type Error = Faults;

    fn try_from(wire: v1::CreateTokenRequest) -> Result<Self, Faults> {
        let v1::CreateTokenRequest { name, role, queues, expires_in_ms } = wire;
        let mut faults = Faults::new();
        let name = faults.take("name", TokenName::new(&name));
        let role = v1::Role::try_from(role).map_err(|error| error.to_string()).and_then(checked_role);
        let role = faults.take("role", role);
        if queues.len() > MAX_TOKEN_QUEUES {
            faults.push("queues", format!("{}, at most {MAX_TOKEN_QUEUES} are allowed", queues.len()));
        }
        let each = queues.iter().take(MAX_TOKEN_QUEUES).enumerate();
        let queues =
            each.filter_map(|(i, queue)| faults.take(&format!("queues[{i}]"), QueueName::new(queue))).collect();
        let lasts = (expires_in_ms != 0).then_some(Span(expires_in_ms));
        if lasts.is_some_and(|lasts| lasts > MAX_SPAN) {
            faults.push("expires_in_ms", format!("{expires_in_ms}, at most {} are allowed", MAX_SPAN.0));
        }
        let (Some(name), Some(role)) = (name, role) else { return Err(faults) };
        faults.or(Self { name, role, queues, lasts })
    }
}

fn checked_role(role: v1::Role) -> Result<Role, String> {
    match role {
        v1::Role::Unspecified => Err("is missing: name one".to_owned()),
        v1::Role::Admin => Ok(Role::Admin),
        v1::Role::Operator => Ok(Role::Operator),
        v1::Role::Submitter => Ok(Role::Submitter),
        v1::Role::Worker => Ok(Role::Worker),
        v1::Role::Viewer => Ok(Role::Viewer),
    }
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Operator => Self::Operator,
            Role::Submitter => Self::Submitter,
            Role::Worker => Self::Worker,
            Role::Viewer => Self::Viewer,
        }
    }
}

/// A role's name; empty for none.
pub fn role_name(role: v1::Role) -> &'static str {
    checked_role(role).map_or("", Role::name)
}

/// A token as it is listed.
pub fn token(id: TokenId, token: &Token, now: Timestamp) -> v1::Token {
    let made = &token.made;
    v1::Token {
        token: id.0.0,
        name: made.name.to_string(),
        role: v1::Role::from(made.role).into(),
        queues: made.queues.iter().map(ToString::to_string).collect(),
        created_unix_ms: token.created_at.0,
        expires_unix_ms: made.expires.map_or(0, |at| at.0),
        expired: token.is_over(now),
        created_by: made.by.clone(),
    }
}

impl From<&TokenRefusal> for WireError {
    fn from(refusal: &TokenRefusal) -> Self {
        let (reason, field) = match refusal {
            TokenRefusal::NameTaken { .. } => (Reason::Conflict, "name"),
            TokenRefusal::Past(_) => (Reason::InvalidArgument, "expires_in_ms"),
            TokenRefusal::NotForQueues(_) => (Reason::InvalidArgument, "queues"),
            TokenRefusal::FirstIsAdmin => (Reason::WrongState, "role"),
            TokenRefusal::LastAdmin { .. } => (Reason::WrongState, "name"),
            TokenRefusal::Unknown(_) => (Reason::NotFound, "name"),
            TokenRefusal::TooMany => (Reason::LimitReached, ""),
        };
        Self::new(reason, refusal.to_string()).at(field)
    }
}

/// Which entries of the audit are wanted, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFilter {
    /// Whose name has this in it; empty: anybody's.
    pub actor: String,
    /// Whose call has this in it; empty: any.
    pub call: String,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
}

impl TryFrom<v1::ListAuditRequest> for AuditFilter {
    type Error = Faults;

    fn try_from(wire: v1::ListAuditRequest) -> Result<Self, Faults> {
        let v1::ListAuditRequest { actor, call, verdict, since_unix_ms, limit } = wire;
        let mut faults = Faults::new();
        let named = Verdict::ALL.into_iter().find(|known| known.name() == verdict);
        if named.is_none() && !verdict.is_empty() {
            let text: String = verdict.chars().take(64).collect();
            faults.push("verdict", format!("{text:?} is none: write allowed, denied or warned"));
        }
        let limit = if limit == 0 { AUDIT_ENTRIES } else { limit.min(MAX_AUDIT_ENTRIES) };
        let since = since_unix_ms.map(Timestamp);
        faults.or(Self { actor, call, verdict: named, since, limit: limit as usize })
    }
}

impl AuditFilter {
    /// Whether an entry is meant.
    pub fn matches(&self, at: Timestamp, entry: &Audited) -> bool {
        let Self { actor, call, verdict, since, limit: _ } = self;
        entry.actor.contains(actor.as_str())
            && entry.call.contains(call.as_str())
            && verdict.is_none_or(|verdict| verdict == entry.verdict)
            && since.is_none_or(|since| at >= since)
    }
}

/// An entry of the audit.
pub fn audit_entry(seq: Seq, at: Timestamp, entry: &Audited) -> v1::AuditEntry {
    let Audited { actor, from, call, verdict, reason, target, records, count } = entry.clone();
    let (first, last) = records.unwrap_or_default();
    v1::AuditEntry {
        seq: seq.0,
        at_unix_ms: at.0,
        actor,
        from,
        call,
        verdict: verdict.name().to_owned(),
        reason,
        target,
        first_record: first.0,
        last_record: last.0,
        count,
    }
}
