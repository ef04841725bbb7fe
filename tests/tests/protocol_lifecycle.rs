//! The handshake, in every pairing of revisions. A test is named by its row of
//! the protocol's matrix.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::json;
use wharf_gateway::Transport as Spoken;
use wharf_proto::{Revision, method};
use wharf_testkit::{
    FastTime, Faulty, FaultySettings, Hello, Script,
    faulty::{Arrival, Seen},
};
use wharf_tests::{Over, Puppet, Wharf, Wire, request, serving, upstream};

const OFFER: &str = r#"{"tools":{},"prompts":{},"resources":{},"logging":{}}"#;

#[tokio::test]
async fn l02_a_revision_that_nobody_knows_is_answered_with_the_latest() {
    let time = serving(FastTime::new()).await;
    let wharf = Wharf::in_front_of([upstream("time", &time.url())]).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"1.0.0","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}"#;
    let headers =
        [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    for path in ["/mcp", "/servers/time/mcp"] {
        let mut reply = request("POST", &wharf.url(path), &headers, body).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        let agreed = &reply.value().await["result"]["protocolVersion"];
        assert_eq!(*agreed, Revision::LATEST.as_str(), "{path}");
    }
}

#[tokio::test]
async fn l03_a_request_before_initialized_is_answered_and_nothing_else_is_said() {
    let (puppet, mut strings) = Puppet::offering(OFFER, Default::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"hasty","version":"1"}}}"#;
    let json =
        [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    for path in ["/mcp", "/servers/p/mcp"] {
        let url = wharf.url(path);
        let greeted = request("POST", &url, &json, hello).await;
        let session = greeted.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let mut headers = json.to_vec();
        headers.push(("mcp-session-id", &session));
        let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
        let (mut reply, _) = tokio::join!(
            request("POST", &url, &headers, list),
            strings.serve(method::TOOLS_LIST, r#"{"tools":[]}"#),
        );
        assert_eq!(reply.value().await["id"], 2, "{path}");
        assert_eq!(reply.next().await, None, "{path}");
    }
}

#[tokio::test]
async fn l04_the_offer_is_that_of_all_and_everything_in_it_works() {
    let time = serving(FastTime::new()).await;
    let (puppet, mut strings) =
        Puppet::offering(r#"{"resources":{"subscribe":true},"logging":{}}"#, Default::default())
            .await;
    let upstreams = [upstream("p", &puppet.url()), upstream("time", &time.url())];
    let wharf = Wharf::in_front_of(upstreams).await;
    let wire = Wire::connect_by(Revision::V2025_11_25, &wharf.url("/mcp"), "{}").await;
    let capabilities = &wire.greeting()["result"]["capabilities"];
    let expected = json!({
        "completions": {},
        "logging": {},
        "prompts": {"listChanged": true},
        "resources": {"listChanged": true, "subscribe": true},
        "tools": {"listChanged": true},
    });
    assert_eq!(*capabilities, expected);
    let play = async {
        strings.serve(method::SET_LEVEL, "{}").await;
        strings
            .serve(method::RESOURCES_LIST, r#"{"resources":[{"uri":"x://p","name":"p"}]}"#)
            .await;
        strings.serve(method::RESOURCES_SUBSCRIBE, "{}").await;
    };
    let ask = async {
        for (method, params) in [
            (method::SET_LEVEL, r#"{"level":"error"}"#),
            (method::TOOLS_LIST, "{}"),
            (method::PROMPTS_LIST, "{}"),
            (method::RESOURCES_LIST, "{}"),
            (method::RESOURCES_SUBSCRIBE, r#"{"uri":"x://p"}"#),
            (
                method::COMPLETE,
                r#"{"ref":{"type":"ref/prompt","name":"time__compare_timezones"},"argument":{"name":"timezones","value":"U"}}"#,
            ),
        ] {
            let answer = wire.ask(method, params).await;
            assert!(answer["result"].is_object(), "{method}: {answer}");
        }
    };
    tokio::join!(play, ask);
}

#[tokio::test]
async fn l04_what_nobody_offers_is_not_offered() {
    let (puppet, _strings) = Puppet::offering(r#"{"tools":{}}"#, Default::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    let wire = Wire::connect_by(Revision::V2025_11_25, &wharf.url("/mcp"), "{}").await;
    let offered = &wire.greeting()["result"]["capabilities"];
    assert_eq!(*offered, json!({"tools": {"listChanged": true}}));
    for (method, params) in [
        (method::SET_LEVEL, r#"{"level":"error"}"#),
        (method::TASKS_LIST, "{}"),
        (method::PROMPTS_LIST, "{}"),
        (method::PROMPTS_GET, r#"{"name":"p__x"}"#),
        (method::RESOURCES_LIST, "{}"),
        (method::RESOURCES_TEMPLATES_LIST, "{}"),
        (method::RESOURCES_READ, r#"{"uri":"x://x"}"#),
        (method::RESOURCES_SUBSCRIBE, r#"{"uri":"x://x"}"#),
    ] {
        assert_eq!(wire.ask(method, params).await["error"]["code"], -32601, "{method}");
    }
    let (puppet, _strings) = Puppet::offering(r#"{"prompts":{}}"#, Default::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    let wire = Wire::connect(&wharf.url("/mcp"), "{}").await;
    for method in [method::TOOLS_LIST, method::TOOLS_CALL] {
        assert_eq!(wire.ask(method, "{}").await["error"]["code"], -32601, "{method}");
    }
}

#[tokio::test]
async fn l05_a_ping_of_the_clients_is_answered_without_the_upstream() {
    let (puppet, mut strings) = Puppet::start(Default::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    for over in Over::BOTH {
        for client in [over.everything(&wharf).await, over.server(&wharf, "p").await] {
            let pong = client.call(method::PING, &json!({})).await.unwrap();
            assert_eq!(pong.result().unwrap().as_str(), "{}");
        }
    }
    assert!(!strings.has_call());
    assert_eq!(puppet.requests().rpc(method::PING), 0);
}

#[tokio::test]
async fn l11_an_upstream_that_has_http_and_sse_alone_is_found() {
    let settings = wharf_testkit::UpstreamSettings {
        transport: wharf_testkit::Transport::Sse,
        ..Default::default()
    };
    let time = wharf_testkit::Upstream::start(FastTime::new(), settings).await.unwrap();
    let mut settings = upstream("time", &time.url());
    settings.transport = Spoken::Auto;
    let wharf = Wharf::in_front_of([settings]).await;
    for over in Over::BOTH {
        let client = over.server(&wharf, "time").await;
        let zones = json!({"name": "convert_time", "arguments": {
            "time": "2025-07-01 09:00", "source_timezone": "UTC", "target_timezone": "Asia/Tokyo"}});
        assert!(client.call(method::TOOLS_CALL, &zones).await.unwrap().result().is_some());
    }
}

/// All that an upstream has seen of one client's session, from the finding out
/// of its transport to the goodbye, but for `initialize`.
async fn traffic() -> Vec<Arrival> {
    let faulty = Faulty::start(Script::new(), FaultySettings::default()).await.unwrap();
    let wharf = Wharf::in_front_of([upstream("f", &faulty.url())]).await;
    let wire = Wire::connect(&wharf.url("/servers/f/mcp"), "{}").await;
    let _stream = wire.listen().await;
    let has = |seen: &Seen, http| seen.requests().iter().any(|one| *one.http() == http);
    faulty.record().wait_for(|seen| has(seen, Method::GET)).await;
    wire.ask(method::TOOLS_LIST, "{}").await;
    wire.delete().await;
    let bye = |seen: &Seen| {
        let deletes = seen.requests().iter().filter(|one| *one.http() == Method::DELETE);
        deletes.count() == 2
    };
    let seen = faulty.record().wait_for(bye).await;
    let after = seen.requests().iter().filter(|one| one.rpc() != Some(method::INITIALIZE));
    let after: Vec<_> = after.cloned().collect();
    let kinds: BTreeSet<_> = after.iter().map(|one| one.http().as_str().to_owned()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["DELETE", "GET", "POST"]);
    after
}

#[tokio::test]
async fn l16_every_message_after_the_handshake_names_the_revision() {
    for arrival in traffic().await {
        assert!(arrival.header("mcp-protocol-version").is_some(), "{arrival:?}");
    }
}

#[tokio::test]
async fn l17_every_message_after_the_handshake_names_the_session() {
    for arrival in traffic().await {
        assert!(arrival.header("mcp-session-id").is_some(), "{arrival:?}");
        if *arrival.http() == Method::POST {
            let accept = arrival.header("accept").unwrap();
            assert!(accept.contains("application/json"), "{arrival:?}");
            assert!(accept.contains("text/event-stream"), "{arrival:?}");
        }
    }
}

#[tokio::test]
async fn l18_an_upstream_is_spoken_to_by_the_revision_that_it_has() {
    for upstreams in Revision::ALL {
        for clients in Revision::ALL {
            for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
                let row = format!("{clients} to {upstreams} over {spoken:?}");
                let (puppet, mut strings) =
                    Puppet::strict(upstreams, OFFER, Default::default()).await;
                let url = if spoken == Spoken::Sse { puppet.sse_url() } else { puppet.url() };
                let mut settings = upstream("p", &url);
                settings.transport = spoken;
                let wharf = Wharf::in_front_of([settings]).await;
                for path in ["/mcp", "/servers/p/mcp"] {
                    for over in Over::BOTH {
                        let prefix = path.strip_suffix("/mcp").unwrap();
                        let hello = Hello { revision: clients, ..Hello::default() };
                        let client = over.connect(&wharf, prefix, &hello).await;
                        for (method, params) in [
                            (method::SET_LEVEL, json!({"level": "error"})),
                            (method::TOOLS_CALL, json!({"name": "p__t"})),
                            (method::PROMPTS_GET, json!({"name": "p__p"})),
                            (
                                method::COMPLETE,
                                json!({
                                "ref": {"type": "ref/prompt", "name": "p__p"},
                                "argument": {"name": "a", "value": ""}}),
                            ),
                        ] {
                            let (answer, _) = tokio::join!(
                                client.call(method, &params),
                                strings.serve(method, r#"{"x":1}"#),
                            );
                            let answer = answer.unwrap();
                            assert!(answer.result().is_some(), "{row} {path} {method}");
                        }
                    }
                }
                assert_eq!(puppet.backend().unknown(), 0, "{row}");
            }
        }
    }
}

#[tokio::test]
async fn an_older_client_gets_no_content_of_a_type_that_it_does_not_know() {
    const RESULT: &str = r#"{"content":[{"type":"audio","data":"UklG","mimeType":"audio/wav"},{"type":"resource_link","uri":"x://y","name":"y","x":9007199254740993}], "structuredContent":{}}"#;
    let (puppet, mut strings) =
        Puppet::strict(Revision::V2025_11_25, r#"{"tools":{}}"#, Default::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    for (path, revision, expected) in [
        (
            "/mcp",
            Revision::V2024_11_05,
            r#"{"content":[{"type":"resource","resource":{"uri":"urn:wharf:audio","mimeType":"audio/wav","blob":"UklG"}},{"type":"text","text":"y: x://y"}], "structuredContent":{}}"#,
        ),
        (
            "/mcp",
            Revision::V2025_03_26,
            r#"{"content":[{"type":"audio","data":"UklG","mimeType":"audio/wav"},{"type":"text","text":"y: x://y"}], "structuredContent":{}}"#,
        ),
        ("/mcp", Revision::V2025_06_18, RESULT),
        // It has agreed with the upstream on what that speaks.
        ("/servers/p/mcp", Revision::V2024_11_05, RESULT),
    ] {
        let wire = Wire::connect_by(revision, &wharf.url(path), "{}").await;
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"p__t"}}"#;
        let served = strings.serve(method::TOOLS_CALL, RESULT);
        let (reply, _) = tokio::join!(wire.post(call), served);
        let body = String::from_utf8(reply.whole().await.to_vec()).unwrap();
        assert!(body.contains(expected), "{path} {revision} {body}");
    }
}
