//! Why a job does not run, and how a worker stands.

use orch_core::explain;
use orch_core::id::{JobId, WorkerId};
use orch_core::summary::JobPhase;
use orch_proto::convert::{self, Faults};
use orch_proto::v1;
use tonic::Status;

use super::{Admin, not_found, refused};
use crate::access::Caller;

impl Admin {
    pub(super) async fn why_job(
        &self,
        caller: &Caller,
        request: v1::ExplainJobRequest,
    ) -> Result<v1::ExplainJobResponse, Status> {
        let v1::ExplainJobRequest { job } = request;
        let id = JobId::new(job);
        let within = caller.queues();
        let look = self.handle.query(move |engine, now| {
            let job = engine.state().job(id).filter(|job| within.contain(engine.state().lane(job).0))?;
            let state = job.state.open_state();
            let mut why = explain::job(engine.state(), engine.liveness(), id, now)?;
            why.extend(explain::gathers(engine.state(), engine.gathering(), id, now));
            Some((v1::JobState::from(JobPhase::from(state)), why))
        });
        if let Some((state, why)) = look.await.map_err(refused)? {
            let why = why.iter().map(Into::into).collect();
            return Ok(v1::ExplainJobResponse { job, state: state.into(), why });
        }
        // It has left the state: the index says how it ended.
        let summary = self.entry(caller, id).await?.summary;
        let state = v1::JobState::from(summary.phase);
        let name = convert::job_state_name(state);
        let reason = if summary.message.is_empty() { String::new() } else { format!(": {}", summary.message) };
        let ended = v1::Why { code: name.to_owned(), text: format!("it is {name}{reason}"), ..v1::Why::default() };
        Ok(v1::ExplainJobResponse { job, state: state.into(), why: vec![ended] })
    }

    pub(super) async fn why_worker(
        &self,
        caller: &Caller,
        request: v1::ExplainWorkerRequest,
    ) -> Result<v1::ExplainWorkerResponse, Status> {
        let v1::ExplainWorkerRequest { worker } = request;
        let mut faults = Faults::new();
        let worker = faults.take("worker", WorkerId::new(&worker)).ok_or(faults)?;
        let id = worker.clone();
        let look = self.handle.query(move |engine, now| explain::worker(engine.state(), engine.liveness(), &id, now));
        match look.await.map_err(refused)? {
            Some(seen) => {
                let mut seen = convert::worker_seen(&worker, seen);
                if caller.queues().is_held() {
                    // It may be of any queue.
                    seen.offers.iter_mut().for_each(|offer| offer.next_job = 0);
                    seen.next = None;
                }
                Ok(seen)
            }
            None => Err(not_found(format!("worker {worker} is not known"), "worker")),
        }
    }
}
