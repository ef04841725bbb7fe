//! Callers in line, and calls beside each other.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::super::{
    Caller as _, Hold as _, Host, Kind, Specimen as _, Stage, Underway, Who, asking, calling,
    millis, nonce_of, one_call, repeat, request, secs, served,
};

pub(super) async fn r1_a_session_that_is_given_back_goes_to_who_waits<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut first = stage.caller(&Who::of("ann", 1));
    let (hold, _peer) = stage.open(&mut first).await;
    let mut waits = asking(stage.caller(&Who::of("ann", 2)));
    assert!(!waits.is_done().await, "there is one session, and it is in use");
    hold.give_back(true).await;
    assert!(waits.is_done().await, "it wakes who waits for it");
    let (_caller, got) = waits.outcome().await;
    got.unwrap_or_else(|failed| panic!("{}", failed.text));
}

pub(super) async fn r1_the_end_of_a_session_serves_who_waits<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut first = stage.caller(&Who::of("ann", 1));
    let (_hold, peer) = stage.open(&mut first).await;
    let waits = asking(stage.caller(&Who::of("ann", 2)));
    drop(peer);
    let before = Instant::now();
    let _host = Host::quick(stage.upstream);
    let (_caller, got) = waits.outcome().await;
    got.unwrap_or_else(|failed| panic!("{}", failed.text));
    assert!(before.elapsed() < secs(1), "{:?}", before.elapsed());
}

pub(super) async fn r1_more_callers_than_sessions_are_all_served<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|bounds| bounds.patience = secs(3));
    let host = Host::answering_after(millis(100), upstream);
    let end = Instant::now() + secs(8);
    let callers: Vec<_> = (0..50)
        .map(|number| {
            let mut caller = pool.caller(&Who::of("ann", number));
            Underway::start(async move {
                let (mut served, mut failed) = (0, 0);
                while Instant::now() < end {
                    match one_call(&mut caller, &request("m")).await {
                        Ok(_) => served += 1,
                        Err(_) => failed += 1,
                    }
                }
                (served, failed)
            })
        })
        .collect();
    let (mut least, mut failures) = (u64::MAX, 0);
    for caller in callers {
        let (served, failed) = caller.outcome().await;
        least = least.min(served);
        failures += failed;
    }
    assert_eq!(failures, 0, "of fifty callers at ten sessions");
    // Ten sessions, ten calls a second each, for eight seconds, by fifty.
    assert!(least >= 15, "who was served least was served {least} times");
    assert_eq!(host.most(), 10);
}

pub(super) async fn r6_a_session_goes_back_to_where_it_came_from<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let (before, after) = (Who::of("ann", 1), Who::of("ann", 1).showing("Bearer rotated"));
    let mut caller = stage.caller(&before);
    let (hold, mut peer) = stage.open(&mut caller).await;
    caller.identify(&after);
    hold.give_back(true).await;
    let mut same = stage.caller(&before);
    let both =
        async { tokio::join!(served(&mut same, "same"), async { repeat(peer.call().await) }) };
    timeout(secs(1), both).await.expect("the session is there for those it was opened for");
    assert_eq!(stage.upstream.connects(), 1);
}

pub(super) async fn r11_calls_on_one_session_run_at_once<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut client = stage.caller(&Who::of("ann", 1).alone());
    let (hold, peer) = stage.open(&mut client).await;
    let hold = Arc::new(hold);
    let calls: Vec<_> = (0..8).map(|n| calling(&hold, &n.to_string())).collect();
    let mut peer = peer;
    let mut asked = Vec::new();
    for _ in 0..8 {
        // None is answered before all are asked.
        asked.push(timeout(secs(1), peer.call()).await.expect("no call waits for another's end"));
    }
    asked.into_iter().for_each(repeat);
    for (number, call) in calls.into_iter().enumerate() {
        let answer = call.outcome().await.unwrap_or_else(|failed| panic!("{}", failed.text));
        assert_eq!(nonce_of(&answer), number.to_string());
    }
}

pub(super) async fn r5079_answers_in_another_order_find_their_callers<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut client = stage.caller(&Who::of("ann", 1).alone());
    let (hold, mut peer) = stage.open(&mut client).await;
    let hold = Arc::new(hold);
    // All of them under the id that their client gives all its calls.
    let calls: Vec<_> = (0..20).map(|n| calling(&hold, &format!("nonce {n}"))).collect();
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(peer.call().await);
    }
    asked.into_iter().rev().for_each(repeat);
    for (number, call) in calls.into_iter().enumerate() {
        let answer = call.outcome().await.unwrap_or_else(|failed| panic!("{}", failed.text));
        assert_eq!(nonce_of(&answer), format!("nonce {number}"));
        assert_eq!(answer.id(), request("m").id().into());
    }
}
