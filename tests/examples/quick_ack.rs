//! What it is worth to acknowledge at once: calls to an upstream that leaves
//! Nagle's algorithm on and writes the head of an event stream and its event
//! apart, with and without.
//!
//! ```sh
//! cargo run --release -p wharf-tests --example quick_ack
//! ```

#![expect(clippy::print_stdout, reason = "it says what it has measured")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says where")]

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use wharf_http::{ClientSettings, Endpoint, HttpClient, Target};
use wharf_proto::{
    Request, RequestId,
    transport::{Exchange as _, Link as _},
};
use wharf_streamable_http::client;

const CALLS: u32 = 100;

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
        }
    });
    let without = per_call(&url, false).await;
    let with = per_call(&url, true).await;
    let ratio = without.as_secs_f64() / with.as_secs_f64();
    println!("{without:?} a call without, {with:?} with: {ratio:.1} times");
}

/// Answers every request with a head, and then with an event.
async fn serve(mut stream: TcpStream) {
    let mut request = vec![0; 4096];
    // Each request is small enough to come whole.
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        let event = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
}

async fn per_call(url: &str, quick_ack: bool) -> Duration {
    let mut settings = ClientSettings::default();
    settings.quick_ack = quick_ack;
    let http = HttpClient::new(&settings);
    let target = Target::new(Endpoint::parse(url).unwrap());
    let (link, _feed) = client::open(http, target, client::ClientSettings::default());
    let began = Instant::now();
    for _ in 0..CALLS {
        link.call(Request::new(&RequestId::from(1), "ping", None)).answer().await.unwrap();
    }
    began.elapsed() / CALLS
}
