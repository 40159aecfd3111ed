//! Who may come in, and do what.
//!
//! Every request passes one [`layer`]: it looks the call up in one [`table`], finds out who calls ([`registry`] knows the
//! tokens, [`accounts`] those of Kubernetes), and refuses, or goes on with a [`Caller`] among the request's extensions. What depends on the message (queues,
//! definitions) the handlers ask of that caller. Calls that stay open are watched ([`guard`]): they end when their token
//! does. [`audit`] tells the ledger who did what; [`keys`] are the secrets of the data directory.
//!
//! It knows nothing of what calls do.

mod accounts;
mod audit;
mod caller;
mod guard;
mod keys;
mod layer;
mod policy;
mod refusal;
mod registry;
mod review;
mod table;

pub use accounts::{Account, AccountRule, Accounts};
pub use audit::{Auditor, Objections, Seen};
pub use caller::{Caller, Identity};
pub use keys::{KeyError, Keys, new_session, new_token};
pub use layer::{Access, authorize};
pub use policy::{Enforcement, Mode};
pub use refusal::http as refused;
pub use registry::Tokens;
pub use review::{CREDENTIALS, Reviewer};
pub use table::{Entry, Need, TABLE, Unlisted, check as check_table};
