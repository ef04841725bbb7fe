//! Every future of the pool's, dropped at any of its awaits: the books
//! balance, the upstream is told, and nobody else notices.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::task::noop_waker;
use proptest::prelude::*;
use tokio::time::Instant;
use wharf_pool::{Afterwards, Key, Limits, Scope};
use wharf_proto::{
    Json, Message, Notification, Response,
    mock::{Heard, MockPeer, MockUpstream},
    transport::Exchange as _,
};

use crate::support::{
    Books, EMPTY, MockPool, ask, books, call, client, has_heard_goodbye, identity, key, lease,
    open, pass, pool, read, request, secs, settle,
};

mod support;

/// Polls a future up to `polls` times, letting everything else settle in
/// between, and then drops it. Says whether it was done before.
async fn drop_at<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(done) = poll_once(future.as_mut()) {
            return Some(done);
        }
        settle().await;
    }
    None
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&noop_waker()))
}

/// Runs a scene on a paused clock.
fn scene<F: Future<Output = ()>>(scene: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime starts");
    runtime.block_on(scene);
}

fn one_each(limits: &mut Limits) {
    limits.sessions_per_key = 1;
    limits.idle_timeout = secs(60);
}

/// Whoever comes afterwards is served as if nothing had been.
async fn is_well(pool: &MockPool, upstream: &mut MockUpstream, key: &Key) {
    let mut asking = ask(pool, key);
    if !asking.is_done().await {
        let _peer = upstream.accept().await;
    }
    drop(asking.lease().await);
    pass(secs(61)).await;
    assert_eq!(books(pool), EMPTY);
}

