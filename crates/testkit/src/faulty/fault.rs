//! What can go wrong with a request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{Gate, Memory};

/// What goes wrong with a request.
///
/// Over streamable HTTP the answer to a call comes on the connection of its
/// POST. Over HTTP+SSE it comes on the session's event stream, and what is said
/// below of the answer is done to that stream, which ends the session; what is
/// said of the headers is done to the POST. A fault that makes no sense for a
/// request, such as a duplicated answer to a notification, does nothing.
///
/// Unless it says otherwise the call has run when the fault strikes, so
/// that to repeat it is a mistake which the [`Record`](super::Record) shows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// None: keeps the rules after this one from applying.
    None,
    /// It is read and nothing is ever said. The call does not run. At a
    /// connection: it is accepted and never served.
    Hang,
    /// The headers of the answer come and nothing after them.
    HangAfterHeaders,
    /// The connection is closed, in order, before the answer's headers. The
    /// call does not run.
    Close,
    /// The connection is reset before the answer's headers.
    ResetBeforeHeaders,
    /// The connection is reset after the answer's headers.
    ResetAfterHeaders,
    /// The connection is reset in the middle of the answer's event.
    ResetMidEvent,
    /// The connection is reset in the middle of the answer's JSON body.
    ResetMidJson,
    /// The answer's event stream ends, in order, without the answer.
    EndWithoutAnswer,
    /// It is refused with an HTTP status. The call does not run.
    Status(Status),
    /// The session is forgotten and it is said so. The call does not run.
    SessionGone(Dress),
    /// It is answered with a JSON-RPC error. The call does not run.
    Error {
        /// The JSON-RPC code.
        code: i64,
        /// What went wrong.
        message: String,
    },
    /// The answer comes under this content type.
    WrongContentType(String),
    /// The answer is cut off, and is not JSON any more.
    Malformed,
    /// The answer is at least so many bytes long.
    HugeEvent(usize),
    /// The answer comes byte by byte, with so long between two.
    Drip(Duration),
    /// The answer comes so much later.
    Late(Duration),
    /// The answer comes when the test says so.
    Held(Gate),
    /// The answer comes when so many requests that came after this one have
    /// been answered.
    Overtaken(usize),
    /// An answer to a request that was never made comes before the right one.
    StrangeIdFirst,
    /// An answer to a request that was never made comes in place of the right
    /// one.
    StrangeIdInstead,
    /// The answer comes twice.
    Twice,
    /// The upstream dies, as by [`Faulty::crash`](super::Faulty::crash).
    Crash,
    /// The upstream dies and is back at once.
    Restart(Memory),
}

/// A refusal at the level of HTTP.
#[derive(Debug, Clone)]
pub struct Status {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<(&'static str, String)>,
}

/// How servers say that they do not know a session. The specification's way is
/// a 404; the others are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dress {
    /// 404 and nothing else.
    #[default]
    Empty404,
    /// 404 with a JSON-RPC error of code -32001.
    NotFound404,
    /// 404 with a JSON-RPC error of code -32600.
    Invalid404,
    /// 400 with a JSON-RPC error that says "No valid session ID".
    BadRequest400,
    /// 200 with a JSON-RPC error that says "Session not found".
    NotFound200,
    /// 200 with a JSON-RPC error that says "Session terminated".
    Terminated200,
}

// === impl Fault ===

impl Fault {
    /// A refusal with a mere HTTP status.
    ///
    /// # Panics
    ///
    /// Where there can be no such status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status(Status::new(status))
    }

    /// A short name, for the record.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hang => "hang",
            Self::HangAfterHeaders => "hang after headers",
            Self::Close => "close",
            Self::ResetBeforeHeaders => "reset before headers",
            Self::ResetAfterHeaders => "reset after headers",
            Self::ResetMidEvent => "reset mid event",
            Self::ResetMidJson => "reset mid json",
            Self::EndWithoutAnswer => "end without answer",
            Self::Status(_) => "status",
            Self::SessionGone(_) => "session gone",
            Self::Error { .. } => "error",
            Self::WrongContentType(_) => "wrong content type",
            Self::Malformed => "malformed",
            Self::HugeEvent(_) => "huge event",
            Self::Drip(_) => "drip",
            Self::Late(_) => "late",
            Self::Held(_) => "held",
            Self::Overtaken(_) => "overtaken",
            Self::StrangeIdFirst => "strange id first",
            Self::StrangeIdInstead => "strange id instead",
            Self::Twice => "twice",
            Self::Crash => "crash",
            Self::Restart(_) => "restart",
        }
    }

    /// Whether it can only be done to an event stream.
    pub(super) const fn needs_event_stream(&self) -> bool {
        matches!(
            self,
            Self::HangAfterHeaders
                | Self::ResetAfterHeaders
                | Self::ResetMidEvent
                | Self::EndWithoutAnswer
                | Self::HugeEvent(_)
                | Self::StrangeIdFirst
                | Self::Twice
        )
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

// === impl Status ===

impl Status {
    /// A status without a body.
    ///
    /// # Panics
    ///
    /// Where there can be no such status.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status has three digits");
        Self { status, headers: HeaderMap::new(), body: None }
    }

    /// The same with another header, such as `www-authenticate`.
    ///
    /// # Panics
    ///
    /// Where there can be no such header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("the value fits into a header");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// The same with `Retry-After`, in whole seconds.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.header("retry-after", &wait.as_secs().to_string())
    }

    /// The same with a body.
    #[must_use]
    pub fn body(self, mime: &'static str, text: impl Into<String>) -> Self {
        Self { body: Some((mime, text.into())), ..self }
    }

    /// The same with a JSON-RPC error in the body, which names no request.
    #[must_use]
    pub fn json_rpc(self, code: i64, message: &str) -> Self {
        self.body("application/json", failure(&Value::Null, code, message).to_string())
    }
}

// === impl Dress ===

impl Dress {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::Empty404,
        Self::NotFound404,
        Self::Invalid404,
        Self::BadRequest400,
        Self::NotFound200,
        Self::Terminated200,
    ];

    /// What is said to a request of that id; `null` where it has none.
    pub(super) fn worn(self, id: &Value) -> Status {
        let (status, code, message) = match self {
            Self::Empty404 => return Status::new(404),
            Self::NotFound404 => (404, -32001, "Session not found"),
            Self::Invalid404 => (404, -32600, "Session not found"),
            Self::BadRequest400 => (400, -32000, "Bad Request: No valid session ID provided"),
            Self::NotFound200 => (200, -32600, "Session not found"),
            Self::Terminated200 => (200, -32600, "Session terminated"),
        };
        Status::new(status).body("application/json", failure(id, code, message).to_string())
    }

    /// Whether it is an answer like any other to HTTP.
    pub(super) const fn is_success(self) -> bool {
        matches!(self, Self::NotFound200 | Self::Terminated200)
    }
}

/// A response that says that a request was not done.
pub(super) fn failure(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}
