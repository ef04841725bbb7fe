//! A call: one POST, and its answer in either of two forms.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Sleep;
use tracing::debug;
use wharf_http::{
    Answer, CollectError, Collecting, EventError, EventReader, Sending, collect, is_json,
    media_type,
};
use wharf_proto::{
    Body, Message, Request, RequestId, Response, Trace, header as names, method,
    sse::{DecodeError, Event},
    transport::{CallError, EndReason, Exchange, Fate, Fault},
};

use super::{
    cursor::Cursor,
    refusal::{self, MAX_REFUSAL, Refusal},
    wire::Wire,
};

/// A call over streamable HTTP. Driven by whoever polls it; dropping it
/// closes the connection of its POST and nothing else.
pub struct HttpExchange {
    wire: Arc<Wire>,
    id: RequestId,
    /// Whether this is `initialize`, whose answer gives the session.
    is_opening: bool,
    /// Whether the upstream has said something in relation to the call, and
    /// so has begun with it.
    has_begun: bool,
    state: State,
    /// Boxed: most calls get no further than their answer, and would have
    /// room for it all the same.
    besides: Option<Box<Besides>>,
}

/// What a call needs whose answer is not all that comes.
#[derive(Default)]
struct Besides {
    /// What came together with other messages and is to be passed on.
    inbox: VecDeque<Message>,
    /// Where its event stream stands.
    cursor: Cursor,
}

enum State {
    Unsent(Request),
    /// The head of the answer is awaited.
    Sending(Sending),
    /// The answer is JSON.
    Reading(Collecting<Answer>),
    /// The answer is an error that may say more in its body.
    Refused(StatusCode, Collecting<Answer>),
    /// The answer is an event stream. Boxed, so that a call makes room for it
    /// when it comes to that.
    Listening(Box<EventReader>),
    /// The event stream has ended early and is opened again after a while.
    Waiting(Pin<Box<Sleep>>),
    /// The head of its continuation is awaited.
    Resuming(Sending),
    /// Nothing is left but the inbox, if that.
    Ended,
}

/// Some progress: a message, or a state of which to go on.
type Step = Result<Option<Message>, CallError>;

// === impl HttpExchange ===

impl HttpExchange {
    pub(super) fn new(wire: Arc<Wire>, request: Request) -> Self {
        Self {
            wire,
            id: request.id().clone(),
            is_opening: request.method() == method::INITIALIZE,
            has_begun: false,
            state: State::Unsent(request),
            besides: None,
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        Poll::Ready(match &mut self.state {
            State::Unsent(request) => {
                let (text, trace) = (request.text().clone(), Trace::of(request));
                self.send(text, trace)
            }
            State::Sending(sending) => match ready!(Pin::new(sending).poll(cx)) {
                Ok(answer) => self.answered(answer),
                Err(error) => Err(error),
            },
            State::Reading(body) => match ready!(Pin::new(body).poll(cx)) {
                Ok(body) => self.read_json(body),
                Err(error) => Err(unread(error)),
            },
            State::Refused(status, body) => {
                let status = *status;
                // An unreadable body says nothing; the status still does.
                let body = ready!(Pin::new(body).poll(cx)).unwrap_or_default();
                self.refused(status, body)
            }
            State::Listening(events) => match ready!(events.poll_event(cx)) {
                Ok(Some(event)) => {
                    self.pass(&event);
                    let is_message = event.event_type() == "message" && !event.data.is_empty();
                    if is_message { self.read_event(event.data) } else { Ok(None) }
                }
                Ok(None) => self.interrupted(Fault::NoAnswer),
                Err(EventError::Broken { source }) => self.interrupted(Fault::Broken { source }),
                Err(EventError::Bad { source }) => Err(self.bad_stream(source)),
            },
            State::Waiting(sleep) => {
                ready!(sleep.as_mut().poll(cx));
                self.resume()
            }
            State::Resuming(sending) => match ready!(Pin::new(sending).poll(cx)) {
                Ok(answer) => self.resumed(answer),
                Err(error) => self.interrupted(error.fault),
            },
            State::Ended => unreachable!("an exchange must not be polled after its end"),
        })
    }

    fn send(&mut self, text: Bytes, trace: Option<Trace>) -> Step {
        self.state = State::Sending(match self.is_opening {
            true => self.wire.post_opening(text)?,
            false => self.wire.post(text, trace)?,
        });
        Ok(None)
    }

    /// Reads the head of the answer.
    fn answered(&mut self, answer: http::Response<Answer>) -> Step {
        let status = answer.status();
        let limit = self.wire.common.settings.max_message;
        if !status.is_success() {
            self.state = State::Refused(status, collect(answer.into_body(), MAX_REFUSAL));
            return Ok(None);
        }
        if self.is_opening {
            self.wire.learn_session(answer.headers())?;
        }
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            self.wire.common.http.finish(answer.into_body());
            return Err(CallError::may_have_run(Fault::NoAnswer));
        }
        self.state = if is_json(answer.headers()) {
            State::Reading(collect(answer.into_body(), limit))
        } else if is_event_stream(&answer) {
            State::Listening(Box::new(self.wire.events(answer.into_body())))
        } else {
            return Err(refusal::not_mcp(answer.headers()));
        };
        Ok(None)
    }

