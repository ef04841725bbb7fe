//! The codec of `text/event-stream`: bytes to events and back, without I/O.
//!
//! [`Decoder`] reads a stream by the WHATWG HTML standard, section 9.2.6,
//! however the bytes are cut into chunks. [`encode()`], [`message`] and
//! [`comment`] write one. It departs from the standard in two places, both
//! where a program that forwards messages wants more than a browser that shows
//! them:
//!
//! - A block of lines with an `id` or a `retry` is an [`Event`] also when it
//!   has no `data`, which the standard keeps to itself. That is how a server
//!   sends the id to resume from and the time to wait before it (MCP
//!   2025-11-25, transports, streamable HTTP). A caller skips an event whose
//!   data is empty when it looks for messages.
//! - A value that is not UTF-8 is an error, where the standard would put U+FFFD
//!   in its place: a message that was changed on its way is worse than one
//!   that is missing.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, Decoder};
pub use encode::{comment, encode, message};

/// The type of an event that has no name.
const MESSAGE: &str = "message";

/// One event as the stream gave it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The `event` field. `None` when there was none or when it was empty,
    /// which is the same to the standard.
    pub name: Option<Line>,
    /// The `data` fields in UTF-8, joined by `\n`; empty when there was none.
    ///
    /// After decoding this may be a slice of the chunk that the event came in,
    /// and then keeps that chunk's memory while it lives.
    pub data: Bytes,
    /// The `id` field of this very event. Empty means that the stream took back
    /// the last id.
    pub id: Option<Line>,
    /// The `retry` field: how long to wait before a reconnection. Whole
    /// milliseconds on the wire.
    pub retry: Option<Duration>,
}

/// An event's name or id: one line, so that it cannot break out of its field.
///
/// Never contains CR or LF. Nor does it contain NUL, which the standard forbids
/// in an id, unless a [`Decoder`] read it as the name of an event, where the
/// standard allows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(Cow<'static, str>);

/// A text that contains CR, LF or NUL, and so cannot be the name or the id of
/// an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the name or the id of an event must not contain a line break or a NUL")]
pub struct UnfitLine;

// === impl Event ===

impl Event {
    /// The event's type as a browser would see it: its name, or `message`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.name.as_deref().unwrap_or(MESSAGE)
    }
}

// === impl Line ===

impl Line {
    /// The name `message`, which is also the type of an event without a name.
    pub const MESSAGE: Self = Self::from_static(MESSAGE);

    /// Takes the text, without a copy.
    ///
    /// # Errors
    ///
    /// [`UnfitLine`] when it contains CR, LF or NUL.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, UnfitLine> {
        let text = text.into();
        if is_valid(text.as_bytes()) { Ok(Self(text)) } else { Err(UnfitLine) }
    }

    /// The same for a text in the source code.
    ///
    /// # Panics
    ///
    /// When the text contains CR, LF or NUL; in a `const`, that is a compile
    /// error.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(is_valid(text.as_bytes()), "an event's name or id contains a line break or a NUL");
        Self(Cow::Borrowed(text))
    }

    /// The text as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A loop and not an iterator, because it has to run in a `const`.
const fn is_valid(text: &[u8]) -> bool {
    let mut i = 0;
    while i < text.len() {
        if matches!(text[i], b'\r' | b'\n' | 0) {
            return false;
        }
        i += 1;
    }
    true
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Line {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl TryFrom<String> for Line {
    type Error = UnfitLine;

    fn try_from(text: String) -> Result<Self, UnfitLine> {
        Self::new(text)
    }
}

impl From<Line> for String {
    fn from(text: Line) -> Self {
        text.0.into_owned()
    }
}
