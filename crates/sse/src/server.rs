//! The server half: a stream to each client, and the POSTs beside it.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wharf_http::{Body, CollectError, Guard, accepts, collect, is_json, unguessable};
use wharf_proto::{
    Message, SessionId,
    header::{EVENT_STREAM, X_ACCEL_BUFFERING},
    server::Backend,
};

mod deliver;
mod refusal;
mod registry;
mod session;
mod stream;

use refusal::Refusal;
use registry::Registry;
use session::{Places, Session};
use stream::EventBody;

/// What a server half is held to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerSettings {
    /// Which hosts and origins are served.
    pub guard: Guard,
    /// The path that takes messages; each client is told it with its session
    /// in the query.
    pub messages_path: String,
    /// How large one POST may be, in bytes; 16 MiB by default.
    pub max_body: usize,
    /// How long nothing of a POST's body may come, from its first byte to its
    /// last; beyond that it is refused. 30 s by default; zero waits for ever.
    pub body_timeout: Duration,
    /// How often a comment shows that a stream is alive; 15 s by default, and
    /// never where it is zero.
    pub keep_alive: Duration,
    /// How many sessions there may be at once; 10 000 by default.
    pub max_sessions: usize,
    /// How many calls one session may have under way at once; 1024 by
    /// default. A call counts until its answer has gone into the stream, so
    /// that a client which does not read is refused more.
    pub max_calls: usize,
}

/// The server half of this transport, for one [`Backend`]. Clones share their
/// sessions.
///
/// It has two routes and no listener of its own: [`Server::open`] for the GET
/// of the event stream and [`Server::post`] for messages. A session is its
/// stream. When the client goes away, or the stream is ended here, the calls
/// under way are dropped and the backend is told to close the session.
///
/// Dropping the last clone ends no session; [`Server::shutdown`] does.
pub struct Server<B: Backend>(Arc<Shared<B>>);

struct Shared<B: Backend> {
    backend: Arc<B>,
    settings: ServerSettings,
    sessions: Registry<B::Session>,
    /// One task a session, which sees to its end.
    keepers: TaskTracker,
    /// No session is opened any more, and each ends when nobody waits for an
    /// answer in it.
    draining: CancellationToken,
    /// The parent of every session's own token.
    stopping: CancellationToken,
}

/// Where a message came from, for as long as it is being delivered.
struct Sender {
    headers: HeaderMap,
    peer: Option<SocketAddr>,
}

// === impl ServerSettings ===

impl ServerSettings {
    /// Settings with the defaults above.
    pub fn new(guard: Guard, messages_path: impl Into<String>) -> Self {
        Self {
            guard,
            messages_path: messages_path.into(),
            max_body: 16 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            max_sessions: 10_000,
            max_calls: 1024,
        }
    }
}

// === impl Server ===

