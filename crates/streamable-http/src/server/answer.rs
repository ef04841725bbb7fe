//! The answer to a POST with calls: JSON, or an event stream.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use tokio::time::Instant;
use wharf_http::{Body, empty_response, json_response};
use wharf_proto::{
    Message,
    server::{Backend, Refusal},
};

use super::{
    calls::InCare,
    check::{Form, Rejection},
    events::{self, EventFrame, Silence},
    session::{Session, SessionEnded},
    tape::GiveWay,
};

/// Several answers are a JSON array, or begin a stream at once; one may be
/// either, and is an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    One,
    Several,
}

/// What is heard first of calls.
enum Heard {
    Said(Option<Result<Message, Refusal>>),
    SessionEnd,
    Silence,
}

/// The stream that carries what calls say and then their answers.
struct AnswerStream<B: Backend> {
    /// What was said before there was a stream.
    first: Option<Bytes>,
    seat: Arc<Seat<B>>,
    session_ended: SessionEnded,
    silence: Silence,
    is_over: bool,
}

/// Who cares for the calls of a stream while it lasts: the connection that the
/// stream began on, until its client takes the stream up on another.
struct Seat<B: Backend>(Mutex<Seated<B>>);

struct Seated<B: Backend> {
    calls: Option<InCare<B>>,
    /// Of the connection's task.
    waker: Option<Waker>,
}

/// Answers calls in the form that the client takes and that fits.
///
/// The response's head waits for what the calls say first, so that a session
/// that has ended can still be answered with 404, but not beyond a silence
/// after which proxies may take the connection for dead.
#[expect(clippy::manual_async_fn, reason = "it would have room for the calls twice")]
pub(super) fn answer<B: Backend>(
    mut calls: InCare<B>,
    form: Form,
    count: Count,
    keep_alive: Duration,
) -> impl Future<Output = Result<Response<Body>, Rejection>> + Send {
    async move {
        if form == Form::Json {
            // Rare: every other call would have to make room for it.
            return Box::pin(whole(calls, count)).await;
        }
        let may_be_json = form == Form::Fitting && count == Count::One;
        let session = Arc::clone(calls.session());
        let mut session_ended = std::pin::pin!(session.ended());
        // One that is too long to add never comes.
        let silent = Instant::now().checked_add(keep_alive).filter(|_| !keep_alive.is_zero());
        let said = loop {
            let heard = poll_fn(|cx| {
                if let Poll::Ready(said) = calls.poll_said(cx) {
                    return Poll::Ready(Heard::Said(said));
                }
                if session_ended.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Heard::SessionEnd);
                }
                let Some(silent) = silent else { return Poll::Pending };
                calls.poll_until(silent, cx).map(|()| Heard::Silence)
            });
            let said = match heard.await {
                Heard::Said(said) => said,
                Heard::SessionEnd => return Err(gone(&session)),
                Heard::Silence => break None,
            };
            match said {
                Some(Ok(Message::Response(response))) if may_be_json => {
                    return Ok(json_response(StatusCode::OK, response.text().clone()));
                }
                Some(Ok(message)) => break Some(message),
                Some(Err(Refusal::SessionEnded)) => return Err(Rejection::UnknownSession),
                // Another call may have an answer.
                Some(Err(Refusal::Cancelled)) => {}
                None => return Ok(events::response(Body::empty())),
            }
        };
        Ok(stream(calls, said, keep_alive))
    }
}

/// Begins a stream, with what has been said, if anything has.
fn stream<B: Backend>(
    mut calls: InCare<B>,
    said: Option<Message>,
    keep_alive: Duration,
) -> Response<Body> {
    calls.begin_stream();
    let said = said.map(|message| calls.event(&message));
    events::response(Body::stream(AnswerStream {
        first: events::joined(calls.priming(), said),
        session_ended: calls.session().ended_owned(),
        seat: Seat::taken_by(calls),
        silence: Silence::new(keep_alive),
        is_over: false,
    }))
}

