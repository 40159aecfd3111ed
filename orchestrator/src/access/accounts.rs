//! Kubernetes' service accounts as callers.
//!
//! A pod shows the token that its cluster keeps fresh in its files. The API server says whose it is ([`super::review`]);
//! what an account is here, a line of the settings says: `--service-account jobs/worker=worker`. An answer counts for a
//! while (a minute, unless set), so a busy worker costs one question a minute. While the API server cannot be asked,
//! whoever it vouched for within [`GRACE`] is still let in, and nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orch_core::access::{Queues, Role, Secret};
use orch_core::digest::Digest;
use orch_core::id::QueueName;
use serde::{Serialize, Serializer};
use tokio::sync::Semaphore;

use super::review::{ReviewError, Reviewer};

/// The longest that a bad answer counts: a token that was shown a moment too early gets another chance.
const BAD_FOR: Duration = Duration::from_secs(10);

/// How long a good answer counts while the API server cannot be asked again.
pub const GRACE: Duration = Duration::from_secs(600);

/// For so long nobody asks again, at most, after a question that was not answered: an API server that is away must not make
/// every caller wait for it in turn.
const AWAY_FOR: Duration = Duration::from_secs(5);

/// So many answers are kept.
const MAX_KNOWN: usize = 20_000;

/// So many reviews at a time: strangers must not make us flood the API server.
const MAX_REVIEWS: usize = 16;

/// The longest token that is asked about. Kubernetes' have about a thousand characters.
const MAX_TOKEN: usize = 16 << 10;

/// A service account: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    namespace: String,
    name: String,
}

impl Account {
    /// The account behind a user's name as an API server writes it, if it is one.
    pub(super) fn of_username(username: &str) -> Option<Self> {
        let (namespace, name) = username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Self::checked(namespace, name)
    }

