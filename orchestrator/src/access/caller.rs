//! Who calls: what the handlers ask about it.

use std::net::IpAddr;

use orch_core::access::{Permission, Queues, Role, Secret, TokenId, Verdict};
use orch_core::id::{QueueName, TokenName};
use orch_core::text::one_line;
use orch_core::time::Timestamp;
use orch_proto::error::{Reason, WireError};
use tonic::{Extensions, Status};

use super::accounts::Account;
use super::policy::Mode;
use super::table::Need;
use super::{Auditor, Seen};
use crate::engine::commands::access::Actor;

/// Who somebody is known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It showed nothing, or nothing that is known.
    Nobody,
    /// The holder of the bootstrap token.
    Bootstrap,
    /// The holder of a token.
    Token(TokenId, TokenName),
    /// A service account of Kubernetes, with the token that it showed.
    ServiceAccount(Account, Secret),
    /// Somebody whose certificate was verified, by its subject.
    Certificate(String),
}

/// Who calls, among the extensions of every request that is let pass.
#[derive(Clone)]
pub struct Caller {
    pub(super) identity: Identity,
    /// None: it is not known, and let pass all the same.
    pub(super) role: Option<Role>,
    pub(super) queues: Queues,
    pub(super) expires: Option<Timestamp>,
    pub(super) from: Option<IpAddr>,
    pub(super) call: &'static str,
    pub(super) session: Option<String>,
    pub(super) mode: Mode,
    pub(super) auditor: Auditor,
}

impl Identity {
    /// The name by which the audit knows it.
    pub fn actor(&self) -> String {
        match self {
            Self::Nobody => "anonymous".to_owned(),
            Self::Bootstrap => "bootstrap".to_owned(),
            Self::Token(_, name) => format!("token {name}"),
            Self::ServiceAccount(account, _) => format!("service account {account}"),
            Self::Certificate(subject) => format!("certificate {}", one_line(subject, false)),
        }
    }
}

impl Caller {
    /// The caller of a request.
    ///
    /// # Errors
    /// If nobody looked who it is: a bug, and no call goes on without.
    pub fn of(extensions: &Extensions) -> Result<Self, Status> {
        let missing = || WireError::new(Reason::Internal, "nobody looked who calls").into();
        extensions.get::<Self>().cloned().ok_or_else(missing)
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it is to the cluster; None: not known, and let pass all the same.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// When its token ends, if it does by itself.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// What is done to those who may not.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What it showed as its session.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The queues that it is held to.
    pub fn queues(&self) -> Queues {
        match self.mode {
            Mode::Strict => self.queues.clone(),
            Mode::Warn | Mode::Off => Queues::All,
        }
    }

    /// Whether it may touch this queue.
    pub fn may_touch(&self, queue: &QueueName) -> bool {
        self.queues().contain(queue)
    }

    /// Whether it may do this besides what its call needs.
    pub fn may(&self, permission: Permission) -> bool {
        match self.mode {
            Mode::Strict => self.role.is_some_and(|role| role.may(permission)),
            Mode::Warn | Mode::Off => true,
        }
    }

    /// For the audit, if there is one of this caller: who does what.
    pub fn actor(&self, target: impl Into<String>) -> Option<Actor> {
        match self.mode {
            Mode::Off => None,
            Mode::Strict | Mode::Warn => {
                let (actor, from) = (self.identity.actor(), self.address());
                Some(Actor { actor, from, call: self.call.to_owned(), target: target.into() })
            }
        }
    }

    /// Tells of callers.
    pub fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    /// Who made a token, for its record.
    pub fn name(&self) -> String {
        self.identity.actor()
    }

    /// Tells of a call that is allowed and records nothing by itself.
    pub fn did(&self, target: impl Into<String>) {
        if self.mode != Mode::Off {
            self.note(Verdict::Allowed, "", target.into());
        }
    }

    /// Refuses, unless this queue may be touched.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`.
    pub fn check_queue(&self, queue: &QueueName, field: &str) -> Result<(), Status> {
        if self.queues.contain(queue) {
            return Ok(());
        }
        self.refuse(format!("{} may not touch queue {queue}", self.identity.actor()), field, queue.to_string())
    }

    /// Refuses a caller that is held to some queues: what it asks for is about all.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`.
    pub fn check_all_queues(&self, field: &str, fix: &str) -> Result<(), Status> {
        if !self.queues.is_held() {
            return Ok(());
        }
        let message = format!("{} is held to some queues, and this is about all of them{fix}", self.identity.actor());
        self.refuse(message, field, String::new())
    }

    /// Refuses, or lets pass, as the mode says; it is told in either case.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`.
    pub fn refuse(&self, message: String, field: &str, target: String) -> Result<(), Status> {
        match self.mode {
            Mode::Off => Ok(()),
            Mode::Warn => {
                self.note(Verdict::Warned, Reason::PermissionDenied.as_str(), target);
                Ok(())
            }
            Mode::Strict => {
                self.note(Verdict::Denied, Reason::PermissionDenied.as_str(), target);
                Err(WireError::new(Reason::PermissionDenied, message).at(field).into())
            }
        }
    }

    /// Tells of a call that is refused for what it says, whoever it is from.
    pub fn denied(&self, reason: &Reason, target: String) {
        if self.mode != Mode::Off {
            self.note(Verdict::Denied, reason.as_str(), target);
        }
    }

    /// Whether its role has what a call needs; if not, in words.
    pub(super) fn lacks(&self, need: Need) -> Option<WireError> {
        let role = self.role?;
        if need.met_by(role) {
            return None;
        }
        let wanted: Vec<&str> = Role::ALL.into_iter().filter(|role| need.met_by(*role)).map(Role::name).collect();
        let message = format!("{} is {role}, and {} needs {}", self.identity.actor(), self.call, wanted.join(" or "));
        Some(WireError::new(Reason::PermissionDenied, message))
    }

    pub(super) fn note(&self, verdict: Verdict, reason: &str, target: String) {
        self.auditor.note(Seen {
            actor: self.identity.actor(),
            from: self.address(),
            call: self.call.to_owned(),
            verdict,
            reason: reason.to_owned(),
            target,
        });
    }

    fn address(&self) -> String {
        self.from.map(|from| from.to_string()).unwrap_or_default()
    }
}
