//! Why there is no session to be had, and why one ended.

use std::time::Duration;

use wharf_proto::{
    Json,
    transport::{CallError, EndReason},
};

use crate::{ProbeFailure, breaker::Tripped};

/// Why a caller got no lease. Nothing was sent for it, so a request that
/// waited for the lease has not run.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Too many callers wait already. Try again later, or allow more
    /// sessions.
    #[error("{waiting} callers already wait for a session to this upstream")]
    Full {
        /// How many.
        waiting: usize,
    },
    /// The caller's deadline passed.
    #[error("no session became free in time: {step}")]
    TimedOut {
        /// What the caller was waiting for.
        step: Step,
    },
    /// A session was to be opened, and could not be.
    #[error("no session could be opened: {0}")]
    Open(#[source] OpenError),
    /// Sessions could not be opened several times in a row, and no more
    /// attempts are made for a while. Come back after it.
    #[error("no session can be opened for now: {cause}; the next attempt is in {} ms", rounded(*retry_after))]
    BreakerOpen {
        /// For how long no attempt is made.
        retry_after: Duration,
        /// Why the last one failed.
        #[source]
        cause: OpenError,
    },
    /// The upstream is being taken out of service, or has been.
    #[error("the upstream is being drained")]
    Draining,
    /// The pool is shutting down.
    #[error("the pool is shutting down")]
    Shutdown,
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Step {
    /// All sessions are taken and no more may be opened.
    #[error("all sessions are in use")]
    Turn,
    /// A session is being opened.
    #[error("a session was still being opened")]
    Open,
}

/// Why a session could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The upstream could not be reached, or did not answer as an MCP server.
    #[error("{0}")]
    Transport(#[source] CallError),
    /// The upstream refused `initialize`.
    #[error("the upstream refused the handshake with code {code}")]
    Refused {
        /// The JSON-RPC code.
        code: i64,
        /// The whole error, as the upstream wrote it.
        error: Json,
    },
    /// The upstream answered `initialize` with what is no answer to it.
    #[error("the upstream's answer to the handshake has no known protocolVersion")]
    NotAHandshake,
    /// It took too long.
    #[error("the handshake took longer than {limit:?}")]
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// The upstream was drained meanwhile.
    #[error("the upstream is being drained")]
    Draining,
    /// The pool shut down meanwhile.
    #[error("the pool is shutting down")]
    Shutdown,
    /// The task that opened it is gone.
    #[error("the session's owner is gone")]
    OwnerGone,
}

/// Why a session ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The link to the upstream ended.
    #[error("{0}")]
    Link(#[source] EndReason),
    /// Nobody used it for long enough.
    #[error("it was idle")]
    Idle,
    /// It had been open for as long as it may.
    #[error("it had reached its age")]
    Age,
    /// It was idle, and another key needed the room.
    #[error("it made room for another")]
    Evicted,
    /// Nobody used it, and when it was probed it did not work.
    #[error("{0}")]
    Probe(#[source] ProbeFailure),
    /// Whoever it belonged to has no more use for it.
    #[error("it was given up")]
    Retired,
    /// It was opened with a credential that is now another.
    #[error("its credential has changed")]
    Credential,
    /// It was opened by a configuration that is now another.
    #[error("its configuration has changed")]
    Configuration,
    /// The upstream was drained.
    #[error("the upstream was drained")]
    Drained,
    /// The pool shut down.
    #[error("the pool shut down")]
    Shutdown,
    /// The task that owned it is gone.
    #[error("its owner is gone")]
    OwnerGone,
}

// === impl AcquireError ===

impl From<Tripped> for AcquireError {
    fn from(Tripped { retry_after, cause }: Tripped) -> Self {
        Self::BreakerOpen { retry_after, cause }
    }
}

impl From<OpenError> for AcquireError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Shutdown => Self::Shutdown,
            OpenError::Draining => Self::Draining,
            error => Self::Open(error),
        }
    }
}

// === impl CloseReason ===

impl CloseReason {
    /// All the labels that [`CloseReason::label`] can give.
    pub const LABELS: [&'static str; 15] = [
        "session_gone",
        "stream_ended",
        "stream_broken",
        "too_large",
        "closed",
        "idle",
        "age",
        "evicted",
        "probe_failed",
        "retired",
        "credential",
        "configuration",
        "drained",
        "shutdown",
        "owner_gone",
    ];

    /// A short name for figures.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Link(reason) => reason.label(),
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Evicted => "evicted",
            Self::Probe(_) => "probe_failed",
            Self::Retired => "retired",
            Self::Credential => "credential",
            Self::Configuration => "configuration",
            Self::Drained => "drained",
            Self::Shutdown => "shutdown",
            Self::OwnerGone => "owner_gone",
        }
    }

    /// Whether the upstream is likely to have lost other sessions, too.
    pub(crate) const fn is_death(&self) -> bool {
        match self {
            Self::Link(reason) => !matches!(reason, EndReason::Closed),
            Self::Probe(_) => true,
            _ => false,
        }
    }

    /// The reason as a call that it failed sees it.
    pub(crate) fn as_end(&self) -> EndReason {
        match self {
            Self::Link(reason) => reason.clone(),
            _ => EndReason::Closed,
        }
    }
}

/// In milliseconds, coarsely: whoever reads it has no use for more.
fn rounded(time: Duration) -> u128 {
    time.as_millis().next_multiple_of(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_breaker_is_said_to_be_tried_in_round_figures() {
        let retry_after = Duration::from_millis(1234);
        let refusal = AcquireError::BreakerOpen { retry_after, cause: OpenError::OwnerGone };
        assert!(refusal.to_string().ends_with("the next attempt is in 1300 ms"), "{refusal}");
    }
}
