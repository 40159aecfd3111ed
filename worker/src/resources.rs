//! What this worker has, and which job has what of it. Nothing is ever given twice: what a job gets is set apart until its
//! [`SetApart`] is dropped, on whatever way the job ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use orch_core::resource::{Allocation, Amount, CPUS, GPUS, Item, MEM, Pool, Pools, Quantity, ResourceName, Variant};
use tokio::sync::watch;

use crate::hardware::Hardware;
use crate::leases::lock;

/// The variable with the processors that a job has, by number.
pub(crate) const CPUS_VAR: &str = "ORCH_CPUS";

/// What a worker has, and what is left of it.
#[derive(Debug)]
pub(crate) struct Resources {
    left: Mutex<Pools>,
    freed: watch::Sender<u64>,
}

/// What a machine has: `named` as it says, and what of processors, memory and GPUs it does not name as found.
pub fn offered(hardware: &Hardware, named: &Pools) -> Pools {
    let items = |labels: &[u32]| Pool::Items(labels.iter().map(|label| Item::new(label.to_string(), 0)).collect());
    let mut found = BTreeMap::new();
    let mut add = |name: &str, pool: Option<Pool>| {
        if let (Ok(name), Some(pool)) = (ResourceName::new(name), pool) {
            found.insert(name, pool);
        }
    };
    add(CPUS, (!hardware.cpu_ids.is_empty()).then(|| items(&hardware.cpu_ids)));
    let mib = hardware.memory_bytes >> 20;
    add(MEM, (mib > 0).then(|| Pool::sum(Amount::whole(mib))));
    let gpus = hardware.gpus.iter().map(|gpu| Item::new(gpu.index.to_string(), gpu.memory_bytes >> 20));
    let gpus: Vec<Item> = gpus.collect();
    add(GPUS, (!gpus.is_empty()).then_some(Pool::Items(gpus)));
    found.extend(named.0.clone());
    Pools(found)
}

impl Resources {
    pub(crate) fn new(pools: Pools) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(pools), freed: watch::Sender::new(0) })
    }

    /// What is left.
    pub(crate) fn left(&self) -> Pools {
        lock(&self.left).clone()
    }

    /// Announces whenever a job gives something back.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }

    /// Sets apart what a job was granted on what was left when the worker asked: `seen`. More may be left by now, but
    /// nothing less, for only this takes; so what fits there fits. None: it does not, which no grant should lead to.
    pub(crate) fn set_apart(self: &Arc<Self>, seen: &mut Pools, variant: &Variant) -> Option<SetApart> {
        let allocation = seen.take(variant)?;
        let vars = variables(seen, variant, &allocation);
        lock(&self.left).set_apart(&allocation);
        Some(SetApart { resources: Arc::clone(self), allocation, vars })
    }
}

/// What a job has. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct SetApart {
    resources: Arc<Resources>,
    allocation: Allocation,
    vars: Vars,
}

/// Variables of a job's processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vars {
    /// What holds unless the runner's configuration says otherwise.
    pub unless_set: Vec<(String, String)>,
    /// What holds in any case.
    pub set: Vec<(String, String)>,
}

impl SetApart {
    /// What its processes are told.
    pub(crate) fn vars(&self) -> &Vars {
        &self.vars
    }
}

impl Drop for SetApart {
    fn drop(&mut self) {
        if self.allocation != Allocation::default() {
            lock(&self.resources.left).give_back(&self.allocation);
            self.resources.freed.send_modify(|times| *times = times.wrapping_add(1));
        }
    }
}

