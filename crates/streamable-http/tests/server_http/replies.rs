//! The form of an answer: JSON, an event stream, or a refusal.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use http_body::Body as _;
use wharf_proto::{Notification, server::Refusal};
use wharf_streamable_http::server::Answers;

use crate::{
    backend::{Heard, json, note},
    client::{Stage, call, frame, post, request, settings},
};

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"done":true}}"#;

#[tokio::test]
async fn an_answer_with_nothing_before_it_is_json() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id));
    stage.call().await.answer(r#"{"done":true}"#);
    let got = reply.got().await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, ANSWER));
    assert_eq!(got.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(got.session(), None, "the id comes once");
}

#[tokio::test]
async fn what_is_said_before_the_answer_makes_it_a_stream_that_ends_with_it() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let mut reply = stage.begin(call(1).of(&id));
    let call = stage.call().await;
    call.say(note(1));
    assert_eq!(reply.next().await.as_deref(), Some(str(&note(1))));
    call.say(note(2));
    assert_eq!(reply.next().await.as_deref(), Some(str(&note(2))));
    call.answer(r#"{"done":true}"#);
    assert_eq!(reply.next().await.as_deref(), Some(ANSWER));
    assert_eq!(reply.next().await, None);
}

#[tokio::test]
async fn a_message_of_several_lines_is_one_data_line() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let mut answer = stage.begin(call(1).of(&id).accepting("text/event-stream"));
    let call = stage.call().await;
    call.answer("{\r\n\"a\":\n1}");
    assert_eq!(
        answer.next().await.as_deref(),
        Some("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{  \"a\": 1}}")
    );
    let got = stage.ask(post(request(2, "echo")).of(&id).accepting("text/event-stream")).await;
    assert_eq!(
        got.text(),
        "id: a2-0\nretry: 1000\ndata: \n\n\
         event: message\nid: a2-1\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"of\":2}}\n\n"
    );
}

#[tokio::test]
async fn accept_decides_and_what_fits_nothing_is_a_406() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    for (accept, comes) in [
        ("application/json", Some("application/json")),
        ("text/event-stream", Some("text/event-stream")),
        ("*/*", Some("application/json")),
        ("application/json, text/event-stream", Some("application/json")),
        ("text/html", None),
    ] {
        let got = stage.ask(post(request(1, "echo")).of(&id).accepting(accept)).await;
        if let Some(mime) = comes {
            assert_eq!(got.status, StatusCode::OK, "{accept}");
            assert_eq!(got.headers[header::CONTENT_TYPE], mime, "{accept}");
        } else {
            assert_eq!(got.status, StatusCode::NOT_ACCEPTABLE, "{accept}");
        }
    }
}

#[tokio::test]
async fn a_client_of_json_alone_hears_only_the_answer() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(1).of(&id).accepting("application/json"));
    let call = stage.call().await;
    call.say(note(1));
    call.answer(r#"{"done":true}"#);
    assert_eq!(reply.got().await.text(), ANSWER);
}

#[tokio::test]
async fn the_operator_can_force_a_form_but_not_on_a_client_that_cannot_take_it() {
    for (answers, forced, other) in [
        (Answers::Json, "application/json", "text/event-stream"),
        (Answers::EventStream, "text/event-stream", "application/json"),
    ] {
        let mut settings = settings();
        settings.answers = answers;
        let mut stage = Stage::with(settings, |_| {}).await;
        let hello = stage.ask(crate::client::hello("2025-11-25")).await;
        assert_eq!(hello.headers[header::CONTENT_TYPE], forced);
        let id = hello.session().expect("has one, in either form");
        let _ = stage.hear().await;
        let got = stage.ask(post(request(1, "echo")).of(&id)).await;
        assert_eq!(got.headers[header::CONTENT_TYPE], forced);
        let got = stage.ask(post(request(1, "echo")).of(&id).accepting(other)).await;
        assert_eq!(got.status, StatusCode::NOT_ACCEPTABLE);
    }
}

#[tokio::test]
async fn concurrent_calls_are_answered_each_on_its_own() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let replies: Vec<_> = (1..=3).map(|n| stage.begin(call(n).of(&id))).collect();
    let calls = [stage.call().await, stage.call().await, stage.call().await];
    for call in calls.iter().rev() {
        call.answer(&format!(r#"{{"for":{}}}"#, call.request.id()));
    }
    for (reply, n) in replies.into_iter().zip(1..) {
        let expected = format!(r#"{{"jsonrpc":"2.0","id":{n},"result":{{"for":{n}}}}}"#);
        assert_eq!(reply.got().await.text(), expected);
    }
}

#[tokio::test]
async fn a_cancelled_call_gets_no_response() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let mut reply = stage.begin(call(1).of(&id));
    stage.call().await.refuse(Refusal::Cancelled);
    assert_eq!(reply.next().await, None, "an empty stream");

    let mut reply = stage.begin(call(2).of(&id));
    let second = stage.call().await;
    second.say(note(1));
    assert!(reply.next().await.is_some());
    second.refuse(Refusal::Cancelled);
    assert_eq!(reply.next().await, None);

    let reply = stage.begin(call(3).of(&id).accepting("application/json"));
    stage.call().await.refuse(Refusal::Cancelled);
    let got = reply.got().await;
    assert_eq!((got.status, got.text()), (StatusCode::ACCEPTED, ""));
}

#[tokio::test]
async fn a_cancelled_call_of_a_batch_leaves_the_others() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open_as("2025-03-26").await;
    let batch = format!("[{},{}]", request(1, "work"), request(2, "work"));
    let mut reply = stage.begin(post(batch).of(&id));
    let (first, second) = (stage.call().await, stage.call().await);
    first.refuse(Refusal::Cancelled);
    second.answer("{}");
    assert!(reply.next().await.expect("is answered").contains("\"id\":2"));
    assert_eq!(reply.next().await, None);
}

