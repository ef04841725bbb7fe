//! What a link, its calls and its feed share: where the upstream is, what the
//! handshake has given, and whether it is over.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use tracing::debug;
use wharf_http::{Answer, EventReader, Sending, collect};
use wharf_proto::{
    Revision, SessionId, Trace, header as names,
    transport::{CallError, EndReason, Fault},
};

use super::{
    common::{Agreed, Common},
    refusal::{self, MAX_REFUSAL, Refusal},
};

/// The upstream's end of a link, shared by all of this end.
pub(super) struct Wire {
    pub(super) common: Arc<Common>,
    /// Given with the answer to `initialize`, if at all.
    session: OnceLock<HeaderValue>,
    agreed: OnceLock<Arc<Agreed>>,
    ended: OnceLock<EndReason>,
    is_listened_to: AtomicBool,
    /// Wakes the feed when one of the four above has changed.
    feed: AtomicWaker,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self {
            common,
            session: OnceLock::new(),
            agreed: OnceLock::new(),
            ended: OnceLock::new(),
            is_listened_to: AtomicBool::new(false),
            feed: AtomicWaker::new(),
        }
    }

    /// Sends a request that is not `initialize`, a notification or a response.
    pub(super) fn post(&self, text: Bytes, trace: Option<Trace>) -> Result<Sending, CallError> {
        let mut headers = self.headers();
        headers.insert(header::CONTENT_LENGTH, text.len().into());
        if let Some(trace) = trace {
            trace.write(&mut headers);
        }
        self.send(Method::POST, headers, text)
    }

    /// Sends `initialize`, which belongs to no session yet.
    pub(super) fn post_opening(&self, text: Bytes) -> Result<Sending, CallError> {
        self.send(Method::POST, self.common.opening_headers(), text)
    }

    /// Opens an event stream: a new one, or one that broke off after the
    /// event of that id.
    pub(super) fn get(&self, last_event_id: Option<HeaderValue>) -> Result<Sending, CallError> {
        let mut headers = self.headers_without_body();
        headers.insert(header::ACCEPT, HeaderValue::from_static(names::EVENT_STREAM));
        if let Some(id) = last_event_id {
            headers.insert(names::LAST_EVENT_ID, id);
        }
        self.send(Method::GET, headers, Bytes::new())
    }

    /// Sends what has no answer but that it was taken.
    pub(super) async fn tell(&self, text: Bytes) -> Result<(), CallError> {
        let has_session = self.has_session();
        let answer = self.post(text, None)?.await?;
        let status = answer.status();
        if status.is_success() {
            self.common.http.finish(answer.into_body());
            return Ok(());
        }
        let body = collect(answer.into_body(), MAX_REFUSAL).await;
        let body = body.unwrap_or_default();
        match refusal::judge(status, body, has_session) {
            Refusal::SessionGone => Err(self.session_gone()),
            Refusal::Error(_) | Refusal::Status => Err(CallError::status(status)),
        }
    }

    /// Reads an answer as an event stream.
    pub(super) fn events(&self, body: Answer) -> EventReader {
        /// What an event may hold besides its message: the names and the
        /// values of its other fields.
        const FIELDS: usize = 1024;
        EventReader::new(body, self.common.settings.max_message.saturating_add(FIELDS))
    }

    /// Ends the upstream's session, where it has one that it knows of.
    pub(super) async fn delete(&self) {
        if !self.has_session() {
            return;
        }
        let request = self.request(Method::DELETE, self.headers_without_body(), Bytes::new());
        match self.common.http.send(request).await {
            Ok(answer) => {
                debug!(upstream = %self.common.target.endpoint, status = %answer.status(), "session deleted");
                self.common.http.finish(answer.into_body());
            }
            Err(error) => {
                debug!(upstream = %self.common.target.endpoint, %error, "session not deleted");
            }
        }
    }

    pub(super) fn agree(&self, revision: Revision) {
        // A link shakes hands once: what it agreed on first holds.
        self.agreed.get_or_init(|| self.common.agree_on(revision, self.has_session()));
        self.feed.wake();
    }

    pub(super) fn listen(&self) {
        self.is_listened_to.store(true, Ordering::Release);
        self.feed.wake();
    }

    /// Whether somebody listens and the handshake is over.
    pub(super) fn is_listening(&self) -> bool {
        self.is_listened_to.load(Ordering::Acquire) && self.agreed.get().is_some()
    }

    /// Whether a broken stream may be asked for again. Event ids are of
    /// 2025-03-26 and later (transports, resumability).
    pub(super) fn may_resume(&self) -> bool {
        self.agreed.get().is_some_and(|agreed| agreed.revision.has_event_ids())
    }

    pub(super) fn has_session(&self) -> bool {
        self.session.get().is_some()
    }

    /// Takes the session id that comes with the answer to `initialize`.
    ///
    /// An id that the specification does not allow fails the handshake: what
    /// follows would be refused for want of it, and less plainly.
    pub(super) fn learn_session(&self, headers: &HeaderMap) -> Result<(), CallError> {
        let Some(given) = headers.get(names::SESSION_ID).filter(|id| !id.is_empty()) else {
            return Ok(());
        };
        let is_fit = given.to_str().is_ok_and(|id| SessionId::new(id).is_ok());
        if !is_fit {
            return Err(CallError::may_have_run(Fault::NotMcp {
                found: "a session id outside visible ASCII".into(),
            }));
        }
        // A copy: the value is a slice of what the connection has read.
        let given = HeaderValue::from_bytes(given.as_bytes());
        let mut given = given.expect("it has just been a header's value");
        given.set_sensitive(true);
        let _ = self.session.set(given);
        Ok(())
    }

    /// Publishes why the link is over. Whether it was not over before.
    pub(super) fn end(&self, reason: EndReason) -> bool {
        let is_first = self.ended.set(reason).is_ok();
        if is_first {
            self.feed.wake();
        }
        is_first
    }

    /// Ends the link because the upstream does not know the session, and says
    /// so of the request by which that was found.
    pub(super) fn session_gone(&self) -> CallError {
        self.end(EndReason::SessionGone);
        CallError::not_sent(Fault::SessionGone)
    }

    pub(super) fn ended(&self) -> Option<&EndReason> {
        self.ended.get()
    }

    /// Wakes the feed's task when the link's state changes from now on.
    pub(super) fn register_feed(&self, waker: &Waker) {
        self.feed.register(waker);
    }

    fn send(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<Sending, CallError> {
        if let Some(reason) = self.ended.get() {
            return Err(CallError::not_sent(Fault::Ended(reason.clone())));
        }
        Ok(self.common.http.send(self.request(method, headers, body)))
    }

    fn request(&self, method: Method, headers: HeaderMap, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.common.target.endpoint.uri().clone();
        *request.headers_mut() = headers;
        request
    }

    /// The headers of a request that has no body.
    fn headers_without_body(&self) -> HeaderMap {
        let mut headers = self.headers();
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
        headers
    }

    /// The headers of a POST, but for the length of its body.
    fn headers(&self) -> HeaderMap {
        let agreed = self.agreed.get().map(|agreed| agreed.headers.clone());
        let mut headers = agreed.unwrap_or_else(|| self.common.opening_headers());
        if let Some(session) = self.session.get() {
            headers.insert(names::SESSION_ID, session.clone());
        }
        headers
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("endpoint", &self.common.target.endpoint)
            .field("has_session", &self.has_session())
            .field("ended", &self.ended.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use wharf_http::{Endpoint, HttpClient, Target};
    use wharf_proto::transport::Link as _;

    use super::*;
    use crate::client::{ClientSettings, Opener};

    #[test]
    fn links_of_one_opener_have_one_copy_of_what_they_agree_on() {
        let http = HttpClient::new(&wharf_http::ClientSettings::default());
        let target = Target::new(Endpoint::parse("http://a/mcp").expect("it is a URL"));
        let opener = Opener::new(http, target, ClientSettings::default());
        let [one, other] = [(); 2].map(|()| {
            let (link, _feed) = opener.open();
            link.agree(Revision::LATEST);
            Arc::clone(link.0.agreed.get().expect("it has agreed"))
        });
        assert!(Arc::ptr_eq(&one, &other));
    }
}
