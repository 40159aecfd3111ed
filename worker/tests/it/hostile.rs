//! Programs that do not want to end, under the `worker` program: whatever they do, nothing of them outlives the lease.
//!
//! Each holds the writing end of a pipe with everything that it starts, so that the pipe tells when the last one is gone.
//! `ORCH_HOSTILE_CANCELS=1000 cargo test -p orch-worker --test it hostile -- --nocapture` is the long form; it prints how
//! long the longest took.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orch_proto::v1;
use tempfile::TempDir;

use crate::server::{Server, lease};
use crate::support::Fifo;

/// Python's beginning of a program that does what no shell can.
const PYTHON: &str = "import os, signal, sys, time, ctypes";

/// What a hostile program does, and whether it ends by itself. `python:` programs are Python, the others are shell scripts.
const PROGRAMS: &[(&str, bool)] = &[
    ("sleep 1000", false),
    ("trap '' TERM INT HUP QUIT; while :; do sleep 1000; done", false),
    ("setsid sleep 1000 & sleep 1000", false),
    ("setsid sh -c 'sleep 1000 & exec sleep 1000' & exit 0", true),
    ("(sleep 1000 &); exit 0", true),
    ("(setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' &); sleep 1000", false),
    ("nohup sleep 1000 >/dev/null 2>&1 & exit 3", true),
    ("kill -9 $PPID; sleep 1000", true),
    ("setsid sleep 1000 & kill -9 $PPID; exit 0", true),
    ("setsid sh -c 'trap \"\" TERM; sleep 1000 & wait' & kill -9 $PPID; sleep 1000", true),
    ("kill -STOP $PPID; sleep 1000", false),
    ("setsid sleep 1000 & kill -STOP $PPID; exit 0", false),
    ("kill -TERM $PPID; sleep 1000", true),
    ("kill -USR1 $PPID; sleep 1000", true),
    ("kill -HUP $PPID; sleep 1000", false),
    ("for i in $(seq 100); do sleep 1000 & done; wait", false),
    ("f() { if [ $1 -gt 0 ]; then f $(($1 - 1)) & fi; sleep 1000; }; f 20", false),
    ("r() { trap '' TERM; while :; do sleep 1000 & wait; done; }; r & r & r & wait", false),
    ("w() { while :; do setsid sleep 0.05; done; }; w & w & w & wait", false),
    ("kill -STOP $$; sleep 1000", false),
    ("sleep 1000 & kill -STOP $!; sleep 1000", false),
    ("exec <&- >&- 2>&-; sleep 1000", false),
    ("setsid sleep 1000 >/dev/null 2>&1 </dev/null & exec sh -c 'exec setsid sleep 1000'", false),
    ("cat /dev/zero > /dev/null", false),
    ("while :; do echo noise; done >&2", false),
    ("env -i $(command -v setsid) $(command -v sleep) 1000 & sleep 1000", false),
    ("python: [os.fork() or os._exit(0) for _ in range(50)]; time.sleep(1000)", false),
    ("python: os.setpgid(0, 0); os.fork() or os.setsid(); os.fork(); time.sleep(1000)", false),
    // It is a reaper itself, and its children are daemons.
    (
        "python: ctypes.CDLL(None).prctl(36, 1); os.fork() or (os.setsid(), os.fork() and os._exit(0)); time.sleep(1000)",
        false,
    ),
    // It forks and ends, again and again: it is never there when one looks.
    (
        "python:\nif os.fork(): os._exit(0)\nos.setsid()\nwhile True:\n    if os.fork(): os._exit(0)\n    time.sleep(0.001)",
        true,
    ),
    (
        "python:\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\nos.fork(); os.fork(); time.sleep(1000)",
        false,
    ),
];

/// The `worker` program, ended with the test.
struct Worker(Child);

