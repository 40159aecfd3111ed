//! The cluster at work: what changes, how fast, and who works on what.

use orch_core::time::Span;
use serde::Serialize;

use super::queue::QueueView;
use super::worker::status_cell;
use super::{StatsView, WorkerView, ago, span};
use crate::output::{Cell, Page, Table, Tint, View, key_values};

/// What happened between two looks, by the second. Nulls at the first look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RatesView {
    pub leases_per_s: f64,
    pub done_per_s: f64,
    pub failures_per_s: f64,
    pub accepted_per_s: f64,
    pub duplicate_per_s: f64,
    pub rejected_per_s: f64,
    pub records_per_s: f64,
}

/// A queue, and how fast its jobs end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueueRateView {
    pub queue: String,
    pub done_per_s: f64,
    pub failed_per_s: f64,
}

/// The cluster at work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopView {
    pub stats: StatsView,
    pub rates: Option<RatesView>,
    pub queue_rates: Vec<QueueRateView>,
    pub workers: Vec<WorkerView>,
}

/// How much more a count is than before, by the second; 0 if it is less, as after a restart that counts anew.
fn rate(now: u64, before: u64, over: Span) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let (more, ms) = (now.saturating_sub(before) as f64, over.0.max(1) as f64);
    1000.0 * more / ms
}

impl TopView {
    /// The cluster now, against what it was so long ago.
    pub fn new(stats: StatsView, before: Option<(&StatsView, Span)>, workers: Vec<WorkerView>) -> Self {
        let rates = before.map(|(old, over)| RatesView {
            leases_per_s: rate(stats.attempts.leases_granted, old.attempts.leases_granted, over),
            done_per_s: rate(stats.jobs.done, old.jobs.done, over),
            failures_per_s: rate(stats.attempts.failures, old.attempts.failures, over),
            accepted_per_s: rate(stats.candidates.accepted, old.candidates.accepted, over),
            duplicate_per_s: rate(stats.candidates.duplicate, old.candidates.duplicate, over),
            rejected_per_s: rate(stats.candidates.rejected, old.candidates.rejected, over),
            records_per_s: rate(stats.ledger.seq, old.ledger.seq, over),
        });
        let queue_rates = before.map(|(old, over)| {
            let rates = stats.queues.iter().filter_map(|queue| {
                let before = old.queues.iter().find(|before| before.queue == queue.queue)?;
                Some(QueueRateView {
                    queue: queue.queue.clone(),
                    done_per_s: rate(queue.jobs.done, before.jobs.done, over),
                    failed_per_s: rate(queue.jobs.failed, before.jobs.failed, over),
                })
            });
            rates.collect()
        });
        Self { stats, rates, queue_rates: queue_rates.unwrap_or_default(), workers }
    }

    fn rate_of(&self, queue: &str) -> Option<&QueueRateView> {
        self.queue_rates.iter().find(|rate| rate.queue == queue)
    }

    fn head(&self, page: &Page) -> String {
        let StatsView { jobs, candidates, workers, attempts, ledger, .. } = &self.stats;
        let told =
            |pick: fn(&RatesView) -> f64| self.rates.as_ref().map_or_else(String::new, |rates| per_second(pick(rates)));
        let oldest = self.stats.oldest_ready_age_ms.map(|ms| format!(", the oldest ready for {}", span(Span(ms))));
        let jobs_text = format!(
            "{} ready, {} leased, {} delayed, {} blocked, {} done{}, {} failed{}",
            jobs.ready,
            jobs.leased,
            jobs.delayed,
            jobs.blocked,
            jobs.done,
            told(|rates| rates.done_per_s),
            jobs.failed,
            oldest.unwrap_or_default()
        );
        let candidates_text = format!(
            "{} accepted{}, {} duplicate{}, {} rejected{}",
            candidates.accepted,
            told(|rates| rates.accepted_per_s),
            candidates.duplicate,
            told(|rates| rates.duplicate_per_s),
            candidates.rejected,
            told(|rates| rates.rejected_per_s),
        );
        let workers_text = format!(
            "{} live, {} of {} slots busy, {} stale, {} draining",
            workers.live, jobs.leased, workers.slots, workers.stale, workers.draining
        );
        let attempts_text = format!(
            "{} leases{}, {} failures{}, {} crashes",
            attempts.leases_granted,
            told(|rates| rates.leases_per_s),
            attempts.failures,
            told(|rates| rates.failures_per_s),
            attempts.crashes
        );
        let ledger_text = format!("seq {}{}, {} bytes", ledger.seq, told(|rates| rates.records_per_s), ledger.bytes);
        let warn = |bad: bool| if bad { Tint::Warn } else { Tint::Plain };
        let up = span(Span(self.stats.uptime_ms));
        let mut pairs = vec![
            ("cluster", format!("version {}, up {up}", self.stats.version).into()),
            ("jobs", Cell::tinted(jobs_text, warn(jobs.failed > 0))),
            (
                "candidates",
                Cell::tinted(candidates_text, warn(self.rates.is_some_and(|rates| rates.rejected_per_s > 0.0))),
            ),
            ("workers", Cell::tinted(workers_text, warn(workers.stale > 0))),
            ("attempts", attempts_text.into()),
            ("ledger", ledger_text.into()),
        ];
        if let Some(reason) = &ledger.read_only_reason {
            pairs.push(("read only", Cell::tinted(reason, Tint::Bad)));
        }
        key_values(page, &pairs)
    }

