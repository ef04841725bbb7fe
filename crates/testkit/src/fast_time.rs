//! Fast Time: a server that knows the time in every zone, with something of
//! everything that MCP servers offer.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::{
    toolbox::{Content, Failed, Reference, Tool, Toolbox},
    zones,
};

mod prompts;
mod resources;
#[cfg(test)]
mod tests;

/// A server with tools (`get_system_time`, `convert_time`), resources, a
/// template of resources, prompts, and completion of time zones. It has no
/// log and no subscriptions.
pub type FastTime = Toolbox<Clock>;

/// Where Fast Time gets the time from.
#[derive(Default)]
pub struct Clock(Option<Timestamp>);

/// The arguments of `get_system_time`, which Fast Test has too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SystemTime {
    timezone: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConvertTime {
    time: String,
    source_timezone: String,
    target_timezone: String,
}

// === impl FastTime ===

impl FastTime {
    /// A server that goes by the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Clock::default())
    }

    /// A server for which it is always `now`.
    #[must_use]
    pub fn stopped_at(now: std::time::SystemTime) -> Self {
        let now = Timestamp::try_from(now).expect("a system's time is in jiff's range");
        Self::with_clock(Clock(Some(now)))
    }

    fn with_clock(clock: Clock) -> Self {
        let server = Self::named("fast-time", env!("CARGO_PKG_VERSION"), clock)
            .instructions("Times in every zone of the IANA database, and conversions between them.")
            .tool(SystemTime::tool(), async |asked: SystemTime, call| asked.answer(call.state()))
            .tool(convert_time_tool(), async |asked: ConvertTime, call| {
                Ok(asked.answer(call.state())?)
            });
        prompts::add(resources::add(server))
            .completes(prompt("compare_timezones"), "timezones", last_of_list)
            .completes(prompt("schedule_meeting"), "participants", last_of_list)
            .completes(prompt("convert_time_detailed"), "from_timezone", single)
            .completes(prompt("convert_time_detailed"), "to_timezones", last_of_list)
            .completes(resources::zone_reference(), resources::ZONE, single)
    }
}

impl Default for FastTime {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Clock ===

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        self.0.unwrap_or_else(Timestamp::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(stopped)" } else { "Clock" })
    }
}

// === impl SystemTime ===

impl SystemTime {
    pub(crate) fn tool() -> Tool {
        Tool::new(
            "get_system_time",
            "The time it is, in a time zone, as RFC 3339 text",
            json!({
                "type": "object",
                "properties": {"timezone": zone_schema("The time zone; UTC where none is given")},
                "additionalProperties": false,
            }),
        )
    }

    pub(crate) fn answer(&self, clock: &Clock) -> Result<Content, Failed> {
        let zone = zones::zone(self.timezone.as_deref().unwrap_or("UTC"))?;
        Ok(Content::text(zones::rfc3339_seconds(clock.now(), &zone)))
    }
}

// === impl ConvertTime ===

impl ConvertTime {
    fn answer(&self, clock: &Clock) -> Result<Content, zones::BadTime> {
        let source = zones::zone(&self.source_timezone)?;
        let target = zones::zone(&self.target_timezone)?;
        let moment = zones::moment(&self.time, &source, clock.now())?;
        let content = Content::text(zones::rfc3339(moment.at, &target));
        Ok(match moment.doubt {
            Some(doubt) => content.and_text(format!("In {}: {doubt}.", zones::name(&source))),
            None => content,
        })
    }
}

impl From<zones::BadTime> for Failed {
    fn from(bad: zones::BadTime) -> Self {
        Self(bad.to_string())
    }
}

fn convert_time_tool() -> Tool {
    Tool::new(
        "convert_time",
        "A time of one time zone as RFC 3339 text of another, daylight saving included",
        json!({
            "type": "object",
            "properties": {
                "time": {
                    "type": "string",
                    "description": "RFC 3339, YYYY-MM-DD HH:MM[:SS], or HH:MM[:SS] for today. \
                                    An offset in it decides the moment.",
                },
                "source_timezone": zone_schema("The time zone of `time`"),
                "target_timezone": zone_schema("The time zone to convert to"),
            },
            "required": ["time", "source_timezone", "target_timezone"],
            "additionalProperties": false,
        }),
    )
}

fn zone_schema(description: &str) -> serde_json::Value {
    json!({
        "type": "string",
        "description": format!("{description} (IANA name, such as Europe/Berlin)"),
    })
}

fn prompt(name: &str) -> Reference {
    Reference::Prompt { name: name.into() }
}

fn single(_: &Clock, typed: &str) -> Vec<String> {
    zones::completed(typed)
}

/// Completes the last item and keeps what stands before it.
fn last_of_list(_: &Clock, typed: &str) -> Vec<String> {
    let (before, last) = typed.rfind(',').map_or(("", typed), |comma| typed.split_at(comma + 1));
    let space = if before.is_empty() { "" } else { " " };
    zones::completed(last).into_iter().map(|zone| format!("{before}{space}{zone}")).collect()
}
