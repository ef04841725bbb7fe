//! Sessions that do not come to be.

use tokio::time::{Instant, timeout};
use wharf_proto::{
    ErrorObject, Response, code,
    mock::{Heard, MockPeer},
};

use super::super::{
    Failed, Host, Kind, Specimen as _, Stage, Underway, Who, asking, host::GREETING, millis,
    one_call, request, secs, served, settle,
};

/// The next in line is let in: no room has been lost.
async fn next_is_served<K: Kind>(stage: Stage<K>) {
    let host = Host::quick(stage.upstream);
    served(&mut stage.pool.caller(&Who::of("ann", 9)), "next").await;
    assert_eq!(host.sessions(), 1);
}

/// Answers `initialize` with an error.
async fn refuse_the_handshake(peer: &mut MockPeer) {
    let hello = peer.call().await;
    let error = ErrorObject::new(code::INVALID_PARAMS, "not today".to_owned());
    hello.say(Response::failure(Some(hello.request.id()), &error));
}

/// Somebody asks for a session and is refused it in the handshake.
async fn refused<K: Kind>(stage: &mut Stage<K>) -> (Failed, MockPeer) {
    let asked = asking(stage.caller(&Who::of("ann", 1)));
    let mut peer = stage.upstream.opening().await.expect("one is opened").accept();
    refuse_the_handshake(&mut peer).await;
    let (_caller, refused) = asked.outcome().await;
    (refused.err().expect("there is no session"), peer)
}

async fn hears_goodbye(peer: &mut MockPeer) -> bool {
    settle().await;
    peer.heard_so_far().iter().any(|heard| matches!(heard, Heard::Goodbye))
}

pub(super) async fn a6_a_refused_connection_is_told_to_its_caller_at_once<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let before = Instant::now();
    let asked = asking(stage.caller(&Who::of("ann", 1)));
    stage.upstream.opening().await.expect("one is opened").refuse();
    let (_caller, refused) = asked.outcome().await;
    let failed = refused.err().expect("there is no session");
    assert!(failed.text.contains("cannot be reached"), "{}", failed.text);
    assert!(before.elapsed() < secs(1), "{:?}", before.elapsed());
}

pub(super) async fn a15_the_refusal_of_the_handshake_is_what_the_caller_hears<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let (failed, _peer) = refused(&mut stage).await;
    assert!(failed.text.contains("-32602"), "it says with what code: {}", failed.text);
    next_is_served(stage).await;
}

pub(super) async fn b7_what_was_half_open_is_taken_leave_of<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let (_, mut peer) = refused(&mut stage).await;
    assert!(hears_goodbye(&mut peer).await, "the upstream can forget what it has begun");
}

pub(super) async fn b13_a_handshake_that_never_ends_is_given_up_and_taken_leave_of<K: Kind>() {
    let mut stage = Stage::<K>::new(|bounds| {
        bounds.sessions_per_key = 1;
        bounds.patience = secs(60);
    });
    let before = Instant::now();
    let asked = asking(stage.caller(&Who::of("ann", 1)));
    let mut peer = stage.upstream.opening().await.expect("one is opened").accept();
    let _hangs = peer.call().await;
    let (_caller, refused) = asked.outcome().await;
    refused.err().expect("there is no session");
    assert!(before.elapsed() < secs(31), "the step has its own limit: {:?}", before.elapsed());
    assert!(hears_goodbye(&mut peer).await, "the upstream can forget what it has begun");
    next_is_served(stage).await;
}

pub(super) async fn b14_an_upstream_that_hangs_up_after_its_refusal_hides_it_from_nobody<
    K: Kind,
>() {
    let mut stage = Stage::<K>::of_one_session();
    let asked = asking(stage.caller(&Who::of("ann", 1)));
    let mut peer = stage.upstream.opening().await.expect("one is opened").accept();
    refuse_the_handshake(&mut peer).await;
    drop(peer);
    let (_caller, refused) = asked.outcome().await;
    let failed = refused.err().expect("there is no session");
    assert!(failed.text.contains("-32602"), "it says with what code: {}", failed.text);
    next_is_served(stage).await;
}

pub(super) async fn b16_where_nothing_was_opened_nothing_is_closed_and_no_room_is_lost<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    for _ in 0..3 {
        let asked = asking(stage.caller(&Who::of("ann", 1)));
        stage.upstream.opening().await.expect("one is opened").refuse();
        let (_caller, refused) = asked.outcome().await;
        refused.err().expect("there is no session");
    }
    assert_eq!((stage.upstream.connects(), stage.pool.figures().sessions), (3, 0));
    next_is_served(stage).await;
}

pub(super) async fn r2_a_refused_handshake_makes_room_once_and_not_twice<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    for _ in 0..3 {
        refused(&mut stage).await;
    }
    let host = Host::answering_after(millis(10), stage.upstream);
    let callers: Vec<_> = (0..8)
        .map(|number| {
            let mut caller = stage.pool.caller(&Who::of("ann", number));
            Underway::start(async move { one_call(&mut caller, &request("m")).await })
        })
        .collect();
    for caller in callers {
        // How many of them are served is another scenario's business.
        let _ = caller.outcome().await;
    }
    assert_eq!(host.most(), 1, "there is never more than the one session that is allowed");
}

pub(super) async fn r7_a_session_that_is_being_opened_when_the_pool_ends_is_closed<K: Kind>() {
    let mut stage = Stage::<K>::of_one_session();
    let asked = asking(stage.caller(&Who::of("ann", 1)));
    let opening = stage.upstream.opening().await.expect("one is opened");
    let pool = stage.pool.clone();
    let _ending = Underway::start(async move { pool.shutdown().await });
    settle().await;
    let mut peer = opening.accept();
    let closed = timeout(secs(10), async {
        loop {
            match peer.hear().await {
                Some(Heard::Call(hello)) => hello.answer(GREETING),
                Some(Heard::Goodbye) | None => return,
                Some(_) => {}
            }
        }
    });
    closed.await.expect("the session is closed with the pool");
    let (_caller, refused) = asked.outcome().await;
    refused.err().expect("nobody is let in any more");
    assert_eq!(stage.pool.figures().sessions, 0);
}
