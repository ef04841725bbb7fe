//! One stream's tape: what it has said, so that it can be said again to a
//! client whose connection broke.
//!
//! Whoever brings the stream's messages writes them here. While the client's
//! first connection lasts, that is the body of the connection itself, which
//! sends on what it has written. Afterwards it is a task, and a client that
//! comes back reads the tape: it is the tape's reader. The writer waits for
//! the reader, so that the tape never grows because a client reads slowly.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use wharf_proto::sse::{self, Event, Line};

use super::{
    event_id::{EventId, StreamId},
    replay::{Ledger, Replay, Room},
};

/// What a stream has said, within bounds.
pub(super) struct Tape {
    id: StreamId,
    bounds: Replay,
    ledger: Arc<Ledger>,
    reel: Mutex<Reel>,
}

/// The writer's hold on a tape: dropping it says that nothing more will come.
pub(super) struct Writer(Arc<Tape>);

/// A connection that carries a stream and can be told to leave it to another.
pub(super) trait GiveWay: Send + Sync {
    /// Ends the connection's part in the stream. What brings the messages
    /// goes on without it.
    fn give_way(&self);
}

struct Reel {
    events: VecDeque<Entry>,
    /// The number of the next event.
    next: u64,
    is_over: bool,
    /// Whether a connection has taken all there is.
    is_delivered: bool,
    /// The connection that the stream began on, while it writes the tape.
    first: Option<Weak<dyn GiveWay>>,
    reader: Option<Reader>,
    /// Of the writer that waits for the reader.
    writer: Option<Waker>,
    next_ticket: u64,
}

struct Entry {
    number: u64,
    event: Bytes,
    at: Instant,
    /// `None` where there was no room to keep it: then it is only here for
    /// the reader that is there.
    room: Option<Room>,
}

struct Reader {
    ticket: Ticket,
    /// The last event it has read.
    after: u64,
    waker: Option<Waker>,
}

/// Tells one reader from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

// === impl Tape ===

impl Tape {
    pub(super) fn new(id: StreamId, bounds: Replay, ledger: Arc<Ledger>) -> Self {
        let reel = Reel {
            events: VecDeque::new(),
            next: 1,
            is_over: false,
            is_delivered: false,
            first: None,
            reader: None,
            writer: None,
            next_ticket: 0,
        };
        Self { id, bounds, ledger, reel: Mutex::new(reel) }
    }

    pub(super) const fn id(&self) -> StreamId {
        self.id
    }

    /// The event that a stream begins with: an id to ask for the stream by,
    /// and how long to wait before (2025-11-25, transports).
    pub(super) fn priming(&self) -> Bytes {
        let id = EventId { stream: self.id, number: 0 };
        let event =
            Event { id: Some(line(id)), retry: Some(self.bounds.retry), ..Event::default() };
        let mut text = BytesMut::new();
        sse::encode(&event, &mut text);
        text.freeze()
    }

    /// Writes a message down, and gives the event that carries it.
    pub(super) fn write(&self, message: &[u8]) -> Bytes {
        let mut reel = self.reel();
        let id = EventId { stream: self.id, number: reel.next };
        let mut event = BytesMut::new();
        sse::message(Some(&line(id)), message, &mut event);
        let event = event.freeze();
        reel.next += 1;
        let room = self.make_room(&mut reel, event.len());
        let waker = match &mut reel.reader {
            Some(reader) => reader.waker.take(),
            None if room.is_none() => return event,
            None => None,
        };
        let entry = Entry { number: id.number, event: event.clone(), at: Instant::now(), room };
        reel.events.push_back(entry);
        drop(reel);
        wake(waker);
        event
    }

    /// Takes room for an event, from older ones of the stream if need be.
    fn make_room(&self, reel: &mut Reel, bytes: usize) -> Option<Room> {
        if !self.ledger.could_hold(bytes) {
            return None;
        }
        while reel.events.len() >= self.bounds.events {
            reel.events.pop_front();
        }
        loop {
            if let Some(room) = self.ledger.take(bytes) {
                return Some(room);
            }
            reel.events.pop_front()?;
        }
    }

    /// Remembers the connection that the stream begins on.
    pub(super) fn begins_on(&self, connection: Weak<dyn GiveWay>) {
        self.reel().first = Some(connection);
    }

