//! What a worker has, and the parts of it that jobs get.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Amount, AmountError, Need, Quantity, ResourceName, Variant};

/// The most resources of one worker.
pub const MAX_POOLS: usize = 64;

/// The most items of one resource.
pub const MAX_ITEMS: usize = 4096;

/// One thing of its own: a GPU, a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is called where it is used, such as the GPU's index.
    pub label: String,
    /// Its memory in MiB; 0 if it has none, or it is not known.
    pub memory_mib: u64,
    /// What is left of it: at most one.
    pub free: Amount,
}

impl Item {
    /// An item that nobody uses.
    pub fn new(label: impl Into<String>, memory_mib: u64) -> Self {
        Self { label: label.into(), memory_mib, free: Amount::ONE }
    }
}

/// One resource of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pool {
    /// So much, of which one part is like the other.
    Sum {
        /// How much there is.
        size: Amount,
        /// How much of it is left.
        free: Amount,
    },
    /// Single things. A part of one is always of a single one.
    Items(Vec<Item>),
}

/// Why a text does not describe a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It has none of the forms.
    #[error("{0:?} is not a resource: write sum(8), range(0-3) or [a,b,c]")]
    Form(String),
    /// The sum's amount.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// Two items of one name.
    #[error("item {0:?} is named twice")]
    Twice(String),
    /// None, or too many.
    #[error("has {0} items: 1 to {MAX_ITEMS} are allowed")]
    Count(u64),
}

impl FromStr for Pool {
    type Err = PoolError;

    /// Reads `sum(8)`, `range(0-3)` and `[a,b,c]`.
    fn from_str(text: &str) -> Result<Self, PoolError> {
        let text = text.trim();
        let form = || PoolError::Form(text.chars().take(64).collect());
        let inside = |open: &str, close: char| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if let Some(size) = inside("sum(", ')') {
            let size: Amount = size.trim().parse()?;
            return if size == Amount(0) { Err(PoolError::Count(0)) } else { Ok(Self::sum(size)) };
        }
        let labels: Vec<String> = if let Some(range) = inside("range(", ')') {
            let (from, to) = range.split_once('-').ok_or_else(form)?;
            let (from, to) = (from.trim().parse::<u64>(), to.trim().parse::<u64>());
            let (Ok(from), Ok(to)) = (from, to) else { return Err(form()) };
            let count = to.checked_sub(from).ok_or_else(form)?.saturating_add(1);
            if count > MAX_ITEMS as u64 {
                return Err(PoolError::Count(count));
            }
            (from..=to).map(|n| n.to_string()).collect()
        } else {
            let list = inside("[", ']').ok_or_else(form)?;
            list.split(',').map(|label| label.trim().trim_matches('"').to_owned()).collect()
        };
        if labels.len() > MAX_ITEMS {
            return Err(PoolError::Count(labels.len() as u64));
        }
        for (i, label) in labels.iter().enumerate() {
            if label.is_empty() || label.chars().any(|c| c.is_control() || matches!(c, ',' | '[' | ']')) {
                return Err(form());
            }
            if labels[..i].contains(label) {
                return Err(PoolError::Twice(label.clone()));
            }
        }
        Ok(Self::Items(labels.into_iter().map(|label| Item::new(label, 0)).collect()))
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sum { size, .. } => write!(f, "sum({size})"),
            Self::Items(items) => {
                let labels: Vec<&str> = items.iter().map(|item| item.label.as_str()).collect();
                write!(f, "[{}]", labels.join(","))
            }
        }
    }
}

impl Pool {
    /// A sum that nobody uses.
    pub const fn sum(size: Amount) -> Self {
        Self::Sum { size, free: size }
    }

    /// How much there is.
    pub fn size(&self) -> Amount {
        match self {
            Self::Sum { size, .. } => *size,
            Self::Items(items) => Amount::whole(items.len() as u64),
        }
    }

    /// How much of it is left, parts of items counted together.
    pub fn free(&self) -> Amount {
        match self {
            Self::Sum { free, .. } => *free,
            Self::Items(items) => items.iter().fold(Amount(0), |sum, item| sum.plus(item.free)),
        }
    }

