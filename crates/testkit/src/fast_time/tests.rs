//! Fast Time, asked without a transport.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};
use wharf_proto::{Revision, code, method};

use super::*;
use crate::direct::Direct;

/// 2025-06-30T12:34:56Z, a Monday.
const MONDAY: Duration = Duration::from_secs(1_751_286_896);

fn monday() -> FastTime {
    FastTime::stopped_at(UNIX_EPOCH + MONDAY)
}

async fn client() -> Direct<FastTime> {
    Direct::open(monday()).await
}

async fn convert(time: &str, from: &str, to: &str) -> (String, bool) {
    let arguments = json!({"time": time, "source_timezone": from, "target_timezone": to});
    client().await.tool("convert_time", arguments).await
}

async fn read(client: &Direct<FastTime>, uri: &str) -> Value {
    let result = client.ask(method::RESOURCES_READ, json!({"uri": uri})).await.unwrap();
    let contents = result["contents"].as_array().unwrap();
    assert_eq!(contents.len(), 1);
    assert_eq!(contents[0]["uri"], uri);
    assert_eq!(contents[0]["mimeType"], "application/json");
    serde_json::from_str(contents[0]["text"].as_str().unwrap()).unwrap()
}

async fn prompt(name: &str, arguments: Value) -> Result<String, Value> {
    let params = json!({"name": name, "arguments": arguments});
    let result = client().await.ask(method::PROMPTS_GET, params).await?;
    let messages = result["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["role"], "user");
    assert_eq!(messages[0]["content"]["type"], "text");
    Ok(messages[0]["content"]["text"].as_str().unwrap().to_owned())
}

async fn complete(reference: Value, argument: &str, typed: &str) -> Result<Value, Value> {
    let params = json!({"ref": reference, "argument": {"name": argument, "value": typed}});
    let result = client().await.ask(method::COMPLETE, params).await?;
    Ok(result["completion"].clone())
}

fn of_prompt(name: &str) -> Value {
    json!({"type": "ref/prompt", "name": name})
}

#[tokio::test]
async fn it_offers_everything_but_a_log_and_subscriptions() {
    let server = Arc::new(monday());
    let (client, hello) = Direct::of(Arc::clone(&server), Revision::LATEST).await;
    assert_eq!(
        hello["capabilities"],
        json!({"completions": {}, "prompts": {}, "resources": {}, "tools": {}})
    );
    let (_, oldest) = Direct::of(server, Revision::V2024_11_05).await;
    assert_eq!(oldest["capabilities"].get("completions"), None);
    for method in ["resources/subscribe", "resources/unsubscribe", "logging/setLevel"] {
        let error = client.ask(method, json!({"uri": "time://formats"})).await.unwrap_err();
        assert_eq!(error["code"], code::METHOD_NOT_FOUND, "{method}");
    }
}

#[tokio::test]
async fn the_system_time_is_told_in_any_zone() {
    let client = client().await;
    for (arguments, expected) in [
        (json!({}), "2025-06-30T12:34:56Z"),
        (json!({"timezone": "Europe/Berlin"}), "2025-06-30T14:34:56+02:00"),
        (json!({"timezone": "america/new_york"}), "2025-06-30T08:34:56-04:00"),
    ] {
        let answer = client.tool("get_system_time", arguments).await;
        assert_eq!(answer, (expected.into(), false));
    }
}

#[tokio::test]
async fn times_are_converted_with_daylight_saving() {
    for (time, from, to, expected) in [
        ("2025-01-15 12:00", "Europe/London", "America/New_York", "2025-01-15T07:00:00-05:00"),
        ("2025-07-15 12:00:30", "Europe/London", "Asia/Kolkata", "2025-07-15T16:30:30+05:30"),
        ("2025-07-15T12:00:00Z", "Asia/Tokyo", "UTC", "2025-07-15T12:00:00Z"),
        // Between the two changes of March, London and New York are an hour closer.
        ("2025-03-20 12:00", "Europe/London", "America/New_York", "2025-03-20T08:00:00-04:00"),
        // Today, in Tokyo.
        ("01:00", "Asia/Tokyo", "UTC", "2025-06-29T16:00:00Z"),
    ] {
        assert_eq!(convert(time, from, to).await, (expected.into(), false), "{time}");
    }
}

#[tokio::test]
async fn a_time_in_doubt_is_converted_with_a_remark() {
    let (text, is_error) = convert("2025-03-30 02:30", "Europe/Berlin", "UTC").await;
    assert!(!is_error);
    assert!(
        text.starts_with("2025-03-30T01:30:00Z\nIn Europe/Berlin: the clocks go forward"),
        "{text}"
    );
    let (text, _) = convert("2025-11-02 01:30", "America/New_York", "UTC").await;
    assert!(
        text.starts_with("2025-11-02T05:30:00Z\nIn America/New_York: the clocks go back"),
        "{text}"
    );
}

#[tokio::test]
async fn a_time_or_a_zone_that_is_none_is_a_failure_in_clear_words() {
    let (text, is_error) = convert("half past", "UTC", "UTC").await;
    assert!(is_error && text.contains("\"half past\" is no time"), "{text}");
    let (text, is_error) = convert("12:00", "UTC", "Moon/Base").await;
    assert!(is_error && text.contains("\"Moon/Base\""), "{text}");
}

#[tokio::test]
async fn every_listed_resource_can_be_read() {
    let client = client().await;
    let listed = client.ask(method::RESOURCES_LIST, json!({})).await.unwrap();
    let resources = listed["resources"].as_array().unwrap();
    let uris: Vec<_> = resources.iter().map(|one| one["uri"].as_str().unwrap()).collect();
    assert_eq!(
        uris,
        ["timezone://info", "time://current/world", "time://formats", "time://business-hours"]
    );
    for uri in uris {
        assert!(read(&client, uri).await.is_object(), "{uri}");
    }
}

#[tokio::test]
async fn the_resources_tell_of_the_moment() {
    let client = client().await;
    let world = read(&client, "time://current/world").await;
    assert_eq!(world["utc"], "2025-06-30T12:34:56Z");
    assert_eq!(world["times"]["Tokyo"], "2025-06-30T21:34:56+09:00");
    let hours = read(&client, "time://business-hours").await;
    let open: Vec<_> = hours["places"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|place| place["is_open"] == true)
        .map(|place| place["city"].as_str().unwrap())
        .collect();
    assert_eq!(open, ["Dubai", "Nairobi", "Berlin", "London", "Sao Paulo"]);
    let info = read(&client, "timezone://info").await;
    let berlin = info["timezones"]
        .as_array()
        .unwrap()
        .iter()
        .find(|zone| zone["timezone"] == "Europe/Berlin")
        .unwrap();
    assert_eq!(berlin["abbreviation"], "CEST");
    assert_eq!(berlin["offset_seconds"], 7200);
    assert_eq!(berlin["is_dst"], true);
}

#[tokio::test]
async fn nobody_is_at_work_on_a_saturday() {
    let saturday = MONDAY + Duration::from_secs(5 * 24 * 60 * 60);
    let client = Direct::open(FastTime::stopped_at(UNIX_EPOCH + saturday)).await;
    let hours = read(&client, "time://business-hours").await;
    let places = hours["places"].as_array().unwrap();
    assert_eq!(places.len(), 14);
    assert!(places.iter().all(|place| place["is_open"] == false));
}

#[tokio::test]
async fn the_template_reads_any_zone_escaped_or_not() {
    let client = client().await;
    let listed = client.ask(method::RESOURCES_TEMPLATES_LIST, json!({})).await.unwrap();
    assert_eq!(listed["resourceTemplates"][0]["uriTemplate"], "time://zone/{+timezone}");
    for uri in
        ["time://zone/America/Argentina/Ushuaia", "time://zone/America%2FArgentina%2fUshuaia"]
    {
        let zone = read(&client, uri).await;
        assert_eq!(zone["timezone"], "America/Argentina/Ushuaia");
        assert_eq!(zone["time"], "2025-06-30T09:34:56-03:00");
    }
}

#[tokio::test]
async fn a_resource_that_is_not_there_is_named_in_the_error() {
    let client = client().await;
    for uri in ["time://nowhere", "time://zone/Moon/Base", "time://zone/%2", "time://zone/%ff"] {
        let error = client.ask(method::RESOURCES_READ, json!({"uri": uri})).await.unwrap_err();
        assert_eq!(error["code"], code::RESOURCE_NOT_FOUND, "{uri}");
        assert_eq!(error["data"], json!({"uri": uri}));
    }
    let error = client.ask(method::RESOURCES_READ, json!({})).await.unwrap_err();
    assert_eq!(error["code"], code::INVALID_PARAMS);
}

#[tokio::test]
async fn compare_timezones_has_the_times_in_it() {
    let text = prompt("compare_timezones", json!({"timezones": "Asia/Tokyo, Europe/Berlin"})).await;
    let text = text.unwrap();
    assert!(text.contains("at 2025-06-30T12:34:56Z"), "{text}");
    assert!(text.contains("- Asia/Tokyo: 2025-06-30T21:34:56+09:00 (JST)"), "{text}");
    assert!(
        text.contains(
            "- Europe/Berlin: 2025-06-30T14:34:56+02:00 (CEST, daylight saving, working hours)"
        ),
        "{text}"
    );
    let arguments = json!({"timezones": "UTC", "reference_time": "2025-01-01T00:00:00+01:00"});
    let text = prompt("compare_timezones", arguments).await.unwrap();
    assert!(text.contains("at 2024-12-31T23:00:00Z"), "{text}");
}

#[tokio::test]
async fn schedule_meeting_says_who_how_long_and_when() {
    let arguments = json!({"participants": "Europe/Berlin,America/Chicago", "duration": "45"});
    let text = prompt("schedule_meeting", arguments.clone()).await.unwrap();
    for part in
        ["45 minutes", "Europe/Berlin", "America/Chicago", "09:00-17:00", "five working days"]
    {
        assert!(text.contains(part), "{text}");
    }
    let mut chosen = arguments;
    chosen["preferred_hours"] = json!("10:00-12:00");
    chosen["date_range"] = json!("next week");
    let text = prompt("schedule_meeting", chosen).await.unwrap();
    assert!(text.contains("10:00-12:00") && text.contains("next week"), "{text}");
}

#[tokio::test]
async fn convert_time_detailed_explains_where_it_is_asked_to() {
    let arguments = json!({
        "time": "2025-03-30 02:30",
        "from_timezone": "Europe/Berlin",
        "to_timezones": "UTC,Asia/Tokyo",
    });
    let text = prompt("convert_time_detailed", arguments.clone()).await.unwrap();
    assert!(text.contains("- Asia/Tokyo: 2025-03-30T10:30:00+09:00"), "{text}");
    assert!(text.contains("Note that the clocks go forward"), "{text}");
    assert!(text.ends_with("for a person."), "{text}");
    let mut more = arguments;
    more["include_context"] = json!("true");
    let text = prompt("convert_time_detailed", more).await.unwrap();
    assert!(text.ends_with("people are at work."), "{text}");
}

#[tokio::test]
async fn a_prompt_that_cannot_be_rendered_is_an_error() {
    for (name, arguments) in [
        ("no_such_prompt", json!({})),
        ("compare_timezones", json!({})),
        ("compare_timezones", json!({"timezones": " , "})),
        ("compare_timezones", json!({"timezones": "Moon"})),
        ("compare_timezones", json!({"timezones": "UTC", "surplus": "1"})),
        ("schedule_meeting", json!({"participants": "UTC", "duration": "long"})),
        ("schedule_meeting", json!({"participants": "UTC", "duration": 30})),
        ("schedule_meeting", json!({"participants": "UTC", "duration": "0"})),
        (
            "convert_time_detailed",
            json!({
                "time": "1:00",
                "from_timezone": "UTC",
                "to_timezones": "UTC",
                "include_context": "so so",
            }),
        ),
    ] {
        let error = prompt(name, arguments.clone()).await.unwrap_err();
        assert_eq!(error["code"], code::INVALID_PARAMS, "{name} {arguments}");
    }
}

#[tokio::test]
async fn zones_are_completed_in_prompts_and_in_the_template() {
    let template = json!({"type": "ref/resource", "uri": "time://zone/{+timezone}"});
    let completed = complete(template, "timezone", "Europe/Ber").await.unwrap();
    assert_eq!(completed, json!({"values": ["Europe/Berlin"], "total": 1, "hasMore": false}));
    for (name, argument, typed, expected) in [
        ("compare_timezones", "timezones", "UTC, Europe/Ber", "UTC, Europe/Berlin"),
        ("compare_timezones", "timezones", "Europe/Ber", "Europe/Berlin"),
        ("schedule_meeting", "participants", "UTC,tok", "UTC, Asia/Tokyo"),
        ("convert_time_detailed", "from_timezone", "tok", "Asia/Tokyo"),
        ("convert_time_detailed", "to_timezones", "a,b,tok", "a,b, Asia/Tokyo"),
    ] {
        let completed = complete(of_prompt(name), argument, typed).await.unwrap();
        assert_eq!(completed["values"], json!([expected]), "{name} {argument}");
    }
    let none = complete(of_prompt("schedule_meeting"), "duration", "3").await.unwrap();
    assert_eq!(none, json!({"values": [], "total": 0, "hasMore": false}));
}

#[tokio::test]
async fn a_long_completion_is_cut_at_a_hundred_and_says_so() {
    let all = complete(of_prompt("convert_time_detailed"), "from_timezone", "").await.unwrap();
    assert_eq!(all["values"].as_array().unwrap().len(), 100);
    assert_eq!(all["hasMore"], true);
    assert!(all["total"].as_u64().unwrap() > 400);
}

#[tokio::test]
async fn what_is_unknown_is_not_completed() {
    for reference in [
        of_prompt("no_such_prompt"),
        json!({"type": "ref/resource", "uri": "time://zone/{other}"}),
        json!({"type": "ref/tool", "name": "convert_time"}),
    ] {
        let error = complete(reference, "timezone", "").await.unwrap_err();
        assert_eq!(error["code"], code::INVALID_PARAMS);
    }
}

#[tokio::test]
async fn the_lists_are_paged_where_a_page_has_a_size() {
    let client = Direct::open(monday().page_size(NonZeroUsize::new(3))).await;
    let first = client.ask(method::RESOURCES_LIST, json!({})).await.unwrap();
    assert_eq!(first["resources"].as_array().unwrap().len(), 3);
    let cursor = first["nextCursor"].clone();
    let rest = client.ask(method::RESOURCES_LIST, json!({"cursor": cursor})).await.unwrap();
    assert_eq!(rest["resources"][0]["uri"], "time://business-hours");
    assert_eq!(rest.get("nextCursor"), None);
    let error = client.ask(method::PROMPTS_LIST, json!({"cursor": cursor})).await;
    assert_eq!(error.unwrap_err()["code"], code::INVALID_PARAMS);
    let prompts = client.ask(method::PROMPTS_LIST, json!({})).await.unwrap();
    assert_eq!(prompts.get("nextCursor"), None);
}
