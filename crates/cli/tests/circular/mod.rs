//! A server whose pages go round in a circle.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread,
};

/// The URL of a server whose list of tools has two pages that each name the
/// other as the next. It ends with the tests.
pub(crate) fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/mcp", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        let mut pages = 0;
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("it is accepted"));
            let mut length = 0;
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("it comes whole");
            let json = answer(&body, &mut pages);
            let status = if json.is_empty() { "202 Accepted" } else { "200 OK" };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{json}",
                json.len()
            );
            stream.get_mut().write_all(answer.as_bytes()).expect("it is read");
        }
    });
    url
}

fn answer(message: &[u8], pages: &mut usize) -> String {
    let message: serde_json::Value = serde_json::from_slice(message).unwrap_or_default();
    let result = match message["method"].as_str() {
        Some("initialize") => serde_json::json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "circular", "version": "1"},
        }),
        Some("tools/list") => {
            *pages += 1;
            assert!(*pages < 10, "it asks for ever");
            let next = if message["params"]["cursor"] == "a" { "b" } else { "a" };
            serde_json::json!({"tools": [], "nextCursor": next})
        }
        _ => return String::new(),
    };
    serde_json::json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string()
}
