//! The MCP gateway service: many clients, many servers, sessions kept open
