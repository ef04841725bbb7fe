//! Upstreams that go away and come back, and clients that do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use wharf_gateway::{ScopeSetting, Transport as Spoken, UpstreamSettings};
use wharf_proto::{
    Notification, Response, method,
    transport::{CallError, Exchange as _},
};
use wharf_testkit::{Answers, FastTest, Sessions, TestClient, Upstream};
use wharf_tests::{
    Over, Puppet, Wharf, Wire, error_of, gateway_error, outcome, serving, soon, until, upstream,
};

const BOTH: [Spoken; 2] = [Spoken::StreamableHttp, Spoken::Sse];

/// Much longer than it takes to hear of an end, much shorter than any timeout
/// that could be what one hears of instead.
const AT_ONCE: Duration = Duration::from_secs(3);

fn fast(fast: &Upstream<FastTest>, spoken: Spoken) -> UpstreamSettings {
    let url = if spoken == Spoken::Sse { fast.sse_url() } else { fast.url() };
    let mut settings = upstream("fast", &url);
    settings.transport = spoken;
    settings
}

async fn echo(client: &TestClient, message: &str) {
    let answer = soon("echo", client.call_tool("echo", &json!({"message": message}))).await;
    assert_eq!(answer.unwrap_or_else(|error| panic!("{message}: {error:?}")).text(), message);
}

/// A call that takes for ever.
fn endless() -> Value {
    json!({"name": "echo", "arguments": {"message": "late", "delay": 3_600_000}})
}

async fn try_echo(client: &TestClient) -> Response {
    let call = json!({"name": "echo", "arguments": {"message": "m"}});
    soon("an answer", client.call(method::TOOLS_CALL, &call)).await.unwrap()
}

#[tokio::test]
async fn p03_the_first_call_after_a_restart_succeeds() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse, Spoken::Auto] {
        for over in Over::BOTH {
            let mut upstream = serving(FastTest::new()).await;
            let wharf = Wharf::in_front_of([fast(&upstream, spoken)]).await;
            let client = over.server(&wharf, "fast").await;
            for round in 0..3 {
                echo(&client, &format!("{over:?} to {spoken:?}, round {round}")).await;
                upstream.restart().await.unwrap();
            }
            echo(&client, "at last").await;
            assert_eq!(upstream.backend().count_of_echoes(), 4, "each call ran once");
        }
    }
}

/// How often Fast Test has echoed.
trait Count {
    fn count_of_echoes(&self) -> u64;
}

impl Count for FastTest {
    fn count_of_echoes(&self) -> u64 {
        self.state().count()
    }
}

#[tokio::test]
async fn p11_the_first_call_of_each_of_fifty_clients_after_a_restart_succeeds() {
    for spoken in BOTH {
        for (over, prefix) in [(Over::Http, "/servers/fast"), (Over::Sse, "/servers/fast")] {
            let mut upstream = serving(FastTest::new()).await;
            let wharf = Wharf::in_front_of([fast(&upstream, spoken)]).await;
            let hello = wharf_testkit::Hello::default();
            let clients = join_all((0..50).map(|_| over.connect(&wharf, prefix, &hello))).await;
            join_all(clients.iter().map(|client| echo(client, "warm"))).await;
            upstream.restart().await.unwrap();
            join_all(clients.iter().map(|client| echo(client, "next"))).await;
            assert_eq!(upstream.backend().count_of_echoes(), 100, "{over:?} to {spoken:?}");
        }
    }
}

#[tokio::test]
async fn a_restart_of_an_upstream_without_sessions_is_not_noticed() {
    let settings = wharf_testkit::UpstreamSettings {
        sessions: Sessions::None,
        ..wharf_testkit::UpstreamSettings::default()
    };
    let mut upstream = Upstream::start(FastTest::new(), settings).await.unwrap();
    let wharf = Wharf::in_front_of([fast(&upstream, Spoken::StreamableHttp)]).await;
    let client = Over::Http.server(&wharf, "fast").await;
    echo(&client, "before").await;
    upstream.restart().await.unwrap();
    echo(&client, "after").await;
}

