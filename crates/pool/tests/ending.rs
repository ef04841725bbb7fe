//! The end of a session: who hears of it, in which order, and that nobody is
//! given one that has ended.

use std::sync::atomic::Ordering;

use futures_util::poll;
use wharf_pool::{CloseReason, Limits};
use wharf_proto::{
    Json, Response,
    mock::Heard,
    transport::{CallError, EndReason, Exchange, Fate, Fault},
};

use crate::support::{
    Books, EMPTY, ask, books, call, client, ends, has_heard_goodbye, identity, lease, let_in,
    manners, manners::Manners, open, pool, request, secs, settle,
};

mod support;

#[tokio::test(start_paused = true)]
async fn a_session_that_has_ended_is_not_leased_even_before_its_owner_noticed() {
    let (pool, mut upstream) = pool(|_| {});
    let (first, peer) = open(&pool, &mut upstream, &client(1)).await;
    let again = ask(&pool, &client(1));
    // Both in line for the scheduler; no owner has run since.
    peer.end(EndReason::SessionGone);
    assert!(first.is_closed());
    drop(first);

    let _peer = upstream.accept().await;
    assert!(!again.lease().await.is_closed());
    assert_eq!(upstream.connects(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_given_back_after_its_end_is_not_granted_to_those_in_line() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let (held, peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let waiting = ask(&pool, &identity("ann"));
    settle().await;
    peer.end(EndReason::SessionGone);
    drop(held);
    let _peer = upstream.accept().await;
    assert!(!waiting.lease().await.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_asked_to_close_is_not_leased_again() {
    let (pool, upstream) = pool(|_| {});
    let _upstream = let_in(upstream);
    let first = lease(&pool, &identity("ann")).await;
    first.close(CloseReason::Retired);
    drop(first);

    let second = lease(&pool, &identity("ann")).await;
    settle().await;
    assert!(!second.is_closed());
    assert_eq!(pool.snapshot().upstreams[0].opens, 2);
}

#[tokio::test(start_paused = true)]
async fn the_reason_is_there_and_the_calls_have_failed_before_the_goodbye_is_heard() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut calling = call(&lease, &request(1));
    let _unanswered = peer.call().await;
    let begun = tokio::time::Instant::now();

    lease.close(CloseReason::Retired);
    while !matches!(peer.hear().await, Some(Heard::Goodbye)) {}
    assert!(matches!(lease.close_reason(), Some(CloseReason::Retired)));
    assert!(pool.handshake(&client(1)).is_none(), "it is in the pool no more");
    assert_eq!(books(&pool).sessions, 0);
    assert_eq!(begun.elapsed(), secs(0));
    assert!(calling.is_done().await);
    assert_eq!(calling.failure().await.fate, Fate::MayHaveRun);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_let_go_holds_nobody_up() {
    let (pool, mut upstream, _) = manners::mannered(Manners::HangsAtGoodbye, |_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let calling = call(&lease, &request(1));
    let _unanswered = peer.call().await;
    let begun = tokio::time::Instant::now();

    lease.close(CloseReason::Retired);
    calling.failure().await;
    assert!(matches!(lease.closed().await, CloseReason::Retired));
    let (_next, _peer) = open(&pool, &mut upstream, &client(1)).await;
    assert_eq!(begun.elapsed(), secs(0));

    pool.shutdown(begun).await;
    assert_eq!(begun.elapsed(), Limits::default().goodbye_timeout);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_no_answers_is_taken_leave_of_all_the_same() {
    let (pool, mut upstream, hanging) = manners::mannered(Manners::TakesNoAnswers, |_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    peer.say(support::read(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#));
    settle().await;
    assert_eq!(hanging.load(Ordering::Relaxed), 1);
    let begun = tokio::time::Instant::now();
    lease.close(CloseReason::Retired);
    assert!(matches!(peer.hear().await, Some(Heard::Goodbye)));
    assert!(begun.elapsed() < Limits::default().goodbye_timeout);
}

#[tokio::test(start_paused = true)]
async fn no_goodbye_is_said_to_who_does_not_know_the_session_any_more() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    peer.end(EndReason::SessionGone);
    lease.closed().await;
    assert!(!has_heard_goodbye(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_cancelled_is_cancelled_before_the_goodbye() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut given_up = lease.call(&request(1));
    assert!(futures_util::poll!(given_up.next()).is_pending());
    let _unanswered = peer.call().await;
    lease.close(CloseReason::Retired);
    drop(given_up);

    assert!(matches!(peer.hear().await, Some(Heard::Notification(_))));
    assert!(matches!(peer.hear().await, Some(Heard::Goodbye)));
}

#[tokio::test(start_paused = true)]
async fn closed_waits_for_the_end_and_tells_why() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, peer) = open(&pool, &mut upstream, &client(1)).await;
    let session = lease.clone();
    let mut closed = support::Underway::start(async move { session.closed().await });
    assert!(!closed.is_done().await);
    assert!(lease.close_reason().is_none());

    peer.end(EndReason::StreamEnded);
    let reason = closed.outcome().await;
    assert!(matches!(reason, CloseReason::Link(EndReason::StreamEnded)), "{reason}");
    assert_eq!(ends(&pool, "stream_ended"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handle_keeps_no_session_open_and_nothing_in_the_pool() {
    let (pool, mut upstream) = pool(|limits| limits.idle_timeout = secs(60));
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let handle = lease.clone();
    drop(lease);
    assert!(matches!(handle.closed().await, CloseReason::Idle));
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_session_is_nothing_to_another() {
    let (pool, mut upstream) = pool(|_| {});
    let (first, first_peer) = open(&pool, &mut upstream, &client(1)).await;
    let (second, mut second_peer) = open(&pool, &mut upstream, &client(2)).await;
    let calling = call(&second, &request(1));
    let arrived = second_peer.call().await;
    first_peer.end(EndReason::StreamEnded);
    first.closed().await;
    arrived.answer("{}");
    calling.answer().await;
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn calls_on_their_way_to_an_upstream_that_forgot_the_session_hear_of_it_themselves() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let (told, untold) = (call(&lease, &request(1)), call(&lease, &request(2)));
    let (first, second) = (peer.call().await, peer.call().await);
    let begun = tokio::time::Instant::now();
    peer.end(EndReason::SessionGone);
    settle().await;
    assert!(lease.is_closed(), "nobody begins a call any more");
    first.fail(CallError::not_sent(Fault::SessionGone));
    assert_eq!(told.failure().await.fate, Fate::NotSent);
    // Nobody waits for longer than a moment.
    assert_eq!(untold.failure().await.fate, Fate::MayHaveRun);
    assert!(begun.elapsed() < secs(1), "{:?}", begun.elapsed());
    assert!(second.is_abandoned());
}

#[tokio::test(start_paused = true)]
async fn once_no_call_is_on_its_way_to_an_upstream_that_forgot_the_session_it_ends_at_once() {
    let (pool, mut upstream) = pool(|_| {});
    let (one, peer) = open(&pool, &mut upstream, &client(1)).await;
    let other = lease(&pool, &client(1)).await;
    let session = one.clone();
    peer.end(EndReason::SessionGone);
    drop(one);
    settle().await;
    assert_eq!(books(&pool).sessions, 0, "nobody begins a call any more");
    let begun = tokio::time::Instant::now();
    drop(other);
    session.closed().await;
    assert_eq!(begun.elapsed(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_upstream_does_not_take_is_over_with_the_session() {
    let (pool, mut upstream, hanging) = manners::mannered(Manners::TakesNoAnswers, |_| {});
    let (lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let pong = Response::success(&"p".into(), &Json::empty_object());
    let mut told = Box::pin(lease.respond(pong));
    assert!(poll!(&mut told).is_pending());

    lease.close(CloseReason::Retired);
    let error = told.await.expect_err("nobody has taken it");
    assert!(matches!(error.fault, Fault::Ended(_)), "{error:?}");
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert_eq!(hanging.load(Ordering::Relaxed), 0);
}
