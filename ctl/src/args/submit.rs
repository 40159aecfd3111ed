//! Arguments of the commands that bring work in.

use std::path::PathBuf;

use clap::Args;
use orch_core::array::ArraySpec;
use orch_core::id::{KeyName, Kind, QueueName, SemaphoreName};
use orch_core::limit::KeyValue;
use orch_core::resource::{Preference, Variant};
use orch_core::time::{Span, Timestamp};
use orch_core::unique::Unique;

/// Submit contracts, queues and jobs from YAML files
#[derive(Debug, Args)]
#[command(
    long_about = "Submit contracts, queues and jobs from YAML files.\n\nA file holds any number of documents \
        (separated by ---): contracts, queues, limits, jobs, and ranges cut into jobs; docs/cli.md and examples/ show \
        each. Everything in all files is submitted in one step: all of it or nothing. Submitting the same file \
        again changes nothing for contracts and queues that are the same, and for jobs that carry an \
        idempotency_key. Prints the ids of the jobs.",
    after_help = "Examples:\n  \
        orchctl submit -f examples/zeta-zeros.yaml\n  \
        orchctl submit -f queues.yaml -f jobs.yaml -o json\n  \
        generate-jobs | orchctl submit -f -\n  \
        orchctl submit -f jobs.yaml --dry-run          check the files, offline"
)]
pub struct SubmitArgs {
    /// A file to submit; - is standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Check the files without a server, and say what would be submitted
    #[arg(long)]
    pub dry_run: bool,
}

/// Put one job, or an array of tasks, into a queue
#[derive(Debug, Args)]
#[command(
    long_about = "Put one job, or an array of tasks, into a queue, and print its id. The queue must exist (`orchctl \
        submit` defines it).",
    after_help = "Examples:\n  \
        orchctl enqueue sums --payload '{\"from\": 1, \"to\": 100}'\n  \
        orchctl enqueue sums --payload @payload.json --priority 5 --delay 10m\n  \
        orchctl enqueue train --resource gpus=1@24GiB,cpus=4 --or cpus=32 --min-time 1h\n  \
        orchctl enqueue frames --array 1-1000000%50    a million tasks, at most 50 at once\n  \
        orchctl enqueue solve --gang 3 --resource cpus=8    on three workers together\n  \
        id=$(orchctl enqueue sums --payload 7 -o name) && orchctl job wait $id"
)]
pub struct EnqueueArgs {
    /// The queue
    pub queue: QueueName,

    /// What to compute, in JSON; @FILE reads it from a file, - from standard input
    #[arg(short, long, value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
    pub payload: String,

    /// The job's kind; without it, the queue's
    #[arg(long)]
    pub kind: Option<Kind>,

    /// A name for people
    #[arg(long)]
    pub name: Option<String>,

    /// Higher goes first within the queue
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,

    /// Whose it is: jobs of a queue with the same priority take turns by this value, such as ada
    #[arg(long, value_name = "VALUE")]
    pub fair_key: Option<KeyValue>,

    /// Do not start before this long from now (10m)
    #[arg(long, value_name = "DURATION")]
    pub delay: Option<Span>,

    /// Do not start before this time (2026-11-21T08:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub not_before: Option<Timestamp>,

    /// How long one attempt may run
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,

    /// How long it may stand ready without a worker until it is cancelled
    #[arg(long, value_name = "DURATION")]
    pub queue_timeout: Option<Span>,

    /// Failures until the job counts as failed
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,

    /// What limits may be about, such as host=api.example.org; may be given several times
    #[arg(long = "with", value_name = "KEY=VALUE", value_parser = key_value)]
    pub keys: Vec<(KeyName, KeyValue)>,

    /// Units of a semaphore that it takes while it runs, such as gpu_slots=1; may be given several times
    #[arg(long = "semaphore", value_name = "NAME=UNITS", value_parser = units)]
    pub semaphores: Vec<(SemaphoreName, u32)>,

    /// What it needs of its worker, such as gpus=0.5, cpus=4, mem=8GiB, gpus=1@24GiB or fpga=all; may be given several
    /// times, or as a list with commas
    #[arg(long = "resource", value_name = "NAME=AMOUNT")]
    pub resources: Vec<Variant>,

