//! How long a connection waits for the head of the next request.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant as StdInstant},
};

use hyper::rt::{Sleep, Timer};
use tokio::time::Instant;

use crate::LateTimer;

/// The timer of one connection, for the heads of all its requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeadTimer(Arc<Mutex<LateTimer>>);

/// A wait for one head.
struct Wait {
    timer: HeadTimer,
    deadline: Instant,
}

// === impl HeadTimer ===

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { timer: self.clone(), deadline: deadline.into() })
    }

    fn now(&self) -> StdInstant {
        Instant::now().into_std()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: StdInstant) {
        if let Some(mut wait) = sleep.as_mut().downcast_mut_pin::<Wait>() {
            wait.deadline = deadline.into();
        }
    }
}

// === impl Wait ===

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock().expect("nothing panics while holding it");
        timer.poll_until(self.deadline, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn each_head_has_the_whole_time() {
        let (timer, begun) = (HeadTimer::default(), Instant::now());
        for after in [20, 40] {
            let wait = timer.sleep(LIMIT);
            assert!(timeout(Duration::from_secs(20), wait).await.is_err());
            assert_eq!(begun.elapsed().as_secs(), after);
        }
        timer.sleep(LIMIT).await;
        assert_eq!(begun.elapsed().as_secs(), 70);
        // One that has gone off is set anew.
        timer.sleep(LIMIT).await;
        assert_eq!(begun.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_put_off_ends_later() {
        let (timer, begun) = (HeadTimer::default(), Instant::now());
        let mut wait = timer.sleep(LIMIT);
        poll_fn(|cx| {
            assert!(wait.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        sleep(Duration::from_secs(10)).await;
        timer.reset(&mut wait, timer.now() + LIMIT);
        wait.await;
        assert_eq!(begun.elapsed().as_secs(), 40);
    }
}
