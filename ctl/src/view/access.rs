//! Tokens, the audit, and who one is.

use orch_core::time::Timestamp;
use orch_proto::convert::role_name;
use orch_proto::v1;
use serde::Serialize;

use super::{ago, some_text, some_time};
use crate::output::{Cell, Page, Table, Tint, View, each, key_values};

/// A token; never its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenView {
    /// Its id: the seq of the record that made it.
    pub token: u64,
    pub name: String,
    pub role: &'static str,
    /// That its holder may touch; null: all.
    pub queues: Option<Vec<String>>,
    pub created_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub expired: bool,
    pub created_by: String,
}

impl From<v1::Token> for TokenView {
    fn from(wire: v1::Token) -> Self {
        let role = role_name(wire.role());
        let v1::Token { token, name, role: _, queues, created_unix_ms, expires_unix_ms, expired, created_by } = wire;
        Self {
            token,
            name,
            role,
            queues: (!queues.is_empty()).then_some(queues),
            created_at: some_time(created_unix_ms),
            expires_at: some_time(expires_unix_ms),
            expired,
            created_by,
        }
    }
}

/// The tokens that were not revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokensView {
    pub tokens: Vec<TokenView>,
}

impl From<v1::ListTokensResponse> for TokensView {
    fn from(wire: v1::ListTokensResponse) -> Self {
        Self { tokens: wire.tokens.into_iter().map(Into::into).collect() }
    }
}

impl View for TokensView {
    fn table(&self, page: &Page) -> String {
        let mut table = Table::new(&["TOKEN", "ROLE", "QUEUES", ">MADE", "BY", "ENDS"]);
        for token in &self.tokens {
            let ends = token.expires_at.map(|at| at.to_string());
            table.row(vec![
                (&token.name).into(),
                token.role.into(),
                Cell::maybe(token.queues.as_ref().map(|queues| queues.join(", ")).as_ref()),
                Cell::maybe(token.created_at.map(|at| ago(page.now, at)).as_ref()),
                (&token.created_by).into(),
                if token.expired { Cell::tinted("is over", Tint::Warn) } else { Cell::maybe(ends.as_ref()) },
            ]);
        }
        table.text(page, "no tokens: `orchctl token create NAME --role admin` makes the first")
    }

    fn names(&self) -> Vec<String> {
        self.tokens.iter().map(|token| token.name.clone()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.tokens)
    }
}

/// A token that was made, with its secret, unless that went into a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenMadeView {
    #[serde(flatten)]
    pub token: TokenView,
    /// Null if it was written to a file.
    pub secret: Option<String>,
    pub file: Option<String>,
}

impl TokenMadeView {
    /// The token, and the file that its secret went into, if any.
    pub fn new(wire: v1::CreateTokenResponse, file: Option<String>) -> Self {
        let v1::CreateTokenResponse { token, secret, receipt: _ } = wire;
        Self { token: token.unwrap_or_default().into(), secret: file.is_none().then_some(secret), file }
    }
}

impl View for TokenMadeView {
    fn table(&self, _page: &Page) -> String {
        let TokenView { name, role, .. } = &self.token;
        match (&self.secret, &self.file) {
            (Some(secret), _) => {
                format!("token {name}, {role}; this is shown once, and nobody can show it again:\n{secret}")
            }
            (None, Some(file)) => format!("token {name}, {role}; its secret is in {file}, and nowhere else"),
            (None, None) => format!("token {name}, {role}"),
        }
    }

    /// The secret: `export ORCH_TOKEN=$(orchctl token create ... -o name)`.
    fn names(&self) -> Vec<String> {
        vec![self.secret.clone().unwrap_or_else(|| self.token.name.clone())]
    }
}

/// A token that lets nobody in any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenRevokedView {
    pub name: String,
    pub token: u64,
    /// The record that says so.
    pub seq: Option<u64>,
}

impl TokenRevokedView {
    /// The token of this name.
    pub fn new(name: String, wire: v1::RevokeTokenResponse) -> Self {
        let v1::RevokeTokenResponse { token, receipt } = wire;
        Self { name, token, seq: receipt.map(|receipt| receipt.seq) }
    }
}

impl View for TokenRevokedView {
    fn table(&self, _page: &Page) -> String {
        format!("token {} is revoked", self.name)
    }

