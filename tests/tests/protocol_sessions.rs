//! Sessions with upstreams: whose they are and what is declared in them. A
//! test is named by its row of the protocol's matrix.

use http::StatusCode;
use serde_json::json;
use wharf_gateway::{OnLost, ScopeSetting, Transport as Spoken};
use wharf_proto::method;
use wharf_testkit::{FastTest, FastTime};
use wharf_tests::{Puppet, Wharf, Wire, request, serving, until, upstream};

const NOTHING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test]
async fn p04_a_client_whose_state_is_lost_is_told_where_the_operator_says_so() {
    let mut fast = serving(FastTest::new()).await;
    let mut settings = upstream("fast", &fast.url());
    settings.on_lost = OnLost::Tell;
    let wharf = Wharf::in_front_of([settings]).await;
    for (path, name) in [("/mcp", "fast__echo"), ("/servers/fast/mcp", "echo")] {
        let wire = Wire::connect(&wharf.url(path), "{}").await;
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": name, "arguments": {"message": "m"}}})
        .to_string();
        assert_eq!(wire.post(call.clone()).await.value().await["id"], 1);
        fast.restart().await.unwrap();
        assert_eq!(wire.post(call.clone()).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(wire.post(call).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn p09_a_session_with_a_subscription_stays_its_clients_own() {
    let offer = r#"{"tools":{},"resources":{"subscribe":true}}"#;
    let (puppet, mut strings) = Puppet::offering(offer, Default::default()).await;
    let wharf = Wharf::in_front_of([upstream("p", &puppet.url())]).await;
    let url = wharf.url("/servers/p/mcp");
    let a = Wire::connect(&url, "{}").await;
    let of_a = strings.session().await;
    let (subscribed, _) = tokio::join!(
        a.ask(method::RESOURCES_SUBSCRIBE, r#"{"uri":"x://1"}"#),
        strings.serve(method::RESOURCES_SUBSCRIBE, "{}"),
    );
    assert_eq!(subscribed["result"], json!({}));
    let b = Wire::connect(&url, "{}").await;
    let of_b = strings.session().await;
    assert!(!std::sync::Arc::ptr_eq(&of_a, &of_b));
    let (answered, _) = tokio::join!(
        b.ask(method::TOOLS_CALL, r#"{"name":"t"}"#),
        strings.serve(method::TOOLS_CALL, "{}"),
    );
    assert!(answered["result"].is_object());
    a.delete().await;
    until("its session ends, and the other's does not", || puppet.sessions() == 1).await;
}

#[tokio::test]
async fn p14_what_is_declared_never_exceeds_what_the_client_has() {
    let all = r#"{"sampling":{"tools":{}},"elicitation":{"url":{}},"roots":{"listChanged":true}}"#;
    for spoken in [Spoken::StreamableHttp, Spoken::Sse] {
        for path in ["/mcp", "/servers/p/mcp"] {
            for (scope, declared) in [
                (ScopeSetting::Client, all),
                (ScopeSetting::Client, "{}"),
                (ScopeSetting::Call, all),
                (ScopeSetting::Shared, "{}"),
                (ScopeSetting::Identity, "{}"),
            ] {
                let (_puppet, mut strings, mut settings) = Puppet::reached_by(spoken).await;
                settings.scope = scope;
                let wharf = Wharf::in_front_of([settings]).await;
                // Of those who share a session nobody's abilities are everybody's.
                let own =
                    if declared == "{}" && scope != ScopeSetting::Client { all } else { declared };
                let wire = Wire::connect(&wharf.url(path), own).await;
                let (answered, _) = tokio::join!(
                    wire.ask(method::TOOLS_CALL, r#"{"name":"p__t"}"#),
                    strings.serve(method::TOOLS_CALL, "{}"),
                );
                assert!(answered["result"].is_object(), "{path} {scope:?}");
                let session = strings.session_declaring(declared).await;
                let hello = session.hello();
                assert_eq!(hello.param("capabilities").unwrap().as_str(), declared, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn p15_a_session_from_before_a_restart_is_unknown() {
    let time = serving(FastTime::new()).await;
    for path in ["/mcp", "/servers/time/mcp"] {
        let before = Wharf::in_front_of([upstream("time", &time.url())]).await;
        let wire = Wire::connect(&before.url(path), "{}").await;
        let session = wire.session().to_owned();
        before.stop().await;
        let after = Wharf::in_front_of([upstream("time", &time.url())]).await;
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-session-id", session.as_str()),
        ];
        let reply = request("POST", &after.url(path), &headers, NOTHING).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
    }
}
