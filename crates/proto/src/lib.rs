#![doc = include_str!("../README.md")]

pub mod code;
mod error;
pub mod header;
mod id;
mod json;
mod message;
pub mod method;
#[cfg(feature = "test-util")]
pub mod mock;
mod revision;
pub mod server;
mod severity;
pub mod sse;
mod text;
mod trace;
pub mod transport;

pub use error::{Flaw, ParseError};
pub use id::{ProgressToken, RequestId, SessionId, UnfitSessionId};
pub use json::{Json, NotJson, Splice};
pub use message::{Body, ErrorObject, Message, Notification, Outcome, Request, Response, Rewrite};
pub use revision::{Revision, UnknownRevision};
pub use severity::Severity;
pub use text::Text;
pub use trace::Trace;
