//! What a scenario has on the stage: a pool, the upstream's side of it, and
//! callers who do something while it looks on.

use std::{fmt, sync::Arc};

use wharf_proto::{
    Json, Request, RequestId, Response, method,
    mock::{self, MockCall, MockPeer, MockUpstream},
};

use super::{
    Bounds, Caller, Failed, Hold, Kind, Mannered, Manners, Specimen, Underway, Who, one_call,
};

/// The pool of a kind over the mock.
pub type MockPool<K> = <K as Kind>::Pool<Mannered<<K as Kind>::Target>>;

/// A client of it.
pub type MockCaller<K> = <MockPool<K> as Specimen>::Caller;

/// A session of it, in use.
pub type MockHold<K> = <MockCaller<K> as Caller>::Hold;

/// A pool and the upstream that a scenario plays.
pub struct Stage<K: Kind> {
    /// The pool.
    pub pool: MockPool<K>,
    /// The upstream's side.
    pub upstream: MockUpstream,
    /// How its links behave.
    pub manners: Manners,
}

/// A client that asks for a session, or makes a call: it comes back with what
/// it got. Dropping what goes on is that client going away.
pub type Asking<C> = Underway<(C, Result<<C as Caller>::Hold, Failed>)>;

/// A request that is told from others by its nonce.
///
/// # Panics
///
/// Never: the nonce is written as JSON.
#[must_use]
pub fn request(nonce: &str) -> Request {
    let nonce = Json::string(nonce);
    let params = Json::parse(format!(r#"{{"name":"echo","arguments":{{"message":{nonce}}}}}"#));
    let params = params.expect("it is JSON");
    Request::new(&RequestId::from(7), method::TOOLS_CALL, Some(&params))
}

/// The nonce of a request.
pub(super) fn nonce_in(request: &Request) -> String {
    let nonce = request.params().and_then(|params| params.path(&["arguments", "message"]));
    let nonce = nonce.and_then(|nonce| nonce.to_text());
    nonce.map(|nonce| nonce.as_str().to_owned()).unwrap_or_default()
}

/// The nonce that an answer repeats.
#[must_use]
pub fn nonce_of(response: &Response) -> String {
    let nonce = response.result().and_then(|result| result.field("nonce")?.to_text());
    nonce.map(|nonce| nonce.as_str().to_owned()).unwrap_or_default()
}

/// Answers a call with its nonce.
///
/// # Panics
///
/// Never: the nonce is written as JSON.
pub fn repeat(call: MockCall) {
    let nonce = Json::string(&nonce_in(&call.request));
    call.answer(&format!(r#"{{"nonce":{nonce}}}"#));
}

/// Asks for a session and does not wait for it.
pub fn asking<C: Caller>(mut caller: C) -> Asking<C> {
    Underway::start(async move {
        let asked = caller.acquire().await;
        (caller, asked)
    })
}

/// Makes a call and does not wait for its answer.
pub fn calling<H: Hold>(hold: &Arc<H>, nonce: &str) -> Underway<Result<Response, Failed>> {
    let (hold, request) = (Arc::clone(hold), request(nonce));
    Underway::start(async move { hold.call(&request).await })
}

/// Makes one call from end to end, which has to be answered.
///
/// # Panics
///
/// Where it is not, or with another's answer.
///
/// # Cancel safety
///
/// Dropping the future is the caller giving up.
pub async fn served<C: Caller>(caller: &mut C, nonce: &str) {
    match one_call(caller, &request(nonce)).await {
        Ok(answer) => assert_eq!(nonce_of(&answer), nonce),
        Err(failed) => panic!("call {nonce:?} fails: {}", failed.text),
    }
}

// === impl Stage ===

impl<K: Kind> Stage<K> {
    /// A pool with the usual bounds but for some.
    #[must_use]
    pub fn new(change: impl FnOnce(&mut Bounds)) -> Self {
        let mut bounds = Bounds::default();
        change(&mut bounds);
        let (mock, upstream) = mock::pair();
        let manners = Manners::default();
        let pool = K::build(Mannered::new(mock, manners.clone()), &bounds);
        Self { pool, upstream, manners }
    }

    /// A pool with one session for those who may share it.
    #[must_use]
    pub fn of_one_session() -> Self {
        Self::new(|bounds| bounds.sessions_per_key = 1)
    }

    /// A client connects.
    pub fn caller(&self, who: &Who) -> MockCaller<K> {
        self.pool.caller(who)
    }

    /// A client gets the use of a new session; the upstream's end comes along.
    ///
    /// # Panics
    ///
    /// Where it does not.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is the caller giving up.
    pub async fn open(&mut self, caller: &mut MockCaller<K>) -> (MockHold<K>, MockPeer) {
        let (hold, peer) = tokio::join!(caller.acquire(), self.upstream.accept());
        (hold.expect("the upstream lets it in"), peer)
    }
}

impl<K: Kind> fmt::Debug for Stage<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}
