//! Sessions that are probed, because nobody has used them for a while or
//! because another of their upstream has been found dead.

use wharf_pool::{CloseReason, Limits, Probe, ProbeFailure};
use wharf_proto::{
    ErrorObject, Response, code,
    mock::{MockCall, MockPeer},
    transport::{CallError, EndReason, Fault},
};

use crate::support::{
    Books, EMPTY, ask, books, call, cancelled, client, ends, has_heard_goodbye, identity, key,
    lease, open, pass, pool, pool_with, request, secs, settle,
};

mod support;

/// Probes what nobody has used for 30 s, and gives each probe 5 s.
fn probing(limits: &mut Limits) {
    limits.probes = vec![Probe::Ping];
    limits.probe_after = secs(30);
    limits.probe_timeout = secs(5);
    limits.idle_timeout = secs(3600);
}

/// The probe that has come to this session.
async fn probe(peer: &mut MockPeer) -> MockCall {
    settle().await;
    let call = peer.call().await;
    assert!(call.request.id().to_string().parse::<u64>().is_ok());
    call
}

fn refuse(call: &MockCall, code: i64) {
    let error = ErrorObject::new(code, "no");
    call.say(Response::failure(Some(call.request.id()), &error));
}

/// What has come to this session so far is no call.
fn is_left_alone(peer: &mut MockPeer) -> bool {
    peer.heard_so_far().is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_zero_is_no_probe_after_the_other() {
    let (pool, mut upstream) = pool(|limits| {
        probing(limits);
        limits.probe_after = secs(0);
    });
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(lease);
    pass(secs(1)).await;
    probe(&mut peer).await.answer("{}");
    settle().await;
    assert!(is_left_alone(&mut peer));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_is_probed_again_and_again() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(lease);
    for _ in 0..3 {
        pass(secs(29)).await;
        assert!(is_left_alone(&mut peer));
        pass(secs(1)).await;
        let probe = probe(&mut peer).await;
        assert_eq!(probe.request.method(), "ping");
        probe.answer("{}");
        settle().await;
    }
    assert_eq!(books(&pool), Books { keys: 1, sessions: 1, ..EMPTY });
    let seen = &pool.snapshot().upstreams[0];
    assert_eq!((seen.probes, seen.probe_failures), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_in_use_is_not_probed() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    pass(secs(300)).await;
    assert!(is_left_alone(&mut peer));
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn being_probed_is_not_being_used() {
    let (pool, mut upstream) = pool(|limits| {
        probing(limits);
        limits.idle_timeout = secs(100);
    });
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(lease);
    for _ in 0..3 {
        pass(secs(30)).await;
        probe(&mut peer).await.answer("{}");
    }
    pass(secs(11)).await;
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(ends(&pool, "idle"), 1);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_session_is_probed_is_given_it_when_it_has_passed() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let number = lease.number();
    drop(lease);
    pass(secs(31)).await;
    let probe = probe(&mut peer).await;
    let mut asking = ask(&pool, &client(1));
    assert!(!asking.is_done().await);
    probe.answer("{}");
    assert_eq!(asking.lease().await.number(), number);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_session_is_probed_is_never_given_one_that_fails() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let old = lease.number();
    drop(lease);
    pass(secs(31)).await;
    let probe = probe(&mut peer).await;
    let asking = ask(&pool, &client(1));
    settle().await;
    drop(probe);
    let _peer = upstream.accept().await;
    let lease = asking.lease().await;
    assert_ne!(lease.number(), old);
    assert!(!lease.is_closed());
    assert_eq!(ends(&pool, "probe_failed"), 1);
    assert_eq!(pool.snapshot().upstreams[0].probe_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn while_one_is_probed_another_that_is_idle_is_leased_at_once() {
    let (pool, mut upstream) = pool(probing);
    let ann = identity("ann");
    let (first, mut peer) = open(&pool, &mut upstream, &ann).await;
    pass(secs(1)).await;
    let (second, _other) = open(&pool, &mut upstream, &ann).await;
    drop(first);
    pass(secs(10)).await;
    let number = second.number();
    drop(second);
    pass(secs(20)).await;
    let _probe = probe(&mut peer).await;
    let mut asking = ask(&pool, &ann);
    assert!(asking.is_done().await);
    assert_eq!(asking.lease().await.number(), number);
}

#[tokio::test(start_paused = true)]
async fn while_one_hangs_at_its_probe_another_is_opened_where_that_is_allowed() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &identity("ann")).await;
    let old = lease.number();
    drop(lease);
    pass(secs(31)).await;
    let _probe = probe(&mut peer).await;
    let asking = ask(&pool, &identity("ann"));
    let _peer = upstream.accept().await;
    assert_ne!(asking.lease().await.number(), old);
    assert_eq!(ends(&pool, "probe_failed"), 0, "nobody waited for the probe to run out");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_has_failed() {
    let (pool, mut upstream) = pool(|limits| {
        probing(limits);
        limits.probes = vec![Probe::Ping, Probe::Skip];
    });
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let handle = lease.clone();
    drop(lease);
    pass(secs(30)).await;
    let probe = probe(&mut peer).await;
    pass(secs(4)).await;
    assert!(!handle.is_closed());
    pass(secs(1)).await;
    let Some(CloseReason::Probe(ProbeFailure::Hung { method, limit })) = handle.close_reason()
    else {
        panic!("{:?}", handle.close_reason())
    };
    assert_eq!((method, limit), ("ping", secs(5)));
    assert_eq!(cancelled(&mut peer).await, [probe.request.id().clone()]);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_the_upstream_does_not_have_leaves_it_to_the_next() {
    let (pool, mut upstream) = pool(|limits| {
        probing(limits);
        limits.probes = vec![Probe::Ping, Probe::ListTools, Probe::ListPrompts];
    });
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let handle = lease.clone();
    drop(lease);
    pass(secs(30)).await;
    refuse(&probe(&mut peer).await, code::METHOD_NOT_FOUND);
    let second = probe(&mut peer).await;
    assert_eq!(second.request.method(), "tools/list");
    second.answer(r#"{"tools":[]}"#);
    settle().await;
    assert!(is_left_alone(&mut peer), "the first answer decides");
    assert!(!handle.is_closed());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_has_none_of_the_methods_has_answered_all_the_same() {
    let (pool, mut upstream) = pool(|limits| {
        probing(limits);
        limits.probes = vec![Probe::Ping, Probe::ListResources];
    });
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let handle = lease.clone();
    drop(lease);
    pass(secs(30)).await;
    refuse(&probe(&mut peer).await, code::METHOD_NOT_FOUND);
    let second = probe(&mut peer).await;
    assert_eq!(second.request.method(), "resources/list");
    refuse(&second, code::METHOD_NOT_FOUND);
    settle().await;
    assert!(!handle.is_closed());
}

#[tokio::test(start_paused = true)]
async fn another_error_is_a_failure() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let handle = lease.clone();
    drop(lease);
    pass(secs(30)).await;
    refuse(&probe(&mut peer).await, code::INTERNAL_ERROR);
    settle().await;
    let reason = handle.close_reason();
    let Some(CloseReason::Probe(ProbeFailure::Refused { code, .. })) = reason else {
        panic!("{reason:?}")
    };
    assert_eq!(code, code::INTERNAL_ERROR);
}

#[tokio::test(start_paused = true)]
async fn where_probes_are_skipped_nothing_is_asked() {
    for probes in [vec![], vec![Probe::Skip, Probe::Ping]] {
        let (pool, mut upstream) = pool(|limits| {
            probing(limits);
            limits.probes = probes;
        });
        let (first, mut peer) = open(&pool, &mut upstream, &client(1)).await;
        let (second, dead) = open(&pool, &mut upstream, &client(2)).await;
        drop((first, second));
        pass(secs(100)).await;
        dead.end(EndReason::StreamEnded);
        settle().await;
        assert!(is_left_alone(&mut peer));
        assert_eq!(books(&pool).sessions, 1);
        assert_eq!(pool.snapshot().upstreams[0].probes, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_link_says_is_gone_has_ended_for_that_reason() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(lease);
    pass(secs(30)).await;
    let probe = probe(&mut peer).await;
    peer.end(EndReason::SessionGone);
    probe.fail(CallError::not_sent(Fault::SessionGone));
    settle().await;
    assert_eq!(ends(&pool, "session_gone"), 1);
    assert_eq!(ends(&pool, "probe_failed"), 0);
}

#[tokio::test(start_paused = true)]
async fn when_one_is_found_dead_its_idle_siblings_of_all_keys_are_probed_at_once() {
    let (pool, mut upstream) = pool(probing);
    let mut siblings = Vec::new();
    for number in 0..20 {
        let (lease, peer) = open(&pool, &mut upstream, &client(number)).await;
        siblings.push(peer);
        drop(lease);
    }
    let elsewhere = key("fast-test", wharf_pool::Scope::Client(1));
    let (other, mut other_peer) = open(&pool, &mut upstream, &elsewhere).await;
    drop(other);
    let (dead, dead_peer) = open(&pool, &mut upstream, &client(99)).await;

    let begun = tokio::time::Instant::now();
    dead_peer.end(EndReason::SessionGone);
    for peer in &mut siblings {
        // The upstream has been restarted: it knows none of them.
        drop(peer.call().await);
    }
    assert!(begun.elapsed() < secs(1));
    // Its lease is still out: a call on it would have a moment to fail by itself.
    pass(secs(1)).await;
    assert!(dead.is_closed());
    assert!(is_left_alone(&mut other_peer), "that upstream has lost nothing");
    assert_eq!(books(&pool).sessions, 1);
    assert_eq!(ends(&pool, "probe_failed"), 20);
    assert_eq!(pool.snapshot().upstreams[1].probes, 20, "each is probed once");
}

#[tokio::test(start_paused = true)]
async fn when_one_fails_its_probe_the_others_are_probed_at_once() {
    let (pool, mut upstream) = pool(probing);
    let (first, mut first_peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(first);
    pass(secs(20)).await;
    let (second, _second_peer) = open(&pool, &mut upstream, &client(2)).await;
    drop(second);
    pass(secs(10)).await;
    let failing = probe(&mut first_peer).await;
    assert_eq!(pool.snapshot().upstreams[0].probes, 1);
    refuse(&failing, code::INTERNAL_ERROR);
    settle().await;
    assert_eq!(pool.snapshot().upstreams[0].probes, 2);
}

#[tokio::test(start_paused = true)]
async fn those_that_die_together_are_not_probed() {
    let (pool, mut upstream) = pool(probing);
    let (first, first_peer) = open(&pool, &mut upstream, &client(1)).await;
    let (second, second_peer) = open(&pool, &mut upstream, &client(2)).await;
    drop((first, second));
    settle().await;
    for peer in [first_peer, second_peer] {
        peer.end(EndReason::StreamEnded);
    }
    settle().await;
    assert_eq!(ends(&pool, "stream_ended"), 2);
    assert_eq!(pool.snapshot().upstreams[0].probes, 0);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_says_nothing_of_the_upstream_has_no_other_probed() {
    let (pool, mut upstream) = pool(probing);
    let (idle, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(idle);
    let (retired, _retired_peer) = open(&pool, &mut upstream, &client(2)).await;
    drop(retired);
    pool.retire(&client(2));
    let (_closed, closed_peer) = open(&pool, &mut upstream, &client(3)).await;
    closed_peer.end(EndReason::Closed);
    settle().await;
    assert_eq!((ends(&pool, "retired"), ends(&pool, "closed")), (1, 1));
    assert!(is_left_alone(&mut peer));
}

#[tokio::test(start_paused = true)]
async fn one_in_use_when_another_dies_is_probed_when_it_comes_back_unanswered() {
    let (pool, mut upstream) = pool(probing);
    let (used, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let (_dead, dead_peer) = open(&pool, &mut upstream, &client(2)).await;
    dead_peer.end(EndReason::SessionGone);
    settle().await;
    assert!(is_left_alone(&mut peer));
    drop(used);
    probe(&mut peer).await.answer("{}");
    drop(lease(&pool, &client(1)).await);
    settle().await;
    assert!(is_left_alone(&mut peer), "it has been acquitted");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_answered_since_is_not_probed() {
    let (pool, mut upstream) = pool(probing);
    let (used, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let (_dead, dead_peer) = open(&pool, &mut upstream, &client(2)).await;
    let calling = call(&used, &request(1));
    dead_peer.end(EndReason::SessionGone);
    settle().await;
    peer.call().await.answer("{}");
    calling.answer().await;
    drop(used);
    settle().await;
    assert!(is_left_alone(&mut peer));
}

#[tokio::test(start_paused = true)]
async fn deaths_one_by_one_do_not_have_a_living_session_probed_for_each() {
    let (pool, mut upstream) = pool(probing);
    let (living, mut peer) = open(&pool, &mut upstream, &client(0)).await;
    drop(living);
    for number in 1..=50 {
        let (_dead, dead_peer) = open(&pool, &mut upstream, &client(number)).await;
        dead_peer.end(EndReason::StreamEnded);
        settle().await;
        for heard in peer.heard_so_far() {
            let wharf_proto::mock::Heard::Call(probe) = heard else { panic!("{heard:?}") };
            probe.answer("{}");
        }
    }
    // All of it took a tenth of a second or so.
    assert_eq!(pool.snapshot().upstreams[0].probes, 1);
    pass(secs(1)).await;
    probe(&mut peer).await.answer("{}");
    pass(secs(10)).await;
    assert_eq!(pool.snapshot().upstreams[0].probes, 2, "and once more for those since");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_leased_in_the_order_of_its_use_whatever_was_probed_last() {
    let (pool, mut upstream) = pool(probing);
    let ann = identity("ann");
    let (early, mut early_peer) = open(&pool, &mut upstream, &ann).await;
    let (late, mut late_peer) = open(&pool, &mut upstream, &ann).await;
    let used_last = late.number();
    drop(early);
    pass(secs(5)).await;
    drop(late);
    pass(secs(25)).await;
    let early_probe = probe(&mut early_peer).await;
    pass(secs(4)).await;
    early_probe.answer("{}");
    settle().await;
    assert_eq!(lease(&pool, &ann).await.number(), used_last);
    assert!(is_left_alone(&mut late_peer));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_passed_its_probe_makes_room_for_a_key_that_waits() {
    let (pool, mut upstream) = pool_with(|settings| {
        settings.sessions = 1;
        probing(&mut settings.default);
    });
    let (first, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(first);
    pass(secs(30)).await;
    let probe = probe(&mut peer).await;
    let starved = ask(&pool, &client(2));
    settle().await;
    probe.answer("{}");
    settle().await;
    assert_eq!(ends(&pool, "evicted"), 1);
    let _peer = upstream.accept().await;
    drop(starved.lease().await);
}

#[tokio::test(start_paused = true)]
async fn a_session_under_probe_that_is_retired_ends_at_once() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    drop(lease);
    pass(secs(30)).await;
    let _probe = probe(&mut peer).await;
    pool.retire(&client(1));
    assert!(has_heard_goodbye(&mut peer).await);
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn each_session_is_in_one_state_also_when_it_has_just_ended() {
    let (pool, mut upstream) = pool(probing);
    let (lease, mut peer) = open(&pool, &mut upstream, &client(1)).await;
    let (_busy, _its_peer) = open(&pool, &mut upstream, &client(2)).await;
    drop(lease);
    let states = || {
        let held = &pool.snapshot().upstreams[0];
        assert_eq!(held.sessions, held.busy + held.probing + held.idle);
        (held.busy, held.probing, held.idle)
    };
    assert_eq!(states(), (1, 0, 1));
    pass(secs(31)).await;
    let _probe = probe(&mut peer).await;
    assert_eq!(states(), (1, 1, 0));
    peer.end(EndReason::StreamEnded);
    // Its owner has not heard of it yet.
    assert_eq!(states(), (1, 0, 0));
}
