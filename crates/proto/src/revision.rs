//! The revisions of MCP, and every difference between them that the code
//! acts on. What differs by revision is asked here and nowhere else.

use std::{fmt, str::FromStr};

/// A revision of the Model Context Protocol that opens sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Revision {
    /// 2024-11-05: the HTTP+SSE transport.
    V2024_11_05,
    /// 2025-03-26: streamable HTTP, batches.
    V2025_03_26,
    /// 2025-06-18: the version header, elicitation; no batches.
    V2025_06_18,
    /// 2025-11-25: resumable polling, URL elicitation, tasks.
    V2025_11_25,
}

/// A revision that this crate does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known MCP revision; known are {}", Known)]
pub struct UnknownRevision;

struct Known;

// === impl Revision ===

impl Revision {
    /// All revisions, oldest first.
    pub const ALL: [Self; 4] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];

    /// The newest revision.
    pub const LATEST: Self = Self::V2025_11_25;

    /// What a server assumes of a client that sends no version header and
    /// that it knows nothing else of (2025-06-18, transports).
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// The revision's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
        }
    }

    /// A server's answer to a client that asks for `requested`: that one
    /// where it is known, else the latest (lifecycle, version negotiation).
    #[must_use]
    pub fn negotiate(requested: &str) -> Self {
        requested.parse().unwrap_or(Self::LATEST)
    }

    /// Whether a peer may put several messages in one body.
    #[must_use]
    pub const fn has_batches(self) -> bool {
        matches!(self, Self::V2025_03_26)
    }

    /// Whether every request after the handshake names the revision in
    /// `MCP-Protocol-Version`.
    #[must_use]
    pub fn has_version_header(self) -> bool {
        self >= Self::V2025_06_18
    }

    /// Whether the events of a stream may have ids, by which a broken stream
    /// can be taken up again.
    #[must_use]
    pub const fn has_event_ids(self) -> bool {
        !matches!(self, Self::V2024_11_05)
    }

    /// Whether a stream begins with an event that has an id and no data, and
    /// says how long to wait before it is asked for again.
    #[must_use]
    pub fn has_priming_events(self) -> bool {
        self >= Self::V2025_11_25
    }

    /// Whether the end of the client's stream ends its calls. Later session
    /// revisions say that a disconnect is not a cancellation.
    #[must_use]
    pub const fn disconnect_cancels(self) -> bool {
        matches!(self, Self::V2024_11_05)
    }
}

impl FromStr for Revision {
    type Err = UnknownRevision;

    fn from_str(name: &str) -> Result<Self, UnknownRevision> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == name).ok_or(UnknownRevision)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, revision) in Revision::ALL.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{revision}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_revision_is_agreed_to_and_another_gets_the_latest() {
        for revision in Revision::ALL {
            assert_eq!(Revision::negotiate(revision.as_str()), revision);
        }
        assert_eq!(Revision::negotiate("1.0.0"), Revision::LATEST);
    }

    #[test]
    fn an_unknown_revision_is_refused_with_the_known_ones() {
        let error = "2023-01-01".parse::<Revision>().expect_err("is unknown");
        assert!(error.to_string().contains("2024-11-05, 2025-03-26"));
    }
}
