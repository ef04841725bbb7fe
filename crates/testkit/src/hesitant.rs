//! A body that lets its head go ahead.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A body that is not there yet when it is first asked for, so that head and
/// body are written apart, as by servers that write the one and then make the
/// other.
#[derive(Debug)]
pub(crate) struct Hesitant {
    body: wharf_http::Body,
    has_hesitated: bool,
}

// === impl Hesitant ===

impl Hesitant {
    pub(crate) const fn new(body: wharf_http::Body) -> Self {
        Self { body, has_hesitated: false }
    }
}

impl Body for Hesitant {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !std::mem::replace(&mut self.has_hesitated, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
