//! A call on a pooled session.

use std::{
    fmt,
    task::{Context, Poll},
};

use wharf_proto::{
    Message, ProgressToken, RequestId,
    transport::{CallError, Exchange, Fault, Link},
};

use crate::{Session, life::Watch, session::Order};

/// A call under way, as an [`Exchange`].
///
/// It belongs to its caller: dropping it ends this call and no other, and
/// tells the upstream. The session's end fails it at once.
pub struct Call<L: Link> {
    exchange: L::Exchange,
    /// Its session, whose end is its own.
    watch: Watch<Session<L>>,
    ids: Ids,
    state: State,
}

/// The names of the call on either side of the pool.
struct Ids {
    upstream: u64,
    caller: RequestId,
    /// The upstream's token and the caller's. Boxed: few calls have any, and
    /// all would have room for them.
    token: Option<Box<(ProgressToken, ProgressToken)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unsent,
    UnderWay,
    Over,
}

// === impl Call ===

impl<L: Link> Call<L> {
    pub(crate) fn new(
        session: Session<L>,
        exchange: L::Exchange,
        upstream: u64,
        caller: RequestId,
        token: Option<(ProgressToken, ProgressToken)>,
    ) -> Self {
        let watch = Watch::new(session);
        let ids = Ids { upstream, caller, token: token.map(Box::new) };
        Self { exchange, watch, ids, state: State::Unsent }
    }

    const fn session(&self) -> &Session<L> {
        self.watch.held()
    }

    /// The token by which the upstream tells of the call's progress, and the
    /// caller's own, where the caller has given one. What an upstream says of
    /// it after the answer comes under the former.
    #[must_use]
    pub fn progress_token(&self) -> Option<(&ProgressToken, &ProgressToken)> {
        self.ids.token.as_deref().map(|(ours, theirs)| (ours, theirs))
    }
}

impl<L: Link> Exchange for Call<L> {
    type Error = CallError;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CallError>> {
        if self.state == State::Unsent
            && let Some(reason) = self.session().close_reason()
        {
            self.state = State::Over;
            return Poll::Ready(Err(CallError::not_sent(Fault::Ended(reason.as_end()))));
        }
        let polled = self.exchange.poll_next(cx);
        if self.state == State::Unsent {
            self.state = State::UnderWay;
        }
        match polled {
            Poll::Ready(Ok(Message::Response(response))) => {
                self.state = State::Over;
                self.session().has_answered();
                Poll::Ready(Ok(response.with_id(&self.ids.caller).into()))
            }
            Poll::Ready(Ok(message)) => Poll::Ready(Ok(self.ids.give_back(message))),
            Poll::Ready(Err(error)) => {
                self.state = State::Over;
                Poll::Ready(Err(error))
            }
            Poll::Pending => self.watch.poll_end(cx).map(|reason| {
                self.state = State::Over;
                let fate = self.exchange.call_off();
                Err(CallError { fate, fault: Fault::Ended(reason.as_end()) })
            }),
        }
    }
}

impl<L: Link> Drop for Call<L> {
    fn drop(&mut self) {
        if self.state == State::UnderWay {
            // The owner tells the upstream: whoever drops a call has no time.
            self.session().order(Order::Abandon(self.ids.upstream));
        }
    }
}

impl<L: Link> fmt::Debug for Call<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({:?}, {:?}, {:?})", self.session(), self.ids.caller, self.state)
    }
}

// === impl Ids ===

impl Ids {
    /// Puts the caller's token into progress that carries the session's.
    fn give_back(&self, message: Message) -> Message {
        let Message::Notification(notification) = &message else {
            return message;
        };
        let Some((ours, theirs)) = self.token.as_deref() else {
            return message;
        };
        match notification.progress_token() {
            Some((token, part)) if token == *ours => {
                notification.replace(&part, &theirs.to_json()).into()
            }
            _ => message,
        }
    }
}
