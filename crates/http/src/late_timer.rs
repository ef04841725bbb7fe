//! A timer that is waited for again and again.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for waits that are mostly over long before it goes off.
///
/// It is set once and goes off late: whoever waits then sets it for what is
/// left. A timer for each wait would be entered and taken out again with every
/// one of them, under a lock that all timers share.
///
/// Between two waits it keeps the waker of the last, until it goes off. It
/// belongs to the runtime in which it was first polled.
#[derive(Debug, Default)]
pub struct LateTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    set: Option<Set>,
}

/// What the sleep is set to: known without a look at it, which is far away
/// and not at hand where there are many.
#[derive(Debug)]
struct Set {
    moment: Instant,
    waker: Waker,
}

// === impl LateTimer ===

impl LateTimer {
    /// Polls for a moment. The waker of the last who polled is woken, which
    /// may be for an earlier wait.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers, and once the runtime in which
    /// it was first polled has been shut down.
    pub fn poll_until(&mut self, moment: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.set.as_ref().is_some_and(|set| set.serves(moment, cx.waker())) {
            return Poll::Pending;
        }
        self.set = None;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(moment)));
        if moment < sleep.deadline() {
            sleep.as_mut().reset(moment);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= moment {
                return Poll::Ready(());
            }
            // It was set for an earlier wait, which is over.
            sleep.as_mut().reset(moment);
        }
        self.set = Some(Set { moment: sleep.deadline(), waker: cx.waker().clone() });
        Poll::Pending
    }

    /// Whether it has never been waited for.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.sleep.is_none()
    }
}

// === impl Set ===

impl Set {
    /// Whether who waits for `moment` is woken in time as it is.
    fn serves(&self, moment: Instant, waker: &Waker) -> bool {
        self.moment <= moment && self.waker.will_wake(waker) && Instant::now() < self.moment
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_as_long_as_it_was_said_whatever_was_waited_for_before() {
        let (mut timer, begun) = (LateTimer::default(), Instant::now());
        for (wait, whole) in [(LIMIT, 30), (LIMIT / 2, 45), (LIMIT, 75)] {
            let moment = Instant::now() + wait;
            poll_fn(|cx| timer.poll_until(moment, cx)).await;
            assert_eq!(begun.elapsed().as_secs(), whole);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_on_with_another_waker_is_woken_by_that() {
        let (mut timer, begun) = (LateTimer::default(), Instant::now());
        let moment = begun + LIMIT;
        // Two wakers that do not wake this task, and then the one that does.
        for _ in 0..2 {
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(timer.poll_until(moment, cx).is_pending());
        }
        poll_fn(|cx| timer.poll_until(moment, cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_over_early_leaves_the_next_its_own_time() {
        for (next, whole) in [(LIMIT, 50), (Duration::from_secs(3), 23)] {
            let (mut timer, begun) = (LateTimer::default(), Instant::now());
            let moment = begun + LIMIT;
            let wait = poll_fn(|cx| timer.poll_until(moment, cx));
            assert!(timeout(Duration::from_secs(20), wait).await.is_err());
            let moment = Instant::now() + next;
            poll_fn(|cx| timer.poll_until(moment, cx)).await;
            assert_eq!(begun.elapsed().as_secs(), whole);
        }
    }
}
