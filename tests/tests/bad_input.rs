//! What clients should not send, and upstreams that are none: a clear error
//! each, and nothing lost for others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use wharf_gateway::Transport as Spoken;
use wharf_proto::{code, method};
use wharf_testkit::{FastTest, Upstream};
use wharf_tests::{
    Oddity, Over, Puppet, Wharf, Wire, error_of, gateway_error, request, serving, soon, upstream,
};

const JSON: (&str, &str) = ("content-type", "application/json");
const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

async fn wharf() -> (Upstream<FastTest>, Wharf) {
    let fast = serving(FastTest::new()).await;
    let wharf = Wharf::in_front_of([upstream("fast", &fast.url())]).await;
    (fast, wharf)
}

/// That everybody else is served as before.
async fn is_well(wharf: &Wharf) {
    for over in Over::BOTH {
        let client = over.everything(wharf).await;
        let answer = client.call_tool("fast__echo", &json!({"message": "well"})).await.unwrap();
        assert_eq!(answer.text(), "well");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_with_the_place() {
    let (_fast, wharf) = wharf().await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    for (body, place) in [
        ("", "column 0"),
        ("hello", "column 1"),
        ("{\"jsonrpc\":\"2.0\",\n \"id\":1,,}", "line 2 column 9"),
        ("{\"jsonrpc\":\"2.0\"", "column 16"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#, "column 42"),
    ] {
        let mut reply = wire.post(body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
        let answer = reply.value().await;
        assert_eq!(answer["error"]["code"], code::PARSE_ERROR, "{body}: {answer}");
        assert!(answer["id"].is_null(), "{body}: {answer}");
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains(place), "{body}: {text}");
    }
    let mut reply = wire.post(&b"\xff\xfe"[..]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.value().await["error"]["code"], code::PARSE_ERROR);
    is_well(&wharf).await;
}

#[tokio::test]
async fn json_that_is_not_json_rpc_is_refused_with_what_is_wrong() {
    let (_fast, wharf) = wharf().await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    for (body, what) in [
        ("1", ""),
        ("\"text\"", ""),
        ("null", ""),
        ("{}", "jsonrpc"),
        (r#"{"id":1,"method":"ping"}"#, "jsonrpc"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "jsonrpc"),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, ""),
        (r#"{"jsonrpc":"2.0","id":1}"#, "method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, ""),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":7}"#, "params"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, "exclude"),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, ""),
    ] {
        let mut reply = wire.post(body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
        let answer = reply.value().await;
        assert_eq!(answer["error"]["code"], code::INVALID_REQUEST, "{body}: {answer}");
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains(what), "{body}: {text}");
    }
    is_well(&wharf).await;
}

#[tokio::test]
async fn deep_json_does_no_harm() {
    let (_fast, wharf) = wharf().await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let whole = wire.post(deep.clone()).await;
    assert_eq!(whole.status, StatusCode::BAD_REQUEST);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"fast__echo","arguments":{deep}}}}}"#
    );
    let mut reply = wire.post(body).await;
    let answer = reply.value().await;
    assert!(answer["error"].is_object() || answer["result"]["isError"] == true, "{answer}");
    is_well(&wharf).await;
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_unread() {
    let (_fast, wharf) = wharf().await;
    for (path, refusal) in [("/mcp", "413"), ("/servers/fast/mcp", "413")] {
        let mut stream = TcpStream::connect(wharf.address()).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: 104857600\r\n\r\n{{",
            wharf.address()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = soon("the refusal", first_line(&mut stream)).await;
        assert!(answer.contains(refusal), "{answer}");
    }
    is_well(&wharf).await;
}

#[tokio::test]
async fn a_hundred_megabytes_that_do_not_say_so_are_refused_at_the_limit() {
    let (_fast, wharf) = wharf().await;
    let mut stream = TcpStream::connect(wharf.address()).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        wharf.address()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(0x10_0000));
    let pour = async {
        let mut poured = 0;
        // Until the other end has had enough.
        while poured < 100 && write.write_all(chunk.as_bytes()).await.is_ok() {
            poured += 1;
        }
        poured
    };
    let mut answer = vec![0; 12];
    let refused = async {
        tokio::select! {
            read = read.read_exact(&mut answer) => read.map(|_| 0),
            poured = pour => Ok(poured),
        }
    };
    let poured = soon("the refusal", refused).await.unwrap();
    assert!(poured < 100, "all of it was read");
    if poured == 0 {
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
    }
    is_well(&wharf).await;
}

async fn first_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn a_message_as_large_as_allowed_passes_and_a_larger_one_does_not() {
    let fast = serving(FastTest::new()).await;
    let wharf = Wharf::start([upstream("fast", &fast.url())], |settings| {
        settings.max_message = 200_000;
    })
    .await;
    for over in Over::BOTH {
        let client = over.server(&wharf, "fast").await;
        let fits = "x".repeat(199_000);
        let answer = client.call_tool("echo", &json!({"message": fits})).await.unwrap();
        assert_eq!(answer.text(), fits);
        let surplus = "x".repeat(200_001);
        let refused = client.call_tool("echo", &json!({"message": surplus})).await;
        assert!(refused.is_err(), "{over:?}");
        let answer = client.call_tool("echo", &json!({"message": "still here"})).await.unwrap();
        assert_eq!(answer.text(), "still here");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error_and_the_next_call_is_served() {
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        for over in Over::BOTH {
            let row = format!("{over:?} to {spoken:?}");
            let (puppet, mut strings) =
                Puppet::start(wharf_testkit::UpstreamSettings::default()).await;
            let url = if spoken == Spoken::Sse { puppet.sse_url() } else { puppet.url() };
            let mut settings = upstream("p", &url);
            settings.transport = spoken;
            let wharf = Wharf::start([settings], |settings| settings.max_message = 100_000).await;
            let client = over.server(&wharf, "p").await;
            let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(100_001));
            let params = json!({"name": "t"});
            for (result, is_served) in [(&*large, false), ("{}", true)] {
                let play = async { strings.call().await.answer(result) };
                let both = async { tokio::join!(client.call(method::TOOLS_CALL, &params), play) };
                let (answer, ()) = soon(&row, both).await;
                let answer = answer.unwrap();
                assert_eq!(answer.result().is_some(), is_served, "{row}");
                if !is_served {
                    let error = gateway_error(&answer, "p", true);
                    assert!(
                        error["message"].as_str().unwrap().contains("100000"),
                        "{row}: {error}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_session_is_needed_and_must_be_known() {
    let (_fast, wharf) = wharf().await;
    for path in ["/mcp", "/servers/fast/mcp"] {
        let url = wharf.url(path);
        let unknown = ("mcp-session-id", "0123456789abcdef");
        for (method, body, headers, status) in [
            ("POST", PING, vec![JSON, BOTH], StatusCode::BAD_REQUEST),
            ("POST", PING, vec![JSON, BOTH, unknown], StatusCode::NOT_FOUND),
            ("GET", "", vec![("accept", "text/event-stream")], StatusCode::BAD_REQUEST),
            ("GET", "", vec![("accept", "text/event-stream"), unknown], StatusCode::NOT_FOUND),
            ("DELETE", "", vec![], StatusCode::BAD_REQUEST),
            ("DELETE", "", vec![unknown], StatusCode::NOT_FOUND),
        ] {
            let mut reply = request(method, &url, &headers, body).await;
            assert_eq!(reply.status, status, "{method} {path} {headers:?}");
            let answer = reply.value().await;
            let text = answer["error"]["message"].as_str().unwrap();
            assert!(text.contains("initialize") && !text.contains(unknown.1), "{text}");
        }
    }
    // A session of one endpoint is none of another's.
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let headers = [JSON, BOTH, ("mcp-session-id", wire.session())];
    let reply = request("POST", &wharf.url("/servers/fast/mcp"), &headers, PING).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let messages = wharf.url("/messages?session_id=0123456789abcdef");
    assert_eq!(request("POST", &messages, &[JSON], PING).await.status, StatusCode::NOT_FOUND);
    let messages = wharf.url("/messages");
    assert_eq!(request("POST", &messages, &[JSON], PING).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_deleted_session_is_unknown_and_its_listening_stream_ends() {
    let (_fast, wharf) = wharf().await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let mut stream = wire.listen().await;
    assert_eq!(wire.delete().await, StatusCode::NO_CONTENT);
    assert_eq!(stream.next().await, None);
    assert_eq!(wire.post(PING).await.status, StatusCode::NOT_FOUND);
    assert_eq!(wire.delete().await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn headers_that_do_not_fit_are_refused() {
    let (_fast, wharf) = wharf().await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let session = ("mcp-session-id", wire.session());
    for (headers, status) in [
        (vec![BOTH, ("content-type", "text/plain")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (vec![BOTH], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (vec![JSON, ("accept", "text/html")], StatusCode::NOT_ACCEPTABLE),
        (vec![JSON, BOTH, ("mcp-protocol-version", "1999-01-01")], StatusCode::BAD_REQUEST),
        (vec![JSON, BOTH, ("host", "evil.example")], StatusCode::FORBIDDEN),
        (vec![JSON, BOTH, ("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (vec![JSON, BOTH, ("origin", "null")], StatusCode::FORBIDDEN),
        (vec![JSON, BOTH, ("origin", "http://localhost:3000")], StatusCode::OK),
        (vec![JSON, BOTH, ("host", "localhost")], StatusCode::OK),
        (vec![JSON], StatusCode::OK),
    ] {
        let mut headers = headers;
        headers.push(session);
        let reply = request("POST", &wharf.url("/mcp"), &headers, PING).await;
        assert_eq!(reply.status, status, "{headers:?}");
    }
    for path in ["/sse", "/servers/fast/sse", "/messages?session_id=1"] {
        let method = if path.contains("messages") { "POST" } else { "GET" };
        let evil = [("host", "evil.example"), ("accept", "text/event-stream"), JSON];
        let reply = request(method, &wharf.url(path), &evil, PING).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn hosts_and_origins_that_the_operator_allows_are_served() {
    let fast = serving(FastTest::new()).await;
    let wharf = Wharf::start([upstream("fast", &fast.url())], |settings| {
        settings.allowed_hosts = vec!["wharf.example".to_owned()];
        settings.allowed_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let headers = [
        JSON,
        BOTH,
        ("mcp-session-id", wire.session()),
        ("host", "wharf.example"),
        ("origin", "https://app.example"),
    ];
    let reply = request("POST", &wharf.url("/mcp"), &headers, PING).await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_nowhere_is_not_found_in_json() {
    let (_fast, wharf) = wharf().await;
    for path in [
        "/",
        "/mcp/",
        "/nope",
        "/servers",
        "/servers/",
        "/servers/fast",
        "/servers/fast/",
        "/servers/fast/nope",
        "/servers/nope/mcp",
        "/servers/nope/sse",
        "/servers//mcp",
        "/servers/fast/mcp/x",
        "/admin/pool",
        "/metrics",
        "/healthz",
    ] {
        for method in ["GET", "POST"] {
            let reply = request(method, &wharf.url(path), &[JSON, BOTH], PING).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(reply.headers["content-type"], "application/json", "{path}");
            let body: Value = serde_json::from_slice(&reply.whole().await).unwrap();
            assert!(body["error"].is_string(), "{path}: {body}");
        }
    }
    let put = request("PUT", &wharf.url("/mcp"), &[JSON, BOTH], PING).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(put.headers.contains_key("allow"));
}

#[tokio::test]
async fn what_is_not_http_harms_nobody() {
    let (_fast, wharf) = wharf().await;
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"hello\r\n\r\n", b"GET /mcp HTTP/9.9\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(wharf.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        // An answer, or the end: either will do.
        let _ = soon("it is done with", stream.read_to_end(&mut rest)).await;
    }
    let mut stream = TcpStream::connect(wharf.address()).await.unwrap();
    let head = format!("GET /mcp HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1_000_000));
    let _ = stream.write_all(head.as_bytes()).await;
    is_well(&wharf).await;
}

#[tokio::test]
async fn requests_before_initialize_and_twice_are_answered() {
    let (_fast, wharf) = wharf().await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    // Another `initialize` opens another session, and this one stays.
    let again = r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let reply = wire.post(again).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_ne!(reply.headers["mcp-session-id"].to_str().unwrap(), wire.session());
    assert_eq!(wire.post(PING).await.status, StatusCode::OK);
    // Queer parameters of `initialize` break nothing.
    for params in ["{}", "[]", r#"{"protocolVersion":7,"capabilities":[],"clientInfo":null}"#] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{params}}}"#);
        for path in ["/mcp", "/servers/fast/mcp"] {
            let mut reply = request("POST", &wharf.url(path), &[JSON, BOTH], body.clone()).await;
            let answer = reply.value().await;
            assert!(answer["result"].is_object() || answer["error"].is_object(), "{answer}");
        }
    }
    is_well(&wharf).await;
}

#[tokio::test]
async fn batches_are_for_the_one_revision_that_has_them() {
    let (_fast, wharf) = wharf().await;
    // `Wire` speaks 2025-06-18.
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    let batch = format!("[{PING}]");
    assert_eq!(wire.post(batch.clone()).await.status, StatusCode::BAD_REQUEST);
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let reply = request("POST", &wharf.url("/mcp"), &[JSON, BOTH], hello).await;
    let session = reply.headers["mcp-session-id"].to_str().unwrap().to_owned();
    let headers = [JSON, BOTH, ("mcp-session-id", session.as_str())];
    let two = r#"[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"fast__echo","arguments":{"message":"m"}}}]"#;
    let mut reply = request("POST", &wharf.url("/mcp"), &headers, two).await;
    assert_eq!(reply.status, StatusCode::OK);
    let mut ids = Vec::new();
    while ids.len() < 2 {
        let said = reply.value().await;
        let answers = said.as_array().cloned().unwrap_or_else(|| vec![said]);
        for answer in answers {
            assert!(answer["result"].is_object(), "{answer}");
            ids.push(answer["id"].as_str().unwrap().to_owned());
        }
    }
    ids.sort();
    assert_eq!(ids, ["a", "b"]);
    let empty = request("POST", &wharf.url("/mcp"), &headers, "[]").await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
}

/// What an upstream that is none may be, with a word for it.
async fn oddities() -> Vec<(&'static str, Oddity)> {
    let html = "<!doctype html><title>It works!</title>";
    let rpc = r#"{"jsonrpc":"2.0","id":999,"result":{}}"#;
    vec![
        ("html", Oddity::saying("200 OK", "text/html", html).await),
        ("notfound", Oddity::saying("404 Not Found", "text/plain", "not found").await),
        ("teapot", Oddity::saying("500 Internal Server Error", "text/plain", "no").await),
        ("moved", Oddity::saying("301 Moved Permanently", "text/plain", "elsewhere").await),
        ("closes", Oddity::answering(None).await),
        ("garbage", Oddity::saying("200 OK", "application/json", "{{{{").await),
        ("number", Oddity::saying("200 OK", "application/json", "42").await),
        ("stranger", Oddity::saying("200 OK", "application/json", rpc).await),
        ("nothing", Oddity::saying("200 OK", "application/json", "").await),
        ("stream", Oddity::saying("200 OK", "text/event-stream", ": hello\n\n").await),
        ("events", Oddity::saying("200 OK", "text/event-stream", "data: {{{\n\n").await),
        ("accepted", Oddity::saying("202 Accepted", "text/plain", "").await),
        ("nohttp", Oddity::answering(Some("220 smtp ready\r\n".to_owned())).await),
    ]
}

#[tokio::test]
async fn an_upstream_that_is_not_mcp_is_named_in_a_clear_error_and_harms_nobody() {
    for spoken in [Spoken::Auto, Spoken::StreamableHttp, Spoken::Sse] {
        let fast = serving(FastTest::new()).await;
        let oddities = oddities().await;
        let mut upstreams = vec![upstream("fast", &fast.url())];
        for (id, oddity) in &oddities {
            let mut settings = upstream(id, &oddity.url());
            settings.transport = spoken;
            upstreams.push(settings);
        }
        let wharf = Wharf::start(upstreams, |settings| {
            settings.list_timeout = Duration::from_secs(2);
        })
        .await;
        let client = Over::Http.everything(&wharf).await;
        for (id, _) in &oddities {
            let row = format!("{id} taken for {spoken:?}");
            let call = json!({"name": format!("{id}__tool"), "arguments": {}});
            let asked = client.call(method::TOOLS_CALL, &call);
            let message = json!({"message": "m"});
            let others = client.call_tool("fast__echo", &message);
            let both = async { tokio::join!(asked, others) };
            let (answer, other) = soon(&row, both).await;
            assert_eq!(other.unwrap().text(), "m", "{row}");
            let error = error_of(&answer.unwrap());
            assert_eq!(error["data"]["upstream"], **id, "{row}: {error}");
            assert_eq!(error["data"]["gateway"], "wharf", "{row}: {error}");
            assert_eq!(error["data"]["mayHaveRun"], false, "{row}: {error}");
            let text = error["message"].as_str().unwrap();
            assert!(text.contains(id), "{row}: {text}");
            assert!(!text.contains("127.0.0.1") && !text.contains("title"), "{row}: {text}");
        }
        is_well(&wharf).await;
    }
}

#[tokio::test]
async fn an_upstream_that_says_nothing_at_all_is_given_up() {
    // It accepts, reads and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    for spoken in [Spoken::Auto, Spoken::StreamableHttp, Spoken::Sse] {
        let mut settings = upstream("mute", &url);
        settings.transport = spoken;
        settings.limits.open_timeout = Duration::from_millis(100);
        let wharf = Wharf::in_front_of([settings]).await;
        let client = Over::Http.everything(&wharf).await;
        let params = json!({"name": "mute__t"});
        let call = client.call(method::TOOLS_CALL, &params);
        let answer = soon("it is given up", call).await;
        let error = gateway_error(&answer.unwrap(), "mute", false);
        assert!(error["message"].as_str().unwrap().contains("longer than 100ms"), "{error}");
    }
}
