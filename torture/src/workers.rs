//! Real workers, with a program whose every step waits for a gate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::process::{Process, command, is_gone};

/// The kind of the jobs whose program is `program.sh`.
pub const GATED: &str = "gated";

const PROGRAM: &str = include_str!("program.sh");

/// A worker's process.
#[derive(Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Its process.
    pub process: Process,
}

impl Worker {
    /// Starts a worker with one slot; its files are in `folder`.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn start(binaries: &Binaries, folder: &Path, name: &str, url: &str) -> Result<Self, TortureError> {
        let (program, config) = (folder.join("program.sh"), folder.join("worker.yaml"));
        let kinds = format!(
            "kinds:\n  {GATED}: {{runner: command, argv: [sh, {:?}], stop_grace: 500ms}}\n",
            program.display().to_string()
        );
        std::fs::write(&program, PROGRAM).map_err(TortureError::io("write the program"))?;
        std::fs::write(&config, kinds).map_err(TortureError::io("write the worker's configuration"))?;
        let mut worker = command(&binaries.path("worker"));
        worker.args(["--server", url, "--name", name, "--slots", "1", "--config"]).arg(config);
        let process = Process::start(worker, &folder.join(format!("{name}.log")))?;
        Ok(Self { name: name.to_owned(), process })
    }

    /// Ends it together with what it runs.
    ///
    /// # Errors
    /// [`TortureError::TimedOut`].
    pub async fn stop(mut self) -> Result<(), TortureError> {
        self.process.signal(Signal::CONT)?;
        self.process.signal(Signal::TERM)?;
        // The second signal ends at once; were it the same one, the system could make one of the two.
        self.process.signal(Signal::INT)?;
        self.process.ended(Duration::from_secs(30)).await.map(|_| ())
    }
}

/// The folder of one job's gates.
#[derive(Clone, Debug)]
pub struct Gates {
    dir: PathBuf,
}

impl Gates {
    /// A new folder, every gate shut.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn new(dir: PathBuf) -> Result<Self, TortureError> {
        std::fs::create_dir_all(&dir).map_err(TortureError::io("make a folder of gates"))?;
        Ok(Self { dir })
    }

    /// The payload of the job that finds `n` and the number after it.
    pub fn payload(&self, n: u64) -> String {
        format!("{{\"dir\":\"{}\",\"n\":{n}}}", self.dir.display())
    }

    /// Opens a gate: `find-1`, `more-1`, `end-1`, or `open` for all attempts after the first.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn open(&self, gate: &str) -> Result<(), TortureError> {
        std::fs::write(self.dir.join(gate), "").map_err(TortureError::io("open a gate"))
    }

    /// Opens every gate.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn open_all(&self) -> Result<(), TortureError> {
        ["find-1", "more-1", "end-1", "open"].into_iter().try_for_each(|gate| self.open(gate))
    }

    /// The processes of an attempt; none if it did not begin yet.
    pub fn pids(&self, attempt: u32) -> Option<Vec<i32>> {
        let text = std::fs::read_to_string(self.dir.join(format!("pids-{attempt}"))).ok()?;
        Some(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// Those processes of an attempt that live.
    pub fn alive(&self, attempt: u32) -> Vec<i32> {
        self.pids(attempt).unwrap_or_default().into_iter().filter(|pid| !is_gone(*pid)).collect()
    }
}
