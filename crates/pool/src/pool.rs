//! The pool itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wharf_proto::transport::Connect;

use crate::{
    AcquireError, CloseReason, Key, Lease, Settings, Snapshot, Step,
    bucket::{Admission, Bucket, Ticket},
    capacity::{Capacity, Scarce},
    figures::UpstreamSnapshot,
    owner::Owner,
    registry::Registry,
    session::Handshake,
    upstream::Upstreams,
};

/// A pool of MCP sessions.
///
/// Clones are handles on the same pool. When the last is dropped, its
/// sessions end; [`Pool::shutdown`] does the same and waits for it.
pub struct Pool<C: Connect<Target = Key>> {
    handle: Arc<LastHandle<C>>,
}

/// What the owners share with the pool. They hold it; it does not hold them.
pub(crate) struct Inner<C: Connect<Target = Key>> {
    pub(crate) connect: C,
    pub(crate) settings: Settings,
    pub(crate) registry: Registry<C::Link>,
    pub(crate) capacity: Capacity<C>,
    /// Ends every session at once.
    pub(crate) stop: CancellationToken,
    /// Nobody is let in any more. Read for every lease, so no more than an
    /// atomic load.
    shut: AtomicBool,
    /// Sessions that have ended and whose room has not been offered yet.
    ended: AtomicUsize,
    pub(crate) upstreams: Upstreams,
    owners: TaskTracker,
    runtime: Handle,
}

/// A caller in line. Dropping it leaves the line, and takes the key out of
/// the registry if it was only there for this caller.
struct Waiting<'a, C: Connect<Target = Key>> {
    pool: &'a Inner<C>,
    bucket: Arc<Bucket<C::Link>>,
    ticket: Option<Ticket<C::Link>>,
}

/// Ends the sessions when the last handle goes.
struct LastHandle<C: Connect<Target = Key>>(Arc<Inner<C>>);

// === impl Pool ===

