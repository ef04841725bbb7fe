//! The prompts of Fast Time. The arithmetic is done here; a model is asked
//! for the words only.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

use super::{Clock, FastTime, resources::is_open};
use crate::{
    toolbox::{Failed, Prompt},
    zones,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareTimezones {
    timezones: String,
    reference_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleMeeting {
    participants: String,
    duration: String,
    preferred_hours: Option<String>,
    date_range: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConvertTimeDetailed {
    time: String,
    from_timezone: String,
    to_timezones: String,
    include_context: Option<String>,
}

/// Adds the prompts.
pub(super) fn add(server: FastTime) -> FastTime {
    let compare = Prompt::new("compare_timezones", "Compares the time in several zones")
        .requires("timezones", "IANA names, with commas between them")
        .takes(
            "reference_time",
            "The time to compare at, in UTC where it has no offset; usually now",
        );
    let schedule = Prompt::new("schedule_meeting", "Looks for a time that suits everybody")
        .requires(
            "participants",
            "The participants' time zones, IANA names with commas between them",
        )
        .requires("duration", "How long the meeting is to be, in minutes")
        .takes("preferred_hours", "The local hours that suit; usually 09:00-17:00")
        .takes(
            "date_range",
            "The days that suit, such as 2025-06-30 to 2025-07-04; usually the next five working \
             days",
        );
    let convert = Prompt::new("convert_time_detailed", "Converts a time and explains")
        .requires("time", "RFC 3339, YYYY-MM-DD HH:MM[:SS], or HH:MM[:SS] for today")
        .requires("from_timezone", "The time's zone (IANA name)")
        .requires("to_timezones", "IANA names, with commas between them")
        .takes("include_context", "true for daylight saving and working hours too");
    server
        .prompt(compare, compare_timezones)
        .prompt(schedule, schedule_meeting)
        .prompt(convert, convert_time_detailed)
}

fn compare_timezones(clock: &Clock, asked: &CompareTimezones) -> Result<String, Failed> {
    let at = match &asked.reference_time {
        Some(time) => zones::moment(time, &TimeZone::UTC, clock.now())?.at,
        None => clock.now(),
    };
    Ok(format!(
        "Compare these time zones at {}:\n{}\nSay how many hours they are apart, and in which of \
         them people are at work.",
        zones::rfc3339_seconds(at, &TimeZone::UTC),
        table(at, &listed("timezones", &asked.timezones)?),
    ))
}

fn schedule_meeting(clock: &Clock, asked: &ScheduleMeeting) -> Result<String, Failed> {
    let minutes = asked.duration.trim().parse::<u16>().ok();
    let minutes = minutes
        .filter(|minutes| *minutes > 0)
        .ok_or_else(|| Failed::new("`duration` must be a number of minutes"))?;
    Ok(format!(
        "Find times for a meeting of {minutes} minutes that suit everybody. The participants are \
         in these time zones, where it is now:\n{}\nLocal hours that suit: {}. Days that suit: \
         {}.\nPropose three times, each in every participant's own zone.",
        table(clock.now(), &listed("participants", &asked.participants)?),
        asked.preferred_hours.as_deref().unwrap_or("09:00-17:00"),
        asked.date_range.as_deref().unwrap_or("the next five working days"),
    ))
}

fn convert_time_detailed(clock: &Clock, asked: &ConvertTimeDetailed) -> Result<String, Failed> {
    let from = zones::zone(&asked.from_timezone)?;
    let moment = zones::moment(&asked.time, &from, clock.now())?;
    let has_context = match asked.include_context.as_deref().map(str::trim) {
        Some("true") => true,
        Some("false") | None => false,
        Some(_) => return Err(Failed::new("`include_context` must be true or false")),
    };
    let mut text = format!(
        "The time {} in {} is {}, and elsewhere:\n{}\n",
        asked.time,
        zones::name(&from),
        zones::rfc3339(moment.at, &from),
        table(moment.at, &listed("to_timezones", &asked.to_timezones)?),
    );
    if let Some(doubt) = moment.doubt {
        let _ = writeln!(text, "Note that {doubt}.");
    }
    text.push_str("Write these conversions out for a person");
    text.push_str(if has_context {
        ", and say where daylight saving is in force, where the date is another, and whether \
         people are at work."
    } else {
        "."
    });
    Ok(text)
}

/// The zones of a list, of which there must be one at least.
fn listed(argument: &str, list: &str) -> Result<Vec<TimeZone>, Failed> {
    let zones = zones::items(list).map(zones::zone);
    let zones = zones.collect::<Result<Vec<_>, _>>()?;
    if zones.is_empty() {
        return Err(Failed(format!("`{argument}` must name a time zone")));
    }
    Ok(zones)
}

/// One line a zone.
fn table(at: Timestamp, zones: &[TimeZone]) -> String {
    let line = |zone: &TimeZone| {
        let info = zone.to_offset_info(at);
        format!(
            "- {}: {} ({}{}{})",
            zones::name(zone),
            zones::rfc3339(at, zone),
            info.abbreviation(),
            if info.dst().is_dst() { ", daylight saving" } else { "" },
            if is_open(at, zone) { ", working hours" } else { "" },
        )
    };
    zones.iter().map(line).collect::<Vec<_>>().join("\n")
}
