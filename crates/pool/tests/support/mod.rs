//! The little language that the pool's tests are written in.
//!
//! Time is paused in all of them: it passes only while every task waits, so
//! that [`settle`] means "until nothing more happens by itself".
#![allow(dead_code, reason = "each file of tests speaks only a part of it")]

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use wharf_pool::{
    AcquireError, Fingerprint, Key, KeyParts, Lease, Limits, Pool, Profile, Scope, Session,
    Settings,
};
use wharf_proto::{
    Json, Message, Request, RequestId, Response, Revision,
    mock::{self, Heard, MockConnect, MockLink, MockPeer, MockUpstream},
    transport::{CallError, Connect, Exchange, Link},
};

pub(crate) mod manners;

pub(crate) type MockPool = Pool<MockConnect<Key>>;

/// A pool with the usual limits but for some.
pub(crate) fn pool(change: impl FnOnce(&mut Limits)) -> (MockPool, MockUpstream) {
    pool_with(|settings| change(&mut settings.default))
}

/// A pool with the usual settings but for some. It probes nothing unless it is
/// told to: most upstreams of these tests answer only what the test is about.
pub(crate) fn pool_with(change: impl FnOnce(&mut Settings)) -> (MockPool, MockUpstream) {
    let mut settings = Settings::default();
    settings.default.probes.clear();
    change(&mut settings);
    let (connect, upstream) = mock::pair();
    (Pool::new(connect, settings), upstream)
}

// === Keys ===

pub(crate) fn client(number: u64) -> Key {
    key("fast-time", Scope::Client(number))
}

pub(crate) fn identity(name: &str) -> Key {
    key("fast-time", Scope::Identity(name.into()))
}

pub(crate) fn key(upstream: &str, scope: Scope) -> Key {
    key_with(|parts| {
        parts.upstream = upstream.into();
        parts.scope = scope;
    })
}

/// A key that is like the others but for some parts.
pub(crate) fn key_with(change: impl FnOnce(&mut KeyParts)) -> Key {
    let profile = Profile {
        revision: Revision::LATEST,
        capabilities: Json::empty_object(),
        client_info: json(r#"{"name":"test","version":"1"}"#),
    };
    let mut parts = KeyParts {
        upstream: "fast-time".into(),
        scope: Scope::Shared,
        credential: Fingerprint::NONE,
        profile: Arc::new(profile),
    };
    change(&mut parts);
    Key::new(parts)
}

// === Time ===

/// Lets every task go on until all of them wait.
pub(crate) async fn settle() {
    pass(Duration::from_millis(1)).await;
}

/// Lets time pass, and everything happen that it brings.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A deadline that no test reaches by chance.
pub(crate) fn tomorrow() -> Instant {
    Instant::now() + secs(24 * 3600)
}

// === What goes on beside the test ===

/// Something that goes on in a task of its own. Dropping it gives it up.
pub(crate) struct Underway<T> {
    task: JoinSet<T>,
    done: Option<T>,
}

impl<T: Send + 'static> Underway<T> {
    pub(crate) fn start(future: impl Future<Output = T> + Send + 'static) -> Self {
        let mut task = JoinSet::new();
        task.spawn(future);
        Self { task, done: None }
    }

    /// Whether it is done once everything has settled.
    pub(crate) async fn is_done(&mut self) -> bool {
        settle().await;
        if let Some(done) = self.task.try_join_next() {
            self.done = Some(done.expect("the task does not panic"));
        }
        self.done.is_some()
    }

    /// Waits for its outcome.
    pub(crate) async fn outcome(mut self) -> T {
        if let Some(done) = self.done {
            return done;
        }
        let done = self.task.join_next().await.expect("there is one task");
        done.expect("the task does not panic")
    }
}

/// A caller in line for a lease.
pub(crate) type Asking<L = MockLink> = Underway<Result<Lease<L>, AcquireError>>;

/// A call on its way.
pub(crate) type Calling = Underway<Result<Response, CallError>>;

/// Asks for a lease and does not wait for it.
pub(crate) fn ask<C: Connect<Target = Key>>(pool: &Pool<C>, key: &Key) -> Asking<C::Link> {
    ask_until(pool, key, tomorrow())
}

pub(crate) fn ask_until<C: Connect<Target = Key>>(
    pool: &Pool<C>,
    key: &Key,
    deadline: Instant,
) -> Asking<C::Link> {
    let (pool, key) = (pool.clone(), key.clone());
    Underway::start(async move { pool.acquire(&key, deadline).await })
}

