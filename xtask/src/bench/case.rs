//! What is called in a measurement, and how it is answered.

use serde::Serialize;

/// One point of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    pub(crate) wire: Wire,
    /// The size of a result.
    pub(crate) bytes: usize,
    /// Who calls at once.
    pub(crate) users: usize,
}

/// The transport, and the form of its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wire {
    /// Streamable HTTP, answers in JSON.
    Json,
    /// Streamable HTTP, answers in event streams.
    EventStream,
    /// The same, from an upstream with Nagle's algorithm on, which waits for
    /// an acknowledgement between two small packets.
    Nagle,
    /// HTTP+SSE.
    Sse,
}

// === impl Case ===

impl Case {
    /// Every combination.
    pub(crate) fn all(wires: &[Wire], bytes: &[usize], users: &[usize]) -> Vec<Self> {
        let mut all = Vec::new();
        for &wire in wires {
            for &bytes in bytes {
                all.extend(users.iter().map(|&users| Self { wire, bytes, users }));
            }
        }
        all
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} B, {} users", self.wire, self.bytes, self.users)
    }
}

// === impl Wire ===

impl Wire {
    pub(crate) const ALL: [Self; 4] = [Self::Json, Self::EventStream, Self::Nagle, Self::Sse];

    /// How the testkit's servers are told.
    pub(crate) const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["--transport", "streamable-http", "--answers", "json"],
            Self::EventStream => &["--transport", "streamable-http", "--answers", "event-stream"],
            Self::Nagle => {
                &["--transport", "streamable-http", "--answers", "event-stream", "--nagle"]
            }
            Self::Sse => &["--transport", "sse", "--answers", "fitting"],
        }
    }

    /// The same, for an upstream that is to hold as many sessions as there may be.
    pub(crate) fn flags_for_many(self) -> Vec<&'static str> {
        [self.flags(), &["--max-sessions", super::lane::MANY]].concat()
    }

    /// How the configuration of Wharf says it.
    pub(crate) const fn transport(self) -> &'static str {
        match self {
            Self::Json | Self::EventStream | Self::Nagle => "streamable-http",
            Self::Sse => "sse",
        }
    }

    /// Where a server is served by it.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Json | Self::EventStream | Self::Nagle => "/mcp",
            Self::Sse => "/sse",
        }
    }
}

impl std::fmt::Display for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::EventStream => "event stream",
            Self::Nagle => "event stream, Nagle on",
            Self::Sse => "HTTP+SSE",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_a_case_once() {
        let cases = Case::all(&Wire::ALL, &[1, 2], &[1, 50, 500]);
        assert_eq!(cases.len(), 24);
        for (at, case) in cases.iter().enumerate() {
            assert!(!cases[..at].contains(case), "{case}");
        }
    }
}
