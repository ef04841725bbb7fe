//! What all links to one upstream have in common.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue, header};
use wharf_http::{HttpClient, Target};
use wharf_proto::{Revision, header as names};

use super::ClientSettings;

/// One upstream, and how it is called. Shared by its links: a thousand of them
/// do not fit into a processor's cache, and what they share does.
pub(super) struct Common {
    pub(super) http: HttpClient,
    pub(super) settings: ClientSettings,
    /// Where the upstream is, and what goes with each request.
    pub(super) target: Target,
    /// By revision, and by whether the upstream keeps a session.
    agreed: [[OnceLock<Arc<Agreed>>; 2]; Revision::ALL.len()],
}

/// What holds once the handshake is over.
pub(super) struct Agreed {
    pub(super) revision: Revision,
    /// The headers of a POST from then on. What a session or a POST has of its
    /// own, the session's id and the length, has a place in them.
    pub(super) headers: HeaderMap,
}

// === impl Common ===

impl Common {
    pub(super) fn new(http: HttpClient, target: Target, settings: ClientSettings) -> Arc<Self> {
        Arc::new(Self { http, settings, target, agreed: Default::default() })
    }

    /// What holds for a link that agrees on `revision`.
    pub(super) fn agree_on(&self, revision: Revision, has_session: bool) -> Arc<Agreed> {
        let at = Revision::ALL.iter().position(|known| *known == revision);
        let at = at.expect("all revisions are there");
        let agreed = self.agreed[at][usize::from(has_session)].get_or_init(|| {
            Arc::new(Agreed { revision, headers: self.headers_after(revision, has_session) })
        });
        Arc::clone(agreed)
    }

    /// The headers of a POST before the handshake is over. Made when they are
    /// needed, which is once or twice a link, and not kept.
    pub(super) fn opening_headers(&self) -> HeaderMap {
        let mut headers = self.target.headers.clone();
        headers.entry(header::HOST).or_insert_with(|| self.target.endpoint.host_header());
        let accepted = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(header::ACCEPT, accepted);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(names::JSON));
        headers
    }

    fn headers_after(&self, revision: Revision, has_session: bool) -> HeaderMap {
        let mut headers = self.opening_headers();
        if revision.has_version_header() {
            let version = HeaderValue::from_static(revision.as_str());
            headers.insert(names::PROTOCOL_VERSION, version);
        }
        // A clone has room for what it holds and no more: so what is put in
        // later is held here.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        if has_session {
            headers.insert(names::SESSION_ID, HeaderValue::from_static(""));
        }
        // To replace a header, too, there must be room for one more, which a
        // clone has in its index.
        headers.reserve(1);
        headers.clone()
    }
}

#[cfg(test)]
mod tests {
    use wharf_http::Endpoint;

    use super::*;

    fn common() -> Arc<Common> {
        let http = HttpClient::new(&wharf_http::ClientSettings::default());
        let endpoint = Endpoint::parse("http://a/mcp").expect("it is a URL");
        Common::new(http, Target::new(endpoint), ClientSettings::default())
    }

    #[test]
    fn there_is_one_copy_of_what_is_agreed_on_for_each_revision() {
        let common = common();
        let first = common.agree_on(Revision::V2025_11_25, true);
        let older = common.agree_on(Revision::V2025_03_26, true);
        let without_session = common.agree_on(Revision::V2025_11_25, false);
        assert!(Arc::ptr_eq(&first, &common.agree_on(Revision::V2025_11_25, true)));
        assert_eq!(first.headers[names::PROTOCOL_VERSION], "2025-11-25");
        assert!(!older.headers.contains_key(names::PROTOCOL_VERSION));
        assert!(!without_session.headers.contains_key(names::SESSION_ID));
    }

    #[test]
    fn what_a_call_has_of_its_own_finds_room_in_a_clone_of_the_headers() {
        for revision in Revision::ALL {
            let mut headers = common().agree_on(revision, true).headers.clone();
            let (length, capacity) = (headers.len(), headers.capacity());
            headers.insert(header::CONTENT_LENGTH, 12.into());
            headers.insert(names::SESSION_ID, HeaderValue::from_static("s"));
            assert_eq!((headers.len(), headers.capacity()), (length, capacity));
        }
    }
}
