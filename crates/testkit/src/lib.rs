//! MCP servers to test against, and a client to test with
