//! One HTTP request on record.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// An HTTP request that has reached the upstream, and what became of it.
#[derive(Clone)]
pub struct Arrival {
    pub(super) number: usize,
    pub(super) at: Duration,
    connection: u64,
    http: Method,
    path: String,
    headers: Arc<HeaderMap>,
    message: Option<Arc<Value>>,
    pub(super) session: Option<u64>,
    fault: &'static str,
    pub(super) status: Option<StatusCode>,
    pub(super) ran: Option<Duration>,
    pub(super) answered: Option<Duration>,
    pub(super) is_cancelled: bool,
    pub(super) is_abandoned: bool,
}

// === impl Arrival ===

impl Arrival {
    pub(in super::super) fn new(
        connection: u64,
        request: &super::super::request::Request,
        message: Option<Arc<Value>>,
        session: Option<u64>,
    ) -> Self {
        Self {
            number: 0,
            at: Duration::ZERO,
            connection,
            http: request.method.clone(),
            path: request.path.clone(),
            headers: Arc::clone(&request.headers),
            message,
            session,
            fault: "none",
            status: None,
            ran: None,
            answered: None,
            is_cancelled: false,
            is_abandoned: false,
        }
    }

    pub(in super::super) fn with_fault(self, fault: &'static str) -> Self {
        Self { fault, ..self }
    }

    /// Its place among all requests, counted from 0: the index of
    /// [`Seen::requests`](super::Seen::requests).
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// When it came, since the upstream's first start.
    #[must_use]
    pub const fn at(&self) -> Duration {
        self.at
    }

    /// The connection it came by, counted from 1.
    #[must_use]
    pub const fn connection(&self) -> u64 {
        self.connection
    }

    /// Its HTTP method.
    #[must_use]
    pub const fn http(&self) -> &Method {
        &self.http
    }

    /// Its path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its headers, such as `authorization`, `mcp-session-id`,
    /// `mcp-protocol-version` and `last-event-id`.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a header, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The session it belongs to, counted from 1 in the order of opening;
    /// `None` where it names none or one that is not known. `initialize`
    /// belongs to the session that it opens.
    #[must_use]
    pub const fn session(&self) -> Option<u64> {
        self.session
    }

    /// The JSON-RPC message in its body.
    #[must_use]
    pub fn message(&self) -> Option<&Value> {
        self.message.as_deref()
    }

    /// The method of its JSON-RPC request or notification.
    #[must_use]
    pub fn rpc(&self) -> Option<&str> {
        self.message()?.get("method")?.as_str()
    }

    /// The id of its JSON-RPC request or response.
    #[must_use]
    pub fn id(&self) -> Option<&Value> {
        self.message()?.get("id")
    }

    /// A parameter of its JSON-RPC request or notification.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&Value> {
        self.message()?.get("params")?.get(name)
    }

    /// The tool it calls.
    #[must_use]
    pub fn tool(&self) -> Option<&str> {
        (self.rpc() == Some("tools/call")).then(|| self.param("name")?.as_str())?
    }

    /// An argument of the tool it calls.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&Value> {
        self.tool().and_then(|_| self.param("arguments")?.get(name))
    }

    /// Whether it is a JSON-RPC request, and so wants an answer.
    #[must_use]
    pub fn is_call(&self) -> bool {
        self.rpc().is_some() && self.id().is_some()
    }

    /// The [name](super::super::Fault::name) of the fault that the script had
    /// for it.
    #[must_use]
    pub const fn fault(&self) -> &'static str {
        self.fault
    }

    /// The HTTP status it was answered with, once that was written.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// When the work of the call was done. What goes wrong with the answer,
    /// being held back included, goes wrong after that.
    #[must_use]
    pub const fn ran(&self) -> Option<Duration> {
        self.ran
    }

    /// When the answer was written, whole.
    #[must_use]
    pub const fn answered(&self) -> Option<Duration> {
        self.answered
    }

    /// Whether a `notifications/cancelled` has named it.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        self.is_cancelled
    }

    /// Whether the client closed its connection before it was answered.
    #[must_use]
    pub const fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} {}", self.number, self.http, self.path)?;
        if let Some(method) = self.rpc() {
            write!(f, " {method}")?;
        }
        if let Some(tool) = self.tool() {
            write!(f, " {tool}")?;
        }
        if let Some(session) = self.session {
            write!(f, " in session {session}")?;
        }
        write!(f, " ({}", self.fault)?;
        for (is_so, word) in [
            (self.ran.is_some(), "ran"),
            (self.answered.is_some(), "answered"),
            (self.is_cancelled, "cancelled"),
            (self.is_abandoned, "abandoned"),
        ] {
            if is_so {
                write!(f, ", {word}")?;
            }
        }
        f.write_str(")")
    }
}
