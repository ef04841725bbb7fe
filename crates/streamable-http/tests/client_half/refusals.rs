//! Answers that are none: statuses, the many dresses of a session's end, and
//! bodies that are not MCP.

use wharf_proto::{
    Notification, RequestId, Revision, method,
    transport::{CallError, EndReason, Exchange as _, Fate, Fault, Feed as _, Link as _},
};

use crate::upstream::{SESSION, Upstream, request, soon};

const JSON: &str = "application/json";

fn failure(id: &str, code: i64, message: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
}

/// Makes a call that is answered so.
async fn call(
    upstream: &Upstream,
    link: &wharf_streamable_http::client::HttpLink,
    (status, kind, body): (u16, &str, &str),
) -> Result<wharf_proto::Response, CallError> {
    upstream.called(link, |asked| asked.answer(status, kind, "", body)).await
}

#[tokio::test]
async fn a_session_that_is_gone_ends_the_link_in_whatever_dress() {
    for (status, kind, body) in [
        (404, "", String::new()),
        (404, "text/plain", "Not Found".to_owned()),
        (404, JSON, "{\"detail\":\"Not Found\"}".to_owned()),
        (404, JSON, failure("null", -32001, "Session not found")),
        (404, JSON, failure("\"server-error\"", -32600, "Session has been terminated")),
        (
            400,
            JSON,
            failure("\"server-error\"", -32600, "Bad Request: No valid session ID provided"),
        ),
        (400, JSON, failure("null", -32000, "Bad Request: No valid session ID provided")),
        (200, JSON, failure("1", -32600, "Session not found")),
        (200, JSON, failure("null", -32001, "Session terminated")),
    ] {
        let upstream = Upstream::start().await;
        let (link, mut feed) = upstream.session().await;
        assert!(link.end_reason().is_none());
        let error = call(&upstream, &link, (status, kind, &body)).await;
        let error = error.expect_err("the session is gone");
        assert_eq!(error.fate, Fate::NotSent, "{status} {body}");
        assert!(matches!(error.fault, Fault::SessionGone), "{status} {body}");
        assert!(matches!(link.end_reason(), Some(EndReason::SessionGone)));

        // Nothing more is sent, and all are told.
        let error = link.call(request(2, "tools/call")).answer().await;
        let error = error.expect_err("the link has ended");
        assert_eq!(error.fate, Fate::NotSent);
        assert!(matches!(error.fault, Fault::Ended(EndReason::SessionGone)));
        let error = link.notify(Notification::new("notifications/cancelled", None)).await;
        assert!(matches!(error.expect_err("too").fault, Fault::Ended(EndReason::SessionGone)));
        assert!(matches!(soon(feed.next()).await, Err(EndReason::SessionGone)));
        link.goodbye().await;
        upstream.is_left_alone().await;
    }
}

#[tokio::test]
async fn a_notification_finds_the_session_gone_too() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let script = async { upstream.asked().await.status(404).await };
    let notification = Notification::new("notifications/initialized", None);
    let (told, ()) = tokio::join!(link.notify(notification), script);
    assert!(matches!(told.expect_err("is gone").fault, Fault::SessionGone));
    assert!(matches!(link.end_reason(), Some(EndReason::SessionGone)));
}

#[tokio::test]
async fn an_error_in_a_refusal_is_the_answer() {
    for (status, body) in [
        (404, failure("1", -32601, "Method not found")),
        (404, failure("null", -32601, "Method not found")),
        (400, failure("1", -32602, "Invalid params")),
        (400, failure("null", -32700, "Parse error")),
        (400, failure("\"server-error\"", -32600, "Bad Request: Missing Accept")),
        (500, failure("1", -32603, "Internal error")),
        (200, failure("1", -32603, "Database: session not found")),
    ] {
        let upstream = Upstream::start().await;
        let (link, _feed) = upstream.session().await;
        let answer = call(&upstream, &link, (status, JSON, &body)).await;
        let answer = answer.expect("an error is an answer");
        assert_eq!(answer.id(), Some(&RequestId::from(1)), "{body}");
        assert!(answer.error_code().is_some(), "{body}");
        assert!(link.end_reason().is_none(), "{body}");
    }
}

