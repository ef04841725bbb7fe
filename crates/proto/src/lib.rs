//! MCP messages, revisions, the SSE codec and the transport traits that Wharf is built on
