//! What an upstream says unasked in the session that a client has with it:
//! heard once, by whichever of the client's streams carries it.
//!
//! On HTTP+SSE everything comes on one stream, so that nothing tells what an
//! upstream asks in the course of a call from what it says by itself. Where
//! the session is one client's alone it makes no difference to whom it goes:
//! to the stream of a call that is under way, or to who listens.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use wharf_pool::{Inbound, Session};
use wharf_proto::{Message, transport::EndReason};

use crate::wire::WireLink;

/// One client's ear at one upstream. Several tasks may poll it; each message
/// goes to one of them.
#[derive(Default)]
pub(crate) struct Ear {
    hearing: Mutex<Option<Hearing>>,
    /// Those who have joined.
    places: AtomicUsize,
    /// Calls among them; while there are any, who listens waits.
    calls: AtomicUsize,
    pollers: Arc<Pollers>,
}

struct Hearing {
    session: Session<WireLink>,
    next: Next,
}

type Next = Pin<Box<dyn Future<Output = (Inbound, Result<Message, EndReason>)> + Send>>;

/// A task's place among those that poll. Dropping it gives it up.
pub(crate) struct Place {
    ear: Arc<Ear>,
    index: usize,
    is_call: bool,
}

/// Everybody who wants to know when there is something to hear.
#[derive(Default)]
struct Pollers(Mutex<Vec<Option<Waker>>>);

// === impl Ear ===

impl Ear {
    /// Joins those who hear: as a call that is under way, or as who listens.
    pub(crate) fn join(self: &Arc<Self>, is_call: bool) -> Place {
        self.places.fetch_add(1, Ordering::AcqRel);
        if is_call {
            self.calls.fetch_add(1, Ordering::AcqRel);
        }
        let index = self.pollers.join();
        Place { ear: Arc::clone(self), index, is_call }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Hearing>> {
        self.hearing.lock().expect("nothing panics while holding it")
    }
}

// === impl Place ===

impl Place {
    /// Begins to hear what is said on `session`.
    pub(crate) fn attend(&self, session: &Session<WireLink>) {
        let mut hearing = self.ear.lock();
        if hearing.as_ref().is_none_or(|one| one.session.number() < session.number()) {
            *hearing = Some(Hearing { session: session.clone(), next: next(session.listen()) });
        }
    }

    /// Polls for the next thing that is said on `session`. Once somebody has
    /// heard a later session of the client's, this one is over.
    pub(crate) fn poll_heard(
        &self,
        session: &Session<WireLink>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Message, EndReason>> {
        self.ear.pollers.note(self.index, cx.waker());
        if !self.is_call && self.ear.calls.load(Ordering::Acquire) > 0 {
            // A call carries what comes now; its end wakes this task.
            return Poll::Pending;
        }
        self.attend(session);
        let mut hearing = self.ear.lock();
        let Some(hearing) = hearing.as_mut().filter(|one| one.session.is_same(session)) else {
            return Poll::Ready(Err(EndReason::Closed));
        };
        let waker = Waker::from(Arc::clone(&self.ear.pollers));
        let heard = hearing.next.as_mut().poll(&mut Context::from_waker(&waker));
        let (inbound, heard) = ready!(heard);
        hearing.next = next(inbound);
        Poll::Ready(heard)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ear.pollers.leave(self.index);
        if self.is_call {
            self.ear.calls.fetch_sub(1, Ordering::AcqRel);
        }
        let mut hearing = self.ear.lock();
        if self.ear.places.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Nobody hears, and the session's owner is to know it.
            *hearing = None;
        }
        drop(hearing);
        // What this one was woken for may still be there, for another.
        Wake::wake_by_ref(&self.ear.pollers);
    }
}

// === impl Pollers ===

impl Pollers {
    fn join(&self) -> usize {
        let mut places = self.lock();
        let free = places.iter().position(Option::is_none);
        // Taken by a waker that wakes nobody, until the task has polled.
        let taken = Some(Waker::noop().clone());
        if let Some(free) = free {
            places[free] = taken;
            return free;
        }
        places.push(taken);
        places.len() - 1
    }

    fn note(&self, index: usize, waker: &Waker) {
        self.lock()[index] = Some(waker.clone());
    }

    fn leave(&self, index: usize) {
        self.lock()[index] = None;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Waker>>> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

impl Wake for Pollers {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Woken outside the lock: a waker may run anything.
        let wakers = self.lock().clone();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

fn next(mut inbound: Inbound) -> Next {
    Box::pin(async move {
        let heard = inbound.next().await;
        (inbound, heard)
    })
}
