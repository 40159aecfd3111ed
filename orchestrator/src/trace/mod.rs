//! Traces of jobs: a follower of the durable records, as the index is.
//!
//! Spans are made from records that are on disk, with the records' times. So a trace says what the ledger says, nobody
//! who waits for an acknowledgement ever waits for a trace, and a restart goes on where the last process stopped: what
//! was open is known from the state.

mod fold;

use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_core::id::Seq;
use orch_ledger::reader::{self, FollowError};
use orch_telemetry::{Exporter, Span};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
        let lines = reader::Follower::new(data, after.next());
        let follow = Follow { data: data.to_owned(), lines, fold, durable, exporter: exporter.clone() };
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
    data: PathBuf,
    lines: reader::Follower,
    fold: Fold,
    durable: watch::Receiver<Seq>,
    exporter: Exporter,
}

/// How many bytes of lines are read at once.
const READ_BYTES: usize = 4 << 20;

/// Most records of a ledger are these. No span tells of them one by one, so they are not even parsed.
const PASSED_OVER: &str = "candidate_accepted";

impl Follow {
    /// The spans that end with the next records, up to `until` or to where the files cannot be read.
    fn read(&mut self, until: Seq) -> (Vec<Span>, Result<(), FollowError>) {
        let (mut spans, mut bytes) = (Vec::new(), 0);
        while bytes < READ_BYTES {
            let line = match self.lines.next_line(until) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    // From the directory again: the segment may have been closed, the error may have gone away.
                    self.lines = reader::Follower::new(&self.data, self.lines.next_seq());
                    return (spans, Err(error));
                }
            };
            bytes += line.raw().len();
            if line.event_name() == PASSED_OVER {
                continue;
            }
            match line.record() {
                Ok(record) => spans.extend(self.fold.take(&record)),
                // The engine wrote it, and its checksum is right: another look would find the same.
                Err(error) => tracing::error!(seq = %line.seq, %error, "a record that the tracer cannot read"),
            }
        }
        (spans, Ok(()))
    }

    async fn run(mut self, stop: CancellationToken) {
        loop {
            let last = stop.is_cancelled();
            let until = *self.durable.borrow_and_update();
            while self.lines.next_seq() <= until {
                // Reading files blocks.
                let read = tokio::task::spawn_blocking(move || {
                    let read = self.read(until);
                    (self, read)
                });
                let Ok((this, (spans, read))) = read.await else { return };
                self = this;
                spans.into_iter().for_each(|span| self.exporter.send(span));
                if let Err(error) = read {
                    tracing::debug!(%error, "the tracer reads again later");
                    break;
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