impl Worker {
    fn start(server: &Server, folder: &Path, vars: &[(&str, &str)]) -> Self {
        // Signals are ignored as by a shell that starts it in the background, or by nohup.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP INT QUIT; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_worker")]);
        command.args(["--server", &server.url(), "--slots", "2", "--config"]).arg(folder.join("worker.yaml"));
        command.envs(vars.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A worker that runs all of them, by the names `p0`, `p1`, ...
struct Hostile {
    server: Server,
    folder: TempDir,
    worker: Option<Worker>,
    number: u64,
}

impl Hostile {
    fn new(fifo: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut kinds = String::from("kinds:\n");
        for (n, (program, _)) in PROGRAMS.iter().enumerate() {
            let (ending, first) = if program.starts_with("python:") { ("py", "python3") } else { ("sh", "sh") };
            let file = folder.path().join(format!("p{n}.{ending}"));
            let text = match program.strip_prefix("python:") {
                Some(program) => format!(
                    "{PYTHON}\nos.dup2(os.open({:?}, os.O_WRONLY), 9)\nos.write(9, b'up\\n')\n{}\n",
                    fifo.to_str().unwrap(),
                    program.trim_start_matches(' ')
                ),
                None => format!("exec 9>{}; echo up >&9\n{program}\n", fifo.display()),
            };
            std::fs::write(&file, text).unwrap();
            kinds += &format!(
                "  p{n}: {{runner: command, argv: [{first}, {}], stop_grace: 20ms}}\n",
                serde_json::json!(file.to_str().unwrap())
            );
        }
        std::fs::write(folder.path().join("worker.yaml"), kinds).unwrap();
        Self { server: Server::new(), folder, worker: None, number: 0 }
    }

    fn start_worker(&mut self) {
        self.worker = Some(Worker::start(&self.server, self.folder.path(), &[]));
    }

    /// Leases one of the programs; a number of the lease.
    fn offer(&mut self, program: usize) -> u64 {
        self.number += 1;
        self.server.offer(lease(self.number, &format!("p{program}"), "null"));
        self.number
    }
}

/// So many programs are cancelled, one after the other.
fn cancels() -> usize {
    std::env::var("ORCH_HOSTILE_CANCELS").map_or(PROGRAMS.len(), |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_hostile_program_that_is_cancelled_or_ends() {
    let fifo = Fifo::new();
    let mut hostile = Hostile::new(fifo.path());
    hostile.start_worker();
    let mut longest = (Duration::ZERO, "");
    for n in 0..cancels() {
        let (program, ends) = PROGRAMS[n % PROGRAMS.len()];
        let mut processes = fifo.processes();
        let lease = hostile.offer(n % PROGRAMS.len());
        processes.up().await;
        if !ends {
            hostile.server.with(|state| state.lease_orders.insert(lease, v1::LeaseOrder::Cancel));
        }
        let asked = Instant::now();
        println!("waiting for the end of {program:?}");
        assert_eq!(processes.gone().await, "up\n", "{program}");
        hostile.server.end_of(lease).await;
        longest = longest.max((asked.elapsed(), program));
    }
    println!("{} programs; the last process was gone {:?} after at most ({})", cancels(), longest.0, longest.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_worker_that_is_killed() {
    for (n, (program, ends)) in PROGRAMS.iter().enumerate() {
        // One that ends by itself is gone before; one that stops its supervisor and loses its worker is out of reach.
        if *ends || program.contains("-STOP $PPID") {
            continue;
        }
        let fifo = Fifo::new();
        let mut hostile = Hostile::new(fifo.path());
        hostile.start_worker();
        let mut processes = fifo.processes();
        hostile.offer(n);
        processes.up().await;
        hostile.worker = None;
        assert_eq!(processes.gone().await, "up\n", "{program}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_no_more_of_the_environment_and_the_machine_than_it_is_given() {
    let server = Server::new();
    let folder = tempfile::tempdir().unwrap();
    let print = "env; ulimit -n; ulimit -c; ulimit -f; grep -e NoNewPrivs -e SigIgn /proc/self/status";
    let kinds = format!(
        "kinds:\n  x: {{runner: command, argv: [sh, -c, '{print}'], env: {{GIVEN: '1'}}, pass_env: [PASSED],\n      \
         limits: {{open_files: 77, file_size: 1MiB}}}}\n  none: {{runner: command, argv: [/no/such/program]}}\n"
    );
    std::fs::write(folder.path().join("worker.yaml"), kinds).unwrap();
    let vars = [("PASSED", "2"), ("ORCH_TOKEN", "secret"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let worker = Worker::start(&server, folder.path(), &vars);
    server.offer(lease(1, "x", "null"));
    server.end_of(1).await;
    server.offer(lease(2, "none", "null"));
    let ended = format!("{:?}", server.end_of(2).await);
    drop(worker);
    let said = server.candidates(1);
    for line in ["GIVEN=1", "PASSED=2", "ORCH_KIND=x", "77", "0", "2048", "NoNewPrivs:\t1"] {
        assert!(said.iter().any(|said| said == line), "{line}: {said:#?}");
    }
    assert!(!said.iter().any(|line| line.contains("secret")), "{said:#?}");
    let ignored = said.iter().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    // HUP, INT and QUIT. Of the system's own real-time signals somebody above us may ignore some.
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 0b111, 0, "{ignored}");
    for part in ["127", "cannot start", "/no/such/program"] {
        assert!(ended.contains(part), "{part}: {ended}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_job_runs_on_the_processors_that_it_was_given() {
    let server = Server::new();
    let folder = tempfile::tempdir().unwrap();
    let print = "echo \"$ORCH_CPUS\"; sed -n \"s/^Cpus_allowed_list:.//p\" /proc/self/status";
    let config = |cpus: &str, pin: bool| {
        format!("{cpus}\nkinds:\n  x: {{runner: command, pin: {pin}, argv: [sh, -c, {}]}}\n", serde_json::json!(print))
    };
    let one_cpu = || {
        let need = v1::ResourceNeed { name: "cpus".into(), amount: 10_000, ..Default::default() };
        Some(v1::ResourceVariant { needs: vec![need], min_time_ms: None })
    };
    let run = async |number: u64, config: String, resources| {
        std::fs::write(folder.path().join("worker.yaml"), config).unwrap();
        let worker = Worker::start(&server, folder.path(), &[]);
        server.offer(v1::Lease { resources, ..lease(number, "x", "null") });
        let ended = format!("{:?}", server.end_of(number).await);
        drop(worker);
        (server.candidates(number), ended)
    };
    let everywhere = std::fs::read_to_string("/proc/self/status").unwrap();
    let everywhere = everywhere.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap();
    let (said, _) = run(1, config("", true), one_cpu()).await;
    assert_eq!(said[0], said[1], "pinned to what it was given");
    assert!(said[0].parse::<u32>().is_ok(), "{said:?}");
    let (said, _) = run(2, config("", false), one_cpu()).await;
    assert_eq!(said[1], everywhere, "not pinned");
    let (said, _) = run(3, config("", true), None).await;
    assert_eq!(said, [everywhere], "it asked for no processor");
    let (said, ended) = run(4, config("resources: {cpus: '[fast]'}", true), one_cpu()).await;
    assert!(said.is_empty() && ended.contains(r#"\"fast\" is no processor's number"#), "{said:?} {ended}");
}

/// A directory for control groups, where this machine lets us have one.
struct Groups(PathBuf);

impl Groups {
    fn new() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
        let mount =
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|mount| mount[2] == "cgroup2")?;
        let path = Path::new(mount[1]).join(format!("orch-test-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_a_control_group_of_its_own_which_goes_with_it() {
    let Some(groups) = Groups::new() else {
        println!("NOT RUN: no directory of control groups (version 2) that may be written");
        return;
    };
    let server = Server::new();
    let folder = tempfile::tempdir().unwrap();
    let fifo = Fifo::new();
    let script = format!(
        "exec 9>{}; echo up >&9; cat /proc/self/cgroup >&9; setsid sleep 1000 & sleep 1000",
        fifo.path().display()
    );
    let kinds = format!(
        "kinds:\n  x: {{runner: command, argv: [sh, -c, {}], cgroup: {}, stop_grace: 20ms}}\n",
        serde_json::json!(script),
        groups.0.display()
    );
    std::fs::write(folder.path().join("worker.yaml"), kinds).unwrap();
    let worker = Worker::start(&server, folder.path(), &[]);
    let mut processes = fifo.processes();
    server.offer(lease(1, "x", "null"));
    processes.up().await;
    let is_group = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("job-");
    let of_jobs = || std::fs::read_dir(&groups.0).unwrap().flatten().filter(is_group).count();
    assert_eq!(of_jobs(), 1);
    server.with(|state| state.lease_orders.insert(1, v1::LeaseOrder::Cancel));
    let said = processes.gone().await;
    assert!(said.contains("/job-"), "{said}");
    server.end_of(1).await;
    assert_eq!(of_jobs(), 0);
    drop(worker);
}

/// Whether this kernel keeps a process to some files, and to signals to its own: the worker says the first at its start.
fn landlock(folder: &Path) -> bool {
    let config = folder.join("probe.yaml");
    std::fs::write(&config, "kinds: {x: {runner: command, argv: [x], files: {}}}\n").unwrap();
    let mut worker = Command::new(env!("CARGO_BIN_EXE_worker"));
    // A port that nobody listens on: it ends by itself, for this reason or for that.
    worker.args(["--server", "http://127.0.0.1:1", "--give-up-after", "1ms", "--config"]).arg(config);
    let ended = worker.env_clear().output().unwrap();
    !String::from_utf8_lossy(&ended.stderr).contains("Landlock")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_the_files_that_it_was_given_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    if !landlock(folder.path()) {
        println!("NOT RUN: this kernel has no Landlock");
        return;
    }
    let server = Server::new();
    let make = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), name).unwrap();
    };
    for name in ["input", "scratch", "secret"] {
        make(name);
    }
    // Each line is an attempt and what came of it. The outsider is this test's own process.
    let script = "t() { if (eval \"$2\") 2>/dev/null; then echo \"$1 yes\"; else echo \"$1 no\"; fi; }\n\
        t read-given '< input/file'; t write-read-only '> input/new'; t append-read-only '>> input/file'\n\
        t write-given 'echo x > scratch/new && mv scratch/new scratch/moved && rm scratch/moved && < scratch/file'\n\
        t read-secret '< secret/file'; t list-secret 'ls secret'; t write-secret '> secret/file'; t remove-secret 'rm secret/file'\n\
        t link-secret 'ln secret/file scratch/linked'; t move-out 'mv scratch/file secret/'\n\
        t null 'echo x > /dev/null'; t random 'head -c 1 /dev/urandom > /dev/null'\n\
        t child-reads-secret 'setsid sh -c \"cat secret/file\"'; t own-child 'sleep 100 & kill $!'\n\
        t signal-supervisor 'kill -0 $PPID'; t signal-outsider 'kill -0 $OUTSIDER'";
    let root = folder.path().display();
    let system = ["/usr", "/bin", "/lib", "/lib64", "/etc"].into_iter().filter(|path| Path::new(path).exists());
    let system = system.collect::<Vec<_>>().join(", ");
    let config = format!(
        "kinds:\n  x: {{runner: command, argv: [sh, -c, {}], cwd: {root}, env: {{OUTSIDER: '{}'}},\n      \
         files: {{read: [{system}, input], write: [scratch]}}}}\n  \
         gone: {{runner: command, argv: [sh, -c, 'echo {{}}'], files: {{read: [/usr, /no/such/folder]}}}}\n",
        serde_json::json!(script),
        std::process::id()
    );
    std::fs::write(folder.path().join("worker.yaml"), config).unwrap();
    let worker = Worker::start(&server, folder.path(), &[]);
    server.offer(lease(1, "x", "null"));
    server.end_of(1).await;
    server.offer(lease(2, "gone", "null"));
    let ended = format!("{:?}", server.end_of(2).await);
    drop(worker);
    let said = server.candidates(1);
    // Signals are kept in since Linux 6.12.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let kept_in = (numbers.next(), numbers.next()) >= (Some(6), Some(12));
    let signals = if kept_in { "no" } else { "yes" };
    let (supervisor, outsider) = (format!("signal-supervisor {signals}"), format!("signal-outsider {signals}"));
    let expected = [
        "read-given yes",
        "write-read-only no",
        "append-read-only no",
        "write-given yes",
        "read-secret no",
        "list-secret no",
        "write-secret no",
        "remove-secret no",
        "link-secret no",
        "move-out no",
        "null yes",
        "random yes",
        "child-reads-secret no",
        "own-child yes",
        &supervisor,
        &outsider,
    ];
    assert_eq!(said, expected, "{:?}", server.end_of(1).await);
    assert_eq!(std::fs::read_to_string(folder.path().join("secret/file")).unwrap(), "secret");
    // What is not there cannot be allowed, and the job says so: it would fail later, and nobody would know why.
    assert!(ended.contains("/no/such/folder cannot be allowed"), "{ended}");
}
