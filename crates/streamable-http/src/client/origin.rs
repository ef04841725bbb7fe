//! What all links to one upstream have in common.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, header};
use wharf_http::{HttpClient, Target};
use wharf_proto::{Revision, header as names};

use super::ClientSettings;

/// One upstream, and how it is called. Shared by its links: a thousand of them
/// do not fit into a processor's cache, and what they share does.
pub(super) struct Origin {
    pub(super) http: HttpClient,
    pub(super) settings: ClientSettings,
    /// Where the upstream is, and what goes with each request.
    pub(super) target: Target,
    /// What the last link has agreed on. Mostly all agree on the same.
    agreed: Mutex<Option<Arc<Agreed>>>,
}

/// What holds once the handshake is over.
pub(super) struct Agreed {
    pub(super) revision: Revision,
    /// Whether the upstream keeps a session.
    has_session: bool,
    /// The headers of a POST from then on. What a session or a POST has of its
    /// own, the session's id and the length, has a place in them.
    pub(super) headers: HeaderMap,
}

// === impl Origin ===

impl Origin {
    pub(super) fn new(http: HttpClient, target: Target, settings: ClientSettings) -> Arc<Self> {
        Arc::new(Self { http, settings, target, agreed: Mutex::default() })
    }

    /// What holds for a link that has agreed on `revision`.
    pub(super) fn agreed(&self, revision: Revision, has_session: bool) -> Arc<Agreed> {
        let mut last = self.agreed.lock().expect("nothing panics while holding it");
        let is_same =
            |last: &&Arc<Agreed>| last.revision == revision && last.has_session == has_session;
        if let Some(same) = last.as_ref().filter(is_same) {
            return Arc::clone(same);
        }
        let headers = self.headers(revision, has_session);
        let agreed = Arc::new(Agreed { revision, has_session, headers });
        *last = Some(Arc::clone(&agreed));
        agreed
    }

    /// The headers of a POST before the handshake is over. Made when they are
    /// needed, which is once or twice a link, and not kept.
    pub(super) fn opening(&self) -> HeaderMap {
        let mut headers = self.target.headers.clone();
        headers.entry(header::HOST).or_insert_with(|| self.target.endpoint.host_header());
        let accepted = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(header::ACCEPT, accepted);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(names::JSON));
        headers
    }

    fn headers(&self, revision: Revision, has_session: bool) -> HeaderMap {
        let mut headers = self.opening();
        if revision.has_version_header() {
            let version = HeaderValue::from_static(revision.as_str());
            headers.insert(names::PROTOCOL_VERSION, version);
        }
        // A clone has room for what it holds and no more: so what is put in
        // later is held here.
        headers.insert(header::CONTENT_LENGTH, 0.into());
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

    #[test]
    fn links_that_agree_on_the_same_have_one_copy_of_it() {
        let http = HttpClient::new(&wharf_http::ClientSettings::default());
        let endpoint = Endpoint::parse("http://a/mcp").expect("it is a URL");
        let origin = Origin::new(http, Target::new(endpoint), ClientSettings::default());
        let first = origin.agreed(Revision::V2025_11_25, true);
        assert!(Arc::ptr_eq(&first, &origin.agreed(Revision::V2025_11_25, true)));
        let without_session = origin.agreed(Revision::V2025_11_25, false);
        assert!(!without_session.headers.contains_key(names::SESSION_ID));
        let older = origin.agreed(Revision::V2025_03_26, true);
        assert!(!older.headers.contains_key(names::PROTOCOL_VERSION));
        assert_eq!(first.headers[names::PROTOCOL_VERSION], "2025-11-25");
    }
}