    /// Waits until the reader, if there is one, has read everything.
    pub(super) fn poll_all_read(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut reel = self.reel();
        let last = reel.events.back().map_or(0, |last| last.number);
        if reel.reader.as_ref().is_none_or(|reader| reader.after >= last) {
            return Poll::Ready(());
        }
        reel.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Begins to read after an event, instead of whoever has read or has
    /// carried the stream so far. `None` where nothing comes after it any
    /// more, or no such event ever was.
    pub(super) fn read_after(&self, after: u64) -> Option<Ticket> {
        let mut reel = self.reel();
        if after >= reel.next {
            return None;
        }
        let first = reel.first.take();
        // Not under the lock: it may be writing.
        drop(reel);
        if let Some(first) = first.as_ref().and_then(Weak::upgrade) {
            first.give_way();
        }
        let mut reel = self.reel();
        reel.forget_older(self.bounds);
        let has_more = reel.events.back().is_some_and(|last| last.number > after);
        if reel.is_over && !has_more {
            return None;
        }
        let ticket = Ticket(reel.next_ticket);
        reel.next_ticket += 1;
        let old = reel.reader.replace(Reader { ticket, after, waker: None });
        let writer = reel.writer.take();
        drop(reel);
        wake(old.and_then(|reader| reader.waker));
        wake(writer);
        Some(ticket)
    }

    /// Polls for the next event. `None` at the end of the stream, or where
    /// another reader has come.
    pub(super) fn poll_event(&self, ticket: Ticket, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut reel = self.reel();
        let Reel { events, reader, writer, is_over, is_delivered, .. } = &mut *reel;
        let Some(reader) = reader.as_mut().filter(|reader| reader.ticket == ticket) else {
            return Poll::Ready(None);
        };
        let at = events.partition_point(|entry| entry.number <= reader.after);
        let Some(entry) = events.get(at) else {
            if *is_over {
                *is_delivered = true;
                return Poll::Ready(None);
            }
            // What was dropped to make room is passed over.
            reader.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        reader.after = entry.number;
        let event = entry.event.clone();
        if entry.room.is_none() {
            events.remove(at);
        }
        let writer = writer.take();
        drop(reel);
        wake(writer);
        Poll::Ready(Some(event))
    }

    /// Whether a reader has read all that will ever come.
    pub(super) fn is_read(&self, ticket: Ticket) -> bool {
        let reel = self.reel();
        reel.is_read() || reel.reader.as_ref().is_none_or(|reader| reader.ticket != ticket)
    }

    /// The reader goes away.
    pub(super) fn leave(&self, ticket: Ticket) {
        let mut reel = self.reel();
        if reel.reader.as_ref().is_some_and(|reader| reader.ticket == ticket) {
            let is_read = reel.is_read();
            reel.is_delivered |= is_read;
            reel.reader = None;
            reel.events.retain(|entry| entry.room.is_some());
            let writer = reel.writer.take();
            drop(reel);
            wake(writer);
        }
    }

    /// What is kept of what comes after an event. `None` where no such event
    /// ever was.
    pub(super) fn kept_after(&self, after: u64) -> Option<VecDeque<Bytes>> {
        let mut reel = self.reel();
        reel.forget_older(self.bounds);
        let later = reel.events.iter().filter(|entry| entry.number > after);
        (after < reel.next).then(|| later.map(|entry| entry.event.clone()).collect())
    }

    /// A connection has taken all there is.
    pub(super) fn delivered(&self) {
        self.reel().is_delivered = true;
    }

    /// Forgets what has been kept for long enough. Whether anything is left.
    pub(super) fn forget_older(&self) -> bool {
        let mut reel = self.reel();
        reel.forget_older(self.bounds);
        !reel.events.is_empty()
    }

    /// Whether it is not likely to be asked for.
    pub(super) fn is_delivered(&self) -> bool {
        self.reel().is_delivered
    }

    fn reel(&self) -> MutexGuard<'_, Reel> {
        self.reel.lock().expect("nothing panics while holding it")
    }
}

// === impl Reel ===

impl Reel {
    /// Whether there is a reader, and it has read all that will ever come.
    fn is_read(&self) -> bool {
        let last = self.events.back().map_or(0, |last| last.number);
        self.is_over && self.reader.as_ref().is_some_and(|reader| reader.after >= last)
    }

    fn forget_older(&mut self, bounds: Replay) {
        while self.events.front().is_some_and(|oldest| oldest.at.elapsed() >= bounds.age) {
            self.events.pop_front();
        }
    }
}

// === impl Writer ===

impl Writer {
    pub(super) const fn new(tape: Arc<Tape>) -> Self {
        Self(tape)
    }

    pub(super) const fn tape(&self) -> &Arc<Tape> {
        &self.0
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut reel = self.0.reel();
        reel.is_over = true;
        let waker = reel.reader.as_mut().and_then(|reader| reader.waker.take());
        drop(reel);
        wake(waker);
    }
}

fn line(id: EventId) -> Line {
    Line::new(id.to_string()).expect("an event's id is letters and digits")
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
