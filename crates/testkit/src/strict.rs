//! A server that speaks one revision and takes nothing that it does not have.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use wharf_proto::{
    ErrorObject, Message, Notification, Request, Response, Revision, code, method,
    server::{Backend, Caller, Opening, Refusal, Reply},
    transport::Exchange,
};

/// A server that is held to one revision: it agrees on that one whatever a
/// client asks for, refuses requests that the revision does not have, and
/// counts them and notifications of that kind.
pub struct Strict<B> {
    backend: B,
    revision: Revision,
    unknown: AtomicU64,
}

/// A call of a [`Strict`] server.
#[derive(Debug)]
pub enum StrictExchange<E> {
    /// One that the revision has.
    Known(E),
    /// One that it does not have.
    Unknown(Reply),
}

/// What clients may request, and since when.
const REQUESTS: [(&str, Revision); 17] = [
    (method::INITIALIZE, Revision::V2024_11_05),
    (method::PING, Revision::V2024_11_05),
    (method::TOOLS_LIST, Revision::V2024_11_05),
    (method::TOOLS_CALL, Revision::V2024_11_05),
    (method::PROMPTS_LIST, Revision::V2024_11_05),
    (method::PROMPTS_GET, Revision::V2024_11_05),
    (method::RESOURCES_LIST, Revision::V2024_11_05),
    (method::RESOURCES_TEMPLATES_LIST, Revision::V2024_11_05),
    (method::RESOURCES_READ, Revision::V2024_11_05),
    (method::RESOURCES_SUBSCRIBE, Revision::V2024_11_05),
    (method::RESOURCES_UNSUBSCRIBE, Revision::V2024_11_05),
    (method::COMPLETE, Revision::V2024_11_05),
    (method::SET_LEVEL, Revision::V2024_11_05),
    (method::TASKS_GET, Revision::V2025_11_25),
    (method::TASKS_RESULT, Revision::V2025_11_25),
    (method::TASKS_LIST, Revision::V2025_11_25),
    (method::TASKS_CANCEL, Revision::V2025_11_25),
];

/// What clients may tell, and since when.
const NOTIFICATIONS: [(&str, Revision); 5] = [
    (method::INITIALIZED, Revision::V2024_11_05),
    (method::CANCELLED, Revision::V2024_11_05),
    (method::PROGRESS, Revision::V2024_11_05),
    (method::ROOTS_LIST_CHANGED, Revision::V2024_11_05),
    (method::TASKS_STATUS, Revision::V2025_11_25),
];

// === impl Strict ===

impl<B> Strict<B> {
    /// Holds a server to a revision.
    pub const fn new(backend: B, revision: Revision) -> Self {
        Self { backend, revision, unknown: AtomicU64::new(0) }
    }

    /// How many messages came that the revision does not have.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    fn has(&self, known: &[(&str, Revision)], method: &str) -> bool {
        let has = known.iter().any(|(name, since)| *name == method && *since <= self.revision);
        if !has {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
        has
    }
}

impl<B: Backend> Backend for Strict<B> {
    type Session = B::Session;
    type Exchange = StrictExchange<B::Exchange>;
    type Feed = B::Feed;

    async fn open(&self, hello: Request, caller: Caller<'_>) -> Opening<B::Session> {
        let Some(asked) = hello.param("protocolVersion") else {
            return self.backend.open(hello, caller).await;
        };
        let own = wharf_proto::Json::string(self.revision.as_str());
        self.backend.open(hello.rewrite().replace(&asked, &own).finish(), caller).await
    }

    fn call(
        &self,
        session: &Arc<B::Session>,
        request: Request,
        caller: Caller<'_>,
    ) -> Self::Exchange {
        if self.has(&REQUESTS, request.method()) {
            return StrictExchange::Known(self.backend.call(session, request, caller));
        }
        let what = format!("{} has no {}", self.revision, request.method());
        let error = ErrorObject::new(code::METHOD_NOT_FOUND, what);
        StrictExchange::Unknown(Reply::ready(Response::failure(Some(request.id()), &error)))
    }

    async fn notify(&self, session: &Arc<B::Session>, notification: Notification) {
        if self.has(&NOTIFICATIONS, notification.method()) {
            self.backend.notify(session, notification).await;
        }
    }

    async fn respond(&self, session: &Arc<B::Session>, response: Response) {
        self.backend.respond(session, response).await;
    }

    fn listen(&self, session: &Arc<B::Session>) -> B::Feed {
        self.backend.listen(session)
    }

    async fn close(&self, session: &Arc<B::Session>) {
        self.backend.close(session).await;
    }

    fn anonymous(&self) -> Option<Arc<B::Session>> {
        self.backend.anonymous()
    }
}

impl<B> fmt::Debug for Strict<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Strict({})", self.revision)
    }
}

// === impl StrictExchange ===

impl<E: Exchange<Error = Refusal>> Exchange for StrictExchange<E> {
    type Error = Refusal;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Refusal>> {
        match self {
            Self::Known(exchange) => exchange.poll_next(cx),
            Self::Unknown(reply) => reply.poll_next(cx),
        }
    }
}
