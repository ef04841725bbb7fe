//! What wakes the task that drives a connection, and what the connection's parts
//! tell each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Wake, Waker},
};

use futures_util::task::{ArcWake, AtomicWaker};

/// Lets what happens on a connection wake the task that drives it, except
/// while it is driven: then it is driven once more instead. The parts of a
/// connection wake each other all the time.
///
/// It is the driver's waker itself ([`Wake`]), and that of the answer to a request
/// ([`ArcWake`]), and holds all that the parts have to tell: what comes over the
/// network rings it first, and one place less in memory is one cache miss less
/// where many connections take turns.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Of the bits below.
    state: AtomicU8,
    notes: Notes,
    task: AtomicWaker,
}

/// What the parts of a connection have told each other.
#[derive(Debug, Default)]
pub(crate) struct Notes(AtomicU8);

/// One thing that can be told.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Note {
    /// The answer to a request was meant by a wake-up.
    Answer = 1,
    /// So was the server's stop.
    Stop = 2,
    /// Something has been read since it was last acknowledged.
    Owed = 4,
    /// It is to be acknowledged once there is nothing more to read.
    CalledIn = 8,
}

/// The waker of a server's stop. The one who is polled whenever anything happens
/// finds out by [`Note::Stop`] whether the stop was meant.
#[derive(Debug)]
pub(crate) struct StopBell(Arc<Gate>);

/// How often a connection is driven before others get their turn. A task that
/// has used up its share (tokio's budget) is woken each time it asks for more,
/// and must come to an end nevertheless.
pub(crate) const AT_A_STRETCH: usize = 4;

/// The connection is being driven.
const DRIVEN: u8 = 1;
/// There is something to do for the driver.
pub(crate) const DRIVER: u8 = 2;
/// There is something for a part that is told apart by a [`Note`].
const PART: u8 = 4;

// === impl Gate ===

impl Gate {
    /// The waker of the driver.
    pub(crate) fn driver_bell(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    pub(crate) const fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Wakes this task from now on.
    pub(crate) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Begins to drive; what has been woken since it was last driven.
    pub(crate) fn enter(&self) -> u8 {
        self.state.swap(DRIVEN, Ordering::SeqCst) & !DRIVEN
    }

    /// Ends it. What is `unseen` stays to be seen to, as does what the driver
    /// has been woken for meanwhile.
    pub(crate) fn leave(&self, unseen: u8) {
        self.state.fetch_and(!(DRIVEN | PART), Ordering::SeqCst);
        if unseen != 0 {
            self.state.fetch_or(unseen, Ordering::SeqCst);
        }
    }

    /// Ends it, if nothing has been woken since [`Gate::enter`].
    pub(crate) fn leave_quietly(&self) -> bool {
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        self.state.compare_exchange(DRIVEN, 0, success, failure).is_ok()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.state.load(Ordering::SeqCst) == 0
    }

    /// Whether there is something to do for the driver.
    pub(crate) fn is_stirred(&self) -> bool {
        self.state.load(Ordering::SeqCst) & DRIVER != 0
    }

    fn ring(&self, woken: u8) {
        let before = self.state.fetch_or(woken, Ordering::SeqCst);
        if before & (DRIVEN | woken) == 0 {
            self.task.wake();
        }
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.ring(DRIVER);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring(DRIVER);
    }
}

impl ArcWake for Gate {
    fn wake_by_ref(gate: &Arc<Self>) {
        gate.notes.make(Note::Answer);
        gate.ring(PART);
    }
}

// === impl Notes ===

impl Notes {
    pub(crate) fn make(&self, note: Note) {
        self.0.fetch_or(note as u8, Ordering::SeqCst);
    }

    /// Whether it has been made, and not been taken back since.
    pub(crate) fn has(&self, note: Note) -> bool {
        self.0.load(Ordering::SeqCst) & note as u8 != 0
    }

    /// Takes it back; whether there was anything to take.
    pub(crate) fn take(&self, note: Note) -> bool {
        self.has(note) && self.0.fetch_and(!(note as u8), Ordering::SeqCst) & note as u8 != 0
    }
}

// === impl StopBell ===

impl StopBell {
    pub(crate) fn of(gate: &Arc<Gate>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(gate)))
    }
}

impl ArcWake for StopBell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.0.notes.make(Note::Stop);
        bell.0.ring(PART);
    }
}