impl<B: Backend> Server<B> {
    /// A server half without sessions.
    #[must_use]
    pub fn new(backend: Arc<B>, settings: ServerSettings) -> Self {
        Self(Arc::new(Shared {
            backend,
            sessions: Registry::new(settings.max_sessions),
            settings,
            keepers: TaskTracker::new(),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// Answers the GET that opens an event stream, and with it a session.
    ///
    /// The first event says where to send messages. Refused are hosts and
    /// origins that are not served (403), other methods (405), a client that
    /// does not accept event streams (406), and one session too many, or any
    /// once the server stops (503).
    ///
    /// # Cancel safety
    ///
    /// Nothing is awaited. Dropping the answer, or its body, ends the session.
    pub async fn open(
        &self,
        request: Request<Incoming>,
        _peer: Option<SocketAddr>,
    ) -> Response<Body> {
        self.begin(&request).unwrap_or_else(|refusal| refusal.response())
    }

    /// Answers the POST of a message: 202 as soon as it is taken, since what
    /// it leads to goes onto the stream.
    ///
    /// Refused are hosts and origins that are not served (403), other methods
    /// (405), other content than JSON (415), a request without a session (400)
    /// or of an unknown one (404), a body that is too large (413), does not come
    /// (408) or is no JSON-RPC (400, with a JSON-RPC error), and more calls than may be under
    /// way (503, with a JSON-RPC error; nothing of a batch is taken then).
    ///
    /// # Cancel safety
    ///
    /// A message is taken whole or not at all; the messages of a batch one by
    /// one.
    pub async fn post(
        &self,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Response<Body> {
        match self.take(request, peer).await {
            Ok(()) => {
                let mut response = Response::new(Body::full("Accepted"));
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
            Err(refusal) => refusal.response(),
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// Opens no more streams, and ends each as soon as no call of its client's
    /// is under way; those without calls at once.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Ends every stream, after what is already on its way to the client, and
    /// opens no more: then connections can drain. As a session is its stream,
    /// this ends the sessions too.
    pub fn end_streams(&self) {
        self.0.stopping.cancel();
    }

    /// Ends every stream and waits until the backend has closed every session.
    ///
    /// # Cancel safety
    ///
    /// Sessions go on closing when the future is dropped; it can be called
    /// again.
    pub async fn shutdown(&self) {
        self.end_streams();
        self.0.keepers.close();
        self.0.keepers.wait().await;
    }

    fn begin(&self, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let shared = &self.0;
        shared.settings.guard.check(request.headers())?;
        if request.method() != Method::GET {
            return Err(Refusal::Method { allowed: "GET" });
        }
        if !accepts(request.headers(), EVENT_STREAM) {
            return Err(Refusal::NotAcceptable);
        }
        if shared.draining.is_cancelled() || shared.stopping.is_cancelled() {
            return Err(Refusal::Full);
        }
        let (session, outbox) =
            Session::new(shared.stopping.child_token(), shared.settings.max_calls);
        let session = Arc::new(session);
        let id = unguessable();
        if !shared.sessions.insert(id.clone(), &session) {
            return Err(Refusal::Full);
        }
        let endpoint = shared.settings.endpoint(&id);
        let body =
            EventBody::new(&endpoint, outbox, session.ended().clone(), shared.settings.keep_alive);
        shared.keepers.spawn(Arc::clone(shared).keep(id, session));
        Ok(event_stream(body))
    }

    async fn take(
        &self,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Result<(), Refusal> {
        let shared = &self.0;
        shared.settings.guard.check(request.headers())?;
        if request.method() != Method::POST {
            return Err(Refusal::Method { allowed: "POST" });
        }
        if !is_json(request.headers()) {
            return Err(Refusal::NotJson);
        }
        let id = session_id(request.uri().query()).ok_or(Refusal::NoSession)?;
        let session = shared.sessions.find(id).ok_or(Refusal::UnknownSession)?;
        let (head, body) = request.into_parts();
        let body = collect(body, shared.settings.max_body).within(shared.settings.body_timeout);
        let body = body.await.map_err(|error| match error {
            CollectError::TooLarge { .. } => Refusal::TooLarge,
            CollectError::Broken { .. } => Refusal::CutOff,
            CollectError::TimedOut { .. } => Refusal::Late,
        })?;
        let body = wharf_proto::Body::parse(body)?;
        let sender = Sender { headers: head.headers, peer };
        // Held while messages are handed over: the backend must not hear of a
        // session after it was told to close it.
        let _entry = session.enter().ok_or(Refusal::UnknownSession)?;
        let messages = match body {
            wharf_proto::Body::Single(message) => vec![message],
            wharf_proto::Body::Batch(messages) => messages,
        };
        let mut places = places(&session, &messages)?;
        for message in messages {
            shared.deliver(&session, message, &mut places, &sender).await;
        }
        Ok(())
    }
}

impl<B: Backend> Clone for Server<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> fmt::Debug for Server<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("settings", &self.0.settings)
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

impl ServerSettings {
    fn endpoint(&self, id: &SessionId) -> String {
        let path = &self.messages_path;
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}session_id={}", id.expose())
    }
}

impl<B: Backend> Shared<B> {
    /// Waits for a session's end and clears up after it.
    async fn keep(self: Arc<Self>, id: SessionId, session: Arc<Session<B::Session>>) {
        let drained = async {
            self.draining.cancelled().await;
            session.wait_for_answers().await;
        };
        tokio::select! {
            () = session.ended().cancelled() => {}
            () = drained => session.ended().cancel(),
        }
        self.sessions.remove(&id);
        session.wait_for_calls().await;
        if let Some(open) = session.close() {
            self.backend.close(&open).await;
        }
    }
}

/// Room for every call among the messages, or for none.
fn places<S>(session: &Session<S>, messages: &[Message]) -> Result<Places, Refusal> {
    let calls = messages.iter().filter(|message| matches!(message, Message::Request(_))).count();
    session.admit(calls).ok_or_else(|| Refusal::Busy {
        id: match messages {
            [Message::Request(only)] => Some(only.id().clone()),
            _ => None,
        },
    })
}

fn event_stream(body: EventBody) -> Response<Body> {
    let mut response = Response::new(Body::stream(body));
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, EVENT_STREAM);
    set(header::CACHE_CONTROL, "no-cache, no-transform");
    set(X_ACCEL_BUFFERING, "no");
    response
}

/// The session that a query names. Ids are made here and need no decoding.
fn session_id(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("session_id="))
}
