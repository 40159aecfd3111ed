//! Who may do what: roles and what each may do, tokens as the ledger knows them, and what is told of callers.
//!
//! A token's secret is never here: the ledger and the state know its SHA-256, from which nobody gets it back because it
//! is 256 random bits. Who a caller is and whether a call is let pass is the edge's to find out; the rules that it goes
//! by are here, as plain values.

mod audit;
mod role;
mod secret;
mod session;
mod token;

pub use audit::{Audited, MAX_AUDIT_TEXT, Verdict};
pub use role::{Permission, Role, UnknownRole};
pub use secret::Secret;
pub use session::SessionId;
pub use token::{MAX_TOKENS, NewToken, Queues, Token, TokenCreated, TokenId};
