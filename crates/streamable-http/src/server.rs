//! The server half: one endpoint that takes a client's messages by POST, lets
//! the client listen by GET and ends its session by DELETE (revisions
//! 2025-03-26 to 2025-11-25, transports).

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::ready};
use http::{HeaderMap, Method, Request, Response};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wharf_http::{Body, Guard};
use wharf_proto::{Revision, header, server::Backend, transport::Cause};

mod answer;
mod calls;
mod carry;
mod check;
mod event_id;
mod events;
mod listen;
mod post;
mod replay;
mod resume;
mod session;
mod strays;
mod streams;
mod sweep;
mod table;
mod tape;

pub use replay::Replay;

use check::Rejection;
use post::Post;
use replay::Total;
use session::{InUse, Session};
use strays::Strays;
use table::Table;

/// The server half of streamable HTTP, in front of a [`Backend`].
///
/// Clones share everything. The server keeps the clients' sessions; it closes
/// one when the client deletes it, when nobody has used it for
/// [`ServerSettings::idle_session`], and when it needs the room for another.
/// Each session that the backend opened is closed once.
///
/// [`Server::shutdown`] ends everything in order. When the last clone is
/// dropped without it, whoever waits for an answer gets it, and when nobody
/// does any more, streams and calls end all the same; the backend is not told.
pub struct Server<B: Backend> {
    shared: Arc<Shared<B>>,
}

/// How a [`Server`] behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerSettings {
    /// Which `Host` and `Origin` are served.
    pub guard: Guard,
    /// The largest body taken, in bytes. 16 MiB.
    pub max_body: usize,
    /// How long nothing of a body may come, from its first byte to its last;
    /// beyond that the request is refused. Zero waits for ever. 30 s.
    pub body_timeout: Duration,
    /// In which form calls are answered.
    pub answers: Answers,
    /// Whether clients are given sessions.
    pub sessions: Sessions,
    /// After how long a silence a stream carries a comment, so that nobody on
    /// the way takes it for dead; also how long a call may say nothing before
    /// its answer becomes a stream. Zero turns both off. 15 s.
    pub keep_alive: Duration,
    /// How long a session without requests, open streams and calls under way
    /// is kept. Zero ends it as soon as it is found unused; that is looked for
    /// once a second at most. 30 min.
    pub idle_session: Duration,
    /// How many sessions are kept. Where there is no room for another, the
    /// one that has been idle for the longest makes it. 10 000.
    pub max_sessions: usize,
    /// What becomes of a call whose client goes away.
    pub on_disconnect: OnDisconnect,
    /// How many calls of one session go on without their clients. Beyond that
    /// those that have done so for the longest are dropped. All calls of
    /// clients without a session count as those of one. 256; zero keeps none.
    pub max_kept_calls: usize,
    /// How much is kept of streams that break off.
    pub replay: Replay,
}

/// In which form calls are answered, as far as the client's `Accept` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answers {
    /// As JSON where the answer is all there is to say, else as a stream.
    #[default]
    Fitting,
    /// As JSON; what is said before an answer is dropped.
    Json,
    /// As an event stream.
    EventStream,
}

/// Whether clients are given sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sessions {
    /// The answer to `initialize` carries a session id.
    #[default]
    Kept,
    /// It does not. Every request is served in [`Backend::anonymous`], nobody
    /// can listen, and a session that the backend opens is closed at once.
    None,
}

/// What becomes of a call whose client goes away before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDisconnect {
    /// It goes on, in the care of its session: a disconnect is not a
    /// cancellation (2025-03-26, transports, sending messages), also where the
    /// client has heard of no stream by which to ask for the answer. No more
    /// than [`ServerSettings::max_kept_calls`] do. A client of a revision for
    /// which a disconnect is a cancellation has its calls dropped all the same.
    #[default]
    Keep,
    /// It is dropped.
    Cancel,
}

/// What the clones of a server share.
struct Shared<B: Backend> {
    backend: Arc<B>,
    settings: ServerSettings,
    table: Table<B>,
    /// What is kept of streams.
    kept: Arc<Total>,
    /// What clients without a session have left behind.
    strays: Arc<Strays>,
    /// Calls whose client is gone, sessions being closed, the sweeper.
    tasks: TaskTracker,
    stop: CancellationToken,
    is_swept: AtomicBool,
}

/// What becomes of a request, by its head.
enum Course<B: Backend> {
    Post(Post<B>),
    Delete(InUse<B>),
    Answered(Response<Body>),
}

// === impl Server ===

