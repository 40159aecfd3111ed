//! Submitting a manifest so that submitting it again changes nothing.

use orch_core::digest::Digest;
use orch_core::job::JobSpec;
use orch_core::manifest::Manifest;
use orch_core::state::Submission;
use orch_proto::credentials::Identified;
use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;

use crate::LocalError;

/// Jobs of one request: far below the server's bound on a message.
const CHUNK: usize = 1000;

/// Submits contracts, queues and jobs. Returns how many jobs there are, and how many were there before.
pub(crate) async fn submit(
    client: &mut AdminServiceClient<Identified>,
    manifest: &Manifest,
    text: &str,
) -> Result<(u64, u64), LocalError> {
    let definitions = Submission {
        contracts: manifest.contracts().cloned().collect(),
        queues: manifest.queues().cloned().collect(),
        limits: manifest.limits().cloned().collect(),
        schedules: manifest.schedules().cloned().collect(),
        jobs: Vec::new(),
    };
    send(client, &definitions).await?;
    let digest = Digest::of(text.as_bytes()).to_string();
    let keyed = manifest.jobs().enumerate().map(|(index, mut job)| {
        // A job without a key of its own gets one, so that a second run of the same file finds it.
        job.idempotency_key.get_or_insert_with(|| format!("local/{}/{index}", &digest[..16]));
        job
    });
    // Jobs that depend on one another must come in one submit.
    let (linked, plain): (Vec<JobSpec>, Vec<JobSpec>) = if manifest.jobs().any(|job| !job.depends_on.is_empty()) {
        (keyed.collect(), Vec::new())
    } else {
        (Vec::new(), keyed.collect())
    };
    let (mut total, mut existed) = (0, 0);
    let chunks = plain.chunks(CHUNK).map(<[JobSpec]>::to_vec);
    for jobs in std::iter::once(linked).chain(chunks).filter(|jobs| !jobs.is_empty()) {
        let answer = send(client, &Submission { jobs, ..Submission::default() }).await?;
        total += answer.jobs.len() as u64;
        existed += answer.jobs.iter().filter(|job| job.existed).count() as u64;
    }
    Ok((total, existed))
}

async fn send(
    client: &mut AdminServiceClient<Identified>,
    submission: &Submission,
) -> Result<v1::SubmitResponse, LocalError> {
    let request = v1::SubmitRequest::try_from(submission).map_err(LocalError::start)?;
    Ok(client.submit(request).await?.into_inner())
}
