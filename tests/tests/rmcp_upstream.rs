//! The official SDK's server, behind Wharf; its client, too, in front of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(deprecated, reason = "the revisions that are served here have logging and roots")]

use std::{sync::atomic::Ordering, time::Duration};

use rmcp::{
    Peer, RoleClient, ServiceError,
    model::{
        CallToolRequest, ClientRequest, GetPromptRequestParams, LoggingLevel,
        ReadResourceRequestParams, SetLevelRequestParams, SubscribeRequestParams,
        UnsubscribeRequestParams,
    },
    service::PeerRequestOptions,
};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use wharf_proto::{code, method};
use wharf_testkit::TestClient;
use wharf_tests::{
    Over, Wharf, error_of,
    official::{Host, Serving, calling, connect, text},
    outcome, soon, until, upstream,
};

const PATHS: [(&str, &str); 2] = [("/mcp", "sdk__"), ("/servers/sdk/mcp", "")];

/// Calls a tool that makes the upstream say something until it is heard: the
/// SDK's client listens by itself; when, nobody knows.
async fn heard<T>(client: &Peer<RoleClient>, tool: &str, ear: &mut UnboundedReceiver<T>) -> T {
    soon("it is heard", async {
        loop {
            client.call_tool(calling(tool.to_owned(), json!({}))).await.unwrap();
            tokio::select! {
                heard = ear.recv() => break heard.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    })
    .await
}

async fn wharf(keeps_sessions: bool) -> (Serving, Wharf) {
    let host = Host::start(keeps_sessions).await;
    let wharf = Wharf::in_front_of([upstream("sdk", host.url())]).await;
    (host, wharf)
}

#[tokio::test]
async fn everything_that_it_offers_can_be_used() {
    for keeps_sessions in [true, false] {
        let (host, wharf) = wharf(keeps_sessions).await;
        let direct = TestClient::connect_http(host.url()).await.unwrap();
        for over in Over::BOTH {
            let row = format!("{over:?}, sessions: {keeps_sessions}");
            let client = over.server(&wharf, "sdk").await;
            assert_eq!(client.greeting().as_str(), direct.greeting().as_str(), "{row}");
            for (method, params) in [
                (method::PING, json!({})),
                (method::TOOLS_LIST, json!({})),
                (method::TOOLS_LIST, json!({"cursor": "second"})),
                (method::TOOLS_CALL, json!({"name": "add", "arguments": {"a": 2, "b": 3}})),
                (method::TOOLS_CALL, json!({"name": "nope"})),
                (method::PROMPTS_LIST, json!({})),
                (method::PROMPTS_GET, json!({"name": "greet"})),
                (method::RESOURCES_LIST, json!({})),
                (method::RESOURCES_TEMPLATES_LIST, json!({})),
                (method::RESOURCES_READ, json!({"uri": "memo://x"})),
                (method::RESOURCES_READ, json!({"uri": "memo://missing"})),
                (
                    method::COMPLETE,
                    json!({"ref": {"type": "ref/prompt", "name": "greet"},
                           "argument": {"name": "a", "value": "b"}}),
                ),
            ] {
                let expected = soon(method, direct.call(method, &params)).await.unwrap();
                let got = soon(method, client.call(method, &params)).await.unwrap();
                assert_eq!(outcome(&got), outcome(&expected), "{row} {method} {params}");
            }
            let client = over.everything(&wharf).await;
            let sum = client.call_tool("sdk__add", &json!({"a": 2, "b": 3})).await.unwrap();
            assert_eq!(sum.text(), "5");
            let read = json!({"uri": "memo://anything"});
            let read = client.call(method::RESOURCES_READ, &read).await.unwrap();
            assert!(outcome(&read).contains("This is memo://anything"));
            let missing = json!({"uri": "memo://missing"});
            let missing = client.call(method::RESOURCES_READ, &missing).await.unwrap();
            assert_eq!(error_of(&missing)["code"], code::RESOURCE_NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn client_and_server_of_the_sdk_understand_each_other_through_wharf() {
    for keeps_sessions in [true, false] {
        let (_host, wharf) = wharf(keeps_sessions).await;
        for (path, prefix) in PATHS {
            let (client, mut ears) = connect(&wharf.url(path), "guest", true).await;
            let tools = soon("tools", client.list_all_tools()).await.unwrap();
            assert_eq!(tools.len(), 10);
            let completed = client.complete_prompt_simple(format!("{prefix}greet"), "name", "An");
            assert_eq!(soon("a completion", completed).await.unwrap(), ["An..."]);
            let sum = calling(format!("{prefix}add"), json!({"a": 2, "b": 3}));
            assert_eq!(text(&soon("add", client.call_tool(sum)).await.unwrap()), "5");
            let prompt = GetPromptRequestParams::new(format!("{prefix}greet"));
            let prompt = soon("a prompt", client.get_prompt(prompt)).await.unwrap();
            assert_eq!(prompt.messages.len(), 1);
            let read = client.read_resource(ReadResourceRequestParams::new("memo://one"));
            assert_eq!(soon("a memo", read).await.unwrap().contents.len(), 1);
            let count = calling(format!("{prefix}count"), json!({"to": 3}));
            assert_eq!(
                text(&soon("a count", client.call_tool(count)).await.unwrap()),
                "counted to 3"
            );
            for number in [1.0, 2.0, 3.0] {
                let progress = soon("progress", ears.progress.recv()).await.unwrap();
                assert_eq!(progress.progress, number, "{path} {keeps_sessions}");
            }
        }
    }
}

#[tokio::test]
async fn x12_what_it_asks_in_a_call_is_answered_by_the_client_that_called() {
    let (_host, wharf) = wharf(true).await;
    for (path, prefix) in PATHS {
        let url = wharf.url(path);
        let (ann, _ears_of_ann) = connect(&url, "ann", true).await;
        let (ben, _ears_of_ben) = connect(&url, "ben", true).await;
        let (mute, _ears_of_mute) = connect(&url, "mute", false).await;
        let ask = |client, tool: &str| {
            let client: &Peer<_> = client;
            let call = calling(format!("{prefix}{tool}"), json!({}));
            let client = client.clone();
            async move { soon("an answer", client.call_tool(call)).await }
        };
        let (of_ann, of_ben) = tokio::join!(ask(&ann, "ask_model"), ask(&ben, "ask_model"));
        assert_eq!(text(&of_ann.unwrap()), "ann has read 1 messages", "{path}");
        assert_eq!(text(&of_ben.unwrap()), "ben has read 1 messages", "{path}");
        let (of_ann, of_ben) = tokio::join!(ask(&ann, "ask_user"), ask(&ben, "ask_user"));
        assert_eq!(text(&of_ann.unwrap()), "ann", "{path}");
        assert_eq!(text(&of_ben.unwrap()), "ben", "{path}");
        let (of_ann, of_ben) = tokio::join!(ask(&ann, "ask_roots"), ask(&ben, "ask_roots"));
        assert_eq!(text(&of_ann.unwrap()), "file:///home/ann", "{path}");
        assert_eq!(text(&of_ben.unwrap()), "file:///home/ben", "{path}");
        assert_eq!(text(&ask(&ann, "send_user").await.unwrap()), "Accept", "{path}");
        for tool in ["ask_model", "ask_user", "ask_roots", "send_user"] {
            let refused = ask(&mute, tool).await;
            assert!(matches!(refused, Err(ServiceError::McpError(_))), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_in_it() {
    let (host, wharf) = wharf(true).await;
    for (path, tool) in [("/mcp", "sdk__wait"), ("/servers/sdk/mcp", "wait")] {
        let (client, _ears) = connect(&wharf.url(path), "guest", false).await;
        let before = host.happenings().waits.load(Ordering::Relaxed);
        let call = ClientRequest::CallToolRequest(CallToolRequest::new(calling(tool, json!({}))));
        let call = client.send_cancellable_request(call, PeerRequestOptions::no_options());
        let call = soon("it is sent", call).await.unwrap();
        let waits = || host.happenings().waits.load(Ordering::Relaxed);
        until("it runs", || waits() == before + 1).await;
        call.cancel(Some("enough".to_owned())).await.unwrap();
        let cancelled = || host.happenings().cancelled.load(Ordering::Relaxed);
        until("it is cancelled", || cancelled() == before + 1).await;
    }
}

#[tokio::test]
async fn what_it_says_unasked_is_heard() {
    let (_host, wharf) = wharf(true).await;
    for (path, prefix) in PATHS {
        let (client, mut ears) = connect(&wharf.url(path), "guest", false).await;
        let change = heard(&client, &format!("{prefix}touch"), &mut ears.changes).await;
        assert_eq!(change, "tools", "{path}");
    }
}

#[tokio::test]
async fn a_level_is_set_in_it_and_its_lines_are_heard() {
    for (path, prefix) in PATHS {
        let (host, wharf) = wharf(true).await;
        let (client, mut ears) = connect(&wharf.url(path), "guest", false).await;
        let level = client.set_level(SetLevelRequestParams::new(LoggingLevel::Error));
        soon("the level is set", level).await.unwrap();
        assert_eq!(host.happenings().told(), ["level Error"], "{path}");
        let line = heard(&client, &format!("{prefix}log"), &mut ears.lines).await;
        assert_eq!((line.level, line.data), (LoggingLevel::Error, json!("oh")), "{path}");
    }
}

#[tokio::test]
async fn a_subscription_is_made_told_of_and_taken_back() {
    for (path, prefix) in PATHS {
        let (host, wharf) = wharf(true).await;
        let (client, mut ears) = connect(&wharf.url(path), "guest", false).await;
        let asked = client.subscribe(SubscribeRequestParams::new("memo://one"));
        soon("it is subscribed", asked).await.unwrap();
        let change = heard(&client, &format!("{prefix}change"), &mut ears.updates).await;
        assert_eq!(change, "memo://one", "{path}");
        let asked = client.unsubscribe(UnsubscribeRequestParams::new("memo://one"));
        soon("it is taken back", asked).await.unwrap();
        let told = host.happenings().told();
        assert_eq!(told, ["subscribed memo://one", "unsubscribed memo://one"], "{path}");
    }
}

#[tokio::test]
async fn changed_roots_are_told_to_it() {
    for (path, prefix) in PATHS {
        let (host, wharf) = wharf(true).await;
        let (client, _ears) = connect(&wharf.url(path), "guest", true).await;
        let roots = client.call_tool(calling(format!("{prefix}ask_roots"), json!({})));
        assert_eq!(text(&soon("the roots", roots).await.unwrap()), "file:///home/guest");
        client.notify_roots_list_changed().await.unwrap();
        until("the change is told", || host.happenings().told() == ["roots changed"]).await;
    }
}

#[tokio::test]
async fn its_lost_sessions_are_replaced_and_its_kept_ones_ended() {
    let (host, wharf) = wharf(true).await;
    let clients = [Over::Http.server(&wharf, "sdk").await, Over::Sse.server(&wharf, "sdk").await];
    for round in 0..3 {
        for client in &clients {
            let sum = client.call_tool("add", &json!({"a": round, "b": 1})).await;
            assert_eq!(sum.unwrap().text(), (round + 1).to_string());
        }
        host.forget_sessions().await;
    }
    for client in &clients {
        client.call_tool("add", &json!({})).await.unwrap();
    }
    assert_eq!(host.sessions().await, 2);
    wharf.stop().await;
    assert_eq!(host.sessions().await, 0);
}

#[tokio::test]
async fn each_client_has_a_session_of_its_own() {
    let (host, wharf) = wharf(true).await;
    // The first finds the transport out, with a session that is ended again.
    let first = Over::Http.server(&wharf, "sdk").await;
    let before = host.sessions().await;
    let second = Over::Http.server(&wharf, "sdk").await;
    assert_eq!(host.sessions().await, before + 1);
    first.close().await;
    second.close().await;
    soon("their sessions end", async { while host.sessions().await != 0 {} }).await;
}
