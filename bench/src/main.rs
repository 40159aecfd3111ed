//! Benchmarks P1 to P6: what the whole path does, over the real wire, with every acknowledged step synced to disk.
//!
//! Orchestrator and clients share one process and whatever cores there are. Figures of different machines, or of
//! different hours on a shared one, do not compare; ratios within one run do.

mod candidates;
mod collector;
mod harness;
mod import;
mod jobs;
mod latency;
mod leases;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use orch_telemetry::Sampling;

use crate::harness::{Cluster, Settings};
use crate::report::Figure;

/// The orchestrator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the orchestrator over the real wire.
///
/// Every figure says how durable it is: "synced" means that each acknowledged step was in the ledger and the ledger
/// synced before the acknowledgement.
#[derive(Parser, Debug)]
#[command(
    after_help = "EXAMPLES:\n  cargo run --release -p orch-bench\n  cargo run --release -p orch-bench -- p3 p5 --seconds 20 --json figures.json"
)]
struct Args {
    /// Which benchmarks to run; all of them if none is named.
    #[arg(value_parser = ["p1", "p2", "p3", "p4", "p5", "p6"])]
    benchmarks: Vec<String>,
    /// How long each one is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often each one is run; the median is shown, with the least and the most.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Everything over TLS, with certificates on both sides.
    #[arg(long)]
    tls: bool,
    /// Trace this part of all jobs, from 0 to 1, to a collector in this process; how many spans came is told.
    #[arg(long, value_name = "PART")]
    traces: Option<Sampling>,
    /// Where the ledger is written: a folder on the disk to be measured. A temporary one otherwise.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Also write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let all = ["p1", "p2", "p3", "p4", "p5", "p6"].map(str::to_owned);
    let chosen = if args.benchmarks.is_empty() { &all[..] } else { &args.benchmarks[..] };
    let span = Duration::from_secs(args.seconds);
    let settings = Settings { parent: args.dir.clone(), tls: args.tls, traces: args.traces };
    let mut figures: Vec<Figure> = Vec::new();
    for name in chosen {
        let mut samples = Vec::new();
        for run in 1..=args.runs {
            eprintln!("{name}: run {run} of {} ...", args.runs);
            if name == "p6" {
                samples.push(leases::measure(&settings, span).await?);
                continue;
            }
            let cluster = Cluster::start(&settings).await?;
            let sample = match name.as_str() {
                "p1" => jobs::measure(&cluster, 64, 1, span).await?,
                "p2" => jobs::measure(&cluster, 64, 100, span).await?,
                "p3" => candidates::measure(&cluster, span).await?,
                "p4" => import::measure(&cluster, span).await?,
                _ => latency::measure(&cluster, span).await?,
            };
            if let Some(spans) = cluster.stop().await? {
                eprintln!("{name}: {spans} spans came");
            }
            samples.push(sample);
        }
        figures.extend(report::figures(name, &samples));
    }
    println!("{}", report::table(&figures));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text + "\n").with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
