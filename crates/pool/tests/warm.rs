//! Sessions that are open before anybody asks for them.

use std::sync::Arc;

use wharf_pool::{
    AcquireError, BreakerLimits, CloseReason, Key, Limits, OpenError, Profile, Scope,
};
use wharf_proto::{
    Revision,
    mock::{MockPeer, MockUpstream},
    transport::EndReason,
};

use crate::support::{
    Books, EMPTY, MockPool, ask, books, call, client, ends, has_heard_goodbye, identity, json, key,
    key_with, lease, let_in, open, pass, pool, pool_with, request, secs, settle, tomorrow,
};

mod support;

fn two_warm(limits: &mut Limits) {
    limits.warm = 2;
    limits.idle_timeout = secs(600);
}

/// Sessions kept warm, over all upstreams.
fn warm(pool: &MockPool) -> usize {
    pool.snapshot().upstreams.iter().map(|upstream| upstream.warm).sum()
}

/// A client's key that declares something of its own.
fn declaring(number: u64, name: &str) -> Key {
    key_with(|parts| {
        parts.scope = Scope::Client(number);
        parts.profile = Arc::new(Profile {
            revision: Revision::LATEST,
            capabilities: json("{}"),
            client_info: json(&format!(r#"{{"name":"{name}","version":"1"}}"#)),
        });
    })
}

/// A first client, and the upstream's ends of what is kept warm since.
async fn begin(pool: &MockPool, upstream: &mut MockUpstream) -> Vec<MockPeer> {
    let (lease, peer) = open(pool, upstream, &client(1)).await;
    let mut peers = vec![peer];
    for _ in 0..2 {
        peers.push(upstream.accept().await);
    }
    settle().await;
    drop(lease);
    assert_eq!(warm(pool), 2);
    peers
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_warm_before_anybody_has_asked_or_where_it_is_not_wanted() {
    let (cold, upstream) = pool(|_| {});
    let _upstream = let_in(upstream);
    drop(lease(&cold, &client(1)).await);
    settle().await;
    assert_eq!(books(&cold), Books { keys: 1, sessions: 1, ..EMPTY });
    assert_eq!(warm(&cold), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_clients_first_call_costs_no_round_trip_but_its_own() {
    let (pool, mut upstream) = pool(two_warm);
    let mut peers = begin(&pool, &mut upstream).await;
    let connects = upstream.connects();

    let mut asking = ask(&pool, &client(2));
    assert!(asking.is_done().await, "nobody has let anybody in since");
    let second = asking.lease().await;
    let calling = call(&second, &request(1));
    settle().await;
    let mut calls = peers.iter_mut().flat_map(MockPeer::heard_so_far);
    let Some(wharf_proto::mock::Heard::Call(arrived)) = calls.next() else { panic!("no call") };
    assert_eq!(arrived.request.method(), "tools/call");
    arrived.answer("{}");
    calling.answer().await;
    assert_eq!(pool.snapshot().upstreams[0].warm_hits, 1);

    // And in its place another is opened.
    assert_eq!(upstream.connects(), connects + 1);
    let _peer = upstream.accept().await;
    settle().await;
    assert_eq!(warm(&pool), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_away_is_that_clients_and_nobody_elses() {
    let (pool, mut upstream) = pool(two_warm);
    let _peers = begin(&pool, &mut upstream).await;
    let (second, third) = (lease(&pool, &client(2)).await, lease(&pool, &client(3)).await);
    let numbers = [second.number(), third.number()];
    assert_ne!(numbers[0], numbers[1]);
    drop((second, third));
    for _ in 0..2 {
        assert_eq!(lease(&pool, &client(2)).await.number(), numbers[0]);
        assert_eq!(lease(&pool, &client(3)).await.number(), numbers[1]);
    }
    // With its client it goes.
    let handle = lease(&pool, &client(2)).await.clone();
    pool.retire(&client(2));
    assert!(matches!(handle.closed().await, CloseReason::Retired));
}

#[tokio::test(start_paused = true)]
async fn many_calls_at_once_are_made_on_what_was_given_away() {
    let (pool, mut upstream) = pool(two_warm);
    let _peers = begin(&pool, &mut upstream).await;
    let first = lease(&pool, &client(2)).await;
    let second = lease(&pool, &client(2)).await;
    assert_eq!(first.number(), second.number());
}

#[tokio::test(start_paused = true)]
async fn each_call_that_keeps_no_session_takes_a_fresh_one() {
    let (pool, upstream) = pool(two_warm);
    let _upstream = let_in(upstream);
    let call_key = || key_with(|parts| parts.scope = Scope::one_call());
    drop(lease(&pool, &call_key()).await);
    settle().await;
    let mut numbers = Vec::new();
    for _ in 0..5 {
        let mut asking = ask(&pool, &call_key());
        assert!(asking.is_done().await);
        let lease = asking.lease().await;
        numbers.push(lease.number());
        drop(lease);
        settle().await;
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 5);
    assert_eq!(books(&pool), EMPTY);
    assert_eq!(warm(&pool), 2);
}

#[tokio::test(start_paused = true)]
async fn who_declares_something_else_is_given_none_and_has_others_kept_for_the_next() {
    let (pool, mut upstream) = pool(two_warm);
    let _peers = begin(&pool, &mut upstream).await;
    let mut asking = ask(&pool, &declaring(5, "another"));
    assert!(!asking.is_done().await);
    let _upstream = let_in(upstream);
    drop(asking.lease().await);
    settle().await;
    assert_eq!(warm(&pool), 4);
    assert!(ask(&pool, &declaring(6, "another")).is_done().await);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_shared_are_not_taken_from_the_warm_ones() {
    let (pool, mut upstream) = pool(two_warm);
    let _peers = begin(&pool, &mut upstream).await;
    let mut asking = ask(&pool, &identity("ann"));
    assert!(!asking.is_done().await);
    assert_eq!(warm(&pool), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_four_kinds_are_kept() {
    let (pool, upstream) = pool(two_warm);
    let _upstream = let_in(upstream);
    for number in 0..20 {
        drop(lease(&pool, &declaring(number, &format!("kind {number}"))).await);
        settle().await;
    }
    assert_eq!(warm(&pool), 8);
    assert_eq!(ends(&pool, "retired"), 2 * 16);
    // Those of the last are there.
    assert!(ask(&pool, &declaring(99, "kind 19")).is_done().await);
}

#[tokio::test(start_paused = true)]
async fn they_expire_and_are_replaced_while_somebody_has_asked_lately() {
    let (pool, upstream) = pool(|limits| {
        two_warm(limits);
        limits.max_age = Some(secs(100));
    });
    let _upstream = let_in(upstream);
    drop(lease(&pool, &client(1)).await);
    pass(secs(500)).await;
    assert_eq!(warm(&pool), 2);
    assert!(ends(&pool, "age") >= 8, "{}", ends(&pool, "age"));
    // Nobody has asked for ten minutes.
    pass(secs(300)).await;
    assert_eq!(warm(&pool), 0);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn they_are_probed_and_one_that_fails_is_replaced() {
    let (pool, mut upstream) = pool(|limits| {
        two_warm(limits);
        limits.probes = vec![wharf_pool::Probe::Ping];
        limits.probe_after = secs(30);
    });
    let mut peers = begin(&pool, &mut upstream).await;
    pass(secs(30)).await;
    for peer in &mut peers[..2] {
        peer.call().await.answer("{}");
    }
    drop(peers[2].call().await);
    let _peer = upstream.accept().await;
    settle().await;
    assert_eq!(warm(&pool), 2);
    assert_eq!(ends(&pool, "probe_failed"), 1);
}

#[tokio::test(start_paused = true)]
async fn they_count_against_the_limits_and_take_no_room_that_somebody_waits_for() {
    let (pool, upstream) = pool_with(|settings| {
        settings.sessions = 3;
        two_warm(&mut settings.default);
    });
    let upstream = let_in(upstream);
    let mut leases = Vec::new();
    for number in 0..3 {
        leases.push(lease(&pool, &client(number)).await);
        settle().await;
        assert_eq!(warm(&pool) + leases.len(), 3);
    }
    let mut waiting = ask(&pool, &client(9));
    assert!(!waiting.is_done().await);
    leases.pop();
    drop(waiting.lease().await);
    drop(pool);
    assert!(upstream.outcome().await <= 3);
}

#[tokio::test(start_paused = true)]
async fn they_are_opened_although_somebody_has_waited_for_room_in_vain() {
    let (pool, upstream) = pool_with(|settings| {
        let full = Limits { sessions: 1, ..settings.default.clone() };
        settings.upstreams.insert("full".into(), full);
        two_warm(&mut settings.default);
    });
    let _upstream = let_in(upstream);
    let _held = lease(&pool, &key("full", Scope::Client(1))).await;
    let gives_up = ask(&pool, &key("full", Scope::Client(2)));
    settle().await;
    drop(gives_up);

    drop(lease(&pool, &client(1)).await);
    settle().await;
    assert_eq!(warm(&pool), 2);
}

#[tokio::test(start_paused = true)]
async fn they_make_room_before_a_session_that_somebody_has_used() {
    let (pool, upstream) = pool_with(|settings| {
        settings.sessions = 3;
        two_warm(&mut settings.default);
    });
    let _upstream = let_in(upstream);
    drop(lease(&pool, &client(1)).await);
    settle().await;
    assert_eq!((warm(&pool), books(&pool).sessions), (2, 1));
    drop(lease(&pool, &identity("ann")).await);
    settle().await;
    assert_eq!((warm(&pool), books(&pool).sessions), (1, 2));
    assert!(pool.handshake(&client(1)).is_some());
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_opened_is_tried_again_with_nobody_asking() {
    let (pool, mut upstream) = pool(|limits| {
        two_warm(limits);
        limits.breaker = BreakerLimits { failures: 2, pause: secs(1), longest_pause: secs(10) };
    });
    let (held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    for _ in 0..2 {
        upstream.opening().await.expect("one is to be kept").refuse();
    }
    settle().await;
    let mut tries = 0;
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < secs(60) {
        let opening = upstream.opening().await.expect("it is tried again");
        opening.refuse();
        tries += 1;
    }
    assert!((6..40).contains(&tries), "{tries}");
    let _upstream = let_in(upstream);
    pass(secs(20)).await;
    assert_eq!(warm(&pool), 2);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_callers_failure_does_not_keep_one_from_being_tried_again() {
    let (pool, mut upstream) = pool(|limits| {
        two_warm(limits);
        limits.breaker = BreakerLimits { failures: 3, pause: secs(1), longest_pause: secs(1) };
    });
    let (_held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    for _ in 0..2 {
        upstream.opening().await.expect("one is to be kept").refuse();
    }
    // Just before they are tried again the breaker opens, for longer.
    pass(std::time::Duration::from_millis(490)).await;
    let asking = ask(&pool, &client(2));
    for _ in 0..3 {
        upstream.opening().await.expect("it is tried").refuse();
    }
    asking.refusal().await;
    let _upstream = let_in(upstream);
    pass(secs(20)).await;
    assert_eq!(warm(&pool), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_they_are_there_again() {
    let (pool, mut upstream) = pool(two_warm);
    let peers = begin(&pool, &mut upstream).await;
    for peer in &peers {
        peer.end(EndReason::StreamEnded);
    }
    let _upstream = let_in(upstream);
    settle().await;
    assert_eq!(warm(&pool), 2);
    assert_eq!(ends(&pool, "stream_ended"), 3);
}

#[tokio::test(start_paused = true)]
async fn those_of_a_credential_that_is_now_another_go_and_are_not_replaced() {
    let (pool, mut upstream) = pool(two_warm);
    let mut peers = begin(&pool, &mut upstream).await;
    pool.retire_where(&CloseReason::Credential, |key| **key.upstream() == *"fast-time");
    for peer in &mut peers {
        assert!(has_heard_goodbye(peer).await);
    }
    assert_eq!(ends(&pool, "credential"), 3);
    assert_eq!((books(&pool), warm(&pool)), (EMPTY, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_ends_opens_no_more_of_them() {
    let (pool, mut upstream) = pool(two_warm);
    let mut peers = begin(&pool, &mut upstream).await;
    let connects = upstream.connects();
    let begun = tokio::time::Instant::now();
    pool.shutdown(begun + secs(30)).await;
    assert_eq!(begun.elapsed(), secs(0));
    for peer in &mut peers {
        assert!(has_heard_goodbye(peer).await);
    }
    assert_eq!(upstream.connects(), connects);
    assert_eq!((books(&pool), warm(&pool)), (EMPTY, 0));
}

#[test]
fn where_the_runtime_has_gone_each_is_begun_once_and_no_more() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build();
    let gone = runtime().expect("a runtime starts");
    let (pool, _upstream) = gone.block_on(async { pool(two_warm) });
    drop(gone);
    let other = runtime().expect("a runtime starts");
    let refused = other.block_on(async { pool.acquire(&client(1), tomorrow()).await });
    assert!(matches!(refused, Err(AcquireError::Open(OpenError::OwnerGone))), "{refused:?}");
    assert_eq!(pool.snapshot().upstreams[0].open_failures, 3);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_ends_does_not_wait_for_who_tries_again() {
    let (pool, mut upstream) = pool(two_warm);
    let (lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    for _ in 0..2 {
        upstream.opening().await.expect("one is to be kept").refuse();
    }
    settle().await;
    drop(lease);
    let begun = tokio::time::Instant::now();
    pool.shutdown(begun + secs(30)).await;
    assert_eq!(begun.elapsed(), secs(0));
}
