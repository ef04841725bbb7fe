//! The client half: calls to an upstream, each with an answer of its own.
//!
//! [`open`] makes a link and does no I/O; the first call finds out whether
//! the upstream is there. A call is one POST, and what the upstream says in
//! relation to it comes in the answer to that POST and nowhere else. What it
//! says unasked comes from the link's [`HttpFeed`].

use std::{fmt, future::Future, sync::Arc, time::Duration};

use wharf_http::{HttpClient, Target};
use wharf_proto::{
    Notification, Request, Response, Revision,
    transport::{CallError, Connect, EndReason, Link},
};

mod common;
mod cursor;
mod exchange;
mod feed;
mod refusal;
mod wire;

pub use exchange::HttpExchange;
pub use feed::HttpFeed;

use common::Common;
use wire::Wire;

/// A link to an upstream over streamable HTTP.
///
/// Dropping it tells the upstream nothing: see [`Link::goodbye`].
pub struct HttpLink(Arc<Wire>);

/// Opens links to one upstream, which share what they have in common, its URL
/// and its credentials among it: many take less memory than by [`open`]. Clones
/// are the same. Links outlive it.
#[derive(Clone)]
pub struct Opener(Arc<Common>);

/// Opens links with one [`HttpClient`], to any upstream: they have nothing else
/// in common.
#[derive(Debug, Clone)]
pub struct Connector {
    http: HttpClient,
    settings: ClientSettings,
}

/// The limits of a link.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientSettings {
    /// How large a message of the upstream's may be, in bytes.
    pub max_message: usize,
    /// How often in succession a broken answer is asked for again without
    /// anything new coming, where the upstream lets it be resumed. New is an
    /// event with data, or with another id than the last.
    pub resume_attempts: u32,
    /// How long to wait before a stream is opened again that ended without
    /// having said how long. Doubles with each time in succession that
    /// nothing came.
    pub reopen_after: Duration,
    /// How long to wait at most, unless the upstream asks for longer
    /// (`retry`); for more than five minutes it asks in vain. A tenth of a
    /// second is the least.
    pub reopen_at_most: Duration,
}

/// Makes a link to `target`, and the feed that belongs to it. Does no I/O. For
/// many links to one upstream there is [`Opener`].
#[must_use]
pub fn open(http: HttpClient, target: Target, settings: ClientSettings) -> (HttpLink, HttpFeed) {
    Opener::new(http, target, settings).open()
}

// === impl Opener ===

impl Opener {
    /// Opens links to `target` over the connections of `http`.
    #[must_use]
    pub fn new(http: HttpClient, target: Target, settings: ClientSettings) -> Self {
        Self(Common::new(http, target, settings))
    }

    /// Makes a link, and the feed that belongs to it. Does no I/O.
    #[must_use]
    pub fn open(&self) -> (HttpLink, HttpFeed) {
        let wire = Arc::new(Wire::new(Arc::clone(&self.0)));
        (HttpLink(Arc::clone(&wire)), HttpFeed::new(wire))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({:?})", self.0.target.endpoint)
    }
}

// === impl Connector ===

impl Connector {
    /// Opens links over the connections of `http`.
    #[must_use]
    pub const fn new(http: HttpClient, settings: ClientSettings) -> Self {
        Self { http, settings }
    }
}

impl Connect for Connector {
    type Target = Target;
    type Link = HttpLink;
    type Feed = HttpFeed;

    fn connect(
        &self,
        target: &Target,
    ) -> impl Future<Output = Result<(HttpLink, HttpFeed), CallError>> + Send {
        let opened = open(self.http.clone(), target.clone(), self.settings.clone());
        std::future::ready(Ok(opened))
    }
}

// === impl ClientSettings ===

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            max_message: 16 * 1024 * 1024,
            resume_attempts: 3,
            reopen_after: Duration::from_millis(250),
            reopen_at_most: Duration::from_secs(30),
        }
    }
}

// === impl HttpLink ===

impl Link for HttpLink {
    type Exchange = HttpExchange;

    fn call(&self, request: Request) -> HttpExchange {
        HttpExchange::new(Arc::clone(&self.0), request)
    }

    async fn notify(&self, notification: Notification) -> Result<(), CallError> {
        self.0.tell(notification.text().clone()).await
    }

    async fn respond(&self, response: Response) -> Result<(), CallError> {
        self.0.tell(response.text().clone()).await
    }

    fn agree(&self, revision: Revision) {
        self.0.agree(revision);
    }

    fn listen(&self) {
        self.0.listen();
    }

    /// Why no call can be made any more. One that is under way does not hear
    /// of it, and may still be answered; an answer that breaks off afterwards
    /// is not resumed.
    fn end_reason(&self) -> Option<EndReason> {
        self.0.ended().cloned()
    }

    /// Whether the upstream gave a session id with its answer to
    /// `initialize`; before that it is not known and `false`.
    fn has_session(&self) -> bool {
        self.0.has_session()
    }

    async fn goodbye(&self) {
        if self.0.end(EndReason::Closed) {
            self.0.delete().await;
        }
    }
}

impl fmt::Debug for HttpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpLink").field(&self.0).finish()
    }
}
