//! What the workers of a run have, and what its jobs need of them.

use std::collections::BTreeMap;

use orch_core::id::WorkerId;
use orch_core::job::JobSpec;
use orch_core::resource::{Amount, Item, Needs, Pool, Pools, Preference, Requirements, Variant};
use orch_core::time::Span;

use super::dice::Dice;
use crate::checker::{Has, Machine};

/// What a job may need, in alternatives.
const NEEDS: [&[&str]; 14] = [
    &["cpus=1"],
    &["cpus=2,mem=1GiB"],
    &["cpus=all"],
    &["mem=1GiB"],
    &["mem=3GiB,cpus=1"],
    &["gpus=1"],
    &["gpus=0.5"],
    &["gpus=0.75,mem=1GiB"],
    &["gpus=1.5"],
    &["gpus=1@24GiB"],
    &["gpus=0.25@24GiB,cpus=1"],
    &["licenses=1"],
    &["gpus=1@80GiB", "gpus=0.5", "cpus=2"],
    &["licenses=2", "mem=2GiB"],
];

/// The label by which workers differ.
const LABEL: &str = "zone";

/// Draws what a worker has.
pub(crate) fn machine(dice: &mut Dice) -> Machine {
    let mut has = BTreeMap::new();
    let none = |n: usize| vec![0; n];
    has.insert("cpus".to_owned(), Has::Items(none(1 + dice.below(4))));
    has.insert("mem".to_owned(), Has::Sum(Amount::whole(dice.between(1, 8) << 10).0));
    let gpus: Vec<u64> = (0..dice.below(4)).map(|_| [16, 24, 80][dice.below(3)] << 10).collect();
    if !gpus.is_empty() {
        has.insert("gpus".to_owned(), Has::Items(gpus));
    }
    if dice.chance(400) {
        has.insert("licenses".to_owned(), Has::Sum(Amount::whole(dice.between(1, 3)).0));
    }
    let zone = ["a", "b"][dice.below(2)].to_owned();
    Machine { has, labels: [(LABEL.to_owned(), zone)].into() }
}

/// The same in the words of the product, with nothing taken.
///
/// # Errors
/// A name that the product does not take.
pub(crate) fn pools(machine: &Machine) -> Result<Pools, String> {
    let pool = |(name, has): (&String, &Has)| {
        let name = name.parse().map_err(|error| format!("{error}"))?;
        let item = |(place, memory): (usize, &u64)| Item::new(place.to_string(), *memory);
        let pool = match has {
            Has::Sum(size) => Pool::sum(Amount(*size)),
            Has::Items(memory) => Pool::Items(memory.iter().enumerate().map(item).collect()),
        };
        Ok((name, pool))
    };
    machine.has.iter().map(pool).collect::<Result<_, String>>().map(Pools)
}

/// Gives a job needs that as many machines as it takes can meet, if such are drawn.
pub(crate) fn need(job: &mut JobSpec, dice: &mut Dice, machines: &[Machine]) -> Result<(), String> {
    for _ in 0..4 {
        let texts = NEEDS[dice.below(NEEDS.len())];
        let variants = texts.iter().map(|text| text.parse::<Variant>().map_err(|error| error.to_string()));
        let needs = Needs(variants.collect::<Result<_, _>>()?);
        let labels: BTreeMap<String, String> = match dice.below(6) {
            0 => [(LABEL.to_owned(), "a".to_owned())].into(),
            _ => BTreeMap::new(),
        };
        let can = machines.iter().filter(|machine| could_run(machine, None, &needs, &labels)).count();
        if can >= job.gang.map_or(1, |gang| gang.workers) as usize {
            (job.resources, job.labels) = (needs, labels);
            break;
        }
    }
    if dice.chance(150) {
        job.prefer = vec![Preference { label: LABEL.to_owned(), value: "b".to_owned(), weight: 3 }];
    }
    Ok(())
}

/// Whether a worker that runs nothing else has what this asks for, and lives for long enough, if it has `left` so much.
fn could_run(machine: &Machine, left: Option<Span>, needs: &Needs, labels: &BTreeMap<String, String>) -> bool {
    let in_time = |variant: &Variant| variant.min_time.is_none_or(|wanted| left.is_none_or(|left| left >= wanted));
    let fits = needs.is_empty() || needs.0.iter().any(|variant| in_time(variant) && machine.has_room_for(&[variant]));
    fits && machine.is_labelled(labels)
}

/// Whether there are as many workers as it takes that could ever run what requires this. Each has a name, what it has, and what is
/// left of its life, if that has an end.
pub(crate) fn anybody_could<'a>(
    required: &Requirements,
    workers: impl Iterator<Item = (&'a WorkerId, &'a Machine, Option<Span>)>,
) -> bool {
    let allowed = workers.filter(|(name, ..)| !required.avoid.contains(*name));
    let can = allowed.filter(|(_, machine, left)| could_run(machine, *left, &required.needs, &required.labels));
    can.count() >= required.gang.as_ref().map_or(1, |gang| gang.workers) as usize
}
