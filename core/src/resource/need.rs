//! What a job needs: alternatives, in order, each of several resources.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Amount, AmountError, GPUS, MEM, ResourceName, ResourceNameError, mebibytes};
use crate::time::Span;

/// The most alternatives of one job.
pub const MAX_ALTERNATIVES: usize = 8;

/// The most resources that one alternative names.
pub const MAX_NEEDS: usize = 16;

/// The word beside the resources that asks for time.
pub(super) const MIN_TIME: &str = "min_time";

/// How much of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// So much, more than nothing.
    Some(Amount),
    /// All that the worker has, and at least something.
    All,
}

/// How much of one resource. Written `2`, `0.5`, `all`, `1@24GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    /// How much.
    pub quantity: Quantity,
    /// How much memory each item must have, in MiB; 0: any.
    pub min_memory_mib: u64,
}

/// One alternative: all of this together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant {
    /// By resource.
    pub needs: BTreeMap<ResourceName, Need>,
    /// How long the worker must still live.
    pub min_time: Option<Span>,
}

/// The alternatives, the first that fits is taken. None at all: the job needs a slot and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Needs(pub Vec<Variant>);

/// Why a text does not say what a job needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeedsError {
    /// There is no `=`.
    #[error("{0:?} has no =: write it like gpus=1, mem=8GiB or min_time=1h")]
    NoAmount(String),
    /// The resource.
    #[error(transparent)]
    Name(#[from] ResourceNameError),
    /// The amount.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// Nothing of a resource.
    #[error("an amount of 0 needs nothing: leave it out")]
    Zero,
    /// What stands behind the @.
    #[error("{0:?} is not the memory of an item: write it like 24GiB")]
    Memory(String),
    /// The time.
    #[error("{0}")]
    Time(String),
    /// The same resource twice.
    #[error("{0} is named twice")]
    Twice(String),
    /// Nothing is named, or too much.
    #[error("names {0} resources: 1 to {MAX_NEEDS} are allowed")]
    Count(usize),
    /// Too many alternatives.
    #[error("has {0} alternatives: at most {MAX_ALTERNATIVES} are allowed")]
    Alternatives(usize),
}

impl FromStr for Need {
    type Err = NeedsError;

    fn from_str(text: &str) -> Result<Self, NeedsError> {
        let (amount, memory) = match text.split_once('@') {
            Some((amount, memory)) => (amount, Some(memory)),
            None => (text, None),
        };
        let quantity = match amount {
            "all" => Quantity::All,
            amount => match amount.parse::<Amount>()? {
                Amount(0) => return Err(NeedsError::Zero),
                amount => Quantity::Some(amount),
            },
        };
        let size = |text: &str| mebibytes(text).ok_or_else(|| NeedsError::Memory(text.chars().take(64).collect()));
        Ok(Self { quantity, min_memory_mib: memory.map(size).transpose()?.unwrap_or(0) })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quantity, min_memory_mib } = self;
        match quantity {
            Quantity::Some(amount) => amount.fmt(f)?,
            Quantity::All => f.write_str("all")?,
        }
        if *min_memory_mib > 0 { write!(f, "@{}", size(*min_memory_mib)) } else { Ok(()) }
    }
}

/// A size in MiB as people write it.
pub(super) fn size(mib: u64) -> String {
    if mib.is_multiple_of(1024) { format!("{}GiB", mib / 1024) } else { format!("{mib}MiB") }
}

impl Variant {
    fn add(&mut self, name: &str, amount: &str) -> Result<(), NeedsError> {
        if name == MIN_TIME {
            let span: Span = amount.parse().map_err(NeedsError::Time)?;
            return match self.min_time.replace(span) {
                None => Ok(()),
                Some(_) => Err(NeedsError::Twice(MIN_TIME.to_owned())),
            };
        }
        let name = ResourceName::new(name)?;
        match self.needs.insert(name.clone(), amount.parse()?) {
            None => Ok(()),
            Some(_) => Err(NeedsError::Twice(name.to_string())),
        }
    }

    /// # Errors
    /// [`NeedsError::Count`] if it asks for nothing at all, or for too much.
    fn checked(self) -> Result<Self, NeedsError> {
        let count = self.needs.len();
        if count > MAX_NEEDS || (count == 0 && self.min_time.is_none()) {
            return Err(NeedsError::Count(count));
        }
        Ok(self)
    }

    /// In words, such as `1 gpu with 24 GiB and 4 cpus`.
    pub fn words(&self) -> String {
        let need = |(name, need): (&ResourceName, &Need)| {
            let Need { quantity, min_memory_mib } = need;
            let one = *quantity == Quantity::Some(Amount::ONE);
            let what = if one { name.as_str().strip_suffix('s').unwrap_or(name.as_str()) } else { name.as_str() };
            let much = match quantity {
                Quantity::Some(amount) if name.as_str() == MEM && amount.fraction() == Amount(0) => {
                    format!("{} of {MEM}", spaced(amount.wholes()))
                }
                Quantity::Some(amount) => format!("{amount} {what}"),
                Quantity::All => format!("all {what}"),
            };
            if *min_memory_mib > 0 { format!("{much} with {}", spaced(*min_memory_mib)) } else { much }
        };
        // GPUs first: they are what is scarce.
        let (gpus, rest): (Vec<_>, Vec<_>) = self.needs.iter().partition(|(name, _)| name.as_str() == GPUS);
        let mut words: Vec<String> = gpus.into_iter().chain(rest).map(need).collect();
        words.extend(self.min_time.map(|span| format!("a worker that lives for {span} more")));
        words.join(" and ")
    }
}

