//! The client half against an upstream that does what each test says.

use http::{HeaderValue, Response, StatusCode, header};
use wharf_http::Body;
use wharf_proto::{
    Message, Notification, RequestId,
    transport::{CallError, EndReason, Exchange, Fate, Fault, Feed, Link},
};
use wharf_sse::{ClientSettings, SseFeed, SseLink};

mod support;

use support::{
    client::Driven,
    http, request, target,
    upstream::{Events, Upstream},
    within,
};

const MESSAGES: &str = "/messages?session_id=5ec2e7";

async fn open(url: &str) -> Result<(SseLink, SseFeed), CallError> {
    within(wharf_sse::open(http(), target(url), ClientSettings::default())).await
}

/// An open link, its feed under way, and the upstream's end of the stream.
async fn linked(upstream: &mut Upstream) -> (SseLink, Driven, Events) {
    let url = upstream.url();
    let (opened, events) = tokio::join!(open(&url), upstream.announce(MESSAGES));
    let (link, feed) = opened.expect("a link");
    (link, Driven::new(feed), events)
}

async fn refused(url: &str) -> CallError {
    let error = open(url).await.expect_err("no link");
    assert_eq!(error.fate, Fate::NotSent);
    error
}

// The endpoint.

#[tokio::test]
async fn relative_and_absolute_endpoints_are_posted_to() {
    let mut upstream = Upstream::start().await;
    let absolute = format!("http://{}/there?session_id=1", upstream.address);
    for (announced, expected) in [
        ("/messages?session_id=1", "/messages?session_id=1"),
        ("messages/?session_id=1", "/messages/?session_id=1"),
        ("?session_id=1", "/sse?session_id=1"),
        (absolute.as_str(), "/there?session_id=1"),
    ] {
        let url = upstream.url();
        let (opened, _events) = tokio::join!(open(&url), upstream.announce(announced));
        let (link, _feed) = opened.expect("a link");
        let (sent, ()) = tokio::join!(link.notify(Notification::new("hi", None)), async {
            let asked = upstream.asked().await;
            assert_eq!(asked.path, expected);
            asked.accept();
        });
        sent.expect("taken");
    }
}

#[tokio::test]
async fn the_headers_of_the_target_go_with_every_request() {
    let mut upstream = Upstream::start().await;
    let mut target = target(&upstream.url());
    let secret = HeaderValue::from_static("Bearer s3cr3t");
    target.headers.insert(header::AUTHORIZATION, secret.clone());
    let (opened, _events) =
        tokio::join!(wharf_sse::open(http(), target, ClientSettings::default()), async {
            let asked = upstream.asked().await;
            assert_eq!(asked.method, "GET");
            assert_eq!(asked.path, "/sse?key=s3cr3t");
            assert_eq!(asked.headers[header::AUTHORIZATION], secret);
            assert_eq!(asked.headers[header::ACCEPT], "text/event-stream");
            let events = asked.stream();
            events.event("endpoint", MESSAGES);
            events
        });
    let (link, _feed) = opened.expect("a link");
    let (sent, ()) = tokio::join!(link.notify(Notification::new("hi", None)), async {
        let asked = upstream.asked().await;
        assert_eq!(asked.method, "POST");
        assert_eq!(asked.headers[header::AUTHORIZATION], secret);
        assert_eq!(asked.headers[header::CONTENT_TYPE], "application/json");
        assert!(!asked.headers.contains_key("mcp-protocol-version"));
        asked.accept();
    });
    sent.expect("taken");
}

