//! All that is on record.

use std::{collections::BTreeMap, time::Duration};

use http::Method;

use super::Arrival;

/// What an upstream has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub(super) requests: Vec<Arrival>,
    pub(super) happenings: Vec<(Duration, Happening)>,
    pub(super) executions: BTreeMap<String, u64>,
    pub(super) connections: Gauge,
    pub(super) sessions: Gauge,
    pub(super) streams: Gauge,
}

/// How many there are of something that comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauge {
    /// How many there are now.
    pub now: u64,
    /// How many there have been at the same time, at most.
    pub most: u64,
    /// How many there have been in all.
    pub ever: u64,
}

/// Something that happened at the upstream. A `request` is an index of
/// [`Seen::requests`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A connection was accepted.
    Connected {
        /// Its number, from 1.
        connection: u64,
    },
    /// A connection is no more, whoever closed it.
    Disconnected {
        /// Its number.
        connection: u64,
    },
    /// An HTTP request came.
    Arrived {
        /// Which.
        request: usize,
    },
    /// The work of a call was done.
    Ran {
        /// Which.
        request: usize,
    },
    /// A tool has done its work for a token.
    Executed {
        /// The token.
        token: String,
    },
    /// An answer was written, whole.
    Answered {
        /// To what.
        request: usize,
    },
    /// A client cancelled a call.
    Cancelled {
        /// Which.
        request: usize,
    },
    /// A call was stopped before it was done: it was cancelled, or its session
    /// ended.
    Interrupted {
        /// Which.
        request: usize,
    },
    /// A client went away before it was answered.
    Abandoned {
        /// What it had asked.
        request: usize,
    },
    /// A session was opened.
    Opened {
        /// Its number, from 1.
        session: u64,
    },
    /// A session was ended, or forgotten.
    Ended {
        /// Its number.
        session: u64,
    },
    /// The upstream died.
    Crashed,
    /// The upstream came back.
    Revived,
}

// === impl Seen ===

impl Seen {
    /// Every HTTP request, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> &[Arrival] {
        &self.requests
    }

    /// The HTTP requests of this method.
    pub fn http<'a>(&'a self, method: &'a Method) -> impl Iterator<Item = &'a Arrival> {
        self.requests.iter().filter(move |arrival| arrival.http() == method)
    }

    /// The JSON-RPC requests and notifications of this method.
    pub fn rpc<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Arrival> {
        self.requests.iter().filter(move |arrival| arrival.rpc() == Some(method))
    }

    /// The calls of this tool.
    pub fn calls<'a>(&'a self, tool: &'a str) -> impl Iterator<Item = &'a Arrival> {
        self.requests.iter().filter(move |arrival| arrival.tool() == Some(tool))
    }

    /// The DELETEs, by which clients end sessions.
    pub fn deletes(&self) -> impl Iterator<Item = &Arrival> {
        self.http(&Method::DELETE)
    }

    /// The calls that clients have cancelled.
    pub fn cancelled(&self) -> impl Iterator<Item = &Arrival> {
        self.requests.iter().filter(|arrival| arrival.is_cancelled())
    }

    /// How often the work of this token has been done, by `run_once` and its
    /// like.
    #[must_use]
    pub fn executions(&self, token: &str) -> u64 {
        self.executions.get(token).copied().unwrap_or_default()
    }

    /// How often the work of each token has been done.
    #[must_use]
    pub const fn executed(&self) -> &BTreeMap<String, u64> {
        &self.executions
    }

    /// The connections.
    #[must_use]
    pub const fn connections(&self) -> Gauge {
        self.connections
    }

    /// The sessions of both transports.
    #[must_use]
    pub const fn sessions(&self) -> Gauge {
        self.sessions
    }

    /// The streams that clients listen on: those of a GET, which over HTTP+SSE
    /// are the sessions.
    #[must_use]
    pub const fn streams(&self) -> Gauge {
        self.streams
    }

    /// All that happened, in order, with the time since the upstream's first
    /// start.
    #[must_use]
    pub fn happenings(&self) -> &[(Duration, Happening)] {
        &self.happenings
    }

    /// How often this has happened.
    #[must_use]
    pub fn times(&self, happening: &Happening) -> usize {
        self.happenings.iter().filter(|(_, other)| other == happening).count()
    }

    /// Whether this happened, for the first time, before that did.
    #[must_use]
    pub fn is_before(&self, this: &Happening, that: &Happening) -> bool {
        let place = |one| self.happenings.iter().position(|(_, other)| other == one);
        match (place(this), place(that)) {
            (Some(this), Some(that)) => this < that,
            (this, _) => this.is_some(),
        }
    }
}

// === impl Gauge ===

impl Gauge {
    /// Counts one more, and gives it its number, from 1.
    pub(super) fn enter(&mut self) -> u64 {
        self.ever += 1;
        self.now += 1;
        self.most = self.most.max(self.now);
        self.ever
    }

    pub(super) fn leave(&mut self) {
        self.now -= 1;
    }
}
