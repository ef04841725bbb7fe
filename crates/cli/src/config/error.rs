//! What can be wrong with a configuration.

use std::{cell::RefCell, fmt};

use wharf_gateway::{BadSeparator, BadUpstreamId};
use wharf_http::BadEndpoint;

use super::{header::BadHeader, interpolate::BadReference, place::Origin};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ConfigError {
    /// Where.
    pub(crate) origin: Origin,
    /// What, and what would be right.
    pub(crate) complaint: Complaint,
}

/// All that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ConfigErrors(pub(crate) Vec<ConfigError>);

/// What is wrong, and what would be right. Never repeats the value of a
/// variable, a URL or a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Complaint {
    /// The file is not there, or no text.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It breaks the grammar of its format.
    #[error("{0}")]
    Syntax(String),
    /// A key or a table stands there a second time.
    #[error("`{name}` is here a second time{}", First(.first))]
    Repeated {
        /// The key.
        name: String,
        /// Where it stands first.
        first: Option<Origin>,
    },
    /// Two upstreams of one name.
    #[error("upstream `{id}` is here a second time; it is first at {first}")]
    SameUpstream {
        /// The name.
        id: String,
        /// Where it stands first.
        first: Origin,
    },
    /// A key that means nothing here.
    #[error("unknown key `{key}`{}; expected one of {expected}", Nearest(.nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// The known key that it resembles.
        nearest: Option<&'static str>,
        /// The known keys.
        expected: String,
    },
    /// A key that must be there.
    #[error("`{0}` is missing")]
    MissingKey(&'static str),
    /// A value of another type.
    #[error("expected {wanted}, found {found}")]
    Mistyped {
        /// What would be right.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A value of the right type that does not fit.
    #[error("expected {wanted}, found {written}")]
    Unfit {
        /// What would be right.
        wanted: String,
        /// What is there, as it is written in the file.
        written: String,
    },
    /// A value that leaves another nothing to say.
    #[error("`{key}` means nothing with `{with}`; leave one of them out")]
    Idle {
        /// The key of the other.
        key: &'static str,
        /// The value.
        with: &'static str,
    },
    /// A `${NAME}` without a value.
    #[error(transparent)]
    Reference(#[from] BadReference),
    /// A URL that is none.
    #[error("this URL cannot be used: {0}")]
    Url(BadEndpoint),
    /// A header that cannot be sent.
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// A name that an upstream cannot have.
    #[error(transparent)]
    Id(#[from] BadUpstreamId),
    /// A separator that could not be told from an id.
    #[error(transparent)]
    Separator(#[from] BadSeparator),
    /// A log filter that is none.
    #[error("expected a log filter, such as \"info\" or \"warn,wharf_pool=debug\"")]
    LogFilter,
    /// `--upstream` without an equals sign.
    #[error("expected ID=URL, such as time=http://127.0.0.1:9001/mcp")]
    NotIdAndUrl,
    /// An upstream that is a child process.
    #[error(
        "`{0}` is a command to start (stdio), which is not supported yet; \
         start it behind a bridge to streamable HTTP or SSE, and give its `url` here"
    )]
    Stdio(String),
    /// No upstream is named anywhere.
    #[error(
        "no upstream is named; name one with `--upstream ID=URL`, \
         with `[upstream.ID]` in the file of `--config`, or in the file of `--mcp-json`"
    )]
    NoUpstream,
}

/// What is found while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<String>>,
}

struct First<'a>(&'a Option<Origin>);

struct Nearest<'a>(&'a Option<&'static str>);

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Nowhere => self.complaint.fmt(f),
            origin => write!(f, "{origin}: {}", self.complaint),
        }
    }
}

// === impl ConfigErrors ===

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        Ok(())
    }
}

// === impl Findings ===

impl Findings {
    /// Something is wrong.
    pub(crate) fn report(&self, origin: Origin, complaint: impl Into<Complaint>) {
        let complaint = complaint.into();
        self.errors.borrow_mut().push(ConfigError { origin, complaint });
    }

    /// Something is wrong that stands nowhere.
    pub(crate) fn report_at_large(&self, complaint: Complaint) {
        self.report(Origin::Nowhere, complaint);
    }

    /// What has been read, or a report of why it could not be.
    pub(crate) fn keep<T>(&self, read: Result<T, (Origin, Complaint)>) -> Option<T> {
        read.map_err(|(origin, complaint)| self.report(origin, complaint)).ok()
    }

    /// Something is passed over.
    pub(crate) fn warn(&self, origin: &Origin, what: impl fmt::Display) {
        self.warnings.borrow_mut().push(format!("{origin}: {what}"));
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    /// The warnings, where nothing is wrong. The errors of a file are in its
    /// order.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] where something is.
    pub(crate) fn conclude(self) -> Result<Vec<String>, ConfigErrors> {
        let mut errors = self.errors.into_inner();
        for of_one_file in errors.chunk_by_mut(|a, b| a.origin.is_beside(&b.origin)) {
            of_one_file.sort_by_key(|error| error.origin.position());
        }
        if errors.is_empty() { Ok(self.warnings.into_inner()) } else { Err(ConfigErrors(errors)) }
    }
}

// === impl First ===

impl fmt::Display for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(first) => write!(f, "; it is first at {first}"),
            None => Ok(()),
        }
    }
}

// === impl Nearest ===

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, " (did you mean `{key}`?)"),
            None => Ok(()),
        }
    }
}
