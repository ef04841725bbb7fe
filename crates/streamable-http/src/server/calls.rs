//! The calls of one POST, and who cares for them when the client goes away.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{SelectAll, select_all},
};
use tokio::time::Instant;
use wharf_http::LateTimer;
use wharf_proto::{
    Message,
    server::{Backend, Refusal},
    transport::Exchange,
};

use super::{
    OnDisconnect, Shared, carry, event_id::Kind, events, session::InUse, session::Session,
    strays::Leave, tape::Writer,
};

/// What the calls say, and at last each its answer.
pub(super) enum Calls<E> {
    One(Call<E>),
    Many(SelectAll<Call<E>>),
}

/// One call; empty once it has been answered or refused.
pub(super) struct Call<E>(Option<E>);

/// The calls of one POST while somebody waits for them. When that somebody
/// goes away before the end, the calls go on in a task, if they are to be
/// kept; that task ends with the session at the latest, and earlier where many
/// others follow it.
pub(super) struct InCare<B: Backend> {
    shared: Arc<Shared<B>>,
    /// Both are there until they move into a task.
    held: Option<(Calls<B::Exchange>, InUse<B>)>,
    session: Arc<Session<B>>,
    /// The session's, from when it is first waited for.
    timer: Option<LateTimer>,
    /// Of their stream, once there is one that can be asked for again.
    tape: Option<Writer>,
    is_over: bool,
}

// === impl Calls ===

impl<E: Exchange<Error = Refusal>> Calls<E> {
    pub(super) const fn one(exchange: E) -> Self {
        Self::One(Call(Some(exchange)))
    }

    pub(super) fn many(exchanges: impl IntoIterator<Item = E>) -> Self {
        let calls = exchanges.into_iter().map(|exchange| Call(Some(exchange)));
        Self::Many(select_all(calls))
    }

    /// How many there are that have not ended.
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(calls) => calls.len(),
        }
    }

    /// Those that go on without their client.
    fn survivors(self) -> Option<Self> {
        let survives = |call: &Call<E>| call.0.as_ref().is_some_and(Exchange::survives_disconnect);
        match self {
            Self::One(call) => survives(&call).then_some(Self::One(call)),
            Self::Many(calls) => {
                let survivors = select_all(calls.into_iter().filter(survives));
                (!survivors.is_empty()).then_some(Self::Many(survivors))
            }
        }
    }
}

impl<E: Exchange<Error = Refusal>> Stream for Calls<E> {
    type Item = Result<Message, Refusal>;

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Refusal>>> {
        match self.get_mut() {
            Self::One(call) => Pin::new(call).poll_next(cx),
            Self::Many(calls) => Pin::new(calls).poll_next(cx),
        }
    }
}

// === impl Call ===

impl<E: Exchange<Error = Refusal>> Stream for Call<E> {
    type Item = Result<Message, Refusal>;

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Refusal>>> {
        let this = self.get_mut();
        let Some(exchange) = &mut this.0 else {
            return Poll::Ready(None);
        };
        let said = ready!(exchange.poll_next(cx));
        if !matches!(said, Ok(Message::Request(_) | Message::Notification(_))) {
            this.0 = None;
        }
        Poll::Ready(Some(said))
    }
}

// === impl InCare ===

impl<B: Backend> InCare<B> {
    pub(super) fn new(shared: Arc<Shared<B>>, calls: Calls<B::Exchange>, in_use: InUse<B>) -> Self {
        Self {
            shared,
            session: Arc::clone(in_use.session()),
            held: Some((calls, in_use)),
            timer: None,
            tape: None,
            is_over: false,
        }
    }

    pub(super) const fn session(&self) -> &Arc<Session<B>> {
        &self.session
    }

