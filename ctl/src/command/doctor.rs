//! `orchctl doctor`: what is wrong, seen from here, and what to do about it.

use std::net::SocketAddr;

use orch_core::time::{Span, Timestamp};
use orch_proto::v1;
use serde::Deserialize;

use super::{stats, worker};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{Check, DoctorView, StatsView, WorkerView, span};

/// A skew of the clocks above this confuses ages; above the second it confuses schedules.
const SMALL_SKEW: Span = Span::seconds(2);
const LARGE_SKEW: Span = Span::seconds(60);

/// Jobs that were ready for so long are waiting for something.
const LONG_READY: Span = Span::seconds(600);

/// Prints every check. Broken things end it with 1, an absent server with 8.
pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let server = context.settings.server.value.clone();
    let client = match context.connect().await {
        Ok(client) => client,
        Err(failure) => {
            let how = failure.how().unwrap_or("correct what it says").to_owned();
            let check = Check::problem("server", failure.what().to_owned(), how);
            context.print(&DoctorView { server: server.to_string(), checks: vec![check] })?;
            return Err(Failure::silent(failure.exit));
        }
    };
    let mut admin = client.admin();
    let asked_at = context.now();
    let info = client.unary("cannot ask the server who it is", admin.server_info(v1::ServerInfoRequest {})).await?;
    let answered_at = context.now();
    let stats = stats::fetch(context, &client).await?;
    let workers = worker::list(&client, String::new()).await?;
    let mut checks = vec![
        Check::ok("server", format!("{server} answers: host {}, pid {}, data {}", info.host, info.pid, info.data_dir)),
        exposure(&info.config_json, server.tls()),
        version(&info.version),
        clock(asked_at, answered_at, Timestamp(info.now_unix_ms)),
        ledger(&stats),
        index(&stats),
    ];
    checks.extend(worker_checks(&stats, &workers));
    checks.extend(queue_checks(&stats, &workers));
    let view = DoctorView { server: server.to_string(), checks };
    context.print(&view)?;
    Ok(if view.broken() { Exit::Error } else { Exit::Done })
}

/// What of the server's configuration says who can reach it. Other versions may say more, or less.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Reachable {
    listen: String,
    insecure: bool,
    tls: Option<serde::de::IgnoredAny>,
}

/// Whether strangers can get at the server.
fn exposure(config: &str, over_tls: bool) -> Check {
    let Reachable { listen, insecure, tls } = serde_json::from_str(config).unwrap_or_default();
    let far = listen.parse().is_ok_and(|listen: SocketAddr| !listen.ip().to_canonical().is_loopback());
    match (far, insecure, tls.is_some()) {
        (true, true, _) => Check::problem(
            "exposure",
            format!("INSECURE: it listens on {listen} with --insecure: whoever reaches it can do everything"),
            "give it TLS and authentication (docs/tls.md), and take --insecure away",
        ),
        (true, false, _) => Check::ok("exposure", format!("{listen}, with TLS and authentication")),
        (false, _, true) => Check::ok("exposure", format!("{listen}, this machine only, with TLS")),
        (false, _, false) if over_tls => Check::ok("exposure", format!("{listen}, behind something that speaks TLS")),
        (false, _, false) => Check::ok("exposure", format!("{listen}, this machine only, without TLS")),
    }
}

fn version(theirs: &str) -> Check {
    let ours = env!("CARGO_PKG_VERSION");
    if theirs == ours {
        return Check::ok("version", format!("{ours} on both sides"));
    }
    Check::warning(
        "version",
        format!("orchctl is {ours}, the server {theirs}"),
        "use the orchctl that came with the server",
    )
}

/// The server's clock lay between our two readings, unless the clocks differ.
fn clock(before: Timestamp, after: Timestamp, theirs: Timestamp) -> Check {
    let skew = before.since(theirs).max(theirs.since(after));
    let found = format!("the server's clock is {} off", span(skew));
    let fix = "synchronise the clocks of both machines (NTP)";
    if skew <= SMALL_SKEW {
        Check::ok("clock", "both clocks agree")
    } else if skew <= LARGE_SKEW {
        Check::warning("clock", found, fix)
    } else {
        Check::problem("clock", found, fix)
    }
}

fn ledger(stats: &StatsView) -> Check {
    let ledger = &stats.ledger;
    match (&ledger.read_only_reason, ledger.missing_seq) {
        (Some(reason), Some(seq)) => Check::problem(
            "ledger",
            format!("rolled back: {reason}"),
            format!(
                "stop the orchestrator and put the newer copy of the data directory back; if there is none, start it \
                 once with --accept-rollback {seq}"
            ),
        ),
        (Some(reason), None) => Check::problem(
            "ledger",
            format!("read only: {reason}"),
            "free space on the orchestrator's disk: it writes again by itself when there is room",
        ),
        (None, _) => Check::ok("ledger", format!("writable, seq {}, {} bytes", ledger.seq, ledger.bytes)),
    }
}

