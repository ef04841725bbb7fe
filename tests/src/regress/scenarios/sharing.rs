//! Who is given whose session, and what is left of who comes no more.

use super::super::{Host, Kind, Specimen as _, Stage, Who, asking, pass, secs, served, settle};

pub(super) async fn r4205_two_clients_of_one_user_have_sessions_of_their_own<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|_| {});
    let host = Host::quick(upstream);
    let mut clients: Vec<_> = (0..2).map(|n| pool.caller(&Who::of("ann", n).alone())).collect();
    for client in &mut clients {
        served(client, "m").await;
    }
    assert_eq!(host.opened(), 2, "what one does to its session is the other's to see");
}

pub(super) async fn r2055_two_users_with_one_credential_have_sessions_of_their_own<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|_| {});
    let host = Host::quick(upstream);
    let of = |user| pool.caller(&Who::of(user, 1).showing("Bearer team"));
    let mut clients = [of("ann"), of("bob")];
    for client in &mut clients {
        served(client, "m").await;
    }
    assert_eq!(host.opened(), 2, "one user has been given the other's session");
}

pub(super) async fn r1924_calls_that_follow_each_other_share_one_handshake<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|_| {});
    let host = Host::quick(upstream);
    let mut caller = pool.caller(&Who::of("ann", 1));
    for round in 0..10 {
        served(&mut caller, &format!("round {round}")).await;
    }
    assert_eq!((host.opened(), host.calls(), host.pings()), (1, 10, 0));
}

pub(super) async fn r3952_sessions_of_rotated_tokens_end_without_anybody_asking<K: Kind>() {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|_| {});
    let host = Host::quick(upstream);
    for rotation in 0..32 {
        let who = Who::of("ann", 1).showing(format!("Bearer {rotation}"));
        served(&mut pool.caller(&who), "m").await;
    }
    assert_eq!(host.opened(), 32);
    // Nobody calls any more, and that is all it takes.
    pass(secs(1300)).await;
    let figures = pool.figures();
    assert_eq!((figures.keys, figures.sessions, host.sessions()), (0, 0, 0), "are left");
}

pub(super) async fn r4029_keys_that_lead_nowhere_are_forgotten<K: Kind>() {
    let mut stage = Stage::<K>::new(|bounds| bounds.breaker_failures = 1000);
    for rotation in 0..20 {
        let who = Who::of("ann", 1).showing(format!("Bearer {rotation}"));
        let asked = asking(stage.caller(&who));
        stage.upstream.opening().await.expect("one is opened").refuse();
        let (_caller, refused) = asked.outcome().await;
        refused.err().expect("there is no session");
    }
    settle().await;
    assert_eq!(stage.pool.figures().keys, 0, "are kept for nobody");
}
