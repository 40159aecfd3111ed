//! The cluster in numbers.

use orch_core::digest::Digest;
use orch_core::time::Timestamp;
use orch_proto::v1;
use serde::Serialize;

use super::explain::NextLeaseView;
use super::limit::{LimitUsageView, usage_table};
use super::queue::{JobCountsView, QueueView, queue_table};
use super::{some_text, some_time, span};
use crate::output::{Cell, Page, Tint, View, key_values};

/// The cluster in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatsView {
    pub jobs: JobCountsView,
    pub candidates: CandidatesView,
    pub workers: WorkerCountsView,
    pub ledger: LedgerView,
    pub oldest_ready_at: Option<Timestamp>,
    pub oldest_ready_age_ms: Option<u64>,
    pub attempts: AttemptsView,
    pub queues: Vec<QueueView>,
    /// Limits and what is in use, the fullest first.
    pub limits: Vec<LimitUsageView>,
    pub limits_left_out: u64,
    /// Ready jobs that no registered worker could run.
    pub unoffered: Vec<UnofferedView>,
    /// Why no job is tried again; null: retries go on.
    pub retries_paused: Option<String>,
    /// What a worker that could run everything would get now; null: no job may run.
    pub next: Option<NextLeaseView>,
    pub index: IndexView,
    pub uptime_ms: u64,
    pub version: String,
}

/// Candidates by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CandidatesView {
    pub accepted: u64,
    pub duplicate: u64,
    pub rejected: u64,
}

/// Workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkerCountsView {
    pub live: u64,
    pub stale: u64,
    pub draining: u64,
    pub slots: u64,
}

/// Where the ledger stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerView {
    pub ledger: String,
    pub seq: u64,
    pub batch: u64,
    /// The chain link of the last durable batch, in hex; null if there is none.
    pub chain: Option<Digest>,
    pub epoch: u64,
    pub bytes: u64,
    pub segments: u64,
    /// Why nothing can be written; null if it can.
    pub read_only_reason: Option<String>,
    /// Read only because somebody holds a receipt for this record, which is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_seq: Option<u64>,
}

/// Attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttemptsView {
    pub leases_granted: u64,
    pub failures: u64,
    pub crashes: u64,
    pub released: u64,
}

/// Ready jobs that no registered worker could run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnofferedView {
    pub kind: String,
    pub ready: u64,
    /// What they need and the workers lack; null if no worker offers the kind.
    pub lacking: Option<String>,
}

/// The index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IndexView {
    pub kind: String,
    pub applied_seq: u64,
    /// Null if it is healthy.
    pub problem: Option<String>,
}

impl From<v1::LedgerStatus> for LedgerView {
    fn from(wire: v1::LedgerStatus) -> Self {
        let v1::LedgerStatus { ledger, seq, batch, chain, epoch, bytes, segments, read_only_reason, missing_seq } =
            wire;
        let chain = <[u8; 32]>::try_from(chain.as_ref()).ok().map(Digest);
        let (read_only_reason, missing_seq) = (some_text(read_only_reason), (missing_seq > 0).then_some(missing_seq));
        Self { ledger, seq, batch, chain, epoch, bytes, segments, read_only_reason, missing_seq }
    }
}

impl StatsView {
    /// The view of an answer that came at `now`.
    pub fn new(wire: v1::StatsResponse, now: Timestamp) -> Result<Self, String> {
        let v1::StatsResponse {
            jobs,
            candidates,
            workers,
            ledger,
            oldest_ready_unix_ms,
            attempts,
            queues,
            index,
            uptime_ms,
            version,
            limits,
            limits_left_out,
            unoffered,
            retries_paused,
            next,
        } = wire;
        let v1::CandidateCounts { accepted, duplicate, rejected } = candidates.unwrap_or_default();
        let v1::WorkerCounts { live, stale, slots, draining } = workers.unwrap_or_default();
        let v1::AttemptCounts { leases_granted, failures, crashes, released } = attempts.unwrap_or_default();
        let v1::IndexStatus { applied_seq, kind, problem } = index.unwrap_or_default();
        let oldest_ready_at = some_time(oldest_ready_unix_ms);
        Ok(Self {
            jobs: jobs.into(),
            candidates: CandidatesView { accepted, duplicate, rejected },
            workers: WorkerCountsView { live, stale, draining, slots },
            ledger: ledger.unwrap_or_default().into(),
            oldest_ready_at,
            oldest_ready_age_ms: oldest_ready_at.map(|at| now.since(at).0),
            attempts: AttemptsView { leases_granted, failures, crashes, released },
            queues: queues.into_iter().map(QueueView::try_from).collect::<Result<_, _>>()?,
            limits: limits.into_iter().map(Into::into).collect(),
            limits_left_out,
            retries_paused,
            next: next.map(Into::into),
            unoffered: unoffered
                .into_iter()
                .map(|v1::UnofferedKind { kind, ready, lacking }| UnofferedView {
                    kind,
                    ready,
                    lacking: some_text(lacking),
                })
                .collect(),
            index: IndexView { kind, applied_seq, problem: some_text(problem) },
            uptime_ms,
            version,
        })
    }

