//! Who gets a session, when, and in which order.

use std::pin::pin;

use futures_util::poll;
use wharf_pool::{AcquireError, OpenError, Scope, Step};
use wharf_proto::mock::MockPeer;

use crate::support::{
    Books, EMPTY, Underway, ask, ask_until, books, call, client, identity, key, lease, let_in,
    open, pass, pool, pool_with, request, secs, settle, tomorrow,
};

mod support;

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_of_one_client_make_one_connect_and_share_its_session() {
    let (pool, mut upstream) = pool(|_| {});
    let callers: Vec<_> = (0..100).map(|_| ask(&pool, &client(1))).collect();
    settle().await;
    assert_eq!(books(&pool), Books { keys: 1, opening: 1, waiters: 100, ..EMPTY });

    let _peer = upstream.accept().await;
    let mut leases = Vec::new();
    for caller in callers {
        leases.push(caller.lease().await);
    }
    assert_eq!(upstream.connects(), 1);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 100, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn an_open_session_is_leased_at_once() {
    let (pool, mut upstream) = pool(|_| {});
    let (first, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    drop(first);

    let ann = identity("ann");
    let mut second = pin!(pool.acquire(&ann, tomorrow()));
    assert!(poll!(&mut second).is_ready());
    let seen = &pool.snapshot().upstreams[0];
    assert_eq!((seen.hits, seen.misses, seen.opens), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_spot_is_found_again_after_its_key_has_been_forgotten() {
    let (pool, mut upstream) = pool(|_| {});
    let spot = pool.spot(identity("ann"));
    for connects in 1..=2 {
        let (lease, _peer) = open(&pool, &mut upstream, spot.key()).await;
        drop(lease);
        for _ in 0..2 {
            let lease = spot.try_acquire().expect("it is idle");
            assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
            drop(lease);
        }
        assert_eq!(upstream.connects(), connects);
        pool.retire(spot.key());
        settle().await;
        assert_eq!(books(&pool), EMPTY);
    }
    assert!(spot.try_acquire().is_none());
    assert_eq!(books(&pool), EMPTY, "to ask is not to open");
    let (lease, _peer) = open(&pool, &mut upstream, spot.key()).await;
    drop((lease, pool));
    assert!(spot.try_acquire().is_none(), "it does not keep the pool open");
}

#[tokio::test(start_paused = true)]
async fn who_only_takes_what_is_there_is_given_a_session_with_room_and_opens_none() {
    let (pool, mut upstream) = pool(|_| {});
    let ann = identity("ann");
    assert!(pool.try_acquire(&ann).is_none());
    let (lease, _peer) = open(&pool, &mut upstream, &ann).await;
    assert!(pool.try_acquire(&ann).is_none(), "it takes one caller at once");
    drop(lease);
    let lease = pool.try_acquire(&ann).expect("it is idle");
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, ..EMPTY });
    assert_eq!(pool.snapshot().upstreams[0].hits, 1);
    drop(lease);
    assert_eq!(upstream.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_identity_get_a_session_each_up_to_the_limit_and_then_wait_in_line() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 3);
    let callers: Vec<_> = (0..3).map(|_| ask(&pool, &identity("ann"))).collect();
    settle().await;
    let late: Vec<_> = (0..3).map(|_| ask(&pool, &identity("ann"))).collect();
    settle().await;
    assert_eq!(upstream.connects(), 3);

    let mut peers: Vec<MockPeer> = Vec::new();
    let mut leases = Vec::new();
    for caller in callers {
        peers.push(upstream.accept().await);
        leases.push(caller.lease().await);
    }
    assert_eq!(books(&pool), Books { keys: 1, sessions: 3, leases: 3, waiters: 3, ..EMPTY });

    drop(leases);
    for caller in late {
        drop(caller.lease().await);
    }
    assert_eq!(upstream.connects(), 3);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 3, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn those_in_line_are_served_in_the_order_of_asking() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let (held, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let mut line: Vec<_> = (0..5).map(|_| ask(&pool, &identity("ann"))).collect();
    settle().await;

    let mut held = Some(held);
    while !line.is_empty() {
        drop(held.take());
        let first = line.remove(0);
        held = Some(first.lease().await);
        for other in &mut line {
            assert!(!other.is_done().await, "nobody overtakes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_comes_back_wakes_the_first_in_line_in_no_time() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let (held, mut peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let waiting = ask(&pool, &identity("ann"));
    pass(secs(10)).await;

    let released = tokio::time::Instant::now();
    drop(held);
    let lease = waiting.lease().await;
    assert_eq!(released.elapsed(), secs(0));

    // And it is the very session that serves it.
    let calling = call(&lease, &request(1));
    peer.call().await.answer("{}");
    calling.answer().await;
    assert_eq!(upstream.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_session_takes_as_many_callers_as_it_may() {
    let (pool, mut upstream) = pool(|limits| {
        limits.sessions_per_key = 1;
        limits.calls_per_session = 3;
    });
    let shared = key("fast-time", Scope::Shared);
    let mut callers: Vec<_> = (0..5).map(|_| ask(&pool, &shared)).collect();
    let _peer = upstream.accept().await;
    settle().await;
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 3, waiters: 2, ..EMPTY });

    let last = callers.split_off(3);
    for caller in callers {
        drop(caller.lease().await);
    }
    for caller in last {
        drop(caller.lease().await);
    }
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn no_more_sessions_are_opened_than_those_in_line_have_use_for() {
    let (pool, upstream) = pool(|limits| limits.calls_per_session = 4);
    let _callers: Vec<_> = (0..9).map(|_| ask(&pool, &identity("ann"))).collect();
    settle().await;
    assert_eq!(upstream.connects(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_session_used_last_is_leased_first() {
    let (pool, mut upstream) = pool(|_| {});
    let ann = identity("ann");
    let (first, mut first_peer) = open(&pool, &mut upstream, &ann).await;
    let (second, mut second_peer) = open(&pool, &mut upstream, &ann).await;
    drop(second);
    drop(first);

    let lease = lease(&pool, &ann).await;
    let _calling = call(&lease, &request(1));
    settle().await;
    assert_eq!(first_peer.heard_so_far().len(), 1);
    assert_eq!(second_peer.heard_so_far().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_sessions_for_several_calls_too_the_one_used_last_is_leased_first() {
    let (pool, upstream) = pool(|limits| limits.calls_per_session = 2);
    let _upstream = let_in(upstream);
    let ann = identity("ann");
    let (one, other) = (lease(&pool, &ann).await, lease(&pool, &ann).await);
    let third = lease(&pool, &ann).await;
    assert!(one.is_same(&other) && !one.is_same(&third));
    settle().await;
    drop((one, other));
    settle().await;
    let last = third.number();
    drop(third);
    assert_eq!(lease(&pool, &ann).await.number(), last);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_busy_while_it_is_leased_however_often() {
    let (pool, upstream) = pool(|_| {});
    let _upstream = let_in(upstream);
    let busy = || pool.snapshot().upstreams[0].busy;
    let (one, again) = (lease(&pool, &client(1)).await, lease(&pool, &client(1)).await);
    let other = lease(&pool, &client(2)).await;
    drop(lease(&pool, &client(3)).await);
    assert_eq!((books(&pool).sessions, busy()), (3, 2));
    drop((one, other));
    assert_eq!(busy(), 1);
    drop(again);
    assert_eq!(busy(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_shown_for_a_log_says_whose_it_is_and_whether_it_lives() {
    let (pool, mut upstream) = pool(|_| {});
    let (lease, _peer) = open(&pool, &mut upstream, &client(7)).await;
    assert_eq!(format!("{lease:?}"), "Lease(Session(Bucket(Key(fast-time, Client(7))), None))");
    lease.close(wharf_pool::CloseReason::Retired);
    lease.closed().await;
    assert!(format!("{lease:?}").contains("Some(Retired)"), "{lease:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pool_shown_for_a_log_says_what_it_holds() {
    let (pool, mut upstream) = pool(|_| {});
    let (_lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    let shown = format!("{pool:?}");
    assert!(shown.contains(r#"upstream: "fast-time", keys: 1, sessions: 1"#), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_wakes_the_line_with_a_new_one() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let (_held, peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let waiting = ask(&pool, &identity("ann"));
    settle().await;
    assert_eq!(upstream.connects(), 1);

    peer.end(wharf_proto::transport::EndReason::StreamEnded);
    let _peer = upstream.accept().await;
    assert!(!waiting.lease().await.is_closed());
}

#[tokio::test(start_paused = true)]
async fn keys_that_differ_in_any_part_share_nothing() {
    let (pool, upstream) = pool(|_| {});
    let _upstream = let_in(upstream);
    let keys = [client(1), client(2), identity("1"), key("fast-time", Scope::Shared)];
    let mut leases = Vec::new();
    for key in keys.iter().chain([&key("other", Scope::Client(1))]) {
        leases.push(lease(&pool, key).await);
    }
    assert_eq!(books(&pool), Books { keys: 5, sessions: 5, leases: 5, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_full_sends_the_next_away_at_once() {
    let (pool, mut upstream) = pool(|limits| {
        limits.sessions_per_key = 1;
        limits.waiters_per_key = 2;
    });
    let ann = identity("ann");
    let (_held, _peer) = open(&pool, &mut upstream, &ann).await;
    let _first = ask(&pool, &ann);
    let second = ask(&pool, &ann);
    settle().await;

    let refused = ask(&pool, &ann).refusal().await;
    assert!(matches!(refused, AcquireError::Full { waiting: 2 }), "{refused}");
    assert_eq!(pool.snapshot().upstreams[0].refusals, 1);

    // One who has given up takes no place.
    drop(second);
    settle().await;
    let mut third = ask(&pool, &ann);
    assert!(!third.is_done().await);
    assert_eq!(books(&pool).waiters, 2);
}

#[tokio::test(start_paused = true)]
async fn limits_of_none_at_all_count_as_one() {
    let (pool, mut upstream) = pool(|limits| {
        limits.sessions_per_key = 0;
        limits.calls_per_session = 0;
        limits.waiters_per_key = 0;
    });
    let (held, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let waiting = ask(&pool, &identity("ann"));
    settle().await;
    let refused = ask(&pool, &identity("ann")).refusal().await;
    assert!(matches!(refused, AcquireError::Full { waiting: 1 }), "{refused}");
    drop(held);
    drop(waiting.lease().await);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_passes_while_all_sessions_are_taken() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let (_held, _peer) = open(&pool, &mut upstream, &identity("ann")).await;

    let begun = tokio::time::Instant::now();
    let late = ask_until(&pool, &identity("ann"), begun + secs(3)).refusal().await;
    assert!(matches!(late, AcquireError::TimedOut { step: Step::Turn }), "{late}");
    assert_eq!(begun.elapsed(), secs(3));
    assert_eq!(books(&pool).waiters, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_passes_while_a_session_is_being_opened() {
    let (pool, _upstream) = pool(|_| {});
    let begun = tokio::time::Instant::now();
    let late = ask_until(&pool, &client(1), begun + secs(3)).refusal().await;
    assert!(matches!(late, AcquireError::TimedOut { step: Step::Open }), "{late}");
    assert_eq!(begun.elapsed(), secs(3));
    assert_eq!(books(&pool), Books { keys: 1, opening: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_leaves_the_handshake_to_the_next() {
    let (pool, mut upstream) = pool(|_| {});
    let gives_up = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    drop(gives_up);
    settle().await;

    let next = ask(&pool, &client(1));
    peer.shake_hands().await;
    drop(next.lease().await);
    assert_eq!(upstream.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_nobody_waits_for_any_more_serves_who_comes_later() {
    let (pool, mut upstream) = pool(|_| {});
    let gives_up = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    drop(gives_up);
    peer.shake_hands().await;
    settle().await;
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });

    drop(lease(&pool, &client(1)).await);
    assert_eq!(upstream.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_with_a_lease_just_granted_leaves_it_to_the_next() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let ann = identity("ann");
    let (held, _peer) = open(&pool, &mut upstream, &ann).await;

    let mut gone = Box::pin(pool.acquire(&ann, tomorrow()));
    assert!(poll!(&mut gone).is_pending());
    let next = ask(&pool, &ann);
    settle().await;
    // Granted here, to a caller that is not polled again.
    drop(held);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 1, waiters: 1, ..EMPTY });
    drop(gone);

    drop(next.lease().await);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn a_key_that_only_had_callers_who_gave_up_is_forgotten() {
    let (pool, _upstream) = pool_with(|settings| settings.sessions = 0);
    let gives_up = ask(&pool, &client(1));
    settle().await;
    assert_eq!(books(&pool), Books { keys: 1, waiters: 1, ..EMPTY });
    drop(gives_up);
    settle().await;
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn any_number_of_callers_share_a_link_without_a_session() {
    let (pool, mut upstream) = pool(|limits| limits.sessions_per_key = 1);
    let first = ask(&pool, &identity("ann"));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    peer.keep_no_session();
    peer.shake_hands().await;

    let mut leases = vec![first.lease().await];
    for _ in 0..100 {
        leases.push(lease(&pool, &identity("ann")).await);
    }
    assert!(!leases[0].has_session());
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, leases: 101, ..EMPTY });
    drop(leases);
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_the_caller_that_asked_for_it() {
    // What a gateway does when it hands a call over: the lease moves.
    let (pool, mut upstream) = pool(|_| {});
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let elsewhere = Underway::start(async move {
        let answer = call(&lease, &request(1)).answer().await;
        drop(lease);
        answer
    });
    peer.call().await.answer("{}");
    elsewhere.outcome().await;
    settle().await;
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn nobody_is_in_line_for_a_session_that_could_not_be_opened() {
    let (pool, mut upstream) = pool(|_| {});
    let waiting = ask(&pool, &client(1));
    upstream.opening().await.expect("somebody connects").refuse();
    let error = waiting.refusal().await;
    assert!(matches!(error, AcquireError::Open(OpenError::Transport(_))), "{error}");
    assert_eq!(books(&pool), EMPTY);
}