impl<B: Backend> Server<B> {
    /// A server without any sessions yet.
    #[must_use]
    pub fn new(backend: Arc<B>, settings: ServerSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                backend,
                table: Table::new(settings.max_sessions),
                kept: Total::new(settings.replay.total_bytes),
                strays: Arc::default(),
                settings,
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
                is_swept: AtomicBool::new(false),
            }),
        }
    }

    /// Answers one HTTP request to the endpoint. The path is not looked at.
    ///
    /// What cannot be served is answered with the HTTP status that the
    /// specification names and a JSON-RPC error that says what to do.
    ///
    /// The head is looked at before this returns, so that the future need not
    /// keep it: the session that it names is in use from then on. The future
    /// borrows nothing, and what it needs of the server stays for as long. All
    /// requests are to be handled in one runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the body of its response, is how a client's
    /// disconnect is told: see [`ServerSettings::on_disconnect`].
    /// Notifications that were taken are delivered nevertheless; an
    /// `initialize` under way is given up.
    pub fn handle<R>(
        &self,
        request: Request<R>,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = Response<Body>> + Send + use<B, R>
    where
        R: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        Cause: From<R::Error>,
    {
        // The future has no more of the head than it needs.
        let (head, body) = request.into_parts();
        match self.shared.course(&head.method, head.headers, peer) {
            Ok(Course::Post(post)) => post.take(body).left_future(),
            Ok(Course::Delete(session)) => {
                let shared = Arc::clone(&self.shared);
                async move { shared.delete(session).await }.boxed().right_future()
            }
            Ok(Course::Answered(response)) => ready(response).boxed().right_future(),
            Err(rejection) => ready(rejection.to_response(None)).boxed().right_future(),
        }
    }

    /// How many sessions are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.table.len()
    }

    /// Ends every listening stream, so that connections can drain. Sessions
    /// and calls go on, and clients may listen again.
    pub fn end_streams(&self) {
        self.shared.table.for_each(|session| session.listening.send_away());
    }

    /// Ends the server: listening streams end, every session is closed, the
    /// calls in their care end, and clients find no new session. Returns when
    /// the backend has closed them all.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only stops the waiting.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        // Streams first: a client is better told by the end of its stream
        // than by a 404.
        self.end_streams();
        shared.stop.cancel();
        for session in shared.table.remove_all() {
            shared.end(session).leave_to_task();
        }
        shared.tasks.close();
        shared.tasks.wait().await;
    }
}

impl<B: Backend> Clone for Server<B> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<B: Backend> fmt::Debug for Server<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("settings", &self.shared.settings)
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

// === impl ServerSettings ===

impl ServerSettings {
    /// The usual settings.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self {
            guard,
            max_body: 16 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            answers: Answers::Fitting,
            sessions: Sessions::Kept,
            keep_alive: Duration::from_secs(15),
            idle_session: Duration::from_secs(30 * 60),
            max_sessions: 10_000,
            on_disconnect: OnDisconnect::Keep,
            max_kept_calls: 256,
            replay: Replay::default(),
        }
    }
}

// === impl Shared ===

impl<B: Backend> Shared<B> {
    /// Looks at a request's head.
    fn course(
        self: &Arc<Self>,
        method: &Method,
        headers: HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Result<Course<B>, Rejection> {
        self.settings.guard.check(&headers).map_err(Rejection::Forbidden)?;
        match *method {
            Method::POST => Post::begun(self, headers, peer).map(Course::Post),
            Method::GET => resume::get(self, &headers).map(Course::Answered),
            Method::DELETE => self.own_session(&headers).map(Course::Delete),
            _ => Err(self.no_such_method()),
        }
    }

    /// The session that the headers name, and no other.
    fn kept_session(&self, headers: &HeaderMap) -> Result<InUse<B>, Rejection> {
        let id = headers.get(header::SESSION_ID).ok_or(Rejection::NoSession)?;
        let session = self.table.enter(id).ok_or(Rejection::UnknownSession)?;
        // What was agreed on holds, whichever known revision the header names:
        // there are clients that always name the same. It means nothing to
        // revisions that have no such header.
        if session.revision.is_none_or(Revision::has_version_header) {
            check::revision(headers)?;
        }
        Ok(session)
    }

    /// The session that the headers name, or that of a client without one.
    fn session(&self, headers: &HeaderMap) -> Result<InUse<B>, Rejection> {
        if self.settings.sessions == Sessions::Kept && headers.contains_key(header::SESSION_ID) {
            return self.kept_session(headers);
        }
        let revision = check::revision(headers)?.unwrap_or(Revision::ASSUMED);
        let state = self.backend.anonymous().ok_or(Rejection::NoSession)?;
        let strays = Arc::clone(&self.strays);
        Ok(Session::anonymous(state, revision, strays, self.stop.clone()).enter())
    }

    /// The session of a client that wants to listen, or to go.
    fn own_session(&self, headers: &HeaderMap) -> Result<InUse<B>, Rejection> {
        let has_id = headers.contains_key(header::SESSION_ID);
        if self.settings.sessions == Sessions::None || !has_id && self.backend.anonymous().is_some()
        {
            // A client without a session has nothing to listen to or to end.
            return Err(self.no_such_method());
        }
        self.kept_session(headers)
    }

    fn no_such_method(&self) -> Rejection {
        Rejection::Method {
            allowed: match self.settings.sessions {
                Sessions::Kept => "GET, POST, DELETE",
                Sessions::None => "POST",
            },
        }
    }

    async fn delete(&self, session: InUse<B>) -> Response<Body> {
        // Of two that delete it at once, the second finds nothing.
        let Some(session) = self.table.remove(&session) else {
            return Rejection::UnknownSession.to_response(None);
        };
        self.end(session).await;
        wharf_http::empty_response(http::StatusCode::NO_CONTENT)
    }

    /// Forgets a session of which the backend says that it has ended.
    fn forget(&self, session: &Session<B>) {
        if let Some(session) = self.table.remove(session) {
            self.end(session).leave_to_task();
        }
    }

    /// Ends a session that was taken out of the table: its streams and calls
    /// at once, the backend's part when the result is awaited.
    fn end(&self, session: Arc<Session<B>>) -> carry::Carried {
        session.end();
        let backend = Arc::clone(&self.backend);
        let close = async move { backend.close(&session.state).await };
        carry::Carried::new(&self.tasks, close)
    }
}

impl<B: Backend> Drop for Shared<B> {
    fn drop(&mut self) {
        self.stop.cancel();
        self.table.remove_all().iter().for_each(|session| session.end());
    }
}