#[tokio::test]
async fn an_upstreams_death_in_a_call_is_heard_at_once_and_the_call_may_have_run() {
    for answers in [Answers::Fitting, Answers::EventStream] {
        for spoken in BOTH {
            for over in Over::BOTH {
                let row = format!("{over:?} to {spoken:?}, {answers:?}");
                let settings = wharf_testkit::UpstreamSettings {
                    answers,
                    ..wharf_testkit::UpstreamSettings::default()
                };
                let mut upstream = Upstream::start(FastTest::new(), settings).await.unwrap();
                let wharf = Wharf::in_front_of([fast(&upstream, spoken)]).await;
                let client = over.server(&wharf, "fast").await;
                let calls: Vec<_> =
                    (0..5).map(|_| client.exchange(method::TOOLS_CALL, &endless())).collect();
                let calls = join_all(calls.into_iter().map(|mut call| async move {
                    let answer: Result<Response, CallError> = call.answer().await;
                    (answer, Instant::now())
                }));
                let crash = async {
                    let figures = upstream.backend().figures().clone();
                    until("the calls run", || figures.running() == 5).await;
                    let before = Instant::now();
                    upstream.stop().await;
                    before
                };
                let both = async { tokio::join!(calls, crash) };
                let (answers, before) = soon(&row, both).await;
                for (answer, heard) in answers {
                    let error = gateway_error(&answer.unwrap(), "fast", true);
                    assert_eq!(error["code"], -32603, "{row}: {error}");
                    assert!(heard - before < AT_ONCE, "{row}: {:?}", heard - before);
                }
                let figures = wharf.figures("fast").await;
                assert_eq!(figures["waiters"], 0, "{row}");
                // It ran once, and is not run again when the upstream is back.
                upstream.restart().await.unwrap();
                echo(&client, &row).await;
                assert_eq!(upstream.backend().count_of_echoes(), 6, "{row}");
            }
        }
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_said_to_be_down_until_it_is_up() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse, Spoken::Auto] {
        for over in Over::BOTH {
            let mut upstream = serving(FastTest::new()).await;
            let wharf = Wharf::in_front_of([fast(&upstream, spoken)]).await;
            let client = over.server(&wharf, "fast").await;
            echo(&client, "up").await;
            upstream.stop().await;
            for _ in 0..3 {
                let error = gateway_error(&try_echo(&client).await, "fast", false);
                let text = error["message"].as_str().unwrap();
                assert!(text.contains("cannot be reached"), "{text}");
                assert!(!text.contains("127.0.0.1"), "{text}");
            }
            upstream.restart().await.unwrap();
            echo(&client, "up again").await;
        }
    }
}

#[tokio::test]
async fn a_call_that_the_upstream_cannot_have_got_has_not_run_however_soon_it_comes() {
    for spoken in BOTH {
        for over in Over::BOTH {
            let mut upstream = serving(FastTest::new()).await;
            let wharf = Wharf::in_front_of([fast(&upstream, spoken)]).await;
            let client = over.server(&wharf, "fast").await;
            for round in 0..20 {
                echo(&client, "up").await;
                upstream.stop().await;
                // Nobody has had the time to notice.
                let answer = try_echo(&client).await;
                let error = error_of(&answer);
                assert_eq!(
                    error["data"]["mayHaveRun"], false,
                    "{over:?} to {spoken:?}, round {round}: {error}"
                );
                upstream.restart().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn an_upstream_that_was_down_from_the_beginning_is_used_once_it_is_up() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse, Spoken::Auto] {
        let mut upstream = serving(FastTest::new()).await;
        upstream.stop().await;
        let wharf = Wharf::in_front_of([fast(&upstream, spoken)]).await;
        let everything = Over::Http.everything(&wharf).await;
        let mut call = json!({"name": "fast__echo", "arguments": {"message": "m"}});
        let answer = everything.call(method::TOOLS_CALL, &call).await.unwrap();
        let _ = gateway_error(&answer, "fast", false);
        // Nor is there a session with it alone, and the client hears why.
        let hello = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {},
                       "clientInfo": {"name": "c", "version": "1"}},
        });
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        let url = wharf.url("/servers/fast/mcp");
        let mut reply = wharf_tests::request("POST", &url, &headers, hello.to_string()).await;
        let refusal = reply.value().await;
        assert_eq!(refusal["error"]["data"]["gateway"], "wharf", "{refusal}");
        assert!(!reply.headers.contains_key("mcp-session-id"));
        upstream.restart().await.unwrap();
        call["arguments"]["message"] = json!("up");
        let answer = everything.call(method::TOOLS_CALL, &call).await.unwrap();
        assert!(outcome(&answer).contains("\"up\""), "{spoken:?}: {}", outcome(&answer));
        echo(&Over::Http.server(&wharf, "fast").await, "direct").await;
    }
}

