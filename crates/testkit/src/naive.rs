//! A specimen: a session pool as one would write it at first, with every fault
//! that such pools have had in practice.
//!
//! **Not for use.** It is there so that a suite of regression tests can show
//! that it is able to fail: the same scenarios run against this pool and
//! against a good one. Each fault is kept on purpose, and each has a name
//! where it sits in the source ("Fault: ..."):
//!
//! - the session lives in the task of the request that opened it: that
//!   request's end by cancellation takes the session from everybody, and the
//!   session's failure cancels that request, whatever it does by then;
//! - closed is a flag that only the closer sets;
//! - slots are counted by hand, with a semaphore; a session that is given back
//!   keeps its slot, so nobody who waits for a slot is woken;
//! - a slot is given back twice where a handshake is refused;
//! - the key is computed again when a session is given back, from what the
//!   request says of itself by then;
//! - who the user is, and which client, is not a part of the key;
//! - a probe that hangs is followed by `skip`, and so the session is healthy;
//! - calls wait for their own timeout when their session dies under them;
//! - there is one breaker a URL, for all tenants, and after the pause all who
//!   wait connect at once;
//! - what is idle is reaped by whoever happens to ask for a session, inline;
//!   without callers nothing is ever reaped;
//! - goodbyes are waited for without a limit, one after the other;
//! - a session that is being opened while the pool closes is closed by nobody;
//! - a call that is given up is not cancelled at the upstream;
//! - URLs, secrets included, are in figures and errors.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use wharf_proto::transport::Connect;

mod books;
mod error;
mod opening;
mod request;
mod session;

pub use error::NaiveError;
pub use request::{NaiveLease, NaiveRequest};

use books::Books;

/// The pool. Clones are handles on the same one.
pub struct NaivePool<C: Connect<Target = Wanted>>(Arc<Inner<C>>);

/// What a request wants a session for, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The upstream.
    pub url: String,
    /// The user. Fault: no part of the key, so that two users with one
    /// credential share a session.
    pub user: String,
    /// What the upstream is shown.
    pub credential: String,
}

/// The limits of the pool.
#[derive(Debug, Clone)]
pub struct NaiveSettings {
    /// Sessions a key. Default: 10.
    pub sessions_per_key: usize,
    /// How long a caller waits for a slot. Default: 30 s.
    pub acquire_timeout: Duration,
    /// How long the handshake may take. Default: 30 s.
    pub open_timeout: Duration,
    /// How long a call may take. Default: 60 s.
    pub call_timeout: Duration,
    /// How old a session may become. Default: 300 s.
    pub max_age: Duration,
    /// An idle session is probed before it is leased after this time.
    /// Default: 60 s.
    pub probe_after: Duration,
    /// How long `ping` may take. Default: 5 s.
    pub probe_timeout: Duration,
    /// What is idle for longer is reaped when somebody asks. Default: 600 s.
    pub idle_timeout: Duration,
    /// Failures to open that trip the breaker of a URL. Default: 5.
    pub breaker_failures: u32,
    /// How long it stays open. Default: 60 s.
    pub breaker_pause: Duration,
}

/// What the pool holds.
#[derive(Debug, Clone, Default)]
pub struct NaiveFigures {
    /// Keys.
    pub keys: usize,
    /// Sessions that nobody uses.
    pub idle: usize,
    /// Sessions that somebody uses.
    pub active: usize,
    /// How often a breaker has opened. Fault: counted again with each failure
    /// after it has opened.
    pub trips: u64,
    /// As shown to operators. Fault: with the URLs as they are.
    pub text: String,
}

struct Inner<C: Connect<Target = Wanted>> {
    connect: C,
    settings: NaiveSettings,
    books: Mutex<Books<C::Link>>,
    is_closed: AtomicBool,
}

// === impl NaivePool ===

impl<C: Connect<Target = Wanted>> NaivePool<C> {
    /// An empty pool.
    #[must_use]
    pub fn new(connect: C, settings: NaiveSettings) -> Self {
        let (books, is_closed) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { connect, settings, books, is_closed }))
    }

    /// Begins a request, in whose task sessions may be opened.
    #[must_use]
    pub fn request(&self, wanted: Wanted) -> NaiveRequest<C> {
        NaiveRequest::new(self.clone(), wanted)
    }

    /// What the pool holds.
    #[must_use]
    pub fn figures(&self) -> NaiveFigures {
        self.books().figures()
    }

    /// Closes every session that is in the books now. Fault: one after the
    /// other, each for as long as its upstream likes, and not those that are
    /// being opened.
    ///
    /// # Cancel safety
    ///
    /// Those not reached yet stay open.
    pub async fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        let sessions = self.books().clear();
        for session in sessions {
            session.close().await;
        }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books<C::Link>> {
        self.0.books.lock().expect("nothing panics while holding it")
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }
}

impl<C: Connect<Target = Wanted>> Clone for NaivePool<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Connect<Target = Wanted>> fmt::Debug for NaivePool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaivePool")
    }
}

// === impl NaiveSettings ===

impl Default for NaiveSettings {
    fn default() -> Self {
        Self {
            sessions_per_key: 10,
            acquire_timeout: Duration::from_secs(30),
            open_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            max_age: Duration::from_secs(300),
            probe_after: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(60),
        }
    }
}
