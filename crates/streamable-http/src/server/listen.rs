//! GET: a client listens to what is said unasked.
//!
//! Each message goes to exactly one stream (transports, multiple
//! connections). Of several streams it is the newest: a client that listens
//! again has often lost a connection that the server still takes for good.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use wharf_http::{Body, accepts};
use wharf_proto::{
    Message,
    header::EVENT_STREAM,
    server::{Backend, Refusal},
    transport::Feed,
};

use super::{
    Shared,
    check::Rejection,
    events::{self, EventFrame, Silence},
    session::InUse,
};

/// What a session says unasked, and the streams that may carry it.
pub(super) struct Listening<F>(Mutex<Ears<F>>);

struct Ears<F> {
    feed: Source<F>,
    /// Oldest first; the last one hears.
    streams: Vec<Ear>,
    next_ticket: u64,
}

/// The feed of a session.
enum Source<F> {
    /// Nobody has listened yet.
    Unasked,
    Open(F),
    /// It has ended, or the session has.
    Over,
}

struct Ear {
    ticket: Ticket,
    /// Of the task that writes the stream, once it has looked for a message.
    waker: Option<Waker>,
}

/// Tells one stream from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket(u64);

/// A listening stream.
struct ListenStream<B: Backend> {
    shared: Arc<Shared<B>>,
    session: InUse<B>,
    ticket: Ticket,
    silence: Silence,
    is_over: bool,
}

/// Opens a listening stream.
pub(super) fn open<B: Backend>(
    shared: &Arc<Shared<B>>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Rejection> {
    if !accepts(headers, EVENT_STREAM) {
        return Err(Rejection::NotAcceptable { offered: EVENT_STREAM });
    }
    let session = shared.own_session(headers)?;
    let listen = || shared.backend.listen(&session.state);
    let Some(ticket) = session.listening.join(listen) else {
        if session.has_ended() {
            return Err(Rejection::UnknownSession);
        }
        // To be told that nothing is offered keeps the client from trying
        // again; the end of a stream does not.
        return Err(Rejection::Method { allowed: "POST, DELETE" });
    };
    Ok(events::response(Body::stream(ListenStream {
        shared: Arc::clone(shared),
        session,
        ticket,
        silence: Silence::new(shared.settings.keep_alive),
        is_over: false,
    })))
}

// === impl Listening ===

impl<F: Feed<End = Refusal>> Listening<F> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Ears { feed: Source::Unasked, streams: Vec::new(), next_ticket: 0 }))
    }

    /// Adds a stream, which hears from now on. `None` where nothing more will
    /// be said.
    fn join(&self, listen: impl FnOnce() -> F) -> Option<Ticket> {
        let mut ears = self.lock();
        match ears.feed {
            Source::Unasked => ears.feed = Source::Open(listen()),
            Source::Open(_) => {}
            Source::Over => return None,
        }
        let ticket = Ticket(ears.next_ticket);
        ears.next_ticket += 1;
        ears.streams.push(Ear { ticket, waker: None });
        Some(ticket)
    }

    /// Takes a stream away; if it was the one that heard, the newest of the
    /// others does.
    fn leave(&self, ticket: Ticket) {
        let mut ears = self.lock();
        ears.streams.retain(|ear| ear.ticket != ticket);
        let next = ears.streams.last_mut().and_then(|ear| ear.waker.take());
        drop(ears);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    /// Polls for the next message that `ticket`'s stream is to carry. `None`
    /// where the stream is to end.
    fn poll_next(
        &self,
        ticket: Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Refusal>>> {
        let mut ears = self.lock();
        let Ears { feed, streams, .. } = &mut *ears;
        let Some(at) = streams.iter().position(|ear| ear.ticket == ticket) else {
            return Poll::Ready(None);
        };
        let hears = at + 1 == streams.len();
        let heard = match feed {
            Source::Open(feed) if hears => feed.poll_next(cx),
            _ => Poll::Pending,
        };
        match heard {
            Poll::Pending => {
                streams[at].waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Poll::Ready(Ok(message)) => Poll::Ready(Some(Ok(message))),
            Poll::Ready(Err(refusal)) => {
                drop(ears);
                self.end();
                Poll::Ready(Some(Err(refusal)))
            }
        }
    }

    /// Ends the streams. Others may be opened.
    pub(super) fn send_away(&self) {
        let streams = std::mem::take(&mut self.lock().streams);
        wake(streams);
    }

    /// Ends the streams for good.
    pub(super) fn end(&self) {
        let mut ears = self.lock();
        let feed = std::mem::replace(&mut ears.feed, Source::Over);
        let streams = std::mem::take(&mut ears.streams);
        // Not under the lock: dropping the feed runs the backend's code.
        drop(ears);
        drop(feed);
        wake(streams);
    }

    fn lock(&self) -> MutexGuard<'_, Ears<F>> {
        // The backend's feed is polled under the lock. If that panics, it
        // ends the stream that polled, and what is in here is still right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(streams: Vec<Ear>) {
    for waker in streams.into_iter().filter_map(|ear| ear.waker) {
        waker.wake();
    }
}

// === impl ListenStream ===

impl<B: Backend> ListenStream<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while let Poll::Ready(heard) = self.session.listening.poll_next(self.ticket, cx) {
            match heard {
                // Answers go where they were asked for.
                Some(Ok(Message::Response(response))) => {
                    tracing::warn!(?response, "a response has no place on a listening stream");
                }
                Some(Ok(message)) => {
                    self.silence.broken();
                    return Poll::Ready(Some(events::event(message.text())));
                }
                Some(Err(Refusal::SessionEnded)) => {
                    self.shared.forget(&self.session);
                    return Poll::Ready(None);
                }
                Some(Err(Refusal::Cancelled)) | None => return Poll::Ready(None),
            }
        }
        self.silence.poll_comment(cx).map(Some)
    }
}

impl<B: Backend> http_body::Body for ListenStream<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EventFrame>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.poll(cx).map(|bytes| {
            self.is_over = bytes.is_none();
            bytes.map(|bytes| Ok(Frame::data(bytes)))
        })
    }
}

impl<B: Backend> Drop for ListenStream<B> {
    fn drop(&mut self) {
        self.session.listening.leave(self.ticket);
    }
}
