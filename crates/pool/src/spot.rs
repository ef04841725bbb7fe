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
/// It does not keep sessions open: they end with the last handle on the pool.
/// What the pool connects with stays for as long as this does.
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
        if let Some(bucket) = &last
            && let Some(lease) = self.pool.lease_at_once(bucket)
        {
            return Some(lease);
        }
        // It may have been emptied and taken out, and another be in its place.
        let found = self.pool.registry.find(&self.key);
        *self.last() = found.as_ref().map_or_else(Weak::new, Arc::downgrade);
        let is_another = |found: &Arc<_>| last.is_none_or(|last| !Arc::ptr_eq(found, &last));
        self.pool.lease_at_once(&found.filter(is_another)?)
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

#[cfg(test)]
mod tests {
    use wharf_proto::mock;

    use super::*;
    use crate::Settings;

    #[tokio::test]
    async fn a_bucket_is_remembered_until_it_is_found_that_it_has_gone() {
        let (connect, _upstream) = mock::pair();
        let pool = Pool::new(connect, Settings::default());
        let spot = pool.spot(Key::client(1));
        let remembered = || spot.last().upgrade();
        for _ in 0..2 {
            let bucket = pool.inner().bucket(spot.key());
            assert!(spot.try_acquire().is_none(), "it is empty");
            assert!(remembered().is_some_and(|last| Arc::ptr_eq(&last, &bucket)));
            pool.inner().registry.drop_if_empty(&bucket);
            assert!(spot.try_acquire().is_none());
            assert_eq!(spot.last().strong_count(), 0, "not even while somebody else has it");
        }
    }
}
