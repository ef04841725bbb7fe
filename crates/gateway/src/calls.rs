//! The calls that a client has under way, and their cancellation.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use foldhash::quality::RandomState;
use futures_util::task::AtomicWaker;
use wharf_proto::RequestId;

/// The calls of one client, by the ids that it has given them.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// The number of the last call.
    last: u64,
    /// The ids are the client's: one that chooses them badly has itself to
    /// blame.
    calls: HashMap<RequestId, Arc<Cancellation>, RandomState>,
}

/// A call's entry in its client's book: dropping it takes the entry out.
pub(crate) struct Entry {
    calls: Arc<Calls>,
    id: RequestId,
    /// Tells the client's calls apart, whatever ids it gives them.
    pub(crate) number: u64,
    cancellation: Arc<Cancellation>,
}

#[derive(Default)]
struct Cancellation {
    is_cancelled: AtomicBool,
    waker: AtomicWaker,
}

// === impl Calls ===

impl Calls {
    /// Enters a call.
    pub(crate) fn enter(self: &Arc<Self>, id: &RequestId) -> Entry {
        let cancellation = Arc::<Cancellation>::default();
        let mut book = self.lock();
        book.last += 1;
        let number = book.last;
        book.calls.insert(id.clone(), Arc::clone(&cancellation));
        drop(book);
        Entry { calls: Arc::clone(self), id: id.clone(), number, cancellation }
    }

    /// Cancels a call, if it is still under way.
    pub(crate) fn cancel(&self, id: &RequestId) {
        let Some(cancellation) = self.lock().calls.get(id).map(Arc::clone) else { return };
        cancellation.is_cancelled.store(true, Ordering::Release);
        cancellation.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

// === impl Entry ===

impl Entry {
    /// Polls for the client's cancellation.
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let is_cancelled = || self.cancellation.is_cancelled.load(Ordering::Acquire);
        if is_cancelled() {
            return Poll::Ready(());
        }
        self.cancellation.waker.register(cx.waker());
        if is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let calls = &mut self.calls.lock().calls;
        // A client that uses an id twice has overwritten the first entry.
        let is_ours = |entry: &Arc<Cancellation>| Arc::ptr_eq(entry, &self.cancellation);
        match calls.remove(&self.id) {
            Some(others) if !is_ours(&others) => {
                calls.insert(self.id.clone(), others);
            }
            _ => {}
        }
    }
}
