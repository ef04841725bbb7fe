//! A session of a bucket while it is being opened.

use std::sync::{Arc, OnceLock, atomic::Ordering::Relaxed};

use wharf_proto::transport::Link;

use crate::{
    CloseReason, OpenError, Session,
    breaker::Attempt,
    bucket::{Bucket, State},
};

/// A session that is being opened. Dropping it tells those in line that
/// there will be none.
pub(crate) struct Opening<L: Link> {
    bucket: Arc<Bucket<L>>,
    /// None for a session that has been opened already, ahead of demand.
    attempt: Option<Attempt>,
    is_over: bool,
    given_up: Arc<OnceLock<CloseReason>>,
}

// === impl Opening ===

impl<L: Link> Opening<L> {
    pub(super) const fn new(
        bucket: Arc<Bucket<L>>,
        attempt: Option<Attempt>,
        given_up: Arc<OnceLock<CloseReason>>,
    ) -> Self {
        Self { bucket, attempt, is_over: false, given_up }
    }

    /// The session is open: serves those in line. Says whether it does, and
    /// has not ended on the way here.
    pub(crate) fn succeed(mut self, session: &Session<L>) -> bool {
        if let Some(attempt) = self.attempt.take() {
            attempt.succeeded();
        }
        session.touch();
        let bucket = Arc::clone(&self.bucket);
        let mut state = bucket.lock();
        let given_up = self.end(&mut state);
        if session.is_closed() {
            return false;
        }
        // Where the upstream keeps no session, nothing of one caller can be
        // seen by another.
        let is_shared = !session.has_session();
        let capacity = if is_shared { usize::MAX } else { bucket.rules().limits.calls_per_session };
        session.usage().capacity.store(capacity, Relaxed);
        state.open.push(session.clone());
        if let Some(reason) = given_up {
            session.retire(reason);
            return true;
        }
        state.seat(session);
        if session.usage().leases.load(Relaxed) == 0 {
            bucket.offer(session);
        }
        true
    }

    /// There is no session. Says whether that has opened the breaker.
    pub(crate) fn fail(mut self, error: &OpenError) -> bool {
        self.settle(error)
    }

    /// Nothing was tried: it is as if it had not begun.
    pub(crate) fn call_off(mut self) {
        let bucket = Arc::clone(&self.bucket);
        self.end(&mut bucket.lock());
    }

    fn settle(&mut self, error: &OpenError) -> bool {
        let Some(attempt) = self.attempt.take() else { return false };
        let bucket = Arc::clone(&self.bucket);
        let tally = &bucket.upstream.tally;
        tally.failed_to_open();
        // That we stop, or that our own task is gone, says nothing of it.
        let is_its_own =
            !matches!(error, OpenError::Shutdown | OpenError::Draining | OpenError::OwnerGone);
        let trips = is_its_own && attempt.failed(error);
        if trips {
            tally.breaker_trips.fetch_add(1, Relaxed);
        }
        let mut state = bucket.lock();
        let given_up = self.end(&mut state);
        // With other sessions there, or on their way, those in line are
        // served by them.
        if given_up.is_none() && !state.is_served() {
            state.line.fail(&error.clone().into());
        }
        trips
    }

    /// Counts it as over; says why nobody wants its session any more.
    fn end(&mut self, state: &mut State<L>) -> Option<CloseReason> {
        self.is_over = true;
        let given_up = self.given_up.get().cloned();
        state.opening -= 1;
        state.unwanted -= usize::from(given_up.is_some());
        given_up
    }
}

impl<L: Link> Drop for Opening<L> {
    fn drop(&mut self) {
        if !self.is_over {
            self.settle(&OpenError::OwnerGone);
        }
    }
}
