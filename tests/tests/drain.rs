//! The gateway stops: what is under way finishes, and everybody is told.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::{net::TcpStream, time::Instant};
use wharf_gateway::Transport as Spoken;
use wharf_proto::{method, transport::Exchange as _};
use wharf_testkit::FastTest;
use wharf_tests::{Over, Puppet, Wharf, Wire, gateway_error, serving, soon, until, upstream};

/// Much shorter than the drain timeout, much longer than it takes.
const AT_ONCE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn an_idle_gateway_stops_at_once_whoever_is_connected() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        let fast = serving(FastTest::new()).await;
        let url = if spoken == Spoken::Sse { fast.sse_url() } else { fast.url() };
        let mut settings = upstream("fast", &url);
        settings.transport = spoken;
        let wharf = Wharf::in_front_of([settings]).await;
        let mut clients = Vec::new();
        for over in Over::BOTH {
            clients.push(over.everything(&wharf).await);
            clients.push(over.server(&wharf, "fast").await);
        }
        for client in &clients[..] {
            client.listen();
        }
        let wire = Wire::connect(&wharf.url("/servers/fast/mcp"), "{}").await;
        let mut stream = wire.listen().await;
        let idle = TcpStream::connect(wharf.address()).await.unwrap();
        let before = Instant::now();
        wharf.stop().await;
        assert!(before.elapsed() < AT_ONCE, "{spoken:?}: {:?}", before.elapsed());
        assert_eq!(stream.next().await, None);
        if spoken == Spoken::StreamableHttp {
            assert_eq!(fast.sessions(), 0, "its answers to the goodbyes were waited for");
        }
        // A stream that ends is a goodbye without an answer.
        until("the upstream sees them end", || fast.sessions() == 0).await;
        // A client over SSE has no session any more.
        for client in [&clients[2], &clients[3]] {
            soon("the client hears of it", client.ended()).await;
        }
        drop(idle);
    }
}

#[tokio::test]
async fn calls_under_way_finish_and_upstreams_hear_a_goodbye() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        for over in Over::BOTH {
            let row = format!("{over:?} to {spoken:?}");
            let (puppet, mut strings) =
                Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
            let url = if spoken == Spoken::Sse { puppet.sse_url() } else { puppet.url() };
            let mut settings = upstream("p", &url);
            settings.transport = spoken;
            let mut wharf = Wharf::in_front_of([settings]).await;
            let address = wharf.address();
            let client = over.server(&wharf, "p").await;
            let mut call = client.exchange(method::TOOLS_CALL, &json!({"name": "t"}));
            let cue = tokio::select! {
                cue = strings.call() => cue,
                answer = call.answer() => panic!("{answer:?}"),
            };
            wharf.begin_to_stop();
            let closed = async {
                while TcpStream::connect(address).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            soon("nobody is let in any more", closed).await;
            cue.answer(r#"{"finished":true}"#);
            let answer = soon(&row, call.answer()).await;
            let answer = answer.unwrap_or_else(|error| panic!("{row}: {error:?}"));
            assert_eq!(answer.result().unwrap().as_str(), r#"{"finished":true}"#);
            let before = Instant::now();
            wharf.stopped().await;
            assert!(before.elapsed() < AT_ONCE, "{row}: {:?}", before.elapsed());
            // A goodbye by the end of a stream is seen when the socket's end is.
            until(&format!("{row}: its session ends"), || puppet.sessions() == 0).await;
            let deletes = puppet.requests().http(&Method::DELETE);
            assert_eq!(deletes, u64::from(spoken == Spoken::StreamableHttp), "{row}");
        }
    }
}

#[tokio::test]
async fn a_call_that_does_not_finish_in_time_is_cut_short() {
    for over in Over::BOTH {
        let (puppet, mut strings) = Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
        let mut settings = upstream("p", &puppet.url());
        settings.transport = Spoken::StreamableHttp;
        let mut wharf = Wharf::start([settings], |settings| {
            settings.drain_timeout = Duration::from_millis(200);
        })
        .await;
        let client = over.server(&wharf, "p").await;
        let mut call = client.exchange(method::TOOLS_CALL, &json!({"name": "t"}));
        let cue = tokio::select! {
            cue = strings.call() => cue,
            answer = call.answer() => panic!("{answer:?}"),
        };
        let before = Instant::now();
        wharf.begin_to_stop();
        wharf.stopped().await;
        assert!(before.elapsed() < AT_ONCE, "{over:?}: {:?}", before.elapsed());
        let answer = soon("the client hears of it", call.answer()).await;
        if let Ok(answer) = answer {
            let _ = gateway_error(&answer, "p", true);
        }
        let heard = strings.heard(method::CANCELLED).await;
        assert_eq!(heard.cancelled_id().as_ref(), Some(cue.request.id()), "{over:?}");
        assert_eq!(puppet.sessions(), 0, "{over:?}");
        assert_eq!(puppet.requests().http(&Method::DELETE), 1, "{over:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_takes_no_goodbye_does_not_hold_it_up() {
    let mut fast = serving(FastTest::new()).await;
    let mut settings = upstream("fast", &fast.url());
    settings.limits.goodbye_timeout = Duration::from_millis(100);
    let wharf = Wharf::in_front_of([settings]).await;
    let client = Over::Http.server(&wharf, "fast").await;
    client.call_tool("echo", &json!({"message": "m"})).await.unwrap();
    fast.stop().await;
    // It listens and does not answer.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(fast.address()).unwrap();
    let _mute = socket.listen(8).unwrap();
    let before = Instant::now();
    wharf.stop().await;
    assert!(before.elapsed() < AT_ONCE, "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_client_that_stays_connected_is_told_to_go_after_its_answer() {
    let (puppet, mut strings) = Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
    let mut wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let params = r#"{"name":"t","_meta":{"progressToken":1}}"#;
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let play = async {
        let cue = strings.call().await;
        cue.progress("1");
        cue
    };
    // One stream that has begun, and one call that has not answered yet.
    let (mut streaming, first) = tokio::join!(wire.post(body.clone()), play);
    assert_eq!(streaming.value().await["params"]["progress"], 1);
    let second = async {
        let cue = strings.call().await;
        wharf.begin_to_stop();
        let admin = wharf.admin_url("/readyz");
        soon("it drains", async {
            loop {
                let reply = wharf_tests::request("GET", &admin, &[], "").await;
                if reply.status == StatusCode::SERVICE_UNAVAILABLE {
                    return;
                }
            }
        })
        .await;
        first.progress("2");
        first.answer("{}");
        cue.answer("{}");
    };
    let (mut waiting, ()) = tokio::join!(wire.post(body), second);
    assert_eq!(waiting.value().await["result"], json!({}));
    assert_eq!(streaming.value().await["params"]["progress"], 2);
    assert_eq!(streaming.value().await["result"], json!({}));
    assert_eq!(streaming.next().await, None);
    wharf.stopped().await;
    until("the upstream's sessions end", || puppet.sessions() == 0).await;
}

#[tokio::test]
async fn an_upstream_that_takes_no_answer_does_not_keep_the_gateway_from_stopping() {
    let (puppet, mut strings) = Puppet::start(Default::default()).await;
    strings.turn_deaf();
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let play = async {
        let cue = strings.call().await;
        cue.ask("q", method::PING, "{}");
        strings.answer().await;
        cue.answer("{}");
    };
    let (called, ()) = tokio::join!(wire.ask(method::TOOLS_CALL, r#"{"name":"t"}"#), play);
    assert_eq!(called["result"], json!({}));
    wharf.stop().await;
}
