//! Resources: what jobs need and what workers have.

use std::collections::BTreeMap;

use orch_core::resource::{
    Amount, Item, MAX_ITEMS, MAX_POOLS, Need, Needs, Pool, Pools, Preference, Quantity, ResourceName, Variant,
};
use orch_core::time::Span;

use super::Faults;
use super::specs::MAX_SPAN;
use crate::v1;

/// The most of a sum: as much as a number on the wire can say, with room to add up.
const MAX_AMOUNT: u64 = u64::MAX / 4096;

pub(super) fn needs(wire: Vec<v1::ResourceVariant>, faults: &mut Faults) -> Needs {
    let each = wire.into_iter().enumerate();
    let variants = each.map(|(i, wire)| variant(wire, &format!("resources[{i}]"), faults)).collect();
    faults.take("resources", Needs::new(variants)).unwrap_or_default()
}

fn variant(wire: v1::ResourceVariant, field: &str, faults: &mut Faults) -> Variant {
    let v1::ResourceVariant { needs: wire, min_time_ms } = wire;
    let mut needs = BTreeMap::new();
    for v1::ResourceNeed { name, amount, all, min_memory_mib } in wire {
        let field = format!("{field}.needs");
        let Some(name) = faults.take(&field, ResourceName::new(&name)) else { continue };
        let quantity = match (amount, all) {
            (0, false) => Err("an amount of 0 needs nothing".to_owned()),
            (_, true) => Ok(Quantity::All),
            (amount, false) => Ok(Quantity::Some(Amount(amount))),
        };
        let Some(quantity) = faults.take(&field, quantity) else { continue };
        if needs.insert(name.clone(), Need { quantity, min_memory_mib }).is_some() {
            faults.push(&field, format_args!("{name} is named twice"));
        }
    }
    let min_time = min_time_ms.map(Span);
    if min_time.is_some_and(|span| span > MAX_SPAN) {
        faults.push(&format!("{field}.min_time_ms"), "more than 100 years");
    }
    Variant { needs, min_time }
}

/// What is to be set apart for a lease; nothing from an orchestrator that says nothing.
///
/// # Errors
/// [`Faults`] if it could not have come from a grant.
pub fn granted_variant(wire: v1::ResourceVariant) -> Result<Variant, Faults> {
    let mut faults = Faults::new();
    let variant = variant(wire, "resources", &mut faults);
    faults.or(variant)
}

impl From<&Variant> for v1::ResourceVariant {
    fn from(variant: &Variant) -> Self {
        let Variant { needs, min_time } = variant;
        let need = |(name, need): (&ResourceName, &Need)| {
            let Need { quantity, min_memory_mib } = *need;
            let (amount, all) = match quantity {
                Quantity::Some(Amount(amount)) => (amount, false),
                Quantity::All => (0, true),
            };
            v1::ResourceNeed { name: name.to_string(), amount, all, min_memory_mib }
        };
        Self { needs: needs.iter().map(need).collect(), min_time_ms: min_time.map(|span| span.0) }
    }
}

pub(super) fn preferences(wire: Vec<v1::Preference>) -> Vec<Preference> {
    let one = |v1::Preference { label, value, weight }| Preference { label, value, weight };
    wire.into_iter().map(one).collect()
}

pub(super) fn preferences_to_wire(prefer: &[Preference]) -> Vec<v1::Preference> {
    let one = |preference: &Preference| {
        let Preference { label, value, weight } = preference.clone();
        v1::Preference { label, value, weight }
    };
    prefer.iter().map(one).collect()
}

/// What a worker says that it has, and what is left of it.
pub(super) fn pools(wire: Vec<v1::ResourcePool>, faults: &mut Faults) -> Pools {
    if wire.len() > MAX_POOLS {
        faults.push("resources", format_args!("{} resources, at most {MAX_POOLS} are allowed", wire.len()));
        return Pools::default();
    }
    let mut pools = Pools::default();
    for v1::ResourcePool { name, size, free, items } in wire {
        let Some(name) = faults.take("resources", ResourceName::new(&name)) else { continue };
        let field = format!("resources.{name}");
        if items.len() > MAX_ITEMS {
            faults.push(&field, format_args!("{} items, at most {MAX_ITEMS} are allowed", items.len()));
            continue;
        }
        let item = |v1::ResourceItem { label, memory_mib, free }| Item {
            label: super::worker_requests::clip(&label),
            memory_mib: memory_mib.min(MAX_AMOUNT),
            free: Amount(free).min(Amount::ONE),
        };
        let pool = if items.is_empty() {
            let size = Amount(size.min(MAX_AMOUNT));
            Pool::Sum { size, free: Amount(free).min(size) }
        } else {
            Pool::Items(items.into_iter().map(item).collect())
        };
        pools.0.insert(name, pool);
    }
    pools
}

/// What a worker has, as it stands on the wire.
pub fn pools_to_wire(pools: &Pools) -> Vec<v1::ResourcePool> {
    let item = |item: &Item| {
        let Item { label, memory_mib, free: Amount(free) } = item.clone();
        v1::ResourceItem { label, memory_mib, free }
    };
    let pool = |(name, pool): (&ResourceName, &Pool)| match pool {
        Pool::Sum { size: Amount(size), free: Amount(free) } => {
            v1::ResourcePool { name: name.to_string(), size: *size, free: *free, items: Vec::new() }
        }
        Pool::Items(items) => {
            v1::ResourcePool { name: name.to_string(), size: 0, free: 0, items: items.iter().map(item).collect() }
        }
    };
    pools.0.iter().map(pool).collect()
}
