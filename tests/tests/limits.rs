//! As many sessions, clients and waiters as there may be, and no more.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use wharf_gateway::{ScopeSetting, Transport as Spoken};
use wharf_proto::{Notification, method, transport::Exchange as _};
use wharf_testkit::{FastTest, Faulty, FaultySettings, Script, TestClient, faulty::Form};
use wharf_tests::{
    Over, Puppet, Wharf, Wire, gateway_error, request, serving, soon, until, upstream,
};

fn endless() -> serde_json::Value {
    json!({"name": "echo", "arguments": {"message": "late", "delay": 3_600_000}})
}

async fn echo(client: &TestClient, message: &str) {
    let answer = soon("echo", client.call_tool("echo", &json!({"message": message}))).await;
    assert_eq!(answer.unwrap().text(), message);
}

#[tokio::test]
async fn p16_a_caller_that_gets_no_session_in_time_is_told_so_and_its_call_has_not_run() {
    let fast = serving(FastTest::new()).await;
    let mut settings = upstream("fast", &fast.url());
    settings.transport = Spoken::StreamableHttp;
    settings.scope = ScopeSetting::Shared;
    settings.limits.sessions_per_key = 1;
    let wharf = Wharf::start([settings], |settings| {
        settings.acquire_timeout = Duration::from_millis(500);
    })
    .await;
    let (busy, late) =
        (Over::Http.server(&wharf, "fast").await, Over::Http.server(&wharf, "fast").await);
    let mut long = busy.exchange(method::TOOLS_CALL, &endless());
    let figures = fast.backend().figures();
    tokio::select! {
        answer = long.answer() => panic!("{answer:?}"),
        () = until("it runs", || figures.running() == 1) => {}
    }
    let call = json!({"name": "echo", "arguments": {"message": "m"}});
    let refused = soon("a refusal", late.call(method::TOOLS_CALL, &call)).await.unwrap();
    let error = gateway_error(&refused, "fast", false);
    assert_eq!(error["data"]["reason"], "no_session_in_time", "{error}");
    assert_eq!(fast.backend().state().count(), 1);
    // The next in line has it as soon as it is free.
    let id = long.id().clone();
    busy.cancel(&id).await.unwrap();
    until("it is cancelled", || figures.running() == 0).await;
    echo(&late, "at last").await;
    assert_eq!(fast.requests().rpc(method::INITIALIZE), 1);
}

#[tokio::test]
async fn an_unused_connection_is_kept_for_as_long_as_the_settings_say() {
    let faulty = Faulty::start(Script::new(), FaultySettings::default()).await.unwrap();
    let mut settings = upstream("f", &faulty.url());
    settings.transport = Spoken::StreamableHttp;
    let wharf = Wharf::start([settings], |settings| {
        settings.idle_connection = Duration::from_millis(100);
    })
    .await;
    let client = Over::Http.server(&wharf, "f").await;
    echo(&client, "a call").await;
    let closed = faulty.record().wait_for(|seen| seen.connections().now == 0);
    soon("its connection is closed", closed).await;
    echo(&client, "and another").await;
}

#[tokio::test]
async fn an_unused_connection_is_there_for_the_next_call() {
    // An answer in JSON is over when it has come, an event stream a little later.
    let answers = FaultySettings { form: Form::Json, ..FaultySettings::default() };
    let faulty = Faulty::start(Script::new(), answers).await.unwrap();
    let mut settings = upstream("f", &faulty.url());
    settings.transport = Spoken::StreamableHttp;
    let wharf = Wharf::start([settings], |settings| {
        settings.idle_connection = Duration::MAX;
    })
    .await;
    let client = Over::Http.server(&wharf, "f").await;
    echo(&client, "a call").await;
    let made = faulty.record().so_far().connections().ever;
    echo(&client, "and another").await;
    assert_eq!(faulty.record().so_far().connections().ever, made);
}

#[tokio::test]
async fn too_many_who_wait_are_sent_away_at_once() {
    let (puppet, mut strings) = Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
    let mut settings = upstream("p", &puppet.url());
    settings.scope = ScopeSetting::Shared;
    settings.limits.sessions_per_key = 1;
    settings.limits.waiters_per_key = 1;
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Http.server(&wharf, "p").await;
    let params = json!({"name": "t"});
    let calls = join_all((0..4).map(|_| client.call(method::TOOLS_CALL, &params)));
    let play = async {
        let first = strings.call().await;
        soon("two are sent away", async { while wharf.figures("p").await["refusals"] != 2 {} })
            .await;
        first.answer("{}");
        strings.call().await.answer("{}");
    };
    let both = async { tokio::join!(calls, play) };
    let (answers, ()) = soon("all are answered", both).await;
    let answers = answers.iter().map(|answer| answer.as_ref().unwrap());
    let (done, refused): (Vec<_>, Vec<_>) = answers.partition(|one| one.result().is_some());
    assert_eq!((done.len(), refused.len()), (2, 2));
    for refused in refused {
        assert_eq!(gateway_error(refused, "p", false)["data"]["reason"], "full");
    }
}

