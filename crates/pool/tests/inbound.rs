//! What an upstream says in relation to no call.

use std::sync::atomic::Ordering;

use wharf_proto::{
    Message, Outcome, Response, code,
    mock::{Heard, MockPeer},
    transport::EndReason,
};

use crate::support::{ask, call, client, manners, open, pool, read, request, secs, settle};

mod support;

fn changed() -> Message {
    read(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
}

fn asks(id: &str, method: &str) -> Message {
    read(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#))
}

async fn response(peer: &mut MockPeer) -> Response {
    match peer.hear().await {
        Some(Heard::Response(response)) => response,
        other => panic!("{other:?} is no response"),
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_listened_to_before_somebody_listens() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, peer) = open(&pool, &mut upstream, &client(1)).await;
    peer.say(changed());
    settle().await;
    assert!(!peer.is_listened_to());

    let mut inbound = lease.listen();
    settle().await;
    assert!(peer.is_listened_to());
    peer.say(changed());
    assert!(matches!(inbound.next().await, Ok(Message::Notification(_))));
}

#[tokio::test(start_paused = true)]
async fn every_listener_hears_everything_from_when_it_began() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut first = lease.listen();
    peer.say(changed());
    settle().await;
    let mut second = lease.listen();
    peer.say(asks("1", "roots/list"));

    assert!(matches!(first.next().await, Ok(Message::Notification(_))));
    assert!(matches!(first.next().await, Ok(Message::Request(_))));
    assert!(matches!(second.next().await, Ok(Message::Request(_))));

    // All gone, and one come again.
    drop((first, second));
    let mut third = lease.listen();
    peer.say(changed());
    assert!(matches!(third.next().await, Ok(Message::Notification(_))));
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_whoever_listens() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    peer.say(asks(r#""p1""#, "ping"));
    assert_eq!(response(&mut peer).await.id(), Some(&"p1".into()));

    let mut inbound = lease.listen();
    peer.say(asks("2", "ping"));
    let pong = response(&mut peer).await;
    assert_eq!(pong.id(), Some(&2.into()));
    assert_eq!(pong.result().map(|result| result.as_str()), Some("{}"));
    assert!(futures_util::poll!(Box::pin(inbound.next())).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_hears_is_refused() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    peer.say(asks("1", "roots/list"));
    let refusal = response(&mut peer).await;
    assert_eq!(refusal.error_code(), Some(code::METHOD_NOT_FOUND));
    assert!(matches!(refusal.outcome(), Outcome::Error(_)));

    let inbound = lease.listen();
    settle().await;
    drop(inbound);
    peer.say(asks("2", "roots/list"));
    assert_eq!(response(&mut peer).await.error_code(), Some(code::METHOD_NOT_FOUND));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_somebody_hears_is_theirs_to_answer() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut inbound = lease.listen();
    settle().await;
    peer.say(asks("1", "roots/list"));
    let Ok(Message::Request(asked)) = inbound.next().await else { panic!("a request") };
    settle().await;
    assert_eq!(peer.heard_so_far().len(), 0);
    let roots = Response::success(asked.id(), &support::json(r#"{"roots":[]}"#));
    lease.respond(roots).await.expect("it is taken");
    assert_eq!(response(&mut peer).await.id(), Some(&1.into()));
}

#[tokio::test(start_paused = true)]
async fn listening_ends_with_the_session_though_handles_live() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut inbound = lease.listen();
    settle().await;
    peer.say(changed());
    peer.end(EndReason::StreamEnded);
    assert!(inbound.next().await.is_ok(), "what was said before is heard");
    assert!(inbound.next().await.is_err());
    assert!(lease.listen().next().await.is_err());
    assert!(lease.is_closed());
}

#[tokio::test(start_paused = true)]
async fn who_begins_to_listen_during_the_goodbye_hears_the_end_at_once() {
    let (pool, mut upstream, _) = manners::mannered(manners::Manners::HangsAtGoodbye, |_| {});
    let (lease, peer) = open(&pool, &mut upstream, &client(1)).await;
    lease.close(wharf_pool::CloseReason::Retired);
    lease.closed().await;
    settle().await;
    let begun = tokio::time::Instant::now();
    assert!(lease.listen().next().await.is_err());
    assert_eq!(begun.elapsed(), secs(0));
    assert!(!peer.is_listened_to());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_pings_and_takes_no_answer_piles_up_nothing() {
    let (pool, mut upstream, hanging) = manners::mannered(manners::Manners::TakesNoAnswers, |_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    for id in 0..10_000 {
        peer.say(asks(&id.to_string(), "ping"));
    }
    settle().await;
    assert!(hanging.load(Ordering::Relaxed) <= 100, "{hanging:?} answers wait");

    // The calls go on meanwhile.
    let calling = call(&lease, &request(1));
    peer.call().await.answer("{}");
    calling.answer().await;
    drop(ask(&pool, &client(1)).lease().await);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_too_slow_loses_the_oldest_and_goes_on() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut inbound = lease.listen();
    settle().await;
    for id in 0..1000 {
        peer.say(asks(&id.to_string(), "roots/list"));
    }
    settle().await;
    let Ok(Message::Request(oldest)) = inbound.next().await else { panic!("a request") };
    assert_eq!(oldest.id(), &(1000 - 256).into());
}
