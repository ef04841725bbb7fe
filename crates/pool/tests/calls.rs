//! Calls: whose they are, what the upstream sees of them, how they end.

use wharf_pool::Session;
use wharf_proto::{
    Message, Request,
    mock::{Heard, MockLink, MockPeer},
    transport::{CallError, EndReason, Exchange, Fate, Fault},
};

use crate::support::{
    Books, EMPTY, books, call, cancelled, client, json, open, pool, read, read_request, request,
    secs, settle,
};

mod support;

fn with_token(id: &str, token: &str) -> Request {
    read_request(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"wait","_meta":{{"progressToken":{token}}}}}}}"#
    ))
}

fn progress(token: &str) -> Message {
    read(&format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
    ))
}

fn token_of(message: &Message) -> String {
    let Message::Notification(notification) = message else { panic!("{message:?}") };
    notification.progress_token().expect("it is progress").0.to_json().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_and_its_other_bytes_are_not_touched() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let asked = read_request(
        r#"{"x":0.10,"id":"7","method":"tools/call","params":{"n":1e2},"jsonrpc":"2.0"}"#,
    );
    let calling = call(&lease, &asked);
    let arrived = peer.call().await;
    let text = String::from_utf8(arrived.request.text().to_vec()).expect("it is UTF-8");
    assert_eq!(
        text,
        r#"{"x":0.10,"id":ID,"method":"tools/call","params":{"n":1e2},"jsonrpc":"2.0"}"#
            .replace("ID", &arrived.request.id().to_json().to_string())
    );
    arrived.answer(r#"{"ok":true}"#);
    let answer = calling.answer().await;
    assert_eq!(answer.id(), Some(&"7".into()));
    assert_eq!(answer.result().map(|result| result.as_str()), Some(r#"{"ok":true}"#));
}

#[tokio::test(start_paused = true)]
async fn two_callers_with_the_same_id_do_not_meet() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let callings = [call(&lease, &request(1)), call(&lease, &request("1"))];
    let [number, text] = callings;
    let (first, second) = (peer.call().await, peer.call().await);
    assert_ne!(first.request.id(), second.request.id());

    second.answer(r#"{"to":"text"}"#);
    first.answer(r#"{"to":"number"}"#);
    let (number, text) = (number.answer().await, text.answer().await);
    assert_eq!((number.id(), text.id()), (Some(&1.into()), Some(&"1".into())));
    assert_eq!(number.result().expect("a result").as_str(), r#"{"to":"number"}"#);
    assert_eq!(text.result().expect("a result").as_str(), r#"{"to":"text"}"#);
}

#[tokio::test(start_paused = true)]
async fn two_callers_with_the_same_progress_token_do_not_meet() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut calls = [lease.call(&with_token("1", "5")), lease.call(&with_token("1", r#""5""#))];
    let mut seen = Vec::new();
    for call in &mut calls {
        assert!(futures_util::poll!(call.next()).is_pending());
        let arrived = peer.call().await;
        let (token, _) = arrived.request.progress_token().expect("it asks for progress");
        let token = token.to_json().to_string();
        arrived.say(progress(&token));
        // Somebody else's progress is not renamed.
        arrived.say(progress("9999"));
        seen.push((token, arrived));
    }
    assert_ne!(seen[0].0, seen[1].0);

    for (call, theirs) in calls.iter_mut().zip(["5", r#""5""#]) {
        assert_eq!(token_of(&call.next().await.expect("progress")), theirs);
        assert_eq!(token_of(&call.next().await.expect("progress")), "9999");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_says_by_which_token_the_upstream_tells_of_its_progress() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    assert!(lease.call(&request(1)).progress_token().is_none());
    let mut call = lease.call(&with_token("2", "5"));
    assert!(futures_util::poll!(call.next()).is_pending());
    let arrived = peer.call().await;
    let (token, _) = arrived.request.progress_token().expect("it asks for progress");
    let (ours, theirs) = call.progress_token().expect("it asks for progress");
    assert_eq!((ours, theirs.to_json().as_str()), (&token, "5"));
}

#[tokio::test(start_paused = true)]
async fn a_call_shown_for_a_log_says_whose_it_is_and_how_far() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut call = lease.call(&request("seven"));
    assert!(format!("{call:?}").ends_with(r#""seven", Unsent)"#), "{call:?}");
    assert!(futures_util::poll!(call.next()).is_pending());
    assert!(format!("{call:?}").ends_with(r#""seven", UnderWay)"#), "{call:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_in_relation_to_a_call_comes_to_its_caller_in_order() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let (mut mine, mut other) = (lease.call(&request(1)), lease.call(&request(2)));
    assert!(futures_util::poll!(mine.next()).is_pending());
    assert!(futures_util::poll!(other.next()).is_pending());
    let arrived = peer.call().await;
    arrived.say(read(r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#));
    arrived.say(read(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#));
    arrived.answer("{}");

    assert!(matches!(mine.next().await, Ok(Message::Request(_))));
    assert!(matches!(mine.next().await, Ok(Message::Notification(_))));
    assert!(matches!(mine.next().await, Ok(Message::Response(_))));
    assert!(futures_util::poll!(other.next()).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_is_cancelled_once_and_by_the_upstreams_id() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let (given_up, goes_on) = (call(&lease, &request("mine")), call(&lease, &request("mine")));
    let (arrived, other) = (peer.call().await, peer.call().await);
    drop(given_up);

    assert_eq!(cancelled(&mut peer).await, [arrived.request.id().clone()]);
    assert!(arrived.is_abandoned() && !other.is_abandoned());
    other.answer("{}");
    goes_on.answer().await;
    assert_eq!(cancelled(&mut peer).await, []);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_polled_is_never_heard_of() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(lease.call(&request(1)));
    settle().await;
    assert_eq!(peer.heard_so_far().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_is_not_cancelled() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut answered = lease.call(&request(1));
    assert!(futures_util::poll!(answered.next()).is_pending());
    peer.call().await.answer("{}");
    answered.answer().await.expect("it is answered");
    drop(answered);

    let mut failed = lease.call(&request(2));
    assert!(futures_util::poll!(failed.next()).is_pending());
    peer.call().await.fail(CallError::may_have_run(Fault::NoAnswer));
    failed.answer().await.expect_err("it fails");
    drop(failed);
    assert_eq!(cancelled(&mut peer).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_harms_no_other_and_not_the_session() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let (fails, goes_on) = (call(&lease, &request(1)), call(&lease, &request(2)));
    let (first, second) = (peer.call().await, peer.call().await);
    drop(first);
    assert_eq!(fails.failure().await.fate, Fate::MayHaveRun);
    second.answer("{}");
    goes_on.answer().await;
    assert!(!lease.is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_fails_all_its_calls_at_once() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let callings: Vec<_> = (0..10).map(|id| call(&lease, &request(id))).collect();
    let mut arrived = Vec::new();
    for _ in 0..10 {
        arrived.push(peer.call().await);
    }
    let unsent = lease.call(&request(99));

    let ended = tokio::time::Instant::now();
    peer.end(EndReason::StreamEnded);
    for calling in callings {
        let error = calling.failure().await;
        assert_eq!(error.fate, Fate::MayHaveRun);
        assert!(matches!(error.fault, Fault::Ended(EndReason::StreamEnded)), "{error}");
    }
    assert_eq!(ended.elapsed(), secs(0));

    for mut late in [unsent, lease.call(&request(100))] {
        let error = late.answer().await.expect_err("the session has ended");
        assert_eq!(error.fate, Fate::NotSent);
        assert!(matches!(error.fault, Fault::Ended(EndReason::StreamEnded)), "{error}");
    }
    // Nobody is told to cancel what died with the session.
    assert_eq!(cancelled(&mut peer).await, []);
}

#[tokio::test(start_paused = true)]
async fn notifications_and_answers_reach_the_upstream_while_the_session_lives() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let Message::Notification(changed) =
        read(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
    else {
        panic!("it is a notification")
    };
    let roots = wharf_proto::Response::success(&"r".into(), &json(r#"{"roots":[]}"#));
    lease.notify(changed.clone()).await.expect("it is taken");
    lease.respond(roots.clone()).await.expect("it is taken");
    assert!(matches!(peer.hear().await, Some(Heard::Notification(_))));
    assert!(matches!(peer.hear().await, Some(Heard::Response(_))));

    peer.end(EndReason::SessionGone);
    let refused = [lease.notify(changed).await, lease.respond(roots).await];
    for refused in refused {
        assert_eq!(refused.expect_err("it has ended").fate, Fate::NotSent);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_given_up_leave_nothing_behind() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    for id in 0..10_000 {
        give_up_one(&lease, &mut peer, id).await;
    }
    assert_eq!(cancelled(&mut peer).await.len(), 10_000);
    drop(lease);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
}

async fn give_up_one(session: &Session<MockLink>, peer: &mut MockPeer, id: u64) {
    let mut call = session.call(&request(id));
    assert!(futures_util::poll!(call.next()).is_pending());
    let _arrived = peer.call().await;
}
