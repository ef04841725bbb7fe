//! Whose a session is: its owner's, and not the request's that opened it.

use std::sync::Arc;

use wharf_proto::mock::Heard;

use super::super::{
    Caller as _, Hold as _, Host, Kind, Specimen as _, Stage, Who, asking, calling, nonce_of, pass,
    repeat, request, secs, served, settle,
};

pub(super) async fn r3737_the_end_of_the_request_that_opened_a_session_harms_nobody_else<
    K: Kind,
>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut opener = stage.caller(&Who::of("ann", 1));
    let mut other = stage.caller(&Who::of("ann", 2));
    let (hold, mut peer) = stage.open(&mut opener).await;
    hold.give_back(true).await;
    let hold = Arc::new(other.acquire().await.expect("the session is idle"));
    let call = calling(&hold, "other");
    let asked = peer.call().await;
    drop(opener);
    settle().await;
    repeat(asked);
    let answer = call.outcome().await.expect("the other's call is answered");
    assert_eq!(nonce_of(&answer), "other");
    assert_eq!(stage.upstream.connects(), 1);
}

pub(super) async fn r3737_the_failure_of_one_call_cancels_no_other_request<K: Kind>() {
    let mut stage = Stage::<K>::new(|_| {});
    let mut opener = stage.caller(&Who::of("ann", 1));
    let mut other = stage.caller(&Who::of("ann", 2));
    let (first, mut first_peer) = stage.open(&mut opener).await;
    first.give_back(true).await;
    let first = Arc::new(other.acquire().await.expect("the session is idle"));
    // The opener has gone on to another session, and is in the midst of a call.
    let (second, mut second_peer) = stage.open(&mut opener).await;
    let second = Arc::new(second);
    let innocent = calling(&second, "innocent");
    let asked = second_peer.call().await;
    let failing = calling(&first, "failing");
    drop(first_peer.call().await);
    settle().await;
    repeat(asked);
    let answer = innocent.outcome().await.expect("the call that has not failed is answered");
    assert_eq!(nonce_of(&answer), "innocent");
    drop(failing);
}

pub(super) async fn r3737_a_call_that_is_given_up_ends_alone_and_is_cancelled_upstream<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut leaves = stage.caller(&Who::of("ann", 1));
    let mut stays = stage.caller(&Who::of("ann", 2));
    let (hold, mut peer) = stage.open(&mut leaves).await;
    let hold = Arc::new(hold);
    let call = calling(&hold, "given up");
    let asked = peer.call().await;
    drop((call, hold));
    settle().await;
    let heard = peer.heard_so_far();
    let cancelled = heard.iter().find_map(|heard| match heard {
        Heard::Notification(notification) => notification.cancelled_id(),
        _ => None,
    });
    assert_eq!(
        cancelled.as_ref(),
        Some(asked.request.id()),
        "the upstream is told which: {heard:?}"
    );
    let both =
        async { tokio::join!(served(&mut stays, "next"), async { repeat(peer.call().await) }) };
    both.await;
    assert_eq!(stage.upstream.connects(), 1, "the session goes on");
}

pub(super) async fn a1_a_session_outlives_the_caller_it_was_opened_for<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut opener = stage.caller(&Who::of("ann", 1));
    let (hold, mut peer) = stage.open(&mut opener).await;
    hold.give_back(true).await;
    drop(opener);
    pass(secs(10)).await;
    let mut next = stage.caller(&Who::of("ann", 2));
    let both =
        async { tokio::join!(served(&mut next, "next"), async { repeat(peer.call().await) }) };
    both.await;
    assert_eq!(stage.pool.figures().sessions, 1);
    assert_eq!(stage.upstream.connects(), 1);
}

pub(super) async fn a3_a_quiet_session_stays_open<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::of_one_session();
    let host = Host::quick(upstream);
    let mut caller = pool.caller(&Who::of("ann", 1));
    served(&mut caller, "first").await;
    pass(secs(59)).await;
    served(&mut caller, "second").await;
    assert_eq!(host.opened(), 1);
    assert_eq!(pool.figures().sessions, 1);
}

pub(super) async fn a14_a_caller_that_gives_up_during_the_handshake_takes_no_room_with_it<
    K: Kind,
>() {
    let Stage { pool, mut upstream, .. } = Stage::<K>::of_one_session();
    let gives_up = asking(pool.caller(&Who::of("ann", 1)));
    let opening = upstream.opening().await.expect("a session is being opened");
    drop(gives_up);
    settle().await;
    opening.refuse();
    settle().await;
    let host = Host::quick(upstream);
    served(&mut pool.caller(&Who::of("ann", 2)), "next").await;
    assert_eq!((host.opened(), host.sessions()), (1, 1));
    // What is given up is a request, not a place.
    let hold = pool.caller(&Who::of("ann", 3)).acquire().await.expect("the session is idle");
    let answer = hold.call(&request("last")).await.expect("it is answered");
    assert_eq!(nonce_of(&answer), "last");
}
