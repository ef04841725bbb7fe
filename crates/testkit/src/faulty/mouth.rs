//! What is said on an event stream, and by whom.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    line::{Line, Over},
    record::Record,
};

/// By which a call, or a session, speaks. Whoever holds the [`Speech`] writes
/// it down. Clones speak on the same stream.
#[derive(Clone)]
pub(super) struct Mouth {
    said: mpsc::UnboundedSender<Said>,
    /// Whether the stream is one call's, and ends with it.
    is_own: bool,
}

/// What is said.
pub(super) type Speech = mpsc::UnboundedReceiver<Said>;

/// One thing to be done to a stream.
#[derive(Debug)]
pub(super) enum Said {
    Message(Message),
    /// Half of a message, and then the connection is reset.
    Half(String),
    Reset,
    End,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) json: String,
    /// How long to wait between two bytes.
    pub(super) drip: Option<Duration>,
    /// The request that is answered by it.
    pub(super) answers: Option<usize>,
}

// === impl Mouth ===

impl Mouth {
    /// For one call, whose end is the stream's.
    pub(super) fn of_call() -> (Self, Speech) {
        let (said, speech) = mpsc::unbounded_channel();
        (Self { said, is_own: true }, speech)
    }

    /// For a session, on whose stream all its calls are answered.
    pub(super) fn of_session() -> (Self, Speech) {
        let (said, speech) = mpsc::unbounded_channel();
        (Self { said, is_own: false }, speech)
    }

    /// `false` where nobody listens any more.
    pub(super) fn say(&self, message: &Value) -> bool {
        self.put(Said::Message(Message { json: message.to_string(), drip: None, answers: None }))
    }

    pub(super) fn put(&self, said: Said) -> bool {
        self.said.send(said).is_ok()
    }

    /// Ends the stream where it is the call's own.
    pub(super) fn finish(&self) {
        if self.is_own {
            self.put(Said::End);
        }
    }
}

/// Writes an event stream, whose head is written, to its end.
pub(super) async fn write_down(
    speech: &mut Speech,
    line: &mut Line,
    record: &Record,
) -> Result<(), Over> {
    loop {
        match line.unless_closed(speech.recv()).await? {
            Some(said) => {
                if write(said, line, record).await? {
                    return Ok(());
                }
            }
            None => return line.chunk(b"").await,
        }
    }
}

/// Writes one thing down. `true` when that was the end of the stream.
pub(super) async fn write(said: Said, line: &mut Line, record: &Record) -> Result<bool, Over> {
    match said {
        Said::Message(Message { json, drip, answers }) => {
            let event = event(&json);
            match drip {
                None => line.chunk(event.as_bytes()).await?,
                Some(between) => {
                    for byte in event.as_bytes() {
                        line.chunk(&[*byte]).await?;
                        line.pause(between).await?;
                    }
                }
            }
            if let Some(request) = answers {
                record.answered(request);
            }
            Ok(false)
        }
        Said::Half(json) => {
            let event = event(&json);
            line.chunk(&event.as_bytes()[..event.len() / 2]).await?;
            Err(line.reset())
        }
        Said::Reset => Err(line.reset()),
        Said::End => {
            line.chunk(b"").await?;
            Ok(true)
        }
    }
}

/// An event that holds a message.
pub(super) fn event(json: &str) -> String {
    format!("event: message\ndata: {json}\n\n")
}
