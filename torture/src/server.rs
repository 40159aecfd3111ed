//! An orchestrator that may be killed and started again, on the same data and the same port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::Signal;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::process::{PATIENCE, Process, command};

/// An orchestrator and its data directory.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    args: Vec<String>,
    port: u16,
    process: Option<Process>,
}

impl Server {
    /// An orchestrator on `folder/NAME`, not started yet. Its log is `folder/NAME.log`.
    ///
    /// # Errors
    /// [`TortureError::Io`]: there is no free port.
    pub fn new(binaries: &Binaries, folder: &Path, name: &str) -> Result<Self, TortureError> {
        Ok(Self {
            program: binaries.path("orchestrator"),
            data: folder.join(name),
            log: folder.join(format!("{name}.log")),
            args: Vec::new(),
            port: free_port()?,
            process: None,
        })
    }

    /// The same with more arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Other arguments from the next start on.
    pub fn set_args(&mut self, args: &[&str]) {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Another data directory from the next start on.
    pub fn set_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// Where it is to be reached.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How it is started.
    pub fn command(&self) -> Command {
        let mut command = command(&self.program);
        command.arg("--data").arg(&self.data).args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        // The torture's folder may well be on an overlay, in a container.
        command.arg("--allow-any-filesystem").args(&self.args);
        command
    }

    /// Starts it, without waiting for it.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn launch(&mut self) -> Result<(), TortureError> {
        let command = self.command();
        self.launch_as(command)
    }

    /// Starts it by another command, which becomes it.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn launch_as(&mut self, command: Command) -> Result<(), TortureError> {
        self.process = Some(Process::start(command, &self.log)?);
        Ok(())
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// [`TortureError::Ended`]: it refused to start.
    pub async fn listening(&mut self) -> Result<(), TortureError> {
        let text = format!("listening on 127.0.0.1:{},", self.port);
        self.process()?.until_said(&text).await
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// As [`Server::listening`].
    pub async fn start(&mut self) -> Result<(), TortureError> {
        self.launch()?;
        self.listening().await
    }

    /// Its process.
    ///
    /// # Errors
    /// [`TortureError::Ended`] if it was never started or was stopped.
    pub fn process(&mut self) -> Result<&mut Process, TortureError> {
        let (title, status, what) = ("the orchestrator".to_owned(), "not started".to_owned(), "it was used".to_owned());
        self.process.as_mut().ok_or(TortureError::Ended { title, status, what, said: String::new() })
    }

    /// Kills it as a power cut would. It must not have ended by itself before.
    ///
    /// # Errors
    /// [`TortureError::Ended`]: it had.
    pub async fn kill9(&mut self) -> Result<(), TortureError> {
        let process = self.process()?;
        if let Some(status) = process.has_ended()? {
            let (title, what) = ("the orchestrator".to_owned(), "it was killed".to_owned());
            let said = process.last_words();
            return Err(TortureError::Ended { title, status: crate::process::describe(status), what, said });
        }
        process.kill9().await?;
        self.process = None;
        Ok(())
    }

    /// Stops it as an operator would, and gives how it ended.
    ///
    /// # Errors
    /// [`TortureError::TimedOut`].
    pub async fn stop(&mut self) -> Result<ExitStatus, TortureError> {
        let process = self.process()?;
        process.signal(Signal::TERM)?;
        let status = process.ended(PATIENCE).await?;
        self.process = None;
        Ok(status)
    }

    /// Whether any of its processes ever panicked: no cruelty excuses that.
    pub fn panics(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains("panicked at"));
        lines.map(|line| format!("the orchestrator panicked: {line}")).collect()
    }
}

/// A port that nobody listens on and that the system does not give to outgoing connections either: an orchestrator that
/// is killed and started again must find it free.
fn free_port() -> Result<u16, TortureError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 200).unwrap_or(0) * 100;
    for _ in 0..20_000 {
        let port = 12_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    Err(TortureError::Io { doing: "find a free port".to_owned(), source })
}
