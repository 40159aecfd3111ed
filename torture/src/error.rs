//! Why a torture could not be carried out. What it finds out about the system is no error: that is in the report.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a torture could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum TortureError {
    /// A program of ours is missing.
    #[error("{} is not there: build it with `{how}`, or say with --bin-dir where it is", path.display())]
    NoBinary {
        /// Where it was looked for.
        path: PathBuf,
        /// How to build it.
        how: String,
    },
    /// A tool of the system is missing or does not work here.
    #[error("{tool} is needed and does not work here ({why}): {fix}")]
    NoTool {
        /// The tool.
        tool: &'static str,
        /// What is wrong.
        why: String,
        /// What to do.
        fix: &'static str,
    },
    /// Only root may do this.
    #[error("{what} needs root: run it as root (sudo), or leave it out")]
    NeedsRoot {
        /// What.
        what: &'static str,
    },
    /// The system refused something.
    #[error("failed to {doing}")]
    Io {
        /// What.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A process ended where it must not.
    #[error("{title} ended ({status}) before {what}; it said:\n{said}")]
    Ended {
        /// The process.
        title: String,
        /// How it ended.
        status: String,
        /// What was waited for.
        what: String,
        /// The end of its log.
        said: String,
    },
    /// Something did not happen for very long.
    #[error("waited {} for {what}", humantime::format_duration(*waited))]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// A call that must succeed did not.
    #[error("cannot {doing}: {message}")]
    Call {
        /// What for.
        doing: String,
        /// What came back.
        message: String,
    },
}

impl TortureError {
    /// For `map_err`: the system refused to do this.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// For `map_err`: this call did not succeed.
    pub fn call(doing: impl Into<String>) -> impl FnOnce(tonic::Status) -> Self {
        let doing = doing.into();
        move |status| Self::Call { doing, message: status.to_string() }
    }

    /// The error with its causes, in one text.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}
