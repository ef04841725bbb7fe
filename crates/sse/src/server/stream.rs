//! The body of the GET: what a client's session sends it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use wharf_proto::sse::{self, Event, Line};

use super::session::Queued;

/// How many bytes of messages that wait are put into one frame. One message
/// alone may be more.
const FRAME: usize = 16 * 1024;

/// The event stream that is a session. Dropping it, as hyper does when the
/// client goes away, ends the session.
pub(super) struct EventBody {
    /// The `endpoint` event, until it is sent.
    first: Option<Bytes>,
    outbox: mpsc::Receiver<Queued>,
    keep_alive: Option<Interval>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    is_ending: bool,
    _end: DropGuard,
}

// === impl EventBody ===

impl EventBody {
    pub(super) fn new(
        endpoint: &str,
        outbox: mpsc::Receiver<Queued>,
        ended: CancellationToken,
        keep_alive: Duration,
    ) -> Self {
        let event = Event {
            name: Some(Line::from_static("endpoint")),
            data: Bytes::copy_from_slice(endpoint.as_bytes()),
            ..Event::default()
        };
        let mut first = BytesMut::new();
        sse::encode(&event, &mut first);
        let keep_alive = (!keep_alive.is_zero()).then(|| {
            let mut ticks = interval_at(Instant::now() + keep_alive, keep_alive);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self {
            first: Some(first.freeze()),
            outbox,
            keep_alive,
            ended: Box::pin(ended.clone().cancelled_owned()),
            is_ending: false,
            _end: ended.drop_guard(),
        }
    }

    /// Takes the messages that wait; `None` when no more will come.
    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut frame = BytesMut::new();
        while frame.len() < FRAME {
            match self.outbox.poll_recv(cx) {
                Poll::Ready(Some(queued)) => {
                    sse::message(None, queued.message.text(), &mut frame);
                }
                Poll::Ready(None) if frame.is_empty() => return Poll::Ready(None),
                Poll::Pending if frame.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(frame.freeze()))
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let Some(ticks) = &mut self.keep_alive else {
            return Poll::Pending;
        };
        ready!(ticks.poll_tick(cx));
        let mut frame = BytesMut::new();
        sse::comment("", &mut frame);
        Poll::Ready(frame.freeze())
    }
}

impl http_body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let frame = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        if let Some(first) = this.first.take() {
            return frame(first);
        }
        if !this.is_ending && this.ended.as_mut().poll(cx).is_ready() {
            // What is in the outbox still goes out; then comes the end.
            this.is_ending = true;
            this.outbox.close();
        }
        match this.poll_messages(cx) {
            Poll::Ready(Some(bytes)) => frame(bytes),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => frame(ready!(this.poll_keep_alive(cx))),
        }
    }
}

#[cfg(test)]
mod tests;
