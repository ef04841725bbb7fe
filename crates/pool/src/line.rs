//! Those who wait for a session of one key: first come, first served.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use wharf_proto::transport::Link;

use crate::{AcquireError, Session};

/// What a waiter is given: a session whose lease is already counted, or the
/// reason why there is none.
pub(crate) type Grant<L> = Result<Session<L>, AcquireError>;

/// The line of one bucket. Guarded by the bucket's lock.
pub(crate) struct Line<L: Link> {
    waiters: VecDeque<oneshot::Sender<Grant<L>>>,
}

// === impl Line ===

impl<L: Link> Line<L> {
    pub(crate) const fn new() -> Self {
        Self { waiters: VecDeque::new() }
    }

    /// How many wait. Those who have gone are forgotten here, so that a line
    /// nobody serves does not grow with those who give up.
    pub(crate) fn len(&mut self) -> usize {
        self.waiters.retain(|waiter| !waiter.is_closed());
        self.waiters.len()
    }

    pub(crate) fn is_empty(&mut self) -> bool {
        while self.waiters.front().is_some_and(oneshot::Sender::is_closed) {
            self.waiters.pop_front();
        }
        self.waiters.is_empty()
    }

    pub(crate) fn join(&mut self) -> oneshot::Receiver<Grant<L>> {
        let (waiter, granted) = oneshot::channel();
        self.waiters.push_back(waiter);
        granted
    }

    /// Grants the session to the first who still waits. Whether anybody does.
    pub(crate) fn grant(&mut self, session: &Session<L>) -> bool {
        while let Some(waiter) = self.waiters.pop_front() {
            if waiter.send(Ok(session.clone())).is_ok() {
                return true;
            }
        }
        false
    }

    /// Tells everybody that there is no session to be had.
    pub(crate) fn fail(&mut self, error: &AcquireError) {
        for waiter in self.waiters.drain(..) {
            // Those who have gone do not need to know.
            let _ = waiter.send(Err(error.clone()));
        }
    }
}