/// What the upstream has been told about calls: how many came, how many were
/// cancelled.
fn told(peer: &mut MockPeer) -> (usize, usize) {
    let (mut calls, mut cancelled) = (0, 0);
    for heard in peer.heard_so_far() {
        match heard {
            Heard::Call(call) => calls += usize::from(call.is_abandoned()),
            Heard::Notification(said) => cancelled += usize::from(said.cancelled_id().is_some()),
            _ => {}
        }
    }
    (calls, cancelled)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn acquire_while_a_session_is_opened(polls in 0_usize..6, lets_in in any::<bool>()) {
        scene(async {
            let (pool, mut upstream) = pool(one_each);
            let companion = ask(&pool, &client(1));
            settle().await;
            let opening = upstream.opening().await.expect("somebody connects");
            let asked = client(1);
            let acquiring = pool.acquire(&asked, Instant::now() + secs(30));
            drop(drop_at(acquiring, polls).await);
            settle().await;
            prop_books(&pool, Books { keys: 1, opening: 1, waiters: 1, ..EMPTY });
            if lets_in {
                let mut peer = opening.accept();
                peer.shake_hands().await;
                drop(companion.lease().await);
                is_well(&pool, &mut upstream, &client(1)).await;
            } else {
                opening.refuse();
                companion.refusal().await;
                assert_eq!(books(&pool), EMPTY);
            }
        });
    }

    #[test]
    fn acquire_just_as_a_session_comes_back(polls in 0_usize..4, comes_back_at in 0_usize..4) {
        scene(async {
            let (pool, mut upstream) = pool(one_each);
            let (held, _peer) = open(&pool, &mut upstream, &identity("ann")).await;
            let mut held = Some(held);
            let asked = identity("ann");
            {
                let mut acquiring = pin!(pool.acquire(&asked, Instant::now() + secs(30)));
                for poll in 0..polls {
                    if poll == comes_back_at {
                        held = None;
                    }
                    if poll_once(acquiring.as_mut()).is_ready() {
                        break;
                    }
                }
            }
            drop(held);
            settle().await;
            prop_books(&pool, Books { keys: 1, sessions: 1, ..EMPTY });
            is_well(&pool, &mut upstream, &identity("ann")).await;
        });
    }

    #[test]
    fn a_call(polls in 0_usize..4, answered_at in 0_usize..6, shares in any::<bool>()) {
        scene(async {
            let (pool, mut upstream) = pool(one_each);
            let (held, mut peer) = open(&pool, &mut upstream, &client(1)).await;
            let other = shares.then(|| call(&held, &request("other")));
            settle().await;
            let arrived = if shares { Some(peer.call().await) } else { None };
            let mut making = held.call(&request("mine"));
            let mut is_over = false;
            let mut was_sent = false;
            {
                let mut answer = pin!(making.answer());
                for poll in 0..polls {
                    if poll == answered_at && was_sent {
                        peer.call().await.answer("{}");
                    }
                    is_over = poll_once(answer.as_mut()).is_ready();
                    if is_over {
                        break;
                    }
                    was_sent = true;
                    settle().await;
                }
            }
            let answered = was_sent && polls > answered_at && answered_at > 0;
            drop(making);
            settle().await;
            let expected = if is_over || !was_sent { (0, 0) } else { (usize::from(!answered), 1) };
            assert_eq!(told(&mut peer), expected);
            // The other notices nothing.
            if let (Some(other), Some(arrived)) = (other, arrived) {
                arrived.answer("{}");
                assert_eq!(other.answer().await.id(), Some(&"other".into()));
            }
            drop(held);
            settle().await;
            prop_books(&pool, Books { keys: 1, sessions: 1, ..EMPTY });
            is_well(&pool, &mut upstream, &client(1)).await;
        });
    }

    #[test]
    fn notify_respond_closed_and_next(polls in 0_usize..3, which in 0_usize..4) {
        scene(async {
            let (pool, mut upstream) = pool(one_each);
            let (held, mut peer) = open(&pool, &mut upstream, &client(1)).await;
            let mut inbound = held.listen();
            settle().await;
            match which {
                0 => drop(drop_at(held.notify(Notification::new("notifications/x", None)), polls).await),
                1 => {
                    let answer = Response::success(&"theirs".into(), &Json::empty_object());
                    drop(drop_at(held.respond(answer), polls).await);
                }
                2 => assert!(drop_at(held.closed(), polls).await.is_none()),
                _ => assert!(drop_at(inbound.next(), polls).await.is_none()),
            }
            // No message is lost by it, and the session works.
            let said = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
            peer.say(read(said));
            let Ok(Message::Notification(heard)) = inbound.next().await else { panic!("it is lost") };
            assert_eq!(heard.method(), "notifications/message");
            let calling = call(&held, &request(1));
            peer.call().await.answer("{}");
            calling.answer().await;
            drop(held);
            is_well(&pool, &mut upstream, &client(1)).await;
        });
    }

    #[test]
    fn drain(polls in 0_usize..5, gives_back_at in 0_usize..5, by in any::<bool>()) {
        scene(async {
            let (pool, mut upstream) = pool(one_each);
            let (held, mut peer) = open(&pool, &mut upstream, &client(1)).await;
            let elsewhere = key("fast-test", Scope::Client(1));
            let (other, _other_peer) = open(&pool, &mut upstream, &elsewhere).await;
            let mut held = Some(held);
            {
                let deadline = Instant::now() + if by { secs(0) } else { secs(30) };
                let mut draining = pin!(pool.drain("fast-time", deadline, Afterwards::Open));
                for poll in 0..polls {
                    if poll == gives_back_at {
                        held = None;
                    }
                    if poll_once(draining.as_mut()).is_ready() {
                        break;
                    }
                    settle().await;
                }
            }
            let was_begun = polls > 0;
            drop(held);
            if was_begun {
                assert!(has_heard_goodbye(&mut peer).await);
            }
            assert!(!other.is_closed());
            drop(other);
            is_well(&pool, &mut upstream, &client(1)).await;
        });
    }

    #[test]
    fn shutdown(polls in 1_usize..5, gives_back_at in 0_usize..5) {
        scene(async {
            let (pool, mut upstream) = pool(one_each);
            let (held, mut peer) = open(&pool, &mut upstream, &client(1)).await;
            let (idle, mut idle_peer) = open(&pool, &mut upstream, &client(2)).await;
            drop(idle);
            let mut held = Some(held);
            {
                let mut ending = pin!(pool.shutdown(Instant::now() + secs(30)));
                for poll in 0..polls {
                    if poll == gives_back_at {
                        held = None;
                    }
                    if poll_once(ending.as_mut()).is_ready() {
                        break;
                    }
                    settle().await;
                }
            }
            assert!(has_heard_goodbye(&mut idle_peer).await);
            drop(held);
            assert!(has_heard_goodbye(&mut peer).await);
            ask(&pool, &client(1)).refusal().await;
            pool.shutdown(Instant::now() + secs(1)).await;
            assert_eq!(books(&pool), EMPTY);
        });
    }
}

fn prop_books(pool: &MockPool, expected: Books) {
    assert_eq!(books(pool), expected);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_come_and_go_at_any_moment_leave_nothing_behind() {
    let (pool, upstream) = pool(|limits| limits.idle_timeout = secs(60));
    let _upstream = support::let_in(upstream);
    let pool = Arc::new(pool);
    for number in 0..1000_usize {
        let asked = if number % 2 == 0 { identity("ann") } else { client(number as u64 % 7) };
        drop(drop_at(pool.acquire(&asked, Instant::now() + secs(5)), number % 5).await);
    }
    settle().await;
    assert_eq!((books(&pool).leases, books(&pool).waiters), (0, 0));
    drop(lease(&pool, &identity("ann")).await);
    pass(secs(61)).await;
    assert_eq!(books(&pool), EMPTY);
}
