//! The pool itself.

use std::{
    fmt,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};
use wharf_proto::transport::Connect;

use crate::{
    AcquireError, CloseReason, Key, Lease, Limits, Settings, Snapshot, Step,
    bucket::{Admission, Bucket, Ticket},
    capacity::Capacity,
    figures::UpstreamSnapshot,
    registry::Registry,
    roll::Roll,
    session::Handshake,
    shift::Shift,
    upstream::{Upstream, Upstreams},
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
    settings: RwLock<Arc<Settings>>,
    pub(crate) registry: Registry<C::Link>,
    pub(crate) roll: Roll<C::Link>,
    pub(crate) capacity: Capacity<C>,
    /// All owners.
    pub(crate) shift: Shift,
    /// Nobody is let in any more. Read for every lease, so no more than an
    /// atomic load.
    pub(crate) shut: AtomicBool,
    /// Sessions that have ended and whose room has not been offered yet.
    pub(crate) ended: AtomicUsize,
    pub(crate) upstreams: Upstreams,
    pub(crate) runtime: Handle,
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
            settings: RwLock::new(Arc::new(settings)),
            registry: Registry::new(),
            roll: Roll::new(),
            capacity: Capacity::new(),
            shift: Shift::default(),
            shut: AtomicBool::new(false),
            ended: AtomicUsize::new(0),
            upstreams: Upstreams::default(),
            runtime: Handle::current(),
        };
        Self { handle: Arc::new(LastHandle(Arc::new(inner))) }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner<C>> {
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
            if let Some(refusal) = pool.refusal(&bucket.upstream) {
                pool.registry.drop_if_empty(&bucket);
                return Err(refusal);
            }
            match bucket.admit() {
                Admission::Lease(lease) => return Ok(lease),
                Admission::Ticket(ticket) => break Waiting { pool, bucket, ticket: Some(ticket) },
                Admission::Gone => {}
                Admission::Shut => {
                    // Who shut it may have seen it before anybody was in it.
                    pool.registry.drop_if_empty(&bucket);
                    let refusal = pool.refusal(&bucket.upstream);
                    // It may have been opened again meanwhile.
                    return Err(refusal.unwrap_or(AcquireError::Draining));
                }
                Admission::Full { waiting } => {
                    bucket.upstream.tally.refusals.fetch_add(1, Ordering::Relaxed);
                    return Err(AcquireError::Full { waiting });
                }
            }
        };
        let begun = Instant::now();
        pool.grow(&waiting.bucket);
        pool.keep_warm_like(&waiting.bucket);
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

    /// Leases a session that is open and has room, if there is one. Where it
    /// is `None`, [`Pool::acquire`] is the way to one.
    #[must_use]
    pub fn try_acquire(&self, key: &Key) -> Option<Lease<C::Link>> {
        let pool = self.inner();
        pool.lease_at_once(&pool.registry.find(key)?)
    }

    /// What the upstream said in the handshake of a session of this key, if
    /// one is open.
    #[must_use]
    pub fn handshake(&self, key: &Key) -> Option<Handshake> {
        let session = self.inner().registry.find(key)?.any_session()?;
        Some(session.handshake().clone())
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
            upstream.add(bucket.key(), bucket.held());
        }
        Snapshot { upstreams }
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
        self.0.shift.stop.cancel();
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
    pub(crate) fn bucket(&self, key: &Key) -> Arc<Bucket<C::Link>> {
        self.registry.find_or(key, || {
            let settings = self.settings();
            let limits = settings.limits(key.upstream());
            let upstream = self.upstreams.of(key.upstream(), limits, &self.shift);
            Bucket::new(key.clone(), upstream, self.capacity.hunger().clone())
        })
    }

    /// What holds for now. Not asked on the usual way of a call.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().expect("nothing panics while holding it"))
    }

    /// Has other limits hold for an upstream, once it is used.
    pub(crate) fn set_limits(&self, upstream: &Arc<str>, limits: Limits) {
        let mut settings = self.settings.write().expect("nothing panics while holding it");
        Arc::make_mut(&mut settings).upstreams.insert(Arc::clone(upstream), limits);
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Why nobody is let in, if so.
    pub(crate) fn refusal(&self, upstream: &Upstream) -> Option<AcquireError> {
        if self.is_shut() {
            return Some(AcquireError::Shutdown);
        }
        upstream.is_closed().then_some(AcquireError::Draining)
    }

    /// Leases a session that is in a bucket, if one has room.
    pub(crate) fn lease_at_once(&self, bucket: &Arc<Bucket<C::Link>>) -> Option<Lease<C::Link>> {
        if self.refusal(&bucket.upstream).is_some() {
            return None;
        }
        bucket.admit_at_once()
    }

    pub(crate) fn retire(self: &Arc<Self>, key: &Key) {
        if let Some(bucket) = self.registry.find(key) {
            bucket.retire_all(&CloseReason::Retired);
            // Those in line are not to wait for the sessions that go.
            self.grow(&bucket);
        }
    }
}
