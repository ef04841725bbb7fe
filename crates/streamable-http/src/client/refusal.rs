//! What an answer that is no success means: a JSON-RPC error in a 4xx, the
//! end of the session in one of its many dresses, or nothing but a status.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use wharf_http::media_type;
use wharf_proto::{
    Body, Message, Outcome, Response, code,
    transport::{CallError, Fault},
};

/// How many bytes of an error's body are read.
pub(super) const MAX_REFUSAL: usize = 64 * 1024;

/// How long the message of an error may be that speaks of a session's end.
/// What is longer tells a story of its own.
const MAX_NOTICE: usize = 200;

/// The codes that the SDKs' servers give a session's end: JSON-RPC's "invalid
/// request" and two of the range that is free to them.
const SESSION_CODES: [i64; 3] = [code::INVALID_REQUEST, -32000, -32001];

/// What they say, in lower case.
const SESSION_NOTICES: [&str; 5] = [
    "session not found",
    "session terminated",
    "session has been terminated",
    "session expired",
    "no valid session id",
];

/// What a refused request comes to.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The upstream's MCP layer has refused it: that is the answer.
    Error(Response),
    /// The upstream does not know the session any more.
    SessionGone,
    /// All there is is the status.
    Status,
}

/// Reads the answer to a request that has or has not named a session
/// (transports: session management; 404 says that the session is gone, unless
/// its body says that the method is unknown).
pub(super) fn judge(status: StatusCode, body: Bytes, has_session: bool) -> Refusal {
    let error = json_rpc_error(body);
    let is_method_unknown =
        error.as_ref().is_some_and(|error| error.error_code() == Some(code::METHOD_NOT_FOUND));
    if has_session && status == StatusCode::NOT_FOUND && !is_method_unknown {
        return Refusal::SessionGone;
    }
    match error {
        Some(error) if has_session && status.is_client_error() && tells_session_end(&error) => {
            Refusal::SessionGone
        }
        // These are about the credentials, which is for whoever keeps them to
        // know and not for the caller.
        _ if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Refusal::Status,
        Some(error) => Refusal::Error(error),
        None => Refusal::Status,
    }
}

/// Whether an answer is one by which servers say that they do not know the
/// session, whatever its HTTP status.
pub(super) fn tells_session_end(response: &Response) -> bool {
    let Outcome::Error(error) = response.outcome() else {
        return false;
    };
    let is_of_its_code = response.error_code().is_some_and(|code| SESSION_CODES.contains(&code));
    let message = error.field("message").and_then(|message| message.to_text());
    let Some(message) = message.filter(|message| message.len() <= MAX_NOTICE) else {
        return false;
    };
    let message = message.to_ascii_lowercase();
    is_of_its_code && SESSION_NOTICES.iter().any(|notice| message.contains(notice))
}

/// Whether the refusal of a GET speaks of the session, and is not that of a
/// server that knows no GET. A 404 does in plain text, too.
pub(super) fn is_about_the_session(status: StatusCode, body: Bytes) -> bool {
    let is_not_found = status == StatusCode::NOT_FOUND;
    let mentions_it = || String::from_utf8_lossy(&body).to_ascii_lowercase().contains("session");
    (is_not_found && mentions_it())
        || json_rpc_error(body).is_some_and(|error| is_not_found || tells_session_end(&error))
}

/// The error that a body of another type is.
pub(super) fn not_mcp(headers: &HeaderMap) -> CallError {
    const SHOWN: usize = 64;
    let found =
        media_type(headers).map_or("an untyped body", |mime| mime.get(..SHOWN).unwrap_or(mime));
    CallError::may_have_run(Fault::NotMcp { found: found.into() })
}

/// The error response in a body, whichever id it names: the body answers one
/// request, and where that was refused unread its id is not known.
fn json_rpc_error(body: Bytes) -> Option<Response> {
    match Body::parse(body) {
        Ok(Body::Single(Message::Response(response))) => {
            matches!(response.outcome(), Outcome::Error(_)).then_some(response)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i64, message: &str) -> Bytes {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":{code},"message":"{message}"}}}}"#
        );
        text.into()
    }

    fn name(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Error(_) => "error",
            Refusal::SessionGone => "gone",
            Refusal::Status => "status",
        }
    }

    #[test]
    fn a_refusal_is_judged_by_status_body_and_session() {
        let none = Bytes::new();
        for (status, body, with_session, without) in [
            (404, none.clone(), "gone", "status"),
            (404, Bytes::from("Session not found"), "gone", "status"),
            (404, failure(-32601, "Method not found"), "error", "error"),
            (404, failure(-32600, "Session not found"), "gone", "error"),
            (404, failure(-32001, "anything"), "gone", "error"),
            (400, failure(-32000, "Bad Request: No valid session ID provided"), "gone", "error"),
            (400, failure(-32600, "Session Terminated"), "gone", "error"),
            (400, failure(-32602, "Session not found"), "error", "error"),
            (400, failure(-32600, "Missing params"), "error", "error"),
            (400, none.clone(), "status", "status"),
            (401, failure(-32001, "Unauthorized"), "status", "status"),
            (403, failure(-32001, "Forbidden"), "status", "status"),
            (500, failure(-32603, "Internal error"), "error", "error"),
            (500, failure(-32000, "session not found"), "error", "error"),
            (503, Bytes::from("{\"error\":\"overloaded\"}"), "status", "status"),
        ] {
            let status = StatusCode::from_u16(status).expect("is one");
            let of = |has_session| judge(status, body.clone(), has_session);
            assert_eq!(name(&of(true)), with_session, "{status} {body:?}");
            assert_eq!(name(&of(false)), without, "{status} {body:?}");
        }
    }

    #[test]
    fn a_long_story_about_a_session_is_an_ordinary_error() {
        let story = format!("{} session not found", "x".repeat(MAX_NOTICE));
        let status = StatusCode::BAD_REQUEST;
        assert_eq!(name(&judge(status, failure(-32600, &story), true)), "error");
    }
}
