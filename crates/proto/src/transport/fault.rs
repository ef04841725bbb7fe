//! Why a call failed, whether it may have run, and why a link ended.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::ParseError;

/// A call that got no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{fault} ({fate})")]
pub struct CallError {
    /// Whether the upstream may have acted on it.
    pub fate: Fate,
    /// What happened.
    #[source]
    pub fault: Fault,
}

/// Whether the upstream may have acted on a request that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It provably did not: the request can be sent again, elsewhere.
    NotSent,
    /// It may have: to send the request again could do its work twice.
    MayHaveRun,
}

/// What happened to a call, or to a link.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No connection could be made.
    #[error("the upstream cannot be reached")]
    Unreachable {
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// The connection broke before the answer had come.
    #[error("the connection to the upstream broke")]
    Broken {
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// A step took longer than it may.
    #[error("the upstream took longer than {limit:?} to {step}")]
    TimedOut {
        /// What it did not do, as a verb: "connect", "answer".
        step: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// The upstream answered with an HTTP status that is no answer.
    #[error("the upstream answered with HTTP status {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The upstream does not know the session any more.
    #[error("the upstream has ended the session")]
    SessionGone,
    /// The upstream ended its answer before the response was in it.
    #[error("the upstream ended its answer without a response")]
    NoAnswer,
    /// The upstream answered with something that is not MCP.
    #[error("the upstream answered with {found}, not with MCP")]
    NotMcp {
        /// What it was: a content type, an event's name.
        found: Box<str>,
    },
    /// The upstream's message could not be read.
    #[error("the upstream sent a message that is not JSON-RPC")]
    Malformed {
        /// Where it goes wrong.
        #[source]
        source: ParseError,
    },
    /// The upstream's event stream could not be read.
    #[error("the upstream sent a broken event stream")]
    BadStream {
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The upstream's message is larger than allowed.
    #[error("the upstream sent more than the {limit} bytes allowed for a message")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The link had ended, or ended while the call was under way.
    #[error("the session ended: {0}")]
    Ended(EndReason),
}

/// Why a link ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The upstream answered 404 to the session's id.
    #[error("the upstream no longer knows it")]
    SessionGone,
    /// The event stream that is the session ended.
    #[error("the upstream closed its event stream")]
    StreamEnded,
    /// The event stream that is the session broke.
    #[error("the upstream's event stream broke")]
    StreamBroken {
        /// What happened to it.
        #[source]
        source: Cause,
    },
    /// The event stream that is the session carried a message that is larger
    /// than allowed. What comes after it cannot be told from it.
    #[error("the upstream sent more than the {limit} bytes allowed for a message")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// We ended it.
    #[error("it was closed on this side")]
    Closed,
}

/// The error below an error, shared so that every call it fails can hold it.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

// === impl CallError ===

impl CallError {
    /// A call whose request did not get to the upstream.
    #[must_use]
    pub const fn not_sent(fault: Fault) -> Self {
        Self { fate: Fate::NotSent, fault }
    }

    /// A call whose request may have got there.
    #[must_use]
    pub const fn may_have_run(fault: Fault) -> Self {
        Self { fate: Fate::MayHaveRun, fault }
    }

    /// A call that was answered with nothing but a status other than 2xx, with
    /// [the fate that it tells of](Fate::of).
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        Self { fate: Fate::of(status), fault: Fault::Status { status } }
    }
}

// === impl Fate ===

impl Fate {
    /// What a status other than 2xx says of a request that was answered with
    /// nothing else.
    ///
    /// It did not run where the server refuses before it looks at what is
    /// asked: for want of credentials (401, 403), for the path or the method
    /// (404, 405), for how the message is dressed (406, 413, 415), for the host
    /// (421) or for the rate (429). Nor has anything been done where the
    /// request is to be made elsewhere as it is (307, 308).
    ///
    /// Any other may have run. 400 should mean that the request was not
    /// understood, but servers also give it to what fails half-way, such as a
    /// tool that complains of its arguments; one that refuses before can say so
    /// in a JSON-RPC error. 301, 302 and 303 are also how a server that has
    /// done the work says where to look at it. 408, 409, 422 and 5xx come from
    /// within the work as well as from before it.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            401 | 403..=406 | 413 | 415 | 421 | 429 | 307 | 308 => Self::NotSent,
            _ => Self::MayHaveRun,
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "the request did not run",
            Self::MayHaveRun => "the request may have run",
        })
    }
}

// === impl EndReason ===

impl EndReason {
    /// A short name for figures.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::SessionGone => "session_gone",
            Self::StreamEnded => "stream_ended",
            Self::StreamBroken { .. } => "stream_broken",
            Self::TooLarge { .. } => "too_large",
            Self::Closed => "closed",
        }
    }
}

// === impl Cause ===

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Cause {
    fn from(error: E) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl AsRef<dyn Error + 'static> for Cause {
    fn as_ref(&self) -> &(dyn Error + 'static) {
        &*self.0
    }
}

impl std::ops::Deref for Cause {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_whether_the_request_can_have_run() {
        let fate = |status| Fate::of(StatusCode::from_u16(status).expect("is one"));
        for status in [307, 308, 401, 403, 404, 405, 406, 413, 415, 421, 429] {
            assert_eq!(fate(status), Fate::NotSent, "{status}");
        }
        for status in [301, 302, 303, 304, 400, 402, 408, 409, 422, 500, 502, 503, 504] {
            assert_eq!(fate(status), Fate::MayHaveRun, "{status}");
        }
    }
}
