//! A value that is fetched when it is asked for, once for all who ask, and
//! used until it is too old.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::OnceCell, time::Instant};

/// How long a failure is remembered, so that an upstream that is down costs
/// those who ask for lists its connect timeout once and not each time.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

/// A value that is fetched on demand and kept for a while. Those who ask
/// while it is being fetched wait for the same fetch; where the first of them
/// gives up, another goes on with it.
pub(crate) struct Fresh<T, E> {
    rounds: Mutex<Rounds<T, E>>,
}

type Outcome<T, E> = Result<Arc<T>, E>;

struct Rounds<T, E> {
    current: Arc<Round<T, E>>,
    /// How the last fetch that was not overtaken went.
    last: Option<Outcome<T, E>>,
}

struct Round<T, E> {
    cell: OnceCell<(Instant, Outcome<T, E>)>,
}

// === impl Fresh ===

impl<T, E: Clone> Fresh<T, E> {
    /// The value, no older than `lifetime`, from `fetch` where there is none.
    pub(crate) async fn value(
        &self,
        lifetime: Duration,
        fetch: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let round = self.current(lifetime);
        let fetched = round.cell.get_or_init(|| async {
            let outcome = fetch().await.map(Arc::new);
            self.keep(&round, &outcome);
            (Instant::now(), outcome)
        });
        fetched.await.1.clone()
    }

    /// Has the next who asks fetch it anew, and who asks meanwhile too: what
    /// is being fetched may be from before the change.
    pub(crate) fn invalidate(&self) {
        self.lock().current = Arc::default();
    }

    /// What was fetched last, however old it is. `None` where nothing was.
    pub(crate) fn last(&self) -> Option<Outcome<T, E>> {
        self.lock().last.clone()
    }

    fn current(&self, lifetime: Duration) -> Arc<Round<T, E>> {
        let mut rounds = self.lock();
        if rounds.current.is_over(lifetime) {
            rounds.current = Arc::default();
        }
        Arc::clone(&rounds.current)
    }

    fn keep(&self, round: &Arc<Round<T, E>>, outcome: &Outcome<T, E>) {
        let mut rounds = self.lock();
        if Arc::ptr_eq(&rounds.current, round) {
            rounds.last = Some(outcome.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rounds<T, E>> {
        self.rounds.lock().expect("nothing panics while holding it")
    }
}

impl<T, E> Default for Fresh<T, E> {
    fn default() -> Self {
        Self { rounds: Mutex::new(Rounds { current: Arc::default(), last: None }) }
    }
}

impl<T, E> fmt::Debug for Fresh<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fresh(..)")
    }
}

// === impl Round ===

impl<T, E> Round<T, E> {
    fn is_over(&self, lifetime: Duration) -> bool {
        self.cell.get().is_some_and(|(fetched, outcome)| {
            let lifetime = if outcome.is_ok() { lifetime } else { FAILURE_LIFETIME.min(lifetime) };
            fetched.elapsed() >= lifetime
        })
    }
}

impl<T, E> Default for Round<T, E> {
    fn default() -> Self {
        Self { cell: OnceCell::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::advance;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_cause_one_fetch() {
        let fresh = Fresh::<u32, ()>::default();
        let fetches = AtomicU32::new(0);
        let ask = || {
            fresh.value(LIFETIME, async || {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(fetches.fetch_add(1, Ordering::Relaxed))
            })
        };
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!((*a.unwrap(), *b.unwrap(), *c.unwrap()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_gives_up_does_not_take_the_fetch_along() {
        let fresh = Fresh::<u32, ()>::default();
        let slow = async || {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(7)
        };
        let impatient = tokio::time::timeout(Duration::from_secs(1), fresh.value(LIFETIME, slow));
        let (gave_up, got) = tokio::join!(impatient, fresh.value(LIFETIME, slow));
        assert!(gave_up.is_err());
        assert_eq!(*got.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_for_before_a_change_is_not_taken_for_what_is_after_it() {
        let fresh = Fresh::<u32, ()>::default();
        let slow = async |value| {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(value)
        };
        let change = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            fresh.invalidate();
            fresh.value(LIFETIME, async || slow(2).await).await
        };
        let (before, after) = tokio::join!(fresh.value(LIFETIME, async || slow(1).await), change);
        assert_eq!((*before.unwrap(), *after.unwrap()), (1, 2));
        assert_eq!(fresh.last(), Some(Ok(Arc::new(2))));
        fresh.invalidate();
        assert_eq!(fresh.last(), Some(Ok(Arc::new(2))), "it is old, and all there is");
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_lives_as_long_as_it_may_and_a_failure_for_a_second() {
        let fresh = Fresh::<u32, &str>::default();
        assert_eq!(fresh.value(LIFETIME, async || Err("down")).await, Err("down"));
        assert_eq!(fresh.value(LIFETIME, async || Ok(1)).await, Err("down"));
        advance(Duration::from_secs(1)).await;
        assert_eq!(fresh.value(LIFETIME, async || Ok(1)).await, Ok(Arc::new(1)));
        advance(Duration::from_secs(9)).await;
        assert_eq!(fresh.value(LIFETIME, async || Ok(2)).await, Ok(Arc::new(1)));
        advance(Duration::from_secs(1)).await;
        assert_eq!(fresh.value(LIFETIME, async || Ok(2)).await, Ok(Arc::new(2)));
    }
}
