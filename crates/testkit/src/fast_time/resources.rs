//! What can be read in Fast Time.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use serde_json::{Value, json};

use super::FastTime;
use crate::{
    toolbox::{Contents, Reference, Resource, Template},
    zones,
};

/// The variable of the template.
pub(super) const ZONE: &str = "timezone";

const JSON: &str = "application/json";

/// The hours of a working day, from and to.
const OPEN: i8 = 9;
const CLOSED: i8 = 17;

/// Cities that stand for the world.
const WORLD: [(&str, &str); 14] = [
    ("Auckland", "Pacific/Auckland"),
    ("Sydney", "Australia/Sydney"),
    ("Tokyo", "Asia/Tokyo"),
    ("Shanghai", "Asia/Shanghai"),
    ("Singapore", "Asia/Singapore"),
    ("Mumbai", "Asia/Kolkata"),
    ("Dubai", "Asia/Dubai"),
    ("Nairobi", "Africa/Nairobi"),
    ("Berlin", "Europe/Berlin"),
    ("London", "Europe/London"),
    ("Sao Paulo", "America/Sao_Paulo"),
    ("New York", "America/New_York"),
    ("Chicago", "America/Chicago"),
    ("Los Angeles", "America/Los_Angeles"),
];

/// Adds the resources and the template.
pub(super) fn add(server: FastTime) -> FastTime {
    let resource =
        |uri: &str, name: &str, description: &str| Resource::new(uri, name, description, JSON);
    server
        .resource(
            resource(
                "timezone://info",
                "Time zones",
                "Offset, abbreviation and daylight saving of the zones of the world's large cities",
            ),
            |clock| Contents::json(&info(clock.now())),
        )
        .resource(
            resource(
                "time://current/world",
                "World time",
                "The time it is in the world's large cities",
            ),
            |clock| Contents::json(&world(clock.now())),
        )
        .resource(
            resource(
                "time://formats",
                "Time formats",
                "The ways of writing a time that the tools read and write",
            ),
            |_| Contents::json(&formats()),
        )
        .resource(
            resource(
                "time://business-hours",
                "Business hours",
                "Where people are at work: Monday to Friday, 09:00 to 17:00 local time",
            ),
            |clock| Contents::json(&business_hours(clock.now())),
        )
        .template(template(), |clock, name| {
            let zone = zones::zone(name).ok()?;
            Some(Contents::json(&described(clock.now(), &zone)))
        })
}

/// The template, as completion knows it.
pub(super) fn zone_reference() -> Reference {
    Reference::Resource { uri: template().uri_template().into() }
}

fn template() -> Template {
    Template::new(
        "time://zone/",
        ZONE,
        "Time zone",
        "One zone by its IANA name, such as time://zone/Europe/Berlin: its time and its offset",
        JSON,
    )
}

/// The cities of [`WORLD`] with their zones.
fn cities() -> impl Iterator<Item = (&'static str, TimeZone)> {
    WORLD.into_iter().map(|(city, name)| {
        let zone = zones::zone(name).expect("the list names zones of the database");
        (city, zone)
    })
}

fn described(now: Timestamp, zone: &TimeZone) -> Value {
    let info = zone.to_offset_info(now);
    json!({
        "timezone": zones::name(zone),
        "time": zones::rfc3339_seconds(now, zone),
        "offset_seconds": info.offset().seconds(),
        "abbreviation": info.abbreviation(),
        "is_dst": info.dst().is_dst(),
    })
}

fn info(now: Timestamp) -> Value {
    let zones: Vec<_> = cities().map(|(_, zone)| described(now, &zone)).collect();
    json!({
        "timezones": zones,
        "hint": "read time://zone/{+timezone} for any other zone of the IANA database",
    })
}

fn world(now: Timestamp) -> Value {
    let times: Value =
        cities().map(|(city, zone)| (city, zones::rfc3339_seconds(now, &zone))).collect();
    json!({"utc": zones::rfc3339_seconds(now, &TimeZone::UTC), "times": times})
}

fn formats() -> Value {
    json!({
        "input": [
            {"format": "RFC 3339", "example": "2025-06-30T14:00:00+02:00"},
            {"format": "YYYY-MM-DD HH:MM:SS", "example": "2025-06-30 14:00:00"},
            {"format": "YYYY-MM-DD HH:MM", "example": "2025-06-30 14:00"},
            {"format": "HH:MM:SS", "example": "14:00:00", "date": "today in the time's zone"},
            {"format": "HH:MM", "example": "14:00", "date": "today in the time's zone"},
        ],
        "output": [{"format": "RFC 3339", "example": "2025-06-30T12:00:00Z"}],
    })
}

fn business_hours(now: Timestamp) -> Value {
    let places: Vec<_> = cities()
        .map(|(city, zone)| {
            json!({
                "city": city,
                "timezone": zones::name(&zone),
                "time": zones::rfc3339_seconds(now, &zone),
                "is_open": is_open(now, &zone),
            })
        })
        .collect();
    json!({
        "days": "Monday to Friday",
        "from": format!("{OPEN:02}:00"),
        "to": format!("{CLOSED:02}:00"),
        "places": places,
    })
}

/// Whether people are at work then and there.
pub(super) fn is_open(now: Timestamp, zone: &TimeZone) -> bool {
    let local = zone.to_datetime(now);
    let is_weekend = matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday);
    !is_weekend && (OPEN..CLOSED).contains(&local.hour())
}
