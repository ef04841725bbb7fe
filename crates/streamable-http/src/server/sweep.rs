//! The task that forgets what has not been used for long enough.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::MissedTickBehavior;
use wharf_proto::server::Backend;

use super::Shared;

/// Where room is scarce, it is not looked for more often than this.
const BREATH: Duration = Duration::from_millis(100);

// === impl Shared ===

impl<B: Backend> Shared<B> {
    /// Starts the task that closes idle sessions and forgets old events,
    /// unless it runs already.
    pub(super) fn sweep(self: &Arc<Self>) {
        if self.is_swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let limit = self.settings.idle_session.min(self.settings.replay.age);
        let pause = pause(limit);
        let (stop, kept) = (self.stop.clone(), Arc::clone(&self.kept));
        let shared = Arc::downgrade(self);
        let sweeping = async move {
            let mut due = tokio::time::interval(pause);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first one is at once.
            due.tick().await;
            loop {
                let is_due = tokio::select! {
                    biased;
                    _ = due.tick() => true,
                    () = kept.scarce() => false,
                };
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                if is_due {
                    shared.close_idle();
                    shared.table.for_each(|session| session.streams.forget_older());
                } else {
                    shared.table.for_each(|session| session.streams.forget_delivered());
                    drop(shared);
                    tokio::time::sleep(BREATH).await;
                }
            }
        };
        self.tasks.spawn(async move {
            stop.run_until_cancelled(sweeping).await;
        });
    }

    fn close_idle(&self) {
        for session in self.table.remove_idle(self.settings.idle_session) {
            tracing::debug!("a session has been idle for too long");
            self.end(session).leave_to_task();
        }
    }
}

/// How often is looked for what has been there for `limit`: so that it goes at
/// most a quarter, and never more than a minute, after its time; but once a
/// second is enough, however short the limit.
fn pause(limit: Duration) -> Duration {
    (limit / 4).clamp(Duration::from_secs(1), Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_swept_once_a_second_at_most_and_once_a_minute_at_least() {
        for (limit, expected) in [(0, 1), (1, 1), (100, 25), (3600, 60)] {
            assert_eq!(pause(Duration::from_secs(limit)), Duration::from_secs(expected));
        }
    }
}
