//! The header names of the MCP transports.

use http::HeaderName;

/// The session that a request belongs to (2025-03-26 to 2025-11-25).
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision that was negotiated (from 2025-06-18 on).
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The last event that a broken stream delivered.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies not to hold back an event stream.
pub const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The content type of a JSON body.
pub const JSON: &str = "application/json";
/// The content type of an event stream.
pub const EVENT_STREAM: &str = "text/event-stream";
