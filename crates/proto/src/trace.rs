//! The trace that a call is a part of (W3C Trace Context).

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem::Finder;

use crate::{Request, Text};

/// The longest state that is passed on (Trace Context, tracestate limits). A
/// parent has 55 characters in the only version there is; one of a later
/// version may be as long as this, too.
const LONGEST: usize = 512;

/// The trace that a call is a part of. It is well formed: nothing but a trace
/// can be passed on as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    parent: Text,
    state: Option<Text>,
}

// === impl Trace ===

impl Trace {
    /// The header that names the trace and the call in it. In a message's
    /// `_meta` it has the same name, as has the other.
    pub const PARENT: &str = "traceparent";
    /// The header of what tracing systems have added.
    pub const STATE: &str = "tracestate";

    /// The trace in a request's `_meta`. `None` where there is none, or it is
    /// not well formed.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let params = request.params()?;
        // As with progress tokens: most calls have none, and all come here.
        static PARENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(Trace::PARENT));
        PARENT.find(params.as_bytes())?;
        let meta = params.field("_meta")?;
        let text = |name| meta.field(name)?.to_text();
        Self::new(text(Self::PARENT)?, text(Self::STATE))
    }

    /// The trace that HTTP headers name. `None` as with [`Trace::of`].
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        const PARENT: HeaderName = HeaderName::from_static(Trace::PARENT);
        const STATE: HeaderName = HeaderName::from_static(Trace::STATE);
        let text = |name| Some(Text::from(headers.get(name)?.to_str().ok()?));
        Self::new(text(PARENT)?, text(STATE))
    }

    /// A state that is not well formed is left out: the trace holds without.
    fn new(parent: Text, state: Option<Text>) -> Option<Self> {
        id(&parent)?;
        let state = state.filter(|state| !state.is_empty() && is_fit(state));
        is_fit(&parent).then_some(Self { parent, state })
    }

    /// The trace's id.
    #[must_use]
    pub fn id(&self) -> &str {
        id(&self.parent).expect("checked when it was made")
    }

    /// The `traceparent`.
    #[must_use]
    pub const fn parent(&self) -> &Text {
        &self.parent
    }

    /// The `tracestate`, where there is one.
    #[must_use]
    pub const fn state(&self) -> Option<&Text> {
        self.state.as_ref()
    }

    /// Writes it into the headers of an HTTP request.
    pub fn write(self, headers: &mut HeaderMap) {
        let value = |text: Text| {
            HeaderValue::from_maybe_shared(text.into_bytes()).expect("it is printable ASCII")
        };
        headers.insert(HeaderName::from_static(Self::PARENT), value(self.parent));
        if let Some(state) = self.state {
            headers.insert(HeaderName::from_static(Self::STATE), value(state));
        }
    }
}

/// The id of the trace in a `traceparent`; `None` where it is not well formed.
fn id(parent: &str) -> Option<&str> {
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

/// Whether a header can hold it as it is.
fn is_fit(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Json, RequestId, method};

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn in_meta(parent: &str, state: &str) -> Option<Trace> {
        let (parent, state) = (Json::string(parent), Json::string(state));
        let params = format!(r#"{{"_meta":{{"traceparent":{parent},"tracestate":{state}}}}}"#);
        let params = Json::parse(params).expect("the test's JSON is valid");
        Trace::of(&Request::new(&RequestId::from(1), method::TOOLS_CALL, Some(&params)))
    }

    #[test]
    fn a_trace_in_the_meta_becomes_the_headers_it_would_have_come_in() {
        let trace = in_meta(GOOD, "a=1,b=2").expect("it is well formed");
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let mut headers = HeaderMap::new();
        trace.clone().write(&mut headers);
        assert_eq!(headers[Trace::PARENT], GOOD);
        assert_eq!(headers[Trace::STATE], "a=1,b=2");
        assert_eq!(Trace::from_headers(&headers), Some(trace));
    }

    #[test]
    fn what_is_no_trace_is_not_taken_for_one() {
        for bad in [
            "",
            "x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-\r\nevil: 1",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-caf\u{e9}",
            &format!("01{}-{}", &GOOD[2..], "x".repeat(LONGEST)),
        ] {
            assert_eq!(in_meta(bad, "a=1"), None, "{bad}");
        }
        let later = format!("01{}-more", &GOOD[2..]);
        assert!(in_meta(&later, "").is_some());
    }

    #[test]
    fn a_state_that_is_none_does_not_spoil_the_trace() {
        for bad in ["", "a=1\r\nevil: 1", "a=\t", "a=\u{e9}", &"x".repeat(LONGEST + 1)] {
            let trace = in_meta(GOOD, bad).expect("its parent is well formed");
            assert_eq!(trace.state(), None, "{bad}");
        }
    }
}