fn index(stats: &StatsView) -> Check {
    let lag = stats.ledger.seq.saturating_sub(stats.index.applied_seq);
    match &stats.index.problem {
        Some(problem) => Check::warning(
            "index",
            problem,
            "listings may be incomplete; it is rebuilt at the next start if index/ is deleted while the server is down",
        ),
        None => Check::ok("index", format!("{}, {lag} records behind the ledger", stats.index.kind)),
    }
}

fn worker_checks(stats: &StatsView, workers: &[WorkerView]) -> Vec<Check> {
    let named = |status| -> Vec<&str> {
        workers.iter().filter(|worker| worker.status == status).map(|worker| worker.worker.as_str()).collect()
    };
    let (live, stale) = (named("live"), named("stale"));
    let mut checks = Vec::new();
    match live.len() {
        0 if stats.jobs.open() > 0 => checks.push(Check::problem(
            "workers",
            format!("none is live, and {} jobs are open", stats.jobs.open()),
            "start one with `worker --server URL`",
        )),
        0 => checks.push(Check::warning("workers", "none is live", "start one with `worker --server URL`")),
        n => checks.push(Check::ok("workers", format!("{n} live with {} slots", stats.workers.slots))),
    }
    if !stale.is_empty() {
        checks.push(Check::warning(
            "stale workers",
            stale.join(", "),
            "look after these machines, or put their jobs back at once with `orchctl worker cleanup`",
        ));
    }
    checks
}

fn queue_checks(stats: &StatsView, workers: &[WorkerView]) -> Vec<Check> {
    let offered =
        |kind: &str| workers.iter().any(|worker| worker.status == "live" && worker.kinds.iter().any(|k| k == kind));
    let mut checks = Vec::new();
    for queue in &stats.queues {
        let name = &queue.queue;
        let open = queue.jobs.open();
        if queue.paused && open > 0 {
            let reason = queue.paused_reason.as_deref().unwrap_or("no reason given");
            let found = format!("{name} is paused with {open} open jobs: {reason}");
            checks.push(Check::warning("queue", found, format!("`orchctl queue resume {name}` when it may go on")));
        }
        if queue.contract.is_none() && open > 0 {
            let found = format!("{name} has no contract: every candidate is rejected");
            checks.push(Check::warning("queue", found, "define it anew with a contract: `orchctl submit -f FILE`"));
        }
        if let Some(kind) = queue.kind.as_deref().filter(|kind| open > 0 && !offered(kind)) {
            let found = format!("{name} has {open} open jobs of kind {kind}, which no live worker runs");
            checks.push(Check::problem("queue", found, format!("start a worker whose config lists {kind}")));
        }
        if queue.jobs.failed > 0 {
            let found = format!("{name} has {} failed jobs", queue.jobs.failed);
            let fix =
                format!("`orchctl job list --queue {name} --state failed`, then `orchctl retry-failed --queue {name}`");
            checks.push(Check::warning("queue", found, fix));
        }
    }
    if let Some(age) = stats.oldest_ready_age_ms.map(Span).filter(|age| *age > LONG_READY) {
        let found = format!("the oldest ready job has waited for {}", span(age));
        checks.push(Check::warning("waiting", found, "start more workers, or look for a kind that none of them runs"));
    }
    if checks.is_empty() {
        checks.push(Check::ok("queues", format!("{} queues, {} open jobs", stats.queues.len(), stats.jobs.open())));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::doctor::CheckStatus;

    #[test]
    fn clocks_agree_within_the_call() {
        let check = |theirs| clock(Timestamp(10_000), Timestamp(11_000), Timestamp(theirs)).status;
        assert_eq!(check(10_500), CheckStatus::Ok);
        assert_eq!(check(12_000), CheckStatus::Ok);
        assert_eq!(check(5_000), CheckStatus::Warning);
        assert_eq!(check(200_000), CheckStatus::Problem);
    }

    #[test]
    fn an_open_door_is_a_problem() {
        let check = |listen: &str, insecure: bool| {
            let config = format!("{{\"listen\":\"{listen}\",\"insecure\":{insecure},\"tls\":null,\"more\":1}}");
            exposure(&config, false)
        };
        assert_eq!(check("127.0.0.1:1", true).status, CheckStatus::Ok);
        assert_eq!(check("0.0.0.0:1", true).status, CheckStatus::Problem);
        assert!(check("0.0.0.0:1", true).found.contains("INSECURE"));
        assert_eq!(check("0.0.0.0:1", false).status, CheckStatus::Ok);
    }

    #[test]
    fn another_version_is_a_warning() {
        assert_eq!(version("99.0.0").status, CheckStatus::Warning);
        assert_eq!(version(env!("CARGO_PKG_VERSION")).status, CheckStatus::Ok);
    }
}
