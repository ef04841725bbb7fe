//! A pool of MCP sessions, each owned by one task
