//! Why a client has no session, or a tool's call no answer.

use wharf_http::BadEndpoint;
use wharf_proto::{Json, Text, transport::CallError};

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is no URL of a server.
    #[error("the URL cannot be used")]
    BadUrl {
        /// What is wrong with it.
        #[source]
        source: BadEndpoint,
    },
    /// The server cannot be reached, or did not answer.
    #[error("the server did not answer")]
    Unanswered {
        /// What happened.
        #[source]
        source: CallError,
    },
    /// The server answered `initialize` with an error.
    #[error("the server refused: {message} ({code})")]
    Refused {
        /// The JSON-RPC code.
        code: i64,
        /// What the server said.
        message: Text,
    },
    /// The server agreed to no revision that is known here.
    #[error("the server agreed to no known revision")]
    NoRevision,
}

/// Why a tool gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolCallError {
    /// There was none.
    #[error("the call was not answered")]
    Unanswered {
        /// What happened.
        #[source]
        source: CallError,
    },
    /// The answer was a JSON-RPC error.
    #[error("the server refused: {message} ({code})")]
    Refused {
        /// The JSON-RPC code.
        code: i64,
        /// What the server said.
        message: Text,
    },
}

// === impl ConnectError ===

impl ConnectError {
    pub(super) fn refused(error: &Json) -> Self {
        let (code, message) = parts(error);
        Self::Refused { code, message }
    }
}

// === impl ToolCallError ===

impl ToolCallError {
    pub(super) fn refused(error: &Json) -> Self {
        let (code, message) = parts(error);
        Self::Refused { code, message }
    }
}

/// The code and the message of an error object; 0 and nothing where it has
/// none.
fn parts(error: &Json) -> (i64, Text) {
    let code = error.field("code").and_then(|code| code.read().ok());
    let message = error.field("message").and_then(|text| text.to_text());
    (code.unwrap_or_default(), message.unwrap_or_default())
}
