//! Where the buckets are: sharded by key, so that callers of different keys
//! do not meet.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use foldhash::fast::RandomState;
use wharf_proto::transport::Link;

use crate::{Key, bucket::Bucket};

const SHARDS: usize = 64;

/// The buckets by key. A bucket is here while it has a session or a waiter.
pub(crate) struct Registry<L: Link> {
    shards: [RwLock<Shard<L>>; SHARDS],
}

/// A key has its hash with it: nothing is left to do but to put it in its place.
type Shard<L> = HashMap<Key, Arc<Bucket<L>>, RandomState>;

// === impl Registry ===

impl<L: Link> Registry<L> {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()) }
    }

    fn shard(&self, key: &Key) -> &RwLock<Shard<L>> {
        &self.shards[key.shard(SHARDS)]
    }

    pub(crate) fn find(&self, key: &Key) -> Option<Arc<Bucket<L>>> {
        let shard = self.shard(key).read().expect("nothing panics while holding it");
        shard.get(key).map(Arc::clone)
    }

    pub(crate) fn find_or(&self, key: &Key, make: impl FnOnce() -> Bucket<L>) -> Arc<Bucket<L>> {
        if let Some(bucket) = self.find(key) {
            return bucket;
        }
        let mut shard = self.shard(key).write().expect("nothing panics while holding it");
        Arc::clone(shard.entry(key.clone()).or_insert_with(|| Arc::new(make())))
    }

    /// Takes a bucket out if nobody needs it. The map is locked before the
    /// bucket is asked, so that nobody finds it in between.
    pub(crate) fn drop_if_empty(&self, bucket: &Arc<Bucket<L>>) {
        let mut shard = self.shard(bucket.key()).write().expect("nothing panics while holding it");
        let is_here = shard.get(bucket.key()).is_some_and(|here| Arc::ptr_eq(here, bucket));
        if is_here && bucket.leave_if_empty() {
            shard.remove(bucket.key());
        }
    }

    /// All buckets there are now.
    pub(crate) fn all(&self) -> Vec<Arc<Bucket<L>>> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| {
                let shard = shard.read().expect("nothing panics while holding it");
                shard.values().map(Arc::clone).collect::<Vec<_>>()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;
    use wharf_proto::mock;

    use crate::{AcquireError, Key, Pool, Settings, bucket::Admission};

    #[tokio::test]
    async fn who_has_found_a_bucket_that_is_taken_out_meanwhile_is_sent_to_the_next() {
        let (connect, _upstream) = mock::pair();
        let pool = Pool::new(connect, Settings::default());
        let found = pool.inner().bucket(&Key::client(1));
        pool.inner().registry.drop_if_empty(&found);
        assert!(matches!(found.admit(), Admission::Gone));

        let next = pool.inner().bucket(&Key::client(1));
        assert!(!Arc::ptr_eq(&found, &next));
        let Admission::Ticket(_in_line) = next.admit() else { panic!("there is a line") };
        pool.inner().registry.drop_if_empty(&next);
        assert!(Arc::ptr_eq(&next, &pool.inner().bucket(&Key::client(1))), "somebody waits there");
    }

    #[tokio::test]
    async fn a_bucket_that_was_shut_before_anybody_was_in_it_is_not_left_behind() {
        let (connect, _upstream) = mock::pair();
        let pool = Pool::new(connect, Settings::default());
        let key = Key::client(1);
        let found = pool.inner().bucket(&key);
        found.shut(&AcquireError::Draining);
        let refused = pool.acquire(&key, Instant::now()).await;
        assert!(matches!(refused, Err(AcquireError::Draining)));
        assert!(pool.inner().registry.find(&key).is_none());
        assert!(matches!(found.admit(), Admission::Gone));
    }
}