/// A size in MiB, in words.
pub(super) fn spaced(mib: u64) -> String {
    if mib.is_multiple_of(1024) { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

impl FromStr for Variant {
    type Err = NeedsError;

    /// Reads `gpus=1@24GiB,cpus=4,min_time=1h`.
    fn from_str(text: &str) -> Result<Self, NeedsError> {
        let mut variant = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let no_amount = || NeedsError::NoAmount(part.chars().take(64).collect());
            let (name, amount) = part.split_once('=').ok_or_else(no_amount)?;
            variant.add(name.trim(), amount.trim())?;
        }
        variant.checked()
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.needs.iter().map(|(name, need)| format!("{name}={need}")).collect();
        parts.extend(self.min_time.map(|span| format!("{MIN_TIME}={span}")));
        f.pad(&parts.join(","))
    }
}

impl Needs {
    /// Whether nothing is needed.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// [`NeedsError::Alternatives`] if there are too many.
    fn checked(self) -> Result<Self, NeedsError> {
        if self.0.len() > MAX_ALTERNATIVES { Err(NeedsError::Alternatives(self.0.len())) } else { Ok(self) }
    }

    /// The needs, if there are not too many of anything.
    ///
    /// # Errors
    /// [`NeedsError::Count`], [`NeedsError::Alternatives`].
    pub fn new(variants: Vec<Variant>) -> Result<Self, NeedsError> {
        Self(variants.into_iter().map(Variant::checked).collect::<Result<_, _>>()?).checked()
    }

    /// In words.
    pub fn words(&self) -> String {
        self.0.iter().map(Variant::words).collect::<Vec<_>>().join(", or ")
    }
}

impl Serialize for Variant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { needs, min_time } = self;
        let mut map = serializer.serialize_map(None)?;
        for (name, need) in needs {
            map.serialize_entry(name, &need.to_string())?;
        }
        if let Some(span) = min_time {
            map.serialize_entry(MIN_TIME, span)?;
        }
        map.end()
    }
}

impl Serialize for Needs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

/// An amount as written: text, or a number.
pub(crate) struct Written(pub(crate) String);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WrittenVisitor;
        impl Visitor<'_> for WrittenVisitor {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount, such as 2, 0.5, all, 8GiB or 1@24GiB")
            }

            fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            // The shortest text that means this number, which is the one that was written.
            fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
                Ok(Written(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Written, E> {
                Ok(Written(value.to_owned()))
            }
        }
        deserializer.deserialize_any(WrittenVisitor)
    }
}

fn read_variant<'de, A: MapAccess<'de>>(mut map: A) -> Result<Variant, A::Error> {
    let mut variant = Variant::default();
    while let Some((name, Written(amount))) = map.next_entry::<String, Written>()? {
        variant.add(&name, &amount).map_err(|error| A::Error::custom(format!("{name}: {error}")))?;
    }
    variant.checked().map_err(A::Error::custom)
}

impl<'de> Deserialize<'de> for Variant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VariantVisitor;
        impl<'de> Visitor<'de> for VariantVisitor {
            type Value = Variant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from resources to amounts, such as {gpus: 1@24GiB, cpus: 4}")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Variant, A::Error> {
                read_variant(map)
            }
        }
        deserializer.deserialize_map(VariantVisitor)
    }
}

impl<'de> Deserialize<'de> for Needs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NeedsVisitor;
        impl<'de> Visitor<'de> for NeedsVisitor {
            type Value = Needs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map such as {gpus: 1@24GiB, cpus: 4}, or a list of them: alternatives in order")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Needs, A::Error> {
                Ok(Needs(vec![read_variant(map)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Needs, A::Error> {
                let mut variants = Vec::new();
                while let Some(variant) = seq.next_element::<Variant>()? {
                    variants.push(variant);
                }
                Needs(variants).checked().map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(NeedsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_read_as_they_are_written() {
        for text in [
            r#"{"cpus":"4","gpus":"0.5"}"#,
            r#"[{"gpus":"1@24GiB"},{"cpus":"8","min_time":"1h"}]"#,
            r#"{"fpga":"all","mem":"8192"}"#,
        ] {
            let needs: Needs = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&needs).unwrap(), text);
        }
        let numbers: Needs = serde_json::from_str(r#"{"gpu":0.5,"memory":"8GiB","cpu":2}"#).unwrap();
        assert_eq!(numbers.0[0].to_string(), "cpus=2,gpus=0.5,mem=8192");
        assert_eq!("gpus=1@24GiB, cpus=4".parse::<Variant>().unwrap().words(), "1 gpu with 24 GiB and 4 cpus");
        assert_eq!("mem=8GiB,min_time=1h".parse::<Variant>().unwrap().words(), {
            "8 GiB of mem and a worker that lives for 1h more"
        });
    }

    #[test]
    fn what_cannot_be_needed_is_refused_with_its_reason() {
        let fault = |text: &str| serde_json::from_str::<Needs>(text).unwrap_err().to_string();
        assert!(
            fault(r#"{"gpus":0.00001}"#).contains("at most four decimal places"),
            "{}",
            fault(r#"{"gpus":0.00001}"#)
        );
        assert!(fault(r#"{"gpus":-1}"#).contains("not an amount"));
        assert!(fault(r#"{"gpus":0}"#).contains("leave it out"));
        assert!(fault(r#"{"g-pu":1}"#).contains("not the name of a resource"));
        assert!(fault(r#"{"gpus":"1@big"}"#).contains("24GiB"));
        assert!(fault(r#"{"gpu":1,"gpus":1}"#).contains("named twice"));
        assert!(fault("{}").contains("names 0 resources"));
        assert!("gpus".parse::<Variant>().unwrap_err().to_string().contains("has no ="));
    }
}