    /// The queues, the busiest first.
    fn queue_table(&self, page: &Page) -> String {
        let mut queues: Vec<&QueueView> = self.stats.queues.iter().collect();
        queues.sort_by_key(|queue| std::cmp::Reverse((queue.jobs.leased, queue.jobs.ready, queue.jobs.open())));
        let columns = [
            "QUEUE",
            "STATUS",
            ">READY",
            ">LEASED",
            ">DELAYED",
            ">BLOCKED",
            ">DONE",
            ">FAILED",
            ">DONE/S",
            ">OLDEST READY",
        ];
        let mut table = Table::new(&columns);
        for queue in queues {
            let rate = self.rate_of(&queue.queue).map(|rate| number(rate.done_per_s));
            table.row(vec![
                Cell::from(&queue.queue),
                if queue.paused { Cell::tinted("paused", Tint::Warn) } else { Cell::tinted("active", Tint::Good) },
                queue.jobs.ready.into(),
                queue.jobs.leased.into(),
                queue.jobs.delayed.into(),
                queue.jobs.blocked.into(),
                queue.jobs.done.into(),
                Cell::bad_unless_zero(queue.jobs.failed),
                Cell::maybe(rate.as_ref()),
                Cell::maybe(queue.oldest_ready_at.map(|at| ago(page.now, at)).as_ref()),
            ]);
        }
        table.text(page, "no queues yet: define one with `orchctl submit -f FILE`")
    }

    /// The workers: first those that need a look, then the busiest.
    fn worker_table(&self, page: &Page) -> String {
        let mut workers: Vec<&WorkerView> = self.workers.iter().collect();
        workers.sort_by_key(|worker| (worker.status == "live", std::cmp::Reverse(worker.leases.len())));
        let mut table = Table::new(&["WORKER", "STATUS", ">LEASES", ">SLOTS", ">LAST SEEN", "WORKS ON"]);
        for worker in workers {
            let works_on = worker.leases.iter().map(|lease| {
                let done = lease.fraction.map(|done| format!(" {:.0} %", 100.0 * done)).unwrap_or_default();
                format!("{}/{}{done}", lease.queue, lease.job)
            });
            let works_on: Vec<String> = works_on.take(4).collect();
            let more = worker.leases.len().saturating_sub(works_on.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            table.row(vec![
                Cell::from(&worker.worker),
                status_cell(worker),
                worker.leases.len().into(),
                worker.slots.into(),
                Cell::maybe(worker.last_seen_at.map(|at| ago(page.now, at)).as_ref()),
                format!("{}{more}", works_on.join(", ")).into(),
            ]);
        }
        table.text(page, "no workers: start one with `worker --server URL`")
    }
}

fn per_second(rate: f64) -> String {
    format!(" ({}/s)", number(rate))
}

/// Three digits at least: 0.25, 12.3, 456.
fn number(rate: f64) -> String {
    match rate {
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 9.995 => format!("{rate:.2}"),
        rate if rate < 99.95 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

impl View for TopView {
    fn table(&self, page: &Page) -> String {
        format!("{}\n\n{}\n\n{}", self.head(page), self.queue_table(page), self.worker_table(page))
    }

    fn names(&self) -> Vec<String> {
        self.workers.iter().map(|worker| worker.worker.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_in_a_second_and_never_negative() {
        assert!((rate(30, 10, Span(2000)) - 10.0).abs() < 1e-9);
        assert!(rate(1, 10, Span(2000)).abs() < 1e-9);
        assert_eq!(["0", "0.25", "12.3", "1235"], [0.0, 0.25, 12.34, 1234.6].map(number));
    }
}
