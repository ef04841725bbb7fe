//! GET: a client listens, or takes up a stream that broke off.
//!
//! Whether a stream began with a POST or a GET, it is taken up with a GET that
//! names the last event the client has got (2025-11-25, transports,
//! resumability). What comes after that event on the same stream is sent
//! again, as far as it is kept, and then what has not been said yet; nothing
//! of any other stream.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use wharf_http::{Body, accepts};
use wharf_proto::{
    header::{EVENT_STREAM, LAST_EVENT_ID},
    server::Backend,
};

use super::{
    Shared,
    check::Rejection,
    event_id::{EventId, Kind},
    events::{self, EventFrame, Silence},
    listen::{self, Stand},
    session::{InUse, SessionEnded},
    streams::Found,
    tape::{Tape, Ticket},
};

/// The rest of a stream that a POST began.
struct Rest<B: Backend> {
    tape: Arc<Tape>,
    ticket: Ticket,
    /// Held so that the session is in use.
    _session: InUse<B>,
    session_ended: SessionEnded,
    silence: Silence,
    is_over: bool,
}

/// Answers a GET.
pub(super) fn get<B: Backend>(
    shared: &Arc<Shared<B>>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Rejection> {
    if !accepts(headers, EVENT_STREAM) {
        return Err(Rejection::NotAcceptable { offered: EVENT_STREAM });
    }
    let session = shared.own_session(headers)?;
    let Some(last) = headers.get(LAST_EVENT_ID) else {
        return listen::open(shared, session, Stand::New);
    };
    let last = last.to_str().ok().and_then(|last| last.parse::<EventId>().ok());
    let last = last.ok_or(Rejection::NothingKept)?;
    match (last.stream.kind, session.streams.find(last.stream)) {
        (Kind::Answers, Found::Kept(tape)) => rest(shared, session, tape, last.number),
        (Kind::Listening, Found::Kept(tape)) => {
            listen::open(shared, session, Stand::After { tape, last: last.number })
        }
        // What was said meanwhile is lost; what is yet to be said is not.
        (Kind::Listening, Found::Forgotten) => listen::open(shared, session, Stand::New),
        (Kind::Answers, Found::Forgotten) | (_, Found::Unknown) => Err(Rejection::NothingKept),
    }
}

fn rest<B: Backend>(
    shared: &Arc<Shared<B>>,
    session: InUse<B>,
    tape: Arc<Tape>,
    last: u64,
) -> Result<Response<Body>, Rejection> {
    let ticket = tape.read_after(last).ok_or(Rejection::NothingKept)?;
    Ok(events::response(Body::stream(Rest {
        tape,
        ticket,
        session_ended: session.session().ended_owned(),
        _session: session,
        silence: Silence::new(shared.settings.keep_alive),
        is_over: false,
    })))
}

// === impl Rest ===

impl<B: Backend> Rest<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(event) = self.tape.poll_event(self.ticket, cx) {
            self.silence.broken();
            return Poll::Ready(event);
        }
        if self.session_ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.silence.poll_comment(cx).map(Some)
    }
}

impl<B: Backend> http_body::Body for Rest<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EventFrame>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = self.poll(cx);
        events::frame(polled, &mut self.is_over)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.tape.is_read(self.ticket)
    }
}

impl<B: Backend> Drop for Rest<B> {
    fn drop(&mut self) {
        self.tape.leave(self.ticket);
    }
}
