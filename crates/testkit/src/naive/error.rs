//! What goes wrong with the naive pool, as far as it knows.

use std::time::Duration;

use wharf_proto::transport::CallError;

/// Why there is no session, or no answer. Whether a call may have run it does
/// not say: the pool does not know.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NaiveError {
    /// The pool has been closed.
    #[error("the pool is closed")]
    PoolClosed,
    /// The URL's breaker is open. Fault: the URL with its query is told.
    #[error("the breaker is open for {url}")]
    BreakerOpen {
        /// The URL.
        url: String,
    },
    /// No slot became free.
    #[error("no session became free in {waited:?}")]
    NoSlot {
        /// How long the caller waited.
        waited: Duration,
    },
    /// A session could not be opened. Fault: the URL with its query is told.
    #[error("could not open a session for {url}")]
    NotOpened {
        /// The URL.
        url: String,
        /// What happened, where anything did.
        #[source]
        source: Option<CallError>,
    },
    /// The session has been closed.
    #[error("the session is closed")]
    SessionClosed,
    /// The upstream does not know the session.
    #[error("the upstream has terminated the session")]
    SessionTerminated,
    /// The call took too long.
    #[error("no answer came in {waited:?}")]
    Stalled {
        /// How long the caller waited.
        waited: Duration,
    },
    /// The request was cancelled from within, by a session that it had opened.
    #[error("the request was cancelled")]
    RequestCancelled,
}
