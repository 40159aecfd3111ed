//! Sizes as people write them: `256MiB`.

/// The bytes that a text means: a whole number, and a unit: none or `B`, `KiB`, `MiB`, `GiB`, `TiB` (1024), `KB`,
/// `MB`, `GB`, `TB` (1000), `K`, `M`, `G`, `T` (1024). Case does not matter.
///
/// # Errors
/// A message that shows how to write one.
pub fn parse(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is not a size: write a whole number and a unit, for example 256MiB or 2GB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    usize::try_from(factor).ok().and_then(|factor| number.checked_mul(factor)).ok_or_else(wrong)
}

/// A size for people, in 1024s.
pub fn show(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_a_number_and_a_unit() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("1KiB", 1024), ("256MiB", 256 << 20), ("2g", 2 << 30), ("3 MB", 3_000_000)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "1.5G", "1XB", "99999999999TiB", "18446744073709551616"] {
            assert!(parse(bad).unwrap_err().ends_with("for example 256MiB or 2GB"), "{bad}");
        }
    }
}
