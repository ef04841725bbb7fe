//! Why a body is not a JSON-RPC message.

use crate::{NotJson, RequestId};

/// A body that is not JSON-RPC; says where it goes wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ParseError {
    /// The body is not JSON at all. JSON-RPC code -32700.
    #[error("the body is not JSON: {source}")]
    NotJson {
        /// The place.
        #[source]
        source: NotJson,
    },
    /// The body is JSON but no JSON-RPC message. JSON-RPC code -32600.
    #[error("{}the message is not JSON-RPC 2.0: {flaw}", position(*.index))]
    NotJsonRpc {
        /// Which message of a batch, counted from 0.
        index: Option<usize>,
        /// The id, where it could be read: the answer carries it.
        id: Option<RequestId>,
        /// What is wrong with the message.
        flaw: Flaw,
    },
}

/// What is wrong with a message that is JSON but not JSON-RPC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// Not an object, or a member of it has the wrong type or stands twice.
    #[error("{0}")]
    Shape(Box<str>),
    /// `jsonrpc` is missing or not `"2.0"`.
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    /// `id` is neither a string nor an integer.
    #[error("`id` must be a string or an integer")]
    Id,
    /// `params` is neither an object nor an array.
    #[error("`params` must be an object")]
    Params,
    /// There is neither a method, a result nor an error.
    #[error("there is no `method`, `result` or `error`")]
    Nothing,
    /// There is more than one of method, result and error.
    #[error("`method`, `result` and `error` exclude each other")]
    Ambiguous,
    /// A batch without messages.
    #[error("the batch is empty")]
    EmptyBatch,
    /// A batch of more than [`Body::MAX_MESSAGES`](crate::Body::MAX_MESSAGES).
    #[error("the batch has more than {} messages: send it in parts", crate::Body::MAX_MESSAGES)]
    TooManyMessages,
}

// === impl ParseError ===

impl ParseError {
    /// The JSON-RPC code that names this error.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::NotJson { .. } => crate::code::PARSE_ERROR,
            Self::NotJsonRpc { .. } => crate::code::INVALID_REQUEST,
        }
    }

    /// The id of the message, where it could be read.
    #[must_use]
    pub const fn id(&self) -> Option<&RequestId> {
        match self {
            Self::NotJson { .. } => None,
            Self::NotJsonRpc { id, .. } => id.as_ref(),
        }
    }
}

impl From<NotJson> for ParseError {
    fn from(source: NotJson) -> Self {
        Self::NotJson { source }
    }
}

fn position(index: Option<usize>) -> String {
    index.map(|index| format!("message {index} of the batch: ")).unwrap_or_default()
}
