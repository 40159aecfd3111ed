//! The log of a job, and following it.

use std::time::Duration;

use orch_core::id::JobId;
use orch_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{ANSWERS_AHEAD, Admin, Answers, internal, not_found};
use crate::access::Caller;
use crate::index::Entry;

/// How many bytes go into one message.
const MESSAGE_BYTES: usize = 64 << 10;

/// Lines may come in shortly after the end of their attempt; those who follow wait for them so long.
const LINGER: Duration = Duration::from_secs(1);

impl Admin {
    pub(super) async fn job_log(
        &self,
        caller: &Caller,
        request: v1::ReadJobLogRequest,
    ) -> Result<Answers<v1::ReadJobLogResponse>, Status> {
        let v1::ReadJobLogRequest { job, attempt, follow } = request;
        let job = JobId::new(job);
        let Entry { summary, .. } = self.entry(caller, job).await?;
        if attempt > summary.attempts {
            let message = format!("job {job} has {} attempts so far, not {attempt}", summary.attempts);
            return Err(not_found(message, "attempt"));
        }
        let newest = attempt == 0;
        let attempt = if newest { summary.attempts } else { attempt };
        let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
        let log = Log { admin: self.clone(), job, attempt, newest, follow, offset: 0, sender };
        tokio::spawn(log.send());
        Ok(ReceiverStream::new(answers))
    }
}

/// A log on its way.
struct Log {
    admin: Admin,
    job: JobId,
    attempt: u32,
    /// Go on with the next attempt's log.
    newest: bool,
    follow: bool,
    offset: u64,
    sender: mpsc::Sender<Result<v1::ReadJobLogResponse, Status>>,
}

/// Where the attempt stands whose log is read.
enum Standing {
    /// More may come.
    Running,
    /// It has ended, and another one may come or is there.
    Over,
    /// It has ended, and the job with it.
    Last,
}

impl Log {
    async fn send(mut self) {
        let mut logs = self.admin.logs.changes();
        let mut records = self.admin.handle.durable();
        loop {
            logs.mark_unchanged();
            records.mark_unchanged();
            // Before the reading, so that what was written before the end is read behind it.
            let standing = self.standing().await;
            if !self.send_rest().await || !self.follow {
                return;
            }
            match standing {
                Ok(Standing::Running) => {}
                Ok(Standing::Over) if self.newest => {
                    if self.next_attempt().await {
                        continue;
                    }
                }
                Ok(Standing::Over | Standing::Last) | Err(_) => {
                    // The change may be another job's log, so it is not waited for once only.
                    tokio::time::sleep(LINGER).await;
                    self.send_rest().await;
                    return;
                }
            }
            tokio::select! {
                changed = logs.changed() => if changed.is_err() { return },
                changed = records.changed() => if changed.is_err() { return },
                () = self.sender.closed() => return,
                () = self.admin.stopping.cancelled() => return,
            }
        }
    }

    /// Sends what there is; false if the caller has gone or the log cannot be read.
    async fn send_rest(&mut self) -> bool {
        loop {
            let read = self.admin.logs.read(self.job, self.attempt, self.offset, MESSAGE_BYTES).await;
            let text = match read {
                Ok(text) if text.is_empty() => return true,
                Ok(text) => text,
                Err(error) => {
                    let _ = self.sender.send(Err(internal(&error))).await;
                    return false;
                }
            };
            self.offset += text.len() as u64;
            if self.sender.send(Ok(v1::ReadJobLogResponse { text: text.into() })).await.is_err() {
                return false;
            }
        }
    }

    async fn standing(&self) -> Result<Standing, Status> {
        let (job, attempt) = (self.job, self.attempt);
        let looked = self.admin.handle.query(move |engine, _| {
            let state = engine.state();
            let leases = &mut state.leases().values();
            let runs = leases.any(|held| held.job == job && held.attempt == attempt);
            match (runs, state.is_open(job)) {
                (true, _) => Standing::Running,
                (false, true) => Standing::Over,
                (false, false) => Standing::Last,
            }
        });
        looked.await.map_err(super::refused)
    }

    /// Goes on to the next attempt if there is one.
    async fn next_attempt(&mut self) -> bool {
        let job = self.job;
        let attempts = self.admin.handle.query(move |engine, _| engine.state().job(job).map_or(0, |job| job.attempts));
        if attempts.await.unwrap_or_default() <= self.attempt {
            return false;
        }
        self.attempt += 1;
        self.offset = 0;
        true
    }
}
