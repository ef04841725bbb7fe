//! Sessions that have ended, and whether anybody is given one of them.

use std::sync::Arc;

use wharf_proto::{
    mock::{MockPeer, MockUpstream},
    transport::{CallError, EndReason, Fault},
};

use super::super::{
    Caller as _, Hold as _, Host, Kind, MockPool, Specimen as _, Stage, Underway, Who, calling,
    nonce_of, one_call, pass, repeat, request, secs, served, settle,
};

/// A pool of one session, which is idle; whoever comes next is let in.
async fn one_idle<K: Kind>() -> (MockPool<K>, MockPeer, MockUpstream) {
    let mut stage = Stage::<K>::of_one_session();
    let mut opener = stage.caller(&Who::of("ann", 1));
    let (hold, peer) = stage.open(&mut opener).await;
    hold.give_back(true).await;
    // Its end is not what the scenario is about.
    keep(opener);
    (stage.pool, peer, stage.upstream)
}

/// Keeps a client there for as long as the scenario lasts.
fn keep<C>(caller: C) {
    std::mem::forget(caller);
}

async fn next_is_served<K: Kind>(pool: &MockPool<K>, upstream: MockUpstream) {
    let host = Host::quick(upstream);
    served(&mut pool.caller(&Who::of("ann", 2)), "next").await;
    assert_eq!((host.opened(), host.calls()), (1, 1), "by a session of its own");
    assert_eq!(pool.figures().sessions, 1);
}

pub(super) async fn a2_a_session_whose_upstream_hung_up_is_leased_no_more<K: Kind>() {
    let (pool, peer, upstream) = one_idle::<K>().await;
    drop(peer);
    settle().await;
    next_is_served::<K>(&pool, upstream).await;
}

pub(super) async fn a7_a_session_whose_stream_ended_is_leased_no_more<K: Kind>() {
    let (pool, peer, upstream) = one_idle::<K>().await;
    peer.end(EndReason::StreamEnded);
    settle().await;
    next_is_served::<K>(&pool, upstream).await;
}

pub(super) async fn a8_a_session_is_closed_before_its_owner_has_heard_of_it<K: Kind>() {
    let (pool, peer, upstream) = one_idle::<K>().await;
    // Nobody gets to run between the end and the next caller.
    peer.end(EndReason::StreamEnded);
    next_is_served::<K>(&pool, upstream).await;
}

pub(super) async fn a10_a_connection_that_breaks_under_one_call_ends_no_session<K: Kind>() {
    let (pool, mut peer, upstream) = one_idle::<K>().await;
    let hold = pool.caller(&Who::of("ann", 2)).acquire().await.expect("it is idle");
    let hold = Arc::new(hold);
    let call = calling(&hold, "breaks");
    let asked = peer.call().await;
    asked.fail(CallError::may_have_run(Fault::Broken { source: "reset".into() }));
    let failed = call.outcome().await.expect_err("the connection of that call is broken");
    assert!(!failed.did_not_run, "it may have run: {}", failed.text);
    drop(hold);
    let mut next = pool.caller(&Who::of("ann", 3));
    let both =
        async { tokio::join!(served(&mut next, "next"), async { repeat(peer.call().await) }) };
    both.await;
    assert_eq!(upstream.connects(), 1, "on streamable HTTP a connection is no session");
}

/// The session dies while somebody uses it.
async fn dies_in_use<K: Kind>(went_well: bool) -> (MockPool<K>, MockUpstream, MockPeer) {
    let (pool, peer, upstream) = one_idle::<K>().await;
    let mut user = pool.caller(&Who::of("ann", 3));
    let hold = user.acquire().await.expect("it is idle");
    peer.end(EndReason::StreamEnded);
    settle().await;
    hold.give_back(went_well).await;
    keep(user);
    (pool, upstream, peer)
}

pub(super) async fn a12_a_dead_session_that_is_given_back_as_broken_makes_room<K: Kind>() {
    let (pool, upstream, _peer) = dies_in_use::<K>(false).await;
    next_is_served::<K>(&pool, upstream).await;
}

