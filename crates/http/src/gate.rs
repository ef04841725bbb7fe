//! What wakes the task that drives a connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Wake, Waker},
};

use futures_util::task::{ArcWake, AtomicWaker};

/// Lets what happens on a connection wake the task that drives it, except
/// while it is driven: then it is driven once more instead. The parts of a
/// connection wake each other all the time.
///
/// It is the driver's waker itself: what comes over the network rings it first,
/// and one place less in memory is one cache miss less where many connections
/// take turns.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Of the bits below.
    state: AtomicU8,
    task: AtomicWaker,
}

/// The bell of who uses a connection.
#[derive(Debug)]
struct UserBell(Arc<Gate>);

/// The bell of a part of a connection that is polled by somebody else, whenever
/// anything happens: the part finds out here whether it was meant.
#[derive(Debug)]
pub(crate) struct Signal {
    is_given: AtomicBool,
    gate: Arc<Gate>,
}

/// How often a connection is driven before others get their turn. A task that
/// has used up its share (tokio's budget) is woken each time it asks for more,
/// and must come to an end nevertheless.
pub(crate) const AT_A_STRETCH: usize = 4;

/// The connection is being driven.
const DRIVEN: u8 = 1;
/// There is something to do for the driver.
pub(crate) const DRIVER: u8 = 2;
/// There is something for who uses the connection, or for one who is told apart
/// by a [`Signal`].
pub(crate) const USER: u8 = 4;

// === impl Gate ===

impl Gate {
    /// The waker of the driver.
    pub(crate) fn driver_bell(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// The waker of who uses the connection.
    pub(crate) fn user_bell(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::new(UserBell(Arc::clone(self))))
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
        self.state.fetch_and(!(DRIVEN | USER), Ordering::SeqCst);
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

// === impl UserBell ===

impl Wake for UserBell {
    fn wake(self: Arc<Self>) {
        self.0.ring(USER);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring(USER);
    }
}

// === impl Signal ===

impl Signal {
    pub(crate) fn of(gate: &Arc<Gate>) -> Arc<Self> {
        Arc::new(Self { is_given: AtomicBool::new(false), gate: Arc::clone(gate) })
    }

    /// Gives it to who is polled anyhow.
    pub(crate) fn give(&self) {
        self.is_given.store(true, Ordering::SeqCst);
    }

    /// Whether it has been given since it was last asked.
    pub(crate) fn take(&self) -> bool {
        self.is_given.load(Ordering::SeqCst) && self.is_given.swap(false, Ordering::SeqCst)
    }
}

impl ArcWake for Signal {
    fn wake_by_ref(signal: &Arc<Self>) {
        signal.give();
        signal.gate.ring(USER);
    }
}
