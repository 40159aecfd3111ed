//! Exact decimals, and where they lie on a grid of quanta.
//!
//! A number of a candidate stands for its shortest decimal text (what canonical JSON writes), or for the decimal in
//! its string. From there on nothing is rounded but once, downwards, to 2^-32 of a quantum.

use std::cmp::Ordering;

use serde_json::Number;

use crate::json::Tree;

/// The most significant digits of a decimal.
pub(super) const MAX_DIGITS: u32 = 36;

/// The most significant digits of a quantum, so that it fits into the divisor of one machine word.
pub(super) const MAX_QUANTUM_DIGITS: u32 = 15;

/// The largest exponent of a decimal's leading digit, either way. A double reaches 308.
const MAX_EXPONENT: i64 = 9_999;

/// `(-1)^negative * digits * 10^exponent`, in lowest form: `digits` does not end in 0, and zero is all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: u128,
    exponent: i32,
}

/// Why a value has no place on the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecimalError {
    /// Neither a number nor a string.
    #[error("not a number, nor an exact decimal in a string")]
    NotANumber,
    /// A string that JSON would not take as a number.
    #[error("not a decimal: write it as JSON writes a number, for example \"-12.50\" or \"1e-8\"")]
    Grammar,
    /// Too many digits.
    #[error("more than {MAX_DIGITS} significant digits")]
    TooManyDigits,
    /// Absurdly large or small.
    #[error("its exponent is beyond {MAX_EXPONENT}")]
    Exponent,
    /// Too far from zero for its quantum.
    #[error("2^63 quanta or more away from 0")]
    TooFar,
}

impl Decimal {
    /// The decimal that a value stands for.
    pub(super) fn of(tree: &Tree<'_>) -> Result<Self, DecimalError> {
        match tree {
            Tree::Number(number) => Self::of_number(number),
            Tree::Text(text) => Self::parse(text),
            Tree::Null | Tree::Bool(_) | Tree::List(_) | Tree::Map(_) => Err(DecimalError::NotANumber),
        }
    }

    fn of_number(number: &Number) -> Result<Self, DecimalError> {
        if let Some(n) = number.as_i64() {
            return Ok(Self::lowest(n < 0, u128::from(n.unsigned_abs()), 0));
        }
        let double = number.as_f64().filter(|double| double.is_finite()).ok_or(DecimalError::NotANumber)?;
        Self::parse(ryu_js::Buffer::new().format_finite(double))
    }

