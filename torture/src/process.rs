//! Processes that cannot be left behind: killed when dropped, and what they said is in a file.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::TortureError;

/// How long anything may take before it is given up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long between two looks at something that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process that spends no processor time for so long is idle: some ticks of the system's clock.
const IDLE: Duration = Duration::from_millis(100);

/// A command without settings from whoever runs the torture.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ORCH_")) {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME").env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
    command
}

/// A process that was started.
#[derive(Debug)]
pub struct Process {
    title: String,
    child: Child,
    /// Kept apart from the child, which forgets it at its end.
    pid: Pid,
    log: PathBuf,
    /// Where in the log this process begins.
    from: u64,
}

impl Process {
    /// Starts a command. What it says goes to the end of the file `log`.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn start(mut command: Command, log: &Path) -> Result<Self, TortureError> {
        let title = command.get_program().to_string_lossy().into_owned();
        let title = title.rsplit('/').next().unwrap_or_default().to_owned();
        let start = || {
            let file = OpenOptions::new().create(true).append(true).open(log)?;
            let from = file.metadata()?.len();
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
            let child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| std::io::Error::other("it has no process id"))?;
            Ok((child, pid, from))
        };
        let (child, pid, from) = start().map_err(TortureError::io(format!("start {title}")))?;
        Ok(Self { title, child, pid, log: log.to_owned(), from })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(self.from).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// The last lines that it said.
    pub fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Its end, if that has come.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>, TortureError> {
        self.child.try_wait().map_err(TortureError::io(format!("ask for the end of {}", self.title)))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`TortureError::TimedOut`], [`TortureError::Io`].
    pub async fn ended(&mut self, patience: Duration) -> Result<ExitStatus, TortureError> {
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(status) => status.map_err(TortureError::io(format!("wait for the end of {}", self.title))),
            Err(_) => Err(TortureError::TimedOut {
                what: format!("the end of {}:\n{}", self.title, self.last_words()),
                waited: patience,
            }),
        }
    }

    /// Sends a signal; to a process that has ended, none.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn signal(&mut self, signal: Signal) -> Result<(), TortureError> {
        if self.has_ended()?.is_some() {
            return Ok(());
        }
        let sent = kill_process(self.pid, signal).map_err(std::io::Error::from);
        sent.map_err(TortureError::io(format!("send a signal to {}", self.title)))
    }

    /// Whether it did nothing for a moment: it waits for somebody else.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub async fn is_idle(&self) -> Result<Option<()>, TortureError> {
        // User and system time, behind the name, which may have spaces.
        let spent = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
            let stat = stat.map_err(TortureError::io(format!("look at {}", self.title)))?;
            let fields =
                stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').skip(11).take(2).collect::<Vec<_>>().join(" "));
            Ok::<_, TortureError>(fields)
        };
        let before = spent()?;
        tokio::time::sleep(IDLE).await;
        Ok((before == spent()?).then_some(()))
    }

    /// Stops it (SIGSTOP), and waits until every thread of it stands still: on a busy machine that takes its time.
    ///
    /// # Errors
    /// [`TortureError::Io`], [`TortureError::TimedOut`].
    pub async fn freeze(&mut self) -> Result<(), TortureError> {
        self.signal(Signal::STOP)?;
        let tasks = format!("/proc/{}/task", self.pid.as_raw_nonzero());
        until(&format!("{} to stand still", self.title), PATIENCE, async || {
            let threads = std::fs::read_dir(&tasks).map_err(TortureError::io("look at its threads"))?;
            let runs = |stat: &str| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            let mut stats = threads.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
            Ok((!stats.any(|stat| runs(&stat))).then_some(()))
        })
        .await
    }

    /// Kills it as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// As [`Process::ended`].
    pub async fn kill9(&mut self) -> Result<ExitStatus, TortureError> {
        self.signal(Signal::KILL)?;
        self.ended(PATIENCE).await
    }

    /// Waits until it has said something, which it must before its end.
    ///
    /// # Errors
    /// [`TortureError::Ended`], [`TortureError::TimedOut`].
    pub async fn until_said(&mut self, text: &str) -> Result<(), TortureError> {
        let end = Instant::now() + PATIENCE;
        loop {
            // First this, so that what was said before the end is not missed.
            let ended = self.has_ended()?;
            if self.said().contains(text) {
                return Ok(());
            }
            let what = format!("it said {text:?}");
            if let Some(status) = ended {
                let (title, said) = (self.title.clone(), self.last_words());
                return Err(TortureError::Ended { title, status: describe(status), what, said });
            }
            if Instant::now() > end {
                return Err(TortureError::TimedOut { what: format!("{}: {what}", self.title), waited: PATIENCE });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Looks until there is something to see, and gives it.
///
/// # Errors
/// [`TortureError::TimedOut`], or what looking said.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>, TortureError>,
) -> Result<T, TortureError> {
    let end = Instant::now() + patience;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if Instant::now() > end {
            return Err(TortureError::TimedOut { what: what.to_owned(), waited: patience });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

/// Whether no process of this number lives any more; a zombie does not live.
pub fn is_gone(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(_) => true,
    }
}
