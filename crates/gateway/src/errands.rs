//! Small things said to upstreams that nobody waits for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How long one may take: who has not listened by then will not.
const LIMIT: Duration = Duration::from_secs(5);

/// How many may be under way on one session before an upstream that takes
/// none of them is told no more.
const MOST: usize = 64;

/// Those under way.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    tasks: TaskTracker,
    under_way: Arc<UnderWay>,
}

/// How many there are, by the number of their session.
#[derive(Debug, Default)]
struct UnderWay(Mutex<HashMap<u64, usize>>);

/// One of them. Dropping it makes room for another.
struct Place {
    under_way: Arc<UnderWay>,
    session: u64,
}

// === impl Errands ===

impl Errands {
    /// Sees to something. There are never many of its kind.
    pub(crate) fn see_to(&self, errand: impl Future<Output = ()> + Send + 'static) {
        self.spawn(errand);
    }

    /// Sees to something on the session of this number, of which an upstream
    /// may cause any number. Whether there was room for it.
    pub(crate) fn see_to_in(
        &self,
        session: u64,
        errand: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        let Some(place) = self.under_way.take_place(session) else {
            tracing::debug!("an upstream asks and takes no answers");
            return false;
        };
        self.spawn(async move {
            errand.await;
            drop(place);
        });
        true
    }

    /// Waits for those under way, which is no longer than one may take.
    pub(crate) async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn spawn(&self, errand: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime everything is coming to its end anyway.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.tasks.spawn(async move {
            if timeout(LIMIT, errand).await.is_err() {
                tracing::debug!(limit = ?LIMIT, "an upstream could not be told in time");
            }
        });
    }
}

// === impl UnderWay ===

impl UnderWay {
    fn take_place(self: &Arc<Self>, session: u64) -> Option<Place> {
        let mut counts = self.lock();
        let count = counts.entry(session).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Place { under_way: Arc::clone(self), session })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.under_way.lock();
        if let Some(count) = counts.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_is_never_done_keeps_nobody_from_ending() {
        let errands = Errands::default();
        errands.see_to(pending());
        assert!(errands.see_to_in(1, pending()));
        errands.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_session_has_so_many_under_way_and_takes_nobody_elses_room() {
        let errands = Errands::default();
        for _ in 0..MOST {
            assert!(errands.see_to_in(1, pending()));
        }
        assert!(!errands.see_to_in(1, pending()));
        assert!(errands.see_to_in(2, async {}));
        sleep(LIMIT * 2).await;
        assert!(errands.see_to_in(1, pending()));
        assert_eq!(errands.under_way.lock().len(), 1);
    }
}