    fn read_json(&mut self, body: Bytes) -> Step {
        self.state = State::Ended;
        let message = self.sort(parse(body)?);
        let is_whole = matches!(message, Some(Message::Response(_)))
            || matches!(self.inbox().and_then(|inbox| inbox.back()), Some(Message::Response(_)));
        if is_whole {
            return Ok(message);
        }
        Err(CallError::may_have_run(Fault::NotMcp {
            found: "JSON that is no response to the request".into(),
        }))
    }

    fn read_event(&mut self, data: Bytes) -> Step {
        Ok(self.sort(parse(data)?))
    }

    /// Takes the first message out of a body and puts the others into the
    /// inbox, the response last: nothing comes after it.
    fn sort(&mut self, body: Body) -> Option<Message> {
        match body {
            Body::Single(message) => self.admit(message),
            Body::Batch(messages) => {
                let mut response = None;
                for message in messages {
                    match self.admit(message) {
                        Some(answer @ Message::Response(_)) => response = Some(answer),
                        other => self.besides().inbox.extend(other),
                    }
                }
                let inbox = &mut self.besides().inbox;
                inbox.extend(response);
                inbox.pop_front()
            }
        }
    }

    fn besides(&mut self) -> &mut Besides {
        self.besides.get_or_insert_default()
    }

    fn inbox(&mut self) -> Option<&mut VecDeque<Message>> {
        self.besides.as_mut().map(|besides| &mut besides.inbox)
    }

    /// Takes note of where an event leaves the stream, if it says so.
    fn pass(&mut self, event: &Event) {
        if self.besides.is_some() || event.id.is_some() || event.retry.is_some() {
            self.besides().cursor.pass(event);
        }
    }

    /// Keeps responses to other requests out. An error without an id is
    /// about this one: the body answers no other.
    fn admit(&self, message: Message) -> Option<Message> {
        match message {
            Message::Response(response) => match response.id() {
                Some(id) if *id == self.id => Some(response.into()),
                None => Some(response.with_id(&self.id).into()),
                Some(id) => {
                    debug!(%id, "dropped a response to another request");
                    None
                }
            },
            message => Some(message),
        }
    }

    fn refused(&mut self, status: StatusCode, body: Bytes) -> Step {
        let has_session = !self.is_opening && self.wire.has_session();
        match refusal::judge(status, body, has_session) {
            Refusal::Error(response) => Ok(Some(response.with_id(&self.id).into())),
            Refusal::SessionGone => Err(self.wire.session_gone()),
            Refusal::Status => Err(CallError::status(status)),
        }
    }

    /// The event stream has ended without the response. Where the upstream
    /// has given an id to go on from, that is no end (2025-11-25, transports,
    /// sending messages).
    fn interrupted(&mut self, fault: Fault) -> Step {
        let settings = &self.wire.common.settings;
        let cursor =
            self.besides.as_mut().map(|besides| &mut besides.cursor).filter(|cursor| {
                cursor.can_resume() && cursor.fruitless() < settings.resume_attempts
            });
        let Some(cursor) = cursor.filter(|_| self.wire.may_resume()) else {
            return Err(CallError::may_have_run(fault));
        };
        let wait = cursor.wait(settings);
        debug!(id = %self.id, ?wait, "the answer broke off and will be resumed");
        self.state = State::Waiting(Box::pin(tokio::time::sleep(wait)));
        Ok(None)
    }