impl<C: Connect<Target = Key>> Pool<C> {
    /// Makes an empty pool whose owners run on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(connect: C, settings: Settings) -> Self {
        let inner = Inner {
            connect,
            settings,
            registry: Registry::new(),
            capacity: Capacity::new(),
            stop: CancellationToken::new(),
            shut: AtomicBool::new(false),
            ended: AtomicUsize::new(0),
            upstreams: Upstreams::default(),
            owners: TaskTracker::new(),
            runtime: Handle::current(),
        };
        Self { handle: Arc::new(LastHandle(Arc::new(inner))) }
    }

    fn inner(&self) -> &Arc<Inner<C>> {
        &self.handle.0
    }

    /// Leases a session: one that is open and has room, else a new one if
    /// the limits allow it, else the first that becomes free, in the order
    /// of asking.
    ///
    /// # Errors
    ///
    /// [`AcquireError`], with the step that failed. Nothing has been sent for
    /// this caller then.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped midway, the caller leaves the line, a session it
    /// had just been given goes to the next, and a handshake under way goes
    /// on for the others.
    pub async fn acquire(
        &self,
        key: &Key,
        deadline: Instant,
    ) -> Result<Lease<C::Link>, AcquireError> {
        let pool = self.inner();
        let mut waiting = loop {
            let bucket = pool.bucket(key);
            // Asked once the bucket is in the registry: a shutdown that comes
            // after the answer finds it there and shuts it.
            if pool.shut.load(Ordering::Acquire) {
                pool.registry.drop_if_empty(&bucket);
                return Err(AcquireError::Shutdown);
            }
            match bucket.admit() {
                Admission::Lease(lease) => return Ok(lease),
                Admission::Ticket(ticket) => break Waiting { pool, bucket, ticket: Some(ticket) },
                Admission::Gone => {}
                Admission::Shut => return Err(AcquireError::Shutdown),
                Admission::Full { waiting } => {
                    bucket.upstream.tally.refusals.fetch_add(1, Ordering::Relaxed);
                    return Err(AcquireError::Full { waiting });
                }
            }
        };
        let begun = Instant::now();
        pool.grow(&waiting.bucket);
        let granted = timeout_at(deadline, waiting.granted()).await;
        let granted = granted.unwrap_or_else(|_| {
            let is_opening = waiting.bucket.is_opening();
            Err(AcquireError::TimedOut { step: if is_opening { Step::Open } else { Step::Turn } })
        });
        let tally = &waiting.bucket.upstream.tally;
        match &granted {
            Ok(_) => tally.acquired(begun.elapsed()),
            Err(AcquireError::BreakerOpen { .. }) => {
                tally.breaker_refusals.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        granted
    }

    /// What the upstream said in the handshake of a session of this key, if
    /// one is open.
    #[must_use]
    pub fn handshake(&self, key: &Key) -> Option<Handshake> {
        let session = self.inner().registry.find(key)?.any_session()?;
        Some(session.handshake().clone())
    }

    /// Gives up the sessions of a key: those nobody uses end now, the others
    /// with their last lease. Whoever asks for the key again gets a new one.
    pub fn retire(&self, key: &Key) {
        if let Some(bucket) = self.inner().registry.find(key) {
            bucket.retire_all(&CloseReason::Retired);
            // Those in line are not to wait for the sessions that go.
            self.inner().grow(&bucket);
        }
    }

    /// What the pool holds and has done.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let pool = self.inner();
        let upstreams = pool.upstreams.all();
        let mut upstreams: Vec<_> =
            upstreams.iter().map(|upstream| UpstreamSnapshot::of(upstream)).collect();
        for bucket in pool.registry.all() {
            let id = bucket.key().upstream();
            let found = upstreams.iter_mut().find(|upstream| *upstream.upstream == **id);
            let Some(upstream) = found else { continue };
            upstream.add(bucket.held());
        }
        Snapshot { upstreams }
    }

    /// Ends the pool: leases nothing any more, fails those in line, lets
    /// calls finish until `deadline`, then ends every session and waits for
    /// every owner. May be called more than once, and at once by several.
    ///
    /// # Cancel safety
    ///
    /// Dropped midway, the pool stays shut and each session ends with its
    /// last lease, but nothing is cut at the deadline any more. Call it again
    /// to wait again.
    pub async fn shutdown(&self, deadline: Instant) {
        let pool = self.inner();
        pool.shut.store(true, Ordering::Release);
        pool.owners.close();
        for bucket in pool.registry.all() {
            bucket.shut();
            bucket.retire_all(&CloseReason::Shutdown);
        }
        if timeout_at(deadline, pool.owners.wait()).await.is_err() {
            pool.stop.cancel();
            pool.owners.wait().await;
        }
    }
}

impl<C: Connect<Target = Key>> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<C: Connect<Target = Key>> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.snapshot(), f)
    }
}

impl<C: Connect<Target = Key>> Drop for LastHandle<C> {
    fn drop(&mut self) {
        self.0.shut.store(true, Ordering::Release);
        self.0.stop.cancel();
        self.0.owners.close();
    }
}

// === impl Waiting ===

impl<C: Connect<Target = Key>> Waiting<'_, C> {
    async fn granted(&mut self) -> Result<Lease<C::Link>, AcquireError> {
        let ticket = self.ticket.as_mut().expect("taken only when it has been honoured");
        let lease = ticket.granted().await?;
        self.ticket = None;
        Ok(lease)
    }
}

impl<C: Connect<Target = Key>> Drop for Waiting<'_, C> {
    fn drop(&mut self) {
        if self.ticket.take().is_some() {
            self.pool.registry.drop_if_empty(&self.bucket);
        }
    }
}

// === impl Inner ===

