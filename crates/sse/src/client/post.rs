//! One POST: whether the upstream took the message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use http_body::Body as _;
use wharf_http::{Answer, Sending};
use wharf_proto::transport::{CallError, Fate, Fault};

/// How much of the text beside a status is read so that the connection can
/// be used again; one that says more than this is closed instead.
const MAX_REST: usize = 16 * 1024;

/// A POST under way. First its status is known, which is all that matters;
/// then the rest of the answer, nothing or a word like "Accepted", is read off
/// the connection. As a future it is ready when that is done.
pub(super) struct Post(Stage);

enum Stage {
    Sending(Sending),
    Reading { body: Answer, left: usize },
    Over,
}

// === impl Post ===

impl Post {
    pub(super) const fn new(sending: Sending) -> Self {
        Self(Stage::Sending(sending))
    }

    /// Polls until the upstream has taken the message, and goes on reading
    /// when it has. An error is given once.
    pub(super) fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        if let Stage::Sending(sending) = &mut self.0 {
            let answered = ready!(Pin::new(sending).poll(cx));
            self.0 = Stage::Over;
            let response = answered?;
            if !response.status().is_success() {
                return Poll::Ready(Err(refusal(response.status())));
            }
            self.0 = Stage::Reading { body: response.into_body(), left: MAX_REST };
        }
        let _ = self.poll_rest(cx);
        Poll::Ready(Ok(()))
    }

    /// Gives it up, and says whether the upstream can have got the message.
    pub(super) fn call_off(&mut self) -> Fate {
        match &mut self.0 {
            Stage::Sending(sending) => sending.call_off(),
            Stage::Reading { .. } | Stage::Over => Fate::MayHaveRun,
        }
    }

    /// Whether nothing is left to do.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.0, Stage::Over)
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Stage::Reading { body, left } = &mut self.0 {
            let frame = ready!(Pin::new(body).poll_frame(cx));
            let length = match frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, bytes::Bytes::len),
                Some(Err(_)) | None => usize::MAX,
            };
            match left.checked_sub(length) {
                Some(less) => *left = less,
                None => self.0 = Stage::Over,
            }
        }
        Poll::Ready(())
    }
}

impl Future for Post {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // What it answers is no longer anybody's concern.
        let _ = ready!(self.poll_taken(cx));
        self.poll_rest(cx)
    }
}

/// What a status other than 2xx says of the message. The revision names no
/// status; by 404 servers mean the session that the URL names.
fn refusal(status: StatusCode) -> CallError {
    match status {
        StatusCode::NOT_FOUND => CallError::not_sent(Fault::SessionGone),
        _ => CallError::status(status),
    }
}
