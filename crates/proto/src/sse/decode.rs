//! Reads events out of a stream that comes in chunks.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;
use std::str;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2};
use thiserror::Error;

use super::{Event, Line, MESSAGE};

/// U+FEFF in UTF-8. One is dropped from the very beginning of a stream, and
/// nowhere else.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Decodes one stream, from the first byte of its body to the last.
///
/// [`feed`](Self::feed) a chunk, take events with
/// [`next_event`](Self::next_event) until there is none, and so on. An event
/// comes out as soon as the first byte that ends its blank line is in. What is
/// unfinished when the stream ends is no event, and goes with the decoder;
/// [`is_mid_event`](Self::is_mid_event) tells.
///
/// Data of a single line that lies within one chunk is a slice of that chunk;
/// everything else is copied once. While the decoder waits for bytes it holds
/// no chunk, and at most `limit` bytes of an unfinished event besides the last
/// id (in buffers that grow by doubling, so that they may have room for more).
/// The work is linear in the number of bytes, also when they come one at a
/// time.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// The bytes to read next.
    chunk: Bytes,
    /// What was fed before `chunk` was used up.
    queued: VecDeque<Bytes>,
    /// The beginning of a line whose end was not in the chunks so far. It has
    /// been searched.
    partial: BytesMut,
    /// Where in the stream `chunk` begins.
    position: Position,
    block: Block,
    last_event_id: String,
    failed: Option<DecodeError>,
}

/// Why a stream cannot be decoded any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The lines of one event, its comments and line ends not counted, are
    /// longer than the decoder was told to accept.
    #[error("an event is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The value of a field is not UTF-8. In comments and in fields that the
    /// standard does not know, nobody looks.
    ///
    /// The standard says to replace what is malformed. Here the data are
    /// messages for somebody else: a replaced byte would be a changed argument
    /// or result that nobody could tell from the true one.
    #[error("the `{field}` field of an event is not UTF-8")]
    NotUtf8 {
        /// The name of the field.
        field: &'static str,
    },
}

/// What the next byte may mean besides being part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// A byte order mark may begin here, or has begun: then `partial` holds its
    /// first bytes.
    Start,
    Line,
    /// A CR has ended a line. An LF that comes next belongs to it.
    AfterCr,
    /// In a comment. Its bytes are dropped as they come.
    Comment,
}

/// What the lines since the last blank line have said.
#[derive(Debug, Default)]
struct Block {
    name: Option<Line>,
    data: DataLines,
    id: Option<Line>,
    retry: Option<Duration>,
    /// Bytes of the lines, comments not counted. Never less than what the
    /// fields above hold.
    size: usize,
}

/// The `data` lines of a block.
#[derive(Debug, Default)]
enum DataLines {
    #[default]
    None,
    /// Usually a slice of the chunk.
    One(Bytes),
    /// Our own memory.
    Joined(BytesMut),
}

// === impl Decoder ===

