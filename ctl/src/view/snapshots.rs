//! Every view in its formats, from fixed wire messages. The snapshots are the interface: a change of a JSON shape
//! shows here, and belongs into the changelog.

use orch_core::time::Timestamp;
use orch_proto::v1;

use super::*;
use crate::args::Format;
use crate::output::{Page, View, render};

const PAGE: Page = Page { now: Timestamp(1_795_250_400_000), color: false };

/// The view as a table, as JSON and by name, one below the other.
fn shown<V: View>(view: &V) -> String {
    let text = |format| render(view, format, &PAGE).unwrap();
    format!("{}\n{}\n{}", text(Format::Table), text(Format::Json), text(Format::Name))
}

fn ms_ago(ms: i64) -> i64 {
    PAGE.now.0 - ms
}

fn job(id: u64, state: v1::JobState) -> v1::JobSummary {
    v1::JobSummary {
        job: id,
        queue: "zeta".into(),
        kind: "zeta-zeros".into(),
        name: String::new(),
        state: state.into(),
        attempts: 1,
        failures: 0,
        crashes: 0,
        priority: 0,
        submitted_unix_ms: ms_ago(90_000),
        changed_unix_ms: ms_ago(30_000),
        worker: "rack7-a".into(),
        lease: id + 100,
        accepted: 1000,
        duplicates: 2,
        rejected: 0,
        failure_class: v1::FailureClass::Unspecified.into(),
        message: String::new(),
        last_seq: id + 200,
        not_before_unix_ms: 0,
        tasks: None,
        task: None,
    }
}

fn array() -> v1::JobSummary {
    v1::JobSummary {
        name: "frames".into(),
        tasks: Some(v1::TaskCounts { left: 999_990, open: 4, done: 5, failed: 1, cancelled: 0 }),
        worker: String::new(),
        lease: 0,
        ..job(9, v1::JobState::Ready)
    }
}

fn task() -> v1::JobSummary {
    v1::JobSummary {
        name: "frames".into(),
        task: Some(v1::Task { array: 9, index: -3 }),
        ..job(12, v1::JobState::Leased)
    }
}

fn failed_job() -> v1::JobSummary {
    v1::JobSummary {
        name: "last block".into(),
        attempts: 3,
        failures: 3,
        failure_class: v1::FailureClass::Timeout.into(),
        message: "ran longer than 10m\nand was\u{1b}[31m killed".into(),
        worker: String::new(),
        lease: 0,
        ..job(8, v1::JobState::Failed)
    }
}

fn queue_spec() -> v1::QueueSpec {
    v1::QueueSpec {
        queue: "zeta".into(),
        contract: "zeta-zeros@1".into(),
        kind: "zeta-zeros".into(),
        retry: Some(v1::RetryPatch { max_attempts: Some(5), ..v1::RetryPatch::default() }),
        lease: None,
        timeout_ms: Some(600_000),
        ..v1::QueueSpec::default()
    }
}

fn queue() -> v1::QueueStatus {
    let jobs = v1::JobCounts { blocked: 1, ready: 20, delayed: 2, leased: 4, done: 70, failed: 3, cancelled: 0 };
    v1::QueueStatus {
        spec: Some(queue_spec()),
        paused: true,
        paused_reason: "contract under review".into(),
        jobs: Some(jobs),
        oldest_ready_unix_ms: ms_ago(61_000),
        waits: Some(v1::WaitTimes { count: 84, p50_ms: 1_200, p99_ms: 61_000, longest_ms: 62_345 }),
    }
}

fn next_lease() -> v1::NextLease {
    v1::NextLease {
        job: 17,
        queue: "zeta".into(),
        kind: "zeta-zeros".into(),
        priority: 5,
        fair_key: "ada".into(),
        why: vec!["queue zeta is the only one of that kind with such a job".into(), "it is the oldest of those".into()],
    }
}

