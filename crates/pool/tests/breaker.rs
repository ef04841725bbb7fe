//! Upstreams that sessions cannot be opened to.

use wharf_pool::{
    AcquireError, BreakerLimits, CloseReason, Fingerprint, Key, KeyParts, Limits, OpenError, Scope,
};
use wharf_proto::mock::MockUpstream;

use crate::support::{
    EMPTY, MockPool, ask, books, client, identity, key_with,
    manners::{self, Manners},
    open, pass, pool, pool_with, secs, settle,
};

mod support;

const PAUSE: std::time::Duration = secs(10);

/// Opens the breaker at the third failure.
fn breaking(limits: &mut Limits) {
    limits.breaker = BreakerLimits { failures: 3, pause: PAUSE, longest_pause: secs(60) };
}

/// Opens the breaker of a key.
async fn trip(pool: &MockPool, upstream: &mut MockUpstream, key: &Key) {
    for _ in 0..3 {
        let asking = ask(pool, key);
        upstream.opening().await.expect("it is tried").refuse();
        let refusal = asking.refusal().await;
        assert!(matches!(refusal, AcquireError::Open(_)), "{refusal}");
    }
}

/// A client's key with a credential of its own.
fn tenant(number: u64, fingerprinter: &wharf_pool::Fingerprinter) -> Key {
    key_with(|parts: &mut KeyParts| {
        parts.scope = Scope::Client(number);
        parts.credential = fingerprinter.of(number);
    })
}

#[tokio::test(start_paused = true)]
async fn after_some_failures_in_a_row_callers_are_told_at_once_why_and_when_to_come_back() {
    let (pool, mut upstream) = pool(breaking);
    trip(&pool, &mut upstream, &client(1)).await;
    let refusal = ask(&pool, &client(2)).refusal().await;
    let AcquireError::BreakerOpen { retry_after, cause } = refusal else { panic!("{refusal}") };
    assert!(retry_after <= PAUSE && retry_after >= PAUSE / 3, "{retry_after:?}");
    assert!(matches!(cause, OpenError::Transport(_)));
    assert_eq!(upstream.connects(), 3, "nothing was tried");
    assert_eq!(books(&pool), EMPTY);

    let seen = &pool.snapshot().upstreams[0];
    assert_eq!((seen.breakers_open, seen.breaker_trips, seen.breaker_refusals), (1, 1, 1));
    assert_eq!(seen.open_failures, 3);
}

