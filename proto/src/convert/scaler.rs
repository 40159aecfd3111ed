//! What a trigger of KEDA says about a pool of workers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use orch_core::access::Queues;
use orch_core::demand::WorkerPool;
use orch_core::id::{Kind, QueueName};
use orch_core::resource::{ResourceName, Variant};

use super::Faults;

/// What KEDA itself reads of a trigger's metadata and hands on.
const KEDAS: [&str; 9] = [
    "scalerAddress",
    "enableTLS",
    "unsafeSsl",
    "tlsCertFile",
    "caCert",
    "tlsClientCert",
    "tlsClientKey",
    "metricType",
    "useCachedMetrics",
];

/// The pool that a trigger's metadata describes: `queues`, `kinds`, `labels`, `resources`, `needs` and `slots`, each of
/// which may be left out. Any other word that is not KEDA's is a fault: it would be a filter that filters nothing.
///
/// # Errors
/// [`Faults`], all of them.
pub fn worker_pool(metadata: &HashMap<String, String>) -> Result<WorkerPool, Faults> {
    let mut faults = Faults::new();
    let mut pool = WorkerPool::any();
    let sorted: BTreeMap<&String, &String> = metadata.iter().collect();
    for (key, text) in sorted {
        match key.as_str() {
            "queues" => {
                let queues: BTreeSet<QueueName> = listed(text, &mut faults, key, QueueName::new);
                pool.queues = Queues::Only(Arc::new(queues));
            }
            "kinds" => pool.kinds = Some(listed(text, &mut faults, key, Kind::new)),
            "labels" => {
                let pair = |part: &str| {
                    let (label, value) = part.split_once('=').ok_or_else(|| format!("{part:?} has no ="))?;
                    Ok::<_, String>((label.to_owned(), value.to_owned()))
                };
                pool.labels = Some(listed(text, &mut faults, key, pair));
            }
            "resources" => pool.has = faults.take(key, text.parse::<Variant>()),
            "needs" => pool.needs = faults.take(key, ResourceName::new(text)),
            "slots" => {
                let slots = text.parse().ok().filter(|slots| *slots > 0);
                pool.slots = faults.take(key, slots.ok_or("must be a whole number from 1")).unwrap_or(1);
            }
            known if KEDAS.contains(&known) => {}
            _ => {
                let known = "is no setting of this scaler: queues, kinds, labels, resources, needs and slots are";
                faults.take::<(), _>(key, Err(known));
            }
        }
    }
    if faults.is_empty() { Ok(pool) } else { Err(faults) }
}

/// The parts of a text with commas between them.
fn listed<T, E: std::fmt::Display, C: FromIterator<T>>(
    text: &str,
    faults: &mut Faults,
    key: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> C {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.filter_map(|part| faults.take(key, read(part))).collect()
}