#[tokio::test]
async fn a_session_that_the_backend_ends_is_a_404_and_forgotten() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let reply = stage.begin(call(7).of(&id));
    stage.call().await.refuse(Refusal::SessionEnded);
    let got = reply.got().await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert_eq!(got.error(), (-32600, Some("7".to_owned())));
    assert!(!got.text().contains(&id), "the id is a secret");
    assert_eq!(stage.closed().await, 1);
    assert_eq!(stage.server.sessions(), 0);
    assert_eq!(stage.ask(call(8).of(&id)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_that_ends_within_a_stream_ends_all_its_streams() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let mut first = stage.begin(call(1).of(&id));
    let ending = stage.call().await;
    let mut second = stage.begin(call(2).of(&id));
    let other = stage.call().await;
    for call in [&ending, &other] {
        call.say(note(1));
    }
    assert!(first.next().await.is_some());
    assert!(second.next().await.is_some());
    ending.refuse(Refusal::SessionEnded);
    assert_eq!(first.next().await, None);
    assert_eq!(second.next().await, None);
    assert_eq!(stage.closed().await, 1);
    other.abandoned().await;
}

#[tokio::test]
async fn a_panic_of_the_backend_ends_that_call_alone_and_the_books_balance() {
    let mut settings = settings();
    settings.max_sessions = 1;
    let mut stage = Stage::with(settings, |_| {}).await;
    let (id, _) = stage.open().await;
    let request = request(1, "panic");
    let raw = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nmcp-session-id: {id}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{request}",
        request.len()
    );
    assert_eq!(stage.raw(raw.as_bytes()).await, "", "the connection closes");
    assert!(matches!(stage.hear().await, Heard::Panicked));
    let got = stage.ask(post(crate::client::request(2, "echo")).of(&id)).await;
    assert_eq!(got.status, StatusCode::OK);
    // Only a session that nobody uses makes room for another.
    stage.open().await;
    assert_eq!(stage.closed().await, 1);
    assert!(stage.is_silent(), "a call that has panicked is not kept");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_silent_for_long_becomes_a_stream_with_comments() {
    let mut stage = Stage::new().await;
    let (id, _) = stage.open().await;
    let began = tokio::time::Instant::now();
    let response = stage.ask_direct(call(1).of(&id)).await;
    assert_eq!(began.elapsed().as_secs(), 15);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let call = stage.call().await;
    let mut body = response.into_body();
    for seconds in [30, 45] {
        assert_eq!(frame(&mut body).await.as_deref(), Some(": keep-alive\n\n"));
        assert_eq!(began.elapsed().as_secs(), seconds);
    }
    // What is said breaks the silence.
    tokio::time::advance(Duration::from_secs(10)).await;
    call.say(note(1));
    assert!(frame(&mut body).await.expect("is said").contains("notes/one"));
    assert_eq!(frame(&mut body).await.as_deref(), Some(": keep-alive\n\n"));
    assert_eq!(began.elapsed().as_secs(), 70);
    assert!(!body.is_end_stream());
    call.answer("{}");
    let answer = frame(&mut body).await.expect("is answered");
    assert!(answer.starts_with("event: message\nid: a1-2\ndata: {"), "{answer}");
    assert!(body.is_end_stream(), "the end goes out with the answer");
    assert_eq!(frame(&mut body).await, None);
}

#[tokio::test(start_paused = true)]
async fn without_keep_alive_a_silent_call_is_still_json() {
    assert_eq!(kind_of_a_late_answer(Duration::ZERO).await, "application/json");
}

#[tokio::test(start_paused = true)]
async fn a_keep_alive_that_is_too_long_to_add_never_comes() {
    assert_eq!(kind_of_a_late_answer(Duration::MAX).await, "application/json");
}

/// The content type of an answer that is an hour in coming.
async fn kind_of_a_late_answer(keep_alive: Duration) -> HeaderValue {
    let mut settings = settings();
    settings.keep_alive = keep_alive;
    let mut stage = Stage::with(settings, |_| {}).await;
    let (id, _) = stage.open().await;
    let server = stage.server.clone();
    let ask = call(1).of(&id).direct();
    let later = async {
        let call = stage.call().await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        call.answer("{}");
    };
    let (response, ()) = tokio::join!(server.handle(ask, None), later);
    response.headers()[header::CONTENT_TYPE].clone()
}

#[tokio::test(start_paused = true)]
async fn each_call_of_a_session_may_be_silent_for_the_whole_time() {
    let mut settings = settings();
    settings.keep_alive = Duration::from_secs(30);
    let mut stage = Stage::with(settings, |_| {}).await;
    let (id, _) = stage.open().await;
    let server = stage.server.clone();
    for number in 1..4 {
        let ask = call(number).of(&id).direct();
        let later = async {
            let call = stage.call().await;
            tokio::time::sleep(Duration::from_secs(29)).await;
            call.answer("{}");
        };
        let (response, ()) = tokio::join!(server.handle(ask, None), later);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{number}");
    }
    let began = tokio::time::Instant::now();
    let ask = call(4).of(&id).direct();
    let (response, _call) = tokio::join!(server.handle(ask, None), stage.call());
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(began.elapsed().as_secs(), 30);
}

fn str(notification: &Notification) -> &str {
    json(std::str::from_utf8(notification.text()).expect("is UTF-8"));
    std::str::from_utf8(notification.text()).expect("is UTF-8")
}