    /// The decimal in a text of JSON's number grammar.
    pub(super) fn parse(text: &str) -> Result<Self, DecimalError> {
        let bytes = text.as_bytes();
        let (negative, bytes) = match bytes.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        let (whole, bytes) = split_digits(bytes);
        if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
            return Err(DecimalError::Grammar);
        }
        let (fraction, bytes) = match bytes.strip_prefix(b".") {
            Some(rest) => split_digits(rest),
            None => (&[][..], bytes),
        };
        if fraction.is_empty() && text.contains('.') {
            return Err(DecimalError::Grammar);
        }
        let exponent = match bytes {
            [] => 0,
            [b'e' | b'E', rest @ ..] => parse_exponent(rest)?,
            _ => return Err(DecimalError::Grammar),
        };
        Self::from_parts(negative, whole, fraction, exponent)
    }

    fn from_parts(negative: bool, whole: &[u8], fraction: &[u8], exponent: i64) -> Result<Self, DecimalError> {
        let mut digits: u128 = 0;
        let (mut count, mut zeros) = (0_u32, 0_u32);
        for &byte in whole.iter().chain(fraction) {
            if byte == b'0' {
                // Zeros count only once another digit follows them.
                zeros += u32::from(digits != 0);
                continue;
            }
            count += zeros + 1;
            if count > MAX_DIGITS {
                return Err(DecimalError::TooManyDigits);
            }
            digits = digits * 10_u128.pow(zeros + 1) + u128::from(byte - b'0');
            zeros = 0;
        }
        if digits == 0 {
            return Ok(Self { negative: false, digits: 0, exponent: 0 });
        }
        // Lengths are those of slices in memory, and `exponent` was bounded: no overflow.
        let exponent = exponent - fraction.len() as i64 + i64::from(zeros);
        if (exponent + i64::from(count) - 1).abs() > MAX_EXPONENT {
            return Err(DecimalError::Exponent);
        }
        let exponent = i32::try_from(exponent).map_err(|_| DecimalError::Exponent)?;
        Ok(Self { negative, digits, exponent })
    }

    fn lowest(negative: bool, mut digits: u128, mut exponent: i32) -> Self {
        if digits == 0 {
            return Self { negative: false, digits: 0, exponent: 0 };
        }
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent += 1;
        }
        Self { negative, digits, exponent }
    }

    /// Whether it is greater than zero.
    pub(super) fn is_positive(&self) -> bool {
        self.digits > 0 && !self.negative
    }

    /// How many significant digits it has; 1 for zero.
    pub(super) fn significant_digits(&self) -> u32 {
        self.digits.checked_ilog10().unwrap_or(0) + 1
    }

    /// Its magnitude.
    pub(super) fn abs(self) -> Self {
        Self { negative: false, ..self }
    }

    /// The power of ten of its leading digit, and its digits brought to [`MAX_DIGITS`] places.
    fn scientific(&self) -> (i32, u128) {
        let count = self.significant_digits();
        // Both are bounded: |exponent| by MAX_EXPONENT plus digits, the product below 10^36.
        (self.exponent + count as i32 - 1, self.digits * 10_u128.pow(MAX_DIGITS - count))
    }

    /// Bytes whose order is the order of the numbers: a class byte, then exponent and digits, complemented for
    /// negative numbers. Always [`Self::KEY_BYTES`] long.
    pub(super) fn sort_key(&self) -> [u8; Self::KEY_BYTES] {
        let mut key = [0; Self::KEY_BYTES];
        if self.digits == 0 {
            key[0] = 2;
            return key;
        }
        let (exponent, digits) = self.scientific();
        let biased = (i64::from(exponent) + 2 * MAX_EXPONENT) as u16;
        key[1..3].copy_from_slice(&biased.to_be_bytes());
        key[3..].copy_from_slice(&digits.to_be_bytes());
        key[0] = 3;
        if self.negative {
            key[0] = 1;
            for byte in &mut key[1..] {
                *byte = !*byte;
            }
        }
        key
    }

    /// The length of a sort key.
    pub(super) const KEY_BYTES: usize = 19;

    /// `floor(self / quantum * 2^32)`, exactly. `quantum` is positive with at most [`MAX_QUANTUM_DIGITS`] digits.
    pub(super) fn position(&self, quantum: &Self) -> Result<i128, DecimalError> {
        let shift = self.exponent - quantum.exponent;
        let (floor, exact) = if shift >= 0 {
            self.position_up(quantum.digits, shift.unsigned_abs())?
        } else {
            self.position_down(quantum.digits, shift.unsigned_abs())
        };
        // Both branches have seen to it that the whole part is below 2^63, so that this fits by far.
        if floor >> 32 >= 1 << 63 {
            return Err(DecimalError::TooFar);
        }
        let floor = floor as i128;
        Ok(match (self.negative, exact) {
            (false, _) => floor,
            (true, true) => -floor,
            (true, false) => -floor - 1,
        })
    }

    /// `digits * 10^shift * 2^32 / quantum`: its floor, and whether that is exact.
    fn position_up(&self, quantum: u128, shift: u32) -> Result<(u128, bool), DecimalError> {
        if self.digits == 0 {
            return Ok((0, true));
        }
        // What overflows 2^128 here is more than 2^78 quanta, a quantum's digits being below 2^50.
        let scaled = 10_u128.checked_pow(shift).and_then(|power| self.digits.checked_mul(power));
        let scaled = scaled.ok_or(DecimalError::TooFar)?;
        let (whole, rest) = (scaled / quantum, scaled % quantum);
        if whole >= 1 << 63 {
            return Err(DecimalError::TooFar);
        }
        let fraction = rest << 32;
        Ok(((whole << 32) | (fraction / quantum), fraction.is_multiple_of(quantum)))
    }

    /// `digits * 2^32 / (quantum * 10^shift)`: its floor, and whether that is exact.
    fn position_down(&self, quantum: u128, shift: u32) -> (u128, bool) {
        let divisor = 10_u128.checked_pow(shift).and_then(|power| power.checked_mul(quantum));
        if let (Some(divisor), true) = (divisor, self.digits < 1 << 96) {
            let scaled = self.digits << 32;
            return (scaled / divisor, scaled.is_multiple_of(divisor));
        }
        // Wider than 128 bits: three words, divided step by step. floor(floor(x / a) / b) = floor(x / (a * b)).
        let mut words = [(self.digits >> 96) as u64, (self.digits >> 32) as u64, (self.digits << 32) as u64];
        let mut exact = true;
        let mut left = shift;
        while left > 0 && words != [0; 3] {
            let step = left.min(18);
            exact &= divide(&mut words, 10_u64.pow(step)) == 0;
            left -= step;
        }
        exact &= divide(&mut words, quantum as u64) == 0;
        // A whole part of 2^64 or more saturates here and is refused by the caller.
        let low = u128::from(words[1]) << 64 | u128::from(words[2]);
        (if words[0] == 0 { low } else { u128::MAX }, exact)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sort_key().cmp(&other.sort_key())
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Divides big-endian words in place; the remainder comes back.
fn divide(words: &mut [u64; 3], by: u64) -> u64 {
    let mut rest = 0_u128;
    for word in words {
        let part = rest << 64 | u128::from(*word);
        *word = (part / u128::from(by)) as u64;
        rest = part % u128::from(by);
    }
    rest as u64
}

fn split_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    bytes.split_at(end)
}

fn parse_exponent(bytes: &[u8]) -> Result<i64, DecimalError> {
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return Err(DecimalError::Grammar);
    }
    // Saturates far beyond every exponent that is let through.
    let size = bytes.iter().fold(0_i64, |n, byte| (n * 10 + i64::from(byte - b'0')).min(1 << 40));
    Ok(if negative { -size } else { size })
}
