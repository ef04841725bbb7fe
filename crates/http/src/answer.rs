//! The body of an upstream's answer.

use std::{
    fmt,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    connection::Connection,
    idle::{Idle, Place},
};

/// The body of an upstream's answer. Reading it drives the connection that it
/// comes on; read to its end, it gives the connection back for others to use.
/// Dropping it before closes the connection.
pub struct Answer {
    body: Incoming,
    /// Until the end of the body.
    source: Option<Source>,
}

/// The connection that an answer comes on, and where it is kept afterwards.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) connection: Box<Connection>,
    pub(crate) place: Place,
    pub(crate) home: Weak<Idle>,
}

// === impl Answer ===

impl Answer {
    pub(crate) fn new(body: Incoming, source: Source) -> Self {
        let mut answer = Self { body, source: Some(source) };
        answer.give_back_at_end();
        answer
    }

    fn give_back_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(source) = self.source.take()
        {
            source.give_back();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(source) = &mut this.source else {
            return Pin::new(&mut this.body).poll_frame(cx);
        };
        let polled = source.connection.drive(cx, |cx| Pin::new(&mut this.body).poll_frame(cx));
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => this.give_back_at_end(),
            Poll::Ready(Some(Err(_))) => this.source = None,
            Poll::Ready(None) => {
                if let Some(source) = this.source.take() {
                    source.give_back();
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answer").field(&self.body).finish()
    }
}

// === impl Source ===

impl Source {
    fn give_back(self) {
        if let Some(home) = self.home.upgrade() {
            home.keep(self.place, self.connection);
        }
    }
}
