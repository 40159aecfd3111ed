//! Setting apart what jobs need, against trying every way: what fits is found, and nothing is ever given twice.

#[path = "schedule/model.rs"]
#[allow(dead_code)]
mod model;

use orch_core::resource::{Allocation, Amount, Item, Pool, Pools, Taken, Variant};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Command {
    Take(Variant),
    GiveBack(u8),
}

fn amount() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (1..4u32).prop_map(|n| n.to_string()),
        3 => (1..25_000u64).prop_map(|n| Amount(n).to_string()),
        2 => prop::sample::select(vec!["0.5", "0.25", "0.75", "1.5", "0.0001"]).prop_map(str::to_owned),
        1 => Just("all".to_owned()),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let gpus = (amount(), 0..4u64).prop_map(|(amount, class)| match class {
        0 => format!("gpus={amount}"),
        class => format!("gpus={amount}@{}MiB", class * 16),
    });
    let take = (gpus, prop::option::of(amount()), any::<bool>()).prop_map(|(gpus, mem, both)| {
        let parts = [both.then_some(gpus.clone()), mem.map(|mem| format!("mem={mem}"))];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join(",");
        if text.is_empty() { gpus } else { text }.parse().unwrap()
    });
    prop_oneof![3 => take.prop_map(Command::Take), 2 => any::<u8>().prop_map(Command::GiveBack)]
}

/// Adds up who has what: no item more than once, no sum more than there is.
fn check(pools: &Pools, held: &[Allocation]) {
    for (name, pool) in &pools.0 {
        let taken: Vec<&Taken> = held.iter().filter_map(|allocation| allocation.0.get(name)).collect();
        match pool {
            Pool::Sum { size, free } => {
                let used: u64 = taken.iter().map(|t| if let Taken::Sum(amount) = t { amount.0 } else { 0 }).sum();
                assert_eq!(used + free.0, size.0);
            }
            Pool::Items(items) => {
                for (place, item) in items.iter().enumerate() {
                    let of = |taken: &&Taken| match taken {
                        Taken::Items(places) => places.iter().filter(|(p, _)| *p == place).map(|(_, a)| a.0).sum(),
                        Taken::Sum(_) => 0,
                    };
                    let used: u64 = taken.iter().map(of).sum();
                    assert_eq!(used + item.free.0, Amount::ONE.0, "item {place}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_fits_is_found_and_nothing_is_given_twice(
        memory in prop::collection::vec(prop::sample::select(vec![16u64, 24, 48, 80]), 1..5),
        commands in prop::collection::vec(command(), 1..60),
    ) {
        let items = memory.iter().enumerate().map(|(n, mib)| Item::new(n.to_string(), *mib)).collect();
        let mut pools = Pools([
            ("gpus".parse().unwrap(), Pool::Items(items)),
            ("mem".parse().unwrap(), Pool::sum(Amount::whole(5))),
        ].into());
        let whole = pools.clone();
        let mut held: Vec<Allocation> = Vec::new();
        for command in commands {
            match command {
                Command::Take(variant) => {
                    let expected = variant.needs.iter().all(|(name, need)| model::has(&pools.0[name], need));
                    prop_assert_eq!(pools.fits(&variant), expected, "{}", variant);
                    let before = pools.clone();
                    match pools.take(&variant) {
                        Some(allocation) => held.push(allocation),
                        None => prop_assert_eq!(&pools, &before),
                    }
                }
                Command::GiveBack(pick) if !held.is_empty() => {
                    let allocation = held.remove(usize::from(pick) % held.len());
                    pools.give_back(&allocation);
                }
                Command::GiveBack(_) => {}
            }
            check(&pools, &held);
        }
        for allocation in held.drain(..) {
            pools.give_back(&allocation);
        }
        prop_assert_eq!(pools, whole);
    }

    /// What the orchestrator set apart on what a worker had left fits on the worker, which may have more left by then.
    #[test]
    fn what_was_set_apart_on_a_look_can_be_set_apart_in_fact(
        before in prop::collection::vec(command(), 1..20),
        after in prop::collection::vec(command(), 1..20),
        freed in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let items = [16u64, 24, 24, 80].iter().enumerate().map(|(n, mib)| Item::new(n.to_string(), *mib)).collect();
        let mut pools = Pools([
            ("gpus".parse().unwrap(), Pool::Items(items)),
            ("mem".parse().unwrap(), Pool::sum(Amount::whole(5))),
        ].into());
        let mut held: Vec<Allocation> = Vec::new();
        let wanted = |commands: Vec<Command>| commands.into_iter().filter_map(|c| match c {
            Command::Take(variant) => Some(variant),
            Command::GiveBack(_) => None,
        });
        for variant in wanted(before) {
            held.extend(pools.take(&variant));
        }
        let mut seen = pools.clone();
        for pick in freed {
            if !held.is_empty() {
                let allocation = held.remove(usize::from(pick) % held.len());
                pools.give_back(&allocation);
            }
        }
        for variant in wanted(after) {
            if let Some(allocation) = seen.take(&variant) {
                pools.set_apart(&allocation);
                held.push(allocation);
                check(&pools, &held);
            }
        }
    }
}
