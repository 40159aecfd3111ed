//! The fixed run over which calls are counted and made to fail.

use std::time::Duration;

use crate::client::{Client, Wrong};
use crate::wire;

/// Jobs of the run; the first of them are done.
const JOBS: u64 = 6;

/// How many are done.
const DONE: u64 = 3;

/// Five such payloads fill a segment, so that the run rolls it. A payload may be little larger.
const LARGE: usize = 250_000;

/// Segments as small as they may be.
pub const ARGS: [&str; 2] = ["--segment-bytes", "1048576"];

/// Submits, leases, delivers and completes, always the same, in one thread; asks again until each is answered.
///
/// # Errors
/// [`Wrong`].
pub async fn run(client: &mut Client) -> Result<(), Wrong> {
    let hour = Duration::from_secs(3600);
    client.submit_all(wire::definitions(wire::QUEUE, wire::KIND, hour, Duration::from_secs(60))).await?;
    for job in 0..JOBS {
        let fill = if job > 0 { "x".repeat(LARGE) } else { String::new() };
        client.submit(&format!("job-{job}"), &format!("{{\"job\":{job},\"fill\":\"{fill}\"}}")).await?;
    }
    for job in 0..DONE {
        let held = loop {
            if let Some(held) = client.lease().await? {
                break held;
            }
        };
        for number in 1..=2 {
            let first = job * 2 + number;
            // The second is found again by the next batch.
            let candidates: Vec<String> = (first..first + 2).map(|n| format!("{{\"n\":{n}}}")).collect();
            client.deliver(held, number, &candidates).await?;
        }
        client.complete(held, 2).await?;
    }
    Ok(())
}
