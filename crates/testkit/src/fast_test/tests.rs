//! Fast Test, asked without a transport.

use std::sync::Arc;

use serde_json::{Value, json};
use wharf_proto::{Revision, method, server::Refusal, transport::Exchange};

use super::*;
use crate::direct::{Direct, drained, value};

async fn client() -> Direct<FastTest> {
    Direct::open(FastTest::new()).await
}

async fn stats(client: &Direct<FastTest>) -> Value {
    let (text, is_error) = client.tool("get_stats", json!({})).await;
    assert!(!is_error);
    serde_json::from_str(&text).unwrap()
}

fn counting(to: u64, token: Option<&str>) -> Value {
    let arguments = json!({"to": to, "every": 10});
    match token {
        Some(token) => json!({
            "name": "slow_count",
            "arguments": arguments,
            "_meta": {"progressToken": token},
        }),
        None => json!({"name": "slow_count", "arguments": arguments}),
    }
}

#[tokio::test]
async fn the_tools_are_listed_with_their_schemas() {
    let client = client().await;
    let listed = client.ask(method::TOOLS_LIST, json!({})).await.unwrap();
    let tools = listed["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["echo", "get_system_time", "get_stats", "slow_count"]);
    for tool in tools {
        assert_eq!(tool["inputSchema"]["type"], "object");
        assert!(!tool["description"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn echo_answers_with_the_message_as_it_is() {
    let client = client().await;
    for message in ["", "hello", "tab\t\"quote\" \\ \u{0} ü 🦀\nline\u{2028}"] {
        let params = json!({"name": "echo", "arguments": {"message": message}});
        let result = client.ask(method::TOOLS_CALL, params).await.unwrap();
        let expected = json!({"content": [{"type": "text", "text": message}], "isError": false});
        assert_eq!(result, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn delayed_echoes_of_one_session_wait_at_the_same_time() {
    let client = client().await;
    let began = tokio::time::Instant::now();
    let echo = |delay: u64| client.tool("echo", json!({"message": "late", "delay": delay}));
    let (a, b, c) = tokio::join!(echo(300), echo(300), echo(200));
    for answer in [a, b, c] {
        assert_eq!(answer, ("late".into(), false));
    }
    assert_eq!(began.elapsed(), Duration::from_millis(300));
}

#[tokio::test]
async fn bad_arguments_are_a_failure_in_clear_words() {
    let client = client().await;
    for (arguments, hint) in [
        (json!({}), "missing field `message`"),
        (json!({"message": 1}), "expected a string"),
        (json!({"message": "m", "delay": -1}), "expected u64"),
        (json!({"message": "m", "delai": 1}), "unknown field `delai`"),
        (json!(["m"]), "must be an object"),
    ] {
        let (text, is_error) = client.tool("echo", arguments).await;
        assert!(is_error, "{text}");
        assert!(text.starts_with("the arguments do not fit: "), "{text}");
        assert!(text.contains(hint), "{text}");
    }
    let (text, is_error) = client.tool("get_system_time", json!({"timezone": "Mars"})).await;
    assert!(is_error && text.contains("unknown time zone \"Mars\""), "{text}");
}

#[tokio::test]
async fn the_system_time_has_the_offset_of_its_zone() {
    let client = client().await;
    let (utc, _) = client.tool("get_system_time", json!({})).await;
    assert!(utc.ends_with('Z'), "{utc}");
    let (tokyo, _) = client.tool("get_system_time", json!({"timezone": "Asia/Tokyo"})).await;
    assert!(tokyo.ends_with("+09:00"), "{tokyo}");
    let between =
        tokyo.parse::<jiff::Timestamp>().unwrap() - utc.parse::<jiff::Timestamp>().unwrap();
    assert!(between.get_seconds() <= 5, "{utc} {tokyo}");
}

#[tokio::test(start_paused = true)]
async fn the_stats_count_calls_echoes_sessions_and_time() {
    let first = client().await;
    let second = Direct::of(Arc::clone(&first.backend), Revision::LATEST).await.0;
    first.tool("echo", json!({"message": "1", "delay": 1500})).await;
    second.tool("echo", json!({"message": "2"})).await;
    second.tool("get_system_time", json!({})).await;
    let expected = json!({
        "calls": 4, "echoes": 2, "running": 1, "sessions": 2, "uptime_seconds": 1.5,
    });
    let mut found = stats(&first).await;
    let uptime = found["uptime_seconds"].as_f64().unwrap();
    assert!((1.5..1.6).contains(&uptime), "{uptime}");
    found["uptime_seconds"] = json!(1.5);
    assert_eq!(found, expected);
    drop(second);
    assert_eq!(stats(&first).await["sessions"], 1);
}

#[tokio::test(start_paused = true)]
async fn slow_count_says_each_number_before_it_answers() {
    let client = client().await;
    let (_, exchange) = client.begin(method::TOOLS_CALL, &counting(3, Some("t")));
    let (said, answer) = drained(exchange).await;
    let methods: Vec<_> = said.iter().map(|one| one.method().to_owned()).collect();
    assert_eq!(methods, [method::PROGRESS, method::MESSAGE].repeat(3));
    let progress = value(said[2].params().unwrap());
    assert_eq!(
        progress,
        json!({"progressToken": "t", "progress": 2, "total": 3, "message": "2 of 3"})
    );
    let line = value(said[5].params().unwrap());
    assert_eq!(line, json!({"level": "info", "logger": "slow_count", "data": "3 of 3"}));
    assert_eq!(answer.unwrap()["content"][0]["text"], "counted to 3");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_revision_hears_of_progress_without_a_message() {
    let server = Arc::new(FastTest::new());
    let client = Direct::of(server, Revision::V2024_11_05).await.0;
    let (_, exchange) = client.begin(method::TOOLS_CALL, &counting(1, Some("t")));
    let (said, _) = drained(exchange).await;
    assert_eq!(
        value(said[0].params().unwrap()),
        json!({"progressToken": "t", "progress": 1, "total": 1})
    );
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_neither_hears_neither_progress_nor_log() {
    let client = client().await;
    let level = json!({"level": "error"});
    assert_eq!(client.ask(method::SET_LEVEL, level).await, Ok(json!({})));
    let (_, exchange) = client.begin(method::TOOLS_CALL, &counting(3, None));
    let (said, answer) = drained(exchange).await;
    assert!(said.is_empty(), "{said:?}");
    assert!(answer.is_ok());
    let unknown = client.ask(method::SET_LEVEL, json!({"level": "loud"})).await;
    assert_eq!(unknown.unwrap_err()["code"], -32602);
}

#[tokio::test(start_paused = true)]
async fn slow_count_stops_when_it_is_cancelled() {
    let client = client().await;
    let (id, mut exchange) = client.begin(method::TOOLS_CALL, &counting(1000, Some("t")));
    let first = exchange.next().await.unwrap();
    assert!(matches!(first, wharf_proto::Message::Notification(_)));
    assert_eq!(client.backend.figures().running(), 1);
    client.cancel(&id).await;
    assert_eq!(exchange.next().await.unwrap_err(), Refusal::Cancelled);
    assert_eq!(client.backend.figures().running(), 0);
}

#[tokio::test]
async fn it_has_tools_and_a_log_and_nothing_else() {
    let hello = Direct::of(Arc::new(FastTest::new()), Revision::LATEST).await.1;
    assert_eq!(hello["capabilities"], json!({"logging": {}, "tools": {}}));
    assert_eq!(hello["serverInfo"]["name"], "fast-test");
}
