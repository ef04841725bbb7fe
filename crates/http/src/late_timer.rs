//! A timer that is waited for again and again.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
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
pub struct LateTimer(Option<Pin<Box<Sleep>>>);

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
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(moment)));
        if moment < sleep.deadline() {
            sleep.as_mut().reset(moment);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= moment {
                return Poll::Ready(());
            }
            // It was set for an earlier wait, which is over.
            sleep.as_mut().reset(moment);
        }
    }

    /// Whether it has never been waited for.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.0.is_none()
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