fn stats() -> v1::StatsResponse {
    v1::StatsResponse {
        retries_paused: Some("the file server is down".into()),
        next: Some(next_lease()),
        jobs: queue().jobs,
        candidates: Some(v1::CandidateCounts { accepted: 70_000, duplicate: 140, rejected: 3 }),
        workers: Some(v1::WorkerCounts { live: 2, stale: 1, slots: 8, draining: 0 }),
        ledger: Some(v1::LedgerStatus {
            ledger: "0198c0de-0000-7000-8000-000000000001".into(),
            seq: 70_311,
            batch: 912,
            chain: vec![0xab; 32].into(),
            epoch: 2,
            bytes: 12_345_678,
            segments: 3,
            read_only_reason: String::new(),
            missing_seq: 0,
        }),
        oldest_ready_unix_ms: ms_ago(61_000),
        attempts: Some(v1::AttemptCounts { leases_granted: 84, failures: 9, crashes: 1, released: 2 }),
        queues: vec![queue()],
        index: Some(v1::IndexStatus { applied_seq: 70_300, kind: "sled".into(), problem: String::new() }),
        uptime_ms: 3_723_000,
        version: "0.1.0".into(),
        limits: limits(),
        limits_left_out: 3,
        unoffered: vec![
            v1::UnofferedKind { kind: "z3".into(), ready: 12, lacking: String::new() },
            v1::UnofferedKind { kind: "train".into(), ready: 3, lacking: "needs 1 tpu: no worker has tpu".into() },
        ],
    }
}

fn limits() -> Vec<v1::LimitUsage> {
    let usage = |limit: &str, in_use, max| v1::LimitUsage { limit: limit.into(), in_use, max, ..Default::default() };
    let rate = Some(v1::Rate { tokens: 2, per_ms: 1000, burst: 5 });
    vec![
        usage("resolver=crossref", 3, Some(3)),
        v1::LimitUsage { rate, tokens: Some(4), ..usage("host=api.example.org", 1, Some(4)) },
        usage("host=b.example.org", 2, None),
    ]
}

fn worker() -> v1::WorkerStatus {
    v1::WorkerStatus {
        worker: "rack7-a".into(),
        stale: false,
        draining: false,
        kinds: vec!["zeta-zeros".into(), "command".into()],
        slots: 4,
        hardware: Some(v1::Hardware {
            host: "rack7".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpu_model: "A CPU".into(),
            cpus: 64,
            memory_bytes: 256 << 30,
            gpus: vec![v1::Gpu { uuid: "GPU-1".into(), model: "A GPU".into(), memory_bytes: 80 << 30 }],
        }),
        labels: [("site".to_owned(), "north".to_owned())].into(),
        version: "0.1.0".into(),
        registered_unix_ms: ms_ago(7_200_000),
        last_seen_unix_ms: ms_ago(4_000),
        leases: vec![v1::HeldLease {
            lease: 107,
            job: 7,
            queue: "zeta".into(),
            fraction: 0.25,
            note: "block 3 of 12".into(),
            expires_in_ms: 595_000,
        }],
        resources: vec![
            v1::ResourcePool {
                name: "gpus".into(),
                items: vec![v1::ResourceItem { label: "0".into(), memory_mib: 81_920, free: 5_000 }],
                ..v1::ResourcePool::default()
            },
            v1::ResourcePool { name: "mem".into(), size: 2_621_440_000, free: 2_621_430_000, items: Vec::new() },
        ],
        remaining_ms: Some(3_600_000),
        set_aside: String::new(),
    }
}

#[test]
fn jobs() {
    let jobs = vec![job(7, v1::JobState::Done).into(), failed_job().into(), array().into(), task().into()];
    insta::assert_snapshot!(shown(&JobsView { jobs, next_after_job: Some(8) }));
}

#[test]
fn jobs_as_lines() {
    let jobs = vec![job(7, v1::JobState::Done).into(), failed_job().into()];
    insta::assert_snapshot!(render(&JobsView { jobs, next_after_job: None }, Format::Jsonl, &PAGE).unwrap());
}

