//! Why a request is not served, and the HTTP answer that says so.

use http::{HeaderValue, Response, StatusCode, header};
use wharf_http::{Body, Forbidden, empty_response, json_response};
use wharf_proto::{ErrorObject, ParseError, RequestId, code};

/// A request that is answered with an HTTP error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the path takes {allowed} only")]
    Method { allowed: &'static str },
    #[error("the client does not accept an event stream")]
    NotAcceptable,
    #[error("the content is not JSON")]
    NotJson,
    #[error("the query has no session_id")]
    NoSession,
    #[error("the session is unknown or has ended")]
    UnknownSession,
    #[error("the body is too large")]
    TooLarge,
    #[error("the body broke off")]
    CutOff,
    #[error("the rest of the body does not come")]
    Late,
    #[error(transparent)]
    NotJsonRpc(#[from] ParseError),
    #[error("there is no room for another session")]
    Full,
    #[error(
        "too many calls of this session are under way: read the answers from the event stream, \
         and try again later"
    )]
    Busy { id: Option<RequestId> },
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn response(&self) -> Response<Body> {
        tracing::debug!(refusal = %self, "refused a request");
        match self {
            Self::Forbidden(forbidden) => empty_response(forbidden.status()),
            Self::Method { allowed } => {
                let mut response = empty_response(StatusCode::METHOD_NOT_ALLOWED);
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
                response
            }
            Self::NotAcceptable => empty_response(StatusCode::NOT_ACCEPTABLE),
            Self::NotJson => empty_response(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::NoSession | Self::CutOff => empty_response(StatusCode::BAD_REQUEST),
            Self::Late => empty_response(StatusCode::REQUEST_TIMEOUT),
            Self::UnknownSession => empty_response(StatusCode::NOT_FOUND),
            Self::TooLarge => empty_response(StatusCode::PAYLOAD_TOO_LARGE),
            Self::NotJsonRpc(error) => {
                self.failure(StatusCode::BAD_REQUEST, error.id(), error.code())
            }
            Self::Busy { id } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut response = self.failure(status, id.as_ref(), code::INTERNAL_ERROR);
                // In seconds. There is room as soon as the client reads.
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            Self::Full => empty_response(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// The JSON-RPC error that says this.
    fn failure(&self, status: StatusCode, id: Option<&RequestId>, code: i64) -> Response<Body> {
        let object = ErrorObject::new(code, self.to_string());
        let answer = wharf_proto::Response::failure(id, &object);
        json_response(status, answer.text().clone())
    }
}
