//! The server half against a client that knows nothing of this crate.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use wharf_http::collect;
use wharf_proto::{Json, Message, Notification, RequestId, Response, code, server::Refusal};

mod support;

use support::{
    backend::{Heard, Serving},
    client::{RawClient, RawStream},
    hello, message, request, within,
};

async fn start() -> (Serving, RawClient) {
    let serving = Serving::start().await;
    let client = RawClient::new(serving.address);
    (serving, client)
}

/// A server and a client that has shaken hands.
async fn session() -> (Serving, RawClient, RawStream) {
    let (mut serving, client) = start().await;
    let stream = client.initialize().await;
    serving.opened().await;
    (serving, client, stream)
}

fn text(request: &wharf_proto::Request) -> Bytes {
    request.text().clone()
}

// Opening.

#[tokio::test]
async fn the_first_event_says_where_to_send_messages() {
    let (serving, client) = start().await;
    let stream = client.open().await;
    let id = stream.endpoint.strip_prefix("/messages?session_id=");
    assert!(id.expect("a session").len() >= 32);
    assert_eq!(stream.headers[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(stream.headers[header::CACHE_CONTROL], "no-cache, no-transform");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    let other = client.open().await;
    assert_ne!(stream.endpoint, other.endpoint);
    assert_eq!(serving.server.sessions(), 2);
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_on_both_paths() {
    let (_serving, client) = start().await;
    let stream = client.open().await;
    let (get, post) = (|| client.get("/sse"), || client.to(&stream.endpoint));
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let evil = "evil.example.com";
    for (name, value) in
        [(header::HOST, evil.to_owned()), (header::ORIGIN, format!("http://{evil}"))]
    {
        assert_eq!(client.status(get().header(&name, &value), "").await, 403);
        assert_eq!(client.status(post().header(&name, &value), ping).await, 403);
    }
    let own = "http://localhost:1234";
    assert_eq!(client.status(get().header(header::ORIGIN, own), "").await, 200);
    assert_eq!(client.status(post().header(header::ORIGIN, own), ping).await, 202);
}

#[tokio::test]
async fn other_methods_types_and_sizes_are_refused() {
    let serving = Serving::with(|mut settings| {
        settings.max_body = 100;
        settings
    })
    .await;
    let client = RawClient::new(serving.address);
    let stream = client.open().await;
    let path = &stream.endpoint;

    for method in [Method::POST, Method::DELETE, Method::PUT] {
        let response = client.send(client.get("/sse").method(method), "").await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "GET");
    }
    let response = client.send(client.to(path).method(Method::GET), "").await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()[header::ALLOW], "POST");

    let unfit = http::Request::get(format!("http://{}/sse", serving.address))
        .header(header::ACCEPT, "application/json");
    assert_eq!(client.status(unfit, "").await, 406);
    let unfit = http::Request::post(format!("http://{}{path}", serving.address))
        .header(header::CONTENT_TYPE, "text/plain");
    assert_eq!(client.status(unfit, "{}").await, 415);

    assert_eq!(client.status(client.to(path), vec![b' '; 101]).await, 413);
    assert_eq!(serving.server.sessions(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let serving = Serving::with(|mut settings| {
        settings.body_timeout = Duration::from_millis(20);
        settings
    })
    .await;
    let stream = RawClient::new(serving.address).open().await;
    let mut connection = TcpStream::connect(serving.address).await.expect("it listens");
    let half = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{",
        stream.endpoint
    );
    connection.write_all(half.as_bytes()).await.expect("it is read");
    let mut answer = [0; 12];
    within(connection.read_exact(&mut answer)).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn messages_need_a_session_that_exists() {
    let (_serving, client) = start().await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (path, status) in [
        ("/messages", 400),
        ("/messages?session=1", 400),
        ("/messages?session_id=", 404),
        ("/messages?session_id=0123456789abcdef0123456789abcdef", 404),
    ] {
        assert_eq!(client.status(client.to(path), ping).await, status, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_message_is_answered_with_an_error() {
    let (_serving, client) = start().await;
    let stream = client.open().await;
    for (body, error, id) in [
        ("{", code::PARSE_ERROR, None),
        (r#"{"id":7,"method":"ping"}"#, code::INVALID_REQUEST, Some(7)),
        ("[]", code::INVALID_REQUEST, None),
    ] {
        let response = client.send(client.to(&stream.endpoint), body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let answer = within(collect(response.into_body(), 4096)).await;
        let Ok(Message::Response(answer)) = Message::parse(answer.expect("a body")) else {
            panic!("a JSON-RPC error")
        };
        assert_eq!(answer.error_code(), Some(error), "{body}");
        assert_eq!(answer.id(), id.map(RequestId::from).as_ref());
    }
}

#[tokio::test]
async fn one_session_too_many_is_turned_away() {
    let serving = Serving::with(|mut settings| {
        settings.max_sessions = 1;
        settings
    })
    .await;
    let client = RawClient::new(serving.address);
    let _stream = client.open().await;
    assert_eq!(client.status(client.get("/sse"), "").await, 503);
}

// The handshake.

#[tokio::test]
async fn before_initialize_a_ping_is_answered_and_nothing_else() {
    let (mut serving, client) = start().await;
    let mut stream = client.open().await;
    client.post(&stream, text(&request(1, "tools/list", "{}"))).await;
    assert_eq!(stream.response().await.error_code(), Some(code::INVALID_REQUEST));
    client.post(&stream, text(&request(2, "ping", "{}"))).await;
    let pong = stream.response().await;
    assert_eq!(pong.result().expect("a result").to_string(), "{}");
    assert_eq!(pong.id(), Some(&RequestId::from(2)));
    let early = Notification::new("notifications/initialized", None);
    client.post(&stream, early.text().clone()).await;
    assert!(serving.has_heard_nothing());
}

#[tokio::test]
async fn a_refused_initialize_can_be_tried_again_and_a_good_one_cannot() {
    let (mut serving, client) = start().await;
    let mut stream = client.open().await;
    client.post(&stream, text(&request(1, "initialize", r#"{"refuse":true}"#))).await;
    assert_eq!(stream.response().await.error_code(), Some(-32602));
    client.post(&stream, text(&hello())).await;
    assert!(stream.response().await.result().is_some());
    serving.opened().await;
    client.post(&stream, text(&hello())).await;
    assert_eq!(stream.response().await.error_code(), Some(code::INVALID_REQUEST));
    assert!(serving.has_heard_nothing());
}

// Calls.

#[tokio::test]
async fn the_answer_to_a_post_comes_down_the_stream() {
    let (mut serving, client, mut stream) = session().await;
    let call = request(1, "tools/call", r#"{"n":18446744073709551616}"#);
    let post = client.to(&stream.endpoint).header("x-test", "here");
    assert_eq!(client.status(post, text(&call)).await, 202);
    let call = serving.call().await;
    assert_eq!(call.header.as_deref(), Some("here"));
    call.say(Ok(Notification::new("notifications/message", None).into()));
    call.say(Ok(message("{\"jsonrpc\":\"2.0\",\n\"id\":\"s\",\r\n\"method\":\"ping\"}")));
    call.answer();
    assert!(matches!(stream.next().await, Some(Message::Notification(_))));
    let Some(Message::Request(ping)) = stream.next().await else { panic!("a request") };
    assert!(!ping.text().contains(&b'\n'));
    let answer = stream.response().await;
    assert_eq!(answer.id(), Some(&RequestId::from(1)));
    assert_eq!(answer.result().expect("one").to_string(), r#"{"n":18446744073709551616}"#);
}

#[tokio::test]
async fn calls_of_a_session_run_side_by_side() {
    let (mut serving, client, mut stream) = session().await;
    for id in 1..=200 {
        client.post(&stream, text(&request(id, "tools/call", "{}"))).await;
    }
    let mut calls = Vec::new();
    while calls.len() < 200 {
        calls.push(serving.call().await);
    }
    for call in calls.iter().rev() {
        call.answer();
        let answer = stream.response().await;
        assert_eq!(answer.id(), Some(call.request.id()));
    }
}

#[tokio::test]
async fn a_batch_is_split_and_answered_one_by_one() {
    let (mut serving, client, mut stream) = session().await;
    let [note, first, second] = [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
    ];
    let batch = format!("[{note},{first},{second}]");
    client.post(&stream, batch).await;
    assert!(matches!(serving.heard().await, Heard::Notification(_)));
    for call in [serving.call().await, serving.call().await] {
        call.answer();
        assert_eq!(stream.response().await.id(), Some(call.request.id()));
    }
}

#[tokio::test]
async fn notifications_and_responses_reach_the_backend_in_order() {
    let (mut serving, client, stream) = session().await;
    for round in 0..20_u64 {
        let answer = Response::success(&round.into(), &Json::empty_object());
        client.post(&stream, answer.text().clone()).await;
        let note = Notification::new(&format!("note/{round}"), None);
        client.post(&stream, note.text().clone()).await;
    }
    for round in 0..20_u64 {
        let Heard::Response(answer) = serving.heard().await else { panic!("a response") };
        assert_eq!(answer.id(), Some(&round.into()));
        let Heard::Notification(note) = serving.heard().await else { panic!("a notification") };
        assert_eq!(note.method(), format!("note/{round}"));
    }
}

#[tokio::test]
async fn a_cancelled_call_is_not_answered() {
    let (mut serving, client, mut stream) = session().await;
    client.post(&stream, text(&request(1, "tools/call", "{}"))).await;
    client.post(&stream, text(&request(2, "tools/call", "{}"))).await;
    let (first, second) = (serving.call().await, serving.call().await);
    first.say(Err(Refusal::Cancelled));
    first.dropped().await;
    second.answer();
    assert_eq!(stream.response().await.id(), Some(second.request.id()));
}

#[tokio::test]
async fn what_the_backend_says_unasked_comes_down_the_stream() {
    let (mut serving, client) = start().await;
    let mut stream = client.initialize().await;
    let say = serving.opened().await;
    say.send(Ok(Notification::new("news", None).into())).expect("listened to");
    assert!(matches!(stream.next().await, Some(Message::Notification(n)) if n.method() == "news"));
    say.send(Err(Refusal::SessionEnded)).expect("listened to");
    assert!(stream.next().await.is_none());
    serving.closed().await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_holds_up_nobody_else() {
    let (mut serving, client) = start().await;
    let slow = client.initialize().await;
    serving.opened().await;
    let mut quick = client.initialize().await;
    serving.opened().await;

    client.post(&slow, text(&request(1, "tools/call", "{}"))).await;
    let flood = serving.call().await;
    let big = Json::string(&"x".repeat(64 * 1024));
    let big = Message::from(Notification::new(
        "big",
        Some(&Json::parse(format!("[{big}]")).expect("JSON")),
    ));
    for _ in 0..10_000 {
        flood.say(Ok(big.clone()));
    }
    for id in 1..=50 {
        client.post(&quick, text(&request(id, "tools/call", "{}"))).await;
        serving.call().await.answer();
        assert_eq!(quick.response().await.id(), Some(&id.into()));
    }
    // Most of the flood is still where it was.
    let taken = flood.taken.load(Ordering::Relaxed);
    assert!(taken < 2_000, "{taken} messages were taken off the call");
    drop(slow);
    flood.dropped().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_has_only_so_many_calls_under_way() {
    let mut serving = Serving::with(|mut settings| {
        settings.max_calls = 4;
        settings
    })
    .await;
    let client = RawClient::new(serving.address);
    let mut stream = client.initialize().await;
    serving.opened().await;
    // An answer is all that may wait for the client, so that each call waits
    // for the one before it to be read. The system has room for some.
    let large = Json::string(&"x".repeat(2 * 1024 * 1024));
    let large = Response::success(&1.into(), &Json::parse(format!("[{large}]")).expect("JSON"));
    let call = || client.to(&stream.endpoint);
    let mut taken = 0;
    let refused = loop {
        let response = client.send(call(), text(&request(1, "tools/call", "{}"))).await;
        if response.status() != 202 {
            break response;
        }
        taken += 1;
        assert!(taken < 40, "calls are taken without bound");
        serving.call().await.say(Ok(large.clone().into()));
    };
    assert!(taken >= 4);
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let answer = within(collect(refused.into_body(), 4096)).await.expect("a body");
    let Ok(Message::Response(answer)) = Message::parse(answer) else { panic!("a JSON-RPC error") };
    assert_eq!(answer.error_code(), Some(code::INTERNAL_ERROR));
    assert_eq!(answer.id(), Some(&1.into()));

    // What wants no answer is taken, and reading makes room.
    let note = Notification::new("note", None);
    client.post(&stream, note.text().clone()).await;
    assert!(matches!(serving.heard().await, Heard::Notification(_)));
    for _ in 0..taken {
        assert!(stream.response().await.result().is_some());
    }
    client.post(&stream, text(&request(2, "tools/call", "{}"))).await;
}

#[tokio::test]
async fn a_batch_with_more_calls_than_there_is_room_for_is_refused_whole() {
    let mut serving = Serving::with(|mut settings| {
        settings.max_calls = 2;
        settings
    })
    .await;
    let client = RawClient::new(serving.address);
    let stream = client.initialize().await;
    serving.opened().await;
    client.post(&stream, text(&request(1, "tools/call", "{}"))).await;
    let first = serving.call().await;
    let note = r#"{"jsonrpc":"2.0","method":"note"}"#;
    let [one, other] = [2, 3].map(|id| request(id, "tools/call", "{}").text().clone());
    let (one, other) = (String::from_utf8_lossy(&one), String::from_utf8_lossy(&other));
    let batch = format!("[{note},{one},{other}]");
    assert_eq!(client.status(client.to(&stream.endpoint), batch.clone()).await, 503);
    assert!(serving.has_heard_nothing());
    first.answer();
    while client.status(client.to(&stream.endpoint), batch.clone()).await != 202 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(serving.heard().await, Heard::Notification(_)));
    drop((serving.call().await, serving.call().await));
}

// Ends.

#[tokio::test]
async fn closing_the_stream_cancels_its_calls_and_closes_the_session() {
    let (mut serving, client, stream) = session().await;
    let other = client.initialize().await;
    serving.opened().await;
    client.post(&stream, text(&request(1, "tools/call", "{}"))).await;
    let call = serving.call().await;
    client.post(&other, text(&request(1, "tools/call", "{}"))).await;
    let untouched = serving.call().await;

    let endpoint = stream.endpoint.clone();
    drop(stream);
    call.dropped().await;
    serving.closed().await;
    assert_eq!(serving.server.sessions(), 1);
    assert_eq!(client.status(client.to(&endpoint), text(&hello())).await, 404);

    untouched.answer();
    let mut other = other;
    assert_eq!(other.response().await.id(), Some(&RequestId::from(1)));
}

#[tokio::test]
async fn a_call_that_finds_the_session_ended_ends_the_stream() {
    let (mut serving, client, mut stream) = session().await;
    client.post(&stream, text(&request(1, "tools/call", "{}"))).await;
    serving.call().await.say(Err(Refusal::SessionEnded));
    assert!(stream.next().await.is_none());
    serving.closed().await;
    assert_eq!(serving.server.sessions(), 0);
}

#[tokio::test]
async fn shutdown_ends_the_streams_and_waits_for_every_session_to_close() {
    let (mut serving, client) = start().await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(client.initialize().await);
        serving.opened().await;
    }
    let unopened = client.open().await;
    client.post(&streams[0], text(&request(1, "tools/call", "{}"))).await;
    let call = serving.call().await;

    within(serving.server.shutdown()).await;
    for _ in 0..5 {
        assert!(matches!(serving.heard().await, Heard::Close));
    }
    assert!(serving.has_heard_nothing());
    assert_eq!(serving.server.sessions(), 0);
    call.dropped().await;
    for mut stream in streams.into_iter().chain([unopened]) {
        assert!(stream.next().await.is_none());
    }
    assert_eq!(client.status(client.get("/sse"), "").await, 503);
}

#[tokio::test]
async fn draining_ends_a_stream_when_its_last_call_is_answered_and_the_others_at_once() {
    let (mut serving, client, mut busy) = session().await;
    let mut idle = client.initialize().await;
    serving.opened().await;
    client.post(&busy, text(&request(1, "tools/call", "{}"))).await;
    let call = serving.call().await;

    serving.server.drain();
    assert!(within(idle.next()).await.is_none());
    assert_eq!(client.status(client.get("/sse"), "").await, 503);
    call.answer();
    assert!(matches!(within(busy.next()).await, Some(Message::Response(_))));
    assert!(within(busy.next()).await.is_none());
}