#[test]
fn a_job() {
    let line = |seq, event: &str| v1::HistoryLine { seq, at_unix_ms: ms_ago(90_000), event_json: event.into() };
    let detail = v1::GetJobResponse {
        summary: Some(job(7, v1::JobState::Leased)),
        spec: Some(v1::JobSpec {
            queue: "zeta".into(),
            payload_json: "{\"a\":-1,\"b\":999,\"eps_root\":1e-8}".into(),
            priority: 3,
            depends_on: vec!["first".into()],
            ..v1::JobSpec::default()
        }),
        history: vec![
            line(7, "{\"job_submitted\":{\"kind\":\"zeta-zeros\",\"spec\":{\"queue\":\"zeta\",\"payload\":1}}}"),
            line(107, "{\"lease_granted\":{\"job\":7,\"attempt\":1,\"worker\":\"rack7-a\"}}"),
        ],
        depends_on: vec![5],
        progress: Some(v1::LeaseProgress { lease: 107, fraction: 0.25, note: "block 3 of 12".into(), step: 0 }),
        waits_until_unix_ms: PAGE.now.0 + 60_000,
    };
    let view = JobDetailView::try_from(detail).unwrap();
    insta::assert_snapshot!(format!("{}\n{}", shown(&view), render(&view, Format::Yaml, &PAGE).unwrap()));
}

#[test]
fn a_gang() {
    let granted = r#"{"lease_granted":{"job":7,"attempt":1,"worker":"rack7-a","members":[{"worker":"rack7-b"},{"worker":"rack9-a"}]}}"#;
    let detail = v1::GetJobResponse {
        summary: Some(job(7, v1::JobState::Leased)),
        spec: Some(v1::JobSpec {
            queue: "zeta".into(),
            gang: Some(v1::GangSpec { workers: 3, timeout_ms: Some(60_000) }),
            ..v1::JobSpec::default()
        }),
        history: vec![v1::HistoryLine { seq: 107, at_unix_ms: ms_ago(90_000), event_json: granted.into() }],
        ..v1::GetJobResponse::default()
    };
    let view = JobDetailView::try_from(detail).unwrap();
    insta::assert_snapshot!(format!("{}\n{}", shown(&view), render(&view, Format::Yaml, &PAGE).unwrap()));
}

#[test]
fn queues() {
    insta::assert_snapshot!(shown(&QueuesView { queues: vec![QueueView::try_from(queue()).unwrap()] }));
}

#[test]
fn the_cluster() {
    insta::assert_snapshot!(shown(&StatsView::new(stats(), PAGE.now).unwrap()));
}

#[test]
fn the_cluster_at_work() {
    let before = StatsView::new(stats(), PAGE.now).unwrap();
    let mut now = before.clone();
    now.jobs.done += 8;
    now.queues[0].jobs.done += 8;
    (now.candidates.accepted, now.candidates.rejected) = (now.candidates.accepted + 8000, now.candidates.rejected + 1);
    now.attempts.leases_granted += 9;
    now.ledger.seq += 8024;
    let over = orch_core::time::Span(2000);
    insta::assert_snapshot!(shown(&TopView::new(now, Some((&before, over)), vec![worker().into()])));
}

#[test]
fn an_empty_cluster() {
    insta::assert_snapshot!(shown(&StatsView::new(v1::StatsResponse::default(), PAGE.now).unwrap()));
}

#[test]
fn limited() {
    let limit = |limit: &str, max| v1::Limit { limit: limit.into(), max, ..v1::Limit::default() };
    let rate = Some(v1::Rate { tokens: 2, per_ms: 1000, burst: 5 });
    let at_limit = v1::AtLimit::Reject.into();
    let set = vec![limit("resolver=crossref", Some(3)), v1::Limit { rate, at_limit, ..limit("host=*", None) }];
    let answer = v1::ListLimitsResponse { limits: set, usage: limits(), usage_left_out: 0 };
    insta::assert_snapshot!(shown(&LimitsView::from(answer)));
}

#[test]
fn a_worker_explained() {
    let offer = |kind: &str, ready, next_job| v1::KindOffer { kind: kind.into(), ready, next_job };
    let answer = v1::ExplainWorkerResponse {
        worker: "rack7-a".into(),
        slots: 4,
        leases: 4,
        offers: vec![offer("zeta-zeros", 20, 17), offer("command", 0, 0)],
        text: vec!["it is full: it holds 4 leases for 4 slots".into(), "kind command: no job is ready".into()],
        next: Some(next_lease()),
        ..v1::ExplainWorkerResponse::default()
    };
    insta::assert_snapshot!(shown(&WorkerExplainedView::from(answer)));
}

