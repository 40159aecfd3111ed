//! `orchctl job logs`.

use orch_proto::v1;

use crate::args::LogsArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::Lines;

/// Prints a job's log as it is.
pub async fn run(context: &Context, args: &LogsArgs) -> Result<Exit, Failure> {
    let LogsArgs { job, attempt, follow } = *args;
    let what = format!("cannot read the log of job {job}");
    let client = context.connect().await?;
    let mut admin = client.admin();
    let request = v1::ReadJobLogRequest { job, attempt, follow };
    let mut stream = client.unary(&what, admin.read_job_log(request)).await?;
    let mut out = Lines::new();
    let mut empty = true;
    while let Some(v1::ReadJobLogResponse { text }) =
        stream.message().await.map_err(|status| client.refused(&what, &status))?
    {
        empty &= text.is_empty();
        out.write(&text)?;
        // Whoever follows wants to see it now.
        out.flush()?;
    }
    if empty {
        context.note(&format!("note: job {job} wrote nothing to its log"));
    }
    Ok(Exit::Done)
}
