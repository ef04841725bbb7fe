//! The link: POSTs to the endpoint that the upstream has announced.

use std::{fmt, future::poll_fn, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use tokio::sync::mpsc;
use wharf_http::{Endpoint, HttpClient};
use wharf_proto::{
    Notification, Request, Response, Revision, Trace,
    header::JSON,
    transport::{CallError, EndReason, Fault, Link},
};

use super::{calls::Calls, exchange::SseExchange, post::Post};

/// An open link to an upstream of this transport.
///
/// It lives as long as its [`SseFeed`](super::SseFeed): when the stream ends,
/// or the feed is dropped, every call under way fails at once and every later
/// one is refused. Dropping the link alone ends nothing.
pub struct SseLink {
    wire: Arc<Wire>,
}

/// What it takes to send a message; shared with the exchanges.
pub(super) struct Wire {
    http: HttpClient,
    /// Its query is the session's id, and so it is never shown.
    post_to: Uri,
    headers: HeaderMap,
    calls: Arc<Calls>,
    unread: mpsc::UnboundedSender<Post>,
}

// === impl SseLink ===

impl SseLink {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire: Arc::new(wire) }
    }
}

impl Link for SseLink {
    type Exchange = SseExchange;

    fn call(&self, request: Request) -> SseExchange {
        SseExchange::new(Arc::clone(&self.wire), request)
    }

    fn notify(
        &self,
        notification: Notification,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        self.wire.send(notification.text().clone())
    }

    fn respond(&self, response: Response) -> impl Future<Output = Result<(), CallError>> + Send {
        self.wire.send(response.text().clone())
    }

    /// Does nothing: this transport has no version header, whatever revision
    /// the two sides agree on.
    fn agree(&self, _: Revision) {}

    fn end_reason(&self) -> Option<EndReason> {
        self.wire.calls.end_reason()
    }

    /// Ends the link. The stream, which is the session, closes when the feed
    /// is next polled or dropped; there is nothing else to say.
    async fn goodbye(&self) {
        self.wire.calls.end(EndReason::Closed);
    }
}

impl fmt::Debug for SseLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseLink")
            .field("end", &self.wire.calls.end_reason())
            .finish_non_exhaustive()
    }
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(
        http: HttpClient,
        post_to: &Endpoint,
        headers: &HeaderMap,
        calls: Arc<Calls>,
        unread: mpsc::UnboundedSender<Post>,
    ) -> Self {
        let mut headers = headers.clone();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.entry(header::HOST).or_insert_with(|| post_to.host_header());
        Self { http, post_to: post_to.uri().clone(), headers, calls, unread }
    }

    pub(super) const fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Begins to send a message.
    pub(super) fn post(&self, text: Bytes, trace: Option<Trace>) -> Post {
        let mut request = http::Request::new(text);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.post_to.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(trace) = trace {
            trace.write(request.headers_mut());
        }
        Post::new(self.http.send(request))
    }

    /// Leaves the rest of a POST to the feed, so that its connection is kept
    /// and nobody waits for it.
    pub(super) fn leave(&self, post: Post) {
        if !post.is_over() {
            let _ = self.unread.send(post);
        }
    }

    /// Draws the conclusion for the link from what became of a message.
    pub(super) fn note(&self, error: &CallError) {
        // A session that is unknown for one message is unknown for all.
        if matches!(error.fault, Fault::SessionGone) {
            self.calls.end(EndReason::SessionGone);
        }
    }

    async fn send(&self, text: Bytes) -> Result<(), CallError> {
        if let Some(reason) = self.calls.end_reason() {
            return Err(CallError::not_sent(Fault::Ended(reason)));
        }
        let mut post = self.post(text, None);
        let taken = tokio::select! {
            biased;
            taken = poll_fn(|cx| post.poll_taken(cx)) => Some(taken),
            () = self.calls.ended().cancelled() => None,
        };
        let taken = taken.unwrap_or_else(|| Err(self.ended_under(&mut post)));
        match &taken {
            Ok(()) => self.leave(post),
            Err(error) => self.note(error),
        }
        taken
    }

    /// The error of a message that was on its way when the link ended.
    pub(super) fn ended_under(&self, post: &mut Post) -> CallError {
        let reason = self.calls.end_reason().unwrap_or(EndReason::Closed);
        CallError { fate: post.call_off(), fault: Fault::Ended(reason) }
    }
}
