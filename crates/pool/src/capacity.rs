//! How many sessions there may be in all and per upstream.
//!
//! Asked only when a session is opened or has ended, never on the way of a
//! call.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use wharf_proto::transport::Connect;

use crate::{bucket::Bucket, pool::Inner, settings::Settings};

/// Counts sessions against the limits, and keeps those keys in line that a
/// limit keeps from opening one.
pub(crate) struct Capacity<C: Connect<Target = crate::Key>> {
    state: Mutex<Counts<C>>,
}

struct Counts<C: Connect<Target = crate::Key>> {
    total: usize,
    upstreams: HashMap<Arc<str>, usize>,
    starved: VecDeque<Weak<Bucket<C::Link>>>,
}

/// The permission to have one session. Dropping it lets the next key that is
/// starved open one.
pub(crate) struct Permit<C: Connect<Target = crate::Key>> {
    pool: Weak<Inner<C>>,
    upstream: Arc<str>,
}

// === impl Capacity ===

impl<C: Connect<Target = crate::Key>> Capacity<C> {
    pub(crate) fn new() -> Self {
        let counts = Counts { total: 0, upstreams: HashMap::new(), starved: VecDeque::new() };
        Self { state: Mutex::new(counts) }
    }

    fn lock(&self) -> MutexGuard<'_, Counts<C>> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// Takes a permit for `bucket`, or puts it in line for one.
    ///
    /// # Errors
    ///
    /// Whether it is the upstream's own limit that is reached.
    pub(crate) fn permit(
        &self,
        pool: &Arc<Inner<C>>,
        bucket: &Arc<Bucket<C::Link>>,
    ) -> Result<Permit<C>, Scarce> {
        let mut counts = self.lock();
        let upstream = bucket.key().upstream();
        if let Err(scarce) = counts.room_for(upstream, &pool.settings) {
            counts.starve(bucket);
            return Err(scarce);
        }
        counts.total += 1;
        *counts.upstreams.entry(Arc::clone(upstream)).or_default() += 1;
        Ok(Permit { pool: Arc::downgrade(pool), upstream: Arc::clone(upstream) })
    }

    /// The first key in line that there is room for now.
    pub(crate) fn next_starved(&self, settings: &Settings) -> Option<Arc<Bucket<C::Link>>> {
        let mut counts = self.lock();
        counts.starved.retain(|bucket| bucket.strong_count() > 0);
        let at = counts.starved.iter().position(|bucket| {
            bucket
                .upgrade()
                .is_some_and(|bucket| counts.room_for(bucket.key().upstream(), settings).is_ok())
        })?;
        counts.starved.remove(at)?.upgrade()
    }

    fn release(&self, upstream: &Arc<str>) {
        let mut counts = self.lock();
        counts.total -= 1;
        if let Some(count) = counts.upstreams.get_mut(upstream) {
            *count -= 1;
            if *count == 0 {
                counts.upstreams.remove(upstream);
            }
        }
    }
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scarce {
    Everywhere,
    AtThisUpstream,
}

impl<C: Connect<Target = crate::Key>> Counts<C> {
    fn room_for(&self, upstream: &str, settings: &Settings) -> Result<(), Scarce> {
        let here = self.upstreams.get(upstream).copied().unwrap_or_default();
        if here >= settings.limits(upstream).sessions {
            return Err(Scarce::AtThisUpstream);
        }
        if self.total >= settings.sessions {
            return Err(Scarce::Everywhere);
        }
        Ok(())
    }

    fn starve(&mut self, bucket: &Arc<Bucket<C::Link>>) {
        let bucket = Arc::downgrade(bucket);
        if !self.starved.iter().any(|other| other.ptr_eq(&bucket)) {
            self.starved.push_back(bucket);
        }
    }
}

// === impl Permit ===

impl<C: Connect<Target = crate::Key>> Drop for Permit<C> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        pool.capacity.release(&self.upstream);
        pool.feed_starved();
    }
}
