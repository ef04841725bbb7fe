//! The HTTP that both MCP transports stand on: client connections, accept loop, guards, bodies
