//! The tapes of one session's streams.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    event_id::{Kind, StreamId},
    replay::{Ledger, Replay, Total},
    tape::Tape,
};

/// The tapes of a session's streams, as far as they are kept. Costs nothing
/// until the session has a stream.
#[derive(Default)]
pub(super) struct Streams(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    /// Oldest first.
    tapes: VecDeque<Arc<Tape>>,
    /// How many streams of each kind there have been.
    answers: u64,
    listening: u64,
    ledger: Option<Arc<Ledger>>,
    /// The session has ended.
    is_closed: bool,
}

/// What has become of a stream.
pub(super) enum Found {
    Kept(Arc<Tape>),
    /// There was such a stream, and nothing is left of it.
    Forgotten,
    /// There never was.
    Unknown,
}

// === impl Streams ===

impl Streams {
    /// Begins the tape of a new stream. Where there are too many, the oldest
    /// goes, one that has been delivered before others.
    pub(super) fn open(&self, kind: Kind, bounds: Replay, total: &Arc<Total>) -> Arc<Tape> {
        let mut shelf = self.shelf();
        let number = shelf.number(kind);
        *number += 1;
        let id = StreamId { kind, number: *number };
        let ledger = shelf.ledger.get_or_insert_with(|| Ledger::new(bounds.session_bytes, total));
        let ledger = Arc::clone(ledger);
        let tape = Arc::new(Tape::new(id, bounds, Arc::clone(&ledger)));
        if shelf.is_closed {
            return tape;
        }
        if ledger.is_scarce() {
            shelf.tapes.retain(|tape| !tape.is_delivered());
        }
        while shelf.tapes.len() >= bounds.streams {
            let delivered = shelf.tapes.iter().position(|tape| tape.is_delivered());
            shelf.tapes.remove(delivered.unwrap_or(0));
        }
        shelf.tapes.push_back(Arc::clone(&tape));
        tape
    }

    /// The tape of a stream.
    pub(super) fn find(&self, id: StreamId) -> Found {
        let mut shelf = self.shelf();
        let last = *shelf.number(id.kind);
        match shelf.tapes.iter().find(|tape| tape.id() == id) {
            Some(tape) => Found::Kept(Arc::clone(tape)),
            None if (1..=last).contains(&id.number) => Found::Forgotten,
            None => Found::Unknown,
        }
    }

    /// Forgets what has been kept for long enough.
    pub(super) fn forget_older(&self) {
        // One that somebody writes or reads has another owner.
        self.retain(|tape| tape.forget_older() || Arc::strong_count(tape) > 1);
    }

    /// Forgets what is not likely to be asked for.
    pub(super) fn forget_delivered(&self) {
        self.retain(|tape| !tape.is_delivered());
    }

    /// Forgets everything, for good.
    pub(super) fn close(&self) {
        let mut shelf = self.shelf();
        shelf.is_closed = true;
        let tapes = std::mem::take(&mut shelf.tapes);
        drop(shelf);
        drop(tapes);
    }

    fn retain(&self, is_kept: impl FnMut(&Arc<Tape>) -> bool) {
        self.shelf().tapes.retain(is_kept);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

// === impl Shelf ===

impl Shelf {
    /// The number of the last stream of a kind.
    const fn number(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Answers => &mut self.answers,
            Kind::Listening => &mut self.listening,
        }
    }
}
