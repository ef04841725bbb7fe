//! Sessions that cannot be opened: who hears of it, and that nothing stays
//! behind.

use wharf_pool::{AcquireError, CloseReason, OpenError};
use wharf_proto::{
    ErrorObject, Response, Revision,
    mock::{Heard, MockPeer},
    transport::{CallError, Fate, Fault},
};

use crate::support::{
    Books, EMPTY, ask, books, client, ends, has_heard_goodbye, identity, lease, let_in, manners,
    open, pass, pool, read, secs, settle,
};

mod support;

const NO_HANDSHAKE: &str =
    r#"{"protocolVersion":"2099-01-01","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#;

/// Three callers of one client in line, of whom each must hear the same.
macro_rules! all_fail_with {
    ($pool:expr, $callers:expr, $pattern:pat) => {
        for caller in $callers {
            match caller.refusal().await {
                AcquireError::Open($pattern) => {}
                other => panic!("{other:?} is not what has happened"),
            }
        }
        assert_eq!(books(&$pool), EMPTY);
    };
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_fails_all_in_line_and_the_next_tries_anew() {
    let (pool, mut upstream) = pool(|_| {});
    let callers: Vec<_> = (0..3).map(|_| ask(&pool, &client(1))).collect();
    upstream.opening().await.expect("somebody connects").refuse();
    all_fail_with!(
        pool,
        callers,
        OpenError::Transport(CallError { fate: Fate::NotSent, fault: Fault::Unreachable { .. } })
    );
    assert_eq!(pool.snapshot().upstreams[0].open_failures, 1);

    let (_lease, _peer) = open(&pool, &mut upstream, &client(1)).await;
    assert_eq!(upstream.connects(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_refused_by_the_upstream_tells_its_code_and_words() {
    let (pool, mut upstream) = pool(|_| {});
    let waiting = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    let hello = peer.call().await;
    let error = ErrorObject::new(-32_001, "not you");
    hello.say(Response::failure(Some(hello.request.id()), &error));

    let AcquireError::Open(OpenError::Refused { code, error }) = waiting.refusal().await else {
        panic!("the upstream has refused")
    };
    assert_eq!(code, -32_001);
    assert!(error.as_str().contains("not you"));
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_the_upstream_made_up_is_no_handshake() {
    let (pool, mut upstream) = pool(|_| {});
    let callers: Vec<_> = (0..3).map(|_| ask(&pool, &client(1))).collect();
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    peer.call().await.answer(NO_HANDSHAKE);
    all_fail_with!(pool, callers, OpenError::NotAHandshake);
}

#[tokio::test(start_paused = true)]
async fn an_older_revision_of_the_upstream_is_agreed_to() {
    let (pool, mut upstream) = pool(|_| {});
    let waiting = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    peer.call().await.answer(r#"{"protocolVersion":"2025-03-26","capabilities":{"tools":{}}}"#);

    let lease = waiting.lease().await;
    assert_eq!(lease.handshake().revision, Revision::V2025_03_26);
    assert_eq!(peer.agreed(), Some(Revision::V2025_03_26));
    assert!(lease.handshake().offers("tools") && !lease.handshake().offers("prompts"));
    let known = pool.handshake(&client(1)).expect("a session is open");
    assert_eq!(known.revision, Revision::V2025_03_26);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_takes_too_long_fails_all_in_line() {
    let (pool, mut upstream) = pool(|limits| limits.open_timeout = secs(7));
    let begun = tokio::time::Instant::now();
    let callers: Vec<_> = (0..3).map(|_| ask(&pool, &client(1))).collect();
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    let _unanswered = peer.call().await;
    all_fail_with!(pool, callers, OpenError::TimedOut { .. });
    assert_eq!(begun.elapsed(), secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_ends_during_the_handshake_fails_all_in_line() {
    let (pool, mut upstream) = pool(|_| {});
    let callers: Vec<_> = (0..3).map(|_| ask(&pool, &client(1))).collect();
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    let _unanswered = peer.call().await;
    peer.end(wharf_proto::transport::EndReason::StreamEnded);
    all_fail_with!(pool, callers, OpenError::Transport(CallError { fault: Fault::Ended(_), .. }));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_is_taken_leave_of_where_the_handshake_came_to_nothing() {
    // It may have opened a session by then, which nobody else would end.
    let (pool, mut upstream) = pool(|limits| limits.open_timeout = secs(7));
    let unknown_revision = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    peer.call().await.answer(NO_HANDSHAKE);
    unknown_revision.refusal().await;
    assert!(has_heard_goodbye(&mut peer).await);

    let too_late = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    let _unanswered = peer.call().await;
    too_late.refusal().await;
    assert!(has_heard_goodbye(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn the_upstream_may_ping_and_log_before_the_handshake_is_done() {
    let (pool, mut upstream) = pool(|_| {});
    let waiting = ask(&pool, &client(1));
    let mut peer = upstream.opening().await.expect("somebody connects").accept();
    let hello = peer.call().await;
    peer.say(read(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#));
    peer.say(read(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#));
    let Some(Heard::Response(pong)) = peer.hear().await else { panic!("the ping is answered") };
    assert_eq!(pong.id(), Some(&"p".into()));
    hello.answer(r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#);
    assert!(waiting.lease().await.handshake().capabilities().is_object());
}

#[tokio::test(start_paused = true)]
async fn a_failed_opening_leaves_those_in_line_to_the_sessions_there_are() {
    let (pool, mut upstream) = pool(|_| {});
    let ann = identity("ann");
    let (held, _peer) = open(&pool, &mut upstream, &ann).await;
    let mut waiting = ask(&pool, &ann);
    upstream.opening().await.expect("somebody connects").refuse();
    assert!(!waiting.is_done().await);

    drop(held);
    drop(waiting.lease().await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_opening_leaves_those_in_line_to_the_session_that_is_on_its_way() {
    let (pool, mut upstream) = pool(|_| {});
    let ann = identity("ann");
    let (mut first, second) = (ask(&pool, &ann), ask(&pool, &ann));
    let failing = upstream.opening().await.expect("somebody connects");
    let on_its_way = upstream.opening().await.expect("another connects");
    failing.refuse();
    assert!(!first.is_done().await);

    let mut peer = on_its_way.accept();
    peer.shake_hands().await;
    drop(first.lease().await);
    drop(second.lease().await);
}

#[tokio::test(start_paused = true)]
async fn where_the_sessions_there_are_stay_in_use_another_opening_is_tried() {
    let (pool, mut upstream) = pool(|_| {});
    let ann = identity("ann");
    let (_held, _peer) = open(&pool, &mut upstream, &ann).await;
    let waiting = ask(&pool, &ann);
    upstream.opening().await.expect("somebody connects").refuse();

    let mut peer = upstream.opening().await.expect("it is tried again").accept();
    peer.shake_hands().await;
    drop(waiting.lease().await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_opening_leaves_nobody_to_sessions_that_are_leased_no_more() {
    let (pool, mut upstream) = pool(|_| {});
    let (_held, _peer) = open(&pool, &mut upstream, &client(1)).await;
    pool.retire(&client(1));
    let begun = tokio::time::Instant::now();
    let waiting = ask(&pool, &client(1));
    upstream.opening().await.expect("somebody connects").refuse();
    waiting.refusal().await;
    assert_eq!(begun.elapsed(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_is_an_owner_gone_and_leaves_nothing_behind() {
    let (pool, mut upstream) = manners::panicking(1, |settings| settings.sessions = 1);
    let callers: Vec<_> = (0..3).map(|_| ask(&pool, &client(1))).collect();
    all_fail_with!(pool, callers, OpenError::OwnerGone);
    assert_eq!(pool.snapshot().upstreams[0].open_failures, 1);

    // The permit is back too: there is only one.
    let (_lease, _peer) = open(&pool, &mut upstream, &client(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_with_nobody_waiting_leaves_nothing_behind() {
    let (pool, _upstream) = manners::panicking(1, |_| {});
    let key = client(1);
    let mut gives_up = Box::pin(pool.acquire(&key, support::tomorrow()));
    assert!(futures_util::poll!(&mut gives_up).is_pending());
    drop(gives_up);
    settle().await;
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_fails_with_nobody_waiting_leaves_nothing_behind() {
    let (pool, mut upstream) = pool(|_| {});
    drop_while_opening(&pool).await;
    upstream.opening().await.expect("somebody connects").refuse();
    settle().await;
    assert_eq!(books(&pool), EMPTY);
}

async fn drop_while_opening(pool: &support::MockPool) {
    let gives_up = ask(pool, &client(1));
    settle().await;
    drop(gives_up);
    settle().await;
    assert_eq!(books(pool), Books { keys: 1, opening: 1, ..EMPTY });
}

#[tokio::test(start_paused = true)]
async fn opening_and_ending_are_counted() {
    let (pool, upstream) = pool(|limits| limits.idle_timeout = secs(60));
    let _upstream = let_in(upstream);
    for number in 0..3 {
        lease(&pool, &client(number)).await.close(CloseReason::Retired);
    }
    drop(lease(&pool, &client(9)).await);
    pass(secs(61)).await;
    let seen = pool.snapshot().upstreams.remove(0);
    assert_eq!((seen.opens, seen.open_failures), (4, 0));
    assert_eq!((ends(&pool, "retired"), ends(&pool, "idle")), (3, 1));
    assert_eq!(books(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_during_the_handshake_is_heard_of_at_once() {
    let (pool, mut upstream) = pool(|_| {});
    let waiting = ask(&pool, &client(1));
    let peer: MockPeer = upstream.opening().await.expect("somebody connects").accept();
    let begun = tokio::time::Instant::now();
    drop(peer);
    waiting.refusal().await;
    assert_eq!(begun.elapsed(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn each_session_has_what_the_upstream_said_to_it_and_what_it_says_to_all_is_kept_once() {
    let (pool, mut upstream) = pool(|_| {});
    let mut said = Vec::new();
    for name in ["old", "new", "new"] {
        let waiting = ask(&pool, &client(said.len() as u64));
        let mut peer = upstream.opening().await.expect("somebody connects").accept();
        let result =
            format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{{}},"name":"{name}"}}"#);
        peer.call().await.answer(&result);
        let lease = waiting.lease().await;
        assert_eq!(lease.handshake().result.as_str(), result);
        said.push((lease, peer));
    }
    let place = |at: usize| said[at].0.handshake().result.as_bytes().as_ptr();
    assert_eq!(place(1), place(2));
}
