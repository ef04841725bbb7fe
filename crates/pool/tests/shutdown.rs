//! The end of the pool.

use std::sync::Arc;

use futures_util::{FutureExt as _, poll};
use tokio::time::Instant;
use wharf_pool::{AcquireError, CloseReason, Limits, OpenError, Pool, Settings};
use wharf_proto::{mock, transport::Fate};

use crate::support::{
    EMPTY, Underway, ask, books, call, client, has_heard_goodbye, identity, lease, let_in, manners,
    open, pass, pool, pool_with, request, secs, settle, tomorrow,
};

mod support;

#[tokio::test(start_paused = true)]
async fn calls_that_finish_before_the_deadline_are_answered() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let calling = call(&lease, &request(1));
    let arrived = peer.call().await;
    let begun = Instant::now();
    let ending = shut_down(&pool, begun + secs(30));
    pass(secs(10)).await;
    assert!(!lease.is_closed());
    arrived.answer("{}");
    calling.answer().await;
    drop(lease);

    ending.outcome().await;
    assert!(begun.elapsed() < secs(11));
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
}

fn shut_down(pool: &support::MockPool, deadline: Instant) -> Underway<()> {
    let pool = pool.clone();
    Underway::start(async move { pool.shutdown(deadline).await })
}

#[tokio::test(start_paused = true)]
async fn calls_that_do_not_are_cut_at_the_deadline() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let calling = call(&lease, &request(1));
    let _unanswered = peer.call().await;
    let begun = Instant::now();
    let ending = shut_down(&pool, begun + secs(30));

    assert_eq!(calling.failure().await.fate, Fate::MayHaveRun);
    assert_eq!(begun.elapsed(), secs(30));
    ending.outcome().await;
    assert!(matches!(lease.close_reason(), Some(CloseReason::Shutdown)));
    assert!(has_heard_goodbye(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_end_at_once() {
    let (pool, upstream) = pool(|_| {});
    let _upstream = let_in(upstream);
    for number in 0..10 {
        drop(lease(&pool, &client(number)).await);
    }
    let begun = Instant::now();
    pool.shutdown(begun + secs(30)).await;
    assert_eq!(begun.elapsed(), secs(0));
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn goodbyes_are_said_at_once_by_all() {
    let (pool, mut upstream, _) = manners::mannered(manners::Manners::HangsAtGoodbye, |_| {});
    let mut peers = Vec::new();
    for number in 0..10 {
        let (lease, peer) = open(&pool, &mut upstream, &client(number)).await;
        drop(lease);
        peers.push(peer);
    }
    let begun = Instant::now();
    pool.shutdown(begun + secs(30)).await;
    assert_eq!(begun.elapsed(), Limits::default().goodbye_timeout);
    for peer in &mut peers {
        assert!(has_heard_goodbye(peer).await);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_in_any_more_and_those_in_line_hear_why() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let (_held, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let in_line = ask(&pool, &identity("ann"));
    settle().await;
    let _ending = shut_down(&pool, tomorrow());
    assert!(matches!(in_line.refusal().await, AcquireError::Shutdown));
    for key in [identity("ann"), client(2)] {
        let refused = pool.acquire(&key, tomorrow()).now_or_never().expect("at once");
        assert!(matches!(refused, Err(AcquireError::Shutdown)));
    }
    assert_eq!(books(&pool).keys, 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_handshake_hears_of_the_shutdown_at_once() {
    let (pool, mut upstream) = pool(|_| {});
    let waiting = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    let _unanswered = peer.call().await;
    let begun = Instant::now();
    let ending = shut_down(&pool, begun + secs(5));
    assert!(matches!(waiting.refusal().await, AcquireError::Shutdown));
    assert_eq!(begun.elapsed(), secs(0));
    ending.outcome().await;
    assert_eq!(begun.elapsed(), secs(5));
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn a_session_opened_while_the_pool_ends_is_taken_leave_of() {
    let (pool, mut upstream) = pool(|_| {});
    let _waiting = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    let begun = Instant::now();
    let ending = shut_down(&pool, begun + secs(5));
    settle().await;
    peer.shake_hands().await;
    ending.outcome().await;
    assert!(begun.elapsed() < secs(1));
    assert!(has_heard_goodbye(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn a_second_shutdown_waits_for_the_same_end_and_a_third_returns() {
    let (pool, mut upstream) = pool(|_| {});
    let (_lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let begun = Instant::now();
    let (first, second) = (shut_down(&pool, begun + secs(30)), shut_down(&pool, begun + secs(20)));
    second.outcome().await;
    assert_eq!(begun.elapsed(), secs(20));
    first.outcome().await;
    pool.shutdown(begun + secs(40)).await;
    assert_eq!(begun.elapsed(), secs(20));
}

#[tokio::test(start_paused = true)]
async fn an_empty_pool_ends_at_once() {
    let (pool, _upstream) = pool(|_| {});
    pool.shutdown(tomorrow()).now_or_never().expect("there is nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_that_goes_ends_the_sessions() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let other = pool.clone();
    drop(pool);
    settle().await;
    assert!(!lease.is_closed());

    drop(other);
    assert!(matches!(lease.closed().await, CloseReason::Shutdown));
    assert!(has_heard_goodbye(&mut peer).await);
    drop(lease);
    assert!(upstream.opening().await.is_none(), "nothing is left that could connect");
}

#[test]
fn a_session_outlives_no_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    let (lease, _peer, _pool) = runtime.block_on(async {
        let (pool, mut upstream) = pool(|_| {});
        let (lease, peer) = open(&pool, &mut upstream, &client(1)).await;
        (lease, peer, pool)
    });
    drop(runtime);
    assert!(matches!(lease.close_reason(), Some(CloseReason::OwnerGone)));
}

#[test]
fn a_runtime_that_goes_takes_everybody_in_line_with_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    let (pool, _upstream) = runtime.block_on(async { pool_with(|settings| settings.sessions = 1) });
    let keys: Vec<_> = (0..10_000).map(client).collect();
    let mut line: Vec<_> =
        keys.iter().map(|key| Box::pin(pool.acquire(key, Instant::now() + secs(60)))).collect();
    runtime.block_on(async {
        for caller in &mut line {
            assert!(poll!(caller).is_pending());
        }
    });
    drop(runtime);
    for caller in line {
        let refused = caller.now_or_never().expect("nobody is left to wait for");
        assert!(matches!(refused, Err(AcquireError::Open(OpenError::OwnerGone))));
    }
    assert_eq!(books(&pool), EMPTY);
}

/// The race is for real threads: a caller is let in while the pool ends.
#[test]
fn no_caller_slips_in_behind_a_shutdown() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime starts");
    for round in 0..3000 {
        let (connect, upstream) = mock::pair();
        let pool = runtime.block_on(async { Arc::new(Pool::new(connect, Settings::default())) });
        runtime.block_on(race_a_shutdown(&pool, upstream, round));
    }
}

async fn race_a_shutdown(pool: &Arc<support::MockPool>, upstream: mock::MockUpstream, round: u64) {
    let _upstream = let_in(upstream);
    let racers = (0..4).map(|number| {
        let pool = Arc::clone(pool);
        Underway::start(async move {
            let key = client(number);
            for _ in 0..round % 97 {
                std::hint::spin_loop();
            }
            match pool.acquire(&key, tomorrow()).await {
                Ok(_) | Err(AcquireError::Shutdown | AcquireError::Open(OpenError::Shutdown)) => {}
                Err(other) => panic!("{other}"),
            }
        })
    });
    let racers: Vec<_> = racers.collect();
    pool.shutdown(Instant::now()).await;
    assert_eq!(books(pool).opening + books(pool).sessions, 0, "round {round}");
    for racer in racers {
        racer.outcome().await;
    }
    assert_eq!(books(pool), EMPTY, "round {round}");
}
