//! Tokens as the ledger knows them: all but the secret.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Role;
use crate::digest::Digest;
use crate::id::{QueueName, Seq, TokenName};
use crate::time::Timestamp;

/// The most tokens that are in force at once. They stand in memory, and a person gave each.
pub const MAX_TOKENS: usize = 10_000;

/// A token, named by the seq of the record that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub Seq);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The queues that a caller may touch. Cheap to clone: it goes along with every call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Queues {
    /// All of them.
    #[default]
    All,
    /// These.
    Only(Arc<BTreeSet<QueueName>>),
}

impl Queues {
    /// These, or all if the list is empty.
    pub fn of(queues: &BTreeSet<QueueName>) -> Self {
        if queues.is_empty() { Self::All } else { Self::Only(Arc::new(queues.clone())) }
    }

    /// Whether this queue is one of them.
    pub fn contain(&self, queue: &QueueName) -> bool {
        match self {
            Self::All => true,
            Self::Only(queues) => queues.contains(queue),
        }
    }

    /// Whether every one of the others is one of them.
    pub fn cover(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(queues), Self::Only(others)) => others.is_subset(queues),
        }
    }

    /// Whether some queues are not among them.
    pub const fn is_held(&self) -> bool {
        match self {
            Self::All => false,
            Self::Only(_) => true,
        }
    }
}

/// What a new token is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its name, of which there is one in force.
    pub name: TokenName,
    /// What its holder is.
    pub role: Role,
    /// The queues that its holder may touch; empty: all.
    pub queues: BTreeSet<QueueName>,
    /// When it ends, if it does by itself.
    pub expires: Option<Timestamp>,
    /// SHA-256 of its secret.
    pub digest: Digest,
}

/// A token was made. Its id is the record's seq.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCreated {
    /// Its name.
    pub name: TokenName,
    /// What its holder is.
    pub role: Role,
    /// The queues that its holder may touch; empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub queues: BTreeSet<QueueName>,
    /// When it ends, if it does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// SHA-256 of its secret.
    pub digest: Digest,
    /// Who made it.
    pub by: String,
}

/// A token in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// As it was made.
    pub made: TokenCreated,
    /// When.
    pub created_at: Timestamp,
    /// The same queues, to go along with calls.
    pub queues: Queues,
}

impl Token {
    /// Whether its time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.made.expires.is_some_and(|at| at <= now)
    }
}