#[tokio::test]
async fn a_status_says_whether_the_request_can_have_run() {
    for (status, fate) in [
        (302, Fate::MayHaveRun),
        (307, Fate::NotSent),
        (400, Fate::MayHaveRun),
        (401, Fate::NotSent),
        (403, Fate::NotSent),
        (405, Fate::NotSent),
        (406, Fate::NotSent),
        (413, Fate::NotSent),
        (415, Fate::NotSent),
        (429, Fate::NotSent),
        (500, Fate::MayHaveRun),
        (502, Fate::MayHaveRun),
        (503, Fate::MayHaveRun),
    ] {
        let upstream = Upstream::start().await;
        let (link, _feed) = upstream.session().await;
        let error = call(&upstream, &link, (status, "text/html", "<html>")).await;
        let error = error.expect_err("is refused");
        assert_eq!(error.fate, fate, "{status}");
        let Fault::Status { status: found } = error.fault else { panic!("{error:?}") };
        assert_eq!(found, status);
        assert!(link.end_reason().is_none(), "{status}");
    }
}

#[tokio::test]
async fn without_a_session_a_404_is_a_status() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.link();
    upstream.shake_hands(&link, None, Revision::LATEST).await;
    assert!(!link.has_session());
    let error = call(&upstream, &link, (404, "", "")).await.expect_err("is refused");
    assert_eq!(error.fate, Fate::NotSent);
    assert!(matches!(error.fault, Fault::Status { .. }));
    assert!(link.end_reason().is_none());
}

#[tokio::test]
async fn a_handshake_at_the_wrong_path_is_a_status() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.link();
    let mut exchange = link.call(request(0, method::INITIALIZE));
    let script = async { upstream.asked().await.status(404).await };
    let (answer, ()) = tokio::join!(exchange.answer(), script);
    let error = answer.expect_err("is refused");
    assert!(matches!(error.fault, Fault::Status { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_not_mcp_is_named() {
    for (kind, body, found) in [
        ("text/html; charset=utf-8", "<html>", "text/html"),
        ("", "hello", "an untyped body"),
        (
            JSON,
            r#"{"jsonrpc":"2.0","id":2,"result":{}}"#,
            "JSON that is no response to the request",
        ),
        (JSON, r#"{"jsonrpc":"2.0","method":"m"}"#, "JSON that is no response to the request"),
    ] {
        let upstream = Upstream::start().await;
        let (link, _feed) = upstream.session().await;
        let error = call(&upstream, &link, (200, kind, body)).await;
        let error = error.expect_err("is no MCP");
        assert_eq!(error.fate, Fate::MayHaveRun);
        let Fault::NotMcp { found: named } = error.fault else { panic!("{error:?}") };
        assert_eq!(&*named, found);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_to_be_so() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let error = call(&upstream, &link, (200, JSON, "{oops")).await;
    assert!(matches!(error.expect_err("is broken").fault, Fault::Malformed { .. }));
    let error = call(&upstream, &link, (202, "", "")).await;
    let error = error.expect_err("202 answers no request");
    assert!(matches!((error.fate, error.fault), (Fate::MayHaveRun, Fault::NoAnswer)));
}

#[tokio::test]
async fn an_answer_is_read_up_to_the_limit() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let huge = format!("{{\"text\":\"{}\"}}", "x".repeat(8000));
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{huge}}}"#);
    let error = call(&upstream, &link, (200, JSON, &body)).await;
    let error = error.expect_err("is too large");
    assert!(matches!(error.fault, Fault::TooLarge { limit: 4096 }), "{error:?}");
    assert_eq!(error.fate, Fate::MayHaveRun);

    let event = format!("data: {body}\n\n");
    let error = call(&upstream, &link, (200, "text/event-stream", &event)).await;
    let error = error.expect_err("is too large");
    assert!(matches!(error.fault, Fault::TooLarge { limit: 4096 }), "{error:?}");
    assert!(link.end_reason().is_none());
}

#[tokio::test]
async fn a_session_id_that_is_not_allowed_fails_the_handshake() {
    for (header, is_fit) in [
        (format!("mcp-session-id: {SESSION}\r\n"), true),
        ("mcp-session-id:\r\n".to_owned(), true),
        ("mcp-session-id: two words\r\n".to_owned(), false),
        ("mcp-session-id: s\u{e9}ance\r\n".to_owned(), false),
    ] {
        let upstream = Upstream::start().await;
        let (link, _feed) = upstream.link();
        let mut exchange = link.call(request(0, method::INITIALIZE));
        let script = async {
            let asked = upstream.asked().await;
            let answer = asked.response("{}");
            asked.answer(200, JSON, &header, &answer).await;
        };
        let (answer, ()) = tokio::join!(exchange.answer(), script);
        assert_eq!(answer.is_ok(), is_fit, "{header}");
    }
}