#[tokio::test(start_paused = true)]
async fn after_the_pause_one_caller_tries_and_the_others_are_told_until_it_has() {
    let (pool, mut upstream) = pool(breaking);
    trip(&pool, &mut upstream, &client(1)).await;
    pass(PAUSE).await;
    let trial = ask(&pool, &client(1));
    let opening = upstream.opening().await.expect("one tries");
    let refusal = ask(&pool, &client(2)).refusal().await;
    assert!(matches!(refusal, AcquireError::BreakerOpen { .. }), "{refusal}");
    assert_eq!(pool.snapshot().upstreams[0].breakers_half_open, 1);

    // Who asks for the same key waits for what is being tried.
    let companion = ask(&pool, &client(1));
    opening.accept().shake_hands().await;
    drop((trial.lease().await, companion.lease().await));
    let (_lease, _peer) = open(&pool, &mut upstream, &client(2)).await;
    let seen = &pool.snapshot().upstreams[0];
    assert_eq!((seen.breakers_open, seen.breakers_half_open, seen.breaker_trips), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn each_trial_that_fails_is_one_trip_and_makes_the_pause_longer() {
    let (pool, mut upstream) = pool(breaking);
    trip(&pool, &mut upstream, &client(1)).await;
    let mut pauses = Vec::new();
    for trips in 1..=4 {
        let refusal = ask(&pool, &client(1)).refusal().await;
        let AcquireError::BreakerOpen { retry_after, .. } = refusal else { panic!("{refusal}") };
        pauses.push(retry_after);
        assert_eq!(pool.snapshot().upstreams[0].breaker_trips, trips);
        pass(retry_after).await;
        let asking = ask(&pool, &client(1));
        upstream.opening().await.expect("it is tried").refuse();
        asking.refusal().await;
    }
    assert!(pauses[3] > pauses[0] * 2, "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= secs(60)), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_the_trial_up_leaves_it_running() {
    let (pool, mut upstream) = pool(breaking);
    trip(&pool, &mut upstream, &client(1)).await;
    pass(PAUSE).await;
    let trial = ask(&pool, &client(1));
    let opening = upstream.opening().await.expect("one tries");
    drop(trial);
    settle().await;
    opening.accept().shake_hands().await;
    let (_lease, _peer) = open(&pool, &mut upstream, &client(2)).await;
}

#[tokio::test(start_paused = true)]
async fn one_tenants_refused_credential_closes_the_door_for_no_other() {
    let (pool, mut upstream) = pool(breaking);
    let fingerprinter = wharf_pool::Fingerprinter::default();
    trip(&pool, &mut upstream, &tenant(1, &fingerprinter)).await;
    let refusal = ask(&pool, &tenant(1, &fingerprinter)).refusal().await;
    assert!(matches!(refusal, AcquireError::BreakerOpen { .. }));
    let (_lease, _peer) = open(&pool, &mut upstream, &tenant(2, &fingerprinter)).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_open_is_leased_whatever_the_breaker() {
    let (pool, mut upstream) = pool(breaking);
    let (held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    trip(&pool, &mut upstream, &client(2)).await;
    drop(ask(&pool, &client(1)).lease().await);

    // And who can be served by it waits for it.
    let (ann, _peer) = {
        pass(secs(60)).await;
        open(&pool, &mut upstream, &identity("ann")).await
    };
    trip(&pool, &mut upstream, &client(2)).await;
    let mut waiting = ask(&pool, &identity("ann"));
    assert!(!waiting.is_done().await);
    drop(ann);
    drop(waiting.lease().await);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn those_in_line_at_other_keys_are_told_at_once_when_it_opens() {
    let (pool, mut upstream) = pool_with(|settings| {
        settings.sessions = 2;
        breaking(&mut settings.default);
    });
    let fingerprinter = wharf_pool::Fingerprinter::default();
    // Somebody else's session is in use all the time, so that there is room
    // for one more.
    let (_held, _peer) = open(&pool, &mut upstream, &tenant(9, &fingerprinter)).await;
    for _ in 0..2 {
        let asking = ask(&pool, &client(1));
        upstream.opening().await.expect("it is tried").refuse();
        asking.refusal().await;
    }
    let trying = ask(&pool, &client(1));
    let opening = upstream.opening().await.expect("it is tried");
    let in_line = ask(&pool, &client(2));
    let mut other_tenant = ask(&pool, &tenant(3, &fingerprinter));
    let also_in_line = ask(&pool, &client(4));
    settle().await;
    opening.refuse();
    assert!(matches!(trying.refusal().await, AcquireError::Open(_)));
    for asking in [in_line, also_in_line] {
        let refusal = asking.refusal().await;
        assert!(matches!(refusal, AcquireError::BreakerOpen { .. }), "{refusal}");
    }
    assert!(!other_tenant.is_done().await, "it is another's breaker");
    let _peer = upstream.accept().await;
    drop(other_tenant.lease().await);
}

#[tokio::test(start_paused = true)]
async fn those_in_line_at_other_keys_do_not_wait_for_the_goodbye_to_who_refused() {
    let (pool, mut upstream, _) = manners::mannered(Manners::HangsAtGoodbye, |settings| {
        settings.sessions = 1;
        settings.default.breaker =
            BreakerLimits { failures: 1, pause: PAUSE, longest_pause: PAUSE };
    });
    let trying = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("it is tried").accept();
    let handshake = peer.call().await;
    let mut in_line = ask(&pool, &client(2));
    assert!(!in_line.is_done().await);
    handshake.answer("{}");
    assert!(in_line.is_done().await);
    let refusal = in_line.refusal().await;
    assert!(matches!(refusal, AcquireError::BreakerOpen { .. }), "{refusal}");
    trying.refusal().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_and_sessions_that_end_say_nothing_of_whether_one_can_be_opened() {
    let (pool, mut upstream) = pool(breaking);
    for _ in 0..10 {
        let (_lease, peer) = open(&pool, &mut upstream, &client(1)).await;
        peer.end(wharf_proto::transport::EndReason::StreamEnded);
        settle().await;
    }
    assert_eq!(pool.snapshot().upstreams[0].breaker_trips, 0);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_is_kept_while_its_credential_is_in_use_or_has_failed() {
    let (pool, mut upstream) = pool(breaking);
    let breakers = || pool.snapshot().upstreams[0].breakers;
    let fingerprinter = wharf_pool::Fingerprinter::default();
    let (works, fails) = (tenant(1, &fingerprinter), tenant(2, &fingerprinter));
    // Another client with the credential that works.
    let companion = key_with(|parts| {
        parts.scope = Scope::Client(3);
        parts.credential = works.credential();
    });
    let (one, _peer) = open(&pool, &mut upstream, &works).await;
    let (other, _peer) = open(&pool, &mut upstream, &companion).await;
    assert_eq!(breakers(), 1);
    one.close(CloseReason::Retired);
    drop(one);
    settle().await;
    assert_eq!(breakers(), 1, "the other uses it still");
    other.close(CloseReason::Retired);
    drop(other);
    settle().await;
    assert_eq!((books(&pool), breakers()), (EMPTY, 0));

    let asking = ask(&pool, &fails);
    upstream.opening().await.expect("it is tried").refuse();
    asking.refusal().await;
    settle().await;
    assert_eq!((books(&pool), breakers()), (EMPTY, 1));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_credentials_that_come_and_go_leave_nothing_behind() {
    let (pool, mut upstream) = pool_with(|settings| {
        settings.sessions = 50;
        breaking(&mut settings.default);
        settings.default.idle_timeout = secs(60);
    });
    let fingerprinter = wharf_pool::Fingerprinter::default();
    let mut peers = std::collections::VecDeque::new();
    for number in 0..10_000 {
        let asking = ask(&pool, &tenant(number, &fingerprinter));
        if number % 3 == 0 {
            upstream.opening().await.expect("it is tried").refuse();
            asking.refusal().await;
        } else {
            peers.push_back(upstream.accept().await);
            drop(asking.lease().await);
        }
        if peers.len() > 50 {
            peers.pop_front();
        }
    }
    settle().await;
    let held = books(&pool);
    assert!(held.sessions <= 50 && held.keys <= 50, "{held:?}");
    let seen = &pool.snapshot().upstreams[0];
    assert_eq!((seen.breakers_open, seen.breakers_half_open), (0, 0));
    assert!(seen.breakers <= 1100, "{}", seen.breakers);
    pass(secs(61)).await;
    assert_eq!(books(&pool), EMPTY);
    assert_ne!(fingerprinter.of(1), Fingerprint::NONE);
}
