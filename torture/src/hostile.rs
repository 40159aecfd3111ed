//! Hostile clients: rapid resets, floods of connections, slow ones, and no file descriptor left.
//!
//! The hostile ones have threads of the lowest priority; what is left of their being here at all shows beside the same threads
//! when they only compute. All the while a well-behaved client, on a thread of its own, makes
//! calls: over one connection that stands, and over new ones. Its calls may become slower, which is reported; over its standing connection none may fail.

mod attack;
mod probe;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use orch_transport::development::{self, Development, Existing};
use orch_transport::{ClientTls, Dial};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use self::attack::Attacked;
use self::probe::{Probe, Probed};
use crate::TortureError;
use crate::binaries::Binaries;
use crate::crowd::Crowd;
use crate::process::until;
use crate::report::{Progress, Report};
use crate::server::Server;

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// Slow connections at once.
    pub slow: usize,
    /// Connections of the flood at once; the orchestrator has room for half of them.
    pub flood: usize,
    /// How long each of the others lasts.
    pub time: Duration,
    /// Whether everything is under TLS with certificates on both sides.
    pub tls: bool,
}

/// How long the orchestrator waits for the first call of a connection.
const FIRST_CALL: &str = "2s";

/// How long everything may take to be normal again.
const PATIENCE: Duration = Duration::from_secs(120);

/// File descriptors that are left to the orchestrator while they are scarce.
const FEW: usize = 8;

/// Runs it in `folder`.
///
/// # Errors
/// [`TortureError`]: it could not be done, for example because too few files may be open.
pub async fn run(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    allow_open_files(options)?;
    let mut report = Report::new("hostile-clients");
    let (mut server, dial) = start(binaries, folder, options).await?;
    let pid = server.process()?.pid();
    let address = dial.server().authority().to_owned();
    let hostile = Crowd::new()?;

    let quiet = Probe::start(&dial).await?.after(tokio::time::sleep(options.time)).await?.1;
    let calm = quiet.standing.p99();
    tell(&mut report, "quiet", &quiet, None);

    progress.say(format_args!("a busy machine"));
    let (busy, probed) = Probe::start(&dial).await?.after(hostile.run(attack::busy(options.time))).await?;
    busy?;
    tell(&mut report, "a busy machine", &probed, Some(calm));

    progress.say(format_args!("rapid resets"));
    let resets = hostile.run(attack::resets(dial.clone(), options.time, PATIENCE));
    let (attacked, probed) = Probe::start(&dial).await?.after(resets).await?;
    let Attacked { made, cut } = attacked?;
    report.fact("calls made and taken back at once", made);
    report.fact("connections held or cut for that", cut);
    if cut == 0 {
        report.violation("a peer that only takes calls back is never cut");
    }
    tell(&mut report, "rapid resets", &probed, Some(calm));
    recovered(&mut report, "rapid resets", &dial).await?;

    progress.say(format_args!("a flood of connections"));
    let flood = hostile.run(attack::flood(address.clone(), options.flood, options.time));
    let (attacked, probed) = Probe::start(&dial).await?.after(flood).await?;
    let attacked = attacked?;
    report.fact("connections of the flood", attacked.made);
    report.fact("of which were put out or refused", attacked.cut);
    tell(&mut report, "a flood of connections", &probed, Some(calm));
    recovered(&mut report, "a flood of connections", &dial).await?;

    progress.say(format_args!("slow connections"));
    let slow = hostile.run(attack::slow(address.clone(), options.slow, options.tls, PATIENCE));
    let (attacked, probed) = Probe::start(&dial).await?.after(slow).await?;
    let attacked = attacked?;
    report.fact("slow connections", attacked.made);
    report.fact("of which were cut", attacked.cut);
    if attacked.cut < attacked.made {
        report.violation(format!("{} slow connections are never cut", attacked.made - attacked.cut));
    }
    tell(&mut report, "slow connections", &probed, Some(calm));
    recovered(&mut report, "slow connections", &dial).await?;

    progress.say(format_args!("no file descriptor left"));
    let probe = Probe::start(&dial).await?;
    let before = scarce(pid)?;
    let (spent, began) = (processor_time(pid), Instant::now());
    let starved = probe.after(hostile.run(attack::flood(address, 64, options.time))).await;
    let share = (processor_time(pid) - spent).as_secs_f64() / began.elapsed().as_secs_f64();
    prlimit(Some(pid), Resource::Nofile, before)
        .map_err(std::io::Error::from)
        .map_err(TortureError::io("set a limit"))?;
    let (_, probed) = starved?;
    report.fact("processor time while there is no descriptor", format_args!("{:.0} % of a core", share * 100.0));
    tell(&mut report, "no descriptor", &probed, Some(calm));
    recovered(&mut report, "no descriptor", &dial).await?;

    until("all hostile connections to be gone", PATIENCE, async || Ok((descriptors(pid).len() < 64).then_some(())))
        .await?;
    report.fact("memory at the end", format_args!("{} MiB", crate::latency::memory(pid).0 >> 20));
    server.stop().await?;
    report.violations(server.panics());
    Ok(report)
}

