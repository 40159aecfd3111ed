//! What a worker has, and whether what it holds at once has room there: every way is tried, by none of the product's code that
//! chooses.

use std::collections::BTreeMap;

use orch_core::resource::{Need, Quantity, Variant};
use serde::{Deserialize, Serialize};

/// Ten-thousandths, in which amounts are counted.
const ONE: u64 = 10_000;

/// What a worker has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// How much of each resource.
    pub has: BTreeMap<String, Has>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// One resource of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Has {
    /// So many ten-thousandths, of which one part is like the other.
    Sum(u64),
    /// Single things, each with so much memory in MiB. A part of one is always of a single one.
    Items(Vec<u64>),
}

impl Machine {
    /// Whether all of these have room beside each other.
    pub fn has_room_for(&self, variants: &[&Variant]) -> bool {
        let needs = |name: &str| -> Vec<Need> {
            let named = variants.iter().flat_map(|variant| &variant.needs).filter(|(known, _)| known.as_str() == name);
            named.map(|(_, need)| *need).collect()
        };
        let mut names: Vec<&str> =
            variants.iter().flat_map(|variant| variant.needs.keys()).map(|name| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().all(|name| self.has.get(name).is_some_and(|has| has.holds(&needs(name))))
    }

    /// Whether it has each of these labels.
    pub fn is_labelled(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(label, value)| self.labels.get(label) == Some(value))
    }
}

impl Has {
    fn holds(&self, needs: &[Need]) -> bool {
        match self {
            Self::Sum(size) => {
                let amount = |need: &Need| match need.quantity {
                    Quantity::Some(amount) => amount.0,
                    Quantity::All => *size,
                };
                needs.iter().all(|need| need.min_memory_mib == 0) && needs.iter().map(amount).sum::<u64>() <= *size
            }
            Self::Items(memory) => {
                let mut pieces = Vec::new();
                for need in needs {
                    let (wholes, part) = match need.quantity {
                        Quantity::Some(amount) => (amount.0 / ONE, amount.0 % ONE),
                        Quantity::All => (memory.len() as u64, 0),
                    };
                    pieces.extend((0..wholes).map(|_| (ONE, need.min_memory_mib)));
                    pieces.extend((part > 0).then_some((part, need.min_memory_mib)));
                }
                // The largest first: what is tried in vain is found out early.
                pieces.sort_unstable_by(|a, b| b.cmp(a));
                let sizes = vec![ONE; memory.len()];
                has_places(&pieces, memory, sizes)
            }
        }
    }
}

/// Whether there is a way to put each piece into one item that is large enough: (how much of it, of how much memory).
fn has_places(pieces: &[(u64, u64)], memory: &[u64], free: Vec<u64>) -> bool {
    let Some(((amount, min_memory), rest)) = pieces.split_first() else { return true };
    (0..free.len()).any(|place| {
        if free[place] < *amount || memory[place] < *min_memory {
            return false;
        }
        let mut left = free.clone();
        left[place] -= amount;
        has_places(rest, memory, left)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(has: Has, needs: &[&str]) -> bool {
        let machine = Machine { has: [("gpus".to_owned(), has)].into(), labels: BTreeMap::new() };
        let variants: Vec<Variant> = needs.iter().map(|need| need.parse().unwrap()).collect();
        machine.has_room_for(&variants.iter().collect::<Vec<_>>())
    }

    #[test]
    fn parts_are_of_one_item_and_memory_is_of_each() {
        let two = || Has::Items(vec![16 << 10, 80 << 10]);
        assert!(room(two(), &["gpus=0.5", "gpus=0.5", "gpus=1@80GiB"]));
        assert!(!room(two(), &["gpus=0.75", "gpus=0.75", "gpus=0.5"]), "two in all, but in no way");
        assert!(!room(two(), &["gpus=1@24GiB", "gpus=0.5@24GiB"]));
        assert!(room(two(), &["gpus=all"]) && !room(two(), &["gpus=all", "gpus=0.1"]));
        assert!(room(Has::Sum(2 * ONE), &["gpus=1.5", "gpus=0.5"]) && !room(Has::Sum(2 * ONE), &["gpus=2.5"]));
        assert!(!room(Has::Sum(2 * ONE), &["gpus=1@1GiB"]) && !room(Has::Sum(2 * ONE), &["tpus=1"]));
    }
}
