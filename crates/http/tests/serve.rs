//! The accept loop, seen from raw connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinSet,
};
use wharf_http::{AcceptSettings, Body, Handle, empty_response, json_response, serve};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A server and the two ways to end it.
struct Server {
    address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinSet<()>,
}

impl Server {
    async fn start(handle: impl Handle, settings: AcceptSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let (shutdown, told) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(serve(listener, handle, settings, async {
            let _ = told.await;
        }));
        Self { address, shutdown: Some(shutdown), task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    /// Sends a request on a connection of its own and reads what comes.
    async fn ask(&self) -> String {
        let mut stream = self.connect().await;
        stream.write_all(GET).await.expect("writes");
        read_answer(&mut stream).await
    }

    fn shut_down(&mut self) {
        let _ = self.shutdown.take().expect("once").send(());
    }

    async fn ended(&mut self) {
        let ended = tokio::time::timeout(Duration::from_secs(10), self.task.join_next());
        let ended = ended.await.expect("ends in time");
        ended.expect("was started").expect("does not panic");
    }
}

/// Reads up to the end of a body of two bytes, or to the end of the stream.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n{}") {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(answer).expect("the answer is text")
}

async fn answer(_: Request<Incoming>, _: Option<SocketAddr>) -> Response<Body> {
    json_response(StatusCode::OK, "{}")
}

#[tokio::test]
async fn requests_are_answered_and_the_peer_is_told() {
    let handle = |_, peer: Option<SocketAddr>| async move {
        assert!(peer.is_some_and(|peer| peer.ip().is_loopback()));
        json_response(StatusCode::OK, "{}")
    };
    let server = Server::start(handle, AcceptSettings::default()).await;
    let answer = server.ask().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_own_connection_alone() {
    let handle = |request: Request<Incoming>, _| async move {
        assert_eq!(request.uri().path(), "/", "no such path");
        json_response(StatusCode::OK, "{}")
    };
    let server = Server::start(handle, AcceptSettings::default()).await;
    let mut other = server.connect().await;
    other.write_all(GET).await.expect("writes");
    assert!(read_answer(&mut other).await.contains("200 OK"));

    let mut bad = server.connect().await;
    let request = b"GET /panic HTTP/1.1\r\nhost: localhost\r\n\r\n";
    bad.write_all(request).await.expect("writes");
    assert_eq!(read_answer(&mut bad).await, "");

    other.write_all(GET).await.expect("the other is open");
    assert!(read_answer(&mut other).await.contains("200 OK"));
    assert!(server.ask().await.contains("200 OK"));
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish_and_closes_what_is_idle() {
    let (began, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handle = {
        let (began, finish) = (Arc::clone(&began), Arc::clone(&finish));
        move |request: Request<Incoming>, _| {
            let (began, finish) = (Arc::clone(&began), Arc::clone(&finish));
            async move {
                if request.uri().path() == "/slow" {
                    began.notify_one();
                    finish.notified().await;
                }
                json_response(StatusCode::OK, "{}")
            }
        }
    };
    let mut server = Server::start(handle, AcceptSettings::default()).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.write_all(GET).await.expect("writes");
    assert!(read_answer(&mut idle).await.contains("200 OK"));
    let mut busy = server.connect().await;
    let request = b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";
    busy.write_all(request).await.expect("writes");
    began.notified().await;

    server.shut_down();
    assert_eq!(idle.read(&mut [0]).await.expect("closes in order"), 0);
    assert_eq!(silent.read(&mut [0]).await.expect("closes in order"), 0);
    let refused = TcpStream::connect(server.address).await;
    assert!(refused.is_err(), "the listener is closed");
    assert!(server.task.try_join_next().is_none(), "a request is under way");

    finish.notify_one();
    assert!(read_answer(&mut busy).await.contains("200 OK"));
    assert_eq!(busy.read(&mut [0]).await.expect("closes in order"), 0);
    server.ended().await;
}

#[tokio::test]
async fn dropping_the_loop_aborts_the_connections() {
    let began = Arc::new(Notify::new());
    let handle = {
        let began = Arc::clone(&began);
        move |_, _| {
            began.notify_one();
            std::future::pending()
        }
    };
    let mut server = Server::start(handle, AcceptSettings::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.expect("writes");
    began.notified().await;
    server.task.shutdown().await;
    assert_eq!(read_answer(&mut stream).await, "");
}

#[tokio::test]
async fn a_client_that_goes_away_drops_its_handler() {
    struct Dropped(Option<oneshot::Sender<()>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.take().expect("dropped once").send(());
        }
    }
    let (told, dropped) = oneshot::channel();
    let mark = Arc::new(std::sync::Mutex::new(Some(Dropped(Some(told)))));
    let began = Arc::new(Notify::new());
    let handle = {
        let began = Arc::clone(&began);
        move |_, _| {
            let mark = mark.lock().expect("no panics").take();
            began.notify_one();
            async move {
                let _mark = mark;
                std::future::pending().await
            }
        }
    };
    let server = Server::start(handle, AcceptSettings::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.expect("writes");
    began.notified().await;
    drop(stream);
    let in_time = tokio::time::timeout(Duration::from_secs(10), dropped).await;
    in_time.expect("the handler is dropped").expect("is told");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let mut settings = AcceptSettings::default();
    settings.max_header_bytes = 8192;
    let server = Server::start(answer, settings).await;
    let mut stream = server.connect().await;
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(9000));
    let _ = stream.write_all(head.as_bytes()).await;
    let answer = read_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let mut settings = AcceptSettings::default();
    settings.header_timeout = Duration::from_millis(50);
    let server = Server::start(answer, settings).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HT").await.expect("writes");
    let read = tokio::time::timeout(Duration::from_secs(10), read_answer(&mut stream));
    read.await.expect("the connection closes");
}

#[tokio::test]
async fn an_empty_answer_says_so() {
    let handle = |_, _| async { empty_response(StatusCode::ACCEPTED) };
    let server = Server::start(handle, AcceptSettings::default()).await;
    let mut stream = server.connect().await;
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("is text");
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
    assert!(answer.contains("content-length: 0\r\n"), "{answer}");
}
