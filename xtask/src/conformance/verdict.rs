//! How a check went, and whether it went as well through Wharf as without.

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passed.
    Passed,
    /// It passed, and something that should be so is not.
    Warned(String),
    /// It failed, for this reason.
    Failed(String),
    /// It does not apply here, for this reason.
    Absent(String),
}

/// A check and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The name that the program gives it.
    pub(super) name: String,
    /// How it went.
    pub(super) verdict: Verdict,
}

// === impl Verdict ===

impl Verdict {
    /// Whether this, through Wharf, takes nothing away from what it is directly.
    pub(super) const fn is_as_good_as(&self, direct: &Self) -> bool {
        match (direct, self) {
            (Self::Failed(_), _) | (_, Self::Passed | Self::Absent(_)) => true,
            (Self::Passed | Self::Absent(_), Self::Warned(_)) | (_, Self::Failed(_)) => false,
            (Self::Warned(_), Self::Warned(_)) => true,
        }
    }

    /// The verdict in a word.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned(_) => "warned",
            Self::Failed(_) => "FAILED",
            Self::Absent(_) => "-",
        }
    }

    /// Why it is what it is, where that takes saying.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Warned(reason) | Self::Failed(reason) | Self::Absent(reason) => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_directly_has_to_pass() {
        let (warned, failed) = (Verdict::Warned(String::new()), Verdict::Failed(String::new()));
        assert!(Verdict::Passed.is_as_good_as(&Verdict::Passed));
        assert!(!warned.is_as_good_as(&Verdict::Passed));
        assert!(!failed.is_as_good_as(&Verdict::Passed));
        assert!(!failed.is_as_good_as(&warned));
        assert!(warned.is_as_good_as(&warned));
    }

    #[test]
    fn what_fails_directly_may_do_as_it_likes() {
        let failed = Verdict::Failed(String::new());
        assert!(failed.is_as_good_as(&failed));
        assert!(Verdict::Passed.is_as_good_as(&failed));
    }

    #[test]
    fn what_does_not_apply_takes_nothing_away() {
        assert!(Verdict::Absent(String::new()).is_as_good_as(&Verdict::Passed));
    }
}
