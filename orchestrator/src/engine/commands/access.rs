//! Who may come in, and who did what: tokens, the audit, and commands on somebody's behalf.

use orch_core::access::{Audited, MAX_AUDIT_TEXT, NewToken, TokenId, Verdict};
use orch_core::id::TokenName;
use orch_core::state::{Submission, SubmitRefusal, Submitted, TokenRefusal};
use orch_core::time::{Now, Span};

use super::admin::Submit;
use crate::engine::{Command, Engine, Step};

/// On whose behalf something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub actor: String,
    /// From which address.
    pub from: String,
    /// By which call.
    pub call: String,
    /// To what.
    pub target: String,
}

/// A command, and who it is for. What it records is followed, in the same batch, by a record of who did it.
pub struct As<C> {
    /// Who; None: nobody asked who it is.
    pub actor: Option<Actor>,
    /// The command.
    pub command: C,
}

impl<C: Command> Command for As<C> {
    type Answer = C::Answer;
    const WRITES: bool = C::WRITES;
    const URGENT: bool = C::URGENT;

    fn name() -> &'static str {
        C::name()
    }

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<C::Answer> {
        let before = engine.state.last_seq();
        let step = self.command.run(engine, now);
        let after = engine.state.last_seq();
        if after > before
            && let Some(Actor { actor, from, call, target }) = self.actor.clone()
        {
            let target = target.chars().take(MAX_AUDIT_TEXT).collect();
            let records = Some((before.next(), after));
            let (verdict, reason, count) = (Verdict::Allowed, String::new(), 1);
            let entry = Audited { actor, from, call, verdict, reason, target, records, count };
            let decision = engine.state.audited(entry);
            engine.record(decision, now);
        }
        step
    }
}

/// Records what callers did or were refused.
pub struct Audit(pub Vec<Audited>);

impl Command for Audit {
    type Answer = ();
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<()> {
        for entry in std::mem::take(&mut self.0) {
            let decision = engine.state.audited(entry);
            engine.record(decision, now);
        }
        Step::Answer(())
    }
}

/// Makes a token.
pub struct CreateToken {
    /// What it is to be. When it ends is set here.
    pub token: NewToken,
    /// How long it lasts, if it ends by itself.
    pub lasts: Option<Span>,
    /// Who makes it.
    pub by: String,
    /// An admin gets in without the tokens of the ledger.
    pub safe: bool,
}

impl Command for CreateToken {
    type Answer = Result<TokenId, TokenRefusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        let expires = self.lasts.map(|lasts| now.wall.plus(lasts));
        let token = NewToken { expires, ..self.token.clone() };
        let decided = engine.state.create_token(token, &self.by, self.safe, now.wall);
        Step::Answer(decided.map(|decision| engine.record(decision, now)))
    }
}

/// Revokes a token.
pub struct RevokeToken {
    /// Which.
    pub name: TokenName,
    /// Who revokes it.
    pub by: String,
    /// An admin gets in without the tokens of the ledger.
    pub safe: bool,
}

impl Command for RevokeToken {
    type Answer = Result<TokenId, TokenRefusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        let decided = engine.state.revoke_token(&self.name, &self.by, self.safe);
        Step::Answer(decided.map(|decision| engine.record(decision, now)))
    }
}

/// Submits for a caller that may give work, and not change what it goes by.
pub struct SubmitJobsOnly(pub Submission);

impl Command for SubmitJobsOnly {
    type Answer = Result<Submitted, SubmitRefusal>;
    const WRITES: bool = true;

    fn name() -> &'static str {
        Submit::name()
    }

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        let decided = engine.state.submit_jobs_only(&self.0, now.wall);
        Step::Answer(decided.map(|decision| engine.record(decision, now)))
    }
}