    /// The rules of DNS, as Kubernetes has them: without them a name could read like another line of a log.
    fn checked(namespace: &str, name: &str) -> Option<Self> {
        let fits = |text: &str, dots: bool| {
            let fine =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || dots && byte == b'.';
            (1..=253).contains(&text.len()) && text.bytes().all(fine)
        };
        (fits(namespace, false) && fits(name, true))
            .then(|| Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a service account is to the cluster. Written `NAMESPACE/NAME=ROLE` or `NAMESPACE/NAME=ROLE:QUEUE,QUEUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRule {
    /// The account.
    pub account: Account,
    /// What it is.
    pub role: Role,
    /// The queues that it may touch; empty: all.
    pub queues: BTreeSet<QueueName>,
}

impl FromStr for AccountRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fix = "write it like jobs/worker=worker, or jobs/ci=submitter:zeta,beta";
        let (account, rest) = text.split_once('=').ok_or_else(|| format!("{text:?} names no role: {fix}"))?;
        let named = account.split_once('/').and_then(|(namespace, name)| Account::checked(namespace, name));
        let account = named.ok_or_else(|| format!("{account:?} is no service account: {fix}"))?;
        let (role, queues) = rest.split_once(':').map_or((rest, None), |(role, queues)| (role, Some(queues)));
        let role = role.parse::<Role>().map_err(|error| error.to_string())?;
        let queues = queues.map(|queues| queues.split(',').map(QueueName::new).collect::<Result<_, _>>());
        let queues = queues.transpose().map_err(|error| format!("{error}: {fix}"))?.unwrap_or_default();
        Ok(Self { account, role, queues })
    }
}

impl fmt::Display for AccountRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, role, queues } = self;
        write!(f, "{account}={role}")?;
        for (i, queue) in queues.iter().enumerate() {
            write!(f, "{}{queue}", if i == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl Serialize for AccountRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What an account that is let in is.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who it is.
    pub account: Account,
    /// What it is.
    pub role: Role,
    /// The queues that it may touch.
    pub queues: Queues,
}

/// The service accounts that are let in.
#[derive(Debug)]
pub struct Accounts {
    rules: BTreeMap<Account, (Role, Queues)>,
    reviewer: Reviewer,
    /// How long an answer counts.
    recheck: Duration,
    /// What is known of tokens, by their digest: the tokens themselves are not kept.
    known: Mutex<HashMap<Digest, Known>>,
    /// Until when the API server is not asked.
    away_until: Mutex<Option<Instant>>,
    reviews: Semaphore,
}

#[derive(Clone, Debug)]
struct Known {
    account: Option<Account>,
    since: Instant,
}

impl Accounts {
    /// These accounts, of this API server, whose answers count for `recheck`.
    pub fn new(rules: Vec<AccountRule>, reviewer: Reviewer, recheck: Duration) -> Self {
        let rules = rules.into_iter().map(|rule| (rule.account, (rule.role, Queues::of(&rule.queues)))).collect();
        let (known, away_until) = (Mutex::default(), Mutex::default());
        Self { rules, reviewer, recheck, known, away_until, reviews: Semaphore::new(MAX_REVIEWS) }
    }

    /// Who shows this token; None: nobody who is let in.
    ///
    /// # Errors
    /// [`ReviewError`]: the API server does not say.
    pub async fn find(&self, token: &Secret) -> Result<Option<Admitted>, ReviewError> {
        if !may_be_one(token.expose()) {
            return Ok(None);
        }
        Ok(self.account(token).await?.and_then(|account| {
            let (role, queues) = self.rules.get(&account)?.clone();
            Some(Admitted { account, role, queues })
        }))
    }

    /// How long an answer counts.
    pub fn recheck(&self) -> Duration {
        self.recheck
    }

    async fn account(&self, token: &Secret) -> Result<Option<Account>, ReviewError> {
        let digest = token.digest();
        let counts = |known: &&Known| {
            let time = if known.account.is_some() { self.recheck } else { self.recheck.min(BAD_FOR) };
            known.since.elapsed() < time
        };
        let current = || self.lock().get(&digest).filter(counts).cloned();
        if let Some(known) = current() {
            return Ok(known.account);
        }
        if self.is_away() {
            return self.vouched(&digest, ReviewError::Away);
        }
        // It is never closed.
        let _turn = self.reviews.acquire().await;
        // Others may have asked while we waited: the same, or in vain.
        if let Some(known) = current() {
            return Ok(known.account);
        }
        if self.is_away() {
            return self.vouched(&digest, ReviewError::Away);
        }
        match self.reviewer.review(token).await {
            Ok(account) => {
                self.keep(digest, Known { account: account.clone(), since: Instant::now() });
                Ok(account)
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "a token of a service account could not be reviewed");
                let until = Instant::now() + self.recheck.min(AWAY_FOR);
                *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
                self.vouched(&digest, error)
            }
        }
    }

    fn is_away(&self) -> bool {
        let until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// What counts while the API server does not answer.
    fn vouched(&self, digest: &Digest, error: ReviewError) -> Result<Option<Account>, ReviewError> {
        let earlier = self.lock().get(digest).filter(|known| known.since.elapsed() < GRACE).cloned();
        earlier.and_then(|known| known.account).map(Some).ok_or(error)
    }

    fn keep(&self, digest: Digest, known: Known) {
        let mut all = self.lock();
        if all.len() >= MAX_KNOWN {
            all.retain(|_, known| known.account.is_some() && known.since.elapsed() < GRACE);
        }
        if all.len() >= MAX_KNOWN {
            all.clear();
        }
        all.insert(digest, known);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a text can be a token of a service account (a JSON web token): nothing else is sent to the API server.
fn may_be_one(text: &str) -> bool {
    let fits =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    text.len() <= MAX_TOKEN && text.split('.').count() == 3 && text.split('.').all(fits)
}

/// An error with its causes, for a log line.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_an_account_a_role_and_queues() {
        for text in ["jobs/worker=worker", "jobs/ci.bot=submitter:beta,zeta"] {
            assert_eq!(text.parse::<AccountRule>().unwrap().to_string(), text);
        }
        for bad in
            ["", "jobs/worker", "worker=worker", "jobs/=worker", "jobs/w=king", "Jobs/w=worker", "jobs/w=worker:a,"]
        {
            assert!(bad.parse::<AccountRule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_account_is_read_from_its_user_name_only() {
        let account = Account::of_username("system:serviceaccount:jobs:worker").unwrap();
        assert_eq!(account.to_string(), "jobs/worker");
        for other in ["jane", "system:node:n1", "system:serviceaccount:jobs", "system:serviceaccount:jobs:a\nb", ""] {
            assert_eq!(Account::of_username(other), None, "{other}");
        }
    }

    #[test]
    fn only_what_may_be_a_web_token_is_asked_about() {
        assert!(may_be_one("eyJh.eyJz.c2ln-_"));
        for other in ["", "orch_0123", "a.b", "a..c", "a.b.c.d", "a.b.c d"] {
            assert!(!may_be_one(other), "{other}");
        }
    }
}
