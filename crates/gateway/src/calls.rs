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

/// Mostly a client has one call under way, which needs no room but what is here.
#[derive(Default)]
struct Book {
    /// The number of the last call.
    last: u64,
    first: Option<(RequestId, Arc<Cancellation>)>,
    /// The ids are the client's: one that chooses them badly has itself to
    /// blame.
    others: HashMap<RequestId, Arc<Cancellation>, RandomState>,
}

/// A call in its client's book.
pub(crate) struct Record {
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
    pub(crate) fn enter(&self, id: &RequestId) -> Record {
        let cancellation = Arc::<Cancellation>::default();
        let mut book = self.lock();
        book.last += 1;
        let number = book.last;
        book.enter(id.clone(), Arc::clone(&cancellation));
        drop(book);
        Record { id: id.clone(), number, cancellation }
    }

    /// Takes a call out.
    pub(crate) fn leave(&self, record: &Record) {
        self.lock().leave(record);
    }

    /// Cancels a call, if it is still under way.
    pub(crate) fn cancel(&self, id: &RequestId) {
        let Some(cancellation) = self.lock().find(id).map(Arc::clone) else { return };
        cancellation.is_cancelled.store(true, Ordering::Release);
        cancellation.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

// === impl Book ===

impl Book {
    /// A client that uses an id twice overwrites the first entry.
    fn enter(&mut self, id: RequestId, cancellation: Arc<Cancellation>) {
        let is_first = match &self.first {
            Some((first, _)) => *first == id,
            None => !self.others.contains_key(&id),
        };
        if is_first {
            self.first = Some((id, cancellation));
        } else {
            self.others.insert(id, cancellation);
        }
    }

    fn find(&self, id: &RequestId) -> Option<&Arc<Cancellation>> {
        match &self.first {
            Some((first, cancellation)) if first == id => Some(cancellation),
            _ => self.others.get(id),
        }
    }

    /// Takes the entry out, unless it has been overwritten.
    fn leave(&mut self, record: &Record) {
        let is_its = |entry: &Arc<Cancellation>| Arc::ptr_eq(entry, &record.cancellation);
        match &self.first {
            Some((_, entry)) if is_its(entry) => self.first = None,
            _ if self.others.get(&record.id).is_some_and(is_its) => {
                self.others.remove(&record.id);
            }
            _ => {}
        }
    }
}

// === impl Record ===

impl Record {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_cancelled(record: &Record) -> bool {
        record.poll_cancelled(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn a_call_is_cancelled_by_its_id_whatever_others_are_under_way() {
        let (calls, ids) = (Calls::default(), [1, 2, 3].map(RequestId::from));
        let records = ids.each_ref().map(|id| calls.enter(id));
        for (at, id) in ids.iter().enumerate() {
            calls.cancel(id);
            assert_eq!(records.each_ref().map(is_cancelled), [0, 1, 2].map(|other| other <= at));
        }
        assert_eq!(records.map(|record| record.number), [1, 2, 3]);
    }

    #[test]
    fn a_call_that_is_over_is_not_in_the_book_in_whatever_order_they_end() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let calls = Calls::default();
            let records = [1, 2, 3].map(|id| calls.enter(&RequestId::from(id)));
            for (left, at) in order.into_iter().enumerate() {
                let is_there = |record: &Record| calls.lock().find(&record.id).is_some();
                assert_eq!(records.iter().filter(|record| is_there(record)).count(), 3 - left);
                calls.leave(&records[at]);
                assert!(!is_there(&records[at]));
            }
            let book = calls.lock();
            assert!(book.first.is_none() && book.others.is_empty());
        }
    }

    #[test]
    fn of_two_calls_of_one_id_the_later_is_cancelled_and_the_first_to_end_leaves_it_there() {
        for before in [None, Some(RequestId::from(1))] {
            let (calls, id) = (Calls::default(), RequestId::from(2));
            // Where another call is under way, they are among the others.
            let before = before.map(|id| calls.enter(&id));
            let (earlier, later) = (calls.enter(&id), calls.enter(&id));
            calls.cancel(&id);
            assert_eq!([&earlier, &later].map(is_cancelled), [false, true]);
            calls.leave(&earlier);
            assert!(calls.lock().find(&id).is_some());
            calls.leave(&later);
            assert!(calls.lock().find(&id).is_none());
            assert!(!before.is_some_and(|before| is_cancelled(&before)));
        }
    }

    #[test]
    fn an_id_among_the_others_is_not_entered_as_the_first_as_well() {
        let (calls, ids) = (Calls::default(), [1, 2].map(RequestId::from));
        let [first, earlier] = ids.each_ref().map(|id| calls.enter(id));
        calls.leave(&first);
        let later = calls.enter(&ids[1]);
        calls.cancel(&ids[1]);
        assert_eq!([&earlier, &later].map(is_cancelled), [false, true]);
        calls.leave(&later);
        assert!(calls.lock().find(&ids[1]).is_none());
    }
}
