//! What a gateway is told: its upstreams and its limits.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use wharf_http::Target;
use wharf_pool::Limits;

/// What [`Gateway::new`](crate::Gateway::new) is given.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The upstreams, in the order in which lists show them.
    pub upstreams: Vec<UpstreamSettings>,
    /// What stands between an upstream's id and a name of its own on `/mcp`.
    /// Default: `__`.
    pub separator: Separator,
    /// Sessions open at once, to all upstreams. Default: 10 000.
    pub sessions: usize,
    /// Sessions of clients at once, on each endpoint. Default: 10 000.
    pub clients: usize,
    /// How long a call may wait for a session. Default: 30 s.
    pub acquire_timeout: Duration,
    /// How long a list of one upstream's is used before it is asked again.
    /// Default: 10 s.
    pub list_lifetime: Duration,
    /// How long an upstream may take to give its lists before the others'
    /// are shown without them. Default: 5 s.
    pub list_timeout: Duration,
    /// How many items a page of a list on `/mcp` has. Default: 1000.
    pub page_size: usize,
    /// The largest message, in bytes, in either direction. Default: 16 MiB.
    pub max_message: usize,
    /// How often a quiet event stream says that it is alive. Default: 15 s.
    pub keep_alive: Duration,
    /// How long a client's session is kept that is not used. Default: 30 min.
    pub idle_session: Duration,
    /// How long an unused connection to an upstream is kept. Where the upstream
    /// closes its own sooner, less than that saves a call from meeting one
    /// that is closed just then. Default: 90 s.
    pub idle_connection: Duration,
    /// How long calls under way may take when the gateway stops. Default:
    /// 10 s.
    pub drain_timeout: Duration,
    /// Host names by which clients may call, besides those of the listener.
    pub allowed_hosts: Vec<String>,
    /// Web origins from which browsers may call.
    pub allowed_origins: Vec<String>,
}

/// One upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// What it is called in names, paths, figures and logs.
    pub id: UpstreamId,
    /// Its URL, and the headers that every request to it carries.
    pub target: Target,
    /// Which transport it speaks.
    pub transport: Transport,
    /// Who may share a session with it.
    pub scope: ScopeSetting,
    /// What happens to a call whose client disconnects.
    pub on_disconnect: OnDisconnect,
    /// What happens when the session of a client's own is lost.
    pub on_lost: OnLost,
    /// Whether a call that may have run is made again.
    pub repeat: Repeat,
    /// The pool's limits towards it.
    pub limits: Limits,
    /// How long a call may take, from its beginning to its answer. `None`
    /// leaves it to the client. Default: `None`.
    pub call_timeout: Option<Duration>,
}

/// The id of an upstream: letters, digits, `-`, and `_` between them, at most
/// 32 characters. Never two `_` in a row, nor one at an end: so no id can run
/// into the separator.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(Arc<str>);

/// An id that an upstream cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no id for an upstream: it takes 1 to 32 letters, digits, `-`, and single `_` between them"
)]
pub struct BadUpstreamId(String);

/// What stands between an upstream's id and a name: `__` or `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separator(Arc<str>);

/// A separator that could not be told from an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no separator: it takes `__` or `.`, which no upstream's id contains")]
pub struct BadSeparator(String);

/// Which transport an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Transport {
    /// Found out at the first contact: streamable HTTP first, then SSE.
    #[default]
    Auto,
    /// Streamable HTTP (2025-03-26 and later).
    StreamableHttp,
    /// HTTP+SSE (2024-11-05).
    Sse,
}

/// Who may share a session with an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ScopeSetting {
    /// Nobody, and none is kept: each call has a session of its own.
    Call,
    /// Nobody: each client has its own.
    #[default]
    Client,
    /// The clients of one principal.
    Identity,
    /// Anybody: right for upstreams that keep nothing between calls.
    Shared,
}

/// What happens to a call whose client disconnects without cancelling it
/// (2025-03-26 to 2025-11-25; in 2024-11-05 it always ends).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnDisconnect {
    /// It goes on, in the care of the client's session.
    #[default]
    Keep,
    /// It is cancelled.
    Cancel,
}