#[tokio::test]
async fn idle_sessions_make_room_for_those_who_come() {
    let fast = serving(FastTest::new()).await;
    let mut settings = upstream("fast", &fast.url());
    settings.transport = Spoken::StreamableHttp;
    let wharf = Wharf::start([settings], |settings| settings.sessions = 2).await;
    let mut clients = Vec::new();
    for number in 0..6 {
        let client = Over::Http.server(&wharf, "fast").await;
        echo(&client, &number.to_string()).await;
        clients.push(client);
        assert!(fast.sessions() <= 2, "{} sessions", fast.sessions());
    }
    // Those who lost theirs get another, and do not notice.
    for client in &clients {
        echo(client, "again").await;
        assert!(fast.sessions() <= 2, "{} sessions", fast.sessions());
    }
}

#[tokio::test]
async fn idle_clients_make_room_for_those_who_come() {
    let fast = serving(FastTest::new()).await;
    let wharf =
        Wharf::start([upstream("fast", &fast.url())], |settings| settings.clients = 2).await;
    let url = wharf.url("/mcp");
    let first = Wire::connect(&url, "{}").await;
    let second = Wire::connect(&url, "{}").await;
    // Both are in use now: there is no room.
    let streams = [first.listen().await, second.listen().await];
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let headers =
        [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let refused = request("POST", &url, &headers, hello).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after"));
    drop(streams);
    let third = soon("there is room", async {
        loop {
            let reply = request("POST", &url, &headers, hello).await;
            if reply.status == StatusCode::OK {
                return reply;
            }
        }
    })
    .await;
    assert!(third.headers.contains_key("mcp-session-id"));
}

#[tokio::test]
async fn p05_a_session_that_nobody_uses_ends_with_a_goodbye_and_comes_back_when_used() {
    let fast = serving(FastTest::new()).await;
    let mut settings = upstream("fast", &fast.url());
    settings.transport = Spoken::StreamableHttp;
    settings.limits.idle_timeout = Duration::from_millis(50);
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Http.server(&wharf, "fast").await;
    for _ in 0..3 {
        echo(&client, "used").await;
        until("the session ends", || fast.sessions() == 0).await;
    }
    let figures = wharf.figures("fast").await;
    assert!(figures["ends"]["idle"].as_u64().unwrap() >= 3, "{figures}");
}

#[tokio::test]
async fn a_session_that_is_listened_to_does_not_end_for_being_idle() {
    let (puppet, mut strings) = Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
    let mut settings = upstream("p", &puppet.url());
    settings.transport = Spoken::StreamableHttp;
    settings.limits.idle_timeout = Duration::from_millis(200);
    let wharf = Wharf::in_front_of([settings]).await;
    let listens = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let mut stream = listens.listen().await;
    soon("it is listened to", async { while wharf.figures("p").await["leases"] != 1 {} }).await;
    let session = strings.session().await;
    // Another's session, which nobody listens to, ends meanwhile.
    let _other = Over::Http.server(&wharf, "p").await;
    assert_eq!(puppet.sessions(), 2);
    until("the other ends", || puppet.sessions() == 1).await;
    session.say(Notification::new(method::TOOLS_LIST_CHANGED, None));
    assert_eq!(stream.value().await["method"], method::TOOLS_LIST_CHANGED);
}

#[tokio::test]
async fn times_that_are_too_long_to_add_are_no_limits() {
    let fast = serving(FastTest::new()).await;
    let mut settings = upstream("fast", &fast.url());
    settings.call_timeout = Some(Duration::MAX);
    let wharf = Wharf::start([settings], |settings| {
        settings.acquire_timeout = Duration::MAX;
        settings.list_timeout = Duration::MAX;
        settings.list_lifetime = Duration::MAX;
        settings.drain_timeout = Duration::MAX;
    })
    .await;
    let client = Over::Http.everything(&wharf).await;
    let answer = soon("echo", client.call_tool("fast__echo", &json!({"message": "m"}))).await;
    assert_eq!(answer.unwrap().text(), "m");
    drop(client);
    wharf.stop().await;
}
