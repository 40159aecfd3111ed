//! A cluster of real processes on this machine: one orchestrator, workers, and `orchctl` to drive it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, Ran, clean, command, orchctl};
use super::{folder, until};

/// How a cluster is made.
#[derive(Debug, Default)]
pub struct Options {
    /// More arguments of the orchestrator.
    pub args: Vec<String>,
    /// Everything over TLS, with certificates on both sides.
    pub tls: bool,
}

/// A running orchestrator, its folder, and how to reach it.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    options: Options,
    port: u16,
    server: Option<Process>,
    /// The program of the orchestrator, if it is not the one that was built.
    program: Option<PathBuf>,
}

/// A worker process and its name.
#[derive(Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Its process.
    pub process: Process,
}

/// A worker's configuration with the zeta miner and the programs of `runner.sh`.
pub fn kinds() -> String {
    let script = super::project().join("tests/tests/e2e/support/runner.sh");
    let script = script.display();
    let mut text = String::from("kinds:\n  zeta-zeros: {runner: builtin}\n");
    for kind in ["emit", "traced", "flag", "gate", "family"] {
        text.push_str(&format!("  {kind}: {{runner: command, argv: [sh, {script}, {kind}], stop_grace: 1s}}\n"));
    }
    text
}

impl Drop for Worker {
    /// Ends it with what it runs: a worker that is killed outright cannot take its jobs' processes with it.
    fn drop(&mut self) {
        if self.process.has_ended().is_none() {
            self.process.signal(Signal::TERM);
            // The second signal ends at once; were it the same one, the system could make one of the two.
            self.process.signal(Signal::INT);
            self.process.end_within(Duration::from_secs(5));
        }
    }
}

impl Cluster {
    /// Starts an orchestrator on a new data directory.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts an orchestrator like this.
    #[track_caller]
    pub fn with(options: Options) -> Self {
        let folder = folder();
        std::fs::write(folder.path().join("worker.yaml"), kinds()).unwrap();
        let mut cluster = Self { folder, options, port: free_port(), server: None, program: None };
        if cluster.options.tls {
            orchctl(["cert", "dev", &cluster.path("certs")]).ok();
        }
        cluster.restart();
        cluster
    }

