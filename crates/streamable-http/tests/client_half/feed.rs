//! What the upstream says unasked, and the end of the link.

use wharf_proto::{
    Message, Revision,
    transport::{EndReason, Exchange as _, Feed as _, Link as _},
};
use wharf_streamable_http::client::HttpFeed;

use crate::upstream::{Asked, SESSION, Upstream, beside, request, soon};

const NO_GET: &str =
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no GET here"}}"#;

fn is_listening(asked: &Asked, last_event_id: Option<&str>) {
    assert_eq!(asked.method, "GET");
    assert_eq!(asked.header("accept"), Some("text/event-stream"));
    assert_eq!(asked.header("mcp-session-id"), Some(SESSION));
    assert_eq!(asked.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(asked.header("last-event-id"), last_event_id);
}

/// The method of the next notification.
async fn heard(feed: &mut HttpFeed) -> String {
    match soon(feed.next()).await.expect("goes on") {
        Message::Notification(notification) => notification.method().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_stream_is_opened_before_somebody_listens() {
    let upstream = Upstream::start().await;
    let (link, mut feed) = upstream.session().await;
    beside(upstream.is_left_alone(), feed.next()).await;
    link.listen();
    let asked = beside(upstream.asked(), feed.next()).await;
    is_listening(&asked, None);
}

#[tokio::test]
async fn no_stream_is_opened_before_the_handshake_is_over() {
    let upstream = Upstream::start().await;
    let (link, mut feed) = upstream.link();
    link.listen();
    beside(upstream.is_left_alone(), feed.next()).await;
    let shaken = upstream.shake_hands(&link, Some(SESSION), Revision::LATEST);
    let (asked, ()) = beside(
        async {
            shaken.await;
            (upstream.asked().await, ())
        },
        feed.next(),
    )
    .await;
    is_listening(&asked, None);
}

#[tokio::test]
async fn a_stream_that_ends_or_breaks_is_opened_again_from_where_it_stood() {
    let upstream = Upstream::start().await;
    let (link, mut feed) = upstream.session().await;
    link.listen();
    let script = async {
        let asked = upstream.asked().await;
        is_listening(&asked, None);
        let mut events = asked.events().await;
        events.say("id: g-1\nretry: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"one\"}\n\n").await;
        drop(events);

        let asked = upstream.asked().await;
        is_listening(&asked, Some("g-1"));
        asked.reset();

        let asked = upstream.asked().await;
        is_listening(&asked, Some("g-1"));
        asked.status(503).await;

        let asked = upstream.asked().await;
        is_listening(&asked, Some("g-1"));
        let mut events = asked.events().await;
        events.say("data: no message\n\n").await;
        events.message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
        events
            .message(r#"[{"jsonrpc":"2.0","method":"two"},{"jsonrpc":"2.0","method":"three"}]"#)
            .await;
        events
    };
    let heard = async { [heard(&mut feed).await, heard(&mut feed).await, heard(&mut feed).await] };
    let (heard, _events) = soon(async { tokio::join!(heard, script) }).await;
    assert_eq!(heard, ["one", "two", "three"]);
    assert!(link.end_reason().is_none());
}

#[tokio::test]
async fn an_upstream_without_a_stream_is_left_in_peace() {
    for (status, kind, body) in [
        (405, "", ""),
        (501, "", ""),
        (400, "", ""),
        (400, "application/json", NO_GET),
        (401, "", ""),
        (200, "text/html", "<html>"),
        (404, "text/html", "<h1>Not Found</h1>"),
    ] {
        let upstream = Upstream::start().await;
        let (link, mut feed) = upstream.session().await;
        link.listen();
        let quiet = async {
            upstream.asked().await.answer(status, kind, "", body).await;
            upstream.is_left_alone().await;
            // Calls go on.
            let answer = upstream.called(&link, |asked| async {
                let answer = asked.response("{}");
                asked.json(&answer).await;
            });
            answer.await.expect("is answered");
        };
        beside(quiet, feed.next()).await;
        assert!(link.end_reason().is_none(), "{status}");
    }
}

#[tokio::test]
async fn a_stream_whose_place_is_not_known_any_more_is_begun_anew() {
    let unknown = r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"no such event"}}"#;
    for (status, kind, body) in [(400, "", ""), (400, "application/json", unknown), (410, "", "")] {
        let upstream = Upstream::start().await;
        let (link, mut feed) = upstream.session().await;
        link.listen();
        let script = async {
            upstream.asked().await.events().await.say("id: g-1\nretry: 1\ndata:\n\n").await;
            let asked = upstream.asked().await;
            is_listening(&asked, Some("g-1"));
            asked.answer(status, kind, "", body).await;
            let asked = upstream.asked().await;
            is_listening(&asked, None);
            let mut events = asked.events().await;
            events.message(r#"{"jsonrpc":"2.0","method":"one"}"#).await;
            events
        };
        let (heard, _events) = soon(async { tokio::join!(heard(&mut feed), script) }).await;
        assert_eq!(heard, "one", "{status}");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_found_again_ends_the_link() {
    let upstream = Upstream::start().await;
    let (link, mut feed) = upstream.session().await;
    link.listen();
    let script = async {
        upstream.asked().await.events().await.say("retry: 1\ndata:\n\n").await;
        upstream.asked().await.status(404).await;
    };
    let (end, ()) = soon(async { tokio::join!(feed.next(), script) }).await;
    assert!(matches!(end, Err(EndReason::SessionGone)));
    assert!(matches!(link.end_reason(), Some(EndReason::SessionGone)));
}

#[tokio::test]
async fn a_first_stream_whose_session_is_not_found_ends_the_link() {
    let not_found = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"?"}}"#;
    let bad_request = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request: No valid session ID provided"}}"#;
    for (status, kind, body) in [
        (404, "application/json", not_found),
        (404, "text/plain", "Session not found"),
        (400, "application/json", bad_request),
    ] {
        let upstream = Upstream::start().await;
        let (link, mut feed) = upstream.session().await;
        link.listen();
        let script = async { upstream.asked().await.answer(status, kind, "", body).await };
        let (end, ()) = soon(async { tokio::join!(feed.next(), script) }).await;
        assert!(matches!(end, Err(EndReason::SessionGone)), "{body}");
    }
}

#[tokio::test]
async fn a_call_that_finds_the_session_gone_wakes_the_feed() {
    let upstream = Upstream::start().await;
    let (link, mut feed) = upstream.session().await;
    link.listen();
    let script = async {
        let events = upstream.asked().await.events().await;
        let error = upstream.called(&link, |asked| asked.status(404)).await;
        error.expect_err("is gone");
        events
    };
    let (end, events) = soon(async { tokio::join!(feed.next(), script) }).await;
    assert!(matches!(end, Err(EndReason::SessionGone)));
    events.closed().await;
}

#[tokio::test]
async fn goodbye_ends_the_feed_before_it_deletes_the_session() {
    let upstream = Upstream::start().await;
    let (link, mut feed) = upstream.session().await;
    let mut farewell = std::pin::pin!(link.goodbye());
    let asked = beside(upstream.asked(), &mut farewell).await;
    assert_eq!(asked.method, "DELETE");
    assert_eq!(asked.header("mcp-session-id"), Some(SESSION));
    assert_eq!(asked.header("mcp-protocol-version"), Some("2025-11-25"));
    assert!(matches!(soon(feed.next()).await, Err(EndReason::Closed)));
    let error = link.call(request(1, "ping")).answer().await;
    error.expect_err("the link has ended");
    soon(async { tokio::join!(farewell, asked.status(404)) }).await;
    // Once is enough.
    link.goodbye().await;
    upstream.is_left_alone().await;
}

#[tokio::test]
async fn goodbye_deletes_no_session_that_there_is_not() {
    let upstream = Upstream::start().await;
    let (link, mut feed) = upstream.link();
    upstream.shake_hands(&link, None, Revision::LATEST).await;
    soon(link.goodbye()).await;
    assert!(matches!(soon(feed.next()).await, Err(EndReason::Closed)));
    upstream.is_left_alone().await;
}