impl<C: Connect<Target = Key>> Inner<C> {
    fn bucket(&self, key: &Key) -> Arc<Bucket<C::Link>> {
        self.registry.find_or(key, || {
            let limits = self.settings.limits(key.upstream());
            let upstream = self.upstreams.of(key.upstream(), limits);
            Bucket::new(key.clone(), upstream, self.capacity.hunger().clone())
        })
    }

    /// Opens as many sessions for a key as those in line want and the limits
    /// allow. Where a limit of other keys is in the way, an idle session of
    /// theirs is asked to make room, and the key waits in line for it. Says
    /// whether any is being opened now.
    pub(crate) fn grow(self: &Arc<Self>, bucket: &Arc<Bucket<C::Link>>) -> bool {
        let mut has_grown = false;
        while bucket.wants_session() {
            // Asked first, so that nobody makes room for what is not tried.
            let attempt = match bucket.breaker.attempt() {
                Ok(attempt) => attempt,
                Err(tripped) => {
                    bucket.refuse(&tripped.into());
                    break;
                }
            };
            let permit = match self.capacity.permit(self, bucket) {
                Ok(permit) => permit,
                Err(scarce) => {
                    self.make_room(bucket, scarce);
                    break;
                }
            };
            // A shutdown that sees the opening must also see its owner.
            let _seen = self.owners.token();
            // Somebody else may have begun to open it meanwhile.
            let Some(opening) = bucket.begin_opening(attempt) else { break };
            let owner = Owner { pool: Arc::clone(self), bucket: Arc::clone(bucket) };
            self.owners.spawn_on(owner.run(opening, permit), &self.runtime);
            has_grown = true;
        }
        has_grown
    }

    /// The breaker of `failed` has opened: those in line at other keys behind
    /// it are told at once.
    pub(crate) fn refuse_behind(&self, failed: &Bucket<C::Link>) {
        let Err(tripped) = failed.breaker.attempt() else { return };
        let refusal = tripped.into();
        for bucket in self.registry.all() {
            if Arc::ptr_eq(&bucket.breaker, &failed.breaker) {
                bucket.refuse(&refusal);
            }
        }
    }

    /// Asks an idle session to make room for a starved key, if it is the
    /// key's turn to ask.
    fn make_room(&self, bucket: &Arc<Bucket<C::Link>>, scarce: Scarce) {
        let upstream = bucket.key().upstream();
        let leaving = match scarce {
            Scarce::Everywhere => self.registry.evict_one(|_| true),
            Scarce::AtThisUpstream => self.registry.evict_one(|key| key.upstream() == upstream),
            Scarce::InTurn => None,
        };
        if let Some(upstream) = leaving {
            self.capacity.leaves(&upstream);
        }
    }

    /// A session of `idle` has become so: it makes room for a starved key
    /// that has use for it.
    pub(crate) fn feed_from(self: &Arc<Self>, idle: &Bucket<C::Link>) {
        let upstream = idle.key().upstream();
        let Some(needy) = self.capacity.needy_for(upstream, &self.settings) else {
            return;
        };
        if idle.evict_one() {
            self.capacity.leaves(upstream);
        } else {
            // Leased again meanwhile; perhaps another is idle.
            self.grow(&needy);
        }
    }

    /// A session has ended: lets the first key grow that there is room for
    /// now. One that ends is room for one.
    pub(crate) fn feed_starved(self: &Arc<Self>) {
        // Who is in here already does it for the others. Where the runtime
        // has gone, an owner is dropped as soon as it is spawned, and its
        // permit comes back here: it must not go deeper with each.
        if self.ended.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        loop {
            while let Some(bucket) = self.capacity.next_starved(&self.settings) {
                if self.grow(&bucket) {
                    break;
                }
            }
            // What a session left room for and another key took it is to be
            // asked for again.
            for bucket in self.capacity.needy(&self.settings) {
                self.grow(&bucket);
            }
            if self.ended.fetch_sub(1, Ordering::AcqRel) == 1 {
                return;
            }
        }
    }
}