#[tokio::test]
async fn an_endpoint_of_another_origin_is_refused_without_its_query() {
    let mut upstream = Upstream::start().await;
    let port = upstream.address.port();
    for foreign in [
        "http://evil.example/messages?session_id=5ec2e7".to_owned(),
        "//evil.example/messages?session_id=5ec2e7".to_owned(),
        format!("https://127.0.0.1:{port}/messages?session_id=5ec2e7"),
        format!("http://127.0.0.1:{}/messages?session_id=5ec2e7", port ^ 1),
        format!("http://localhost:{port}/messages?session_id=5ec2e7"),
    ] {
        let url = upstream.url();
        let (error, events) = tokio::join!(refused(&url), upstream.announce(&foreign));
        let Fault::NotMcp { found } = &error.fault else { panic!("{foreign}: {error}") };
        assert!(found.contains("origin"), "{found}");
        assert!(!format!("{error} {error:?}").contains("5ec2e7"));
        events.closed().await;
    }
}

#[tokio::test]
async fn what_is_no_server_of_this_transport_is_told_apart() {
    let mut upstream = Upstream::start().await;
    let url = upstream.url();

    let (error, ()) = tokio::join!(refused(&url), async {
        upstream.asked().await.status(StatusCode::UNAUTHORIZED);
    });
    assert!(matches!(error.fault, Fault::Status { status } if status == 401));

    let (error, ()) = tokio::join!(refused(&url), async {
        let mut page = Response::new(Body::full("<html>"));
        let mime = HeaderValue::from_static("text/html");
        page.headers_mut().insert(header::CONTENT_TYPE, mime);
        upstream.asked().await.reply(page);
    });
    assert!(matches!(&error.fault, Fault::NotMcp { found } if &**found == "text/html"));

    let (error, _events) = tokio::join!(refused(&url), async {
        let events = upstream.asked().await.stream();
        events.message(r#"{"jsonrpc":"2.0","method":"hi"}"#);
        events
    });
    assert!(matches!(&error.fault, Fault::NotMcp { found } if found.contains("message")));

    let (error, ()) = tokio::join!(refused(&url), async {
        drop(upstream.asked().await.stream());
    });
    assert!(matches!(error.fault, Fault::Ended(EndReason::StreamEnded)));
}

#[tokio::test]
async fn an_upstream_that_announces_nothing_is_given_up() {
    let mut upstream = Upstream::start().await;
    let mut settings = ClientSettings::default();
    settings.endpoint_timeout = std::time::Duration::from_millis(20);
    let opening = wharf_sse::open(http(), target(&upstream.url()), settings);
    let (opened, events) = tokio::join!(opening, async {
        let events = upstream.asked().await.stream();
        events.raw(": not yet\n\n");
        events
    });
    let error = opened.expect_err("no link");
    assert_eq!(error.fate, Fate::NotSent);
    assert!(matches!(error.fault, Fault::TimedOut { .. }));
    events.closed().await;
}

// Calls.

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let mut upstream = Upstream::start().await;
    let (link, _feed, events) = linked(&mut upstream).await;
    let mut calls: Vec<_> = (1..=5).map(|id| link.call(request(id, "tools/call", "{}"))).collect();
    let answers = futures_util::future::join_all(calls.iter_mut().map(Exchange::answer));
    let (answers, ()) = tokio::join!(within(answers), async {
        for _ in 1..=5 {
            upstream.asked().await.accept();
        }
        for id in [4, 2, 5, 1, 3] {
            events.answer(id);
        }
    });
    for (answer, id) in answers.into_iter().zip(1_u64..) {
        let answer = answer.expect("an answer");
        assert_eq!(answer.id(), Some(&RequestId::from(id)));
        assert_eq!(answer.result().expect("one").to_string(), format!(r#"{{"to":{id}}}"#));
    }
}

#[tokio::test]
async fn an_answer_may_come_before_its_post_is_accepted() {
    let mut upstream = Upstream::start().await;
    let (link, _feed, events) = linked(&mut upstream).await;
    let mut first = link.call(request(1, "tools/call", "{}"));
    let (answer, asked) = tokio::join!(within(first.answer()), async {
        let asked = upstream.asked().await;
        events.answer(1);
        asked
    });
    answer.expect("an answer");
    drop(first);

    // Nobody waits for the POST any more, and still its connection is kept.
    let connection = asked.peer;
    asked.accept();
    // One more each time, so that at last one needs the connection.
    for count in 1.. {
        assert!(count < 20, "the connection was not kept");
        let ids = || (0..count).map(|nth| 100 * count + nth);
        let mut calls: Vec<_> =
            ids().map(|id| link.call(request(id, "tools/call", "{}"))).collect();
        let answers = futures_util::future::join_all(calls.iter_mut().map(Exchange::answer));
        let (answers, is_used) = tokio::join!(within(answers), async {
            let mut is_used = false;
            for _ in ids() {
                let asked = upstream.asked().await;
                is_used |= asked.peer == connection;
                asked.accept();
            }
            ids().for_each(|id| events.answer(id));
            is_used
        });
        answers.into_iter().for_each(|answer| drop(answer.expect("an answer")));
        if is_used {
            break;
        }
    }
}

#[tokio::test]
async fn two_hundred_calls_are_not_serialised() {
    let mut upstream = Upstream::start().await;
    let (link, _feed, events) = linked(&mut upstream).await;
    let mut calls: Vec<_> =
        (1..=200).map(|id| link.call(request(id, "tools/call", "{}"))).collect();
    let answers = futures_util::future::join_all(calls.iter_mut().map(Exchange::answer));
    let (answers, ()) = tokio::join!(within(answers), async {
        // Not one POST is accepted before all have come.
        let mut waiting = Vec::new();
        while waiting.len() < 200 {
            waiting.push(upstream.asked().await);
        }
        for asked in waiting {
            events.answer(asked.id());
            asked.accept();
        }
    });
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test]
async fn progress_goes_to_its_call_and_the_rest_is_heard_from_the_feed() {
    let mut upstream = Upstream::start().await;
    let (link, mut feed, events) = linked(&mut upstream).await;
    let meta = r#"{"_meta":{"progressToken":"t"}}"#;
    let mut call = link.call(request(1, "tools/call", meta));
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}"#;
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
    let (first, ()) = tokio::join!(within(call.next()), async {
        upstream.asked().await.accept();
        events.event("unheard-of", "{}");
        events.message(progress);
        events.message(&format!("[{log},{ping},{progress}]"));
        events.answer(1);
    });
    assert!(matches!(first, Ok(Message::Notification(n)) if n.text() == progress));
    assert!(matches!(within(call.next()).await, Ok(Message::Notification(_))));
    assert!(matches!(within(call.next()).await, Ok(Message::Response(_))));
    assert!(matches!(feed.next().await, Ok(Message::Notification(n)) if n.text() == log));
    assert!(matches!(feed.next().await, Ok(Message::Request(r)) if r.text() == ping));

    // The call is over: what is said of it now is said unasked.
    events.message(progress);
    assert!(matches!(feed.next().await, Ok(Message::Notification(n)) if n.text() == progress));
}

#[tokio::test]
async fn the_answer_to_a_dropped_call_is_passed_over() {
    let mut upstream = Upstream::start().await;
    let (link, mut feed, events) = linked(&mut upstream).await;
    let mut given_up = link.call(request(1, "tools/call", "{}"));
    tokio::select! {
        answer = given_up.answer() => panic!("{answer:?}"),
        asked = upstream.asked() => asked.accept(),
    }
    drop(given_up);
    let mut call = link.call(request(2, "tools/call", "{}"));
    let (answer, ()) = tokio::join!(within(call.answer()), async {
        upstream.asked().await.accept();
        events.answer(1);
        events.answer(2);
    });
    assert_eq!(answer.expect("an answer").id(), Some(&RequestId::from(2)));
    assert!(feed.is_silent());
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_fails_its_call_alone() {
    let mut upstream = Upstream::start().await;
    let (link, _feed, events) = linked(&mut upstream).await;
    let mut bad = link.call(request(1, "tools/call", "{}"));
    let mut good = link.call(request(2, "tools/call", "{}"));
    let (bad, good, ()) = tokio::join!(within(bad.answer()), within(good.answer()), async {
        upstream.asked().await.accept();
        upstream.asked().await.accept();
        events.message("no JSON at all");
        events.message(r#"{"jsonrpc":"2.0","id":1}"#);
        events.answer(2);
    });
    let error = bad.expect_err("unreadable");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::Malformed { .. }));
    good.expect("an answer");
}

#[tokio::test]
async fn a_refused_post_says_whether_the_call_may_have_run() {
    let mut upstream = Upstream::start().await;
    let (link, _feed, _events) = linked(&mut upstream).await;
    let statuses = [
        (302, Fate::MayHaveRun),
        (400, Fate::MayHaveRun),
        (401, Fate::NotSent),
        (403, Fate::NotSent),
        (405, Fate::NotSent),
        (406, Fate::NotSent),
        (413, Fate::NotSent),
        (415, Fate::NotSent),
        (421, Fate::NotSent),
        (429, Fate::NotSent),
        (307, Fate::NotSent),
        (409, Fate::MayHaveRun),
        (500, Fate::MayHaveRun),
        (503, Fate::MayHaveRun),
    ];
    for ((code, fate), id) in statuses.into_iter().zip(1..) {
        let mut call = link.call(request(id, "tools/call", "{}"));
        let (answer, ()) = tokio::join!(within(call.answer()), async {
            let status = StatusCode::from_u16(code).expect("a status");
            upstream.asked().await.status(status);
        });
        let error = answer.expect_err("refused");
        assert_eq!(error.fate, fate, "{code}");
        assert!(matches!(error.fault, Fault::Status { status } if status == code));
    }
    assert!(link.end_reason().is_none());
}

// Ends.

#[tokio::test]
async fn an_unknown_session_ends_the_link() {
    let mut upstream = Upstream::start().await;
    let (link, mut feed, events) = linked(&mut upstream).await;
    let mut pending = link.call(request(1, "tools/call", "{}"));
    let mut unknown = link.call(request(2, "tools/call", "{}"));
    let (pending, (), unknown) = tokio::join!(
        within(pending.answer()),
        async {
            let (one, other) = (upstream.asked().await, upstream.asked().await);
            let (first, second) = if one.id() == 1 { (one, other) } else { (other, one) };
            first.accept();
            second.status(StatusCode::NOT_FOUND);
        },
        within(unknown.answer()),
    );
    let unknown = unknown.expect_err("unknown");
    assert_eq!(unknown.fate, Fate::NotSent);
    assert!(matches!(unknown.fault, Fault::SessionGone));
    let pending = pending.expect_err("ended");
    assert_eq!(pending.fate, Fate::MayHaveRun);
    assert!(matches!(pending.fault, Fault::Ended(EndReason::SessionGone)));
    assert!(matches!(link.end_reason(), Some(EndReason::SessionGone)));
    assert!(matches!(feed.end().await, EndReason::SessionGone));
    events.closed().await;
}

/// Has one call accepted, one begun and one not polled, and checks what
/// becomes of them when the link ends by what `end` does.
async fn check_end<F: Future<Output = ()>>(
    link: &SseLink,
    upstream: &mut Upstream,
    end: impl FnOnce() -> F,
) -> [EndReason; 4] {
    let mut accepted = link.call(request(1, "tools/call", "{}"));
    let mut begun = link.call(request(2, "tools/call", "{}"));
    let mut untouched = link.call(request(3, "tools/call", "{}"));
    let (accepted, begun, _unanswered) =
        tokio::join!(within(accepted.answer()), within(begun.answer()), async {
            let (one, other) = (upstream.asked().await, upstream.asked().await);
            one.accept();
            end().await;
            // Still unanswered when the calls fail: it is kept until then.
            other
        });
    let untouched = within(untouched.answer()).await;
    let notified = link.notify(Notification::new("late", None)).await;
    let outcomes = [
        (accepted.expect_err("ended"), Fate::MayHaveRun),
        (begun.expect_err("ended"), Fate::MayHaveRun),
        (untouched.expect_err("ended"), Fate::NotSent),
        (notified.expect_err("ended"), Fate::NotSent),
    ];
    outcomes.map(|(error, fate)| {
        assert_eq!(error.fate, fate);
        match error.fault {
            Fault::Ended(reason) => reason,
            fault => panic!("an end, not {fault}"),
        }
    })
}

#[tokio::test]
async fn the_end_of_the_stream_fails_every_call_at_once() {
    let mut upstream = Upstream::start().await;
    let (link, mut feed, events) = linked(&mut upstream).await;
    let end = async || drop(events);
    let reasons = check_end(&link, &mut upstream, end).await;
    assert!(reasons.iter().all(|reason| matches!(reason, EndReason::StreamEnded)));
    assert!(matches!(feed.end().await, EndReason::StreamEnded));
}

#[tokio::test]
async fn a_message_that_is_too_large_fails_every_call_at_once() {
    let mut upstream = Upstream::start().await;
    let mut settings = ClientSettings::default();
    settings.max_message = 1000;
    let opening = wharf_sse::open(http(), target(&upstream.url()), settings);
    let (opened, events) = tokio::join!(opening, upstream.announce(MESSAGES));
    let (link, feed) = opened.expect("a link");
    let mut feed = Driven::new(feed);
    let end = async || events.raw(vec![b'x'; 1001]);
    let reasons = check_end(&link, &mut upstream, end).await;
    assert!(reasons.iter().all(|reason| matches!(reason, EndReason::TooLarge { limit: 1000 })));
    assert!(matches!(feed.end().await, EndReason::TooLarge { limit: 1000 }));
    events.closed().await;
}

#[tokio::test]
async fn goodbye_closes_the_stream_and_fails_every_call_at_once() {
    let mut upstream = Upstream::start().await;
    let (link, mut feed, events) = linked(&mut upstream).await;
    let reasons = check_end(&link, &mut upstream, || link.goodbye()).await;
    assert!(reasons.iter().all(|reason| matches!(reason, EndReason::Closed)));
    assert!(matches!(feed.end().await, EndReason::Closed));
    events.closed().await;
}

#[tokio::test]
async fn a_dropped_feed_closes_the_stream_and_fails_every_call_at_once() {
    let mut upstream = Upstream::start().await;
    let (link, feed, events) = linked(&mut upstream).await;
    let reasons = check_end(&link, &mut upstream, async || drop(feed)).await;
    assert!(reasons.iter().all(|reason| matches!(reason, EndReason::Closed)));
    events.closed().await;
}

#[tokio::test]
async fn a_killed_upstream_fails_every_call_at_once() {
    let mut upstream = Upstream::start().await;
    let (link, mut feed, _events) = linked(&mut upstream).await;
    let mut calls: Vec<_> = (1..=10).map(|id| link.call(request(id, "tools/call", "{}"))).collect();
    let answers = futures_util::future::join_all(calls.iter_mut().map(Exchange::answer));
    let (answers, ()) = tokio::join!(within(answers), async move {
        for _ in 1..=10 {
            upstream.asked().await.accept();
        }
        upstream.kill().await;
    });
    for answer in answers {
        assert_eq!(answer.expect_err("killed").fate, Fate::MayHaveRun);
    }
    assert!(matches!(feed.end().await, EndReason::StreamBroken { .. }));
    assert!(link.end_reason().is_some());
}

// The feed.

#[tokio::test]
async fn a_flood_of_messages_lets_others_have_their_turn() {
    let mut upstream = Upstream::start().await;
    let url = upstream.url();
    let (opened, events) = tokio::join!(open(&url), upstream.announce(MESSAGES));
    let (_link, mut feed) = opened.expect("a link");
    let one = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let flood = vec![one; 1000].join(",");
    events.message(&format!("[{flood}]"));
    events.message(r#"{"jsonrpc":"2.0","method":"hi"}"#);
    let mut turns = 0;
    let heard = within(std::future::poll_fn(|cx| {
        turns += 1;
        feed.poll_next(cx)
    }));
    heard.await.expect("the last message");
    assert!(turns > 1000 / 64, "{turns} turns");
}
