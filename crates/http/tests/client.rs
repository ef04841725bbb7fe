//! The client against servers that misbehave, byte by byte.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use wharf_http::{ClientSettings, HttpClient, collect};
use wharf_proto::transport::{CallError, Fate, Fault};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    (listener, address)
}

fn client() -> HttpClient {
    HttpClient::new(&ClientSettings::default())
}

fn get(to: SocketAddr) -> Request<Bytes> {
    let request = Request::get(format!("http://{to}/"));
    request.body(Bytes::new()).expect("is a request")
}

/// Reads the head of a request; `None` where the connection closes first.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).expect("a head is text"))
}

/// Answers so many requests, each on a connection of its own, once all are
/// there. Gives the connections.
async fn answer_at_once(listener: &TcpListener, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    while streams.len() < count {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await.expect("a request");
        streams.push(stream);
    }
    for stream in &mut streams {
        stream.write_all(OK.as_bytes()).await.expect("writes");
    }
    streams
}

async fn fails(client: &HttpClient, request: Request<Bytes>) -> CallError {
    client.send(request).await.expect_err("there is no answer")
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let (listener, address) = listen().await;
    let client = client();
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        for _ in 0..3 {
            let head = read_head(&mut stream).await.expect("a request");
            assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
            stream.write_all(OK.as_bytes()).await.expect("writes");
        }
    };
    let calls = async {
        for _ in 0..3 {
            let answer = client.send(get(address)).await.expect("an answer");
            assert_eq!(collect(answer.into_body(), 2).await.expect("fits"), "ok");
        }
    };
    tokio::join!(server, calls);
}

/// Tokio gives a task a budget; what is polled beyond it is woken at once.
#[tokio::test]
async fn more_requests_than_a_task_has_turns_for_are_all_answered() {
    let (listener, address) = listen().await;
    let client = client();
    let server = answer_at_once(&listener, 200);
    let calls = join_all((0..200).map(|_| async {
        let answer = client.send(get(address)).await.expect("an answer");
        collect(answer.into_body(), 2).await.expect("fits")
    }));
    let (_streams, answers) = tokio::join!(server, calls);
    assert!(answers.iter().all(|answer| answer == "ok"));
}

