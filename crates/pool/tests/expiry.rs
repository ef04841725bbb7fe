//! Sessions that end because of time: unused for long, or old.

use std::time::Duration;

use wharf_pool::CloseReason;

use crate::support::{
    Books, EMPTY, Underway, ask, books, call, client, ends, has_heard_goodbye, identity, lease,
    let_in, open, pass, pool, read, request, secs, settle,
};

mod support;

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_ends_and_its_key_is_forgotten() {
    let (pool, mut upstream) = pool(|limits| limits.idle_timeout = secs(60));
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    pass(secs(30)).await;
    drop(lease);
    pass(secs(59)).await;
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
    pass(secs(2)).await;
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
    assert_eq!(ends(&pool, "idle"), 1);
}

#[tokio::test(start_paused = true)]
async fn each_use_is_a_new_beginning() {
    let (pool, upstream) = pool(|limits| limits.idle_timeout = secs(60));
    let _upstream = let_in(upstream);
    for _ in 0..10 {
        drop(lease(&pool, &client(1)).await);
        pass(secs(59)).await;
    }
    assert_eq!(pool.snapshot().upstreams[0].opens, 1);
    pass(secs(2)).await;
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn a_leased_session_is_never_idle() {
    let (pool, mut upstream) = pool(|limits| limits.idle_timeout = secs(60));
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let calling = call(&lease, &request(1));
    pass(secs(3600)).await;
    assert!(!lease.is_closed());
    peer.call().await.answer("{}");
    calling.answer().await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_talks_does_not_make_its_session_look_used() {
    let (pool, mut upstream) = pool(|limits| limits.idle_timeout = secs(60));
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let _inbound = lease.listen();
    drop(lease);
    for _ in 0..61 {
        peer.say(read(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#));
        pass(secs(1)).await;
    }
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn the_set_of_sessions_shrinks_to_those_that_are_used() {
    let (pool, upstream) = pool(|limits| limits.idle_timeout = secs(60));
    let _upstream = let_in(upstream);
    let ann = identity("ann");
    let mut many = Vec::new();
    for _ in 0..5 {
        many.push(lease(&pool, &ann).await);
    }
    drop(many);
    for _ in 0..10 {
        drop(lease(&pool, &ann).await);
        pass(secs(10)).await;
    }
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn an_old_session_ends_but_not_before_its_last_lease_is_back() {
    let (pool, mut upstream) = pool(|limits| limits.max_age = Some(secs(100)));
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let calling = call(&lease, &request(1));
    let arrived = peer.call().await;
    pass(secs(101)).await;
    assert!(!lease.is_closed());
    arrived.answer("{}");
    calling.answer().await;

    drop(lease);
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(ends(&pool, "age"), 1);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn an_old_session_in_use_is_leased_to_nobody_else() {
    let (pool, mut upstream) = pool(|limits| limits.max_age = Some(secs(100)));
    let (old, _peer) = open(&pool, &mut upstream, &client(1)).await;
    pass(secs(101)).await;
    let (new, _peer) = open(&pool, &mut upstream, &client(1)).await;
    assert!(!old.is_closed() && !new.is_closed());
    drop(old);
    settle().await;
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_session_that_gets_old_is_given_a_new_one_at_once() {
    let (pool, mut upstream) = pool(|limits| {
        limits.sessions_per_key = 1;
        limits.max_age = Some(secs(100));
    });
    let (old, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let begun = tokio::time::Instant::now();
    let waiting = ask(&pool, &identity("ann"));
    let _peer = upstream.accept().await;
    drop(waiting.lease().await);
    assert!(begun.elapsed() <= secs(100));
    assert!(!old.is_closed());
}

#[tokio::test(start_paused = true)]
async fn sessions_opened_together_do_not_end_together() {
    let (pool, mut upstream) = pool(|limits| limits.max_age = Some(secs(1000)));
    let opened = tokio::time::Instant::now();
    let mut handles = Vec::new();
    let mut peers = Vec::new();
    for number in 0..20 {
        let (lease, peer) = open(&pool, &mut upstream, &client(number)).await;
        // In use now and then, so that age alone is what ends it.
        handles.push(lease.clone());
        peers.push(peer);
    }
    let mut ages: Vec<Duration> = Vec::new();
    while ages.len() < 20 {
        pass(secs(1)).await;
        handles.retain(|session| match session.close_reason() {
            Some(reason) => {
                assert!(matches!(reason, CloseReason::Age | CloseReason::Idle));
                ages.push(opened.elapsed());
                false
            }
            None => true,
        });
        for number in 0..20 {
            if pool.handshake(&client(number)).is_some() {
                drop(lease(&pool, &client(number)).await);
            }
        }
    }
    assert!(ages.iter().all(|age| (secs(899)..=secs(1002)).contains(age)), "{ages:?}");
    ages.dedup();
    assert!(ages.len() > 10, "{ages:?}");
}

#[tokio::test(start_paused = true)]
async fn times_without_end_are_no_times_at_all() {
    let (pool, mut upstream) = pool(|limits| {
        limits.idle_timeout = Duration::MAX;
        limits.open_timeout = Duration::MAX;
        limits.goodbye_timeout = Duration::MAX;
        limits.max_age = Some(Duration::MAX);
    });
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(lease);
    pass(secs(365 * 24 * 3600)).await;
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
    pool.retire(&client(1));
    assert!(has_heard_goodbye(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_a_lease_hears_that_its_session_is_to_end() {
    let (pool, mut upstream) = pool(|limits| limits.max_age = Some(secs(100)));
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let keeping = Underway::start(async move {
        let why = lease.retiring().await;
        (lease, why)
    });
    pass(secs(101)).await;
    let (lease, why) = keeping.outcome().await;
    assert!(matches!(why, CloseReason::Age), "{why}");
    assert!(!lease.is_closed());
    drop(lease);
    assert!(has_heard_goodbye(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_a_lease_hears_that_its_key_is_given_up() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let mut keeping = Underway::start(async move { lease.retiring().await });
    assert!(!keeping.is_done().await);
    pool.retire(&client(1));
    assert!(matches!(keeping.outcome().await, CloseReason::Retired));
}
