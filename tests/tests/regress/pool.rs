//! The rows that are about the pool of `wharf-pool` alone: what it is told, and
//! what its figures say.

use std::time::Duration;

use wharf_pool::{Afterwards, Key, KeyParts, Limits, Pool, Probe, Profile, Scope, Settings};
use wharf_proto::{
    ErrorObject, Json, Response, Revision, code, method,
    mock::{self, Heard, MockConnect, MockPeer, MockUpstream},
    transport::Exchange as _,
};
use wharf_tests::regress::{EMPTY, ends, held, only, pass, request, secs, settle};

type MockPool = Pool<MockConnect<Key>>;

fn pool(change: impl FnOnce(&mut Limits)) -> (MockPool, MockUpstream) {
    let mut settings = Settings::default();
    change(&mut settings.default);
    let (connect, upstream) = mock::pair();
    (Pool::new(connect, settings), upstream)
}

fn key() -> Key {
    let profile = Profile {
        revision: Revision::LATEST,
        capabilities: Json::empty_object(),
        client_info: Json::parse(r#"{"name":"regress","version":"1"}"#).expect("it is JSON"),
    };
    Key::new(KeyParts {
        upstream: "fast-time".into(),
        scope: Scope::Identity("ann".into()),
        credential: wharf_pool::Fingerprint::NONE,
        profile: profile.into(),
    })
}

fn tomorrow() -> tokio::time::Instant {
    tokio::time::Instant::now() + secs(24 * 3600)
}

/// Opens a session, which is idle then.
async fn one_idle(pool: &MockPool, upstream: &mut MockUpstream) -> MockPeer {
    let key = key();
    let (lease, peer) = tokio::join!(pool.acquire(&key, tomorrow()), upstream.accept());
    drop(lease.expect("it is let in"));
    peer
}

/// Somebody asks for a session and is refused the connection.
async fn refused(pool: &MockPool, upstream: &mut MockUpstream) {
    let key = key();
    let refuse = async { upstream.opening().await.expect("it is tried").refuse() };
    let (lease, ()) = tokio::join!(pool.acquire(&key, tomorrow()), refuse);
    lease.expect_err("there is no session");
}

#[tokio::test(start_paused = true)]
async fn a17_a_probe_that_hangs_ends_its_session_and_is_counted_once() {
    let (pool, mut upstream) = pool(|limits| limits.probe_after = secs(60));
    let mut peer = one_idle(&pool, &mut upstream).await;
    pass(secs(60)).await;
    let _hangs = peer.call().await;
    pass(secs(6)).await;
    assert_eq!((only(&pool).probe_failures, ends(&pool, "probe_failed")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn b2_a_session_that_fails_its_probe_is_gone_before_anybody_asks() {
    let (pool, mut upstream) = pool(|_| {});
    let mut peer = one_idle(&pool, &mut upstream).await;
    let ping = peer.call().await;
    let error = ErrorObject::new(code::INTERNAL_ERROR, "no more".to_owned());
    ping.say(Response::failure(Some(ping.request.id()), &error));
    settle().await;
    assert_eq!(held(&pool), EMPTY);
}

#[tokio::test(start_paused = true)]
async fn b9_a_chain_of_probes_ends_at_the_first_that_hangs() {
    let (pool, mut upstream) = pool(|limits| {
        limits.probes = vec![Probe::Ping, Probe::ListTools, Probe::Skip];
        limits.probe_after = secs(60);
    });
    let mut peer = one_idle(&pool, &mut upstream).await;
    pass(secs(66)).await;
    let calls: Vec<_> = asked(&mut peer);
    assert_eq!(calls, [method::PING]);
    assert_eq!((only(&pool).probes, only(&pool).probe_failures, only(&pool).sessions), (1, 1, 0));
}

/// The methods of the calls that a peer has heard and not answered.
fn asked(peer: &mut MockPeer) -> Vec<String> {
    let heard = peer.heard_so_far().into_iter();
    heard
        .filter_map(|heard| match heard {
            Heard::Call(call) => Some(call.request.method().to_owned()),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn r2040_a_method_that_an_upstream_does_not_have_says_nothing_against_it() {
    let (pool, mut upstream) = pool(|limits| limits.probes = vec![Probe::Ping, Probe::ListTools]);
    let mut peer = one_idle(&pool, &mut upstream).await;
    for method in [method::PING, method::TOOLS_LIST] {
        let probe = peer.call().await;
        assert_eq!(probe.request.method(), method);
        let error = ErrorObject::new(code::METHOD_NOT_FOUND, "what?".to_owned());
        probe.say(Response::failure(Some(probe.request.id()), &error));
    }
    settle().await;
    assert_eq!((only(&pool).probe_failures, only(&pool).sessions), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn r3520_idle_sessions_are_probed_unless_somebody_says_otherwise() {
    let (pool, mut upstream) = pool(|_| {});
    let mut peer = one_idle(&pool, &mut upstream).await;
    assert_eq!(peer.call().await.request.method(), method::PING);
    assert!(Limits::default().probe_timeout < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn r8_a_breaker_that_opens_is_counted_once() {
    let (pool, mut upstream) = pool(|limits| limits.breaker.failures = 2);
    refused(&pool, &mut upstream).await;
    refused(&pool, &mut upstream).await;
    for _ in 0..4 {
        let refusal = pool.acquire(&key(), tomorrow()).await;
        refusal.expect_err("its breaker is open");
    }
    assert_eq!((only(&pool).breaker_trips, upstream.connects()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn r3758_an_upstream_that_was_drained_is_used_again() {
    let (pool, mut upstream) = pool(|_| {});
    let mut first = one_idle(&pool, &mut upstream).await;
    let draining = pool.drain("fast-time", tomorrow(), Afterwards::Open);
    tokio::time::timeout(secs(10), draining).await.expect("nobody is in a call");
    assert_eq!(held(&pool), EMPTY);
    assert!(first.heard_so_far().iter().any(|heard| matches!(heard, Heard::Goodbye)));
    let mut second = one_idle(&pool, &mut upstream).await;
    let lease = pool.acquire(&key(), tomorrow()).await.expect("it is idle");
    let mut call = lease.call(&request("m"));
    let answer = async { second.call().await.answer("{}") };
    let (answered, ()) = tokio::join!(call.answer(), answer);
    answered.expect("the pool is as good as new");
}
