//! Both halves of the MCP streamable HTTP transport, on hyper
