//! Upstreams that come back as something else than they were.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use wharf_gateway::Transport as Spoken;
use wharf_proto::{header::SESSION_ID, method};
use wharf_testkit::{FastTest, Sessions, TestClient, Transport, Upstream, UpstreamSettings};
use wharf_tests::{Oddity, Over, Puppet, Wharf, soon, upstream};

/// A refusal as some servers give it that speak nothing but HTTP+SSE.
const REFUSAL: &str =
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Method not allowed"}}"#;

async fn echo(client: &TestClient, message: &str) {
    let answer = soon("echo", client.call_tool("echo", &json!({"message": message}))).await;
    assert_eq!(answer.unwrap_or_else(|error| panic!("{message}: {error:?}")).text(), message);
}

/// Passes connections on to an upstream, but for those that begin with a POST
/// to its `/sse`, which it refuses.
async fn refusing_posts(upstream: SocketAddr, serving: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            open.spawn(async move {
                let mut begun = vec![0; 64 * 1024];
                let read = client.read(&mut begun).await.unwrap_or(0);
                if begun.starts_with(b"POST /sse") {
                    let length = REFUSAL.len();
                    let refusal = format!(
                        "HTTP/1.1 405 Method Not Allowed\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{REFUSAL}"
                    );
                    let _ = client.write_all(refusal.as_bytes()).await;
                    return;
                }
                let mut server = TcpStream::connect(upstream).await.unwrap();
                server.write_all(&begun[..read]).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn clients_share_no_session_with_an_upstream_that_has_begun_to_keep_them() {
    let settings = UpstreamSettings { sessions: Sessions::None, ..Default::default() };
    let mut before = Upstream::start(FastTest::new(), settings).await.unwrap();
    let mut settings = upstream("fast", &before.url());
    settings.transport = Spoken::StreamableHttp;
    settings.limits.idle_timeout = Duration::from_millis(500);
    let wharf = Wharf::in_front_of([settings]).await;
    let mut clients = Vec::new();
    for number in 0..3 {
        let client = Over::Http.server(&wharf, "fast").await;
        echo(&client, &number.to_string()).await;
        clients.push(client);
    }
    wharf.is_empty("fast").await;
    before.stop().await;
    let settings = UpstreamSettings { addr: before.address(), ..Default::default() };
    let (_after, mut strings) = Puppet::start(settings).await;
    clients.push(Over::Http.server(&wharf, "fast").await);
    let mut seen = Vec::new();
    for client in &clients {
        let params = json!({"name": "t"});
        let call = client.call(method::TOOLS_CALL, &params);
        let play = async {
            let cue = strings.call().await;
            let session = cue.headers.get(SESSION_ID).cloned();
            cue.answer("{}");
            session.expect("it keeps sessions now")
        };
        let (answer, session) = tokio::join!(soon("an answer", call), play);
        answer.unwrap();
        assert!(!seen.contains(&session), "two clients share a session");
        seen.push(session);
    }
}

#[tokio::test]
async fn an_upstream_that_comes_back_with_the_older_transport_is_found_again() {
    let handshake = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"o","version":"1"}}}"#;
    let length = handshake.len();
    let before = Oddity::answering(Some(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nmcp-session-id: s\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{handshake}"
    )))
    .await;
    let url = before.url().replace("/mcp", "/sse");
    let address = url.trim_start_matches("http://").trim_end_matches("/sse").parse().unwrap();
    let wharf = Wharf::in_front_of([upstream("fast", &url)]).await;
    let _early = Over::Http.server(&wharf, "fast").await;
    drop(before);
    let settings =
        UpstreamSettings { transport: Transport::Sse, addr: address, ..Default::default() };
    let _after = soon("its port is free", async {
        loop {
            match Upstream::start(FastTest::new(), settings).await {
                Ok(after) => return after,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
    echo(&Over::Http.server(&wharf, "fast").await, "found").await;
}

#[tokio::test]
async fn an_error_that_refuses_the_newer_transport_is_no_answer_to_a_handshake() {
    let settings = UpstreamSettings { transport: Transport::Sse, ..Default::default() };
    let fast = Upstream::start(FastTest::new(), settings).await.unwrap();
    let mut serving = JoinSet::new();
    let front = refusing_posts(fast.address(), &mut serving).await;
    let wharf = Wharf::in_front_of([upstream("fast", &format!("http://{front}/sse"))]).await;
    echo(&Over::Http.server(&wharf, "fast").await, "found").await;
}