    /// What it takes instead if a worker has not that, such as cpus=8; alternatives are tried in their order
    #[arg(long = "or", value_name = "NAME=AMOUNT", requires = "resources")]
    pub alternatives: Vec<Variant>,

    /// How long its worker must still live
    #[arg(long, value_name = "DURATION")]
    pub min_time: Option<Span>,

    /// A label that its worker must have, such as zone=eu; may be given several times
    #[arg(long = "label", value_name = "LABEL=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,

    /// A label for which a worker is preferred, and how much, such as disk=nvme:10; may be given several times
    #[arg(long = "prefer", value_name = "LABEL=VALUE[:WEIGHT]", value_parser = preference)]
    pub prefer: Vec<Preference>,

    /// The same key with the same job again gives the same job instead of a second one
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,

    /// For how long the key stands for this job: forever, until_done, or a length of time from its submit (24h)
    #[arg(long, value_name = "WHEN", default_value_t, requires = "key")]
    pub unique: Unique,

    /// One task for each of these numbers: 1-10, 1-100:5 (each fifth), 1,3,5-7; %4 behind them runs at most four at once.
    /// A task finds its number in the payload's field `task`, and in ORCH_ARRAY_TASK_ID
    #[arg(long, value_name = "TASKS")]
    pub array: Option<ArraySpec>,

    /// Workers that it needs at once: it runs on all of them together, or on none. Each finds its number from 0 in
    /// ORCH_GANG_RANK; the first one's results are the job's
    #[arg(long, visible_alias = "nodes", value_name = "WORKERS")]
    pub gang: Option<u32>,

    /// How long workers are kept free for it, when it is at its turn and not all of them are [default: 5m]
    #[arg(long, value_name = "DURATION", requires = "gang")]
    pub gang_timeout: Option<Span>,
}

fn key_value(text: &str) -> Result<(KeyName, KeyValue), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =: write it like host=a.org"))?;
    let name = KeyName::new(name).map_err(|error| error.to_string())?;
    Ok((name, KeyValue::new(value).map_err(|error| error.to_string())?))
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(label, value)| !label.is_empty() && !value.is_empty());
    let (label, value) = pair.ok_or_else(|| format!("{text:?} is not a label: write it like zone=eu"))?;
    Ok((label.to_owned(), value.to_owned()))
}

fn preference(text: &str) -> Result<Preference, String> {
    let weighed = text.rsplit_once(':').and_then(|(rest, weight)| Some((rest, weight.parse().ok()?)));
    let (text, weight) = weighed.unwrap_or((text, 1));
    let (label, value) = label(text)?;
    Ok(Preference { label, value, weight })
}

fn units(text: &str) -> Result<(SemaphoreName, u32), String> {
    let (name, units) = text.split_once('=').unwrap_or((text, "1"));
    let name = SemaphoreName::new(name).map_err(|error| error.to_string())?;
    Ok((name, units.parse().map_err(|_| format!("{units:?} is not a number of units"))?))
}

/// Submit jobs in bulk from a file of JSON lines
#[derive(Debug, Args)]
#[command(
    long_about = "Submit jobs in bulk from a file of JSON lines.\n\nEach line is one job as in a YAML file: \
        {\"queue\":\"sums\",\"payload\":{\"from\":1,\"to\":100}}. The file is streamed: it may be larger than \
        memory. Lines that are not jobs are refused one by one, with their number, and the others go in; the exit \
        code is then 1.\n\nSafe to repeat: a line without idempotency_key gets one derived from its job and from \
        how often the same job stood in the file before, so that importing the file again, or a longer version of \
        it, submits only what is new. --again TAG submits the same jobs once more on purpose.",
    after_help = "Examples:\n  \
        orchctl import jobs.jsonl --queue sums\n  \
        zcat jobs.jsonl.gz | orchctl import - --queue sums\n  \
        orchctl import jobs.jsonl --again second-round"
)]
pub struct ImportArgs {
    /// The file; - is standard input
    pub file: PathBuf,

    /// The queue of lines that name none
    #[arg(long)]
    pub queue: Option<QueueName>,

    /// Makes the derived keys different from those of earlier imports
    #[arg(long, value_name = "TAG")]
    pub again: Option<String>,

    /// Jobs per chunk; each chunk is one durable step
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub chunk: u32,

    /// Chunks that may be under way unanswered
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub window: u32,
}
