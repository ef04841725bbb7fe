//! The trace that a call is a part of (W3C Trace Context): it goes on to the
//! upstream in the request's `_meta`, wherever the client has put it.

use http::HeaderMap;
use tracing::Span;
use wharf_proto::{Json, Request, Text};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// The longest state that is passed on (Trace Context, tracestate limits).
const LONGEST_STATE: usize = 512;

/// The request with the trace of its HTTP headers in its `_meta`, unless
/// there is one already: what the client says in the message is closer to it.
pub(crate) fn joined(request: Request, headers: &HeaderMap) -> Request {
    let header = |name| headers.get(name)?.to_str().ok();
    let Some(parent) = header(PARENT).filter(|parent| trace_id(parent).is_some()) else {
        return request;
    };
    let Some(params) = request.params().filter(|params| params.is_object()) else {
        return request;
    };
    let state = header(STATE).filter(|state| state.len() <= LONGEST_STATE);
    let rewrite = request.rewrite();
    match params.field("_meta") {
        Some(meta) if meta.field(PARENT).is_some() || !meta.is_object() => request,
        Some(meta) => {
            let rewrite = rewrite.insert(&meta, PARENT, &Json::string(parent));
            match state.filter(|_| meta.field(STATE).is_none()) {
                Some(state) => rewrite.insert(&meta, STATE, &Json::string(state)).finish(),
                None => rewrite.finish(),
            }
        }
        None => {
            let state = state.map(|state| format!(r#","{STATE}":{}"#, Json::string(state)));
            let state = state.unwrap_or_default();
            let meta = format!(r#"{{"{PARENT}":{}{state}}}"#, Json::string(parent));
            let meta = Json::parse(meta).expect("its parts are JSON");
            rewrite.insert(params, "_meta", &meta).finish()
        }
    }
}

/// The span of a call. It joins the client's trace by the trace's id.
pub(crate) fn span(request: &Request) -> Span {
    let span = tracing::debug_span!(
        "call",
        method = request.method(),
        upstream = tracing::field::Empty,
        trace_id = tracing::field::Empty,
    );
    if !span.is_disabled()
        && let Some(parent) = parent(request)
        && let Some(id) = trace_id(&parent)
    {
        span.record("trace_id", id);
    }
    span
}

fn parent(request: &Request) -> Option<Text> {
    request.params()?.path(&["_meta", PARENT])?.to_text()
}

/// The id of the trace in a `traceparent`; `None` where it is not well formed.
fn trace_id(parent: &str) -> Option<&str> {
    let mut parts = parent.split('-');
    let mut part = |length| {
        let part = parts.next()?;
        let is_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_hex && part.len() == length).then_some(part)
    };
    let (version, trace, span, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_none = |id: &str| id.bytes().all(|byte| byte == b'0');
    let is_over = parts.next().is_none();
    let is_known = version == "00" && is_over || version != "00" && version != "ff";
    (is_known && !is_none(trace) && !is_none(span)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use wharf_proto::{RequestId, method};

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn joined_params(params: &str, headers: &[(&'static str, &'static str)]) -> String {
        let params = Json::parse(params.to_owned()).expect("the test's JSON is valid");
        let request = Request::new(&RequestId::from(1), method::TOOLS_CALL, Some(&params));
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        let joined = joined(request, &headers.collect());
        joined.params().expect("it has some").as_str().to_owned()
    }

    #[test]
    fn the_trace_of_the_headers_goes_into_the_meta_and_nothing_else_changes() {
        let headers = [(PARENT, GOOD), (STATE, "a=1")];
        for (before, after) in [
            ("{ }", format!(r#"{{"_meta":{{"{PARENT}":"{GOOD}","{STATE}":"a=1"}} }}"#)),
            (
                r#"{"_meta":{"x":1.0}, "n":9e99}"#,
                format!(r#"{{"_meta":{{"{PARENT}":"{GOOD}","{STATE}":"a=1","x":1.0}}, "n":9e99}}"#),
            ),
        ] {
            assert_eq!(joined_params(before, &headers), after);
        }
        let own = r#"{"_meta":{"traceparent":"mine"}}"#;
        assert_eq!(joined_params(own, &headers), own);
        assert_eq!(joined_params("{}", &[]), "{}");
    }

    #[test]
    fn what_is_no_trace_is_not_passed_on() {
        for bad in [
            "",
            "x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(joined_params("{}", &[(PARENT, bad)]), "{}", "{bad}");
            assert_eq!(trace_id(bad), None, "{bad}");
        }
        assert_eq!(trace_id(GOOD), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(trace_id(later).is_some());
    }
}
