//! What a request has to be before the backend hears of it, and the answer to
//! one that is not (protocol: HTTP status table).

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use wharf_http::{Body, CollectError, Forbidden, accepts};
use wharf_proto::{
    ErrorObject, ParseError, RequestId, Revision, UnknownRevision, code,
    header::{EVENT_STREAM, JSON, PROTOCOL_VERSION},
};

use super::Answers;

/// Why a request is not served. The text is for whoever wrote the client: it
/// says what to do, and holds nothing that was sent as a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    #[error(transparent)]
    Forbidden(Forbidden),
    #[error("this endpoint takes {allowed}")]
    Method { allowed: &'static str },
    #[error("the answer comes as {offered}: the Accept header has to allow that")]
    NotAcceptable { offered: &'static str },
    #[error("the body has to be JSON: send it with Content-Type application/json")]
    NotJson,
    #[error(transparent)]
    Unread(CollectError),
    #[error(
        "the body is larger than the {limit} bytes that `initialize` may have, and everything \
         else needs the Mcp-Session-Id header"
    )]
    LargeHello { limit: usize },
    #[error(transparent)]
    Malformed(ParseError),
    #[error(
        "the body is an array, and the revision of this session knows no batches: \
         send each message on its own"
    )]
    Batch,
    #[error("`initialize` must not be in a batch: send it on its own")]
    BatchedInitialize,
    #[error("the MCP-Protocol-Version header is {0}: send the one that `initialize` agreed on")]
    Revision(UnknownRevision),
    #[error(
        "there is no Mcp-Session-Id header: send the one that came with the answer to \
         `initialize`, or begin with `initialize`"
    )]
    NoSession,
    #[error(
        "the session has ended or never was: begin another with `initialize`, \
         without the Mcp-Session-Id header"
    )]
    UnknownSession,
    #[error(
        "nothing can be sent again after the event that Last-Event-ID names: it is of another \
         session, its stream has been sent to its end, or it was too long ago"
    )]
    NothingKept,
    #[error("there is no room for another session now: try again later")]
    Full,
    #[error("the server is stopping: try again later")]
    Stopping,
}

/// In which form one POST is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As JSON or as a stream, whichever fits.
    Fitting,
    Json,
    EventStream,
}

/// The revision that the headers name; `None` where they name none.
pub(super) fn revision(headers: &HeaderMap) -> Result<Option<Revision>, Rejection> {
    let Some(name) = headers.get(PROTOCOL_VERSION) else {
        return Ok(None);
    };
    let name = name.to_str().map_err(|_| Rejection::Revision(UnknownRevision))?;
    name.parse().map(Some).map_err(Rejection::Revision)
}

/// Whether `Accept` is what clients mostly send, word for word.
fn takes_both(headers: &HeaderMap) -> bool {
    const USUAL: [&str; 2] =
        ["application/json, text/event-stream", "text/event-stream, application/json"];
    let mut values = headers.get_all(header::ACCEPT).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only.is_some_and(|only| USUAL.iter().any(|usual| only == usual))
}

// === impl Form ===

impl Form {
    /// What the client takes, and of that what the settings want.
    pub(super) fn of(headers: &HeaderMap, answers: Answers) -> Result<Self, Rejection> {
        let (takes_json, takes_stream) = match takes_both(headers) {
            true => (true, true),
            false => (accepts(headers, JSON), accepts(headers, EVENT_STREAM)),
        };
        let (form, offered) = match answers {
            Answers::Fitting => (
                match (takes_json, takes_stream) {
                    (true, true) => Some(Self::Fitting),
                    (true, false) => Some(Self::Json),
                    (false, true) => Some(Self::EventStream),
                    (false, false) => None,
                },
                "application/json or text/event-stream",
            ),
            Answers::Json => (takes_json.then_some(Self::Json), JSON),
            Answers::EventStream => (takes_stream.then_some(Self::EventStream), EVENT_STREAM),
        };
        form.ok_or(Rejection::NotAcceptable { offered })
    }
}

// === impl Rejection ===

impl Rejection {
    /// The answer, with the id of the request where it is known.
    pub(super) fn to_response(&self, id: Option<&RequestId>) -> Response<Body> {
        let (status, code) = self.status();
        let id = match self {
            Self::Malformed(error) => error.id(),
            _ => id,
        };
        let error = ErrorObject::new(code, self.to_string());
        let failure = wharf_proto::Response::failure(id, &error);
        let mut response = wharf_http::json_response(status, failure.text().clone());
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response
    }

    fn status(&self) -> (StatusCode, i64) {
        let status = match self {
            Self::Forbidden(forbidden) => forbidden.status(),
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unread(CollectError::TooLarge { .. }) | Self::LargeHello { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Unread(CollectError::TimedOut { .. }) => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(error) => return (StatusCode::BAD_REQUEST, error.code()),
            Self::Unread(CollectError::Broken { .. })
            | Self::Batch
            | Self::BatchedInitialize
            | Self::Revision(_)
            | Self::NoSession
            | Self::NothingKept => StatusCode::BAD_REQUEST,
            Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::Full | Self::Stopping => {
                return (StatusCode::SERVICE_UNAVAILABLE, code::INTERNAL_ERROR);
            }
        };
        (status, code::INVALID_REQUEST)
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method { allowed } => Some((header::ALLOW, HeaderValue::from_static(allowed))),
            // In seconds. Idle sessions make room as they come, so that there
            // is none only while all are in use.
            Self::Full | Self::Stopping => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("5")))
            }
            _ => None,
        }
    }
}