/// What happens when an upstream has lost the session that belongs to one
/// client, and with it whatever it kept there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnLost {
    /// The client goes on with a fresh session, in which its log level and
    /// its subscriptions are set up anew. The first result from it carries
    /// `"wharf/sessionReplaced": true` in its `_meta`.
    #[default]
    Replace,
    /// The client is told: its session with Wharf ends with 404, the
    /// specification's own signal to begin anew.
    Tell,
}

/// Whether a call is made again that got no answer but may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Repeat {
    /// Never.
    #[default]
    Never,
    /// Once, if it only reads, or if the tool says of itself that it does
    /// (`readOnlyHint`) or that doing it twice does no harm
    /// (`idempotentHint`). The hints are the upstream's word.
    Hinted,
}

/// The member of a result's `_meta` that says that the session is another.
pub(crate) const SESSION_REPLACED: &str = "wharf/sessionReplaced";

// === impl Settings ===

impl Settings {
    /// The defaults, for these upstreams.
    #[must_use]
    pub fn new(upstreams: Vec<UpstreamSettings>) -> Self {
        Self {
            upstreams,
            separator: Separator::default(),
            sessions: 10_000,
            clients: 10_000,
            acquire_timeout: Duration::from_secs(30),
            list_lifetime: Duration::from_secs(10),
            list_timeout: Duration::from_secs(5),
            page_size: 1000,
            max_message: 16 * 1024 * 1024,
            keep_alive: Duration::from_secs(15),
            idle_session: Duration::from_secs(30 * 60),
            idle_connection: Duration::from_secs(90),
            drain_timeout: Duration::from_secs(10),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }

    /// Which Host and Origin are served on a listener of this address.
    #[must_use]
    pub fn guard(&self, listener: SocketAddr) -> wharf_http::Guard {
        let guard = wharf_http::Guard::for_listener(listener);
        let guard = self.allowed_hosts.iter().fold(guard, |guard, host| guard.allow_host(host));
        self.allowed_origins.iter().fold(guard, |guard, origin| guard.allow_origin(origin))
    }
}

// === impl UpstreamSettings ===

impl UpstreamSettings {
    /// The defaults, for this target.
    #[must_use]
    pub fn new(id: UpstreamId, target: Target) -> Self {
        Self {
            id,
            target,
            transport: Transport::default(),
            scope: ScopeSetting::default(),
            on_disconnect: OnDisconnect::default(),
            on_lost: OnLost::default(),
            repeat: Repeat::default(),
            limits: Limits::default(),
            call_timeout: None,
        }
    }
}

// === impl UpstreamId ===

impl UpstreamId {
    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for UpstreamId {
    type Err = BadUpstreamId;

    fn from_str(id: &str) -> Result<Self, BadUpstreamId> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_apart = !id.starts_with('_') && !id.ends_with('_') && !id.contains("__");
        let is_id = (1..=32).contains(&id.len()) && id.chars().all(fits) && is_apart;
        if is_id { Ok(Self(id.into())) } else { Err(BadUpstreamId(id.to_owned())) }
    }
}

impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// === impl Separator ===

impl Separator {
    /// The separator.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Separator {
    fn default() -> Self {
        Self("__".into())
    }
}

impl FromStr for Separator {
    type Err = BadSeparator;

    fn from_str(separator: &str) -> Result<Self, BadSeparator> {
        let is_one = matches!(separator, "__" | ".");
        if is_one { Ok(Self(separator.into())) } else { Err(BadSeparator(separator.to_owned())) }
    }
}

// === impl Transport ===

impl Transport {
    /// A short name for figures and configuration.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::StreamableHttp => "streamable-http",
            Self::Sse => "sse",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_run_into_the_separator() {
        for id in ["time", "a", "fast-test", "a_b_c", "A1"] {
            assert!(id.parse::<UpstreamId>().is_ok(), "{id}");
        }
        let long = "a".repeat(33);
        for id in ["", "_a", "a_", "a__b", "a.b", "a/b", "a b", "\u{e9}", long.as_str()] {
            assert!(id.parse::<UpstreamId>().is_err(), "{id}");
        }
    }
}