    /// Polls for what a call says next. `None` when each has ended. Where the
    /// backend says that the session has, the server forgets it.
    pub(super) fn poll_said(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Refusal>>> {
        let Some((calls, _)) = self.held.as_mut().filter(|_| !self.is_over) else {
            return Poll::Ready(None);
        };
        let said = ready!(calls.poll_next_unpin(cx));
        match (&said, &*calls) {
            (None, _) | (Some(Ok(Message::Response(_))), Calls::One(_)) => self.is_over = true,
            (Some(Err(Refusal::SessionEnded)), _) => {
                self.is_over = true;
                self.shared.forget(&self.session);
            }
            _ => {}
        }
        Poll::Ready(said)
    }

    /// Waits for what a call says next, as [`InCare::poll_said`].
    pub(super) async fn said(&mut self) -> Option<Result<Message, Refusal>> {
        std::future::poll_fn(|cx| self.poll_said(cx)).await
    }

    /// Polls for a moment.
    pub(super) fn poll_until(&mut self, moment: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| self.session.timer());
        timer.poll_until(moment, cx)
    }

    /// Leaves the timer to the session's next call.
    fn return_timer(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.session.keep(timer);
        }
    }

    /// Whether each call has ended, as far as is known without polling.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What they say comes on an event stream from now on. Where it can be
    /// asked for again, it is written down.
    pub(super) fn begin_stream(&mut self) {
        // The stream has a timer of its own.
        self.return_timer();
        let replay = self.shared.settings.replay;
        if replay.is_on() && self.session.has_event_ids() {
            let tape = self.session.streams.open(Kind::Answers, replay, &self.shared.kept);
            self.tape = Some(Writer::new(tape));
        }
    }

    /// The tape of their stream.
    pub(super) const fn tape(&self) -> Option<&Writer> {
        self.tape.as_ref()
    }

    /// The event that their stream begins with, by the client's revision.
    pub(super) fn priming(&self) -> Option<Bytes> {
        let tape = self.tape.as_ref().filter(|_| self.session.has_priming_events())?;
        Some(tape.tape().priming())
    }

    /// The event that carries a message.
    pub(super) fn event(&self, message: &Message) -> Bytes {
        match &self.tape {
            Some(tape) => tape.tape().write(message.text()),
            None => events::event(message.text()),
        }
    }

    fn is_kept(&self) -> bool {
        // A client that goes away cancels by its revision, or by the
        // operator's word. A call that has panicked is beyond keeping.
        self.shared.settings.on_disconnect == OnDisconnect::Keep
            && !self.session.revision.is_some_and(|revision| revision.disconnect_cancels())
            && !self.session.has_ended()
            && !std::thread::panicking()
    }
}

impl<B: Backend> Drop for InCare<B> {
    fn drop(&mut self) {
        self.return_timer();
        if self.is_over || !self.is_kept() {
            return;
        }
        let most = self.shared.settings.max_kept_calls;
        if let Some((calls, in_use)) = self.held.take()
            && let Some(calls) = calls.survivors()
            && let Some(leave) = in_use.strays.admit(calls.len(), most)
        {
            let shared = Arc::downgrade(&self.shared);
            let keeping = keep(calls, in_use, leave, self.tape.take(), shared);
            carry::spawn(&self.shared.tasks, keeping);
        }
    }
}

/// Polls calls to their end, to the session's, or for as long as they have
/// leave, and writes down what they
/// say for a client that comes back. The server is held weakly: when nobody
/// serves any more, calls must not keep it up.
async fn keep<B: Backend>(
    mut calls: Calls<B::Exchange>,
    in_use: InUse<B>,
    leave: Leave,
    tape: Option<Writer>,
    shared: Weak<Shared<B>>,
) {
    let to_the_end = async {
        loop {
            if let Some(writer) = &tape {
                std::future::poll_fn(|cx| writer.tape().poll_all_read(cx)).await;
            }
            match calls.next().await {
                Some(Ok(message)) => match &tape {
                    Some(writer) => drop(writer.tape().write(message.text())),
                    // Its client has heard of no stream to come back to.
                    None => tracing::debug!(?message, "a message came after its client had gone"),
                },
                Some(Err(Refusal::Cancelled)) => {}
                Some(Err(Refusal::SessionEnded)) => {
                    if let Some(shared) = shared.upgrade() {
                        shared.forget(&in_use);
                    }
                    return;
                }
                None => return,
            }
        }
    };
    tokio::select! {
        biased;
        () = in_use.ended() => {}
        _ = leave => {}
        () = to_the_end => {}
    }
}
