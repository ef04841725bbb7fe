//! The admin listener: health, figures, and no secrets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use wharf_gateway::Transport as Spoken;
use wharf_proto::{method, transport::Exchange as _};
use wharf_testkit::FastTest;
use wharf_tests::{Over, Puppet, Wharf, Wire, request, serving, soon, until, upstream};

async fn get(url: &str) -> (StatusCode, String) {
    let reply = request("GET", url, &[], "").await;
    let status = reply.status;
    (status, String::from_utf8(reply.whole().await.to_vec()).unwrap())
}

#[tokio::test]
async fn it_says_that_it_is_well_and_ready() {
    let wharf = Wharf::in_front_of([]).await;
    for path in ["/healthz", "/readyz"] {
        let (status, body) = get(&wharf.admin_url(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(body["status"].is_string(), "{path}");
    }
    let (status, body) = get(&wharf.admin_url("/nope")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("/admin/pool"), "{body}");
    let post = request("POST", &wharf.admin_url("/healthz"), &[], "").await;
    assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
    let pool = wharf.admin_url("/admin/pool");
    let evil = request("GET", &pool, &[("host", "evil.example")], "").await;
    assert_eq!(evil.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn it_is_not_ready_while_it_drains() {
    let (puppet, mut strings) = Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
    let mut wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    let wire = Wire::connect(&wharf.url("/servers/p/mcp"), "{}").await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
    let admin = wharf.admin_url("");
    let play = async {
        let cue = strings.call().await;
        wharf.begin_to_stop();
        soon("it says that it drains", async {
            loop {
                let (status, body) = get(&format!("{admin}/readyz")).await;
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    assert!(body.contains("draining"), "{body}");
                    return;
                }
            }
        })
        .await;
        assert_eq!(get(&format!("{admin}/healthz")).await.0, StatusCode::OK);
        cue.answer("{}");
    };
    let (mut reply, ()) = tokio::join!(wire.post(body), play);
    assert_eq!(reply.value().await["id"], 1);
    wharf.stopped().await;
}

#[tokio::test]
async fn the_pool_shows_what_it_holds_and_has_done() {
    let fast = serving(FastTest::new()).await;
    let mut one = upstream("fast", &fast.url());
    one.transport = Spoken::StreamableHttp;
    let wharf = Wharf::in_front_of([one, upstream("unused", "http://127.0.0.1:9/mcp")]).await;
    let clients = [Over::Http.server(&wharf, "fast").await, Over::Sse.server(&wharf, "fast").await];
    let everything = Over::Http.everything(&wharf).await;
    everything.call_tool("fast__echo", &json!({"message": "m"})).await.unwrap();
    let (status, body) = get(&wharf.admin_url("/admin/pool")).await;
    assert_eq!(status, StatusCode::OK);
    let pool: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(pool["clients"], 1, "{pool}");
    assert_eq!(pool["draining"], false, "{pool}");
    let upstreams = pool["upstreams"].as_array().unwrap();
    assert_eq!(upstreams.len(), 2, "{pool}");
    let used = &upstreams[0];
    assert_eq!(used["id"], "fast");
    assert_eq!(used["transport"], "streamable-http");
    assert_eq!(used["clients"], 2);
    // One a client, and Wharf's own.
    assert_eq!(used["sessions"], 4, "{pool}");
    assert_eq!(used["opens"], 4, "{pool}");
    assert_eq!(upstreams[1]["id"], "unused");
    for client in clients {
        client.close().await;
    }
    until("their sessions end", || fast.sessions() == 2).await;
    soon("it shows", async {
        loop {
            let figures = wharf.figures("fast").await;
            if figures["sessions"] == 2 && figures["clients"] == 0 {
                return;
            }
        }
    })
    .await;
}

/// Reads the exposition format as strictly as Prometheus does.
fn samples(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with('\n'), "the last line ends, too");
    let (mut types, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert!(types.insert(name.to_owned()), "{name} has one type");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = sample.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end).filter(|family| types.contains(*family)));
        assert!(types.contains(family.unwrap_or(name)), "{line} has a type");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
        if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let inner = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}'));
            for label in inner.unwrap_or_else(|| panic!("{line}")).split(',') {
                let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
                assert!(!name.is_empty() && value.len() >= 2, "{line}");
                assert!(value.starts_with('"') && value.ends_with('"'), "{line}");
            }
        }
        assert!(seen.insert(sample.to_owned()), "{sample} stands once");
        samples.push((sample.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}"))));
    }
    samples
}

#[tokio::test]
async fn the_metrics_can_be_read_and_move() {
    let fast = serving(FastTest::new()).await;
    let wharf = Wharf::in_front_of([upstream("fast", &fast.url())]).await;
    let url = wharf.admin_url("/metrics");
    samples(&get(&url).await.1);
    let client = Over::Http.server(&wharf, "fast").await;
    for _ in 0..3 {
        client.call_tool("echo", &json!({"message": "m"})).await.unwrap();
    }
    let reply = request("GET", &url, &[], "").await;
    assert!(reply.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = String::from_utf8(reply.whole().await.to_vec()).unwrap();
    let samples = samples(&text);
    let value = |name: &str| {
        let found = samples.iter().find(|(sample, _)| sample == name);
        found.unwrap_or_else(|| panic!("no {name} in {text}")).1
    };
    assert_eq!(value(r#"wharf_clients{endpoint="/servers/fast/mcp"}"#), 1.0);
    assert_eq!(value(r#"wharf_pool_sessions{upstream="fast",state="idle"}"#), 1.0);
    assert_eq!(value(r#"wharf_pool_hits_total{upstream="fast"}"#), 3.0);
    assert_eq!(value(r#"wharf_pool_leases{upstream="fast"}"#), 0.0);
}

#[tokio::test]
async fn no_secret_is_in_figures_answers_or_errors() {
    let mut fast = serving(FastTest::new()).await;
    let url = format!("{}?key=query-secret", fast.url());
    let mut one = upstream("fast", &url);
    let header = HeaderValue::from_static("Bearer header-secret");
    one.target.headers.insert("authorization", header);
    let port = fast.address().port().to_string();
    let wharf = Wharf::in_front_of([one]).await;
    let wire = Wire::connect(&wharf.url("/servers/fast/mcp"), "{}").await;
    let client = Over::Http.everything(&wharf).await;
    client.call_tool("fast__echo", &json!({"message": "m"})).await.unwrap();
    let endless = json!({"name": "fast__echo", "arguments": {"message": "m", "delay": 3_600_000}});
    let mut call = client.exchange(method::TOOLS_CALL, &endless);
    let figures = fast.backend().figures().clone();
    tokio::select! {
        answer = call.answer() => panic!("{answer:?}"),
        () = until("it runs", || figures.running() == 1) => {}
    }
    let mut said = Vec::new();
    for path in ["/admin/pool", "/metrics", "/healthz", "/readyz"] {
        said.push(get(&wharf.admin_url(path)).await.1);
    }
    fast.stop().await;
    let broken = soon("the call fails", call.answer()).await.unwrap();
    said.push(String::from_utf8(broken.text().to_vec()).unwrap());
    let down = client.call(method::TOOLS_CALL, &endless).await.unwrap();
    said.push(String::from_utf8(down.text().to_vec()).unwrap());
    for path in ["/admin/pool", "/metrics"] {
        said.push(get(&wharf.admin_url(path)).await.1);
    }
    for said in said {
        for secret in ["query-secret", "header-secret", wire.session(), &port, "127.0.0.1"] {
            assert!(!said.contains(secret), "{secret} is in {said}");
        }
    }
}
