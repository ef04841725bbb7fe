//! GET: a client listens to what is said unasked.
//!
//! Each message goes to exactly one stream (transports, multiple
//! connections). Of several streams it is the newest: a client that listens
//! again has often lost a connection that the server still takes for good.
//!
//! What is said while nobody listens stays in the feed, within the bounds that
//! the backend sets, for the stream that is opened next; it was on no stream
//! yet, and so is on the wrong one nowhere. What a stream has carried before
//! it broke is sent again to a client that takes up that very stream. Before a
//! client first listens it is not said: no feed is asked for.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Response;
use wharf_http::Body;
use wharf_proto::{
    Message,
    server::{Backend, Refusal},
    transport::Feed,
};

use super::{
    Shared,
    check::Rejection,
    event_id::Kind,
    events::{self, EventFrame, Silence},
    session::InUse,
    tape::Tape,
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
    /// Where its stream can be taken up again.
    tape: Option<Arc<Tape>>,
    /// Of the task that writes the stream, once it has looked for a message.
    waker: Option<Waker>,
}

/// Tells one stream from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket(u64);

/// Where a stream stands when it is opened.
pub(super) enum Stand {
    New,
    /// After an event of a stream that broke off.
    After {
        tape: Arc<Tape>,
        last: u64,
    },
}

/// A listening stream.
struct ListenStream<B: Backend> {
    shared: Arc<Shared<B>>,
    session: InUse<B>,
    ticket: Ticket,
    /// What has been said before on this very stream, or how it begins.
    first: VecDeque<Bytes>,
    silence: Silence,
    is_over: bool,
}

/// Opens a listening stream.
pub(super) fn open<B: Backend>(
    shared: &Arc<Shared<B>>,
    session: InUse<B>,
    stand: Stand,
) -> Result<Response<Body>, Rejection> {
    let replay = shared.settings.replay;
    let has_ids = replay.is_on() && session.has_event_ids();
    let (tape, last) = match stand {
        Stand::After { tape, last } => (Some(tape), Some(last)),
        Stand::New => {
            let open = || session.streams.open(Kind::Listening, replay, &shared.kept);
            (has_ids.then(open), None)
        }
    };
    let listen = || shared.backend.listen(&session.state);
    let Some(ticket) = session.listening.join(listen, tape.as_ref()) else {
        if session.has_ended() {
            return Err(Rejection::UnknownSession);
        }
        // To be told that nothing is offered keeps the client from trying
        // again; the end of a stream does not.
        return Err(Rejection::Method { allowed: "POST, DELETE" });
    };
    let mut stream = ListenStream {
        shared: Arc::clone(shared),
        session,
        ticket,
        first: VecDeque::new(),
        silence: Silence::new(shared.settings.keep_alive),
        is_over: false,
    };
    // Once it has joined, no other connection writes on this tape.
    stream.first = match (tape, last) {
        (Some(tape), Some(last)) => tape.kept_after(last).ok_or(Rejection::NothingKept)?,
        (Some(tape), None) if stream.session.has_priming_events() => [tape.priming()].into(),
        _ => VecDeque::new(),
    };
    Ok(events::response(Body::stream(stream)))
}

// === impl Listening ===

impl<F: Feed<End = Refusal>> Listening<F> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Ears { feed: Source::Unasked, streams: Vec::new(), next_ticket: 0 }))
    }

    /// Adds a connection for a stream, which hears from now on. Where the
    /// stream has another connection, that one ends. `None` where nothing more
    /// will be said.
    fn join(&self, listen: impl FnOnce() -> F, tape: Option<&Arc<Tape>>) -> Option<Ticket> {
        let mut ears = self.lock();
        match ears.feed {
            Source::Unasked => ears.feed = Source::Open(listen()),
            Source::Open(_) => {}
            Source::Over => return None,
        }
        let ticket = Ticket(ears.next_ticket);
        ears.next_ticket += 1;
        let is_same = |ear: &mut Ear| {
            ear.tape.as_ref().zip(tape).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
        };
        let old: Vec<_> = ears.streams.extract_if(.., is_same).collect();
        ears.streams.push(Ear { ticket, tape: tape.cloned(), waker: None });
        drop(ears);
        wake(old);
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

    /// Polls for the next event that `ticket`'s stream is to carry. `None`
    /// where the stream is to end.
    fn poll_next(
        &self,
        ticket: Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Refusal>>> {
        let mut ears = self.lock();
        let Ears { feed, streams, .. } = &mut *ears;
        let Some(at) = streams.iter().position(|ear| ear.ticket == ticket) else {
            return Poll::Ready(None);
        };
        let hears = at + 1 == streams.len();
        let heard = match feed {
            Source::Open(feed) if hears => poll_said(feed, cx),
            _ => Poll::Pending,
        };
        match heard {
            Poll::Pending => {
                streams[at].waker = Some(cx.waker().clone());
                Poll::Pending
            }
            // Under the lock, so that a connection that takes the stream up
            // finds everything that this one was given.
            Poll::Ready(Ok(message)) => Poll::Ready(Some(Ok(streams[at].event(&message)))),
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

/// Polls for what belongs on a listening stream.
fn poll_said<F: Feed>(feed: &mut F, cx: &mut Context<'_>) -> Poll<Result<Message, F::End>> {
    loop {
        match feed.poll_next(cx) {
            // Answers go where they were asked for.
            Poll::Ready(Ok(Message::Response(response))) => {
                tracing::warn!(?response, "a response has no place on a listening stream");
            }
            said => return said,
        }
    }
}

fn wake(streams: Vec<Ear>) {
    for waker in streams.into_iter().filter_map(|ear| ear.waker) {
        waker.wake();
    }
}

// === impl Ear ===

impl Ear {
    fn event(&self, message: &Message) -> Bytes {
        match &self.tape {
            Some(tape) => tape.write(message.text()),
            None => events::event(message.text()),
        }
    }
}

// === impl ListenStream ===

impl<B: Backend> ListenStream<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(event) = self.first.pop_front() {
            return Poll::Ready(Some(event));
        }
        if let Poll::Ready(heard) = self.session.listening.poll_next(self.ticket, cx) {
            self.silence.broken();
            return Poll::Ready(match heard {
                Some(Ok(event)) => Some(event),
                Some(Err(Refusal::SessionEnded)) => {
                    self.shared.forget(&self.session);
                    None
                }
                Some(Err(Refusal::Cancelled)) | None => None,
            });
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
        let polled = self.poll(cx);
        events::frame(polled, &mut self.is_over)
    }
}

impl<B: Backend> Drop for ListenStream<B> {
    fn drop(&mut self) {
        self.session.listening.leave(self.ticket);
    }
}
