//! The tokens in force, for the edge: found by their digest, without asking the engine.
//!
//! The engine makes a new one whenever a record about tokens is durable, before that record is acknowledged: whoever is
//! told that a token is revoked can rely on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use orch_core::access::{Token, TokenId};
use orch_core::digest::Digest;
use orch_core::state::State;
use orch_core::time::Timestamp;
use subtle::ConstantTimeEq as _;

/// The tokens in force.
#[derive(Debug, Default)]
pub struct Tokens {
    by_id: BTreeMap<TokenId, Arc<Token>>,
    /// By the first bytes of the digest. They are as good as random, and tell nothing of a secret.
    by_digest: HashMap<[u8; 8], Vec<TokenId>>,
    ever: bool,
}

impl Tokens {
    /// The tokens of this state.
    pub fn of(state: &State) -> Self {
        let mut tokens =
            Self { by_id: state.tokens().clone(), by_digest: HashMap::new(), ever: state.ever_had_tokens() };
        for (id, token) in &tokens.by_id {
            tokens.by_digest.entry(prefix(&token.made.digest)).or_default().push(*id);
        }
        tokens
    }

    /// Whether a token was ever made.
    pub fn ever(&self) -> bool {
        self.ever
    }

    /// The token whose secret has this digest, in force or over.
    pub fn find(&self, digest: &Digest) -> Option<(TokenId, &Arc<Token>)> {
        let near = self.by_digest.get(&prefix(digest))?;
        let tokens = near.iter().filter_map(|id| self.by_id.get(id).map(|token| (*id, token)));
        // Two secrets of one digest there are not; the first is the one.
        tokens.into_iter().find(|(_, token)| same(&token.made.digest, digest))
    }

    /// Whether this token still lets somebody in.
    pub fn is_in_force(&self, id: TokenId, now: Timestamp) -> bool {
        self.by_id.get(&id).is_some_and(|token| !token.is_over(now))
    }
}

/// Whether two digests are the same, in a time that does not tell where they differ.
pub(super) fn same(one: &Digest, other: &Digest) -> bool {
    one.0.ct_eq(&other.0).into()
}

fn prefix(digest: &Digest) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&digest.0[..8]);
    prefix
}