pub(super) async fn a13_a_dead_session_that_is_given_back_as_good_makes_room<K: Kind>() {
    let (pool, upstream, _peer) = dies_in_use::<K>(true).await;
    next_is_served::<K>(&pool, upstream).await;
}

pub(super) async fn b3_giving_back_a_session_that_has_ended_is_no_error_and_counts_once<K: Kind>() {
    let (pool, _upstream, _peer) = dies_in_use::<K>(true).await;
    settle().await;
    assert_eq!(pool.figures().sessions, 0, "{}", pool.figures().text);
}

pub(super) async fn a18_of_several_idle_sessions_only_the_living_are_leased<K: Kind>() {
    let mut stage = Stage::<K>::new(|bounds| bounds.sessions_per_key = 2);
    let mut first = stage.caller(&Who::of("ann", 1));
    let mut second = stage.caller(&Who::of("ann", 2));
    let (one, dies) = stage.open(&mut first).await;
    let (two, mut lives) = stage.open(&mut second).await;
    one.give_back(true).await;
    two.give_back(true).await;
    drop(dies);
    settle().await;
    // It answers whatever it is asked, be it whether it lives.
    let _answers = Underway::start(async move {
        loop {
            repeat(lives.call().await);
        }
    });
    settle().await;
    let mut next = stage.caller(&Who::of("ann", 3));
    for nonce in ["one", "two", "three"] {
        served(&mut next, nonce).await;
    }
    assert_eq!(stage.upstream.connects(), 2, "no more than the two are opened");
}

pub(super) async fn b582e1f8c_a_session_that_broke_in_mid_call_is_not_used_again<K: Kind>() {
    let (pool, mut peer, upstream) = one_idle::<K>().await;
    let mut user = pool.caller(&Who::of("ann", 3));
    let hold = Arc::new(user.acquire().await.expect("it is idle"));
    let call = calling(&hold, "breaks");
    let _asked = peer.call().await;
    peer.end(EndReason::StreamBroken { source: "reset".into() });
    call.outcome().await.expect_err("its stream is broken");
    let hold = Arc::into_inner(hold).expect("the call is over");
    hold.give_back(true).await;
    next_is_served::<K>(&pool, upstream).await;
}

pub(super) async fn r3605_the_first_call_after_an_upstream_went_away_does_not_pay_for_it<
    K: Kind,
>() {
    let Stage { pool, upstream, .. } = Stage::<K>::of_one_session();
    let host = Host::quick(upstream);
    let mut caller = pool.caller(&Who::of("ann", 1));
    for round in 0..5 {
        served(&mut caller, &format!("round {round}")).await;
        host.restart();
        pass(secs(1)).await;
    }
    assert_eq!(host.calls(), 5, "each ran once");
}

pub(super) async fn r9_after_a_restart_every_call_on_a_stale_session_is_answered<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|_| {});
    let host = Host::quick(upstream);
    // Eight clients of one user, each of which has warmed a session of its own.
    let mut clients: Vec<_> = (0..8).map(|n| pool.caller(&Who::of("ann", n).alone())).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let who = format!("Bearer {number}");
        client.identify(&Who::of("ann", number as u64).alone().showing(who));
        served(client, "warm").await;
    }
    assert_eq!(host.sessions(), 8);
    host.restart();
    for round in 0..12 {
        served(&mut clients[round % 8], &format!("call {round}")).await;
    }
    assert_eq!(host.opened(), 16);
}

pub(super) async fn r10_a_session_found_dead_is_leased_to_nobody_again<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::of_one_session();
    let host = Host::quick(upstream);
    let mut caller = pool.caller(&Who::of("ann", 1));
    served(&mut caller, "warm").await;
    host.restart();
    // Far more often than anything would be probed.
    for round in 0..20 {
        let answer = one_call(&mut caller, &request(&format!("call {round}"))).await;
        let answer = answer.unwrap_or_else(|failed| panic!("call {round}: {}", failed.text));
        assert_eq!(nonce_of(&answer), format!("call {round}"));
        pass(secs(1)).await;
    }
    assert_eq!(host.opened(), 2, "found dead once, opened anew once");
}