    fn resume(&mut self) -> Step {
        let last_event_id = self.besides().cursor.last_event_id();
        let sending = self.wire.get(last_event_id);
        // Whatever keeps it from being resumed, the request itself was sent.
        let sending = sending.map_err(|error| CallError::may_have_run(error.fault))?;
        self.state = State::Resuming(sending);
        Ok(None)
    }

    fn resumed(&mut self, answer: http::Response<Answer>) -> Step {
        let status = answer.status();
        if status == StatusCode::OK && is_event_stream(&answer) {
            self.state = State::Listening(Box::new(self.wire.events(answer.into_body())));
            return Ok(None);
        }
        self.wire.common.http.finish(answer.into_body());
        if status == StatusCode::NOT_FOUND && self.wire.has_session() {
            self.wire.end(EndReason::SessionGone);
            return Err(CallError::may_have_run(Fault::SessionGone));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return self.interrupted(Fault::Status { status });
        }
        Err(CallError::may_have_run(Fault::NoAnswer))
    }

    fn bad_stream(&self, source: DecodeError) -> CallError {
        let limit = self.wire.common.settings.max_message;
        CallError::may_have_run(match source {
            DecodeError::TooLarge { .. } => Fault::TooLarge { limit },
            source @ DecodeError::NotUtf8 { .. } => Fault::BadStream { source: source.into() },
        })
    }

    /// Ends the exchange with the response.
    fn conclude(&mut self, response: Response, cx: &mut Context<'_>) -> Result<Message, CallError> {
        if let State::Listening(mut events) = mem::replace(&mut self.state, State::Ended) {
            // The stream is about to end; to drop it before would cost its
            // connection.
            let is_at_end = matches!(events.poll_event(cx), Poll::Ready(Ok(None) | Err(_)));
            if !is_at_end {
                self.wire.common.http.finish(events.into_body());
            }
        }
        let may_be_gone = !self.is_opening && !self.has_begun && self.wire.has_session();
        if may_be_gone && refusal::tells_session_end(&response) {
            return Err(self.wire.session_gone());
        }
        Ok(response.into())
    }
}

impl Exchange for HttpExchange {
    type Error = CallError;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CallError>> {
        loop {
            let received = self.inbox().and_then(VecDeque::pop_front);
            let step = match received {
                Some(message) => Ok(Some(message)),
                None => ready!(self.poll_step(cx)),
            };
            match step {
                Ok(None) => {}
                Ok(Some(Message::Response(response))) => {
                    return Poll::Ready(self.conclude(response, cx));
                }
                Ok(Some(message)) => {
                    self.has_begun = true;
                    return Poll::Ready(Ok(message));
                }
                Err(error) => {
                    self.state = State::Ended;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn call_off(&mut self) -> Fate {
        match &mut self.state {
            State::Unsent(_) => Fate::NotSent,
            State::Sending(sending) => sending.call_off(),
            _ => Fate::MayHaveRun,
        }
    }
}

impl fmt::Debug for HttpExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpExchange")
            .field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsent(_) => "unsent",
            Self::Sending(_) => "sending",
            Self::Reading(_) => "reading",
            Self::Refused(..) => "refused",
            Self::Listening(_) => "listening",
            Self::Waiting(_) => "waiting",
            Self::Resuming(_) => "resuming",
            Self::Ended => "ended",
        })
    }
}

/// Whether an answer is an event stream.
pub(super) fn is_event_stream(answer: &http::Response<Answer>) -> bool {
    media_type(answer.headers()).is_some_and(|mime| mime.eq_ignore_ascii_case(names::EVENT_STREAM))
}

fn parse(body: Bytes) -> Result<Body, CallError> {
    Body::parse(body).map_err(|source| CallError::may_have_run(Fault::Malformed { source }))
}

fn unread(error: CollectError) -> CallError {
    CallError::may_have_run(match error {
        CollectError::TooLarge { limit } => Fault::TooLarge { limit },
        CollectError::Broken { source } => Fault::Broken { source },
        CollectError::TimedOut { limit } => Fault::TimedOut { step: "end its answer", limit },
    })
}
