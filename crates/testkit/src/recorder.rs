//! What has reached an upstream, for tests that ask.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Method, StatusCode};
use wharf_proto::{
    Notification, Request, Response, method,
    server::{Backend, Caller, Opening},
};

/// How often what has reached an upstream since it was first started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    http: BTreeMap<String, u64>,
    rpc: BTreeMap<String, u64>,
    statuses: BTreeMap<u16, u64>,
}

/// The books, shared by those who write them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Requests>>);

/// A backend with a recorder before it.
pub(crate) struct Recorded<B> {
    backend: Arc<B>,
    tally: Tally,
}

// === impl Requests ===

impl Requests {
    /// How many HTTP requests of that method there were: `POST`, `DELETE`.
    #[must_use]
    pub fn http(&self, method: &Method) -> u64 {
        self.http.get(method.as_str()).copied().unwrap_or_default()
    }

    /// How many JSON-RPC requests and notifications of that method got past
    /// the transport: `initialize`, `tools/call`.
    #[must_use]
    pub fn rpc(&self, method: &str) -> u64 {
        self.rpc.get(method).copied().unwrap_or_default()
    }

    /// How many HTTP requests were answered with that status.
    #[must_use]
    pub fn answered(&self, status: StatusCode) -> u64 {
        self.statuses.get(&status.as_u16()).copied().unwrap_or_default()
    }
}

// === impl Tally ===

impl Tally {
    pub(crate) fn so_far(&self) -> Requests {
        self.books().clone()
    }

    pub(crate) fn http(&self, method: &Method) {
        count(&mut self.books().http, method.as_str());
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        *self.books().statuses.entry(status.as_u16()).or_default() += 1;
    }

    fn rpc(&self, method: &str) {
        count(&mut self.books().rpc, method);
    }

    fn books(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().expect("no one panics while holding it")
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    // The name is there but for the first time, and then needs no copy.
    match counts.get_mut(name) {
        Some(times) => *times += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

// === impl Recorded ===

impl<B> Recorded<B> {
    pub(crate) const fn new(backend: Arc<B>, tally: Tally) -> Self {
        Self { backend, tally }
    }
}

impl<B: Backend> Backend for Recorded<B> {
    type Session = B::Session;
    type Exchange = B::Exchange;
    type Feed = B::Feed;

    fn open(
        &self,
        hello: Request,
        caller: Caller<'_>,
    ) -> impl Future<Output = Opening<B::Session>> + Send {
        self.tally.rpc(method::INITIALIZE);
        self.backend.open(hello, caller)
    }

    fn call(&self, session: &Arc<B::Session>, request: Request, caller: Caller<'_>) -> B::Exchange {
        self.tally.rpc(request.method());
        self.backend.call(session, request, caller)
    }

    fn notify(
        &self,
        session: &Arc<B::Session>,
        notification: Notification,
    ) -> impl Future<Output = ()> + Send {
        self.tally.rpc(notification.method());
        self.backend.notify(session, notification)
    }

    fn respond(
        &self,
        session: &Arc<B::Session>,
        response: Response,
    ) -> impl Future<Output = ()> + Send {
        self.backend.respond(session, response)
    }

    fn listen(&self, session: &Arc<B::Session>) -> B::Feed {
        self.backend.listen(session)
    }

    fn close(&self, session: &Arc<B::Session>) -> impl Future<Output = ()> + Send {
        self.backend.close(session)
    }

    fn anonymous(&self) -> Option<Arc<B::Session>> {
        self.backend.anonymous()
    }
}

impl<B> fmt::Debug for Recorded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded(..)")
    }
}
