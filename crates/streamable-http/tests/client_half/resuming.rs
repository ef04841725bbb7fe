//! Answers that break off and go on.

use std::time::Duration;

use tokio::time::Instant;
use wharf_proto::{
    Message,
    transport::{EndReason, Exchange as _, Fate, Fault, Link as _},
};

use crate::upstream::{Asked, SESSION, Upstream, request, soon};

/// The answer to the first call of a test.
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

fn is_continuation(asked: &Asked, last_event_id: &str) {
    assert_eq!(asked.method, "GET");
    assert_eq!(asked.header("accept"), Some("text/event-stream"));
    assert_eq!(asked.header("last-event-id"), Some(last_event_id));
    assert_eq!(asked.header("mcp-session-id"), Some(SESSION));
    assert_eq!(asked.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(asked.header("content-type"), None);
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_and_the_servers_wait() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let mut exchange = link.call(request(1, "tools/call"));
    let script = async {
        let mut events = upstream.asked().await.events().await;
        events.say("id: a-1\nretry: 150\ndata:\n\n").await;
        events.say("id: a-2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"one\"}\n\n").await;
        drop(events);
        let closed = Instant::now();
        let asked = upstream.asked().await;
        assert!(closed.elapsed() >= Duration::from_millis(150));
        is_continuation(&asked, "a-2");
        let mut events = asked.events().await;
        events.say("id: a-3\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"two\"}\n\n").await;
        events.message(ANSWER).await;
    };
    let heard = async {
        let mut heard = Vec::new();
        loop {
            match exchange.next().await.expect("goes on") {
                Message::Notification(said) => heard.push(said.method().to_owned()),
                Message::Response(_) => return heard,
                Message::Request(request) => panic!("{request:?}"),
            }
        }
    };
    let (heard, ()) = soon(async { tokio::join!(heard, script) }).await;
    assert_eq!(heard, ["one", "two"]);
}

#[tokio::test]
async fn a_stream_that_says_something_each_time_may_break_off_any_number_of_times() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let answer = upstream.called(&link, |asked| async {
        asked.events().await.say("id: 0\nretry: 1\ndata:\n\n").await;
        for last in 0..10 {
            let asked = upstream.asked().await;
            is_continuation(&asked, &last.to_string());
            let priming = format!("id: {}\ndata:\n\n", last + 1);
            asked.events().await.say(&priming).await;
        }
        upstream.asked().await.events().await.message(ANSWER).await;
    });
    answer.await.expect("is answered");
}

#[tokio::test]
async fn a_stream_that_does_not_come_back_is_given_up() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let error = upstream.called(&link, |asked| async {
        asked.events().await.say("id: 0\nretry: 1\ndata:\n\n").await;
        drop(upstream.asked().await.events().await);
        upstream.asked().await.reset();
        upstream.asked().await.status(503).await;
    });
    let error = error.await.expect_err("is not answered");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::Status { .. }), "{error:?}");
    upstream.is_left_alone().await;
    assert!(link.end_reason().is_none());
}

#[tokio::test]
async fn an_upstream_that_does_not_resume_has_not_answered() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let error = upstream.called(&link, |asked| async {
        asked.events().await.say("id: 0\nretry: 1\ndata:\n\n").await;
        upstream.asked().await.status(405).await;
    });
    let error = error.await.expect_err("is not answered");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::NoAnswer), "{error:?}");
    upstream.is_left_alone().await;
}

#[tokio::test]
async fn a_session_that_goes_before_the_answer_comes_may_have_run_it() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let error = upstream.called(&link, |asked| async {
        asked.events().await.say("id: 0\nretry: 1\ndata:\n\n").await;
        upstream.asked().await.status(404).await;
    });
    let error = error.await.expect_err("is not answered");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::SessionGone), "{error:?}");
    assert!(matches!(link.end_reason(), Some(EndReason::SessionGone)));
}
