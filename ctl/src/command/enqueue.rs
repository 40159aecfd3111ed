//! `orchctl enqueue`: one job, or an array.

use orch_core::gang::GangSpec;
use orch_core::job::JobSpec;
use orch_core::policy::RetryPatch;
use orch_core::resource::{Needs, Variant};
use orch_core::time::Span;
use orch_proto::v1;

use super::input;
use crate::args::EnqueueArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::EnqueuedView;

/// Submits the job and prints its id.
pub async fn run(context: &Context, args: EnqueueArgs) -> Result<Exit, Failure> {
    let queue = args.queue.to_string();
    let spec = spec(args)?;
    let tasks = spec.array.as_ref().map(|array| array.tasks.len());
    let client = context.connect().await?;
    let request = v1::SubmitRequest { jobs: vec![(&spec).into()], ..v1::SubmitRequest::default() };
    let mut admin = client.admin();
    let answer = client.unary("cannot enqueue", admin.submit(request)).await?;
    let Some(v1::SubmittedJob { job, existed }) = answer.jobs.first().copied() else {
        return Err(Failure::error("the server's answer names no job"));
    };
    context.print(&EnqueuedView { job, existed, queue, tasks })?;
    Ok(Exit::Done)
}

fn spec(args: EnqueueArgs) -> Result<JobSpec, Failure> {
    let EnqueueArgs {
        queue,
        payload,
        kind,
        name,
        priority,
        fair_key,
        delay,
        not_before,
        timeout,
        queue_timeout,
        max_attempts,
        keys,
        semaphores,
        resources,
        alternatives,
        min_time,
        labels,
        prefer,
        key,
        unique,
        array,
        gang,
        gang_timeout,
    } = args;
    let spec = JobSpec {
        kind,
        name,
        priority,
        fair_key,
        delay,
        not_before,
        timeout,
        queue_timeout,
        retry: RetryPatch { max_attempts, ..RetryPatch::default() },
        keys: keys.into_iter().collect(),
        semaphores: semaphores.into_iter().collect(),
        resources: needs(resources, alternatives, min_time)?,
        labels: labels.into_iter().collect(),
        prefer,
        idempotency_key: key,
        unique,
        array,
        gang: gang.map(|workers| GangSpec { workers, timeout: gang_timeout }),
        ..JobSpec::new(queue, input::payload(&payload)?)
    };
    // The wire's own bounds, before anything is sent.
    JobSpec::try_from(v1::JobSpec::from(&spec)).map_err(|faults| Failure::usage(format!("job: {faults}")))
}

/// What is needed: everything named first together, and each alternative behind it.
fn needs(first: Vec<Variant>, alternatives: Vec<Variant>, min_time: Option<Span>) -> Result<Needs, Failure> {
    let mut together = Variant::default();
    for Variant { needs, min_time } in first {
        for (name, need) in needs {
            if together.needs.insert(name.clone(), need).is_some() {
                return Err(Failure::usage(format!("--resource {name} is given twice")));
            }
        }
        together.min_time = together.min_time.max(min_time);
    }
    let mut variants = vec![together];
    variants.extend(alternatives);
    for variant in &mut variants {
        variant.min_time = variant.min_time.max(min_time);
    }
    if variants == [Variant::default()] {
        return Ok(Needs::default());
    }
    Needs::new(variants).map_err(|error| Failure::usage(format!("--resource {error}")))
}
