//! A request of the naive pool: the task in which sessions come to live.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tokio::{select, sync::watch, task::JoinSet, time::timeout};
use wharf_proto::{Request, Response, transport::Connect};

use super::{NaiveError, NaivePool, Wanted, books::NaiveKey, opening::open, session::NaiveSession};

/// A request, or a client's connection with many. Dropping it is its
/// cancellation, and cancels the sessions that were opened in it;
/// [`NaiveRequest::finish`] is its usual end.
pub struct NaiveRequest<C: Connect<Target = Wanted>> {
    pool: NaivePool<C>,
    wanted: Arc<Mutex<Wanted>>,
    /// What drives the sessions that were opened here, whoever uses them now.
    drivers: JoinSet<()>,
    cancel: watch::Sender<bool>,
}

/// A session that is in use. Dropping it without having given it back
/// discards it.
pub struct NaiveLease<C: Connect<Target = Wanted>> {
    pool: NaivePool<C>,
    session: Arc<NaiveSession<C::Link>>,
    wanted: Arc<Mutex<Wanted>>,
    cancelled: watch::Receiver<bool>,
    is_settled: bool,
}

// === impl NaiveRequest ===

impl<C: Connect<Target = Wanted>> NaiveRequest<C> {
    pub(super) fn new(pool: NaivePool<C>, wanted: Wanted) -> Self {
        let (cancel, _) = watch::channel(false);
        let wanted = Arc::new(Mutex::new(wanted));
        Self { pool, wanted, drivers: JoinSet::new(), cancel }
    }

    /// Changes what the request says of itself.
    pub fn identify(&self, wanted: Wanted) {
        *self.wanted.lock().expect("nothing panics while holding it") = wanted;
    }

    /// Whether a session that was opened in it has failed, and so cancelled
    /// the request.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Leases a session: the one that has been idle for longest, else a new
    /// one, once there is a slot.
    ///
    /// # Errors
    ///
    /// [`NaiveError`] where there is none.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a slot, and a half-open session, may be lost.
    pub async fn acquire(&mut self) -> Result<NaiveLease<C>, NaiveError> {
        let mut cancelled = self.cancel.subscribe();
        select! {
            biased;
            Ok(_) = cancelled.wait_for(|is_cancelled| *is_cancelled) => {
                Err(NaiveError::RequestCancelled)
            }
            session = acquire(&self.pool, &self.wanted, &self.cancel, &mut self.drivers) => {
                Ok(NaiveLease {
                    pool: self.pool.clone(),
                    session: session?,
                    wanted: Arc::clone(&self.wanted),
                    cancelled: self.cancel.subscribe(),
                    is_settled: false,
                })
            }
        }
    }

    /// Ends the request in the usual way: its sessions are left running.
    pub fn finish(mut self) {
        self.drivers.detach_all();
    }
}

async fn acquire<C: Connect<Target = Wanted>>(
    pool: &NaivePool<C>,
    wanted: &Mutex<Wanted>,
    host: &watch::Sender<bool>,
    drivers: &mut JoinSet<()>,
) -> Result<Arc<NaiveSession<C::Link>>, NaiveError> {
    let settings = &pool.0.settings;
    let wanted = wanted.lock().expect("nothing panics while holding it").clone();
    if pool.is_closed() {
        return Err(NaiveError::PoolClosed);
    }
    if pool.books().is_tripped(&wanted.url) {
        return Err(NaiveError::BreakerOpen { url: wanted.url });
    }
    // Fault: the caller waits until others' sessions have been closed.
    let reaped = pool.books().sweep(settings);
    for session in reaped {
        session.close().await;
    }
    let key = NaiveKey::of(&wanted);
    loop {
        let idle = pool.books().take_idle(&key);
        let Some(session) = idle else { break };
        if session.is_healthy(settings).await {
            session.touch();
            pool.books().activate(&key, &session, settings);
            return Ok(session);
        }
        session.close().await;
        pool.books().free_slot(&key);
    }
    let slots = pool.books().slots(&key, settings);
    let waited = settings.acquire_timeout;
    // Fault: from here on the caller sleeps on the semaphore, whatever comes
    // back to the queue.
    let slot = timeout(waited, slots.acquire()).await.map_err(|_| NaiveError::NoSlot { waited })?;
    slot.expect("the semaphore is never closed").forget();
    open(pool, &wanted, host, drivers).await
}

impl<C: Connect<Target = Wanted>> fmt::Debug for NaiveRequest<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaiveRequest")
    }
}

// === impl NaiveLease ===

impl<C: Connect<Target = Wanted>> NaiveLease<C> {
    /// Makes a call.
    ///
    /// # Errors
    ///
    /// [`NaiveError`] where there is no answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up, and nobody is told.
    pub async fn call(&self, request: &Request) -> Result<Response, NaiveError> {
        let mut cancelled = self.cancelled.clone();
        let limit = self.pool.0.settings.call_timeout;
        select! {
            biased;
            Ok(_) = cancelled.wait_for(|is_cancelled| *is_cancelled) => {
                Err(NaiveError::RequestCancelled)
            }
            answer = self.session.ask(request, limit) => answer,
        }
    }

    /// Gives the session back; it is used again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the session.
    pub async fn give_back(mut self) {
        let key = self.settle();
        let settings = &self.pool.0.settings;
        if self.session.is_closed() {
            // Fault: a warning would be logged, and the slot is lost.
            return;
        }
        self.pool.books().deactivate(&key, &self.session);
        if self.pool.is_closed() || self.session.is_old(settings) {
            self.session.close().await;
            self.pool.books().free_slot(&key);
        } else {
            self.pool.books().put_idle(&key, Arc::clone(&self.session), settings);
        }
    }

    /// Gives the session back as broken. Fault: its goodbye is waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the slot.
    pub async fn discard(mut self) {
        let key = self.settle();
        self.pool.books().deactivate(&key, &self.session);
        self.session.close().await;
        self.pool.books().free_slot(&key);
    }

    /// Fault: the key is computed again, of what the request is by now.
    fn settle(&mut self) -> NaiveKey {
        self.is_settled = true;
        NaiveKey::of(&self.wanted.lock().expect("nothing panics while holding it"))
    }
}

impl<C: Connect<Target = Wanted>> Drop for NaiveLease<C> {
    fn drop(&mut self) {
        if !self.is_settled {
            let key = self.settle();
            // Fault: the upstream is not told, having to wait being out of
            // question here.
            self.session.abandon();
            let mut books = self.pool.books();
            books.deactivate(&key, &self.session);
            books.free_slot(&key);
        }
    }
}

impl<C: Connect<Target = Wanted>> fmt::Debug for NaiveLease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaiveLease")
    }
}