    /// The jobs of a queue, or of all.
    pub fn jobs_of(&self, queue: Option<&str>) -> Option<JobCountsView> {
        match queue {
            None => Some(self.jobs),
            Some(name) => self.queues.iter().find(|queue| queue.queue == name).map(|queue| queue.jobs),
        }
    }
}

impl View for StatsView {
    fn table(&self, page: &Page) -> String {
        let JobCountsView { blocked, ready, delayed, leased, done, failed, cancelled } = self.jobs;
        let CandidatesView { accepted, duplicate, rejected } = self.candidates;
        let WorkerCountsView { live, stale, draining, slots } = self.workers;
        let AttemptsView { leases_granted, failures, crashes, released } = self.attempts;
        let ledger = &self.ledger;
        let chain = ledger.chain.map_or("-".to_owned(), |chain| chain.to_string());
        let oldest = self.oldest_ready_age_ms.map(|ms| span(orch_core::time::Span(ms)));
        let jobs = format!(
            "{ready} ready, {leased} leased, {delayed} delayed, {blocked} blocked, {done} done, {failed} failed, \
             {cancelled} cancelled"
        );
        let workers = format!("{live} live ({slots} slots), {stale} stale, {draining} draining");
        let attempts = format!("{leases_granted} leases, {failures} failures, {crashes} crashes, {released} released");
        let size = format!("{} bytes in {} segments", ledger.bytes, ledger.segments);
        let up = span(orch_core::time::Span(self.uptime_ms));
        let mut pairs = vec![
            ("jobs", Cell::tinted(jobs, if failed == 0 { Tint::Plain } else { Tint::Warn })),
            ("oldest ready", Cell::maybe(oldest.as_ref())),
            ("candidates", format!("{accepted} accepted, {duplicate} duplicate, {rejected} rejected").into()),
            ("workers", Cell::tinted(workers, if stale == 0 { Tint::Plain } else { Tint::Warn })),
            ("attempts", attempts.into()),
            ("ledger", format!("seq {}, batch {}, epoch {}, {size}", ledger.seq, ledger.batch, ledger.epoch).into()),
            ("chain", Cell::tinted(chain, Tint::Dim)),
            ("server", format!("version {}, up {up}", self.version).into()),
        ];
        if let Some(next) = &self.next {
            pairs.push(("next lease", next.words().into()));
        }
        if let Some(reason) = &ledger.read_only_reason {
            pairs.push(("read only", Cell::tinted(reason, Tint::Bad)));
        }
        if let Some(problem) = &self.index.problem {
            pairs.push(("index", Cell::tinted(problem, Tint::Warn)));
        }
        if let Some(reason) = &self.retries_paused {
            let text = if reason.is_empty() { "paused".to_owned() } else { format!("paused: {reason}") };
            pairs.push(("retries", Cell::tinted(text, Tint::Warn)));
        }
        for UnofferedView { kind, ready, lacking } in &self.unoffered {
            let text = match lacking {
                None => format!("{ready} ready jobs of kind {kind}, which no registered worker offers"),
                Some(lacking) => format!("{ready} ready jobs of kind {kind}: {lacking}"),
            };
            pairs.push(("cannot run", Cell::tinted(text, Tint::Warn)));
        }
        let limits = usage_table(&self.limits, self.limits_left_out, page);
        let limits = limits.map(|text| format!("\n\n{text}")).unwrap_or_default();
        let queues = queue_table(&self.queues, page, "no queues yet: define one with `orchctl submit -f FILE`");
        format!("{}{limits}\n\n{queues}", key_values(page, &pairs))
    }

    fn names(&self) -> Vec<String> {
        self.queues.iter().map(|queue| queue.queue.clone()).collect()
    }
}
