//! Keys whose sessions are given up.

use wharf_pool::CloseReason;

use crate::support::{
    Books, EMPTY, ask, books, call, client, ends, has_heard_goodbye, identity, open, pool,
    pool_with, request, secs, settle,
};

mod support;

#[tokio::test(start_paused = true)]
async fn an_idle_session_that_is_retired_ends_now() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(lease);
    pool.retire(&client(1));
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
    assert_eq!(ends(&pool, "retired"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leased_session_that_is_retired_ends_with_its_last_lease() {
    let (pool, mut upstream) = pool(|_| {});
    let (first, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let second = ask(&pool, &client(1)).lease().await;
    let calling = call(&first, &request(1));
    pool.retire(&client(1));
    settle().await;
    peer.call().await.answer("{}");
    calling.answer().await;

    drop(second);
    settle().await;
    assert!(!first.is_closed());
    drop(first);
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_retired_key_gets_a_new_session() {
    let (pool, mut upstream) = pool(|_| {});
    let (old, _peer) = open(&pool, &mut upstream, &client(1)).await;
    pool.retire(&client(1));
    let (new, _peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(old);
    settle().await;
    assert!(!new.is_closed());
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_session_that_is_retired_is_given_a_new_one_at_once() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let (held, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let waiting = ask(&pool, &identity("ann"));
    settle().await;

    let begun = tokio::time::Instant::now();
    pool.retire(&identity("ann"));
    let _peer = upstream.accept().await;
    drop(waiting.lease().await);
    assert_eq!(begun.elapsed(), secs(0));
    assert!(!held.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_session_retired_while_it_is_opened_serves_nobody() {
    let (pool, mut upstream) = pool(|_| {});
    let waiting = ask(&pool, &client(1));
    let mut old = upstream.opening().await.expect("somebody connects").accept();
    pool.retire(&client(1));
    let later = ask(&pool, &client(1));

    let (mut waiting, mut later) = (waiting, later);
    let mut new = upstream.opening().await.expect("another is opened").accept();
    old.shake_hands().await;
    assert!(!waiting.is_done().await && !later.is_done().await);
    assert!(has_heard_goodbye(&mut old).await);

    new.shake_hands().await;
    let (waiting, later) = (waiting.lease().await, later.lease().await);
    assert!(!waiting.is_closed() && !later.is_closed());
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 2, ..EMPTY });
    assert_eq!(ends(&pool, "retired"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_retired_while_it_is_opened_for_nobody_leaves_nothing_behind() {
    let (pool, mut upstream) = pool(|_| {});
    let gives_up = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    drop(gives_up);
    settle().await;
    pool.retire(&client(1));
    peer.shake_hands().await;
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_was_retired_and_fails_is_nobodys_failure() {
    let (pool, mut upstream) = pool(|_| {});
    let waiting = ask(&pool, &client(1));
    let old = upstream.opening().await.expect("somebody connects");
    pool.retire(&client(1));
    old.refuse();
    let _peer = upstream.accept().await;
    drop(waiting.lease().await);
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_was_retired_gives_its_room_to_the_new_one() {
    let (pool, mut upstream) = pool_with(|settings| settings.sessions = 1);
    let waiting = ask(&pool, &client(1));
    let mut old = upstream.opening().await.expect("somebody connects").accept();
    pool.retire(&client(1));
    old.shake_hands().await;
    let _peer = upstream.accept().await;
    drop(waiting.lease().await);
}

#[tokio::test(start_paused = true)]
async fn retiring_a_key_is_nothing_to_another_and_nothing_to_none() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    pool.retire(&client(2));
    settle().await;
    assert!(!lease.is_closed());

    // And what was retired first has ended for that reason.
    pool.retire(&client(1));
    pool.retire(&client(1));
    let handle = lease.clone();
    drop(lease);
    assert!(matches!(handle.closed().await, CloseReason::Retired));
}
