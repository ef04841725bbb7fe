//! What goes wrong with an answer.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use wharf_testkit::{
    Faulty, FaultySettings, Script, When,
    faulty::{Dress, Fault, Form, Gate, Status},
};

use crate::raw::{QUIET, Raw, Then, call, run, session, start, tool};

/// A call that meets a fault: what has come of it, how the connection goes on,
/// and how often the call has run.
async fn met(fault: Fault, form: Form) -> (String, Then, u64) {
    let script = Script::new().on(When::tool("run_once"), fault);
    let settings = FaultySettings { form, ..FaultySettings::default() };
    let faulty = Faulty::start(script, settings).await.expect("it starts");
    let id = session_in(&faulty).await;
    let mut raw = Raw::to(&faulty).await;
    raw.post(Some(&id), &run(1, "t")).await;
    let then = raw.rest().await;
    (raw.text, then, faulty.record().executions("t"))
}

async fn session_in(faulty: &Faulty) -> String {
    // Its own answer is JSON or events; either way the id is in its head.
    let mut raw = Raw::to(faulty).await;
    raw.post(None, &crate::raw::hello()).await;
    raw.until("\r\n\r\n").await;
    raw.rest().await;
    let id = raw.text.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
    id.expect("it gives an id").to_owned()
}

async fn as_events(fault: Fault) -> (String, Then, u64) {
    met(fault, Form::EventStream).await
}

#[tokio::test]
async fn without_a_fault_the_answer_comes_in_the_form_that_is_set() {
    let (text, then, ran) = as_events(Fault::None).await;
    assert!(text.contains("text/event-stream") && text.contains("ran 1 times"), "{text}");
    assert_eq!((then, ran), (Then::Quiet, 1));
    let (text, ..) = met(Fault::None, Form::Json).await;
    assert!(text.contains("application/json") && text.contains("ran 1 times"), "{text}");
}

#[tokio::test]
async fn a_hang_says_nothing_and_does_not_run() {
    assert_eq!(as_events(Fault::Hang).await, (String::new(), Then::Quiet, 0));
}

#[tokio::test]
async fn a_hang_after_the_headers_has_run() {
    let (text, then, ran) = as_events(Fault::HangAfterHeaders).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\n"), "{text}");
    assert_eq!((then, ran), (Then::Quiet, 1));
}

#[tokio::test]
async fn a_close_and_a_reset_come_where_they_are_said_to() {
    assert_eq!(as_events(Fault::Close).await, (String::new(), Then::Closed, 0));
    assert_eq!(as_events(Fault::ResetBeforeHeaders).await, (String::new(), Then::Reset, 1));
    let (text, then, ran) = as_events(Fault::ResetAfterHeaders).await;
    assert!(text.is_empty() || text.ends_with("\r\n\r\n"), "no event has begun: {text}");
    assert_eq!((then, ran), (Then::Reset, 1));
    let (text, then, ran) = as_events(Fault::ResetMidEvent).await;
    assert!(!text.contains("ran 1 times"), "{text}");
    assert_eq!((then, ran), (Then::Reset, 1));
    let (text, then, ran) = met(Fault::ResetMidJson, Form::Json).await;
    assert!(!text.contains("ran 1 times"), "{text}");
    assert_eq!((then, ran), (Then::Reset, 1));
}

#[tokio::test]
async fn a_stream_that_ends_in_order_has_no_answer_in_it() {
    let (text, then, ran) = as_events(Fault::EndWithoutAnswer).await;
    assert!(text.ends_with("\r\n\r\n0\r\n\r\n") && !text.contains("data:"), "{text}");
    assert_eq!((then, ran), (Then::Quiet, 1));
}

#[tokio::test]
async fn a_status_is_what_is_said_and_nothing_runs() {
    for status in [401, 403, 500, 503] {
        let (text, _, ran) = as_events(Fault::status(status)).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert_eq!(ran, 0);
    }
    let refusal = Status::new(503).retry_after(Duration::from_secs(7)).json_rpc(-32000, "busy");
    let (text, ..) = as_events(refusal.into()).await;
    assert!(text.contains("retry-after: 7\r\n") && text.contains("\"message\":\"busy\""), "{text}");
}

#[tokio::test]
async fn a_session_that_is_gone_is_gone_in_every_dress() {
    for dress in Dress::ALL {
        let script = Script::new().on(When::tool("run_once").nth(1), Fault::SessionGone(dress));
        let faulty = start(script).await;
        let id = session(&faulty).await;
        for (round, status) in [(1, dress_status(dress)), (2, "404")] {
            let mut raw = Raw::to(&faulty).await;
            raw.post(Some(&id), &run(round, "t")).await;
            raw.rest().await;
            assert_eq!(raw.status(), status, "{dress:?}, {round}: {}", raw.text);
        }
        assert_eq!(faulty.record().executions("t"), 0);
        assert_eq!(faulty.record().so_far().sessions().now, 0);
    }
}

fn dress_status(dress: Dress) -> &'static str {
    match dress {
        Dress::Empty404 | Dress::NotFound404 | Dress::Invalid404 => "404",
        Dress::BadRequest400 => "400",
        Dress::NotFound200 | Dress::Terminated200 => "200",
    }
}

#[tokio::test]
async fn an_answer_can_be_of_another_kind_cut_off_or_huge() {
    let (text, _, ran) = as_events(Fault::WrongContentType("text/html".into())).await;
    assert!(text.contains("content-type: text/html\r\n"), "{text}");
    assert_eq!(ran, 1);
    let (text, ..) = as_events(Fault::Malformed).await;
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    serde_json::from_str::<serde_json::Value>(data).expect_err("it is no JSON");
    let (text, ..) = as_events(Fault::HugeEvent(300_000)).await;
    assert!(text.len() > 300_000);
    let error = Fault::Error { code: -32050, message: "out of beans".into() };
    let (text, _, ran) = as_events(error).await;
    assert!(text.contains("-32050") && text.contains("out of beans"), "{text}");
    assert_eq!(ran, 0);
}

