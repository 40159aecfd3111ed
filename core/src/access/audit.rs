//! Who did what, from where, and whether it was allowed.

use serde::{Deserialize, Serialize};

use crate::id::Seq;

/// The most characters of a text in an audit record.
pub const MAX_AUDIT_TEXT: usize = 300;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was let pass.
    Allowed,
    /// It was refused.
    Denied,
    /// It would have been refused, and was let pass because the policy only warns.
    Warned,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Warned];

    /// Its name, as it stands in the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Warned => "warned",
        }
    }
}

/// Who did what, from where, and whether it was allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audited {
    /// Who: `token NAME`, `bootstrap`, `anonymous`, ...
    pub actor: String,
    /// From where: an address. Empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// What: a call or a route.
    pub call: String,
    /// Whether it was allowed.
    pub verdict: Verdict,
    /// Why it was not: a stable reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// To what: a queue, a token, jobs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The records that it led to: the first and the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<(Seq, Seq)>,
    /// How many such calls there were, if more than one is told of at once.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

const fn one() -> u64 {
    1
}

// serde's skip_serializing_if passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_one(count: &u64) -> bool {
    *count == 1
}
