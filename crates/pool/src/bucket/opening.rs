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
    /// Taken once it is known how it went.
    attempt: Option<Attempt>,
    given_up: Arc<OnceLock<CloseReason>>,
}

// === impl Opening ===

impl<L: Link> Opening<L> {
    pub(super) const fn new(
        bucket: Arc<Bucket<L>>,
        attempt: Attempt,
        given_up: Arc<OnceLock<CloseReason>>,
    ) -> Self {
        Self { bucket, attempt: Some(attempt), given_up }
    }

    /// The session is open: serves those in line.
    pub(crate) fn succeed(mut self, session: &Session<L>) {
        self.attempt.take().expect("it is taken once").succeeded();
        session.touch();
        let mut state = self.bucket.lock();
        let given_up = self.end(&mut state);
        state.open.push(session.clone());
        if let Some(reason) = given_up {
            session.retire(reason);
            return;
        }
        state.seat(session);
        if session.usage().leases.load(Relaxed) == 0 {
            self.bucket.offer(session);
        }
    }

    /// There is no session. Says whether that has opened the breaker.
    pub(crate) fn fail(mut self, error: &OpenError) -> bool {
        self.attempt.take().is_some_and(|attempt| self.settle(attempt, error))
    }

    fn settle(&self, attempt: Attempt, error: &OpenError) -> bool {
        let tally = &self.bucket.upstream.tally;
        tally.failed_to_open();
        // That we stop, or that our own task is gone, says nothing of it.
        let is_its_own = !matches!(error, OpenError::Shutdown | OpenError::OwnerGone);
        let trips = is_its_own && attempt.failed(error);
        if trips {
            tally.breaker_trips.fetch_add(1, Relaxed);
        }
        let mut state = self.bucket.lock();
        let given_up = self.end(&mut state);
        // With other sessions there, or on their way, those in line are
        // served by them.
        if given_up.is_none() && !state.is_served() {
            state.line.fail(&error.clone().into());
        }
        trips
    }

    /// Counts it as over; says why nobody wants its session any more.
    fn end(&self, state: &mut State<L>) -> Option<CloseReason> {
        let given_up = self.given_up.get().cloned();
        state.opening -= 1;
        state.unwanted -= usize::from(given_up.is_some());
        given_up
    }
}

impl<L: Link> Drop for Opening<L> {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            self.settle(attempt, &OpenError::OwnerGone);
        }
    }
}