#[tokio::test]
async fn a_request_that_finds_nobody_was_not_sent() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = fails(&client(), get(address)).await;
    assert_eq!(error.fate, Fate::NotSent);
    assert!(matches!(error.fault, Fault::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_may_have_run_it() {
    let (listener, address) = listen().await;
    let client = client();
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await.expect("a request");
        stream.set_zero_linger().expect("is open");
    };
    let (error, ()) = tokio::join!(fails(&client, get(address)), server);
    assert_eq!(error.fate, Fate::MayHaveRun);
    assert!(matches!(error.fault, Fault::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_not_http_may_have_run() {
    let (listener, address) = listen().await;
    let client = client();
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await.expect("a request");
        stream.write_all(b"220 smtp.example.com\r\n\r\n").await.expect("writes");
        stream
    };
    let (error, _stream) = tokio::join!(fails(&client, get(address)), server);
    assert_eq!(error.fate, Fate::MayHaveRun);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_unnoticed() {
    let (listener, address) = listen().await;
    let client = client();
    let (closed, seen) = tokio::sync::oneshot::channel();
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await.expect("a request");
        stream.write_all(OK.as_bytes()).await.expect("writes");
        stream.shutdown().await.expect("is open");
        // The client closes its end, too: now it knows.
        assert!(read_head(&mut stream).await.is_none());
        closed.send(()).expect("is awaited");
        let (mut stream, _) = listener.accept().await.expect("another one");
        read_head(&mut stream).await.expect("a request");
        stream.write_all(OK.as_bytes()).await.expect("writes");
    };
    let calls = async {
        let answer = client.send(get(address)).await.expect("an answer");
        collect(answer.into_body(), 2).await.expect("fits");
        seen.await.expect("is told");
        let answer = client.send(get(address)).await.expect("an answer");
        collect(answer.into_body(), 2).await.expect("fits");
    };
    tokio::join!(server, calls);
}

/// The end is in the socket and nobody has looked yet: the connection ends
/// with the request in its queue.
#[tokio::test]
async fn a_request_that_meets_the_end_of_its_connection_is_sent_over_another() {
    let (listener, address) = listen().await;
    let client = client();
    for _ in 0..50 {
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            read_head(&mut stream).await.expect("a request");
            stream.write_all(OK.as_bytes()).await.expect("writes");
        };
        let call = async {
            let answer = client.send(get(address)).await.expect("an answer");
            collect(answer.into_body(), 2).await.expect("fits")
        };
        let both = async { tokio::join!(server, call) };
        let in_time = tokio::time::timeout(Duration::from_secs(10), both).await;
        assert_eq!(in_time.expect("nobody waits for ever").1, "ok");
    }
}

#[tokio::test]
async fn a_client_is_closed_once_its_connections_are() {
    let (listener, address) = listen().await;
    let client = client();
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await.expect("a request");
        stream.write_all(OK.as_bytes()).await.expect("writes");
        assert!(read_head(&mut stream).await.is_none(), "it is closed");
    };
    let calls = async {
        let answer = client.send(get(address)).await.expect("an answer");
        collect(answer.into_body(), 2).await.expect("fits");
        let in_time = tokio::time::timeout(Duration::from_secs(10), client.closed());
        in_time.await.expect("the idle connection closes");
    };
    tokio::join!(server, calls);
}

/// More than a task may poll at a stretch, so that they are not all seen to
/// the first time somebody looks.
#[tokio::test]
async fn kept_connections_that_their_server_closes_all_at_once_are_all_let_go() {
    const MANY: usize = 300;
    let (listener, address) = listen().await;
    let mut settings = ClientSettings::default();
    settings.idle_connections_per_host = MANY;
    settings.idle_connection = Duration::from_secs(3600);
    let client = HttpClient::new(&settings);
    let server = answer_at_once(&listener, MANY);
    let call = || async {
        let answer = client.send(get(address)).await.expect("an answer");
        collect(answer.into_body(), 2).await.expect("fits");
    };
    let (streams, _) = tokio::join!(server, join_all((0..MANY).map(|_| call())));
    // Whoever still has the client would keep them.
    let _user = client.clone();
    drop(streams);
    let in_time = tokio::time::timeout(Duration::from_secs(10), client.closed());
    in_time.await.expect("no connection is kept that is closed");
}

#[tokio::test]
async fn only_http_is_spoken_to_what_is_named_so() {
    let request = Request::get("ws://127.0.0.1:1/").body(Bytes::new()).expect("is a request");
    let error = fails(&client(), request).await;
    assert_eq!(error.fate, Fate::NotSent);
    assert!(format!("{error:?}").contains("Scheme"), "nobody was asked: {error:?}");
}

#[test]
fn an_answer_that_is_given_up_outside_a_runtime_is_dropped() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("there is room for one");
    let client = client();
    let (answer, _stream) = runtime.block_on(async {
        let (listener, address) = listen().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            read_head(&mut stream).await.expect("a request");
            let half = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no";
            stream.write_all(half.as_bytes()).await.expect("writes");
            stream
        };
        let (answer, stream) = tokio::join!(client.send(get(address)), server);
        (answer.expect("an answer"), stream)
    });
    client.finish(answer.into_body());
    runtime.block_on(client.closed());
}

#[tokio::test]
async fn a_handshake_that_hangs_is_limited_and_was_not_sent() {
    let (listener, address) = listen().await;
    let mut settings = ClientSettings::default();
    settings.connect_timeout = Duration::from_millis(200);
    let client = HttpClient::new(&settings);
    let request = Request::get(format!("https://{address}/"));
    let request = request.body(Bytes::new()).expect("is a request");
    // Nobody accepts, so the kernel completes TCP and nobody speaks TLS.
    let error = fails(&client, request).await;
    drop(listener);
    assert_eq!(error.fate, Fate::NotSent);
    match error.fault {
        Fault::TimedOut { step, limit } => {
            assert_eq!((step, limit), ("connect", settings.connect_timeout));
        }
        // A machine without certificates cannot even begin.
        Fault::Unreachable { source } => {
            let chain = format!("{source:?}");
            assert!(chain.contains("TlsSetup"), "{chain}");
        }
        fault => panic!("{fault:?}"),
    }
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection_and_no_other() {
    let (listener, address) = listen().await;
    let client = client();
    let mut first = Box::pin(client.send(get(address)));
    let mut second = Box::pin(client.send(get(address)));
    let server = async {
        let (mut one, _) = listener.accept().await.expect("a connection");
        read_head(&mut one).await.expect("a request");
        let (mut two, _) = listener.accept().await.expect("a connection");
        read_head(&mut two).await.expect("a request");
        (one, two)
    };
    let (mut one, mut two) = tokio::select! {
        biased;
        _ = &mut first => panic!("nobody has answered"),
        _ = &mut second => panic!("nobody has answered"),
        streams = server => streams,
    };
    drop(first);
    let gone = one.read_u8().await.expect_err("the connection closes").kind();
    assert!(matches!(gone, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset));
    two.write_all(OK.as_bytes()).await.expect("the other is open");
    let answer = second.await.expect("an answer");
    assert_eq!(collect(answer.into_body(), 2).await.expect("fits"), "ok");
}