impl<L: Link> Asking<L> {
    pub(crate) async fn lease(self) -> Lease<L> {
        self.outcome().await.expect("there is a session")
    }

    pub(crate) async fn refusal(self) -> AcquireError {
        self.outcome().await.expect_err("there is no session")
    }
}

/// Makes a call and does not wait for its answer.
pub(crate) fn call<L: Link>(session: &Session<L>, request: &Request) -> Calling {
    let mut call = session.call(request);
    Underway::start(async move { call.answer().await })
}

impl Calling {
    pub(crate) async fn answer(self) -> Response {
        self.outcome().await.expect("the upstream answers")
    }

    pub(crate) async fn failure(self) -> CallError {
        self.outcome().await.expect_err("the call fails")
    }
}

/// A lease at once, from a pool whose upstream lets everybody in.
pub(crate) async fn lease<C: Connect<Target = Key>>(pool: &Pool<C>, key: &Key) -> Lease<C::Link> {
    pool.acquire(key, tomorrow()).await.expect("there is a session")
}

/// A lease and the upstream's end of its new session.
pub(crate) async fn open<C: Connect<Target = Key>>(
    pool: &Pool<C>,
    upstream: &mut MockUpstream,
    key: &Key,
) -> (Lease<C::Link>, MockPeer) {
    let asking = ask(pool, key);
    let peer = upstream.accept().await;
    (asking.lease().await, peer)
}

// === Messages ===

pub(crate) fn request(id: impl Into<RequestId>) -> Request {
    Request::new(&id.into(), "tools/call", None)
}

/// Reads a message that is written out.
pub(crate) fn read(text: &str) -> Message {
    Message::parse(text.to_owned()).expect("it is a message")
}

pub(crate) fn read_request(text: &str) -> Request {
    let Message::Request(request) = read(text) else { panic!("{text} is no request") };
    request
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text.to_owned()).expect("it is JSON")
}

/// The ids that the upstream has been told to cancel, among what it has
/// heard and not looked at.
pub(crate) async fn cancelled(peer: &mut MockPeer) -> Vec<RequestId> {
    settle().await;
    let heard = peer.heard_so_far().into_iter();
    heard
        .filter_map(|heard| match heard {
            Heard::Notification(notification) => notification.cancelled_id(),
            _ => None,
        })
        .collect()
}

/// Whether the upstream has heard a goodbye, among what it has not looked at.
pub(crate) async fn has_heard_goodbye(peer: &mut MockPeer) -> bool {
    settle().await;
    peer.heard_so_far().iter().any(|heard| matches!(heard, Heard::Goodbye))
}

// === Books ===

/// What the pool holds, over all upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Books {
    pub(crate) keys: usize,
    pub(crate) sessions: usize,
    pub(crate) opening: usize,
    pub(crate) leases: usize,
    pub(crate) waiters: usize,
}

/// A pool that holds nothing.
pub(crate) const EMPTY: Books = Books { keys: 0, sessions: 0, opening: 0, leases: 0, waiters: 0 };

pub(crate) fn books<C: Connect<Target = Key>>(pool: &Pool<C>) -> Books {
    let mut books = EMPTY;
    for upstream in pool.snapshot().upstreams {
        books.keys += upstream.keys;
        books.sessions += upstream.sessions;
        books.opening += upstream.opening;
        books.leases += upstream.leases;
        books.waiters += upstream.waiters;
    }
    books
}

/// How many sessions have ended for this reason.
pub(crate) fn ends<C: Connect<Target = Key>>(pool: &Pool<C>, reason: &str) -> u64 {
    let upstreams = pool.snapshot().upstreams;
    let ends = upstreams.iter().flat_map(|upstream| &upstream.ends);
    ends.filter(|(label, _)| *label == reason).map(|(_, count)| count).sum()
}

// === Upstreams that need no telling ===

/// Lets everybody in and keeps their sessions until they say goodbye. Never
/// answers a call. Gives how many sessions it has at most had at once.
pub(crate) fn let_in(mut upstream: MockUpstream) -> Underway<usize> {
    Underway::start(async move {
        let (mut peers, mut most) = (Vec::<MockPeer>::new(), 0);
        while let Some(opening) = upstream.opening().await {
            let mut peer = opening.accept();
            peer.shake_hands().await;
            peers.retain_mut(|peer| {
                !peer.heard_so_far().iter().any(|heard| matches!(heard, Heard::Goodbye))
            });
            peers.push(peer);
            most = most.max(peers.len());
        }
        most
    })
}
