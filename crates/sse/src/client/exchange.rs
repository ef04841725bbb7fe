//! One call: its POST, and what the stream brings for it.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use wharf_proto::{
    Message, Request, Trace,
    transport::{CallError, Exchange, Fate},
};

use super::{calls::Seat, link::Wire, post::Post};

/// A call on an [`SseLink`](super::SseLink).
///
/// The POST begins when it is first polled. Dropping it takes the call off the
/// link's books; an answer that still comes is passed over.
pub struct SseExchange {
    wire: Arc<Wire>,
    stage: Stage,
}

enum Stage {
    Unsent(Request),
    Underway { seat: Seat, post: Post },
    Over,
}

// === impl SseExchange ===

impl SseExchange {
    pub(super) const fn new(wire: Arc<Wire>, request: Request) -> Self {
        Self { wire, stage: Stage::Unsent(request) }
    }

    fn begin(&self, request: &Request) -> Result<Stage, CallError> {
        // The seat first: the answer may come before the POST's own.
        let seat = self.wire.calls().seat(request)?;
        let post = self.wire.post(request.text().clone(), Trace::of(request));
        Ok(Stage::Underway { seat, post })
    }
}

impl Exchange for SseExchange {
    type Error = CallError;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CallError>> {
        if let Stage::Unsent(request) = &self.stage {
            match self.begin(request) {
                Ok(stage) => self.stage = stage,
                Err(error) => {
                    self.stage = Stage::Over;
                    return Poll::Ready(Err(error));
                }
            }
        }
        let Stage::Underway { seat, post } = &mut self.stage else {
            panic!("an exchange is not polled after its answer");
        };
        let polled = poll_underway(&self.wire, seat, post, cx);
        match &polled {
            Poll::Pending | Poll::Ready(Ok(Message::Request(_) | Message::Notification(_))) => {}
            Poll::Ready(Ok(Message::Response(_))) => {
                if let Stage::Underway { post, .. } =
                    std::mem::replace(&mut self.stage, Stage::Over)
                {
                    self.wire.leave(post);
                }
            }
            Poll::Ready(Err(error)) => {
                self.stage = Stage::Over;
                self.wire.note(error);
            }
        }
        polled
    }

    fn call_off(&mut self) -> Fate {
        match &mut self.stage {
            Stage::Unsent(_) => Fate::NotSent,
            Stage::Underway { post, .. } => post.call_off(),
            Stage::Over => Fate::MayHaveRun,
        }
    }
}

fn poll_underway(
    wire: &Wire,
    seat: &mut Seat,
    post: &mut Post,
    cx: &mut Context<'_>,
) -> Poll<Result<Message, CallError>> {
    match seat.poll_delivery(cx) {
        Poll::Ready(Some(delivery)) => return Poll::Ready(delivery),
        Poll::Ready(None) => {
            // The link has ended. What the POST itself may have to say is more
            // exact where it says that the message was not taken.
            return Poll::Ready(Err(match post.poll_taken(cx) {
                Poll::Ready(Err(error)) if error.fate == Fate::NotSent => error,
                _ => wire.ended_under(post),
            }));
        }
        Poll::Pending => {}
    }
    match post.poll_taken(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
    }
}

impl fmt::Debug for SseExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Unsent(_) => "unsent",
            Stage::Underway { .. } => "under way",
            Stage::Over => "over",
        };
        write!(f, "SseExchange({stage})")
    }
}