async fn start(binaries: &Binaries, folder: &Path, options: &Options) -> Result<(Server, Dial), TortureError> {
    let room = (options.flood / 2).max(100).to_string();
    let mut args = vec!["--first-call-timeout".to_owned(), FIRST_CALL.to_owned(), "--max-connections".to_owned(), room];
    let mut tls = ClientTls::default();
    if options.tls {
        let asked = Development {
            dir: folder.join("certs"),
            names: Vec::new(),
            client: "torture".into(),
            valid: Duration::from_secs(86_400),
            existing: Existing::Keep,
        };
        let wrong = |error: &dyn std::error::Error| TortureError::Call {
            doing: "make certificates".to_owned(),
            message: error.to_string(),
        };
        let made = development::make(&asked).map_err(|error| wrong(&error))?;
        for (flag, file) in
            [("--tls-cert", &made.server), ("--tls-key", &made.server_key), ("--tls-client-ca", &made.ca)]
        {
            args.extend([flag.to_owned(), file.display().to_string()]);
        }
        tls = ClientTls { ca: Some(made.ca), cert: Some(made.client), key: Some(made.client_key), domain: None };
    }
    let mut server = Server::new(binaries, folder, "data")?.args(args);
    server.start().await?;
    let url = if options.tls { server.url().replace("http://", "https://") } else { server.url() };
    let wrong = |message: String| TortureError::Call { doing: "reach the orchestrator".to_owned(), message };
    let url = url.parse().map_err(|error: orch_transport::UrlError| wrong(error.to_string()))?;
    let dial = Dial::new(url, tls).map_err(|error| wrong(error.to_string()))?;
    Ok((server, dial))
}

/// What the well-behaved client met. Times are told, never judged.
fn tell(report: &mut Report, phase: &str, probed: &Probed, calm: Option<Duration>) {
    let times = calm.map(|calm| {
        let ratio = probed.standing.p99().as_secs_f64() / calm.as_secs_f64().max(1e-9);
        format!(" (p99 is {ratio:.1} times that of quiet)")
    });
    let (standing, fresh) = (probed.standing.clone().summary(), probed.fresh.clone().summary());
    report.fact(format!("calls, {phase}"), format_args!("{standing}{}", times.unwrap_or_default()));
    report.fact(format!("new connections, {phase}"), format_args!("{fresh}, {} failed", probed.fresh_failed));
    if let Some(wrong) = &probed.failed {
        report.violation(format!("{phase}: a well-behaved client's call failed: {wrong}"));
    }
}

/// How long until a new client is served.
async fn recovered(report: &mut Report, phase: &str, dial: &Dial) -> Result<(), TortureError> {
    let began = Instant::now();
    until("a new client to be served", PATIENCE, async || Ok(probe::fresh_call(dial).await.ok())).await?;
    report.fact(format!("a new client is served after {phase} within"), format_args!("{:.1?}", began.elapsed()));
    Ok(())
}

/// Two ends of each connection are in two processes; this one has the clients' ends.
fn allow_open_files(options: &Options) -> Result<(), TortureError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let needed = (options.flood.max(options.slow) + 500) as u64;
    if maximum.is_some_and(|maximum| maximum < needed) {
        let why = format!("at most {} open files are allowed, {needed} are needed", maximum.unwrap_or(0));
        return Err(TortureError::NoTool { tool: "a higher limit on open files", why, fix: "raise it: ulimit -Hn" });
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).map_err(std::io::Error::from);
    raised.map_err(TortureError::io("raise the limit on open files"))
}

/// Leaves a process almost no file descriptor, and gives the limit that it had. The limit is on their numbers, and the
/// smallest free number is taken next.
fn scarce(pid: Pid) -> Result<Rlimit, TortureError> {
    let used = descriptors(pid);
    let limit = (0..).filter(|number| !used.contains(number)).nth(FEW).unwrap_or_default();
    let limit = Rlimit { current: Some(limit), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(Some(pid), Resource::Nofile, limit).map_err(std::io::Error::from);
    before.map_err(TortureError::io("limit the open files of the orchestrator"))
}

/// The numbers of a process's open files.
fn descriptors(pid: Pid) -> BTreeSet<u64> {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    let number = |name: std::ffi::OsString| name.to_string_lossy().parse().ok();
    folder.into_iter().flatten().flatten().filter_map(|entry| number(entry.file_name())).collect()
}

/// What a process has spent of processors so far. A tick of the system's clock is a hundredth of a second everywhere.
fn processor_time(pid: Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