/// What the processes of a job are told of what it has.
fn variables(pools: &Pools, variant: &Variant, allocation: &Allocation) -> Vars {
    let mut vars = Vars::default();
    let mut gpus = None;
    for (name, need) in &variant.needs {
        let suffix = name.as_str().replace('/', "_");
        let amount = match need.quantity {
            Quantity::Some(amount) => amount.to_string(),
            Quantity::All => "all".to_owned(),
        };
        vars.set.push((format!("ORCH_RESOURCE_REQUEST_{suffix}"), amount));
        let labels = pools.labels(name, allocation);
        if labels.is_empty() {
            continue;
        }
        let labels = labels.join(",");
        match name.as_str() {
            CPUS => vars.set.push((CPUS_VAR.to_owned(), labels.clone())),
            GPUS => gpus = Some(labels.clone()),
            _ => {}
        }
        vars.set.push((format!("ORCH_RESOURCE_VALUES_{suffix}"), labels));
    }
    let visible = |gpus: String| {
        [("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned()), ("CUDA_VISIBLE_DEVICES", gpus)]
            .map(|(name, value)| (name.to_owned(), value))
    };
    match gpus {
        Some(gpus) => vars.set.extend(visible(gpus)),
        // A job that asks for none sees none, or it would use what another has.
        None => vars.unless_set.extend(visible(String::new())),
    }
    vars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Gpu;

    fn machine() -> Hardware {
        let gpu = |index, gib: u64| Gpu {
            index,
            uuid: format!("GPU-{index}"),
            model: "Card".into(),
            memory_bytes: gib << 30,
        };
        let gpus = vec![gpu(0, 16), gpu(1, 24), gpu(3, 80)];
        Hardware { cpu_ids: vec![4, 5, 6, 7], memory_bytes: 8 << 30, gpus, ..Hardware::default() }
    }

    fn text(pools: &Pools) -> String {
        pools.0.iter().map(|(name, pool)| format!("{name}={pool}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_named_goes_before_what_is_found() {
        let named = Pools(
            [("cpus", "range(0-1)"), ("fpga", "sum(2)")].map(|(n, p)| (n.parse().unwrap(), p.parse().unwrap())).into(),
        );
        assert_eq!(text(&offered(&machine(), &Pools::default())), "cpus=[4,5,6,7] gpus=[0,1,3] mem=sum(8192)");
        assert_eq!(text(&offered(&machine(), &named)), "cpus=[0,1] fpga=sum(2) gpus=[0,1,3] mem=sum(8192)");
        assert_eq!(text(&offered(&Hardware::default(), &Pools::default())), "");
    }

    #[test]
    fn a_job_is_told_what_it_has_and_gives_it_back() {
        let resources = Resources::new(offered(&machine(), &Pools::default()));
        let whole = resources.left();
        let mut seen = resources.left();
        let mut set_apart = |needs: &str| resources.set_apart(&mut seen, &needs.parse().unwrap());
        let first = set_apart("gpus=1@20GiB,cpus=2,mem=1GiB").unwrap();
        let vars: Vec<String> = first.vars().set.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            vars,
            [
                "ORCH_RESOURCE_REQUEST_cpus=2",
                "ORCH_CPUS=4,5",
                "ORCH_RESOURCE_VALUES_cpus=4,5",
                "ORCH_RESOURCE_REQUEST_gpus=1",
                "ORCH_RESOURCE_VALUES_gpus=1",
                "ORCH_RESOURCE_REQUEST_mem=1024",
                "CUDA_DEVICE_ORDER=PCI_BUS_ID",
                "CUDA_VISIBLE_DEVICES=1",
            ]
        );
        let second = set_apart("gpus=1.5").unwrap();
        assert!(second.vars().set.contains(&("CUDA_VISIBLE_DEVICES".into(), "0,3".into())));
        assert!(set_apart("gpus=1").is_none(), "half of one is left");
        drop(first);
        assert_ne!(resources.left(), whole);
        drop(second);
        assert_eq!(resources.left(), whole);
    }

    #[test]
    fn a_job_without_gpus_sees_none() {
        let resources = Resources::new(offered(&machine(), &Pools::default()));
        let none = resources.set_apart(&mut resources.left(), &Variant::default()).unwrap();
        assert_eq!(none.vars().set, []);
        assert!(none.vars().unless_set.contains(&("CUDA_VISIBLE_DEVICES".into(), String::new())));
    }

    /// However a job ends, also by a panic in it, what it had is free again.
    #[test]
    fn a_panic_gives_back_too() {
        let resources = Resources::new(offered(&machine(), &Pools::default()));
        let whole = resources.left();
        let held = resources.set_apart(&mut resources.left(), &"gpus=all".parse().unwrap()).unwrap();
        let thread = std::thread::spawn(move || {
            let _held = held;
            panic!("the job breaks");
        });
        assert!(thread.join().is_err());
        assert_eq!(resources.left(), whole);
    }
}
