//! Processes: run to their end with everything they said, or kept running and killed when the test is over.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orch_tests::binaries;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::until;

/// A command for one of our binaries, without settings from whoever runs the tests.
pub fn command(binary: &str) -> Command {
    clean(Command::new(binaries::path(binary)))
}

/// The same command without settings from whoever runs the tests.
pub fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ORCH_") {
            command.env_remove(name);
        }
    }
    // No file of settings, no colours, and a backtrace should one of ours panic.
    command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME").env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
    command.stdin(Stdio::null());
    command
}

/// What a process came to.
#[derive(Debug)]
pub struct Ran {
    /// What was run, for messages.
    pub title: String,
    /// Its exit code; 128 and the signal, as shells say it, if a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs `orchctl` with these arguments to its end.
#[track_caller]
pub fn orchctl<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let mut command = command("orchctl");
    command.args(args);
    run(command)
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: Command) -> Ran {
    Process::start(command).wait()
}

impl Ran {
    /// This, if it ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ended(0)
    }

    /// This, if it ended with this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// This, if its standard error has this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "expected {text:?} in the standard error of {self}");
        self
    }

    /// This, if its standard output has this text.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.out.contains(text), "expected {text:?} in the standard output of {self}");
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Its standard output as lines of JSON.
    #[track_caller]
    pub fn jsonl(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}: {self}"));
        self.out.lines().map(line).collect()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { title, code, out, err } = self;
        let cut = |text: &str| text.chars().take(4000).collect::<String>();
        write!(f, "{title}\nexit code {code}\n--- standard output\n{}\n--- standard error\n{}\n---", cut(out), cut(err))
    }
}

/// A process that was started. Killed, if it still runs, when it is dropped; and no process of ours may ever panic.
#[derive(Debug)]
pub struct Process {
    title: String,
    child: Child,
    out: Said,
    err: Said,
}

/// What a pipe has brought so far.
#[derive(Debug)]
struct Said {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Said {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 16 << 10];
            while let Ok(n @ 1..) = pipe.read(&mut chunk) {
                into.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    /// Everything, once the pipe is closed.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}

impl Process {
    /// Starts a command.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let title = words.join(" ");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{title}: {error}"));
        let (out, err) = (Said::read(child.stdout.take().unwrap()), Said::read(child.stderr.take().unwrap()));
        Self { title, child, out, err }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its standard output until now.
    pub fn out(&self) -> String {
        self.out.so_far()
    }

    /// Its standard error until now.
    pub fn err(&self) -> String {
        self.err.so_far()
    }

    /// Its end, if that has come.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for something to see, which must come before its end.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        until(&format!("{what} of {}", self.title), || {
            // First this, so that what was said before the end is not missed.
            let ended = self.has_ended();
            let seen = look(self);
            assert!(
                seen.is_some() || ended.is_none(),
                "{} ended ({ended:?}) before {what}\n--- standard output\n{}\n--- standard error\n{}",
                self.title,
                self.out(),
                self.err()
            );
            seen
        })
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Gives it so long to end.
    pub fn end_within(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while self.has_ended().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub fn kill9(mut self) -> Ran {
        // Its end may have come just now.
        let _ = self.child.kill();
        self.wait_by_ref()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ran {
        self.wait_by_ref()
    }

    #[track_caller]
    fn wait_by_ref(&mut self) -> Ran {
        use std::os::unix::process::ExitStatusExt as _;
        let status = until(&format!("the end of {}\n{}", self.title, self.err()), || self.has_ended());
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        let ran = Ran { title: self.title.clone(), code, out: self.out.whole(), err: self.err.whole() };
        assert!(!ran.err.contains("panicked"), "a panic: {ran}");
        ran
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let err = self.err();
        if std::thread::panicking() {
            // Shown by the test harness together with the failure.
            let tail: Vec<&str> = err.lines().rev().take(40).collect();
            eprintln!("--- the end of the standard error of {}", self.title);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        } else {
            assert!(!err.contains("panicked"), "a panic in {}:\n{err}", self.title);
        }
    }
}

/// Whether no process of this number lives any more; a zombie does not live.
pub fn is_gone(pid: i32) -> bool {
    match std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(_) => true,
    }
}
