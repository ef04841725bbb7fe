//! The port: refusing, stalling, dying and coming back.

use std::io;

use http::Method;
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};
use wharf_testkit::{
    Faulty, Script, When,
    faulty::{Fault, Happening, Memory},
};

use crate::raw::{QUIET, Raw, Then, call, hello, run, session, start, tool};

async fn try_to_connect(faulty: &Faulty) -> Option<io::Result<TcpStream>> {
    timeout(QUIET, TcpStream::connect(faulty.address())).await.ok()
}

#[tokio::test]
async fn who_is_refused_hears_it_at_once_and_open_connections_stay() {
    let faulty = start(Script::new()).await;
    let id = session(&faulty).await;
    let mut open = Raw::to(&faulty).await;
    open.post(Some(&id), &run(1, "before")).await;
    open.until("ran 1 times").await;
    faulty.refuse().await;
    let refused = try_to_connect(&faulty).await.expect("it is decided");
    assert_eq!(refused.expect_err("nobody listens").kind(), io::ErrorKind::ConnectionRefused);
    open.post(Some(&id), &run(2, "after")).await;
    faulty.record().wait_for(|seen| seen.executions("after") == 1).await;
    faulty.admit().await.expect("its port is its own");
    try_to_connect(&faulty).await.expect("it is decided").expect("it listens again");
}

#[tokio::test]
async fn a_stalled_port_neither_takes_nor_refuses() {
    let faulty = start(Script::new()).await;
    faulty.stall().await.expect("there is a port");
    // One attempt may still fit into the queue of what is to be accepted.
    let _queued = try_to_connect(&faulty).await;
    assert!(try_to_connect(&faulty).await.is_none(), "it is undecided");
    faulty.admit().await.expect("its port is its own");
    try_to_connect(&faulty).await.expect("it is decided").expect("it listens again");
}

#[tokio::test]
async fn a_connection_can_be_hung_closed_or_reset_as_it_is_accepted() {
    for (fault, then) in [
        (Fault::Hang, Then::Quiet),
        (Fault::Close, Then::Closed),
        (Fault::ResetBeforeHeaders, Then::Reset),
    ] {
        let faulty = start(Script::new().on(When::connect().first(1), fault)).await;
        // A reset can be so quick that the connection never seems to be made.
        let first = match try_to_connect(&faulty).await.expect("it is decided") {
            Ok(stream) => Raw::on(stream).rest().await,
            Err(_) => Then::Reset,
        };
        assert_eq!(first, then);
        session(&faulty).await;
    }
}

#[tokio::test]
async fn handshake_probe_and_goodbye_can_hang_each_for_itself() {
    for (when, head, body) in [
        (When::method("initialize").nth(2), "POST /mcp", hello()),
        (When::method("ping"), "POST /mcp", call(1, "ping", &json!({}))),
        (When::http(Method::DELETE), "DELETE /mcp", String::new()),
    ] {
        let faulty = start(Script::new().on(when, Fault::Hang)).await;
        let id = session(&faulty).await;
        let mut raw = Raw::to(&faulty).await;
        raw.request(head, Some(&id), &body).await;
        assert_eq!(raw.rest().await, Then::Quiet, "{head}: {}", raw.text);
        assert_eq!(raw.text, "");
        assert_eq!(faulty.record().so_far().sessions().now, 1);
    }
}

#[tokio::test]
async fn a_crash_breaks_everything_and_its_sessions_are_kept_or_lost() {
    for (memory, status) in [(Memory::Kept, "200"), (Memory::Lost, "404")] {
        let faulty = start(Script::new()).await;
        let id = session(&faulty).await;
        let mut open = Raw::to(&faulty).await;
        open.post(Some(&id), &tool(1, "sleep", &json!({"ms": 3_600_000}))).await;
        open.until("\r\n\r\n").await;
        faulty.crash().await;
        assert_ne!(open.rest().await, Then::Quiet);
        assert!(try_to_connect(&faulty).await.is_some_and(|tried| tried.is_err()));
        faulty.revive(memory).await.expect("its port is its own");
        let mut after = Raw::to(&faulty).await;
        after.post(Some(&id), &run(2, "t")).await;
        after.rest().await;
        assert_eq!(after.status(), status, "{memory:?}");
        let seen = faulty.record().so_far();
        assert!(seen.is_before(&Happening::Crashed, &Happening::Revived));
    }
}

#[tokio::test]
async fn an_upstream_that_dies_under_a_call_has_run_it() {
    for (fault, comes_back) in [(Fault::Crash, false), (Fault::Restart(Memory::Lost), true)] {
        let faulty = start(Script::new().on(When::tool("run_once"), fault)).await;
        let id = session(&faulty).await;
        let mut raw = Raw::to(&faulty).await;
        raw.post(Some(&id), &run(1, "t")).await;
        let then = raw.rest().await;
        assert!(then != Then::Quiet && !raw.text.contains("ran 1 times"), "{then:?}: {}", raw.text);
        assert_eq!(faulty.record().executions("t"), 1);
        if comes_back {
            faulty.record().wait_for(|seen| seen.times(&Happening::Revived) == 1).await;
        }
        let tried = try_to_connect(&faulty).await.expect("it is decided");
        assert_eq!(tried.is_ok(), comes_back);
    }
}

#[tokio::test]
async fn dropping_the_handle_frees_the_port() {
    let faulty = start(Script::new()).await;
    let (address, record) = (faulty.address(), faulty.record().clone());
    let mut open = Raw::to(&faulty).await;
    record.wait_for(|seen| seen.connections().now == 1).await;
    drop(faulty);
    assert_ne!(open.rest().await, Then::Quiet);
    TcpStream::connect(address).await.expect_err("nobody listens");
}