#[tokio::test]
async fn p12_one_callers_disconnect_harms_nobody() {
    for spoken in BOTH {
        for scope in [ScopeSetting::Client, ScopeSetting::Shared] {
            let upstream = serving(FastTest::new()).await;
            let mut settings = fast(&upstream, spoken);
            settings.scope = scope;
            settings.limits.sessions_per_key = 1;
            settings.limits.calls_per_session = 100;
            let wharf = Wharf::in_front_of([settings]).await;
            let stays = Over::Http.server(&wharf, "fast").await;
            let mut long = stays.exchange(
                method::TOOLS_CALL,
                &json!({"name": "echo", "arguments": {"message": "long", "delay": 300}}),
            );
            let leave = async {
                for round in 0..10 {
                    let over = Over::BOTH[round % 2];
                    let leaves = over.server(&wharf, "fast").await;
                    let mut call = leaves.exchange(method::TOOLS_CALL, &endless());
                    let figures = upstream.backend().figures();
                    let running = figures.running();
                    tokio::select! {
                        answer = call.answer() => panic!("{answer:?}"),
                        () = until("the call runs", || figures.running() > running.min(1)) => {}
                    }
                    drop((call, leaves));
                    echo(&stays, &format!("{spoken:?} {scope:?} round {round}")).await;
                }
            };
            let both = async { tokio::join!(long.answer(), leave) };
            let (answer, ()) = soon("the long call ends", both).await;
            assert!(outcome(&answer.unwrap()).contains("long"));
        }
    }
}

#[tokio::test]
async fn p01_two_clients_share_no_session_with_an_upstream_unless_the_operator_says_so() {
    for spoken in BOTH {
        for (scope, sessions) in
            [(ScopeSetting::Client, 6), (ScopeSetting::Shared, 1), (ScopeSetting::Identity, 1)]
        {
            let upstream = serving(FastTest::new()).await;
            let mut settings = fast(&upstream, spoken);
            settings.scope = scope;
            let wharf = Wharf::in_front_of([settings]).await;
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(Over::Http.server(&wharf, "fast").await);
                let everything = Over::Http.everything(&wharf).await;
                let call = everything.call_tool("fast__echo", &json!({"message": "m"})).await;
                assert_eq!(call.unwrap().text(), "m");
                clients.push(everything);
            }
            for client in clients.iter().step_by(2) {
                echo(client, "m").await;
            }
            // Wharf has one of its own, in which it asks for lists.
            let own = match scope {
                ScopeSetting::Shared => 0,
                _ => 1,
            };
            let handshakes = upstream.requests().rpc(method::INITIALIZE);
            assert_eq!(handshakes, sessions + own, "{spoken:?} {scope:?}");
            assert_eq!(upstream.sessions() as u64, sessions + own, "{spoken:?} {scope:?}");
        }
    }
}

#[tokio::test]
async fn a_clients_goodbye_reaches_the_upstream() {
    for spoken in BOTH {
        for over in Over::BOTH {
            let upstream = serving(FastTest::new()).await;
            let wharf = Wharf::in_front_of([fast(&upstream, spoken)]).await;
            let (stays, leaves) =
                (over.server(&wharf, "fast").await, over.server(&wharf, "fast").await);
            echo(&leaves, "bye").await;
            assert_eq!(upstream.sessions(), 2);
            leaves.close().await;
            until("its session ends", || upstream.sessions() == 1).await;
            let deletes = upstream.requests().http(&Method::DELETE);
            assert_eq!(deletes, u64::from(spoken == Spoken::StreamableHttp), "{over:?} {spoken:?}");
            echo(&stays, "still here").await;
        }
    }
}

