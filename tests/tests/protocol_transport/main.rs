//! The transports as a client sees them: one test for each row of group T of
//! `docs/PROTOCOL.md`, by its id.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::HashSet;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use wharf_gateway::Transport;
use wharf_proto::{Json, Notification, Request, RequestId, sse::Event};
use wharf_testkit::{FastTest, Upstream, UpstreamSettings};
use wharf_tests::{
    Cue, Puppet, PuppetSession, Reply, Strings, Wharf, request, serving, soon, upstream,
};

mod event_stream;
mod large;
mod resuming;
mod sessions;
mod sse;

const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");
const STREAM: (&str, &str) = ("accept", "text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");
const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
/// Those that speak streamable HTTP.
const REVISIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

/// A gateway, and behind it an upstream that says what the test tells it to.
struct Stage {
    _puppet: Upstream<Puppet>,
    strings: Strings,
    wharf: Wharf,
}

/// A session over streamable HTTP with that upstream's endpoint.
struct Client {
    url: String,
    session: String,
    upstream: std::sync::Arc<PuppetSession>,
}

// === impl Stage ===

impl Stage {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(configure: impl FnOnce(&mut wharf_gateway::Settings)) -> Self {
        let (puppet, strings, settings) = Puppet::reached_by(Transport::StreamableHttp).await;
        let wharf = Wharf::start([settings], configure).await;
        Self { _puppet: puppet, strings, wharf }
    }

    fn url(&self) -> String {
        self.wharf.url("/servers/p/mcp")
    }

    async fn client(&mut self, revision: &str) -> Client {
        let mut reply = request("POST", &self.url(), &[JSON, BOTH], hello(revision)).await;
        let session = reply.headers["mcp-session-id"].to_str().unwrap().to_owned();
        assert_eq!(reply.value().await["result"]["protocolVersion"], revision);
        Client { url: self.url(), session, upstream: self.strings.session().await }
    }

    /// Makes a call and waits until it is at the upstream, where it has said
    /// how far it is: so that its answer is a stream.
    async fn streaming(&mut self, client: &Client, id: u64) -> (Reply, Cue) {
        let posted = client.post(call(id));
        let begun = async {
            let cue = self.strings.call().await;
            cue.progress("1");
            cue
        };
        let (reply, cue) = tokio::join!(posted, begun);
        assert!(reply.is_stream());
        (reply, cue)
    }
}

// === impl Client ===

impl Client {
    async fn post(&self, body: impl Into<bytes::Bytes>) -> Reply {
        self.send("POST", &[JSON, BOTH], body).await
    }

    async fn listen(&self) -> Reply {
        self.send("GET", &[STREAM], "").await
    }

    async fn resume(&self, last: &str) -> Reply {
        self.send("GET", &[STREAM, ("last-event-id", last)], "").await
    }

    async fn delete(&self) -> StatusCode {
        self.send("DELETE", &[], "").await.status
    }

    async fn send(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Reply {
        let mut headers = headers.to_vec();
        headers.push(("mcp-session-id", &self.session));
        request(method, &self.url, &headers, body).await
    }
}

fn hello(revision: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{{"elicitation":{{}}}},"clientInfo":{{"name":"c","version":"1"}}}}}}"#
    )
}

/// A call that wants to hear how far it is.
fn call(id: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t","_meta":{{"progressToken":{id}}}}}}}"#
    )
}

fn list_changed() -> Notification {
    Notification::new("notifications/tools/list_changed", None)
}

/// What a stream says from here on, to its end.
async fn rest(reply: &mut Reply) -> Vec<Value> {
    let mut rest = Vec::new();
    while let Some(message) = reply.next().await {
        rest.push(serde_json::from_slice(&message).unwrap());
    }
    rest
}

/// The next event that carries a message.
async fn message(reply: &mut Reply) -> Event {
    loop {
        let event = reply.event().await.expect("the stream goes on");
        if !event.data.is_empty() {
            return event;
        }
    }
}

fn id_of(event: &Event) -> String {
    event.id.as_ref().expect("the event has an id").as_str().to_owned()
}

fn error_code(value: &Value) -> i64 {
    value["error"]["code"].as_i64().expect("it is an error")
}
