//! The state as JSON: for people, for backups of the eye, and for the test that replay equals live.

use serde_json::{Value, json};

use super::job::Delivery;
use super::{Job, JobCounts, JobState, State};
use crate::id::JobId;
use crate::resource::Requirements;

impl State {
    /// The whole state, in an order that depends on nothing but the ledger.
    pub fn export(&self) -> Value {
        let mut state = self.export_frame();
        let jobs = self.held_jobs().into_iter().filter_map(|id| self.export_job(id));
        state["open_jobs"] = jobs.collect();
        state
    }

    /// Every job that is open or failed, by age.
    pub fn held_jobs(&self) -> Vec<JobId> {
        let mut held: Vec<JobId> = self.jobs.keys().copied().collect();
        held.sort_unstable();
        held
    }

    /// A job of the export; None if it is neither open nor failed.
    pub fn export_job(&self, id: JobId) -> Option<Value> {
        self.jobs.get(&id).map(|job| self.job_json(id, job))
    }

    /// The export without its jobs, of which there may be millions.
    pub fn export_frame(&self) -> Value {
        let counts = &self.counts;
        json!({
            "seq": self.last_seq,
            "epoch": self.epoch,
            "jobs": counts_json(&counts.jobs),
            "candidates": {
                "accepted": counts.accepted,
                "duplicate": counts.duplicate,
                "rejected": counts.rejected,
            },
            "attempts": {
                "leases_granted": counts.leases_granted,
                "failures": counts.failures,
                "crashes": counts.crashes,
                "released": counts.released,
            },
            "contracts": self.contracts.iter().map(|(reference, registered)| json!({
                "contract": reference,
                "seq": registered.seq,
                "accepted": registered.accepted,
            })).collect::<Vec<_>>(),
            "queues": self.queues.values().map(|queue| json!({
                "spec": queue.spec,
                "paused": queue.paused,
                "jobs": counts_json(&queue.jobs),
            })).collect::<Vec<_>>(),
            "limits": self.limits().collect::<Vec<_>>(),
            "in_use": self.schedule.in_use(),
            "retries_paused": self.retries_paused(),
            "set_aside": self.set_aside().iter().map(|(worker, aside)| json!({
                "worker": worker,
                "reason": aside.reason,
                "at": aside.at,
            })).collect::<Vec<_>>(),
            "schedules": self.schedules().values().map(|schedule| json!({
                "spec": schedule.spec,
                "paused": schedule.paused,
                "last": schedule.last,
                "last_job": schedule.last_job,
            })).collect::<Vec<_>>(),
            "leases": self.leases.iter().map(|(lease, held)| json!({
                "lease": lease,
                "job": held.job,
                "worker": held.worker,
                "session": held.session,
                "attempt": held.attempt,
                "granted_at": held.granted_at,
                "contract": held.contract,
                "expected": held.expected,
                "variant": held.variant,
                "members": held.members,
                "delivery": delivery_json(&held.delivery),
            })).collect::<Vec<_>>(),
            "imports": self.imports.iter().map(|(id, import)| json!({
                "import": id,
                "file": import.file,
                "name": import.name,
                "contract": import.contract,
                "finished": import.finished,
                "delivery": delivery_json(&import.delivery),
            })).collect::<Vec<_>>(),
            "tokens": self.tokens().iter().map(|(id, token)| json!({
                "token": id,
                "name": token.made.name,
                "role": token.made.role,
                "queues": token.made.queues,
                "expires": token.made.expires,
                "created_at": token.created_at,
            })).collect::<Vec<_>>(),
            "audited": self.access.audited(),
            "accepted_identities": self.accepted.len(),
            "idempotency_keys": self.keys.len(),
        })
    }

    fn job_json(&self, id: JobId, job: &Job) -> Value {
        let (queue, kind, priority) = self.lane(job);
        let state = match &job.state {
            JobState::Blocked { waiting_on } => json!({"blocked": {"waiting_on": waiting_on}}),
            JobState::Ready => json!("ready"),
            JobState::Delayed { until } => json!({"delayed": {"until": until}}),
            JobState::Leased { lease } => json!({"leased": {"lease": lease}}),
            JobState::Running => json!("running"),
            JobState::Failed { class, at } => json!({"failed": {"class": class, "at": at}}),
        };
        let mut exported = json!({
            "job": id,
            "queue": queue,
            "kind": kind,
            "priority": priority,
            "fair_key": self.fair_key(job),
            "requires": requires_json(self.requirements(job)),
            "state": state,
            "attempts": job.attempts,
            "failures": job.failures,
            "crashes": job.crashes,
            "submitted_at": job.submitted_at,
            "ready_since": job.ready_since,
            "waits_until": self.waits_until(id),
            "given_back": self.given_back.get(&id),
            "dependents": job.overrides.as_ref().map_or(&[][..], |overrides| &overrides.dependents),
        });
        if let Some(task) = self.task(id) {
            exported["task"] = json!(task);
        }
        if let Some(array) = self.array(id) {
            exported["array"] = json!({
                "spec": array.spec,
                "left": array.left,
                "open": array.open(),
                "done": array.done,
                "failed": array.failed,
                "cancelled": array.cancelled,
            });
        }
        exported
    }
}

fn requires_json(requirements: &Requirements) -> Value {
    let Requirements { needs, labels, prefer, avoid, gang } = requirements;
    if requirements.is_empty() {
        return Value::Null;
    }
    let mut exported = json!({"resources": needs, "labels": labels, "prefer": prefer, "avoid": avoid});
    if let Some(gang) = gang {
        exported["gang"] = json!({"workers": gang.workers, "timeout": gang.timeout});
    }
    exported
}

fn counts_json(counts: &JobCounts) -> Value {
    let JobCounts { blocked, ready, delayed, leased, done, failed, cancelled } = counts;
    json!({
        "blocked": blocked,
        "ready": ready,
        "delayed": delayed,
        "leased": leased,
        "done": done,
        "failed": failed,
        "cancelled": cancelled,
    })
}

fn delivery_json(delivery: &Delivery) -> Value {
    json!({
        "batches": delivery.batches.len(),
        "accepted": delivery.accepted,
        "duplicate": delivery.duplicate,
        "rejected": delivery.rejected,
        "distinct": delivery.distinct(),
    })
}
