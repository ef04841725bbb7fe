//! The servers and the client of the kit, over every transport and in every
//! way of answering.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use wharf_proto::{
    Message, Notification, Revision, code, method,
    transport::{CallError, EndReason, Exchange, Fault},
};
use wharf_testkit::{
    Answers, FastTest, FastTime, Hello, Sessions, TestClient, Transport, Upstream,
    UpstreamSettings, client::ToolCallError,
};

/// How long one row may take: far longer than it does.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same for one step of it, so that a failure names the step.
const STEP: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Http,
    Sse,
}

/// One row of the table: a server, and how the client comes to it.
#[derive(Debug, Clone, Copy)]
struct Way {
    over: Over,
    settings: UpstreamSettings,
}

impl Way {
    fn all() -> Vec<Self> {
        let mut ways = Vec::new();
        for answers in [Answers::Fitting, Answers::Json, Answers::EventStream] {
            for sessions in [Sessions::Kept, Sessions::None] {
                for (over, transport) in [
                    (Over::Http, Transport::StreamableHttp),
                    (Over::Http, Transport::Both),
                    (Over::Sse, Transport::Both),
                    (Over::Sse, Transport::Sse),
                ] {
                    let settings = UpstreamSettings {
                        transport,
                        answers,
                        sessions,
                        ..UpstreamSettings::default()
                    };
                    ways.push(Self { over, settings });
                }
            }
        }
        ways
    }

    async fn start(&self) -> Upstream<FastTest> {
        let started = Upstream::start(FastTest::new(), self.settings).await;
        started.expect("the upstream starts")
    }

    async fn connect(&self, upstream: &Upstream<FastTest>, revision: Revision) -> TestClient {
        let hello = Hello { revision, ..Hello::default() };
        match self.over {
            Over::Http => TestClient::connect_http_as(&upstream.url(), &hello).await,
            Over::Sse => TestClient::connect_sse_as(&upstream.sse_url(), &hello).await,
        }
        .expect("the client connects")
    }

    fn has_session(&self) -> bool {
        self.over == Over::Sse || self.settings.sessions == Sessions::Kept
    }

    /// Whether anything can be said before an answer.
    fn has_asides(&self) -> bool {
        self.over == Over::Sse || self.settings.answers != Answers::Json
    }
}

/// Runs a test on every row, and says which one it failed on.
#[expect(clippy::print_stdout, reason = "the output of a test is seen where it fails")]
async fn on_every_way<F: AsyncFn(Way)>(test: F) {
    for way in Way::all() {
        println!("{way:?}");
        tokio::time::timeout(PATIENCE, test(way))
            .await
            .unwrap_or_else(|_| panic!("{way:?} took longer than {PATIENCE:?}"));
    }
}

/// Waits until something that nobody signals has come about.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(STEP, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {STEP:?}"));
}

fn counting(to: u64) -> Value {
    json!({
        "name": "slow_count",
        "arguments": {"to": to, "every": 1},
        "_meta": {"progressToken": "count"},
    })
}

fn waiting() -> Value {
    json!({"name": "echo", "arguments": {"message": "late", "delay": 3_600_000}})
}

async fn echo(client: &TestClient, message: &str) -> String {
    let answer = client.call_tool("echo", &json!({"message": message})).await;
    answer.expect("echo answers").text()
}

