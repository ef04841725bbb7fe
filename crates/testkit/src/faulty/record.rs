//! What has reached the upstream, and waiting for what is yet to.

use std::{fmt, sync::Arc};

use http::StatusCode;
use tokio::{sync::watch, time::Instant};

mod arrival;
mod seen;

pub use arrival::Arrival;
pub use seen::{Gauge, Happening, Seen};

/// The record of an upstream, from its first start on. Clones are the same
/// record, and outlive the upstream.
#[derive(Clone)]
pub struct Record(Arc<Books>);

struct Books {
    /// By the clock of the upstream's thread, which nobody pauses.
    since: Instant,
    seen: watch::Sender<Seen>,
}

/// An open connection in the books. Dropping it enters its end.
pub(super) struct Connected {
    record: Record,
    number: u64,
}

/// An open listening stream in the books. Dropping it enters its end.
pub(super) struct Listening(Record);

// === impl Record ===

impl Record {
    pub(super) fn new() -> Self {
        let seen = watch::Sender::new(Seen::default());
        Self(Arc::new(Books { since: Instant::now(), seen }))
    }

    /// What has been seen so far.
    #[must_use]
    pub fn so_far(&self) -> Seen {
        self.0.seen.borrow().clone()
    }

    /// Every HTTP request so far, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Arrival> {
        self.0.seen.borrow().requests().to_vec()
    }

    /// How often the work of this token has been done, by `run_once` and its
    /// like.
    #[must_use]
    pub fn executions(&self, token: &str) -> u64 {
        self.0.seen.borrow().executions(token)
    }

    /// Waits until this holds of what has been seen, and says what that is.
    /// It waits for ever if it never does: a test puts a limit on it.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn wait_for(&self, holds: impl FnMut(&Seen) -> bool) -> Seen {
        let mut watching = self.0.seen.subscribe();
        let seen = watching.wait_for(holds).await;
        seen.expect("the record that is waited on keeps its books").clone()
    }

    pub(super) fn connected(&self) -> Connected {
        let mut number = 0;
        self.note(|seen| {
            number = seen.connections.enter();
            Some(Happening::Connected { connection: number })
        });
        Connected { record: self.clone(), number }
    }

    /// Enters a request; its number is the one that it is given here.
    pub(super) fn arrived(&self, mut arrival: Arrival) -> usize {
        let mut number = 0;
        arrival.at = self.0.since.elapsed();
        self.note(|seen| {
            number = seen.requests.len();
            arrival.number = number;
            seen.requests.push(arrival);
            Some(Happening::Arrived { request: number })
        });
        number
    }

    /// A status has been written in answer to a request.
    pub(super) fn status(&self, request: usize, status: StatusCode) {
        self.note(|seen| {
            seen.requests[request].status = Some(status);
            None
        });
    }

    /// The work of a call has been done.
    pub(super) fn ran(&self, request: usize) {
        let at = self.0.since.elapsed();
        self.note(|seen| {
            seen.requests[request].ran = Some(at);
            Some(Happening::Ran { request })
        });
    }

    /// All that a request is owed has been written, if not for the first time.
    pub(super) fn answered(&self, request: usize) {
        let at = self.0.since.elapsed();
        self.note(|seen| {
            let answered = &mut seen.requests[request].answered;
            answered.is_none().then(|| {
                *answered = Some(at);
                Happening::Answered { request }
            })
        });
    }

    /// The client went away before it was answered.
    pub(super) fn abandoned(&self, request: usize) {
        self.note(|seen| {
            let arrival = &mut seen.requests[request];
            let is_new = arrival.answered.is_none() && !arrival.is_abandoned;
            arrival.is_abandoned |= is_new;
            is_new.then_some(Happening::Abandoned { request })
        });
    }

    /// A notification says that the call of that id is not wanted any more.
    pub(super) fn cancelled(&self, session: Option<u64>, id: &serde_json::Value) {
        self.note(|seen| {
            let mut latest = seen.requests.iter_mut().rev();
            let arrival = latest.find(|arrival| {
                arrival.session() == session && arrival.is_call() && arrival.id() == Some(id)
            })?;
            arrival.is_cancelled = true;
            Some(Happening::Cancelled { request: arrival.number })
        });
    }

    /// The work of a call has been stopped before it was done.
    pub(super) fn interrupted(&self, request: usize) {
        self.note(|_| Some(Happening::Interrupted { request }));
    }

    pub(super) fn executed(&self, token: &str) -> u64 {
        let mut times = 0;
        self.note(|seen| {
            let count = seen.executions.entry(token.to_owned()).or_default();
            *count += 1;
            times = *count;
            Some(Happening::Executed { token: token.to_owned() })
        });
        times
    }

    /// A session of that number was opened by that request.
    pub(super) fn opened(&self, session: u64, request: usize) {
        self.note(|seen| {
            seen.sessions.enter();
            seen.requests[request].session = Some(session);
            Some(Happening::Opened { session })
        });
    }

    pub(super) fn ended(&self, session: u64) {
        self.note(|seen| {
            seen.sessions.leave();
            Some(Happening::Ended { session })
        });
    }

    pub(super) fn listening(&self) -> Listening {
        self.note(|seen| {
            seen.streams.enter();
            None
        });
        Listening(self.clone())
    }

    pub(super) fn happened(&self, happening: Happening) {
        self.note(|_| Some(happening));
    }

    fn note(&self, change: impl FnOnce(&mut Seen) -> Option<Happening>) {
        let at = self.0.since.elapsed();
        self.0.seen.send_modify(|seen| {
            if let Some(happening) = change(seen) {
                seen.happenings.push((at, happening));
            }
        });
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(&*self.0.seen.borrow()).finish()
    }
}

// === impl Connected ===

impl Connected {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.record.note(|seen| {
            seen.connections.leave();
            Some(Happening::Disconnected { connection: self.number })
        });
    }
}

// === impl Listening ===

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.note(|seen| {
            seen.streams.leave();
            None
        });
    }
}