#[tokio::test]
async fn a_drip_takes_so_long_for_each_byte() {
    let script = Script::new().on(When::tool("run_once"), Fault::Drip(Duration::from_secs(1)));
    let faulty = start(script).await;
    let id = session(&faulty).await;
    let mut raw = Raw::to(&faulty).await;
    raw.post(Some(&id), &run(1, "t")).await;
    raw.until("1\r\ne\r\n").await;
    // A second is longer than it is listened for.
    assert_eq!(raw.rest().await, Then::Quiet);
    assert!(raw.text.ends_with("\r\n\r\n1\r\ne\r\n"), "{}", raw.text);
    let (text, ..) = met(Fault::Drip(Duration::from_micros(1)), Form::Json).await;
    assert!(text.contains("ran 1 times"), "{text}");
}

#[tokio::test]
async fn an_answer_can_be_late_or_held_until_it_is_let_go() {
    let gate = Gate::new();
    let script = Script::new().on(When::tool("run_once"), Fault::Held(gate.clone()));
    let faulty = start(script).await;
    let id = session(&faulty).await;
    let mut raw = Raw::to(&faulty).await;
    raw.post(Some(&id), &run(1, "t")).await;
    assert_eq!(raw.rest().await, Then::Quiet);
    assert_eq!(faulty.record().executions("t"), 1, "it has run");
    assert!(!raw.text.contains("data:"), "{}", raw.text);
    gate.release();
    raw.until("ran 1 times").await;
    let (text, then, _) = as_events(Fault::Late(2 * QUIET)).await;
    assert!(!text.contains("data:") && then == Then::Quiet, "{text}");
}

#[tokio::test]
async fn answers_come_in_another_order_under_another_id_and_twice() {
    let script = Script::new().on(When::tool("run_once").nth(1), Fault::Overtaken(2));
    let faulty = start(script).await;
    let id = session(&faulty).await;
    let mut first = Raw::to(&faulty).await;
    first.post(Some(&id), &run(1, "first")).await;
    for overtakes in [2, 3] {
        assert_eq!(first.rest().await, Then::Quiet);
        assert!(!first.text.contains("data:"), "before {overtakes}: {}", first.text);
        let mut raw = Raw::to(&faulty).await;
        raw.post(Some(&id), &run(overtakes, "later")).await;
        raw.until("data:").await;
    }
    first.until("ran 1 times").await;
    let (text, ..) = as_events(Fault::StrangeIdFirst).await;
    assert_eq!(ids(&text), ["\"no such request\"", "1"]);
    let (text, ..) = as_events(Fault::StrangeIdInstead).await;
    assert_eq!(ids(&text), ["\"no such request\""]);
    let (text, ..) = as_events(Fault::Twice).await;
    assert_eq!(ids(&text), ["1", "1"]);
}

/// The ids of the answers on an event stream.
fn ids(text: &str) -> Vec<String> {
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let read = |data| serde_json::from_str::<serde_json::Value>(data).expect("it is JSON");
    events.map(|data| read(data)["id"].to_string()).collect()
}

#[tokio::test]
async fn over_sse_the_answer_comes_on_the_stream_and_so_do_its_faults() {
    for (fault, end) in [
        (Fault::None, Then::Quiet),
        (Fault::HangAfterHeaders, Then::Quiet),
        (Fault::ResetMidEvent, Then::Reset),
        (Fault::ResetAfterHeaders, Then::Reset),
        (Fault::EndWithoutAnswer, Then::Quiet),
        (Fault::Crash, Then::Closed),
    ] {
        let name = fault.name();
        let is_good = matches!(fault, Fault::None);
        let faulty = start(Script::new().on(When::tool("echo"), fault)).await;
        let mut stream = Raw::to(&faulty).await;
        stream.request("GET /sse", None, "").await;
        stream.until("/messages?session_id=").await;
        stream.until("\n\n").await;
        let path = stream.text.lines().find_map(|line| line.strip_prefix("data: "));
        let head = format!("POST {}", path.expect("it names the endpoint"));
        let mut post = Raw::to(&faulty).await;
        post.request(&head, None, &tool(1, "echo", &json!({"message": "heard"}))).await;
        post.until("202").await;
        // What comes last in the answer.
        let end_of_answer = "structuredContent";
        if is_good {
            stream.until(end_of_answer).await;
        }
        let then = stream.rest().await;
        // A kill closes or resets, as the system has it.
        let is_dead = name == "crash" && then != Then::Quiet;
        assert!(is_dead || then == end, "{name}: {then:?}");
        assert_eq!(stream.text.contains(end_of_answer), is_good, "{name}");
    }
}

#[tokio::test]
async fn a_rule_counts_and_the_first_whose_turn_it_is_decides() {
    let script = Script::new()
        .on(When::method("ping").nth(2), Fault::status(500))
        .on(When::method("ping").every(3), Fault::status(501))
        .on(When::method("ping").from(6), Fault::status(502));
    let faulty = start(script).await;
    let id = session(&faulty).await;
    let mut statuses = Vec::new();
    for number in 1..=7 {
        let mut raw = Raw::to(&faulty).await;
        raw.post(Some(&id), &call(number, "ping", &json!({}))).await;
        timeout(QUIET * 10, raw.until("\r\n\r\n")).await.expect("it is answered");
        statuses.push(raw.status().to_owned());
    }
    assert_eq!(statuses, ["200", "500", "501", "200", "200", "501", "502"]);
}
