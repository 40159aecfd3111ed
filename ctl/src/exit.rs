//! How `orchctl` ends: exit codes for scripts, one line and its causes for people.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use orch_proto::error::{Reason, WireError};
use orch_transport::ServerUrl;

/// The exit codes, as `orchctl --help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// Something went wrong that no other code names.
    Error = 1,
    /// The command line, the settings or an input file cannot be understood.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// A job that was waited for has failed.
    JobFailed = 4,
    /// A job that was waited for was cancelled.
    Cancelled = 5,
    /// The server does not know or does not allow the caller.
    Auth = 7,
    /// No server answers.
    Unreachable = 8,
    /// The time given was over first.
    Timeout = 124,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked: a lower-case line naming the thing, what to do, and the causes.
#[derive(Debug)]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    message: String,
    fix: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure that `message` explains.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), fix: None, source: None }
    }

    /// An end without a word: nobody listens, or everything was said.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// The line that says what is wrong.
    pub fn what(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn how(&self) -> Option<&str> {
        self.fix.as_deref()
    }

    /// The plain kind, code 1.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Exit::Error, message)
    }

    /// A command line or input that cannot be understood, code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The same failure with what to do about it.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The same failure, saying how to go on if the server was lost on the way.
    pub fn resumable(self, how: &str) -> Self {
        match self.exit {
            Exit::Unreachable | Exit::Timeout => {
                let fix = self.fix.as_ref().map(|fix| format!("{fix}; {how}")).unwrap_or_else(|| how.to_owned());
                self.fix(fix)
            }
            Exit::Done
            | Exit::Error
            | Exit::Usage
            | Exit::NotFound
            | Exit::JobFailed
            | Exit::Cancelled
            | Exit::Auth
            | Exit::Interrupted => self,
        }
    }

    /// The same failure with its cause.
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure with what caused the error that its message is already.
    pub fn caused(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        self.source = error.source().map(|source| source.to_string().into());
        self
    }

    /// A call that the server refused, or that did not reach it.
    pub fn refused(what: &str, error: &WireError, server: &ServerUrl) -> Self {
        let exit = match &error.reason {
            Reason::NotFound => Exit::NotFound,
            Reason::Unauthenticated | Reason::PermissionDenied | Reason::NotGrantee => Exit::Auth,
            Reason::Unavailable => Exit::Unreachable,
            Reason::Timeout => Exit::Timeout,
            Reason::InvalidArgument
            | Reason::Conflict
            | Reason::WrongState
            | Reason::LeaseLost
            | Reason::BatchGap
            | Reason::BatchTooLarge
            | Reason::UnknownWorker
            | Reason::ReadOnly
            | Reason::Busy
            | Reason::LimitReached
            | Reason::UnprovenReceipt
            | Reason::NameTaken
            | Reason::CallCancelled
            | Reason::Unimplemented
            | Reason::Internal
            | Reason::Other(..) => Exit::Error,
        };
        let failure = Self::new(exit, format!("{what}: {}{}", place(error), error.message));
        match &error.reason {
            Reason::Unavailable => failure.fix(how_to_reach(server)),
            Reason::Unauthenticated => failure
                .fix("show a token with --token-file FILE or ORCH_TOKEN; an admin makes one: `orchctl token create`"),
            Reason::Timeout => failure.fix("give the server longer with --call-timeout 5m"),
            Reason::ReadOnly => failure.fix("free space on the orchestrator's disk; `orchctl doctor` says more"),
            Reason::Unimplemented => {
                failure.fix("the server is older than this orchctl: `orchctl doctor` compares them")
            }
            _ => match error.retry_after {
                Some(wait) => failure.fix(format!("try again in {} ms", wait.as_millis())),
                None => failure,
            },
        }
    }
}

/// The offending field, unless the message names it itself: `jobs[3].queue` by beginning with "job 3:".
fn place(error: &WireError) -> String {
    let WireError { field, message, .. } = error;
    let index = field.strip_prefix("jobs[").and_then(|rest| rest.split_once(']')).map(|(index, _)| index);
    let named = index.is_some_and(|index| message.starts_with(&format!("job {index}:")));
    if field.is_empty() || named || message.contains(field) { String::new() } else { format!("{field}: ") }
}

/// What to do when no server answers.
pub fn how_to_reach(server: &ServerUrl) -> String {
    let (listen, tls) = (server.authority(), if server.tls() { " --tls-cert FILE --tls-key FILE" } else { "" });
    format!(
        "start one with `orchestrator --data DIR --listen {listen}{tls}`, or name another with --server URL or ORCH_SERVER"
    )
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

/// The whole of a failure as it goes to standard error: the line, the fix, then each cause that says something new.
/// Empty for a silent one.
pub fn report(failure: &Failure) -> String {
    if failure.message.is_empty() {
        return String::new();
    }
    let mut text = format!("error: {failure}");
    let mut said = text.clone();
    let mut cause = failure.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if !said.contains(&line) {
            text.push_str("\n  cause: ");
            text.push_str(&line);
            said.push_str(&line);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> ServerUrl {
        "http://h:1".parse().unwrap()
    }

    #[test]
    fn a_failure_names_the_thing_the_fix_and_new_causes_only() {
        let inner = std::io::Error::other("connection refused");
        let failure = Failure::error("cannot read jobs.jsonl").fix("check the path").because(inner);
        assert_eq!(
            report(&failure),
            "error: cannot read jobs.jsonl\n  fix: check the path\n  cause: connection refused"
        );
        let repeated = Failure::error("cannot: disk full").because(std::io::Error::other("disk full"));
        assert_eq!(report(&repeated), "error: cannot: disk full");
    }

    #[test]
    fn reasons_become_exit_codes() {
        let exit = |reason| Failure::refused("job 7", &WireError::new(reason, "no"), &url()).exit;
        assert_eq!(exit(Reason::NotFound), Exit::NotFound);
        assert_eq!(exit(Reason::Unauthenticated), Exit::Auth);
        assert_eq!(exit(Reason::Unavailable), Exit::Unreachable);
        assert_eq!(exit(Reason::Timeout), Exit::Timeout);
        assert_eq!(exit(Reason::Conflict), Exit::Error);
    }

    #[test]
    fn a_refusal_names_its_field_once() {
        let text = |field: &str, message: &str| {
            let error = WireError::new(Reason::InvalidArgument, message).at(field);
            Failure::refused("cannot submit", &error, &url()).to_string()
        };
        assert_eq!(text("limit", "0 is too small"), "cannot submit: limit: 0 is too small");
        assert_eq!(
            text("jobs[3].queue", "job 3: queue x does not exist"),
            "cannot submit: job 3: queue x does not exist"
        );
        assert_eq!(text("", "no"), "cannot submit: no");
    }

    #[test]
    fn an_unreachable_server_says_how_to_start_one() {
        let error = WireError::new(Reason::Unavailable, "connection refused");
        let text = report(&Failure::refused("stats", &error, &"http://127.0.0.1:50051".parse().unwrap()));
        assert!(text.contains("orchestrator --data DIR --listen 127.0.0.1:50051"), "{text}");
    }
}
