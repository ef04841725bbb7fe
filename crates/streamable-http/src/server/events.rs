//! What an event stream is made of: its head, its events, its comments.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header::CACHE_CONTROL, header::CONTENT_TYPE};
use http_body::Frame;
use tokio::time::{Instant, Sleep};
use wharf_http::Body;
use wharf_proto::{header, sse};

/// Says when a stream has been silent for long enough to carry a comment.
/// Zero never says so.
pub(super) struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The head of an event stream, around its body.
pub(super) fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(header::EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(header::X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// An event that carries one message.
pub(super) fn event(text: &[u8]) -> Bytes {
    let mut event = BytesMut::new();
    sse::message(None, text, &mut event);
    event.freeze()
}

/// Events that are sent together.
pub(super) fn joined(first: Option<Bytes>, then: Option<Bytes>) -> Option<Bytes> {
    match (first, then) {
        (Some(first), Some(then)) => {
            let mut both = BytesMut::with_capacity(first.len() + then.len());
            both.extend_from_slice(&first);
            both.extend_from_slice(&then);
            Some(both.freeze())
        }
        (first, then) => first.or(then),
    }
}

/// A frame of a body that cannot fail.
pub(super) type EventFrame = Result<Frame<Bytes>, std::convert::Infallible>;

/// What a stream has to send as a frame of its body, noting its end.
pub(super) fn frame(polled: Poll<Option<Bytes>>, is_over: &mut bool) -> Poll<Option<EventFrame>> {
    polled.map(|bytes| {
        *is_over = bytes.is_none();
        bytes.map(|bytes| Ok(Frame::data(bytes)))
    })
}

// === impl Silence ===

impl Silence {
    pub(super) fn new(limit: Duration) -> Self {
        let timer = (!limit.is_zero()).then(|| Box::pin(tokio::time::sleep(limit)));
        Self { limit, timer }
    }

    /// Something was said: the silence begins anew.
    pub(super) fn broken(&mut self) {
        if let Some(timer) = &mut self.timer
            && let Some(deadline) = Instant::now().checked_add(self.limit)
        {
            timer.as_mut().reset(deadline);
        }
    }

    /// Waits for the next comment that is due.
    pub(super) fn poll_comment(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(cx));
        self.broken();
        Poll::Ready(Bytes::from_static(b": keep-alive\n\n"))
    }
}
