//! Calls that are answered, and what is sent with them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wharf_proto::{
    Json, Message, Notification, RequestId, Response, Revision, method,
    transport::{Connect as _, Exchange as _, Link as _},
};
use wharf_streamable_http::client::Connector;

use crate::upstream::{Asked, SECRET, SESSION, Upstream, beside, http, quick, request, soon};

#[tokio::test]
async fn a_json_body_is_the_answer() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let answer = upstream.called(&link, |asked| async {
        let answer = asked.response(r#"{"n":18446744073709551616}"#);
        asked.json(&answer).await;
    });
    let answer = answer.await.expect("is answered");
    assert_eq!(answer.result().expect("is a result").as_str(), r#"{"n":18446744073709551616}"#);
    assert_eq!(answer.id(), Some(&RequestId::from(1)));
}

#[tokio::test]
async fn the_handshake_names_neither_session_nor_revision_and_learns_both() {
    let upstream = Upstream::start().await;
    let connector = Connector::new(http(), quick());
    let (link, _feed) = connector.connect(&upstream.target()).await.expect("does no I/O");
    assert!(!link.has_session());
    let mut exchange = link.call(request(0, method::INITIALIZE));
    let script = async {
        let asked = upstream.asked().await;
        assert_eq!(asked.method, "POST");
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert_eq!(asked.header("accept"), Some("application/json, text/event-stream"));
        assert_eq!(asked.header("mcp-session-id"), None);
        assert_eq!(asked.header("mcp-protocol-version"), None);
        assert_eq!(asked.body.as_bytes(), request(0, method::INITIALIZE).text());
        let answer = asked.response("{}");
        let session = format!("Mcp-Session-Id: {SESSION}\r\n");
        asked.answer(200, "application/json; charset=utf-8", &session, &answer).await;
    };
    let (answer, ()) = tokio::join!(exchange.answer(), script);
    answer.expect("is answered");
    assert!(link.has_session());
}

#[tokio::test]
async fn what_follows_the_handshake_names_session_and_revision() {
    for revision in [Revision::V2025_03_26, Revision::V2025_06_18, Revision::V2025_11_25] {
        let upstream = Upstream::start().await;
        let (link, _feed) = upstream.link();
        upstream.shake_hands(&link, Some(SESSION), revision).await;
        let version = revision.has_version_header().then_some(revision.as_str());
        let check = |asked: &Asked, method| {
            assert_eq!(asked.method, method);
            assert_eq!(asked.header("mcp-session-id"), Some(SESSION));
            assert_eq!(asked.header("mcp-protocol-version"), version);
        };
        let script = async {
            for expected in ["notifications/initialized", "\"result\""] {
                let asked = upstream.asked().await;
                check(&asked, "POST");
                assert!(asked.body.contains(expected), "{}", asked.body);
                asked.status(202).await;
            }
            let asked = upstream.asked().await;
            check(&asked, "POST");
            let answer = asked.response("{}");
            asked.json(&answer).await;
            let asked = upstream.asked().await;
            check(&asked, "DELETE");
            assert_eq!(asked.header("content-type"), None);
            asked.status(405).await;
        };
        let session = async {
            let initialized = Notification::new("notifications/initialized", None);
            link.notify(initialized).await.expect("is taken");
            let response = Response::success(&RequestId::from("r"), &Json::empty_object());
            link.respond(response).await.expect("is taken");
            let answer = link.call(request(1, "tools/list")).answer().await;
            answer.expect("is answered");
            link.goodbye().await;
        };
        soon(async { tokio::join!(script, session) }).await;
    }
}

#[tokio::test]
async fn an_event_stream_is_what_is_said_about_the_call_and_then_the_answer() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let mut exchange = link.call(request(1, "tools/call"));
    let script = async {
        let asked = upstream.asked().await;
        let answer = asked.response("{}");
        let mut events = asked.events().await;
        events.say("id: 0\nretry: 5\ndata:\n\n: a comment\n\n").await;
        events.say("event: other\ndata: not for us\n\n").await;
        events
            .say("data: {\"jsonrpc\":\"2.0\",\r\ndata: \"method\":\"notifications/progress\"}\n\n")
            .await;
        events.message(r#"{"jsonrpc":"2.0","id":77,"result":{}}"#).await;
        events.message(r#"{"jsonrpc":"2.0","id":"s","method":"sampling/createMessage"}"#).await;
        events.message(&answer).await;
        events
    };
    let heard = async {
        let mut heard = Vec::new();
        loop {
            match exchange.next().await.expect("goes on") {
                Message::Request(request) => heard.push(request.method().to_owned()),
                Message::Notification(said) => heard.push(said.method().to_owned()),
                Message::Response(response) => return (heard, response),
            }
        }
    };
    // The answer counts when it is there, not when its stream ends.
    let (_open, (heard, response)) = soon(async { tokio::join!(script, heard) }).await;
    assert_eq!(heard, ["notifications/progress", "sampling/createMessage"]);
    assert_eq!(response.id(), Some(&RequestId::from(1)));
}

#[tokio::test]
async fn a_batch_is_unpacked_and_the_answer_comes_last() {
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
    for is_json in [true, false] {
        let upstream = Upstream::start().await;
        let (link, _feed) = upstream.link();
        upstream.shake_hands(&link, None, Revision::V2025_03_26).await;
        let mut exchange = link.call(request(1, "tools/call"));
        let script = async {
            let asked = upstream.asked().await;
            let batch = format!("[{},{progress},{progress}]", asked.response("{}"));
            if is_json {
                asked.json(&batch).await;
            } else {
                asked.events().await.message(&batch).await;
            }
        };
        let heard = async {
            for _ in 0..2 {
                let said = exchange.next().await.expect("goes on");
                assert!(matches!(said, Message::Notification(_)), "{said:?}");
            }
            exchange.next().await.expect("is answered")
        };
        let (last, ()) = soon(async { tokio::join!(heard, script) }).await;
        assert!(matches!(last, Message::Response(_)), "{last:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_before_an_exchange_is_polled() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let _exchange = link.call(request(1, "tools/call"));
    upstream.is_left_alone().await;
}

#[tokio::test]
async fn a_connection_is_used_again_after_an_event_stream() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let script = async {
        let mut stream = upstream.asked().await.into_stream();
        for id in 1..4 {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let event = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n\n");
            let chunk = format!("{head}{:x}\r\n{event}\r\n", event.len());
            stream.write_all(chunk.as_bytes()).await.expect("writes");
            // The end comes by itself, as from most servers, when the client
            // has had the time to make up its mind.
            turns().await;
            stream.write_all(b"0\r\n\r\n").await.expect("writes");
            if id < 3 {
                // The next request comes on the same connection.
                stream = Asked::read(stream).await.expect("a request").into_stream();
            }
        }
        stream
    };
    let calls = async {
        for id in 1..4 {
            let answer = link.call(request(id, "tools/call")).answer().await;
            answer.expect("is answered");
            // Now the end of the stream is read and its connection kept.
            turns().await;
            turns().await;
        }
    };
    soon(async { tokio::join!(script, calls) }).await;
}

#[tokio::test]
async fn dropping_an_exchange_closes_its_own_connection_alone() {
    let upstream = Upstream::start().await;
    let (link, _feed) = upstream.session().await;
    let mut first = link.call(request(1, "tools/call"));
    let mut second = link.call(request(2, "tools/call"));
    let script = async {
        let mut asked = [upstream.asked().await, upstream.asked().await];
        asked.sort_by_key(|asked| asked.id().as_u64());
        asked
    };
    let [one, two] = tokio::select! {
        biased;
        _ = first.next() => panic!("nobody has answered"),
        _ = second.next() => panic!("nobody has answered"),
        asked = soon(script) => asked,
    };
    drop(first);
    let mut one = one.into_stream();
    assert!(matches!(soon(one.read(&mut [0])).await, Ok(0) | Err(_)));
    let answer = two.response("{}");
    let (answer, ()) = tokio::join!(second.answer(), two.json(&answer));
    answer.expect("the other is answered");
}

#[tokio::test]
async fn dropping_an_exchange_closes_its_event_stream() {
    for is_polled_again in [false, true] {
        let upstream = Upstream::start().await;
        let (link, _feed) = upstream.session().await;
        let mut exchange = link.call(request(1, "tools/call"));
        let script = async {
            let mut events = upstream.asked().await.events().await;
            events.message(r#"{"jsonrpc":"2.0","method":"m"}"#).await;
            events
        };
        let (said, events) = soon(async { tokio::join!(exchange.next(), script) }).await;
        said.expect("was said");
        if is_polled_again {
            beside(turns(), exchange.next()).await;
        }
        turns().await;
        drop(exchange);
        events.closed().await;
    }
}

#[tokio::test]
async fn no_secret_is_shown() {
    let upstream = Upstream::start().await;
    let (link, feed) = upstream.session().await;
    let exchange = link.call(request(1, "tools/call"));
    let shown = format!("{link:?} {feed:?} {exchange:?}");
    let error = upstream.called(&link, |asked| async { asked.reset() }).await;
    let error = error.expect_err("is broken");
    let shown = format!("{shown} {error} {error:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(SESSION), "{shown}");
}

/// Lets the other tasks of this thread, and the network, do what they can.
async fn turns() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
