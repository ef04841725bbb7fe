//! A key's place in a pool, for those who come back to it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use wharf_proto::transport::Connect;

use crate::{Key, Lease, Pool, bucket::Bucket, pool::Inner};

/// A key, and where in the pool its sessions were when it was last asked for
/// them. Who leases sessions of one key again and again need not have it
/// looked up each time.
///
/// It does not keep the pool open, nor anything in it.
pub struct Spot<C: Connect<Target = Key>> {
    pool: Arc<Inner<C>>,
    key: Key,
    /// Weak, so that keys which are not used are forgotten.
    last: Mutex<Weak<Bucket<C::Link>>>,
}

// === impl Pool ===

impl<C: Connect<Target = Key>> Pool<C> {
    /// The place of a key. There need not be any session of it.
    #[must_use]
    pub fn spot(&self, key: Key) -> Spot<C> {
        Spot { pool: Arc::clone(self.inner()), key, last: Mutex::default() }
    }
}

// === impl Spot ===

impl<C: Connect<Target = Key>> Spot<C> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Leases a session that is open and has room, as [`Pool::try_acquire`]
    /// does.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Lease<C::Link>> {
        let last = self.last().upgrade();
        if let Some(lease) = last.and_then(|bucket| self.pool.lease_at_once(&bucket)) {
            return Some(lease);
        }
        // It may have been emptied and taken out, and another be in its place.
        let bucket = self.pool.registry.find(&self.key)?;
        *self.last() = Arc::downgrade(&bucket);
        self.pool.lease_at_once(&bucket)
    }

    fn last(&self) -> MutexGuard<'_, Weak<Bucket<C::Link>>> {
        self.last.lock().expect("nothing panics while holding it")
    }
}

impl<C: Connect<Target = Key>> fmt::Debug for Spot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spot({:?})", self.key)
    }
}
