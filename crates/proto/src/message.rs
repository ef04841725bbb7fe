//! JSON-RPC messages, parsed once and kept as they were written.
//!
//! A message holds its own text and knows where in it the id, the method, the
//! parameters, the result or the error stand. To forward it with another id
//! is to replace those few bytes; everything else, unknown members included,
//! goes on as it came.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use memchr::memmem::Finder;

mod build;
mod members;
mod parse;
mod rewrite;
#[cfg(test)]
mod tests;

pub use build::ErrorObject;
pub use rewrite::Rewrite;

use crate::{Json, ProgressToken, RequestId, Revision, Text, method};

/// What one HTTP body or one event may hold.
#[derive(Debug, Clone)]
pub enum Body {
    /// One message.
    Single(Message),
    /// Several messages (2025-03-26 only); never empty.
    Batch(Vec<Message>),
}

/// The word by which progress is asked for.
static TOKEN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("progressToken"));

/// A JSON-RPC message.
#[derive(Debug, Clone)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Is one.
    Response(Response),
}

/// A message that wants an answer. Clones share it: a call is known in more
/// than one place while it is under way.
#[derive(Clone)]
pub struct Request(Arc<Asked>);

/// What is asked.
struct Asked {
    text: Bytes,
    id: RequestId,
    id_at: Range<usize>,
    method: Text,
    params: Option<Json>,
}

/// A message that wants no answer.
#[derive(Clone)]
pub struct Notification {
    text: Bytes,
    method: Text,
    params: Option<Json>,
}

/// The answer to a request.
#[derive(Clone)]
pub struct Response {
    text: Bytes,
    /// `None` where the peer could not read the id of what it answers.
    id: Option<RequestId>,
    id_at: Option<Range<usize>>,
    outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was done.
    Result(Json),
    /// It was not: `code`, `message` and perhaps `data`.
    Error(Json),
}

// === impl Message ===

impl Message {
    /// The message's text, for the wire.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        match self {
            Self::Request(request) => request.text(),
            Self::Notification(notification) => notification.text(),
            Self::Response(response) => response.text(),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Notification> for Message {
    fn from(notification: Notification) -> Self {
        Self::Notification(notification)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

// === impl Request ===

impl Request {
    fn of(asked: Asked) -> Self {
        Self(Arc::new(asked))
    }

    /// The message's text, for the wire.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.0.text
    }

    /// The id that the answer will carry.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.0.id
    }

    /// What is to be done.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// What to do it with, as it was written.
    #[must_use]
    pub fn params(&self) -> Option<&Json> {
        self.0.params.as_ref()
    }

    /// A member of the parameters.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Json> {
        self.0.params.as_ref()?.field(name)
    }

    /// The token by which the sender wants to hear of progress, and the part
    /// of the text where it stands.
    #[must_use]
    pub fn progress_token(&self) -> Option<(ProgressToken, Json)> {
        let params = self.0.params.as_ref()?;
        // Most requests ask for no progress, and this is on every call's way:
        // look for the word before walking the tree.
        TOKEN.find(params.as_bytes())?;
        let part = params.path(&["_meta", "progressToken"])?;
        Some((ProgressToken::from_json(&part)?, part))
    }

    /// The revision an `initialize` request asks for.
    #[must_use]
    pub fn requested_revision(&self) -> Option<Text> {
        (self.0.method == method::INITIALIZE).then(|| self.param("protocolVersion")?.to_text())?
    }

    /// Begins to change parts of the request.
    pub fn rewrite(&self) -> Rewrite<'_> {
        Rewrite::of(self)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Parameters may hold what nobody wants in a log.
        write!(f, "Request({} {:?}, {} bytes)", self.0.method, self.0.id, self.0.text.len())
    }
}

// === impl Notification ===

impl Notification {
    /// The message's text, for the wire.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// What happened.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The particulars, as they were written.
    #[must_use]
    pub const fn params(&self) -> Option<&Json> {
        self.params.as_ref()
    }

    /// A member of the parameters.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Json> {
        self.params.as_ref()?.field(name)
    }

    /// The request that a `notifications/cancelled` is about.
    #[must_use]
    pub fn cancelled_id(&self) -> Option<RequestId> {
        (self.method == method::CANCELLED)
            .then(|| RequestId::from_json(&self.param("requestId")?))?
    }

    /// The token of a `notifications/progress`, and the part of the text
    /// where it stands.
    #[must_use]
    pub fn progress_token(&self) -> Option<(ProgressToken, Json)> {
        if self.method != method::PROGRESS {
            return None;
        }
        let part = self.param("progressToken")?;
        Some((ProgressToken::from_json(&part)?, part))
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notification({}, {} bytes)", self.method, self.text.len())
    }
}

// === impl Response ===

impl Response {
    /// The message's text, for the wire.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// The id of the request it answers; `None` where the peer could not
    /// read that id.
    #[must_use]
    pub const fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// How the request ended.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The result, where there is one.
    #[must_use]
    pub const fn result(&self) -> Option<&Json> {
        match &self.outcome {
            Outcome::Result(result) => Some(result),
            Outcome::Error(_) => None,
        }
    }

    /// The error's code, where there is one.
    #[must_use]
    pub fn error_code(&self) -> Option<i64> {
        match &self.outcome {
            Outcome::Result(_) => None,
            Outcome::Error(error) => error.field("code")?.read().ok(),
        }
    }

    /// The revision that an answer to `initialize` agrees on.
    #[must_use]
    pub fn agreed_revision(&self) -> Option<Revision> {
        self.result()?.field("protocolVersion")?.to_text()?.parse().ok()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.result().is_some() { "result" } else { "error" };
        write!(f, "Response({kind} of {:?}, {} bytes)", self.id, self.text.len())
    }
}
