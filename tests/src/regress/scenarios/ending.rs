//! The ends of sessions and of pools, and what is said of them.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::super::{
    Caller as _, Hold as _, Host, Kind, Specimen as _, Stage, Who, asking, calling, pass, secs,
    served, settle,
};

pub(super) async fn a4_the_end_of_the_pool_is_said_to_every_upstream<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|_| {});
    let host = Host::quick(upstream);
    for user in ["ann", "bob", "cat"] {
        served(&mut pool.caller(&Who::of(user, 1)), "m").await;
    }
    timeout(secs(60), pool.shutdown()).await.expect("the pool ends");
    settle().await;
    assert_eq!((host.left(), host.sessions()), (3, 0));
    assert_eq!(pool.figures().sessions, 0);
    let late = pool.caller(&Who::of("ann", 1)).acquire().await;
    late.err().expect("nobody is let in any more");
}

pub(super) async fn a5_an_upstream_that_does_not_let_go_does_not_hold_the_end_up<K: Kind>() {
    let stage = Stage::<K>::new(|_| {});
    stage.manners.never_let_go();
    let host = Host::quick(stage.upstream);
    for user in ["ann", "bob", "cat"] {
        served(&mut stage.pool.caller(&Who::of(user, 1)), "m").await;
    }
    let before = Instant::now();
    timeout(secs(60), stage.pool.shutdown()).await.expect("the pool ends all the same");
    // All at once, and each for its own time at most.
    assert!(before.elapsed() < secs(10), "{:?}", before.elapsed());
    assert_eq!(host.left(), 3, "each was told");
}

pub(super) async fn r4_an_upstream_that_does_not_let_go_holds_no_caller_up<K: Kind>() {
    let stage = Stage::<K>::new(|bounds| {
        bounds.sessions_per_key = 1;
        bounds.max_age = secs(10);
    });
    stage.manners.never_let_go();
    let host = Host::quick(stage.upstream);
    let mut caller = stage.pool.caller(&Who::of("ann", 1));
    served(&mut caller, "first").await;
    pass(secs(11)).await;
    let before = Instant::now();
    let second = timeout(secs(60), served(&mut caller, "second")).await;
    second.expect("the old session's goodbye is no business of the caller's");
    assert!(before.elapsed() < secs(1), "{:?}", before.elapsed());
    assert_eq!(host.opened(), 2);
}

pub(super) async fn r2941_calls_that_hang_do_not_outlive_the_pool<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let mut client = stage.caller(&Who::of("ann", 1));
    let (hold, mut peer) = stage.open(&mut client).await;
    let hold = Arc::new(hold);
    let call = calling(&hold, "hangs");
    let _hangs = peer.call().await;
    let before = Instant::now();
    timeout(secs(60), stage.pool.shutdown()).await.expect("the pool ends");
    call.outcome().await.expect_err("it is not answered any more");
    assert!(before.elapsed() < secs(10), "{:?}", before.elapsed());
}

pub(super) async fn r3_no_secret_is_in_figures_or_errors<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let url = "http://upstream.example/mcp?api_key=s3cr3t";
    let who = Who::of("ann", 1).calling(url).showing("Bearer s3cr3t");
    let mut caller = stage.caller(&who);
    let (hold, _peer) = stage.open(&mut caller).await;
    let figures = stage.pool.figures().text;
    assert!(!figures.contains("s3cr3t"), "{figures}");
    hold.give_back(true).await;
    let asked = asking(stage.caller(&who.clone().showing("Bearer s3cr3t too")));
    stage.upstream.opening().await.expect("one is opened").refuse();
    let (_caller, refused) = asked.outcome().await;
    let failed = refused.err().expect("there is no session");
    assert!(!failed.text.contains("s3cr3t"), "{}", failed.text);
}
