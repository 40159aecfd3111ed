//! Who may come in: tokens made and revoked, and what was told of callers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Decision, State};
use crate::access::{Audited, MAX_TOKENS, NewToken, Queues, Role, Token, TokenCreated, TokenId};
use crate::id::{Seq, TokenName};
use crate::record::{Event, MAX_MESSAGE_CHARS};
use crate::time::Timestamp;

/// So many of the last audit records stand in memory, to be listed; the ledger has all.
pub const REMEMBERED_AUDIT: usize = 10_000;

/// Tokens and audit, as the ledger tells.
#[derive(Debug, Default)]
pub(super) struct Access {
    tokens: BTreeMap<TokenId, Arc<Token>>,
    ever: bool,
    audit: VecDeque<(Seq, Timestamp, Arc<Audited>)>,
    audited: u64,
}

/// Why a token was neither made nor revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// A token of the name is in force.
    #[error("a token {name} is in force: choose another name, or revoke it first")]
    NameTaken {
        /// The name.
        name: TokenName,
    },
    /// It would be over at once.
    #[error("the token would have ended at {0}, which is over")]
    Past(Timestamp),
    /// The role is about the whole cluster.
    #[error("a token of role {0} cannot be held to queues: its calls are about the whole cluster")]
    NotForQueues(Role),
    /// With the first token, everybody who has none is shut out.
    #[error(
        "the first token must be an admin's, without an end: from then on nobody gets in without a token, and nobody \
         could make more. Make one with --role admin first"
    )]
    FirstIsAdmin,
    /// Nobody could make tokens any more.
    #[error(
        "{name} is the last admin token without an end, and the orchestrator has no bootstrap token: nobody could make \
         tokens any more. Make another admin token first"
    )]
    LastAdmin {
        /// The token.
        name: TokenName,
    },
    /// There is no such token in force.
    #[error("no token {0} is in force")]
    Unknown(String),
    /// There are too many.
    #[error("{MAX_TOKENS} tokens are in force, which is the most: revoke some")]
    TooMany,
}

impl State {
    /// The tokens in force, those whose time is over included, by age.
    pub fn tokens(&self) -> &BTreeMap<TokenId, Arc<Token>> {
        &self.access.tokens
    }

    /// Whether a token was ever made.
    pub fn ever_had_tokens(&self) -> bool {
        self.access.ever
    }

    /// The last audit records, newest first, and how many there are in the ledger.
    pub fn audit(&self) -> (impl Iterator<Item = &(Seq, Timestamp, Arc<Audited>)>, u64) {
        (self.access.audit.iter().rev(), self.access.audited)
    }

    /// Decides to make a token. `safe`: an admin gets in without the tokens of the ledger.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub fn create_token(
        &self,
        new: NewToken,
        by: &str,
        safe: bool,
        now: Timestamp,
    ) -> Result<Decision<TokenId>, TokenRefusal> {
        let NewToken { name, role, queues, expires, digest } = new;
        let in_force = self.access.tokens.values().filter(|token| !token.is_over(now));
        let (mut others, mut taken) = (0, false);
        for token in in_force {
            others += 1;
            taken |= token.made.name == name;
        }
        if taken {
            return Err(TokenRefusal::NameTaken { name });
        }
        if let Some(past) = expires.filter(|at| *at <= now) {
            return Err(TokenRefusal::Past(past));
        }
        if !queues.is_empty() && !role.can_be_held_to_queues() {
            return Err(TokenRefusal::NotForQueues(role));
        }
        if !safe && !self.admin_remains(None) && (role != Role::Admin || expires.is_some()) {
            return Err(TokenRefusal::FirstIsAdmin);
        }
        if others >= MAX_TOKENS {
            return Err(TokenRefusal::TooMany);
        }
        let by = by.chars().take(MAX_MESSAGE_CHARS).collect();
        let made = TokenCreated { name, role, queues, expires, digest, by };
        // One whose time is over makes room for the new one, so that what is in memory stays bounded.
        let over = self.access.tokens.iter().filter(|(_, token)| token.is_over(now) && token.made.name == made.name);
        let mut events: Vec<Event> =
            over.map(|(id, _)| Event::TokenRevoked { token: *id, by: made.by.clone() }).collect();
        let answer = TokenId(self.next_seq().plus(events.len() as u64));
        events.push(Event::TokenCreated(Box::new(made)));
        Ok(Decision { events, answer })
    }

    /// Decides to revoke the token of this name.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub fn revoke_token(&self, name: &TokenName, by: &str, safe: bool) -> Result<Decision<TokenId>, TokenRefusal> {
        let named = self.access.tokens.iter().find(|(_, token)| token.made.name == *name);
        let Some((id, token)) = named else { return Err(TokenRefusal::Unknown(name.to_string())) };
        let lasting = |token: &Token| token.made.role == Role::Admin && token.made.expires.is_none();
        if !safe && lasting(token) && !self.admin_remains(Some(*id)) {
            return Err(TokenRefusal::LastAdmin { name: name.clone() });
        }
        let by = by.chars().take(MAX_MESSAGE_CHARS).collect();
        Ok(Decision { events: vec![Event::TokenRevoked { token: *id, by }], answer: *id })
    }

    /// Whether an admin token without an end is in force, other than this one.
    fn admin_remains(&self, without: Option<TokenId>) -> bool {
        let mut tokens = self.access.tokens.iter().filter(|(id, _)| Some(**id) != without);
        tokens.any(|(_, token)| token.made.role == Role::Admin && token.made.expires.is_none())
    }

    /// A decision that only says who did what.
    pub fn audited(&self, entry: Audited) -> Decision<()> {
        Decision { events: vec![Event::Audited(Box::new(entry))], answer: () }
    }
}

impl Access {
    pub(super) fn created(&mut self, seq: Seq, at: Timestamp, made: &TokenCreated) {
        self.ever = true;
        let queues = Queues::of(&made.queues);
        self.tokens.insert(TokenId(seq), Arc::new(Token { made: made.clone(), created_at: at, queues }));
    }

    pub(super) fn revoked(&mut self, token: TokenId) -> bool {
        self.tokens.remove(&token).is_some()
    }

    pub(super) fn noted(&mut self, seq: Seq, at: Timestamp, entry: &Audited) {
        self.audited += 1;
        self.audit.push_back((seq, at, Arc::new(entry.clone())));
        if self.audit.len() > REMEMBERED_AUDIT {
            self.audit.pop_front();
        }
    }

    pub(super) fn audited(&self) -> u64 {
        self.audited
    }
}
