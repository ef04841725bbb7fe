//! A client that sees bytes, so that no rule of a real one hides what comes.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use wharf_testkit::{Faulty, FaultySettings, Script};

/// How long something may take that is to come about.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing comes where nothing is to come.
pub(super) const QUIET: Duration = Duration::from_millis(200);

/// A connection.
pub(super) struct Raw {
    stream: TcpStream,
    host: SocketAddr,
    /// What has come so far.
    pub(super) text: String,
}

/// How a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It is open, and nothing comes.
    Quiet,
    /// It was closed in order.
    Closed,
    /// It was reset.
    Reset,
}

pub(super) async fn start(script: Script) -> Faulty {
    Faulty::start(script, FaultySettings::default()).await.expect("it starts")
}

/// A JSON-RPC request.
pub(super) fn call(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// A call of a tool.
pub(super) fn tool(id: u64, name: &str, arguments: &Value) -> String {
    call(id, "tools/call", &json!({"name": name, "arguments": arguments}))
}

/// A call of the tool that is counted.
pub(super) fn run(id: u64, token: &str) -> String {
    tool(id, "run_once", &json!({"token": token}))
}

pub(super) fn hello() -> String {
    let client = json!({"name": "raw", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    call(0, "initialize", &params)
}

/// Opens a session and gives its id.
pub(super) async fn session(faulty: &Faulty) -> String {
    let mut raw = Raw::to(faulty).await;
    raw.post(None, &hello()).await;
    raw.until("\r\n0\r\n").await;
    let id = raw.text.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
    id.expect("it gives an id").to_owned()
}

// === impl Raw ===

impl Raw {
    pub(super) async fn to(faulty: &Faulty) -> Self {
        Self::on(TcpStream::connect(faulty.address()).await.expect("its port is open"))
    }

    pub(super) fn on(stream: TcpStream) -> Self {
        let host = stream.peer_addr().expect("it is connected");
        Self { stream, host, text: String::new() }
    }

    pub(super) async fn request(&mut self, head: &str, session: Option<&str>, body: &str) {
        let session = session.map(|id| format!("mcp-session-id: {id}\r\n")).unwrap_or_default();
        let (host, length) = (self.host, body.len());
        let text = format!(
            "{head} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{session}content-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(text.as_bytes()).await.expect("it is sent");
    }

    pub(super) async fn post(&mut self, session: Option<&str>, body: &str) {
        self.request("POST /mcp", session, body).await;
    }

    /// Reads until that has come.
    pub(super) async fn until(&mut self, what: &str) {
        while !self.text.contains(what) {
            let read = timeout(PATIENCE, self.read()).await;
            let read = read.unwrap_or_else(|_| panic!("{what:?} does not come: {:?}", self.text));
            let more = read.unwrap_or_else(|error| panic!("{what:?}: {error}: {:?}", self.text));
            assert!(more, "{what:?} does not come any more: {:?}", self.text);
        }
    }

    /// Reads all that comes before the connection ends or is quiet.
    pub(super) async fn rest(&mut self) -> Then {
        loop {
            match timeout(QUIET, self.read()).await {
                Err(_) => return Then::Quiet,
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Then::Closed,
                Ok(Err(_)) => return Then::Reset,
            }
        }
    }

    async fn read(&mut self) -> io::Result<bool> {
        let mut bytes = vec![0; 64 * 1024];
        let length = self.stream.read(&mut bytes).await?;
        self.text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        Ok(length > 0)
    }

    pub(super) fn status(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }
}
