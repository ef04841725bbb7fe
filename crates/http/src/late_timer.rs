//! A timer that is waited for again and again.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_util::task::{ArcWake, AtomicWaker, waker_ref};
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
pub struct LateTimer(Option<Clock>);

/// What goes off. It is looked at when it has, and not each time that somebody
/// waits: where many have one, it is in no cache.
#[derive(Debug)]
struct Clock {
    sleep: Pin<Box<Sleep>>,
    /// When it goes off.
    set_for: Instant,
    alarm: Arc<Alarm>,
}

/// The waker of the clock.
#[derive(Debug)]
struct Alarm {
    /// The clock has gone off, has been set anew, or could not be looked at
    /// because the task had used up its share (tokio's budget wakes by it).
    is_given: AtomicBool,
    task: AtomicWaker,
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
        let clock = self.0.get_or_insert_with(|| Clock::new(moment));
        clock.alarm.task.register(cx.waker());
        if moment < clock.set_for {
            clock.set(moment);
        }
        loop {
            ready!(clock.poll());
            if Instant::now() >= moment {
                return Poll::Ready(());
            }
            // It was set for an earlier wait, which is over.
            clock.set(moment);
        }
    }

    /// Whether it has never been waited for.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.0.is_none()
    }
}

// === impl Clock ===

impl Clock {
    fn new(moment: Instant) -> Self {
        let alarm = Arc::new(Alarm { is_given: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { sleep: Box::pin(sleep_until(moment)), set_for: moment, alarm }
    }

    fn set(&mut self, moment: Instant) {
        self.sleep.as_mut().reset(moment);
        self.set_for = moment;
        self.alarm.give();
    }

    /// Whether it has gone off. It stays so until it is set anew.
    fn poll(&mut self) -> Poll<()> {
        if !self.alarm.take() {
            return Poll::Pending;
        }
        ready!(self.sleep.as_mut().poll(&mut Context::from_waker(&waker_ref(&self.alarm))));
        self.alarm.give();
        Poll::Ready(())
    }
}

// === impl Alarm ===

impl Alarm {
    fn give(&self) {
        self.is_given.store(true, Ordering::SeqCst);
    }

    /// Whether it has been given since it was last asked.
    fn take(&self) -> bool {
        self.is_given.load(Ordering::SeqCst) && self.is_given.swap(false, Ordering::SeqCst)
    }
}

impl ArcWake for Alarm {
    fn wake_by_ref(alarm: &Arc<Self>) {
        alarm.give();
        alarm.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{sync::mpsc, time::timeout};

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

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_begins_when_the_task_has_used_up_its_share_is_as_long_as_any() {
        let (mut timer, begun) = (LateTimer::default(), Instant::now());
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for whole in [30, 60] {
            (0..2000).for_each(|count| sender.send(count).expect("it is there"));
            let moment = Instant::now() + LIMIT;
            // Whenever it is asked, nothing is left of the share.
            let wait = poll_fn(|cx| {
                while receiver.poll_recv(cx).is_ready() {}
                timer.poll_until(moment, cx)
            });
            timeout(2 * LIMIT, wait).await.expect("the wait ends");
            assert_eq!(begun.elapsed().as_secs(), whole);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_another_task_takes_over_wakes_that_one() {
        let (mut timer, begun) = (LateTimer::default(), Instant::now());
        let moment = begun + LIMIT;
        let _ = poll_fn(|_| {
            let nobody = &mut Context::from_waker(std::task::Waker::noop());
            Poll::Ready(timer.poll_until(moment, nobody))
        })
        .await;
        let wait = poll_fn(|cx| timer.poll_until(moment, cx));
        timeout(2 * LIMIT, wait).await.expect("the wait ends");
        assert_eq!(begun.elapsed(), LIMIT);
    }
}
