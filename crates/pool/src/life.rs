//! Whether a session lives: published once, by its owner or by the owner's
//! absence, and seen by everybody.

use std::{
    sync::{Mutex, MutexGuard, OnceLock},
    task::{Context, Poll, Waker},
};

use slab::Slab;

use crate::CloseReason;

/// What everybody sees. `reason` costs one atomic load.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Boxed, so that those who watch are next to it.
    reason: OnceLock<Box<CloseReason>>,
    watchers: Mutex<Watchers>,
}

/// Who is to be woken at the end. Mostly that is one, who needs no room but
/// what is here.
#[derive(Debug, Default)]
struct Watchers {
    first: Option<Waker>,
    others: Slab<Waker>,
}

/// Where among the watchers one is.
#[derive(Debug, Clone, Copy)]
enum Place {
    First,
    Other(usize),
}

/// One task's interest in the end of what it holds, with its books: dropping it
/// forgets it.
#[derive(Debug)]
pub(crate) struct Watch<H: AsRef<Life>> {
    held: H,
    place: Option<Place>,
}

// === impl Life ===

impl Life {
    /// Publishes why the session ends, and wakes everybody who waits on it. For
    /// its owner alone; the first reason counts.
    pub(crate) fn stop(&self, reason: CloseReason) {
        if self.reason.set(Box::new(reason)).is_ok() {
            // Woken outside the lock: a waker may run anything.
            let watchers = std::mem::take(&mut *self.lock());
            watchers.wake_all();
        }
    }

    pub(crate) fn end(&self) -> Option<&CloseReason> {
        self.reason.get().map(|reason| &**reason)
    }

    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().expect("nothing panics while holding it")
    }
}

// === impl Watchers ===

impl Watchers {
    fn enter(&mut self, waker: &Waker) -> Place {
        if self.first.is_some() {
            return Place::Other(self.others.insert(waker.clone()));
        }
        self.first = Some(waker.clone());
        Place::First
    }

    fn at(&mut self, place: Place) -> Option<&mut Waker> {
        match place {
            Place::First => self.first.as_mut(),
            Place::Other(place) => self.others.get_mut(place),
        }
    }

    fn leave(&mut self, place: Place) {
        match place {
            Place::First => self.first = None,
            Place::Other(place) => {
                self.others.try_remove(place);
            }
        }
    }

    fn wake_all(self) {
        let others = self.others.into_iter().map(|(_, waker)| waker);
        self.first.into_iter().chain(others).for_each(Waker::wake);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }
}

// === impl Watch ===

impl<H: AsRef<Life>> Watch<H> {
    pub(crate) const fn new(held: H) -> Self {
        Self { held, place: None }
    }

    pub(crate) const fn held(&self) -> &H {
        &self.held
    }

    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if let Some(reason) = self.held.as_ref().end() {
            return Poll::Ready(reason.clone());
        }
        self.enter(cx.waker());
        // The end may have come between the look and the entry.
        let end = self.held.as_ref().end();
        end.map_or(Poll::Pending, |reason| Poll::Ready(reason.clone()))
    }

    fn enter(&mut self, waker: &Waker) {
        let mut watchers = self.held.as_ref().lock();
        match self.place.and_then(|place| watchers.at(place)) {
            Some(entered) => entered.clone_from(waker),
            None => self.place = Some(watchers.enter(waker)),
        }
    }
}

impl<H: AsRef<Life>> Drop for Watch<H> {
    fn drop(&mut self) {
        let life = self.held.as_ref();
        if let Some(place) = self.place
            && life.end().is_none()
        {
            life.lock().leave(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn of_two_reasons_the_first_is_published() {
        let life = Life::default();
        assert!(life.end().is_none());
        life.stop(CloseReason::Retired);
        life.stop(CloseReason::OwnerGone);
        assert!(matches!(life.end(), Some(CloseReason::Retired)));
    }

    #[test]
    fn who_is_about_to_wait_again_when_the_end_comes_may() {
        let life = Arc::new(Life::default());
        let mut watches = [(); 2].map(|()| Watch::new(Arc::clone(&life)));
        let waker = Waker::noop();
        for watch in &mut watches {
            assert!(watch.poll_end(&mut Context::from_waker(waker)).is_pending());
        }
        // The end comes between the look and the entry.
        life.stop(CloseReason::Retired);
        // The later first, so that its old place is one that is not there.
        for watch in watches.iter_mut().rev() {
            watch.enter(waker);
            let end = watch.poll_end(&mut Context::from_waker(waker));
            assert!(matches!(end, Poll::Ready(CloseReason::Retired)));
        }
    }

    #[test]
    fn a_watch_is_entered_once_however_often_it_is_polled() {
        let life = Arc::new(Life::default());
        let mut watches = [(); 3].map(|()| Watch::new(Arc::clone(&life)));
        for _ in 0..3 {
            for watch in &mut watches {
                assert!(watch.poll_end(&mut Context::from_waker(Waker::noop())).is_pending());
            }
        }
        for (left, watch) in watches.into_iter().enumerate() {
            assert_eq!(life.lock().len(), 3 - left);
            drop(watch);
        }
        assert_eq!(life.lock().len(), 0);
    }

    #[test]
    fn everybody_who_watches_is_woken_by_the_end_and_nobody_who_has_left() {
        let life = Arc::new(Life::default());
        let counters: [Arc<Counter>; 4] = Default::default();
        let wakers = counters.each_ref().map(|counter| Waker::from(Arc::clone(counter)));
        let mut watches: Vec<_> = wakers.iter().map(|_| Watch::new(Arc::clone(&life))).collect();
        for (watch, waker) in watches.iter_mut().zip(&wakers) {
            assert!(watch.poll_end(&mut Context::from_waker(waker)).is_pending());
        }
        drop(watches.remove(2));
        drop(watches.remove(0));
        // Who comes takes the place of who has left.
        assert!(watches[0].poll_end(&mut Context::from_waker(&wakers[1])).is_pending());
        let mut late = Watch::new(Arc::clone(&life));
        assert!(late.poll_end(&mut Context::from_waker(&wakers[0])).is_pending());
        life.stop(CloseReason::Retired);
        let woken = counters.map(|counter| counter.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 1, 0, 1]);
    }
}
