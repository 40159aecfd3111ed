//! kill -9 of the orchestrator at random moments, under load.
//!
//! Clients submit, lease, deliver and complete without pause; every answer goes into a synced file outside the system.
//! The orchestrator is killed, at random while it works and sometimes while it starts, and started again on the same
//! directory. Nobody repairs anything. What was acknowledged must be there, once.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::binaries::Binaries;
use crate::client::{Client, Wrong};
use crate::dice::Dice;
use crate::report::{Progress, Report};
use crate::server::Server;
use crate::told::Told;
use crate::{TortureError, wire};

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often the orchestrator is killed.
    pub cycles: u64,
    /// Clients at once.
    pub clients: u64,
    /// The longest time between a start and the next kill.
    pub longest: Duration,
    /// After how many cycles everything is checked, besides at the end.
    pub check_every: u64,
    /// Decides when it is killed and what is sent.
    pub seed: u64,
}

/// Once in so many cycles the start itself is hit.
const START_HIT: u64 = 6;

/// Candidates that several clients find.
const SHARED: u64 = 2000;

/// Runs it in `folder`.
///
/// # Errors
/// [`TortureError`]: it could not be done.
pub async fn run(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    let mut report = Report::new("kill");
    let told = Told::create(folder.join("acknowledged.jsonl"))?;
    // Small segments, so that kills fall on their seams too.
    let mut server = Server::new(binaries, folder, "data")?.args(["--segment-bytes=1048576"]);
    server.start().await?;
    let mut admin = wire::admin(&server.url()).await?;
    let define = wire::definitions(wire::QUEUE, wire::KIND, Duration::from_secs(3600), Duration::from_secs(60));
    admin.submit(define).await.map_err(TortureError::call("define the queue"))?;
    drop(admin);

    let stop = CancellationToken::new();
    let mut clients = JoinSet::new();
    for n in 0..options.clients {
        let client = Client::new(format!("client-{n}"), server.url(), told.clone());
        clients.spawn(work(client, n, Dice::new(options.seed, n + 1), stop.clone()));
    }
    let mut dice = Dice::new(options.seed, 0);
    let (mut start_hits, began) = (0, Instant::now());
    for cycle in 1..=options.cycles {
        let lives = dice.between(Duration::from_millis(2), options.longest);
        tokio::time::sleep(lives).await;
        server.kill9().await?;
        while dice.once_in(START_HIT) {
            start_hits += 1;
            server.launch()?;
            tokio::time::sleep(dice.between(Duration::ZERO, Duration::from_millis(40))).await;
            server.kill9().await?;
        }
        if cycle % options.check_every == 0 {
            report.violations(told.check(server.data())?);
        }
        if let Err(error) = server.start().await {
            report.violation(format!("after kill {cycle} it does not start by itself: {}", error.in_full()));
            break;
        }
        progress.say(format_args!("{cycle} of {} kills, {} acknowledged", options.cycles, told.count()));
        if let Some(Ok(Err(wrong))) = clients.try_join_next() {
            report.violation(wrong.to_string());
            break;
        }
    }
    let (took, acknowledged) = (began.elapsed(), told.count());
    stop.cancel();
    while let Some(ended) = clients.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => report.violation(wrong.to_string()),
            Err(error) => report.violation(format!("a client broke: {error}")),
        }
    }
    server.kill9().await?;
    report.violations(told.check(server.data())?);
    report.violations(server.panics());
    let rate = acknowledged as f64 / took.as_secs_f64();
    report.fact("kills", options.cycles);
    report.fact("kills of a start", start_hits);
    report.fact("clients", options.clients);
    report.fact("acknowledged", told.count());
    report.fact("acknowledged a second, restarts included", format_args!("{rate:.0}"));
    report.fact("seed", options.seed);
    Ok(report)
}

/// Job after job, until it is told to stop; the last one is finished.
async fn work(mut client: Client, n: u64, mut dice: Dice, stop: CancellationToken) -> Result<(), Wrong> {
    let mut found = n << 32;
    for job in 0_u64.. {
        if stop.is_cancelled() {
            break;
        }
        client.submit(&format!("{n}-{job}"), &format!("{{\"client\":{n},\"job\":{job}}}")).await?;
        let Some(held) = client.lease().await? else { continue };
        let batches = 1 + dice.below(3);
        for number in 1..=batches {
            let candidates: Vec<String> = (0..1 + dice.below(4))
                .map(|_| {
                    found += 1;
                    let value = if dice.once_in(3) { dice.below(SHARED) } else { SHARED + found };
                    format!("{{\"n\":{value},\"by\":\"client-{n}\"}}")
                })
                .collect();
            client.deliver(held, number, &candidates).await?;
        }
        client.complete(held, batches).await?;
    }
    Ok(())
}
