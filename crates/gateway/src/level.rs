//! How severe the log lines are that a client wants.

use std::sync::atomic::{AtomicU8, Ordering};

use wharf_proto::{Request, Severity};

use crate::error::Failure;

/// The least severe log line that a client wants; any where it has not said.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicU8);

// === impl Level ===

impl Level {
    pub(crate) fn set(&self, least: Severity) {
        self.0.store(least as u8, Ordering::Relaxed);
    }

    /// Whether the client wants a line of this severity. It gets what has none
    /// that is known: better one line too many than one too few.
    pub(crate) fn wants(&self, severity: Option<Severity>) -> bool {
        severity.is_none_or(|severity| severity as u8 >= self.0.load(Ordering::Relaxed))
    }
}

/// The level that a `logging/setLevel` asks for.
pub(crate) fn asked_for(request: &Request) -> Result<Severity, Failure> {
    let missing = || Failure::Missing { method: request.method().into(), param: "level" };
    let level = request.param("level").ok_or_else(missing)?;
    level.read().map_err(|_| Failure::BadLevel { level })
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
}
