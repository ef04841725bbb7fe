//! The feed: reads the one stream for all calls of a link.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use futures_util::stream::{FuturesUnordered, Stream};
use tokio::sync::mpsc;
use tokio_util::sync::WaitForCancellationFutureOwned;
use wharf_http::EventReader;
use wharf_proto::{
    Body, Message, ParseError,
    sse::Event,
    transport::{CallError, EndReason, Fault, Feed},
};

use super::{calls::Calls, end_of, post::Post};

/// How many messages are handed on before others get their turn on the
/// thread.
const MESSAGES_A_TURN: usize = 64;

/// How many POSTs whose call is over may still be read to their end. More
/// are cut off, which costs their connection.
const MAX_LATE_POSTS: usize = 64;

/// What an upstream says unasked: its requests, and its notifications except
/// for the progress of calls under way. This transport cannot tell which call they
/// relate to, if any.
///
/// Polling it is what gets the answers of all calls off the stream. Dropping
/// it closes the stream and fails the calls under way.
pub struct SseFeed {
    /// `None` once it has ended.
    stream: Option<EventReader>,
    calls: Arc<Calls>,
    /// The rest of an event that held several messages.
    unpacked: vec::IntoIter<Message>,
    late_posts: LatePosts,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// POSTs whose call is over: the answer came before the status, or before the
/// body beside it was read.
struct LatePosts {
    handed_over: mpsc::UnboundedReceiver<Post>,
    reading: FuturesUnordered<Post>,
}

// === impl SseFeed ===

impl SseFeed {
    pub(super) fn new(
        stream: EventReader,
        calls: Arc<Calls>,
        handed_over: mpsc::UnboundedReceiver<Post>,
    ) -> Self {
        let ended = Box::pin(calls.ended().clone().cancelled_owned());
        Self {
            stream: Some(stream),
            calls,
            unpacked: Vec::new().into_iter(),
            late_posts: LatePosts { handed_over, reading: FuturesUnordered::new() },
            ended,
        }
    }

    /// Reads the next message. An event that holds none comes out as `None`, so
    /// that it counts towards the turn.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, EndReason>> {
        if let Some(message) = self.unpacked.next() {
            return Poll::Ready(Ok(Some(message)));
        }
        let stream = self.stream.as_mut().expect("a feed is not polled after its end");
        Poll::Ready(match ready!(stream.poll_event(cx)) {
            Ok(Some(event)) => Ok(self.unpack(event)),
            Ok(None) => Err(EndReason::StreamEnded),
            Err(error) => Err(end_of(error)),
        })
    }

    fn unpack(&mut self, event: Event) -> Option<Message> {
        if event.event_type() != "message" || event.data.is_empty() {
            return None;
        }
        match Body::parse(event.data) {
            Ok(Body::Single(message)) => Some(message),
            Ok(Body::Batch(messages)) => {
                self.unpacked = messages.into_iter();
                self.unpacked.next()
            }
            Err(error) => {
                self.complain(error);
                None
            }
        }
    }

    /// A message that cannot be read fails the call that it names, and only
    /// that one.
    fn complain(&self, source: ParseError) {
        let id = source.id().cloned();
        let error = CallError::may_have_run(Fault::Malformed { source });
        if !id.is_some_and(|id| self.calls.fail(&id, error.clone())) {
            tracing::warn!(%error, "dropped a message of an upstream's");
        }
    }

    /// Closes the stream and fails the calls.
    fn end(&mut self, reason: EndReason) -> EndReason {
        self.stream = None;
        self.calls.end(reason)
    }
}

impl Feed for SseFeed {
    type End = EndReason;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, EndReason>> {
        self.late_posts.poll(cx);
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(self.end(EndReason::Closed)));
        }
        for _ in 0..MESSAGES_A_TURN {
            match ready!(self.poll_message(cx)) {
                Ok(message) => {
                    if let Some(unasked) = message.and_then(|message| self.calls.route(message)) {
                        return Poll::Ready(Ok(unasked));
                    }
                }
                Err(reason) => return Poll::Ready(Err(self.end(reason))),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for SseFeed {
    fn drop(&mut self) {
        self.calls.end(EndReason::Closed);
    }
}

impl fmt::Debug for SseFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseFeed").field("end", &self.calls.end_reason()).finish_non_exhaustive()
    }
}

// === impl LatePosts ===

impl LatePosts {
    fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(post)) = self.handed_over.poll_recv(cx) {
            if self.reading.len() < MAX_LATE_POSTS {
                self.reading.push(post);
            }
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.reading).poll_next(cx) {}
    }
}
