//! Requests to upstreams over kept connections.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;

use crate::{
    answer::Answer,
    dial::{Dial, Dialling},
    idle::{Idle, Place},
    sending::Sending,
};

/// How long the end of an answer is waited for so that its connection can be
/// used again, and how much of it is read.
const FINISH_WITHIN: Duration = Duration::from_secs(1);
const FINISH_AT_MOST: usize = 64 * 1024;

/// Sends requests over connections that are kept and used again. Clones share
/// them. Dropping the last clone closes those that are idle; an answer that is
/// still being read keeps its own.
///
/// A connection has no task while it is used: reading the answer drives it.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
}

struct Shared {
    dial: Dial,
    idle: Arc<Idle>,
}

/// How connections are made and kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientSettings {
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_connection: Duration,
    /// How many unused connections to one host are kept. With fewer than there
    /// are calls at once, those that are closed for want of room are made
    /// again for the next calls. After a burst so many files may stay open for
    /// as long as an unused connection is kept: the process needs as many as
    /// this for each host, and as many as it has clients.
    pub idle_connections_per_host: usize,
    /// Whether what an upstream sends is acknowledged at once, where the
    /// system can do that. An upstream with Nagle's algorithm on waits for it
    /// between two small packets. It is, by default.
    pub quick_ack: bool,
}

// === impl HttpClient ===

impl HttpClient {
    /// A client without connections yet. The system's certificates are read
    /// when the first https URL is dialled; where there are none, the request
    /// fails then, with [`TlsSetup`](crate::TlsSetup) for its cause.
    #[must_use]
    pub fn new(settings: &ClientSettings) -> Self {
        let dial = Dial::new(settings.connect_timeout, settings.quick_ack);
        Self { shared: Arc::new(Shared { dial, idle: Idle::new(settings) }) }
    }

    /// Sends a request; its URI is absolute. It is sent once and not again,
    /// except that a kept connection which turns out to be closed before
    /// anything was written is replaced.
    ///
    /// The error says whether the request can have run: not where no
    /// connection was made ([`Fault::Unreachable`], [`Fault::TimedOut`]),
    /// perhaps where the connection broke after that ([`Fault::Broken`]).
    ///
    /// [`Fault::Unreachable`]: wharf_proto::transport::Fault::Unreachable
    /// [`Fault::TimedOut`]: wharf_proto::transport::Fault::TimedOut
    /// [`Fault::Broken`]: wharf_proto::transport::Fault::Broken
    pub fn send(&self, request: Request<Bytes>) -> Sending {
        Sending::new(self.clone(), request)
    }

    /// Reads what is left of a body that nobody wants to read, so that its
    /// connection can be used again. To drop the body would close it.
    ///
    /// For answers that are about to end: a long one, or one that does not
    /// end soon, closes its connection after all. So does any where there is
    /// no runtime any more.
    pub fn finish(&self, body: Answer) {
        if !body.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            let reading = tokio::time::timeout(FINISH_WITHIN, read_off(body));
            self.shared.idle.tasks().spawn_on(reading, &runtime);
        }
    }

    /// Waits until no connection is left. Those that are idle close when the
    /// last clone of this client is dropped, and the others when they are done.
    /// A clone that has no connection is not waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting and nothing else.
    pub async fn closed(self) {
        let tasks = self.shared.idle.tasks().clone();
        drop(self);
        tasks.close();
        tasks.wait().await;
    }

    pub(crate) fn idle(&self) -> &Arc<Idle> {
        &self.shared.idle
    }

    /// Makes a connection.
    pub(crate) fn dial(&self, place: &Place) -> Dialling {
        self.shared.dial.dial(place.uri(), self.shared.idle.tasks().token())
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
            idle_connections_per_host: 1024,
            quick_ack: true,
        }
    }
}

async fn read_off(mut body: Answer) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > FINISH_AT_MOST {
            return;
        }
    }
}
