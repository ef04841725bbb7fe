//! Requests to upstreams over kept connections.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, rt::Executor};
use hyper_util::{
    client::legacy::{self, Client, ResponseFuture},
    rt::TokioTimer,
};
use tokio_util::task::TaskTracker;
use wharf_proto::transport::{CallError, Fate, Fault};

use crate::{
    dial::{Dial, DialTimedOut, TlsSetup, find},
    outgoing::{Outgoing, Progress},
};

/// How long the end of an answer is waited for so that its connection can be
/// used again, and how much of it is read.
const FINISH_WITHIN: Duration = Duration::from_secs(1);
const FINISH_AT_MOST: usize = 64 * 1024;

/// Sends requests over connections that are kept and used again. Clones share
/// them. Dropping the last clone closes those that are idle; an answer that is
/// still being read keeps its own.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<Dial, Outgoing>,
    tasks: TaskTracker,
}

/// How connections are made and kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientSettings {
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_connection: Duration,
    /// How many unused connections to one host are kept.
    pub idle_connections_per_host: usize,
    /// Whether what an upstream sends is acknowledged at once, where the
    /// system can do that. An upstream with Nagle's algorithm on waits for it
    /// between two small packets. It is, by default.
    pub quick_ack: bool,
}

/// A request on its way: ready when the head of the answer is there. Dropping
/// it closes the connection it was sent on.
#[must_use = "futures do nothing unless awaited"]
pub struct Sending {
    response: ResponseFuture,
    progress: Arc<Progress>,
}

// === impl HttpClient ===

impl HttpClient {
    /// A client without connections yet.
    ///
    /// # Errors
    ///
    /// [`TlsSetup`] where the settings for TLS cannot be used. The system's
    /// certificates are read when the first https URL is dialled; a request
    /// fails then where there are none.
    pub fn new(settings: &ClientSettings) -> Result<Self, TlsSetup> {
        let tasks = TaskTracker::new();
        let client = Client::builder(Connections(tasks.clone()))
            .pool_idle_timeout(settings.idle_connection)
            .pool_max_idle_per_host(settings.idle_connections_per_host)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(Dial::new(settings.connect_timeout, settings.quick_ack));
        Ok(Self { client, tasks })
    }

    /// Sends a request; its URI is absolute. It is sent once and not again,
    /// except that a kept connection which turns out to be closed before
    /// anything was written is replaced.
    ///
    /// The error says whether the request can have run: not where no
    /// connection was made ([`Fault::Unreachable`], [`Fault::TimedOut`]),
    /// perhaps where the connection broke after that ([`Fault::Broken`]).
    pub fn send(&self, request: Request<Bytes>) -> Sending {
        let (head, body) = request.into_parts();
        let (body, progress) = Outgoing::new(body);
        let response = self.client.request(Request::from_parts(head, body));
        Sending { response, progress }
    }

    /// Reads what is left of a body that nobody wants to read, so that its
    /// connection can be used again. To drop the body would close it.
    ///
    /// For answers that are about to end: a long one, or one that does not
    /// end soon, closes its connection after all.
    pub fn finish(&self, body: Incoming) {
        if !body.is_end_stream() {
            self.tasks.spawn(tokio::time::timeout(FINISH_WITHIN, read_off(body)));
        }
    }

    /// Closes the connections that are idle and waits until the others are.
    /// Waits for every clone of this client to be dropped, too.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting and nothing else.
    pub async fn closed(self) {
        let Self { client, tasks } = self;
        drop(client);
        tasks.close();
        tasks.wait().await;
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

// === impl ClientSettings ===

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_connection: Duration::from_secs(90),
            idle_connections_per_host: 256,
            quick_ack: true,
        }
    }
}

// === impl Sending ===

impl Sending {
    /// Gives the request up, and says whether the upstream can have got it: a
    /// body that has not been handed to a connection by now never is. To be
    /// dropped afterwards.
    #[must_use]
    pub fn call_off(&mut self) -> Fate {
        self.progress.call_off()
    }
}

impl Future for Sending {
    type Output = Result<Response<Incoming>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        Pin::new(&mut this.response)
            .poll(cx)
            .map_err(|error| failed(error, this.progress.call_off()))
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sending")
    }
}

/// What the client's error says about the request.
fn failed(error: legacy::Error, fate: Fate) -> CallError {
    if let Some(DialTimedOut { limit }) = find(&error) {
        return CallError::not_sent(Fault::TimedOut { step: "connect", limit: *limit });
    }
    if error.is_connect() {
        return CallError::not_sent(Fault::Unreachable { source: error.into() });
    }
    // hyper cancels a request that it has not begun to write, and no other.
    let is_unwritten = find(&error).is_some_and(hyper::Error::is_canceled);
    let fate = if is_unwritten { Fate::NotSent } else { fate };
    CallError { fate, fault: Fault::Broken { source: error.into() } }
}

async fn read_off(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > FINISH_AT_MOST {
            return;
        }
    }
}

/// Runs connections. Each ends by itself: when its peer closes it, when it
/// has been idle for too long, or when nobody can use it any more.
#[derive(Clone)]
struct Connections(TaskTracker);

impl<F> Executor<F> for Connections
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, connection: F) {
        self.0.spawn(connection);
    }
}
