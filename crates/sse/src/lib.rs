//! Both halves of the MCP HTTP+SSE transport (revision 2024-11-05), on hyper
