//! The open sessions of all keys: where one is found that can make room.
//!
//! It changes only when a session is opened or has ended. A search costs as
//! much as there are sessions, however many keys are in line for one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use wharf_proto::transport::Link;

use crate::{Key, Session};

/// Every open session, from before it can be leased until it has ended.
pub(crate) struct Roll<L: Link>(Mutex<Entries<L>>);

struct Entries<L: Link> {
    /// By number, and so in the order of their opening.
    open: BTreeMap<u64, Session<L>>,
    /// Where the search for an idle one goes on.
    hand: u64,
}

// === impl Roll ===

impl<L: Link> Roll<L> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Entries { open: BTreeMap::new(), hand: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Entries<L>> {
        self.0.lock().expect("nothing panics while holding it")
    }

    pub(crate) fn enter(&self, session: Session<L>) {
        self.lock().open.insert(session.number(), session);
    }

    pub(crate) fn leave(&self, session: &Session<L>) {
        self.lock().open.remove(&session.number());
    }

    /// Ends one idle session of a key that `fits`. The search begins where
    /// the last one ended, so that it costs little while some are idle. Says
    /// to which upstream it was.
    ///
    /// Each bucket is asked under its own lock, for the sake of
    /// [`Bucket::give_back`](crate::bucket::Bucket::give_back): a session that
    /// is not idle yet, or not here, learns afterwards that a key is starved.
    pub(crate) fn evict_one(&self, fits: impl Fn(&Key) -> bool) -> Option<Arc<str>> {
        let mut entries = self.lock();
        let Entries { open, hand } = &mut *entries;
        let mut round = open.range(*hand..).chain(open.range(..*hand));
        let (number, upstream) = round.find_map(|(number, session)| {
            let home = session.home();
            let makes_room = fits(home.key()) && home.evict_one();
            makes_room.then(|| (*number, Arc::clone(home.key().upstream())))
        })?;
        *hand = number;
        Some(upstream)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::{
        task::JoinSet,
        time::{Duration, Instant},
    };
    use wharf_proto::mock;

    use crate::{Key, Pool, Settings};

    #[tokio::test(start_paused = true)]
    async fn who_looks_for_an_idle_session_looks_at_no_key_that_only_waits() {
        let (connect, mut upstream) = mock::pair();
        let pool = Pool::new(connect, Settings { sessions: 2, ..Settings::default() });
        let mut callers = JoinSet::new();
        for number in 0..100 {
            let pool = pool.clone();
            callers.spawn(async move {
                let deadline = Instant::now() + Duration::from_secs(60);
                pool.acquire(&Key::client(number), deadline).await
            });
        }
        let _peers = [upstream.accept().await, upstream.accept().await];
        let mut leases = Vec::new();
        for _ in 0..2 {
            let served = callers.join_next().await.expect("there are callers");
            leases.push(served.expect("none panics").expect("there is a session"));
        }
        assert_eq!(pool.snapshot().upstreams[0].waiters, 98);

        let looked_at = Cell::new(0);
        let found = pool.inner().roll.evict_one(|_| {
            looked_at.set(looked_at.get() + 1);
            true
        });
        assert_eq!((found, looked_at.get()), (None, 2));
    }
}
