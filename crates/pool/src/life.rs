//! Whether a session lives: published once, by its owner or by the owner's
//! absence, and seen by everybody.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock},
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

/// The owner's hold on a session's life. While it is there the session lives;
/// dropping it, be it by a panic or with the whole runtime, ends the session.
#[derive(Debug)]
pub(crate) struct Pulse(Arc<Life>);

/// One task's interest in the end, with its books: dropping it forgets it.
#[derive(Debug)]
pub(crate) struct Watch {
    life: Arc<Life>,
    place: Option<Place>,
}

// === impl Pulse ===

impl Pulse {
    pub(crate) fn new() -> (Self, Arc<Life>) {
        let life = Arc::new(Life::default());
        (Self(Arc::clone(&life)), life)
    }

    /// Publishes why the session ends, and wakes everybody who waits on it.
    pub(crate) fn stop(&self, reason: CloseReason) {
        if self.0.reason.set(Box::new(reason)).is_ok() {
            // Woken outside the lock: a waker may run anything.
            let watchers = std::mem::take(&mut *self.0.lock());
            watchers.wake_all();
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop(CloseReason::OwnerGone);
    }
}

// === impl Life ===

impl Life {
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

impl Watch {
    pub(crate) fn new(life: &Arc<Life>) -> Self {
        Self { life: Arc::clone(life), place: None }
    }

    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if let Some(reason) = self.life.end() {
            return Poll::Ready(reason.clone());
        }
        self.enter(cx.waker());
        // The end may have come between the look and the entry.
        self.life.end().map_or(Poll::Pending, |reason| Poll::Ready(reason.clone()))
    }

    fn enter(&mut self, waker: &Waker) {
        let mut watchers = self.life.lock();
        match self.place.and_then(|place| watchers.at(place)) {
            Some(entered) => entered.clone_from(waker),
            None => self.place = Some(watchers.enter(waker)),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && self.life.end().is_none()
        {
            self.life.lock().leave(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
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
    fn a_life_ends_with_its_pulse() {
        let (pulse, life) = Pulse::new();
        assert!(life.end().is_none());
        drop(pulse);
        assert!(matches!(life.end(), Some(CloseReason::OwnerGone)));
    }

    #[test]
    fn who_is_about_to_wait_again_when_the_end_comes_may() {
        let (pulse, life) = Pulse::new();
        let mut watches = [(); 2].map(|()| Watch::new(&life));
        let waker = Waker::noop();
        for watch in &mut watches {
            assert!(watch.poll_end(&mut Context::from_waker(waker)).is_pending());
        }
        // The end comes between the look and the entry.
        pulse.stop(CloseReason::Retired);
        // The later first, so that its old place is one that is not there.
        for watch in watches.iter_mut().rev() {
            watch.enter(waker);
            let end = watch.poll_end(&mut Context::from_waker(waker));
            assert!(matches!(end, Poll::Ready(CloseReason::Retired)));
        }
    }

    #[test]
    fn a_watch_is_entered_once_however_often_it_is_polled() {
        let (_pulse, life) = Pulse::new();
        let mut watches = [(); 3].map(|()| Watch::new(&life));
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
        let (pulse, life) = Pulse::new();
        let counters: [Arc<Counter>; 4] = Default::default();
        let wakers = counters.each_ref().map(|counter| Waker::from(Arc::clone(counter)));
        let mut watches: Vec<_> = wakers.iter().map(|_| Watch::new(&life)).collect();
        for (watch, waker) in watches.iter_mut().zip(&wakers) {
            assert!(watch.poll_end(&mut Context::from_waker(waker)).is_pending());
        }
        drop(watches.remove(2));
        drop(watches.remove(0));
        // Who comes takes the place of who has left.
        assert!(watches[0].poll_end(&mut Context::from_waker(&wakers[1])).is_pending());
        let mut late = Watch::new(&life);
        assert!(late.poll_end(&mut Context::from_waker(&wakers[0])).is_pending());
        pulse.stop(CloseReason::Retired);
        let woken = counters.map(|counter| counter.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 1, 0, 1]);
    }
}
