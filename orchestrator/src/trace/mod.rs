//! Traces of jobs: a follower of the durable records, as the index is.
//!
//! Spans are made from records that are on disk, with the records' times. So a trace says what the ledger says, nobody
//! who waits for an acknowledgement ever waits for a trace, and a restart goes on where the last process stopped: what
//! was open is known from the state.

mod fold;

use std::path::Path;
use std::time::Duration;

use orch_core::id::Seq;
use orch_telemetry::Exporter;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::index::{LedgerSource, Source};

pub use fold::Fold;

/// Records are looked at so often at most: a trace is nothing that somebody waits for.
const PACE: Duration = Duration::from_millis(250);

/// What the last spans get to be on their way at a stop.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// The running tracer.
pub struct Tracer {
    work: JoinHandle<()>,
    stop: CancellationToken,
    exporter: Exporter,
}

impl Tracer {
    /// Follows the ledger in `data` behind `after`, which `fold` has seen.
    pub fn start(data: &Path, fold: Fold, after: Seq, durable: watch::Receiver<Seq>, exporter: Exporter) -> Self {
        let stop = CancellationToken::new();
        let follow = Follow { source: LedgerSource::new(data), fold, after, durable, exporter: exporter.clone() };
        let work = tokio::spawn(follow.run(stop.clone()));
        Self { work, stop, exporter }
    }

    /// The way to the collector.
    pub fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// Sends what is durable until now, for a short time at most.
    pub async fn stop(self) {
        self.stop.cancel();
        let end = async {
            let _ = self.work.await;
            self.exporter.flush(LAST_SPANS).await;
        };
        let _ = tokio::time::timeout(2 * LAST_SPANS, end).await;
    }
}

struct Follow {
    source: LedgerSource,
    fold: Fold,
    after: Seq,
    durable: watch::Receiver<Seq>,
    exporter: Exporter,
}

impl Follow {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let last = stop.is_cancelled();
            let until = *self.durable.borrow_and_update();
            while self.after < until {
                // Reading files blocks.
                let read = tokio::task::spawn_blocking(move || {
                    let read = self.source.read(self.after, until);
                    (self, read)
                });
                let Ok((this, read)) = read.await else { return };
                self = this;
                match read {
                    Ok(read) => {
                        for read in read {
                            self.after = read.record.seq;
                            self.fold.take(&read.record).into_iter().for_each(|span| self.exporter.send(span));
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the tracer reads again later");
                        break;
                    }
                }
            }
            if last {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => continue,
                changed = self.durable.changed() => if changed.is_err() {
                    // The engine has ended: what it made durable last is read once more.
                    stop.cancel();
                    continue;
                },
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PACE) => {}
            }
        }
    }
}