    /// The folder of the test, which outlives the cluster's processes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The orchestrator's data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the orchestrator is.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.options.tls { "https" } else { "http" }, self.port)
    }

    /// The arguments by which a client reaches the orchestrator.
    pub fn reach(&self) -> Vec<String> {
        let mut args = vec!["--server".to_owned(), self.url()];
        if self.options.tls {
            for (flag, file) in [("--tls-ca", "ca"), ("--tls-cert", "client"), ("--tls-key", "client-key")] {
                args.extend([flag.to_owned(), self.path(&format!("certs/{file}.pem"))]);
            }
        }
        args
    }

    /// The orchestrator's process.
    #[track_caller]
    pub fn server(&mut self) -> &mut Process {
        self.server.as_mut().expect("the orchestrator runs")
    }

    /// Starts the orchestrator, on the same data and the same port as before.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.server.is_none(), "the orchestrator runs already");
        let mut server = Process::start(self.command());
        let here = format!("listening on 127.0.0.1:{},", self.port);
        server.until("listening", |server| server.err().contains(&here).then_some(()));
        self.server = Some(server);
    }

    /// How the orchestrator is started.
    pub fn command(&self) -> Command {
        let data = self.data();
        let listen = format!("127.0.0.1:{}", self.port);
        let mut args = vec!["--data", data.to_str().unwrap(), "--listen", &listen, "--allow-any-filesystem"];
        args.extend(self.options.args.iter().map(String::as_str));
        let mut command = match &self.program {
            Some(program) => clean(Command::new(program)),
            None => command("orchestrator"),
        };
        command.args(args);
        if self.options.tls {
            for (flag, file) in [("--tls-cert", "server"), ("--tls-key", "server-key"), ("--tls-client-ca", "ca")] {
                command.args([flag, &self.path(&format!("certs/{file}.pem"))]);
            }
        }
        command
    }

    /// Puts another program in the orchestrator's place as Kubernetes does: SIGTERM to the old one, and when that is gone, the
    /// new one on the same data and the same address.
    #[track_caller]
    pub fn replace(&mut self, program: PathBuf) {
        self.stop();
        self.program = Some(program);
        self.restart();
    }

    /// Kills the orchestrator as a power cut would.
    #[track_caller]
    pub fn kill9(&mut self) -> Ran {
        self.server.take().expect("the orchestrator runs").kill9()
    }

    /// Stops the orchestrator as an operator would.
    #[track_caller]
    pub fn stop(&mut self) -> Ran {
        let server = self.server.take().expect("the orchestrator runs");
        server.signal(Signal::TERM);
        server.wait().ok()
    }

    /// Runs `orchctl` against this cluster.
    #[track_caller]
    pub fn ctl(&self, args: &[&str]) -> Ran {
        orchctl(self.reach().iter().map(String::as_str).chain(args.iter().copied()))
    }

    /// A command of `orchctl` against this cluster.
    pub fn ctl_command(&self, args: &[&str]) -> Command {
        let mut orchctl = command("orchctl");
        orchctl.args(self.reach()).args(args);
        orchctl
    }

    /// Writes a file into the cluster's folder and gives its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A path in the cluster's folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Submits a manifest, and gives the ids of its jobs.
    #[track_caller]
    pub fn submit(&self, manifest: &str) -> Vec<u64> {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = self.file(&format!("submit-{number}.yaml"), manifest);
        let submitted = self.ctl(&["submit", "-f", &file, "-o", "name"]).ok();
        submitted.out.lines().map(|id| id.parse().unwrap()).collect()
    }

    /// The numbers of the cluster.
    #[track_caller]
    pub fn stats(&self) -> Value {
        self.ctl(&["stats", "-o", "json"]).ok().json()
    }

    /// A job as it is now.
    #[track_caller]
    pub fn job(&self, job: u64) -> Value {
        self.ctl(&["job", "show", &job.to_string(), "-o", "json"]).ok().json()
    }

    /// Waits until a job is in this state, and gives it.
    #[track_caller]
    pub fn until_job(&self, job: u64, state: &str) -> Value {
        let mut last = Value::Null;
        until(&format!("job {job} to be {state}"), || {
            last = self.job(job);
            (last["state"] == state).then(|| last.clone())
        })
    }

    /// Waits until nothing is open; what ends otherwise than with 0 fails the test.
    #[track_caller]
    pub fn drain(&self) -> Ran {
        self.ctl(&["run", "--drain", "--timeout", "110s", "-o", "json"]).ok()
    }

    /// Starts a worker that offers every kind of this module.
    #[track_caller]
    pub fn worker(&self, name: &str, slots: u32) -> Worker {
        let config = self.path("worker.yaml");
        self.worker_with(name, slots, &config)
    }

    /// Starts a worker with this configuration.
    #[track_caller]
    pub fn worker_with(&self, name: &str, slots: u32, config: &str) -> Worker {
        let mut worker = command("worker");
        worker.args(self.reach()).args(["--name", name, "--slots", &slots.to_string(), "--config", config]);
        Worker { name: name.to_owned(), process: Process::start(worker) }
    }

    /// Waits until HEAD names the last record, so that readers of the files see all that was acknowledged. It may lag by
    /// a batch, but only for a moment.
    #[track_caller]
    pub fn settle(&self) {
        let data = self.data();
        until("HEAD to name the last record", || {
            let head = orchctl(["ledger", "head", data.to_str().unwrap(), "-o", "json"]).ok().json();
            let last: Value = serde_json::from_str(super::records::lines(&data).last().unwrap()).unwrap();
            (head["seq"] == last["seq"]).then_some(())
        });
    }

    /// The clean data set of the ledger as it is now.
    #[track_caller]
    pub fn compact(&self, name: &str) -> Vec<u8> {
        self.settle();
        let out = self.path(name);
        let mut compactor = command("compactor");
        compactor.arg(self.data()).args([&out, "--quiet"]);
        super::run(compactor).ok();
        std::fs::read(out).unwrap()
    }

    /// Verifies the ledger, every byte of it.
    #[track_caller]
    pub fn verify(&self) -> Ran {
        orchctl(["ledger", "verify", self.data().to_str().unwrap()]).ok()
    }
}

/// A port that nobody listens on and that the system does not give to outgoing connections either: an orchestrator that
/// is killed and started again must find it free.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 200).unwrap() * 100;
    until("a free port", || {
        let port = 12_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}