#[test]
fn workers() {
    let stale = v1::WorkerStatus { worker: "rack8-b".into(), stale: true, hardware: None, leases: vec![], ..worker() };
    insta::assert_snapshot!(shown(&WorkersView { workers: vec![worker().into(), stale.into()] }));
}

#[test]
fn a_worker() {
    insta::assert_snapshot!(render(&WorkerView::from(worker()), Format::Table, &PAGE).unwrap());
}

#[test]
fn submitted() {
    let existing = |job| v1::SubmittedJob { job, existed: job == 12 };
    let answer = v1::SubmitResponse {
        jobs: [7, 8, 9, 12].map(existing).into(),
        contracts: vec!["zeta-zeros@1".into()],
        contracts_known: vec![],
        queues: vec![],
        queues_known: vec!["zeta".into()],
        limits: vec!["host=*".into()],
        limits_known: vec![],
        receipt: Some(v1::Receipt { seq: 12, ..v1::Receipt::default() }),
        ledger: "0198c0de-0000-7000-8000-000000000001".into(),
        ..v1::SubmitResponse::default()
    };
    insta::assert_snapshot!(shown(&SubmitView::from(answer)));
}

#[test]
fn acted_upon() {
    let retried = ActionView { action: "retried", dry_run: true, count: 3, jobs: vec![7, 8, 20] };
    let none = ActionView { action: "cancelled", dry_run: false, count: 0, jobs: vec![] };
    insta::assert_snapshot!(format!("{}\n{}", shown(&retried), shown(&none)));
}

#[test]
fn imported() {
    let error = LineError { line: 17, reason: "INVALID_LINE".into(), message: "queue: is missing".into() };
    let view = ImportView {
        file: "jobs.jsonl".into(),
        lines: 1_000_000,
        submitted: 999_998,
        existed: 1,
        refused: 1,
        errors: vec![error],
        seconds: 12.5,
        seq: Some(1_000_321),
    };
    insta::assert_snapshot!(shown(&view));
}

#[test]
fn imported_legacy() {
    let view = LegacyView {
        import: 90,
        file: "old.jsonl".into(),
        file_sha256: orch_core::digest::Digest([1; 32]),
        contract: "zeta-zeros@1".into(),
        finished_before: false,
        accepted: 10,
        duplicate: 2,
        rejected: 1,
        rejections: vec![RejectedLine { line: 4, rule: "tolerance".into(), message: "root_val: too far".into() }],
    };
    let again = LegacyView { finished_before: true, rejections: vec![], ..view.clone() };
    insta::assert_snapshot!(format!("{}\n{}", shown(&view), render(&again, Format::Table, &PAGE).unwrap()));
}

#[test]
fn contracts() {
    let spec = "{\"contract\":\"zeta-zeros\",\"version\":1,\"description\":\"A zero.\",\"schema\":{\"type\":\"object\"},\
                \"tolerance\":[{\"field\":\"root_val\",\"abs_lt\":{\"payload\":\"eps_root\"}}],\
                \"identity\":[{\"field\":\"t\",\"quantum\":1e-6}],\"complete\":{\"count\":{\"payload\":\"b\",\"minus\":\"a\"}}}";
    let wire = v1::ContractStatus { contract: "zeta-zeros@1".into(), spec_json: spec.into(), seq: 3, accepted: 70_000 };
    let view = ContractView::try_from(wire).unwrap();
    let one = render(&view, Format::Table, &PAGE).unwrap();
    insta::assert_snapshot!(format!("{one}\n{}", shown(&ContractsView { contracts: vec![view] })));
}

#[test]
fn examined() {
    let checks = vec![
        Check::ok("server", "http://h:1 answers"),
        Check::warning("stale workers", "rack8-b", "`orchctl worker cleanup`"),
        Check::problem("ledger", "read only: no space", "free space"),
    ];
    insta::assert_snapshot!(shown(&DoctorView { server: "http://h:1".into(), checks }));
}
