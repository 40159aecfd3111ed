//! How fast the index is built, opened again and asked: `cargo run --release -p orch-orchestrator --example index_rate
//! -- DIR`, where DIR is the data directory of an orchestrator that is not running. Nothing in it is changed.

use std::path::Path;
use std::time::{Duration, Instant};

use orch_core::id::JobId;
use orch_core::summary::JobPhase;
use orch_ledger::disk::real::RealDir;
use orch_orchestrator::index::{Filter, Follower, FollowerOptions, Index, LedgerSource};
use tokio::sync::watch;

const LONG: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = std::env::args().nth(1).ok_or("name a data directory")?;
    let head = orch_ledger::durable_head(&RealDir::new(Path::new(&data)))?.seq;
    let scratch = Path::new(&data).with_extension("index-rate");
    let durable = watch::Sender::new(head);
    for what in ["built", "opened and checked"] {
        let begun = Instant::now();
        let options = FollowerOptions { dir: Some(scratch.clone()), pace: Duration::ZERO };
        let follower = Follower::start(options, Box::new(LedgerSource::new(Path::new(&data))), durable.subscribe())?;
        let index = follower.index();
        let status = index.wait_for(head, LONG).await;
        let took = begun.elapsed();
        let rate = head.0 as f64 / took.as_secs_f64();
        println!("{what}: {} records in {took:.2?}, {rate:.0}/s ({})", status.applied, status.kind);
        ask(&index, "first page of all", Filter::default()).await?;
        for phase in [JobPhase::Ready, JobPhase::Done] {
            ask(&index, "first page by state", Filter { phases: vec![phase], ..Filter::default() }).await?;
        }
        let name = Some("no such name".to_owned());
        ask(&index, "a name that nobody has", Filter { name, ..Filter::default() }).await?;
        follower.stop();
    }
    std::fs::remove_dir_all(scratch)?;
    Ok(())
}

async fn ask(index: &Index, what: &str, filter: Filter) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let page = index.list(filter, JobId::new(0), 100).await?;
    println!("  {what}: {} jobs in {:.2?}", page.jobs.len(), begun.elapsed());
    Ok(())
}
