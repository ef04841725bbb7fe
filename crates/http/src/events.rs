//! Reading an event stream from a body.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body;
use wharf_proto::{
    sse::{DecodeError, Decoder, Event},
    transport::Cause,
};

use crate::Answer;

/// The events of a body. Dropping it closes the connection, unless the body
/// was read to its end.
pub struct EventReader<B = Answer> {
    body: B,
    decoder: Decoder,
}

/// An event stream that could not be read on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EventError {
    /// The connection broke.
    #[error("the connection broke within the event stream")]
    Broken {
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// What came is no event stream, or holds an event that is too large.
    #[error("the event stream cannot be read")]
    Bad {
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
}

// === impl EventReader ===

impl<B> EventReader<B>
where
    B: Body<Data = Bytes> + Unpin,
    Cause: From<B::Error>,
{
    /// Reads events of at most `limit` bytes from `body`.
    #[must_use]
    pub fn new(body: B, limit: usize) -> Self {
        Self { body, decoder: Decoder::new(limit) }
    }

    /// Polls for the next event; `None` at the end of the stream. An event
    /// that was cut off is dropped, as the standard says.
    ///
    /// # Errors
    ///
    /// [`EventError`], after which the stream must not be polled.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, EventError>> {
        loop {
            match self.decoder.next_event() {
                Ok(Some(event)) => return Poll::Ready(Ok(Some(event))),
                Ok(None) => {}
                Err(source) => return Poll::Ready(Err(EventError::Bad { source })),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.decoder.feed(data);
                    }
                }
                Some(Err(error)) => {
                    let source = error.into();
                    return Poll::Ready(Err(EventError::Broken { source }));
                }
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// The id to resume the stream from, where the server gave one.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.decoder.last_event_id()
    }

    /// What has not been read of the body.
    pub fn into_body(self) -> B {
        self.body
    }

    /// The next event; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// As [`EventReader::poll_event`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next_event(&mut self) -> Result<Option<Event>, EventError> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }
}

impl<B> fmt::Debug for EventReader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventReader")
    }
}
