//! How many sessions there may be in all and to one upstream, and who makes
//! room for whom.

use std::sync::Arc;

use wharf_pool::{AcquireError, Limits, Scope, Settings, Step};
use wharf_proto::transport::EndReason;

use crate::support::{
    Books, EMPTY, ask, ask_until, books, client, ends, has_heard_goodbye, identity, key, lease,
    let_in, manners, open, pass, pool_with, secs, settle,
};

mod support;

fn at_most(sessions: usize) -> impl FnOnce(&mut Settings) {
    move |settings| settings.sessions = sessions
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_of_another_key_makes_room() {
    let (pool, mut upstream) = pool_with(at_most(1));
    let (first, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(first);

    let (_second, _peer) = open(&pool, &mut upstream, &client(2)).await;
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(ends(&pool, "evicted"), 1);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn only_as_many_sessions_make_room_as_are_wanted() {
    let (pool, upstream) = pool_with(at_most(10));
    let _upstream = let_in(upstream);
    for number in 0..10 {
        drop(lease(&pool, &client(number)).await);
    }
    // Twenty callers want one session between them.
    let callers: Vec<_> = (0..20).map(|_| ask(&pool, &client(99))).collect();
    for caller in callers {
        drop(caller.lease().await);
    }
    assert_eq!(ends(&pool, "evicted"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_becomes_idle_makes_room_for_a_key_that_waits() {
    let (pool, mut upstream) = pool_with(at_most(1));
    let (held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut starved = ask(&pool, &client(2));
    assert!(!starved.is_done().await);

    let begun = tokio::time::Instant::now();
    drop(held);
    let _peer = upstream.accept().await;
    drop(starved.lease().await);
    assert_eq!(begun.elapsed(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn a_session_opened_for_nobody_makes_room_for_a_key_that_waits() {
    let (pool, mut upstream) = pool_with(at_most(1));
    let gives_up = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    let starved = ask(&pool, &client(2));
    settle().await;
    drop(gives_up);
    settle().await;

    let begun = tokio::time::Instant::now();
    peer.shake_hands().await;
    let _peer = upstream.accept().await;
    drop(starved.lease().await);
    assert_eq!(begun.elapsed(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn keys_that_wait_get_their_turn_in_the_order_of_asking() {
    let (pool, upstream) = pool_with(at_most(1));
    let _upstream = let_in(upstream);
    let mut held = Some(lease(&pool, &client(0)).await);
    let mut starved = Vec::new();
    for number in 1..6 {
        starved.push(ask(&pool, &client(number)));
        settle().await;
    }
    while !starved.is_empty() {
        let begun = tokio::time::Instant::now();
        drop(held.take());
        let first = starved.remove(0);
        held = Some(first.lease().await);
        assert_eq!(begun.elapsed(), secs(0));
        for other in &mut starved {
            assert!(!other.is_done().await);
        }
        assert_eq!(books(&pool).sessions, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_by_itself_makes_room_too() {
    let (pool, mut upstream) = pool_with(at_most(1));
    let (_held, peer) = open(&pool, &mut upstream, &client(1)).await;
    let starved = ask(&pool, &client(2));
    settle().await;
    peer.end(EndReason::StreamEnded);
    let _peer = upstream.accept().await;
    drop(starved.lease().await);
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_callers_gave_up_takes_nobodys_turn() {
    let (pool, mut upstream) = pool_with(at_most(1));
    let (held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let gives_up = ask(&pool, &client(2));
    settle().await;
    let stays = ask(&pool, &client(3));
    settle().await;
    drop(gives_up);
    settle().await;

    let begun = tokio::time::Instant::now();
    drop(held);
    let _peer = upstream.accept().await;
    drop(stays.lease().await);
    assert_eq!(begun.elapsed(), secs(0));
    settle().await;
    assert_eq!(upstream.connects(), 2);
    // And with nobody left to make room for, a session stays where it is.
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_been_served_makes_nobody_give_way() {
    let (pool, mut upstream) = pool_with(at_most(2));
    let (held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let (own, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let starved = ask(&pool, &identity("ann"));
    settle().await;
    // Its own session is what serves it.
    drop(own);
    let served = starved.lease().await;
    drop(held);
    settle().await;
    drop(served);
    assert_eq!(ends(&pool, "evicted"), 0);
    assert_eq!(books(&pool).sessions, 2);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_has_a_limit_of_its_own() {
    let (pool, upstream) = pool_with(|settings| {
        let limits = Limits { sessions: 1, ..Limits::default() };
        settings.upstreams.insert(Arc::from("small"), limits);
    });
    let _upstream = let_in(upstream);
    let elsewhere = lease(&pool, &client(1)).await;
    let held = lease(&pool, &key("small", Scope::Client(1))).await;
    let mut starved = ask(&pool, &key("small", Scope::Client(2)));
    assert!(!starved.is_done().await);
    // Room at another upstream is no room here.
    drop(elsewhere);
    assert!(!starved.is_done().await);
    drop(lease(&pool, &client(3)).await);
    assert_eq!(ends(&pool, "evicted"), 0);

    drop(held);
    drop(starved.lease().await);
    assert_eq!(ends(&pool, "evicted"), 1);
}

#[tokio::test(start_paused = true)]
async fn where_an_upstream_is_full_an_idle_session_of_its_own_makes_room() {
    let (pool, upstream) = pool_with(|settings| {
        let limits = Limits { sessions: 1, ..Limits::default() };
        settings.upstreams.insert(Arc::from("small"), limits);
    });
    let _upstream = let_in(upstream);
    drop(lease(&pool, &client(1)).await);
    drop(lease(&pool, &key("small", Scope::Client(1))).await);
    let mut asking = ask(&pool, &key("small", Scope::Client(2)));
    assert!(asking.is_done().await);
    assert_eq!(ends(&pool, "evicted"), 1);
    assert!(pool.try_acquire(&client(1)).is_some(), "that one is of no use here");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_another_keys_session_is_waiting_for_ones_turn() {
    let (pool, mut upstream) = pool_with(at_most(1));
    let (_held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let deadline = tokio::time::Instant::now() + secs(1);
    let late = ask_until(&pool, &client(2), deadline).refusal().await;
    assert!(matches!(late, AcquireError::TimedOut { step: Step::Turn }), "{late}");
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn a_session_counts_until_its_goodbye_is_over() {
    let (pool, mut upstream, _) =
        manners::mannered(manners::Manners::HangsAtGoodbye, |settings| settings.sessions = 1);
    let (first, _peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(first);
    let begun = tokio::time::Instant::now();
    let (_second, _peer) = open(&pool, &mut upstream, &client(2)).await;
    assert_eq!(begun.elapsed(), Limits::default().goodbye_timeout);
}

#[tokio::test(start_paused = true)]
async fn of_two_keys_that_wait_the_second_does_not_wait_for_the_room_that_is_made_for_the_first() {
    let (pool, mut upstream, _) =
        manners::mannered(manners::Manners::HangsAtGoodbye, |settings| settings.sessions = 2);
    let (first, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let (second, _peer) = open(&pool, &mut upstream, &client(2)).await;
    drop((first, second));
    let _waiting = [ask(&pool, &client(3)), ask(&pool, &client(4))];
    settle().await;
    assert_eq!(ends(&pool, "evicted"), 2);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_keys_one_after_the_other_leave_few_sessions_and_no_keys() {
    let (pool, upstream) = pool_with(at_most(50));
    let counting = let_in(upstream);
    for number in 0..10_000 {
        drop(lease(&pool, &client(number)).await);
    }
    let held = books(&pool);
    assert!(held.sessions <= 50 && held.keys <= 50, "{held:?}");
    pass(Limits::default().idle_timeout + secs(1)).await;
    assert_eq!(books(&pool), EMPTY);
    assert_eq!(pool.snapshot().upstreams.len(), 1);

    drop(pool);
    let most = counting.outcome().await;
    assert!(most <= 50, "the upstream had {most} at once");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_keys_at_once_are_all_served() {
    let (pool, upstream) = pool_with(at_most(50));
    let counting = let_in(upstream);
    let callers: Vec<_> = (0..10_000).map(|number| ask(&pool, &client(number))).collect();
    for caller in callers {
        drop(caller.lease().await);
    }
    drop(pool);
    let most = counting.outcome().await;
    assert!(most <= 50, "the upstream had {most} at once");
}
