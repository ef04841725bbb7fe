//! Calls that get no answer, and when their callers hear of it.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;
use wharf_proto::transport::{CallError, Fault};

use super::super::{
    Caller as _, Hold as _, Host, Kind, Specimen as _, Stage, Who, calling, secs, served, settle,
};

pub(super) async fn r12_an_upstreams_death_is_heard_at_once_by_every_call_under_way<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut opener = stage.caller(&Who::of("ann", 1));
    let mut user = stage.caller(&Who::of("ann", 2));
    let (hold, mut peer) = stage.open(&mut opener).await;
    hold.give_back(true).await;
    let hold = Arc::new(user.acquire().await.expect("it is idle"));
    let calls: Vec<_> = (0..10).map(|n| calling(&hold, &n.to_string())).collect();
    let mut asked = Vec::new();
    for _ in 0..10 {
        asked.push(peer.call().await);
    }
    let died = Instant::now();
    // The connections of the calls break; the session has none of its own.
    drop(asked);
    for call in calls {
        let failed = call.outcome().await.expect_err("the upstream is dead");
        assert!(!failed.did_not_run, "it may have run: {}", failed.text);
        assert!(died.elapsed() < secs(1), "heard after {:?}", died.elapsed());
    }
}

pub(super) async fn r13_a_503_is_told_to_its_caller_at_once<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut opener = stage.caller(&Who::of("ann", 1));
    let mut user = stage.caller(&Who::of("ann", 2));
    let (hold, mut peer) = stage.open(&mut opener).await;
    hold.give_back(true).await;
    let hold = Arc::new(user.acquire().await.expect("it is idle"));
    let call = calling(&hold, "m");
    let asked = peer.call().await;
    let refused = Instant::now();
    let status = StatusCode::SERVICE_UNAVAILABLE;
    asked.fail(CallError::may_have_run(Fault::Status { status }));
    let failed = call.outcome().await.expect_err("the upstream has refused it");
    assert!(refused.elapsed() < secs(1), "told after {:?}", refused.elapsed());
    assert!(failed.text.contains("503"), "{}", failed.text);
}

pub(super) async fn r4029_a_dead_owner_keeps_nobody_from_the_next_session<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut client = stage.caller(&Who::of("ann", 1).alone());
    let (hold, peer) = stage.open(&mut client).await;
    drop(peer);
    let died = Instant::now();
    settle().await;
    // Whoever had it has not even given it back.
    let host = Host::quick(stage.upstream);
    let mut other = stage.pool.caller(&Who::of("ann", 1).alone());
    served(&mut other, "next").await;
    assert!(died.elapsed() < secs(1), "served after {:?}", died.elapsed());
    assert_eq!(host.opened(), 1);
    drop(hold);
}