#[tokio::test]
async fn a_goodbye_ends_the_calls_of_its_session_and_no_others() {
    let (_puppet, mut strings) = Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &_puppet.url())]).await;
    let url = wharf.url("/servers/p/mcp");
    let (leaves, stays) = (Wire::connect(&url, "{}").await, Wire::connect(&url, "{}").await);
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
    let play = async {
        let [first, second] = [strings.call().await, strings.call().await];
        assert_eq!(leaves.delete().await, StatusCode::NO_CONTENT);
        let heard = strings.heard(method::CANCELLED).await.cancelled_id().unwrap();
        // Ids count in each session, so that both may be called the same.
        for cue in [first, second] {
            let _ = &heard;
            cue.answer("{}");
        }
    };
    let all = async { tokio::join!(leaves.post(body), stays.post(body), play) };
    let (gone, mut answered, ()) = soon("the goodbye", all).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(answered.value().await["result"], json!({}));
    assert_eq!(leaves.post(body).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_client_that_is_idle_for_too_long_is_forgotten_with_its_upstream_session() {
    let upstream = serving(FastTest::new()).await;
    let wharf = Wharf::start([fast(&upstream, Spoken::StreamableHttp)], |settings| {
        settings.idle_session = Duration::from_millis(300);
    })
    .await;
    let wire = Wire::connect(&wharf.url("/servers/fast/mcp"), "{}").await;
    until("its session ends", || upstream.sessions() == 0).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(wire.post(ping).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_listens_hears_a_restarted_upstream_again() {
    for spoken in BOTH {
        let (mut puppet, mut strings) =
            Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
        let url = if spoken == Spoken::Sse { puppet.sse_url() } else { puppet.url() };
        let mut settings = upstream("p", &url);
        settings.transport = spoken;
        let wharf = Wharf::in_front_of([settings]).await;
        let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
        let mut stream = wire.listen().await;
        for round in 0..2 {
            let session = strings.session().await;
            let params = wharf_proto::Json::parse(format!(r#"{{"round":{round}}}"#)).unwrap();
            let changed = Notification::new(method::TOOLS_LIST_CHANGED, Some(&params));
            soon(&format!("{spoken:?}: round {round} is heard"), async {
                loop {
                    session.say(changed.clone());
                    let pause = tokio::time::sleep(Duration::from_millis(50));
                    tokio::select! {
                        heard = stream.value() => if heard["params"]["round"] == round { return },
                        () = pause => {}
                    }
                }
            })
            .await;
            drop(session);
            if round == 0 {
                puppet.restart().await.unwrap();
                if spoken == Spoken::StreamableHttp {
                    // A lost stream is no lost session: a call finds it out.
                    let body =
                        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
                    let play = async { strings.call().await.answer("{}") };
                    let both = async { tokio::join!(wire.post(body), play) };
                    let (mut reply, ()) = soon("a call", both).await;
                    assert_eq!(reply.value().await["id"], 1);
                }
            }
        }
    }
}

#[tokio::test]
async fn those_who_listen_to_a_shared_upstream_leave_room_for_calls() {
    for spoken in BOTH {
        let upstream = serving(FastTest::new()).await;
        let mut settings = fast(&upstream, spoken);
        settings.scope = ScopeSetting::Shared;
        settings.limits.sessions_per_key = 2;
        let wharf = Wharf::start([settings], |settings| {
            settings.acquire_timeout = Duration::from_secs(2);
        })
        .await;
        // Over SSE every client listens.
        let mut clients = Vec::new();
        for number in 0..5 {
            let client = Over::Sse.server(&wharf, "fast").await;
            echo(&client, &format!("{spoken:?} {number}")).await;
            clients.push(client);
        }
        for client in &clients {
            echo(client, "again").await;
        }
    }
}
