//! Amounts in whole ten-thousandths.

use std::fmt;
use std::str::FromStr;

/// So much of a resource, in ten-thousandths: `Amount(5_000)` is half a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u64);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an amount: write a number with at most four decimal places, such as 2 or 0.25, or a size such as 8GiB"
)]
pub struct AmountError(pub(super) String);

impl Amount {
    /// One whole.
    pub const ONE: Self = Self(10_000);

    /// So many wholes; as many as there can be if that is too many.
    pub const fn whole(n: u64) -> Self {
        Self(n.saturating_mul(10_000))
    }

    /// The wholes in it.
    pub const fn wholes(self) -> u64 {
        self.0 / 10_000
    }

    /// What is in it beyond wholes.
    pub const fn fraction(self) -> Self {
        Self(self.0 % 10_000)
    }

    /// This less `other`; None if it is more than there is.
    pub const fn less(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(left) => Some(Self(left)),
            None => None,
        }
    }

    /// This and `other`; as much as there can be if that is too much.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let fault = || AmountError(text.chars().take(64).collect());
        if let Some(size) = mebibytes(text) {
            return size.checked_mul(10_000).map(Self).ok_or_else(fault);
        }
        let (wholes, places) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        if !digits(wholes) || !digits(places) || places.len() > 4 {
            return Err(fault());
        }
        let part = format!("{places:0<4}");
        let whole: u64 = wholes.parse().map_err(|_| fault())?;
        let part: u64 = part.parse().map_err(|_| fault())?;
        whole.checked_mul(10_000).and_then(|n| n.checked_add(part)).map(Self).ok_or_else(fault)
    }
}

/// A size such as `512MiB`, `24GiB` or `1TiB`, in MiB; None for anything else.
pub fn mebibytes(text: &str) -> Option<u64> {
    let units = [("MiB", 1_u64), ("GiB", 1 << 10), ("TiB", 1 << 20)];
    let (number, factor) = units.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|n| (n, factor)))?;
    let number = number.trim_end();
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fraction().0 {
            0 => f.pad(&self.wholes().to_string()),
            part => {
                let places = format!("{part:04}");
                f.pad(&format!("{}.{}", self.wholes(), places.trim_end_matches('0')))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_to_four_places() {
        for (text, value) in [("2", 20_000), ("0.5", 5_000), ("0.0001", 1), ("24.1250", 241_250)] {
            assert_eq!(text.parse::<Amount>().unwrap(), Amount(value), "{text}");
        }
        assert_eq!(Amount(241_250).to_string(), "24.125");
        assert_eq!("8GiB".parse::<Amount>().unwrap(), Amount::whole(8192));
        for bad in ["", "0.00001", "-1", "1e3", ".5", "5.", "1,5", "8 G", "99999999999999999999", "1.5GiB"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad:?}");
        }
    }
}
