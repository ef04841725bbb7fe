//! What an upstream says unasked: the stream that a GET opens.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::time::Sleep;
use tracing::debug;
use wharf_http::{Answer, Collecting, EventReader, Sending, collect};
use wharf_proto::{
    Body, Message,
    transport::{EndReason, Feed},
};

use super::{
    cursor::Cursor,
    exchange::is_event_stream,
    refusal::{self, MAX_REFUSAL},
    wire::Wire,
};

/// What comes from a link unasked, until the link ends.
///
/// Silent until somebody listens and the handshake is over; then it keeps a
/// stream open, where the upstream has one to give. That such a stream ends
/// or breaks ends no session: it is opened again, from where it stood. The
/// feed ends when a call finds the session gone, when the upstream says so
/// here, or when this end says goodbye.
pub struct HttpFeed {
    wire: Arc<Wire>,
    state: State,
    inbox: VecDeque<Message>,
    cursor: Cursor,
    /// Whether the upstream has ever given a stream on this link.
    has_opened: bool,
}

/// Mostly there is no stream, and then there is no room kept for one.
enum State {
    Closed,
    Opening(Box<Sending>),
    Listening(Box<EventReader>),
    /// The body says whether the session is gone or there is no stream.
    Refused(StatusCode, Box<Collecting<Answer>>),
    Waiting(Pin<Box<Sleep>>),
    /// The upstream has no such stream.
    Never,
}

// === impl HttpFeed ===

impl HttpFeed {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self {
            wire,
            state: State::Closed,
            inbox: VecDeque::new(),
            cursor: Cursor::default(),
            has_opened: false,
        }
    }

    /// Goes one step on. Pends when the rest is the network's business, the
    /// clock's, or whoever wakes the feed on the wire.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.state = match &mut self.state {
            State::Closed if self.wire.is_listening() => self.open(),
            State::Closed | State::Never => return Poll::Pending,
            State::Opening(sending) => match ready!(Pin::new(sending).poll(cx)) {
                Ok(answer) => self.opened(answer),
                Err(error) => {
                    debug!(%error, "no listening stream could be opened");
                    self.wait()
                }
            },
            State::Listening(events) => match ready!(events.poll_event(cx)) {
                Ok(Some(event)) => {
                    self.cursor.pass(&event);
                    if event.event_type() == "message" && !event.data.is_empty() {
                        self.take(event.data);
                    }
                    return Poll::Ready(());
                }
                Ok(None) => self.wait(),
                Err(error) => {
                    debug!(%error, "the listening stream broke");
                    self.wait()
                }
            },
            State::Refused(status, body) => {
                let status = *status;
                let body = ready!(Pin::new(body).poll(cx)).unwrap_or_default();
                if refusal::is_about_the_session(status, body) {
                    self.wire.end(EndReason::SessionGone);
                    State::Never
                } else {
                    self.refused(status)
                }
            }
            State::Waiting(sleep) => {
                ready!(sleep.as_mut().poll(cx));
                self.open()
            }
        };
        Poll::Ready(())
    }

    fn open(&self) -> State {
        // That the link has ended is seen at the next step.
        self.wire
            .get(self.cursor.last_event_id())
            .map_or(State::Never, |sending| State::Opening(Box::new(sending)))
    }

    fn opened(&mut self, answer: Response<Answer>) -> State {
        let status = answer.status();
        if status == StatusCode::OK && is_event_stream(&answer) {
            self.has_opened = true;
            return State::Listening(Box::new(self.wire.events(answer.into_body())));
        }
        debug!(%status, "the upstream gave no listening stream");
        if self.wire.has_session() {
            match status {
                // There has been a stream, so it is the session that is not
                // found.
                StatusCode::NOT_FOUND if self.has_opened => {
                    self.wire.end(EndReason::SessionGone);
                    return State::Never;
                }
                // Some servers that know no GET say 404 where 405 is due.
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
                    let body = collect(answer.into_body(), MAX_REFUSAL);
                    return State::Refused(status, Box::new(body));
                }
                _ => {}
            }
        }
        self.wire.common.http.finish(answer.into_body());
        self.refused(status)
    }

    /// There is no stream now; perhaps there is one later, or one that does
    /// not go on from where the last one broke off.
    fn refused(&mut self, status: StatusCode) -> State {
        let is_place_unknown =
            matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::GONE)
                && self.cursor.forget_place();
        if is_place_unknown || may_pass(status) { self.wait() } else { State::Never }
    }

    fn wait(&mut self) -> State {
        let wait = self.cursor.wait(&self.wire.common.settings);
        State::Waiting(Box::pin(tokio::time::sleep(wait)))
    }

    fn take(&mut self, data: Bytes) {
        let messages = match Body::parse(data) {
            Ok(Body::Single(message)) => vec![message],
            Ok(Body::Batch(messages)) => messages,
            Err(error) => {
                debug!(%error, "dropped what is no message from the listening stream");
                return;
            }
        };
        for message in messages {
            match message {
                // No call is answered here (transports, listening for
                // messages).
                Message::Response(response) => {
                    debug!(?response, "dropped a response from the listening stream");
                }
                message => self.inbox.push_back(message),
            }
        }
    }
}

impl Feed for HttpFeed {
    type End = EndReason;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, EndReason>> {
        // Before anything is looked at, so that no change after is missed.
        self.wire.register_feed(cx.waker());
        loop {
            if let Some(reason) = self.wire.ended() {
                self.state = State::Never;
                return Poll::Ready(Err(reason.clone()));
            }
            if let Some(message) = self.inbox.pop_front() {
                return Poll::Ready(Ok(message));
            }
            ready!(self.poll_step(cx));
        }
    }
}

impl fmt::Debug for HttpFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Closed => "closed",
            State::Opening(_) => "opening",
            State::Listening(_) => "listening",
            State::Refused(..) => "refused",
            State::Waiting(_) => "waiting",
            State::Never => "never",
        };
        f.debug_struct("HttpFeed")
            .field("wire", &self.wire)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// Whether a refusal may be another answer the next time. 409 comes from
/// servers that have not yet seen the last stream break.
fn may_pass(status: StatusCode) -> bool {
    match status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => true,
        status => status.is_server_error(),
    }
}
