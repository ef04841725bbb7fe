//! Whether a session lives: published once, by its owner or by the owner's
//! absence, and seen by everybody.

use std::{
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Waker},
};

use slab::Slab;

use crate::CloseReason;

/// What everybody sees. `reason` costs one atomic load.
#[derive(Debug, Default)]
pub(crate) struct Life {
    reason: OnceLock<CloseReason>,
    watchers: Mutex<Slab<Waker>>,
}

/// The owner's hold on a session's life. While it is there the session lives;
/// dropping it, be it by a panic or with the whole runtime, ends the session.
#[derive(Debug)]
pub(crate) struct Pulse(Arc<Life>);

/// One task's interest in the end, with its books: dropping it forgets it.
#[derive(Debug)]
pub(crate) struct Watch {
    life: Arc<Life>,
    place: Option<usize>,
}

// === impl Pulse ===

impl Pulse {
    pub(crate) fn new() -> (Self, Arc<Life>) {
        let life = Arc::new(Life::default());
        (Self(Arc::clone(&life)), life)
    }

    /// Publishes why the session ends, and wakes everybody who waits on it.
    pub(crate) fn stop(&self, reason: CloseReason) {
        if self.0.reason.set(reason).is_ok() {
            // Woken outside the lock: a waker may run anything.
            let watchers = std::mem::take(&mut *self.0.lock());
            watchers.into_iter().for_each(|(_, waker)| waker.wake());
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
        self.reason.get()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<Waker>> {
        self.watchers.lock().expect("nothing panics while holding it")
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
        self.place = Some(self.enter(cx.waker()));
        // The end may have come between the look and the entry.
        self.life.end().map_or(Poll::Pending, |reason| Poll::Ready(reason.clone()))
    }

    fn enter(&self, waker: &Waker) -> usize {
        let mut watchers = self.life.lock();
        match self.place {
            Some(place) if watchers.contains(place) => {
                watchers[place].clone_from(waker);
                place
            }
            _ => watchers.insert(waker.clone()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && self.life.end().is_none()
        {
            self.life.lock().try_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut watch = Watch::new(&life);
        let waker = Waker::noop();
        assert!(watch.poll_end(&mut Context::from_waker(waker)).is_pending());
        // The end comes between the look and the entry.
        pulse.stop(CloseReason::Retired);
        watch.enter(waker);
        let end = watch.poll_end(&mut Context::from_waker(waker));
        assert!(matches!(end, Poll::Ready(CloseReason::Retired)));
    }

    #[test]
    fn a_watch_is_entered_once_however_often_it_is_polled() {
        let (_pulse, life) = Pulse::new();
        let mut watch = Watch::new(&life);
        for _ in 0..3 {
            assert!(watch.poll_end(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let watchers = || life.lock().len();
        assert_eq!(watchers(), 1);
        drop(watch);
        assert_eq!(watchers(), 0);
    }
}
