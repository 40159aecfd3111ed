//! `orchctl submit`: YAML files become one atomic submit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orch_core::manifest::{self, Manifest};
use orch_core::state::Submission;
use orch_proto::v1;

use super::input;
use crate::args::SubmitArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{DryRunView, SubmitView};

/// The most jobs of one submit: it is one record per job, durable in one step. More belong into `import`.
const MAX_JOBS: u64 = 100_000;

/// The most faults that are printed.
const SHOWN_FAULTS: usize = 20;

/// Reads every file, then submits all of it.
pub async fn run(context: &Context, args: &SubmitArgs) -> Result<Exit, Failure> {
    let submission = read(&args.files)?;
    let request = checked(&submission)?;
    if args.dry_run {
        context.print(&preview(&submission))?;
        return Ok(Exit::Done);
    }
    let client = context.connect().await?;
    let mut admin = client.admin();
    let answer = client.unary("cannot submit", admin.submit(request)).await?;
    context.print(&SubmitView::from(answer))?;
    Ok(Exit::Done)
}

/// What all files together ask for.
fn read(files: &[PathBuf]) -> Result<Submission, Failure> {
    let mut submission = Submission::default();
    for file in files {
        add(&mut submission, file, &parse(file)?)?;
    }
    Ok(submission)
}

/// A file's manifest; every fault of it is named with its line.
pub fn parse(file: &Path) -> Result<Manifest, Failure> {
    parse_text(file, &input::text(file)?)
}

/// The manifest in a file's text.
pub fn parse_text(file: &Path, text: &str) -> Result<Manifest, Failure> {
    manifest::parse(text).map_err(|error| {
        let mut lines: Vec<String> =
            error.faults.iter().take(SHOWN_FAULTS).map(|fault| format!("\n  {fault}")).collect();
        let more = error.faults.len().saturating_sub(SHOWN_FAULTS);
        if more > 0 {
            lines.push(format!("\n  and {more} more"));
        }
        Failure::usage(format!("{} is not a manifest:{}", input::name(file), lines.concat()))
            .fix("correct these places; examples/ and docs/cli.md show what a manifest looks like")
    })
}

fn add(submission: &mut Submission, file: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let jobs = submission.jobs.len() as u64 + manifest.job_count();
    if jobs > MAX_JOBS {
        let what = format!("{}: {jobs} jobs in one submit, at most {MAX_JOBS} are allowed", input::name(file));
        return Err(Failure::usage(what)
            .fix("write one job a line and use `orchctl import`, or take larger steps in the range"));
    }
    submission.contracts.extend(manifest.contracts().cloned());
    submission.queues.extend(manifest.queues().cloned());
    submission.limits.extend(manifest.limits().cloned());
    submission.schedules.extend(manifest.schedules().cloned());
    submission.jobs.extend(manifest.jobs());
    Ok(())
}

/// The submission as a request, held against the wire's bounds, so that a dry run says what the server would.
fn checked(submission: &Submission) -> Result<v1::SubmitRequest, Failure> {
    let request = v1::SubmitRequest::try_from(submission)
        .map_err(|error| Failure::usage("a contract cannot be written as JSON").because(error))?;
    match Submission::try_from(request.clone()) {
        Ok(_) => Ok(request),
        Err(faults) => Err(Failure::usage(faults.to_string())),
    }
}

fn preview(submission: &Submission) -> DryRunView {
    let mut jobs_by_queue = BTreeMap::new();
    for job in &submission.jobs {
        let tasks = job.array.as_ref().map_or(1, |array| array.tasks.len());
        *jobs_by_queue.entry(job.queue.to_string()).or_insert(0) += tasks;
    }
    DryRunView {
        contracts: submission.contracts.iter().map(|contract| contract.reference().to_string()).collect(),
        queues: submission.queues.iter().map(|queue| queue.name.to_string()).collect(),
        limits: submission.limits.iter().map(|limit| limit.limit.to_string()).collect(),
        schedules: submission.schedules.iter().map(|schedule| schedule.name.to_string()).collect(),
        jobs: jobs_by_queue.values().sum(),
        jobs_by_queue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn files_add_up_to_one_submission() {
        let (queues, jobs) = (file("queue: sums\nkind: sum\n"), file("job: {queue: sums, payload: 1}\n"));
        let submission = read(&[queues.path().into(), jobs.path().into()]).unwrap();
        let view = preview(&submission);
        assert_eq!((view.queues, view.jobs, view.jobs_by_queue["sums"]), (vec!["sums".to_owned()], 1, 1));
    }

    #[test]
    fn a_fault_names_its_file_and_line() {
        let bad = file("queue: sums\ncolour: red\n");
        let text = read(&[bad.path().into()]).unwrap_err().to_string();
        assert!(text.contains(&bad.path().display().to_string()) && text.contains("line 2"), "{text}");
        assert!(text.contains("colour"), "{text}");
    }

    #[test]
    fn too_many_jobs_are_sent_to_import() {
        let many = file("jobs:\n  queue: q\n  range: {from: 0, to: 200000, step: 1, as: [a, b]}\n");
        let text = read(&[many.path().into()]).unwrap_err().to_string();
        assert!(text.contains("orchctl import"), "{text}");
    }
}
