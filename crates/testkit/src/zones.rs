//! Time zones and the ways of writing a time, by the time-zone database that
//! is built in: the same answers on every machine.

use std::{fmt, sync::LazyLock};

use jiff::{
    Timestamp,
    civil::{DateTime, Time},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut names: Vec<_> = DATABASE.available().map(|name| name.as_str().to_owned()).collect();
    names.sort_unstable();
    names
});

/// A moment, as somebody has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    /// Where the clocks were changed just then, and the text could mean
    /// another moment, or none.
    pub(crate) doubt: Option<Doubt>,
}

/// Why a local time is not one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The clocks went forward over it: it is read as if they had not.
    Skipped,
    /// The clocks went back to before it: the first of the two is meant.
    Repeated,
}

/// A time or a zone that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTime {
    #[error(
        "unknown time zone \"{name}\": it takes a name of the IANA database, such as \
         Europe/Berlin or UTC"
    )]
    UnknownZone { name: String },
    #[error(
        "\"{text}\" is no time: write it as 2025-06-30T14:00:00Z (RFC 3339), as \
         2025-06-30 14:00[:00], or as 14:00[:00] for today"
    )]
    NotATime { text: String },
    #[error("\"{text}\" is outside the years that can be computed with")]
    OutOfRange { text: String },
}

/// The zone of that name, whatever its case.
pub(crate) fn zone(name: &str) -> Result<TimeZone, BadTime> {
    DATABASE.get(name.trim()).map_err(|_| BadTime::UnknownZone { name: name.into() })
}

/// A zone's name as the database writes it.
pub(crate) fn name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// RFC 3339 text of a moment in a zone, with `Z` for UTC.
pub(crate) fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    if zone.iana_name() == Some("UTC") {
        at.to_string()
    } else {
        at.display_with_offset(zone.to_offset(at)).to_string()
    }
}

/// The same to the second, for what a clock says.
pub(crate) fn rfc3339_seconds(at: Timestamp, zone: &TimeZone) -> String {
    let whole = Timestamp::from_second(at.as_second()).expect("it was in range with its fraction");
    rfc3339(whole, zone)
}

/// Reads a time. An offset in the text decides the moment; without one it is
/// a time in `zone`, and without a date a time of today there.
pub(crate) fn moment(text: &str, zone: &TimeZone, now: Timestamp) -> Result<Moment, BadTime> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Moment { at, doubt: None });
    }
    let local = local(text, zone, now).ok_or_else(|| BadTime::NotATime { text: text.into() })?;
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let doubt = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => None,
        AmbiguousOffset::Gap { .. } => Some(Doubt::Skipped),
        AmbiguousOffset::Fold { .. } => Some(Doubt::Repeated),
    };
    let at = ambiguous.compatible().map_err(|_| BadTime::OutOfRange { text: text.into() })?;
    Ok(Moment { at, doubt })
}

fn local(text: &str, zone: &TimeZone, now: Timestamp) -> Option<DateTime> {
    let dated =
        ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let timed = ["%H:%M:%S", "%H:%M"];
    let today = || zone.to_datetime(now).date();
    dated.iter().find_map(|format| DateTime::strptime(format, text).ok()).or_else(|| {
        let time = timed.iter().find_map(|format| Time::strptime(format, text).ok())?;
        Some(today().to_datetime(time))
    })
}

/// The names of the zones that `typed` may become: those that begin so first,
/// then those of which a later part does, such as a city.
pub(crate) fn completed(typed: &str) -> Vec<String> {
    let typed = typed.trim().to_ascii_lowercase().replace(' ', "_");
    let (mut values, mut by_part) = (Vec::new(), Vec::new());
    for name in NAMES.iter() {
        let lower = name.to_ascii_lowercase();
        if lower.starts_with(&typed) {
            values.push(name.clone());
        } else if lower.split('/').any(|part| part.starts_with(&typed)) {
            by_part.push(name.clone());
        }
    }
    values.append(&mut by_part);
    values
}

/// The items of a list that is written with commas.
pub(crate) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skipped => {
                "the clocks go forward over this time, so there is none; it was read as if they \
                 had not"
            }
            Self::Repeated => {
                "the clocks go back to before this time; the first of the two was taken"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn read(text: &str, zone_name: &str) -> Result<Moment, BadTime> {
        moment(text, &zone(zone_name).unwrap(), at("2025-06-30T23:30:00Z"))
    }

    #[test]
    fn every_accepted_way_of_writing_a_time_means_the_same_moment() {
        for text in [
            "2025-07-01T08:15:00+09:00",
            "2025-06-30T23:15:00Z",
            "2025-07-01 08:15",
            "2025-07-01 08:15:00",
            "2025-07-01T08:15:00",
            "08:15",
            "08:15:00",
        ] {
            let moment = read(text, "Asia/Tokyo").unwrap();
            assert_eq!(moment.at, at("2025-06-30T23:15:00Z"), "{text}");
            assert_eq!(moment.doubt, None, "{text}");
        }
    }

    #[test]
    fn a_time_that_the_clocks_skip_is_read_as_if_they_had_not() {
        let moment = read("2025-03-30 02:30", "Europe/Berlin").unwrap();
        assert_eq!(moment.at, at("2025-03-30T01:30:00Z"));
        assert_eq!(moment.doubt, Some(Doubt::Skipped));
    }

    #[test]
    fn of_a_time_that_comes_twice_the_first_is_taken() {
        let moment = read("2025-10-26 02:30", "Europe/Berlin").unwrap();
        assert_eq!(moment.at, at("2025-10-26T00:30:00Z"));
        assert_eq!(moment.doubt, Some(Doubt::Repeated));
    }

    #[test]
    fn what_is_no_time_or_no_zone_is_told_so() {
        for text in ["", "25:00", "2025-02-30 10:00", "noon", "2025-06-30"] {
            assert!(matches!(read(text, "UTC"), Err(BadTime::NotATime { .. })), "{text}");
        }
        for name in ["", "Mars/Base", "../etc/passwd"] {
            assert!(zone(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_zone_is_completed_from_its_beginning_and_from_its_city() {
        assert_eq!(completed("europe/berl"), ["Europe/Berlin"]);
        assert!(completed("new yo").contains(&"America/New_York".to_owned()));
        assert!(completed("").len() > 400);
        assert!(completed("xyz").is_empty());
    }

    #[test]
    fn utc_is_written_with_a_z_and_other_zones_with_their_offset() {
        let noon = at("2025-01-01T12:00:00Z");
        assert_eq!(rfc3339(noon, &TimeZone::UTC), "2025-01-01T12:00:00Z");
        let kolkata = zone("asia/kolkata").unwrap();
        assert_eq!(rfc3339(noon, &kolkata), "2025-01-01T17:30:00+05:30");
        assert_eq!(name(&kolkata), "Asia/Kolkata");
    }
}
