//! The trace that a call is a part of (W3C Trace Context): it goes on to the
//! upstream in the request's `_meta`, wherever the client has put it. Transports
//! repeat it in the headers of the HTTP request.

use http::HeaderMap;
use tracing::Span;
use wharf_proto::{Json, Request, Trace};

/// The request with the trace of its HTTP headers in its `_meta`, unless
/// there is one already: what the client says in the message is closer to it.
pub(crate) fn joined(request: Request, headers: &HeaderMap) -> Request {
    let Some(trace) = Trace::from_headers(headers) else { return request };
    let Some(params) = request.params().filter(|params| params.is_object()) else {
        return request;
    };
    let rewrite = request.rewrite();
    let parent = Json::string(trace.parent());
    let state = trace.state().map(|state| Json::string(state));
    match params.field("_meta") {
        Some(meta) if meta.field(Trace::PARENT).is_some() || !meta.is_object() => request,
        Some(meta) => {
            let rewrite = rewrite.insert(&meta, Trace::PARENT, &parent);
            match state.filter(|_| meta.field(Trace::STATE).is_none()) {
                Some(state) => rewrite.insert(&meta, Trace::STATE, &state).finish(),
                None => rewrite.finish(),
            }
        }
        None => {
            let state = state.map(|state| format!(r#","{}":{state}"#, Trace::STATE));
            let state = state.unwrap_or_default();
            let meta = format!(r#"{{"{}":{parent}{state}}}"#, Trace::PARENT);
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
        && let Some(trace) = Trace::of(request)
    {
        span.record("trace_id", trace.id());
    }
    span
}

#[cfg(test)]
mod tests {
    use wharf_proto::{RequestId, method};

    use super::*;

    const PARENT: &str = Trace::PARENT;
    const STATE: &str = Trace::STATE;
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
        let bad = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        assert_eq!(joined_params("{}", &[(PARENT, bad)]), "{}");
    }
}