    fn names(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

/// Who did what, from where, and whether it was allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntryView {
    pub seq: u64,
    pub at: Option<Timestamp>,
    pub actor: String,
    pub from: Option<String>,
    pub call: String,
    /// `allowed`, `denied` or `warned`.
    pub verdict: String,
    /// Why it was not simply allowed.
    pub reason: Option<String>,
    pub target: Option<String>,
    /// The records that it led to: the first and the last.
    pub records: Option<(u64, u64)>,
    /// How many such calls there were.
    pub count: u64,
}

impl From<v1::AuditEntry> for AuditEntryView {
    fn from(wire: v1::AuditEntry) -> Self {
        let v1::AuditEntry {
            seq,
            at_unix_ms,
            actor,
            from,
            call,
            verdict,
            reason,
            target,
            first_record,
            last_record,
            count,
        } = wire;
        Self {
            seq,
            at: some_time(at_unix_ms),
            actor,
            from: some_text(from),
            call,
            verdict,
            reason: some_text(reason),
            target: some_text(target),
            records: (first_record > 0).then_some((first_record, last_record)),
            count,
        }
    }
}

/// The audit, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditView {
    pub entries: Vec<AuditEntryView>,
    /// How many there are in the ledger.
    pub total: u64,
}

impl From<v1::ListAuditResponse> for AuditView {
    fn from(wire: v1::ListAuditResponse) -> Self {
        let v1::ListAuditResponse { entries, total } = wire;
        Self { entries: entries.into_iter().map(Into::into).collect(), total }
    }
}

impl View for AuditView {
    fn table(&self, page: &Page) -> String {
        let mut table =
            Table::new(&[">WHEN", "WHO", "FROM", "CALL", "VERDICT", "REASON", "TARGET", ">RECORDS", ">COUNT"]);
        for entry in &self.entries {
            let verdict = match entry.verdict.as_str() {
                "denied" => Cell::tinted("denied", Tint::Bad),
                "warned" => Cell::tinted("warned", Tint::Warn),
                other => other.into(),
            };
            let records = entry.records.map(|(first, last)| match first == last {
                true => first.to_string(),
                false => format!("{first}-{last}"),
            });
            table.row(vec![
                Cell::maybe(entry.at.map(|at| ago(page.now, at)).as_ref()),
                (&entry.actor).into(),
                Cell::maybe(entry.from.as_ref()),
                (&entry.call).into(),
                verdict,
                Cell::maybe(entry.reason.as_ref()),
                Cell::maybe(entry.target.as_ref()),
                Cell::maybe(records.as_ref()),
                entry.count.to_string().into(),
            ]);
        }
        let more = self.total.saturating_sub(self.entries.len() as u64);
        let text = table.text(page, "nothing is told of");
        if more > 0 && !self.entries.is_empty() { format!("{text}\n{} in the ledger in all", self.total) } else { text }
    }

    fn names(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.seq.to_string()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.entries)
    }
}

/// Who the server takes the caller for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhoView {
    pub actor: String,
    /// Null: nobody asks.
    pub role: Option<String>,
    /// That it may touch; null: all.
    pub queues: Option<Vec<String>>,
    /// `strict`, `warn` or `off`.
    pub enforcement: String,
    pub expires_at: Option<Timestamp>,
}

impl From<v1::WhoAmIResponse> for WhoView {
    fn from(wire: v1::WhoAmIResponse) -> Self {
        let role = role_name(wire.role());
        let v1::WhoAmIResponse { actor, role: _, queues, enforcement, expires_unix_ms } = wire;
        Self {
            actor,
            role: some_text(role.to_owned()),
            queues: (!queues.is_empty()).then_some(queues),
            enforcement,
            expires_at: some_time(expires_unix_ms),
        }
    }
}

impl View for WhoView {
    fn table(&self, page: &Page) -> String {
        let Self { actor, role, queues, enforcement, expires_at } = self;
        let queues = queues.as_ref().map_or("all".to_owned(), |queues| queues.join(", "));
        let pairs = [
            ("who", Cell::from(actor)),
            ("role", Cell::maybe(role.as_ref())),
            ("queues", queues.into()),
            ("token ends", Cell::maybe(expires_at.as_ref())),
            ("enforcement", enforcement.into()),
        ];
        key_values(page, &pairs)
    }

    fn names(&self) -> Vec<String> {
        vec![self.actor.clone()]
    }
}
