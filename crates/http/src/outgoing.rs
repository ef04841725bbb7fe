//! The body of a request, which knows whether it has begun to be sent.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wharf_proto::transport::Fate;

/// A body that is there already. It is handed to the connection whole, and
/// only while nobody has called the request off.
#[derive(Debug)]
pub(crate) struct Outgoing {
    bytes: Bytes,
    progress: Arc<Progress>,
}

/// How far the body has got; shared with who waits for the answer.
#[derive(Debug)]
pub(crate) struct Progress(AtomicU8);

/// The request was called off before its body was handed to the connection,
/// which therefore cannot send it whole.
#[derive(Debug, thiserror::Error)]
#[error("the request was called off")]
pub(crate) struct CalledOff;

const QUEUED: u8 = 0;
const HANDED_OVER: u8 = 1;
const CALLED_OFF: u8 = 2;

// === impl Outgoing ===

impl Outgoing {
    pub(crate) fn new(bytes: Bytes) -> (Self, Arc<Progress>) {
        // Nobody asks for an empty body, so it can be held back no more.
        let begun = if bytes.is_empty() { HANDED_OVER } else { QUEUED };
        let progress = Arc::new(Progress(AtomicU8::new(begun)));
        (Self { bytes, progress: Arc::clone(&progress) }, progress)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = CalledOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CalledOff>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        if !self.progress.advance(HANDED_OVER) {
            return Poll::Ready(Some(Err(CalledOff)));
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

// === impl Progress ===

impl Progress {
    /// Keeps the body back if it has not been handed over. Either it is never
    /// sent from now on, or it may have been.
    pub(crate) fn call_off(&self) -> Fate {
        if self.advance(CALLED_OFF) { Fate::NotSent } else { Fate::MayHaveRun }
    }

    /// Leaves the queue for `to`; `false` where it was left for something
    /// else before.
    fn advance(&self, to: u8) -> bool {
        let left = self.0.compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire);
        left.map_or_else(|now| now == to, |_| true)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn frame(body: &mut Outgoing) -> Option<Result<Bytes, CalledOff>> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(frame) = Pin::new(body).poll_frame(&mut cx) else {
            panic!("the body is there already")
        };
        frame.map(|frame| frame.map(|frame| frame.into_data().expect("it has no trailers")))
    }

    #[test]
    fn a_body_that_was_called_off_is_never_sent() {
        let (mut body, progress) = Outgoing::new(Bytes::from_static(b"{}"));
        assert_eq!(progress.call_off(), Fate::NotSent);
        assert!(matches!(frame(&mut body), Some(Err(CalledOff))));
        assert_eq!(progress.call_off(), Fate::NotSent);
    }

    #[test]
    fn a_body_that_was_handed_over_may_have_been_sent() {
        let (mut body, progress) = Outgoing::new(Bytes::from_static(b"{}"));
        assert!(matches!(frame(&mut body), Some(Ok(data)) if data == "{}"));
        assert_eq!(progress.call_off(), Fate::MayHaveRun);
        assert!(frame(&mut body).is_none());
        assert!(body.is_end_stream());
    }

    #[test]
    fn a_request_without_a_body_cannot_be_held_back() {
        let (_, progress) = Outgoing::new(Bytes::new());
        assert_eq!(progress.call_off(), Fate::MayHaveRun);
    }
}
