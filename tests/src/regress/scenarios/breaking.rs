//! Upstreams to which no session can be opened, and who is kept from trying.

use super::super::{
    Caller as _, Host, Kind, Specimen as _, Stage, Who, asking, pass, secs, served, settle,
};

/// So many callers are refused a connection, one after the other.
async fn fail<K: Kind>(stage: &mut Stage<K>, who: &Who, times: u32) {
    for _ in 0..times {
        let asked = asking(stage.caller(who));
        stage.upstream.opening().await.expect("it is tried").refuse();
        let (_caller, refused) = asked.outcome().await;
        refused.err().expect("there is no session");
    }
}

pub(super) async fn r8_who_comes_while_a_breaker_is_open_is_told_at_once<K: Kind>() {
    let mut stage = Stage::<K>::new(|bounds| bounds.breaker_failures = 2);
    let who = Who::of("ann", 1);
    fail(&mut stage, &who, 2).await;
    for _ in 0..10 {
        let refused = stage.caller(&who).acquire().await;
        refused.err().expect("there is no session");
    }
    assert_eq!(stage.upstream.connects(), 2, "and nobody has tried");
}

pub(super) async fn r8_after_the_pause_one_caller_tries_and_not_all<K: Kind>() {
    let mut stage = Stage::<K>::new(|bounds| bounds.breaker_failures = 2);
    let who = Who::of("ann", 1);
    fail(&mut stage, &who, 2).await;
    pass(secs(11)).await;
    let _callers: Vec<_> = (0..10).map(|_| asking(stage.caller(&who))).collect();
    settle().await;
    assert_eq!(stage.upstream.connects(), 3, "one try tells whether the others are worth it");
}

pub(super) async fn r8_one_tenants_refused_credential_shuts_nobody_else_out<K: Kind>() {
    let mut stage = Stage::<K>::new(|bounds| bounds.breaker_failures = 2);
    fail(&mut stage, &Who::of("mallory", 1), 2).await;
    let _host = Host::quick(stage.upstream);
    served(&mut stage.pool.caller(&Who::of("bob", 2)), "m").await;
}
