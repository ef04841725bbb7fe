//! What it is worth to acknowledge at once, and what it costs where it is worth
//! nothing: calls with and without, in turns, to an upstream that leaves Nagle's
//! algorithm on and writes the head of an event stream and its event apart; to
//! one that does the same without Nagle's algorithm; and to one that writes a
//! whole answer at once.
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

/// How an upstream answers.
#[derive(Debug, Clone, Copy)]
enum Answers {
    /// In two writes, the second of which waits for an acknowledgement.
    ApartWithNagle,
    /// In two writes.
    Apart,
    /// In one.
    Whole,
}

const ROUNDS: u32 = 10;

#[tokio::main]
async fn main() {
    for answers in [Answers::ApartWithNagle, Answers::Apart, Answers::Whole] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, answers));
            }
        });
        let calls = if matches!(answers, Answers::ApartWithNagle) { 10 } else { 2000 };
        let (mut without, mut with) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..ROUNDS {
            without += per_call(&url, false, calls).await / ROUNDS;
            with += per_call(&url, true, calls).await / ROUNDS;
        }
        let ratio = without.as_secs_f64() / with.as_secs_f64();
        println!("{answers:?}: {without:?} a call without, {with:?} with: {ratio:.2} times");
    }
}

/// Answers every request with an event stream of one event.
async fn serve(mut stream: TcpStream, answers: Answers) {
    stream.set_nodelay(!matches!(answers, Answers::ApartWithNagle)).unwrap();
    let event = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
    let whole = format!("{head}{chunk}");
    let writes = match answers {
        Answers::ApartWithNagle | Answers::Apart => vec![head, &chunk],
        Answers::Whole => vec![whole.as_str()],
    };
    let mut request = vec![0; 4096];
    // Each request is small enough to come whole.
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        for write in &writes {
            stream.write_all(write.as_bytes()).await.unwrap();
        }
    }
}

async fn per_call(url: &str, quick_ack: bool, calls: u32) -> Duration {
    let mut settings = ClientSettings::default();
    settings.quick_ack = quick_ack;
    let http = HttpClient::new(&settings);
    let target = Target::new(Endpoint::parse(url).unwrap());
    let (link, _feed) = client::open(http, target, client::ClientSettings::default());
    let call =
        async || link.call(Request::new(&RequestId::from(1), "ping", None)).answer().await.unwrap();
    // Not counted: it makes the connection.
    call().await;
    let began = Instant::now();
    for _ in 0..calls {
        call().await;
    }
    began.elapsed() / calls
}
