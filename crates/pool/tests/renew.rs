//! Upstreams that are another than they were.

use wharf_pool::{AcquireError, BreakerLimits, CloseReason, Limits};

use crate::support::{
    Books, EMPTY, ask, books, call, client, ends, has_heard_goodbye, identity, open, pool, request,
    secs, settle,
};

mod support;

/// The limits of these tests, but for some.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits { probes: Vec::new(), ..Limits::default() };
    change(&mut limits);
    limits
}

#[tokio::test(start_paused = true)]
async fn sessions_of_an_upstream_that_is_renewed_end_with_their_calls_for_that_reason() {
    let (pool, mut upstream) = pool(|_| {});
    let (used, mut used_peer) = open(&pool, &mut upstream, &client(1)).await;
    let (idle, mut idle_peer) = open(&pool, &mut upstream, &client(2)).await;
    drop(idle);
    let calling = call(&used, &request(1));
    let arrived = used_peer.call().await;

    pool.renew(&"fast-time".into(), limits(|_| {}), &CloseReason::Configuration);
    assert!(has_heard_goodbye(&mut idle_peer).await);
    let (_fresh, _peer) = open(&pool, &mut upstream, &client(1)).await;
    arrived.answer("{}");
    calling.answer().await;
    drop(used);
    assert!(has_heard_goodbye(&mut used_peer).await);
    assert_eq!(ends(&pool, "configuration"), 2);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_in_use_all_the_time_gets_the_other_limits_too() {
    let (pool, mut upstream) = pool(|limits| {
        limits.sessions = 1;
        limits.sessions_per_key = 1;
    });
    let (held, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let (first, second) = (ask(&pool, &identity("ann")), ask(&pool, &identity("ann")));
    settle().await;
    assert_eq!(books(&pool).waiters, 2);

    let wider = limits(|limits| limits.sessions_per_key = 2);
    pool.renew(&"fast-time".into(), wider, &CloseReason::Configuration);
    let _peers = [upstream.accept().await, upstream.accept().await];
    let _leases = [first.lease().await, second.lease().await];
    drop(held);
    settle().await;
    let mut third = ask(&pool, &identity("ann"));
    assert!(!third.is_done().await);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 2, leases: 2, waiters: 1, opening: 0 });
}

#[tokio::test(start_paused = true)]
async fn what_failed_before_an_upstream_was_renewed_is_forgotten() {
    let breaker = BreakerLimits { failures: 1, pause: secs(60), longest_pause: secs(60) };
    let (pool, mut upstream) = pool(|limits| limits.breaker = breaker.clone());
    let asking = ask(&pool, &client(1));
    upstream.opening().await.expect("it is tried").refuse();
    asking.refusal().await;
    let refusal = ask(&pool, &client(1)).refusal().await;
    assert!(matches!(refusal, AcquireError::BreakerOpen { .. }), "{refusal}");

    let same = limits(|limits| limits.breaker = breaker);
    pool.renew(&"fast-time".into(), same, &CloseReason::Credential);
    let (_lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_can_be_renewed_before_it_is_used() {
    let (pool, mut upstream) = pool(|_| {});
    let narrow = limits(|limits| limits.sessions = 1);
    pool.renew(&"fast-time".into(), narrow, &CloseReason::Configuration);
    let (_held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut other = ask(&pool, &client(2));
    assert!(!other.is_done().await);
}