/// Waits for all answers and drops what is said before them.
async fn whole<B: Backend>(
    mut calls: InCare<B>,
    count: Count,
) -> Result<Response<Body>, Rejection> {
    let session = Arc::clone(calls.session());
    let session_ended = session.ended();
    let mut answers = Vec::new();
    let all_said = async {
        while let Some(said) = calls.said().await {
            match said {
                Ok(Message::Response(response)) => answers.push(response),
                Ok(dropped) => {
                    tracing::debug!(message = ?dropped, "the client takes no event stream");
                }
                Err(Refusal::Cancelled) => {}
                Err(Refusal::SessionEnded) => return Err(Rejection::UnknownSession),
            }
        }
        Ok(())
    };
    tokio::select! {
        biased;
        outcome = all_said => outcome?,
        () = session_ended => return Err(gone(&session)),
    }
    Ok(match (count, answers.as_slice()) {
        // Cancelled: there is nothing to say, and that cannot be said in JSON.
        (_, []) => empty_response(StatusCode::ACCEPTED),
        (Count::One, [answer, ..]) => json_response(StatusCode::OK, answer.text().clone()),
        (Count::Several, answers) => json_response(StatusCode::OK, array(answers)),
    })
}

/// What a client is told whose session ended under its call. One without a
/// session loses it to the server's end alone.
pub(super) fn gone<B: Backend>(session: &Session<B>) -> Rejection {
    match session.id {
        Some(_) => Rejection::UnknownSession,
        None => Rejection::Stopping,
    }
}

fn array(answers: &[wharf_proto::Response]) -> Bytes {
    let length: usize = answers.iter().map(|answer| answer.text().len() + 1).sum();
    let mut array = BytesMut::with_capacity(length + 1);
    for (index, answer) in answers.iter().enumerate() {
        array.put_u8(if index == 0 { b'[' } else { b',' });
        array.put_slice(answer.text());
    }
    array.put_u8(b']');
    array.freeze()
}

// === impl AnswerStream ===

impl<B: Backend> AnswerStream<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if let Poll::Ready(event) = self.seat.poll_event(cx) {
            self.silence.broken();
            return Poll::Ready(event);
        }
        if self.session_ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.silence.poll_comment(cx).map(Some)
    }
}

impl<B: Backend> http_body::Body for AnswerStream<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EventFrame>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = self.poll(cx);
        events::frame(polled, &mut self.is_over)
    }

    /// True with the last answer, so that it and the end are written at once.
    fn is_end_stream(&self) -> bool {
        self.is_over || self.first.is_none() && self.seat.is_over()
    }
}

impl<B: Backend> Drop for AnswerStream<B> {
    fn drop(&mut self) {
        if self.first.is_none() {
            self.seat.leave();
        }
    }
}

// === impl Seat ===

impl<B: Backend> Seat<B> {
    fn taken_by(calls: InCare<B>) -> Arc<Self> {
        Arc::new_cyclic(|seat: &std::sync::Weak<Self>| {
            if let Some(writer) = calls.tape() {
                writer.tape().begins_on(seat.clone());
            }
            Self(Mutex::new(Seated { calls: Some(calls), waker: None }))
        })
    }

    /// Polls for the next event. `None` at the end, and where the client has
    /// taken the stream up elsewhere.
    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut seated = self.seated();
        let Some(calls) = &mut seated.calls else {
            return Poll::Ready(None);
        };
        while let Poll::Ready(said) = calls.poll_said(cx) {
            match said {
                // Written under the lock: who takes the stream up finds it.
                Some(Ok(message)) => return Poll::Ready(Some(calls.event(&message))),
                Some(Err(Refusal::Cancelled)) => {}
                Some(Err(Refusal::SessionEnded)) | None => return Poll::Ready(None),
            }
        }
        seated.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether each call has ended, as far as is known without polling.
    fn is_over(&self) -> bool {
        self.seated().calls.as_ref().is_none_or(InCare::is_over)
    }

    /// The connection goes, having sent on all that it has written down.
    fn leave(&self) {
        if let Some(calls) = self.seated().calls.as_ref().filter(|calls| calls.is_over())
            && let Some(writer) = calls.tape()
        {
            writer.tape().delivered();
        }
    }

    fn seated(&self) -> MutexGuard<'_, Seated<B>> {
        // Calls are polled under the lock. One that panics ends its stream.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> GiveWay for Seat<B> {
    fn give_way(&self) {
        let mut seated = self.seated();
        let (calls, waker) = (seated.calls.take(), seated.waker.take());
        drop(seated);
        // They go on in a task.
        drop(calls);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
