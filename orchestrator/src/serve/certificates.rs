//! Certificates that change while the orchestrator runs: when their files do, or on SIGHUP.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orch_transport::{Certificates, Loaded, ServerTlsError};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. A change is taken up when it was seen twice.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A certificate that ends so soon is warned of.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// Looks after the files until the stop.
pub fn watch(certificates: Arc<Certificates>, stopping: CancellationToken) {
    say(&certificates.loaded(), "TLS is spoken");
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looked_at = Arc::clone(&certificates);
            if let Ok(Some(looked)) = tokio::task::spawn_blocking(move || looked_at.look()).await {
                told(looked);
            }
        }
    });
}

/// Takes up the files as they are now, if they are good.
pub fn reload(certificates: &Certificates) -> bool {
    let loaded = certificates.reload();
    let good = loaded.is_ok();
    told(loaded);
    good
}

fn told(loaded: Result<Loaded, ServerTlsError>) {
    match loaded {
        Ok(loaded) => say(&loaded, "the certificates were loaded anew"),
        Err(error) => tracing::error!(
            error = &error as &dyn Error,
            "THE NEW CERTIFICATES ARE NO GOOD: the old ones stay in use until they are corrected"
        ),
    }
}

fn say(loaded: &Loaded, what: &str) {
    let Loaded { certificate, key_is_open } = loaded;
    let left = ends_in(certificate.not_after);
    let days = left.as_secs() / 86_400;
    tracing::info!(subject = %certificate.subject, serial = %certificate.serial, days, "{what}");
    if left < SOON {
        tracing::warn!(subject = %certificate.subject, days, "the certificate ends soon: renew it");
    }
    if *key_is_open {
        tracing::warn!("everybody on this machine may read the key of the certificate: chmod 600 it");
    }
}

fn ends_in(not_after: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(u64::try_from(not_after).unwrap_or(0)).saturating_sub(now)
}
