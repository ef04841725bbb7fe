//! The error codes of JSON-RPC and MCP.

/// The body is not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The body is JSON but not a JSON-RPC message.
pub const INVALID_REQUEST: i64 = -32600;
/// The peer has no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters do not fit the method; an unknown tool or prompt too.
pub const INVALID_PARAMS: i64 = -32602;
/// The peer failed.
pub const INTERNAL_ERROR: i64 = -32603;
/// There is no such resource (2024-11-05 to 2025-11-25).
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// The client has to open a URL first (2025-11-25).
pub const URL_ELICITATION_REQUIRED: i64 = -32042;
