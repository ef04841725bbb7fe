//! Taking sessions out of service: those of some keys, of an upstream, or all.

use std::{sync::Arc, sync::atomic::Ordering};

use tokio::time::Instant;
use wharf_proto::transport::Connect;

use crate::{AcquireError, CloseReason, Key, Limits, Pool, pool::Inner, upstream::Upstream};

/// What becomes of an upstream that has been drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Afterwards {
    /// Sessions with it can be opened again.
    #[default]
    Open,
    /// It stays shut, as long as the pool lives.
    Shut,
}

/// An upstream while it is drained. Dropping it is the end of that.
struct Draining<'a, C: Connect<Target = Key>> {
    pool: &'a Inner<C>,
    upstream: Arc<Upstream>,
    afterwards: Afterwards,
}

// === impl Pool ===

impl<C: Connect<Target = Key>> Pool<C> {
    /// Gives up the sessions of a key: those nobody uses end now, the others
    /// with their last lease. Whoever asks for the key again gets a new one.
    pub fn retire(&self, key: &Key) {
        self.inner().retire(key);
    }

    /// Gives up the sessions of all keys that are `obsolete`, as
    /// [`Pool::retire`] does, for a `reason` of the caller's: the credential
    /// or the configuration that they were opened with is now another.
    /// Sessions kept warm for such keys go, too.
    pub fn retire_where(&self, reason: &CloseReason, obsolete: impl Fn(&Key) -> bool) {
        let pool = self.inner();
        for upstream in pool.upstreams.all() {
            upstream.warm.forget(&obsolete);
        }
        for bucket in pool.registry.all() {
            if obsolete(bucket.key()) {
                bucket.retire_all(reason);
                // Those in line are not to wait for the sessions that go.
                pool.grow(&bucket);
            }
        }
    }

    /// An upstream is another than it was, for a `reason` of the caller's:
    /// its sessions are given up, as [`Pool::retire_where`] does it, those to
    /// come are opened under `limits`, and failures to open one until now are
    /// forgotten. It may be one that has not been used yet.
    pub fn renew(&self, upstream: &Arc<str>, limits: Limits, reason: &CloseReason) {
        let pool = self.inner();
        pool.set_limits(upstream, limits.clone());
        pool.upstreams.of(upstream, &limits, &pool.shift).renew(limits);
        let is_renewed = |key: &Key| key.upstream() == upstream;
        for bucket in pool.registry.all() {
            if is_renewed(bucket.key()) {
                bucket.renew();
            }
        }
        self.retire_where(reason, is_renewed);
    }

    /// Takes an upstream out of service: leases none of its sessions any
    /// more, fails those in line, lets calls finish until `deadline`, then
    /// ends every session, all at once, and waits for their owners. One that
    /// does not end within its upstream's `goodbye_timeout` is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropped midway, each session that was there ends with its last lease,
    /// but nothing is cut at the deadline any more; the upstream is open, or
    /// stays shut, as it would be at the end.
    pub async fn drain(&self, upstream: &str, deadline: Instant, afterwards: Afterwards) {
        let pool = self.inner();
        let upstream =
            pool.upstreams.of(&upstream.into(), pool.settings().limits(upstream), &pool.shift);
        upstream.close();
        let draining = Draining { pool, upstream, afterwards };
        let upstream = &draining.upstream;
        for bucket in pool.registry.all() {
            if Arc::ptr_eq(&bucket.upstream, upstream) {
                bucket.shut(&AcquireError::Draining);
                bucket.retire_all(&CloseReason::Drained);
            }
        }
        upstream.shift().end(deadline, upstream.rules().limits.goodbye_timeout).await;
    }

    /// Ends the pool: leases nothing any more, fails those in line, lets
    /// calls finish until `deadline`, then ends every session, all at once,
    /// and waits for every owner. One that does not end within the longest
    /// `goodbye_timeout` there is, is dropped. May be called more than once,
    /// and at once by several.
    ///
    /// # Cancel safety
    ///
    /// Dropped midway, the pool stays shut and each session ends with its
    /// last lease, but nothing is cut at the deadline any more. Call it again
    /// to wait again.
    pub async fn shutdown(&self, deadline: Instant) {
        let pool = self.inner();
        pool.shut.store(true, Ordering::Release);
        for bucket in pool.registry.all() {
            bucket.shut(&AcquireError::Shutdown);
            bucket.retire_all(&CloseReason::Shutdown);
        }
        let upstreams = pool.upstreams.all();
        let goodbyes = upstreams.iter().map(|upstream| upstream.rules().limits.goodbye_timeout);
        pool.shift.end(deadline, goodbyes.max().unwrap_or_default()).await;
    }
}

// === impl Draining ===

impl<C: Connect<Target = Key>> Drop for Draining<'_, C> {
    fn drop(&mut self) {
        if self.afterwards == Afterwards::Shut || !self.upstream.reopen(&self.pool.shift) {
            return;
        }
        // Given up midway, a drain leaves keys whose sessions are still in
        // use. Others may now be opened beside them.
        for bucket in self.pool.registry.all() {
            if Arc::ptr_eq(&bucket.upstream, &self.upstream) && !self.pool.is_shut() {
                bucket.reopen();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::time::{Duration, Instant};
    use wharf_proto::mock;

    use crate::{Afterwards, Key, Pool, Settings, bucket::Admission};

    #[tokio::test(start_paused = true)]
    async fn a_drain_that_is_given_up_lets_nobody_in_whom_a_shutdown_keeps_out() {
        let (connect, mut upstream) = mock::pair();
        let pool = Pool::new(connect, Settings::default());
        let (key, deadline) = (Key::client(1), Instant::now() + Duration::from_secs(60));
        let (lease, _peer) = tokio::join!(pool.acquire(&key, deadline), upstream.accept());
        let _held = lease.expect("there is a session");
        let bucket = pool.inner().registry.find(&key).expect("it has a session");

        let mut draining = Box::pin(pool.drain("fast-time", deadline, Afterwards::Open));
        assert!(poll!(&mut draining).is_pending());
        assert!(poll!(Box::pin(pool.shutdown(deadline))).is_pending());
        drop(draining);
        assert!(matches!(bucket.admit(), Admission::Shut));
    }
}