    /// What a job with this need would get; None if it does not fit now.
    fn choose(&self, need: &Need) -> Option<Taken> {
        let Need { quantity, min_memory_mib } = *need;
        match self {
            // Memory is asked of items. A sum has none.
            Self::Sum { .. } if min_memory_mib > 0 => None,
            Self::Sum { size, free } => match quantity {
                Quantity::Some(amount) => free.less(amount).map(|_| Taken::Sum(amount)),
                Quantity::All => (free == size && *size > Amount(0)).then_some(Taken::Sum(*size)),
            },
            Self::Items(items) => {
                let large = |item: &Item| item.memory_mib >= min_memory_mib;
                match quantity {
                    Quantity::Some(amount) => choose_items(items, amount, large),
                    Quantity::All => {
                        let all = !items.is_empty() && items.iter().all(|item| item.free == Amount::ONE && large(item));
                        all.then(|| Taken::Items((0..items.len()).map(|place| (place, Amount::ONE)).collect()))
                    }
                }
            }
        }
    }
}

/// Whole items and, for what is left, a part of one more. The smallest that do are taken, and a part where one is taken
/// already, so that what is large and whole stays for those who need it.
fn choose_items(items: &[Item], amount: Amount, large: impl Fn(&Item) -> bool) -> Option<Taken> {
    let wholes = usize::try_from(amount.wholes()).ok()?;
    let part = amount.fraction();
    let mut whole: Vec<usize> =
        (0..items.len()).filter(|place| items[*place].free == Amount::ONE && large(&items[*place])).collect();
    whole.sort_by_key(|place| (items[*place].memory_mib, *place));
    let begun = (0..items.len()).filter(|place| {
        let item = &items[*place];
        part > Amount(0) && item.free >= part && item.free < Amount::ONE && large(item)
    });
    let begun = begun.min_by_key(|place| (items[*place].free, items[*place].memory_mib, *place));
    let opened = usize::from(part > Amount(0) && begun.is_none());
    if whole.len() < wholes.checked_add(opened)? {
        return None;
    }
    let mut taken: Vec<(usize, Amount)> = whole[..wholes].iter().map(|place| (*place, Amount::ONE)).collect();
    if part > Amount(0) {
        taken.push((begun.unwrap_or_else(|| whole[wholes]), part));
    }
    Some(Taken::Items(taken))
}

/// What a job has of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So much of a sum.
    Sum(Amount),
    /// Items by their place in the pool, and how much of each. A part of an item is the last.
    Items(Vec<(usize, Amount)>),
}

/// What a job has, by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation(pub BTreeMap<ResourceName, Taken>);

/// Everything that a worker has, and how much of it is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools(pub BTreeMap<ResourceName, Pool>);

impl Pools {
    /// Whether the alternative fits into what is left.
    pub fn fits(&self, variant: &Variant) -> bool {
        self.choose(variant).is_some()
    }

    /// What the alternative would get; None if it does not fit now.
    fn choose(&self, variant: &Variant) -> Option<Allocation> {
        let one = |(name, need): (&ResourceName, &Need)| Some((name.clone(), self.0.get(name)?.choose(need)?));
        variant.needs.iter().map(one).collect::<Option<_>>().map(Allocation)
    }

    /// Takes what the alternative needs. Nothing is taken if it does not fit.
    pub fn take(&mut self, variant: &Variant) -> Option<Allocation> {
        let allocation = self.choose(variant)?;
        self.set_apart(&allocation);
        Some(allocation)
    }

    /// Takes exactly this, which must be free.
    pub fn set_apart(&mut self, allocation: &Allocation) {
        self.change(allocation, |free, amount| Amount(free.0.saturating_sub(amount.0)));
    }

    /// Gives back what was taken.
    pub fn give_back(&mut self, allocation: &Allocation) {
        self.change(allocation, Amount::plus);
    }

