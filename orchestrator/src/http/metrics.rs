//! `/metrics`: the names, units and help of everything that a scrape tells. `docs/metrics.md` lists them.
//!
//! What the ledger knows are totals since it began; histograms, and what is counted by worker or by rule, begin with the
//! process. Labels are bounded: so many queues, so many workers, a fixed set of states, verdicts, rules and commands.

use std::sync::atomic::{AtomicU64, Ordering};

use orch_core::access::Verdict;
use orch_core::state::{Counts, JobCounts, LimitUsage};
use orch_telemetry::Exporter;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::Sources;
use super::process::Process;
use super::scrape::{QueueScrape, Scraped};
use crate::access::Objections;
use crate::engine::{Brought, Measures};
use crate::serve::{ConnectionCounts, Connections};

type Labels = Vec<(&'static str, String)>;
type Seconds = Gauge<f64, AtomicU64>;

/// The answer to a scrape.
///
/// # Panics
/// Never: a string takes everything that is written to it.
#[allow(clippy::expect_used)]
pub fn text(scraped: &Scraped, sources: &Sources) -> String {
    let mut registry = Registry::default();
    let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("orch_build", "The orchestrator's version", version);
    jobs(&mut registry, scraped);
    totals(&mut registry, &scraped.counts);
    measures(&mut registry, &scraped.measures);
    workers(&mut registry, scraped);
    ledger(&mut registry, scraped);
    limits(&mut registry, scraped);
    door(&mut registry, &sources.connections);
    access(&mut registry, sources.auditor.objections());
    traces(&mut registry, sources.exporter.as_ref());
    if let Some(process) = &scraped.process {
        of_process(&mut registry, process);
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

fn jobs(registry: &mut Registry, scraped: &Scraped) {
    let jobs = Family::<Labels, Gauge>::default();
    let waiting = Family::<Labels, Seconds>::default();
    let paused = Family::<Labels, Gauge>::default();
    for (queue, QueueScrape { jobs: counts, oldest_ready, paused: is_paused }) in &scraped.queues {
        by_state(&jobs, queue.as_str(), counts);
        let label = vec![("queue", queue.to_string())];
        let age = oldest_ready.map_or(0.0, |age| age.duration().as_secs_f64());
        waiting.get_or_create(&label).set(age);
        paused.get_or_create(&label).set(i64::from(*is_paused));
    }
    if let Some(others) = &scraped.other_queues {
        by_state(&jobs, "(others)", others);
    }
    registry.register("orch_jobs", "Jobs by queue and state", jobs);
    let help = "For how long the oldest ready job of a queue has been waiting, 0 if there is none";
    registry.register_with_unit("orch_queue_oldest_ready_age", help, Unit::Seconds, waiting);
    registry.register("orch_queue_paused", "1 while a queue is paused", paused);
    gauge(registry, "orch_leases", "Leases that are held", scraped.leases);
}

fn by_state(family: &Family<Labels, Gauge>, queue: &str, counts: &JobCounts) {
    let JobCounts { blocked, ready, delayed, leased, done, failed, cancelled } = counts;
    let each = [
        ("blocked", blocked),
        ("ready", ready),
        ("delayed", delayed),
        ("leased", leased),
        ("done", done),
        ("failed", failed),
        ("cancelled", cancelled),
    ];
    for (state, count) in each {
        let labels = vec![("queue", queue.to_owned()), ("state", state.to_owned())];
        family.get_or_create(&labels).set(whole(*count));
    }
}

fn totals(registry: &mut Registry, counts: &Counts) {
    let Counts { jobs: _, accepted, duplicate, rejected, leases_granted, failures, crashes, released, ends } = counts;
    counter(registry, "orch_jobs_ended", "Jobs that were done, failed for good, or were cancelled", *ends);
    counter(registry, "orch_leases_granted", "Leases granted", *leases_granted);
    counter(registry, "orch_leases_expired", "Leases that ended with their worker", *crashes);
    counter(registry, "orch_leases_released", "Leases given back undone", *released);
    counter(registry, "orch_attempts_failed", "Attempts that failed", *failures);
    let verdicts = Family::<Labels, Counter>::default();
    for (verdict, count) in [("accepted", accepted), ("duplicate", duplicate), ("rejected", rejected)] {
        verdicts.get_or_create(&vec![("verdict", verdict.to_owned())]).inc_by(*count);
    }
    registry.register("orch_candidates", "Candidates judged, by verdict", verdicts);
}

fn measures(registry: &mut Registry, measures: &Measures) {
    let Measures {
        commit_seconds,
        commit_records,
        command_seconds,
        wait_seconds,
        run_seconds,
        rejected,
        waits: _,
        workers: _,
    } = measures;
    let help = "Time that a commit took: the write, its sync, and HEAD";
    registry.register_with_unit("orch_ledger_commit", help, Unit::Seconds, commit_seconds.clone());
    registry.register("orch_ledger_commit_records", "Records that a commit made durable", commit_records.clone());
    let help = "Time from a job's submit to its first lease";
    registry.register_with_unit("orch_job_wait", help, Unit::Seconds, wait_seconds.clone());
    let help = "Time from a lease to the completion of its job";
    registry.register_with_unit("orch_job_run", help, Unit::Seconds, run_seconds.clone());
    let help =
        "Time from the hand-in of a command to the engine to its durable answer; LeaseJobs includes the wait for work";
    registry.register_with_unit("orch_engine_command", help, Unit::Seconds, command_seconds.clone());
    registry.register(
        "orch_candidates_rejected",
        "Candidates rejected since the start, by the rule they broke",
        rejected.clone(),
    );
}

fn workers(registry: &mut Registry, scraped: &Scraped) {
    let Scraped { live, draining, stale, slots, .. } = scraped;
    let states = Family::<Labels, Gauge>::default();
    for (state, count) in [("live", live), ("draining", draining), ("stale", stale)] {
        states.get_or_create(&vec![("state", state.to_owned())]).set(whole(*count));
    }
    registry.register("orch_workers", "Known workers by state", states);
    gauge(registry, "orch_worker_slots", "Jobs that the workers that are heard of can run at once", *slots);
    let accepted_by = Family::<Labels, Counter>::default();
    let done_by = Family::<Labels, Counter>::default();
    for (worker, Brought { accepted, done }) in &scraped.measures.workers {
        let label = vec![("worker", worker.to_string())];
        accepted_by.get_or_create(&label).inc_by(*accepted);
        done_by.get_or_create(&label).inc_by(*done);
    }
    let help = "Candidates accepted from a worker since the orchestrator started";
    registry.register("orch_worker_candidates_accepted", help, accepted_by);
    registry.register("orch_worker_jobs_done", "Jobs done by a worker since the orchestrator started", done_by);
}

fn ledger(registry: &mut Registry, scraped: &Scraped) {
    let Scraped { seq, batch, epoch, read_only, size: (bytes, segments), indexed, .. } = scraped;
    gauge(registry, "orch_ledger_seq", "The last durable record", *seq);
    gauge(registry, "orch_ledger_batch", "The last commit", *batch);
    gauge(registry, "orch_ledger_epoch", "How often the ledger was taken into use", *epoch);
    gauge(registry, "orch_ledger_read_only", "1 while nothing can be written", u64::from(*read_only));
    gauge_with_unit(registry, "orch_ledger_size", "Size of all segments", Unit::Bytes, *bytes);
    gauge(registry, "orch_ledger_segments", "Segments of the ledger", *segments);
    let help = "Durable records that are not yet in the index";
    gauge(registry, "orch_index_lag_records", help, seq.saturating_sub(*indexed));
}

fn limits(registry: &mut Registry, scraped: &Scraped) {
    let used = Family::<Labels, Gauge>::default();
    let most = Family::<Labels, Gauge>::default();
    for LimitUsage { target, in_use, max, .. } in &scraped.limits {
        let label = vec![("limit", target.to_string())];
        used.get_or_create(&label).set(whole(*in_use));
        if let Some(max) = max {
            most.get_or_create(&label).set(i64::from(*max));
        }
    }
    registry.register("orch_limit_in_use", "Jobs that run under a limit; of a semaphore, units that are taken", used);
    registry.register("orch_limit_max", "How many may run under a limit", most);
}

fn access(registry: &mut Registry, objections: &Objections) {
    let verdicts = Family::<Labels, Counter>::default();
    let Objections { denied, warned } = objections;
    for (verdict, count) in [(Verdict::Denied, denied), (Verdict::Warned, warned)] {
        let label = vec![("verdict", verdict.name().to_owned())];
        verdicts.get_or_create(&label).inc_by(count.load(Ordering::Relaxed));
    }
    let help = "Calls that were denied, or let pass with a warning, since the start";
    registry.register("orch_access_objections", help, verdicts);
}

fn traces(registry: &mut Registry, exporter: Option<&Exporter>) {
    let spans = Family::<Labels, Counter>::default();
    for (outcome, count) in
        [("sent", exporter.map_or(0, Exporter::sent)), ("dropped", exporter.map_or(0, Exporter::dropped))]
    {
        spans.get_or_create(&vec![("outcome", outcome.to_owned())]).inc_by(count);
    }
    registry.register("orch_trace_spans", "Spans that a collector took, or that were dropped, since the start", spans);
}

fn door(registry: &mut Registry, connections: &Connections) {
    let ConnectionCounts { accepted, refused, evicted, cut, handshakes_failed, no_descriptor } = &connections.counts;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    gauge(registry, "orch_connections", "Connections that are open", connections.open() as u64);
    counter(registry, "orch_connections_accepted", "Connections that were let in since the start", count(accepted));
    let turned_away = Family::<Labels, Counter>::default();
    for (reason, number) in [
        ("full", refused),
        ("evicted", evicted),
        ("cut", cut),
        ("handshake", handshakes_failed),
        ("no_descriptor", no_descriptor),
    ] {
        turned_away.get_or_create(&vec![("reason", reason.to_owned())]).inc_by(count(number));
    }
    let help = "Connections that were refused, put out or cut since the start, by reason";
    registry.register("orch_connections_turned_away", help, turned_away);
}

fn of_process(registry: &mut Registry, process: &Process) {
    let Process { cpu_seconds, resident_bytes, open_fds, max_fds } = process;
    let cpu = Counter::<f64, AtomicU64>::default();
    cpu.inc_by(*cpu_seconds);
    registry.register_with_unit("process_cpu", "User and system time", Unit::Seconds, cpu);
    gauge_with_unit(registry, "process_resident_memory", "Resident memory", Unit::Bytes, *resident_bytes);
    gauge(registry, "process_open_fds", "Open file descriptors", *open_fds);
    if let Some(max) = max_fds {
        gauge(registry, "process_max_fds", "How many file descriptors there may be", *max);
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(whole(value));
    registry.register(name, help, gauge);
}

fn gauge_with_unit(registry: &mut Registry, name: &str, help: &str, unit: Unit, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(whole(value));
    registry.register_with_unit(name, help, unit, gauge);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Counter::<u64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
