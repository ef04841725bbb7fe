//! Upstreams that are taken out of service, and sessions that are obsolete.

use futures_util::FutureExt as _;
use tokio::time::Instant;
use wharf_pool::{AcquireError, Afterwards, CloseReason, Fingerprinter, Key, Limits, Pool, Scope};
use wharf_proto::{
    mock::MockConnect,
    transport::{Connect, Fate},
};

use crate::support::{
    Books, EMPTY, Underway, ask, books, call, client, ends, has_heard_goodbye, identity, key,
    key_with, lease, let_in, manners, open, pass, pool, request, secs, settle, tomorrow,
};

mod support;

const UPSTREAM: &str = "fast-time";

fn drain<C: Connect<Target = Key>>(
    pool: &Pool<C>,
    deadline: Instant,
    afterwards: Afterwards,
) -> Underway<()> {
    let pool = pool.clone();
    Underway::start(async move { pool.drain(UPSTREAM, deadline, afterwards).await })
}

#[tokio::test(start_paused = true)]
async fn calls_finish_nobody_is_let_in_and_afterwards_it_is_open_again() {
    let (pool, mut upstream) = pool(|_| {});
    let (held, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let (idle, mut idle_peer) = open(&pool, &mut upstream, &client(2)).await;
    drop(idle);
    let calling = call(&held, &request(1));
    let arrived = peer.call().await;
    let begun = Instant::now();
    let mut draining = drain(&pool, begun + secs(30), Afterwards::Open);
    assert!(has_heard_goodbye(&mut idle_peer).await, "nobody waits for the call to say goodbye");
    for key in [client(1), client(2), client(3)] {
        let refused = pool.acquire(&key, tomorrow()).now_or_never().expect("at once");
        assert!(matches!(refused, Err(AcquireError::Draining)));
    }
    assert!(!draining.is_done().await);
    arrived.answer("{}");
    calling.answer().await;
    drop(held);
    draining.outcome().await;
    assert!(begun.elapsed() < secs(1));
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
    assert_eq!(ends(&pool, "drained"), 2);

    let (_lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_do_not_finish_are_cut_at_the_deadline() {
    let (pool, mut upstream) = pool(|_| {});
    let (held, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let calling = call(&held, &request(1));
    let _unanswered = peer.call().await;
    let begun = Instant::now();
    let draining = drain(&pool, begun + secs(30), Afterwards::Open);
    assert_eq!(calling.failure().await.fate, Fate::MayHaveRun);
    assert_eq!(begun.elapsed(), secs(30));
    draining.outcome().await;
    assert!(matches!(held.close_reason(), Some(CloseReason::Drained)));
    assert!(has_heard_goodbye(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn those_in_line_and_those_who_wait_for_a_handshake_hear_of_it_at_once() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let (_held, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let in_line = ask(&pool, &identity("ann"));
    let opening = ask(&pool, &client(2));
    let opened = upstream.opening().await.expect("somebody connects");
    settle().await;
    let begun = Instant::now();
    let draining = drain(&pool, begun + secs(5), Afterwards::Open);
    assert!(matches!(in_line.refusal().await, AcquireError::Draining));
    assert!(matches!(opening.refusal().await, AcquireError::Draining));
    assert_eq!(begun.elapsed(), secs(0));
    draining.outcome().await;
    assert!(opened.is_abandoned());
    assert_eq!(pool.snapshot().upstreams[0].breaker_trips, 0);
}

#[tokio::test(start_paused = true)]
async fn another_upstream_notices_nothing() {
    let (pool, mut upstream) = pool(|_| {});
    let elsewhere = key("fast-test", Scope::Client(1));
    let (held, _peer) = open(&pool, &mut upstream, &elsewhere).await;
    pool.drain(UPSTREAM, Instant::now(), Afterwards::Open).await;
    assert!(!held.is_closed());
    drop(lease(&pool, &elsewhere).await);
}

#[tokio::test(start_paused = true)]
async fn it_stays_shut_where_that_is_asked_for() {
    let (pool, _upstream) = pool(|_| {});
    pool.drain(UPSTREAM, Instant::now(), Afterwards::Shut).await;
    pool.drain(UPSTREAM, Instant::now(), Afterwards::Open).await;
    let refusal = ask(&pool, &client(1)).refusal().await;
    assert!(matches!(refusal, AcquireError::Draining));
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn two_drains_wait_for_the_same_end_and_the_last_opens_it_again() {
    let (pool, mut upstream) = pool(|_| {});
    let (held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut first = drain(&pool, tomorrow(), Afterwards::Open);
    let mut second = drain(&pool, tomorrow(), Afterwards::Open);
    assert!(!first.is_done().await && !second.is_done().await);
    drop(held);
    first.outcome().await;
    second.outcome().await;
    let (_lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_given_up_lets_callers_in_again_and_a_shutdown_still_waits_for_all() {
    let (pool, mut upstream) = pool(|_| {});
    let (held, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut draining = drain(&pool, tomorrow(), Afterwards::Open);
    assert!(!draining.is_done().await);
    drop(draining);
    settle().await;
    let (again, _peer) = open(&pool, &mut upstream, &client(1)).await;
    assert!(!held.is_same(&again));
    drop(again);

    let begun = Instant::now();
    let ending = {
        let pool = pool.clone();
        Underway::start(async move { pool.shutdown(begun + secs(10)).await })
    };
    ending.outcome().await;
    assert_eq!(begun.elapsed(), secs(10));
    assert!(held.is_closed());
    assert!(has_heard_goodbye(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_never_ends_is_not_waited_for() {
    let (pool, mut upstream, _) = manners::mannered(manners::Manners::HangsAtGoodbye, |settings| {
        settings.default.goodbye_timeout = std::time::Duration::MAX;
    });
    let (held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let (other, _other_peer) = open(&pool, &mut upstream, &client(2)).await;
    drop(other);
    let begun = Instant::now();
    drain(&pool, begun + secs(10), Afterwards::Open).outcome().await;
    assert!(begun.elapsed() <= secs(45), "{:?}", begun.elapsed());
    assert!(held.is_closed());
    assert_eq!(pool.snapshot().upstreams[0].closing, 0);
    drop(held);
    settle().await;
    assert_eq!(books(&pool), EMPTY);
    pool.shutdown(Instant::now()).now_or_never().expect("nobody is left");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_panics_is_an_end_like_any_other() {
    let (pool, _upstream) = manners::panicking(1, |_| {});
    let asking = ask(&pool, &client(1));
    let begun = Instant::now();
    drain(&pool, begun + secs(10), Afterwards::Open).outcome().await;
    asking.refusal().await;
    assert!(begun.elapsed() < secs(1));
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_goodbyes_take_as_long_as_one() {
    let (pool, mut upstream, _) = manners::mannered(manners::Manners::HangsAtGoodbye, |_| {});
    let mut peers = Vec::new();
    for number in 0..100 {
        let (lease, peer) = open(&pool, &mut upstream, &client(number)).await;
        drop(lease);
        peers.push(peer);
    }
    let begun = Instant::now();
    let draining = drain(&pool, begun + secs(30), Afterwards::Open);
    settle().await;
    assert_eq!(pool.snapshot().upstreams[0].closing, 100);
    draining.outcome().await;
    assert_eq!(begun.elapsed(), Limits::default().goodbye_timeout);
}

// === What is obsolete ===

#[tokio::test(start_paused = true)]
async fn what_was_opened_with_a_credential_that_is_now_another_goes_with_its_last_call() {
    let (pool, mut upstream) = pool(|_| {});
    let fingerprinter = Fingerprinter::default();
    let (old, new) = (fingerprinter.of("old"), fingerprinter.of("new"));
    let with = |credential, number| {
        key_with(|parts| {
            parts.credential = credential;
            parts.scope = Scope::Client(number);
        })
    };
    let (used, mut used_peer) = open(&pool, &mut upstream, &with(old, 1)).await;
    let (idle, mut idle_peer) = open(&pool, &mut upstream, &with(old, 2)).await;
    let (fresh, _fresh_peer) = open(&pool, &mut upstream, &with(new, 1)).await;
    drop(idle);
    let calling = call(&used, &request(1));
    let arrived = used_peer.call().await;

    pool.retire_where(&CloseReason::Credential, |key| key.credential() == old);
    assert!(has_heard_goodbye(&mut idle_peer).await);
    assert!(!used.is_closed());
    arrived.answer("{}");
    calling.answer().await;
    drop(used);
    assert!(has_heard_goodbye(&mut used_peer).await);
    assert_eq!(ends(&pool, "credential"), 2);
    assert!(!fresh.is_closed());
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn what_is_being_opened_by_an_old_configuration_serves_nobody() {
    let (pool, mut upstream) = pool(|_| {});
    let asking = ask(&pool, &client(1));
    let old = upstream.opening().await.expect("somebody connects");
    pool.retire_where(&CloseReason::Configuration, |key| **key.upstream() == *UPSTREAM);
    let mut old = old.accept();
    let _new = upstream.accept().await;
    drop(asking.lease().await);
    old.shake_hands().await;
    assert!(has_heard_goodbye(&mut old).await);
    assert_eq!(ends(&pool, "configuration"), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_pool_without_sessions() {
    let (pool, upstream) = pool(|_| {});
    let _upstream = let_in(upstream);
    pool.drain("unknown", Instant::now(), Afterwards::Open).await;
    pass(secs(1)).await;
    assert_eq!(books(&pool), EMPTY);
    let _: &Pool<MockConnect<Key>> = &pool;
}