    fn change(&mut self, allocation: &Allocation, change: impl Fn(Amount, Amount) -> Amount) {
        for (name, taken) in &allocation.0 {
            match (self.0.get_mut(name), taken) {
                (Some(Pool::Sum { free, .. }), Taken::Sum(amount)) => *free = change(*free, *amount),
                (Some(Pool::Items(items)), Taken::Items(places)) => {
                    for (place, amount) in places {
                        if let Some(item) = items.get_mut(*place) {
                            item.free = change(item.free, *amount);
                        }
                    }
                }
                (Some(Pool::Sum { .. }), Taken::Items(_)) | (Some(Pool::Items(_)), Taken::Sum(_)) | (None, _) => {}
            }
        }
    }

    /// The same worker with nothing taken.
    #[must_use]
    pub fn whole(&self) -> Self {
        let mut whole = self.clone();
        for pool in whole.0.values_mut() {
            match pool {
                Pool::Sum { size, free } => *free = *size,
                Pool::Items(items) => items.iter_mut().for_each(|item| item.free = Amount::ONE),
            }
        }
        whole
    }

    /// The labels of the items that an allocation has of a resource, parts last; none for a sum.
    pub fn labels(&self, name: &ResourceName, allocation: &Allocation) -> Vec<String> {
        match (self.0.get(name), allocation.0.get(name)) {
            (Some(Pool::Items(items)), Some(Taken::Items(places))) => {
                places.iter().filter_map(|(place, _)| items.get(*place)).map(|item| item.label.clone()).collect()
            }
            (Some(_) | None, _) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(text: &str) -> Pools {
        let pool = |part: &str| {
            let (name, pool) = part.split_once('=').unwrap();
            (name.parse().unwrap(), pool.parse().unwrap())
        };
        Pools(text.split(' ').map(pool).collect())
    }

    fn variant(text: &str) -> Variant {
        text.parse().unwrap()
    }

    #[test]
    fn pools_read_as_they_are_written() {
        assert_eq!(pools("fpga=sum(2)").0[&"fpga".parse().unwrap()], Pool::sum(Amount::whole(2)));
        assert_eq!(pools("a=range(2-4)").0[&"a".parse().unwrap()].to_string(), "[2,3,4]");
        assert_eq!("[x,\"y z\"]".parse::<Pool>().unwrap().size(), Amount::whole(2));
        for bad in ["", "sum()", "sum(0)", "range(4-2)", "range(a-b)", "[]", "[a,a]", "3", "range(0-9999999)"] {
            assert!(bad.parse::<Pool>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn parts_are_of_one_item_and_wholes_stay_whole() {
        let mut pools = pools("gpus=range(0-1)");
        let name = "gpus".parse().unwrap();
        let mut take = |text: &str| pools.take(&variant(text)).map(|taken| (pools.labels(&name, &taken), taken));
        assert_eq!(take("gpus=0.75").unwrap().0, ["0"]);
        assert_eq!(take("gpus=0.25").unwrap().0, ["0"], "where a part is taken already");
        let half = take("gpus=0.5").unwrap();
        assert_eq!(half.0, ["1"]);
        assert!(take("gpus=0.75").is_none(), "no single one has so much");
        pools.give_back(&half.1);
        assert_eq!(pools.take(&variant("gpus=1")).map(|taken| pools.labels(&name, &taken)).unwrap(), ["1"]);
    }

    #[test]
    fn the_smallest_that_does_is_taken() {
        let items = [Item::new("0", 80 << 10), Item::new("1", 24 << 10), Item::new("2", 16 << 10)];
        let mut pools = Pools([("gpus".parse().unwrap(), Pool::Items(items.to_vec()))].into());
        let name = "gpus".parse().unwrap();
        assert!(!pools.fits(&variant("gpus=2@48GiB")));
        let one = pools.take(&variant("gpus=1@20GiB")).unwrap();
        assert_eq!(pools.labels(&name, &one), ["1"]);
        assert!(!pools.fits(&variant("gpus=all")), "one is taken");
        pools.give_back(&one);
        assert_eq!(pools, pools.whole());
        assert!(pools.fits(&variant("gpus=all")) && !pools.fits(&variant("gpus=all@24GiB")));
        assert!(!pools.fits(&variant("tpu=1")) && !pools.fits(&variant("gpus=3.1")));
    }
}
