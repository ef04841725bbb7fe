//! Durations and sizes as people write them.

use std::time::Duration;

/// Longer than anything that is waited for, and short enough to be added to
/// any point in time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The units of time and their milliseconds.
const TIMES: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The units of size and their bytes.
const SIZES: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads a duration of at most a year: `250ms`, `30s`, `5m`, `1h30m`, `7d`.
/// A plain `0` needs no unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum: Option<u64> = None;
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let end = after.find(|it: char| it.is_ascii_digit()).unwrap_or(after.len());
        let milliseconds = number.checked_mul(unit(&TIMES, after[..end].trim())?)?;
        sum = Some(sum.unwrap_or(0).checked_add(milliseconds)?);
        rest = &after[end..];
    }
    sum.map(Duration::from_millis).filter(|it| *it <= LONGEST)
}

/// Reads a number of bytes: `1024`, `512KiB`, `16MiB`, `10MB`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, after) = number(text.trim())?;
    number.checked_mul(unit(&SIZES, after.trim())?)
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn unit(units: &[(&str, u64)], name: &str) -> Option<u64> {
    units.iter().find(|(unit, _)| *unit == name).map(|(_, worth)| *worth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2 h", 7_200_000),
            ("1h30m", 5_400_000),
            ("1m 30s", 90_000),
            ("365d", 31_536_000_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "30", "s", "-1s", "1.5s", "30 sec", "366d", "99999999999999999999s", "1s2"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_binary_or_decimal() {
        for (text, bytes) in [
            ("1024", 1024),
            ("512KiB", 524_288),
            ("16MiB", 16_777_216),
            ("16 MiB", 16_777_216),
            ("1GiB", 1_073_741_824),
            ("10MB", 10_000_000),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "16M", "16mib", "-1", "1.5MiB", "99999999999999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
