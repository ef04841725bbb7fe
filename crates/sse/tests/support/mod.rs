//! What the tests stand on: scripted peers on real sockets.

#![expect(dead_code, reason = "no test binary uses all of it")]
#![expect(unreachable_pub, reason = "a module of test binaries")]

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{net::TcpSocket, task::JoinSet};
use wharf_http::{AcceptSettings, ClientSettings, Endpoint, Handle, HttpClient, Target};
use wharf_proto::{Json, Message, Request};

pub mod backend;
pub mod client;
pub mod upstream;

/// Awaits what must happen; a hang becomes a failure.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens in time")
}

/// A listener on a free port, served until the tasks are dropped.
pub async fn serve(tasks: &mut JoinSet<()>, handle: impl Handle) -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(loopback).expect("a free port");
    // Room for all the connections that a test makes at once: one that finds
    // none is tried again after a second.
    let listener = socket.listen(1024).expect("a listener");
    let address = listener.local_addr().expect("bound");
    let forever = std::future::pending();
    tasks.spawn(wharf_http::serve(listener, handle, AcceptSettings::default(), forever));
    address
}

pub fn http() -> HttpClient {
    HttpClient::new(&ClientSettings::default())
}

pub fn target(url: &str) -> Target {
    Target::new(Endpoint::parse(url).expect("a URL"))
}

pub fn request(id: u64, method: &str, params: &str) -> Request {
    let params = Json::parse(params.to_owned()).expect("JSON");
    Request::new(&id.into(), method, Some(&params))
}

pub fn hello() -> Request {
    request(
        0,
        "initialize",
        r#"{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"test","version":"1"}}"#,
    )
}

pub fn message(text: &str) -> Message {
    Message::parse(text.to_owned()).expect("a message")
}
