//! Wall times as they stand in lines: `2026-11-21T08:00:00.000Z`, always 24 bytes, years 0000 to 9999.
//!
//! Written and read by hand, because it happens once per record. Day numbers after Howard Hinnant,
//! "chrono-Compatible Low-Level Date Algorithms", `days_from_civil` and `civil_from_days`.

use orch_core::time::Timestamp;

/// The length of a time in a line.
pub(super) const AT_BYTES: usize = 24;

const DAY_MS: i64 = 86_400_000;

/// The time as text; `None` outside the years 0000 to 9999.
pub(super) fn encode(time: Timestamp) -> Option<[u8; AT_BYTES]> {
    let (day, ms) = (time.0.div_euclid(DAY_MS), time.0.rem_euclid(DAY_MS));
    let z = day.checked_add(719_468)?;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], doy - (153 * mp + 2) / 5 + 1);
    put(&mut text[11..13], ms / 3_600_000);
    put(&mut text[14..16], ms / 60_000 % 60);
    put(&mut text[17..19], ms / 1000 % 60);
    put(&mut text[20..23], ms % 1000);
    Some(text)
}

fn put(digits: &mut [u8], mut value: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// The time that a text of exactly this form means; `None` for any other text, such as February 30th.
pub(super) fn decode(text: &[u8]) -> Option<Timestamp> {
    let text: &[u8; AT_BYTES] = text.try_into().ok()?;
    let (year, month, day) = (get(&text[0..4])?, get(&text[5..7])?, get(&text[8..10])?);
    let (hour, minute) = (get(&text[11..13])?, get(&text[14..16])?);
    let (second, milli) = (get(&text[17..19])?, get(&text[20..23])?);
    let marks = [text[4], text[7], text[10], text[13], text[16], text[19], text[23]];
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if &marks != b"--T::.Z" || !in_range {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = if month > 2 { month - 3 } else { month + 9 };
    let doy = (153 * mp + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    let days = era * 146_097 + doe - 719_468;
    let time = Timestamp(days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + milli);
    // Only days beyond the end of their month come out as another day.
    if day > 28 && encode(time).as_ref() != Some(text) {
        return None;
    }
    Some(time)
}

fn get(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn impossible_days_are_no_times() {
        assert_eq!(decode(b"2026-11-21T08:00:00.000Z"), Some(Timestamp(1_795_248_000_000)));
        assert!(decode(b"2024-02-29T00:00:00.000Z").is_some());
        for bad in ["2026-02-29T00:00:00.000Z", "2026-04-31T00:00:00.000Z", "2026-00-01T00:00:00.000Z"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        for bad in ["2026-11-21T24:00:00.000Z", "2026-11-21 08:00:00.000Z", "2026-11-21T08:00:00Z", ""] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(encode(Timestamp(i64::MAX)), None);
        assert_eq!(encode(Timestamp(i64::MIN)), None);
    }

    proptest! {
        #[test]
        fn times_agree_with_core(ms in -62_167_219_200_000i64..253_402_300_800_000) {
            let text = encode(Timestamp(ms)).unwrap();
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), Timestamp(ms).to_string());
            prop_assert_eq!(decode(&text), Some(Timestamp(ms)));
        }
    }
}