#[tokio::test]
async fn every_revision_is_served_in_every_way() {
    on_every_way(async |way| {
        let upstream = way.start().await;
        for revision in Revision::ALL {
            let client = way.connect(&upstream, revision).await;
            assert_eq!(client.revision(), revision);
            assert_eq!(client.has_session(), way.has_session());
            assert_eq!(echo(&client, "héllo \"🦀\"\r\n\n").await, "héllo \"🦀\"\r\n\n");
            let pong = client.call(method::PING, &json!({})).await.unwrap();
            assert_eq!(pong.result().unwrap().as_str(), "{}");
            client.close().await;
        }
        let requests = upstream.requests();
        assert_eq!(requests.rpc(method::INITIALIZE), 4);
        assert_eq!(requests.rpc(method::INITIALIZED), 4);
        assert_eq!(requests.rpc(method::TOOLS_CALL), 4);
        let deletes = match (way.over, way.settings.sessions) {
            (Over::Http, Sessions::Kept) => 4,
            _ => 0,
        };
        assert_eq!(requests.http(&Method::DELETE), deletes);
        until("the sessions end", || {
            upstream.sessions() == 0 && upstream.backend().figures().sessions() == 0
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn errors_keep_their_code_and_failures_their_text() {
    on_every_way(async |way| {
        let upstream = way.start().await;
        let client = way.connect(&upstream, Revision::LATEST).await;
        let unknown = client.call_tool("nope", &json!({})).await.unwrap_err();
        assert!(
            matches!(unknown, ToolCallError::Refused { code: code::INVALID_PARAMS, .. }),
            "{unknown:?}"
        );
        let response = client.call("no/such/method", &json!({})).await.unwrap();
        assert_eq!(response.error_code(), Some(code::METHOD_NOT_FOUND));
        let failed = client.call_tool("echo", &json!({"messag": 1})).await.unwrap();
        assert!(failed.is_error());
        assert!(failed.text().contains("unknown field `messag`"));
    })
    .await;
}

#[tokio::test]
async fn progress_and_log_come_with_their_call_and_in_order() {
    on_every_way(async |way| {
        let upstream = way.start().await;
        let client = way.connect(&upstream, Revision::V2025_06_18).await;
        let mut exchange = client.exchange(method::TOOLS_CALL, &counting(3));
        let mut said = Vec::new();
        let answer = loop {
            match exchange.next().await.unwrap() {
                Message::Notification(aside) => said.push(aside),
                Message::Response(answer) => break answer,
                Message::Request(request) => panic!("{request:?}"),
            }
        };
        let text = answer.result().unwrap().as_str();
        assert!(text.contains("counted to 3"), "{text}");
        // HTTP+SSE has one stream: a log line belongs to no call on it.
        let progress: Vec<u64> = said
            .iter()
            .filter(|aside| aside.method() == method::PROGRESS)
            .map(|aside| aside.param("progress").unwrap().read().unwrap())
            .collect();
        let expected: &[u64] = if way.has_asides() { &[1, 2, 3] } else { &[] };
        assert_eq!(progress, expected);
    })
    .await;
}

#[tokio::test]
async fn calls_of_one_session_run_at_the_same_time() {
    on_every_way(async |way| {
        let upstream = way.start().await;
        let client = way.connect(&upstream, Revision::LATEST).await;
        let mut late = client.exchange(method::TOOLS_CALL, &waiting());
        tokio::select! {
            answer = late.next() => panic!("{answer:?}"),
            text = echo(&client, "first") => assert_eq!(text, "first"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_call_stops_at_the_server() {
    on_every_way(async |way| {
        if !way.has_session() {
            return;
        }
        let upstream = way.start().await;
        let client = way.connect(&upstream, Revision::LATEST).await;
        let mut call = client.exchange(method::TOOLS_CALL, &waiting());
        let id = call.id().clone();
        let figures = upstream.backend().figures();
        let cancelled = async {
            until("the call runs", || figures.running() == 1).await;
            client.cancel(&id).await.unwrap();
            until("the call stops", || figures.running() == 0).await;
        };
        tokio::select! {
            biased;
            () = cancelled => {}
            answer = call.answer() => {
                // The server may end the stream of a cancelled call.
                assert!(answer.is_err(), "{answer:?}");
                until("the call stops", || figures.running() == 0).await;
            }
        }
        assert_eq!(upstream.requests().rpc(method::CANCELLED), 1);
        assert_eq!(echo(&client, "still here").await, "still here");
    })
    .await;
}

#[tokio::test]
async fn what_is_said_unasked_is_heard() {
    on_every_way(async |way| {
        if !way.has_session() {
            return;
        }
        let upstream = way.start().await;
        let client = way.connect(&upstream, Revision::LATEST).await;
        client.listen();
        let changed = Notification::new(method::TOOLS_LIST_CHANGED, None);
        upstream.backend().announce(&changed);
        let Some(Message::Notification(heard)) = client.hear().await else {
            panic!("the announcement is heard")
        };
        assert_eq!(heard.method(), method::TOOLS_LIST_CHANGED);
    })
    .await;
}

#[tokio::test]
async fn a_crash_fails_calls_at_once_and_a_restart_knows_no_session() {
    on_every_way(async |way| {
        let mut upstream = way.start().await;
        let address = upstream.address();
        let client = way.connect(&upstream, Revision::LATEST).await;
        let mut call = client.exchange(method::TOOLS_CALL, &waiting());
        let figures = upstream.backend().figures().clone();
        let crash = async {
            until("the call runs", || figures.running() == 1).await;
            upstream.stop().await;
        };
        let (answer, ()) = tokio::join!(call.answer(), crash);
        assert!(answer.is_err(), "{answer:?}");
        assert_eq!((figures.running(), figures.sessions()), (0, 0));
        assert_eq!(upstream.sessions(), 0);
        assert_eq!(upstream.requests().http(&Method::DELETE), 0);

        upstream.restart().await.unwrap();

        assert_eq!(upstream.address(), address);
        let again = client.call(method::PING, &json!({})).await;
        match (way.over, way.settings.sessions) {
            (Over::Http, Sessions::Kept) => {
                let error = again.unwrap_err();
                assert!(
                    matches!(error, CallError { fault: Fault::SessionGone, .. })
                        || matches!(error.fault, Fault::Ended(EndReason::SessionGone)),
                    "{error:?}"
                );
                assert_eq!(upstream.requests().answered(StatusCode::NOT_FOUND), 1);
            }
            (Over::Http, Sessions::None) => assert!(again.is_ok(), "{again:?}"),
            (Over::Sse, _) => {
                assert!(again.is_err(), "{again:?}");
                client.ended().await;
                assert!(client.end_reason().is_some());
            }
        }
        let fresh = way.connect(&upstream, Revision::LATEST).await;
        assert_eq!(echo(&fresh, "back").await, "back");
    })
    .await;
}

#[tokio::test]
async fn a_port_can_be_taken_again_at_once_many_times() {
    let mut upstream = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    let url = upstream.url();
    for round in 0..20 {
        let client = TestClient::connect_http(&url).await.unwrap();
        assert_eq!(echo(&client, "here").await, "here", "round {round}");
        upstream.restart().await.unwrap();
    }
    assert_eq!(upstream.requests().rpc(method::INITIALIZE), 20);
}

#[tokio::test]
async fn a_stopped_upstream_cannot_be_reached() {
    let mut upstream = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    upstream.stop().await;
    assert!(TestClient::connect_http(&upstream.url()).await.is_err());
    assert!(TestClient::connect_sse(&upstream.sse_url()).await.is_err());
}

#[tokio::test]
async fn the_port_of_a_stopped_upstream_is_given_to_nobody_else() {
    let mut upstream = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    upstream.stop().await;
    let other = TcpSocket::new_v4().unwrap();
    let refused = other.bind(upstream.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
    upstream.restart().await.unwrap();
    TestClient::connect_http(&upstream.url()).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_told_so() {
    let first = Upstream::start(FastTest::new(), UpstreamSettings::default()).await.unwrap();
    let settings = UpstreamSettings { addr: first.address(), ..UpstreamSettings::default() };
    let error = Upstream::start(FastTest::new(), settings).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen at {}", first.address()));
}

#[tokio::test]
async fn a_transport_that_is_not_spoken_is_not_found() {
    let settings =
        UpstreamSettings { transport: Transport::StreamableHttp, ..UpstreamSettings::default() };
    let upstream = Upstream::start(FastTest::new(), settings).await.unwrap();
    assert!(TestClient::connect_sse(&upstream.sse_url()).await.is_err());
    assert_eq!(upstream.requests().answered(StatusCode::NOT_FOUND), 1);
}

#[tokio::test]
async fn fast_time_answers_over_both_transports() {
    let upstream = Upstream::start(FastTime::new(), UpstreamSettings::default()).await.unwrap();
    let clients = [
        TestClient::connect_http(&upstream.url()).await.unwrap(),
        TestClient::connect_sse(&upstream.sse_url()).await.unwrap(),
    ];
    for client in clients {
        let arguments = json!({
            "time": "2025-01-15 12:00",
            "source_timezone": "UTC",
            "target_timezone": "Asia/Tokyo",
        });
        let converted = client.call_tool("convert_time", &arguments).await.unwrap();
        assert_eq!(converted.text(), "2025-01-15T21:00:00+09:00");
        let uri = json!({"uri": "time://zone/Europe/Berlin"});
        let read = client.call(method::RESOURCES_READ, &uri).await.unwrap();
        assert!(read.result().unwrap().as_str().contains("Europe/Berlin"));
        let missing = json!({"uri": "time://zone/Moon"});
        let missing = client.call(method::RESOURCES_READ, &missing).await.unwrap();
        assert_eq!(missing.error_code(), Some(code::RESOURCE_NOT_FOUND));
    }
}