impl Decoder {
    /// A decoder at the beginning of a stream.
    ///
    /// `limit` is the most that the lines of one event may have together, in
    /// bytes, without their line ends; comments do not count.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            chunk: Bytes::new(),
            queued: VecDeque::new(),
            partial: BytesMut::new(),
            position: Position::Start,
            block: Block::default(),
            last_event_id: String::new(),
            failed: None,
        }
    }

    /// Takes the next bytes of the stream; [`next_event`](Self::next_event)
    /// reads them.
    ///
    /// Chunks queue up without bound until they are read: take every event
    /// before feeding again.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.failed.is_some() {
            return;
        }
        if self.chunk.is_empty() && self.queued.is_empty() {
            self.chunk = chunk;
        } else {
            self.queued.push_back(chunk);
        }
    }

    /// The next event; `None` when it takes more bytes to tell.
    ///
    /// # Errors
    ///
    /// When the stream cannot be understood. The decoder then gives the same
    /// error for ever, and ignores what it is fed.
    pub fn next_event(&mut self) -> Result<Option<Event>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.read_event().inspect_err(|&error| {
            self.failed = Some(error);
            self.chunk = Bytes::new();
            self.queued = VecDeque::new();
            self.partial = BytesMut::new();
            self.block = Block::default();
        })
    }

    /// The id to resume the stream from: the last one among the events taken,
    /// unless it was empty.
    ///
    /// It stays while events without an id follow. The id of an unfinished
    /// event does not count.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        Some(self.last_event_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Whether a part of an event is in, but not its end: ask when the stream
    /// has ended and `next_event` gives no more.
    #[must_use]
    pub fn is_mid_event(&self) -> bool {
        self.block.size > 0 || !self.partial.is_empty()
    }

    fn read_event(&mut self) -> Result<Option<Event>, DecodeError> {
        while let Some(line) = self.next_line()? {
            if !line.is_empty() {
                self.block.add(line)?;
                continue;
            }
            let event = mem::take(&mut self.block).into_event();
            if let Some(id) = event.as_ref().and_then(|event| event.id.as_deref()) {
                // Into the same memory again: ids of one stream are about as
                // long as each other.
                self.last_event_id.clear();
                self.last_event_id.push_str(id);
            }
            if event.is_some() {
                return Ok(event);
            }
        }
        // A slice would hold on to the whole of a chunk for as long as the
        // other side likes.
        self.block.data.detach();
        Ok(None)
    }

    /// The next line that is no comment, without its end.
    fn next_line(&mut self) -> Result<Option<Bytes>, DecodeError> {
        while self.refill() {
            match (self.position, self.chunk[0]) {
                (Position::Start, _) => {
                    self.drop_byte_order_mark();
                    continue;
                }
                (Position::AfterCr, b'\n') => {
                    self.position = Position::Line;
                    self.chunk.advance(1);
                    continue;
                }
                (Position::Comment, _) => {}
                (_, b':') if self.partial.is_empty() => self.position = Position::Comment,
                _ => self.position = Position::Line,
            }
            let is_comment = self.position == Position::Comment;
            let end = memchr2(b'\r', b'\n', &self.chunk);
            let length = self.partial.len() + end.unwrap_or(self.chunk.len());
            if !is_comment && length > self.limit - self.block.size {
                return Err(DecodeError::TooLarge { limit: self.limit });
            }
            let Some(end) = end else {
                if !is_comment {
                    self.partial.extend_from_slice(&self.chunk);
                }
                self.chunk.clear();
                continue;
            };
            let line = self.take_line(end);
            if !is_comment {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Takes the line that ends at `end` of the chunk, and its end.
    fn take_line(&mut self, end: usize) -> Bytes {
        let line = if self.partial.is_empty() {
            self.chunk.split_to(end)
        } else {
            self.partial.extend_from_slice(&self.chunk[..end]);
            self.chunk.advance(end);
            mem::take(&mut self.partial).freeze()
        };
        // Whether an LF follows is seen when it comes: waiting for it would
        // hold back the event.
        self.position = if self.chunk[0] == b'\r' { Position::AfterCr } else { Position::Line };
        self.chunk.advance(1);
        line
    }

    /// Sees to it that `chunk` has a byte; `false` when there is none left.
    fn refill(&mut self) -> bool {
        while self.chunk.is_empty() {
            // Also when nothing is queued: an empty slice would keep its
            // chunk's memory.
            self.chunk = Bytes::new();
            match self.queued.pop_front() {
                Some(chunk) => self.chunk = chunk,
                None => return false,
            }
        }
        true
    }

    /// At the start of the stream, drops a byte order mark or as much of it as
    /// there is.
    fn drop_byte_order_mark(&mut self) {
        let rest = &BYTE_ORDER_MARK[self.partial.len()..];
        if self.chunk.starts_with(rest) {
            self.chunk.advance(rest.len());
            self.partial.clear();
            self.position = Position::Line;
        } else if rest.starts_with(&self.chunk) {
            self.partial.extend_from_slice(&self.chunk);
            self.chunk.clear();
        } else {
            self.position = Position::Line;
        }
    }

    /// Bytes held besides the chunks and the last id.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let data = match &self.block.data {
            DataLines::None => 0,
            DataLines::One(line) => line.len(),
            DataLines::Joined(lines) => lines.len(),
        };
        let lines = [&self.block.name, &self.block.id]
            .into_iter()
            .flatten()
            .map(|line| line.len())
            .sum::<usize>();
        self.partial.len() + data + lines
    }
}

// === impl Block ===

impl Block {
    /// Adds a line that is neither blank nor a comment.
    fn add(&mut self, mut line: Bytes) -> Result<(), DecodeError> {
        self.size += line.len();
        let colon = memchr(b':', &line);
        let (name, value) = match colon {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                utf8("data", value)?;
                line.advance(line.len() - value.len());
                self.data.push(line);
            }
            b"event" => {
                self.name = match utf8("event", value)? {
                    "" => None,
                    // Nearly every event has this name: no memory for it.
                    MESSAGE => Some(Line::MESSAGE),
                    name => Some(Line(Cow::Owned(name.to_owned()))),
                };
            }
            b"id" if memchr(0, value).is_none() => {
                self.id = Some(Line(Cow::Owned(utf8("id", value)?.to_owned())))
            }
            b"retry" => self.retry = milliseconds(value).or(self.retry),
            _ => {}
        }
        Ok(())
    }

    /// The event that the block is, if it is one.
    fn into_event(self) -> Option<Event> {
        let Self { name, data, id, retry, size: _ } = self;
        let data = match data {
            DataLines::None if id.is_none() && retry.is_none() => return None,
            DataLines::None => Bytes::new(),
            DataLines::One(line) => line,
            DataLines::Joined(lines) => lines.freeze(),
        };
        Some(Event { name, data, id, retry })
    }
}

fn utf8<'a>(field: &'static str, value: &'a [u8]) -> Result<&'a str, DecodeError> {
    str::from_utf8(value).map_err(|_| DecodeError::NotUtf8 { field })
}

/// The value of a `retry` field, if it has only digits and is not out of all
/// reason.
fn milliseconds(value: &[u8]) -> Option<Duration> {
    // `parse` alone would take a plus sign.
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let milliseconds = str::from_utf8(value).ok()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds))
}

// === impl DataLines ===

impl DataLines {
    fn push(&mut self, line: Bytes) {
        self.detach();
        match self {
            Self::Joined(lines) => {
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&line);
            }
            Self::None | Self::One(_) => *self = Self::One(line),
        }
    }

    /// Copies a line that may be a slice of a chunk, so that the chunk can go.
    fn detach(&mut self) {
        if let Self::One(line) = self {
            *self = Self::Joined(BytesMut::from(&line[..]));
        }
    }
}
