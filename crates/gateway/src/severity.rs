//! How severe a log line is, and what a client has asked for.

use std::sync::atomic::{AtomicU8, Ordering};

use wharf_proto::{Json, Request};

use crate::error::Failure;

/// How severe a log line is, least first (server utilities, logging).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

/// The least severe log line that a client wants; none where it has not said.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicU8);

// === impl Severity ===

impl Severity {
    const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// Reads the name of a severity. `None` where it is none.
    pub(crate) fn from_json(json: &Json) -> Option<Self> {
        let name = json.to_text()?;
        Self::ALL.into_iter().find(|severity| severity.as_str() == &*name)
    }

    /// The level that a `logging/setLevel` asks for.
    pub(crate) fn asked_for(request: &Request) -> Result<Self, Failure> {
        let missing = || Failure::Missing { method: request.method().into(), param: "level" };
        let level = request.param("level").ok_or_else(missing)?;
        Self::from_json(&level).ok_or(Failure::BadLevel { level })
    }

    /// The name on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

// === impl Level ===

impl Level {
    pub(crate) fn set(&self, least: Severity) {
        self.0.store(least as u8 + 1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Severity> {
        let place = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Severity::ALL.get(usize::from(place)).copied()
    }

    /// Whether the client wants a line of this severity. It gets what has none
    /// that is known: better one line too many than one too few.
    pub(crate) fn wants(&self, severity: Option<Severity>) -> bool {
        match (self.get(), severity) {
            (Some(least), Some(severity)) => severity >= least,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_lets_through_what_is_as_severe_or_more() {
        let level = Level::default();
        assert!(level.wants(Some(Severity::Debug)), "nothing was asked for");
        level.set(Severity::Warning);
        assert!(!level.wants(Some(Severity::Notice)));
        assert!(level.wants(Some(Severity::Warning)));
        assert!(level.wants(Some(Severity::Emergency)));
        assert!(level.wants(None));
    }

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        for severity in Severity::ALL {
            assert_eq!(Severity::from_json(&Json::string(severity.as_str())), Some(severity));
        }
        for bogus in [Json::string("bogus"), Json::string("DEBUG"), Json::number(1)] {
            assert_eq!(Severity::from_json(&bogus), None, "{bogus}");
        }
    }
}
