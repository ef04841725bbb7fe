//! What a POST has to be, and what comes back where it is not.

use std::convert::Infallible;

use http::{Method, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::oneshot;

use crate::{
    backend::Heard,
    client::{Ask, BOTH, Stage, call, delete, get, hello, post, request, settings},
};

#[tokio::test]
async fn a_body_that_is_not_json_rpc_is_a_400_that_says_where() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    for (body, error) in [
        ("{\"jsonrpc\":", (-32700, None)),
        ("", (-32700, None)),
        ("[]", (-32600, None)),
        ("7", (-32600, None)),
        (r#"{"jsonrpc":"1.0","id":7,"method":"x"}"#, (-32600, Some("7"))),
        (r#"{"jsonrpc":"2.0","id":"a"}"#, (-32600, Some("\"a\""))),
        (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, (-32600, None)),
    ] {
        let got = stage.ask(post(body).of(&id)).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(got.error(), (error.0, error.1.map(str::to_owned)), "{body}");
    }
    assert!(stage.is_silent());
}

#[tokio::test]
async fn another_content_type_is_a_415() {
    let stage = Stage::new().await;
    let ask = hello("2025-11-25").without(header::CONTENT_TYPE);
    let got = stage.ask(ask.with("content-type", "text/plain")).await;
    assert_eq!(got.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(got.text().contains("application/json"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_announced_or_not() {
    let mut settings = settings();
    settings.max_body = 400;
    let mut stage = Stage::with(settings, |_| {}).await;
    let (id, _) = stage.open().await;
    let body = format!("{}{}", request(1, "echo"), " ".repeat(400));
    let got = stage.ask(post(body.clone()).of(&id)).await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(got.text().contains("400 bytes"));

    let chunked = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\naccept: {BOTH}\r\nmcp-session-id: {id}\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let answer = stage.raw(chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(stage.is_silent());
}

#[tokio::test]
async fn a_large_body_of_no_known_session_is_refused_before_it_is_read() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    // Two megabytes of the sixteen that there may be are announced; none come.
    let head = |session: &str| {
        format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\naccept: {BOTH}\r\n{session}\
             content-length: 2097152\r\n\r\n"
        )
    };
    let answer = stage.raw(head("mcp-session-id: no-such-session\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("`initialize`"), "{answer}");
    let answer = stage.raw(head("").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("Mcp-Session-Id"), "{answer}");

    let large = format!("{}{}", request(1, "echo"), " ".repeat(2 << 20));
    assert_eq!(stage.ask(post(large).of(&id)).await.status, StatusCode::OK);
    assert!(stage.is_silent());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_408() {
    let mut stage = Stage::new().await;
    let (head, _) = hello("2025-11-25").direct().into_parts();
    let never = futures_util::stream::pending::<Result<Frame<bytes::Bytes>, Infallible>>();
    let body = StreamBody::new(never);
    let got = stage.server.handle(http::Request::from_parts(head, body), None).await;
    assert_eq!(got.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(stage.is_silent());
}

#[tokio::test]
async fn a_session_that_ends_while_a_body_comes_is_a_404() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let (head, whole) = call(1).of(&id).direct().into_parts();
    let (comes, is_due) = oneshot::channel::<()>();
    let late = async move {
        is_due.await.expect("it comes");
        whole.collect().await.map(|whole| Frame::data(whole.to_bytes()))
    };
    let body = StreamBody::new(Box::pin(futures_util::stream::once(late)));
    let server = stage.server.clone();
    let mut handling = Box::pin(server.handle(http::Request::from_parts(head, body), None));
    assert!(futures_util::poll!(&mut handling).is_pending());
    assert_eq!(stage.ask(delete().of(&id)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(stage.closed().await, 1);
    comes.send(()).expect("it is waited for");
    assert_eq!(handling.await.status(), StatusCode::NOT_FOUND);
    assert!(stage.is_silent());
}

#[tokio::test]
async fn huge_headers_are_a_431() {
    let stage = Stage::new().await;
    let head =
        format!("POST /mcp HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = stage.raw(head.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(stage.ask(hello("2025-11-25")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn other_methods_are_a_405_with_those_there_are() {
    let stage = Stage::new().await;
    for method in [Method::PUT, Method::PATCH, Method::OPTIONS] {
        let got = stage.ask(Ask::new(method)).await;
        assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(got.headers[header::ALLOW], "GET, POST, DELETE");
    }
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_a_403_before_anything_else() {
    let stage = Stage::new().await;
    for (name, value, status) in [
        ("origin", "http://evil.example.com", StatusCode::FORBIDDEN),
        ("origin", "http://localhost:6274", StatusCode::OK),
        ("host", "evil.example.com", StatusCode::FORBIDDEN),
        ("host", "localhost:1", StatusCode::OK),
    ] {
        let got = stage.ask(hello("2025-11-25").with(name, value)).await;
        assert_eq!(got.status, status, "{name}: {value}");
    }
    for ask in [get(), delete(), Ask::new(Method::PUT)] {
        let got = stage.ask(ask.with("origin", "http://evil.example.com")).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN);
        assert_eq!(got.error(), (-32600, None));
    }
}

#[tokio::test]
async fn the_order_of_checks_is_accept_type_body_session_version() {
    let mut stage = Stage::new().await;
    let bad = || post("{").of("no-such-session").with("mcp-protocol-version", "1");
    let refused = bad().accepting("text/html").without(header::CONTENT_TYPE);
    assert_eq!(stage.ask(refused).await.status, StatusCode::NOT_ACCEPTABLE);
    let refused = bad().without(header::CONTENT_TYPE);
    assert_eq!(stage.ask(refused).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(stage.ask(bad()).await.error().0, -32700);
    let got = stage.ask(call(1).of("no-such-session").with("mcp-protocol-version", "1")).await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    let (id, _) = stage.open_as("2025-06-18").await;
    let got = stage.ask(call(1).of(&id).with("mcp-protocol-version", "1")).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(got.text().contains("MCP-Protocol-Version"));
}

#[tokio::test]
async fn notifications_and_responses_are_taken_with_an_empty_202() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let got = stage.ask(post(note).of(&id)).await;
    assert_eq!((got.status, got.text()), (StatusCode::ACCEPTED, ""));
    let (number, notification) = stage.notified().await;
    assert_eq!((number, notification.method()), (1, "notifications/initialized"));

    let response = r#"{"jsonrpc":"2.0","id":"q-1","result":{"x":1}}"#;
    let got = stage.ask(post(response).of(&id)).await;
    assert_eq!((got.status, got.text()), (StatusCode::ACCEPTED, ""));
    let Heard::Responded(1, heard) = stage.hear().await else {
        panic!("the response goes to the backend")
    };
    assert_eq!(heard.text(), response);
}

#[tokio::test]
async fn a_batch_is_answered_call_by_call_where_the_revision_has_batches() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open_as("2025-03-26").await;
    let note = r#"{"jsonrpc":"2.0","method":"notes/one"}"#;
    let batch = format!("[{},{note},{}]", request(1, "work"), request(2, "work"));
    let mut events = stage.begin(post(batch).of(&id));
    let (_, notification) = stage.notified().await;
    assert_eq!(notification.method(), "notes/one");
    let (first, second) = (stage.call().await, stage.call().await);
    assert_eq!(first.request.id().as_u64(), Some(1));
    second.answer("{}");
    assert_eq!(events.next().await.as_deref(), Some(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
    first.say(crate::backend::note(1));
    first.answer("{}");
    assert!(events.next().await.expect("goes on").contains("notes/one"));
    assert_eq!(events.next().await.as_deref(), Some(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_batch_is_answered_with_an_array_where_only_json_is_taken() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open_as("2025-03-26").await;
    let batch = format!("[{},{}]", request(1, "echo"), request(2, "echo"));
    let got = stage.ask(post(batch).of(&id).accepting("application/json")).await;
    assert_eq!(got.headers[header::CONTENT_TYPE], "application/json");
    let mut ids: Vec<_> = got
        .json()
        .items()
        .expect("is an array")
        .iter()
        .map(|answer| answer.field("id").expect("has one").to_string())
        .collect();
    ids.sort();
    assert_eq!(ids, ["1", "2"]);
}

#[tokio::test]
async fn a_batch_without_calls_is_a_202() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open_as("2025-03-26").await;
    let note = r#"{"jsonrpc":"2.0","method":"notes/one"}"#;
    let got = stage.ask(post(format!("[{note}, {note}]")).of(&id)).await;
    assert_eq!((got.status, got.text()), (StatusCode::ACCEPTED, ""));
    stage.notified().await;
    stage.notified().await;
}

#[tokio::test]
async fn a_batch_is_refused_with_initialize_in_it_or_after_2025_03_26() {
    let mut stage = Stage::new().await;
    let (old, _) = stage.open_as("2025-03-26").await;
    let batch = format!("[{},{}]", request(1, "echo"), request(2, "initialize"));
    for ask in [post(batch.clone()).of(&old), post(batch)] {
        let got = stage.ask(ask).await;
        assert_eq!((got.status, got.error()), (StatusCode::BAD_REQUEST, (-32600, None)));
        assert!(got.text().contains("`initialize`"));
    }
    for revision in ["2025-06-18", "2025-11-25"] {
        let (id, _) = stage.open_as(revision).await;
        let got = stage.ask(post(format!("[{}]", request(1, "echo"))).of(&id)).await;
        assert_eq!((got.status, got.error()), (StatusCode::BAD_REQUEST, (-32600, None)));
    }
    assert!(stage.is_silent());
}

#[tokio::test]
async fn who_waits_for_an_answer_holds_no_more_than_a_kibibyte() {
    let stage = Stage::new().await;
    let handling = stage.server.handle(call(1).of("unknown").direct(), None);
    let size = size_of_val(&handling);
    assert!(size <= 1024, "{size}");
}
