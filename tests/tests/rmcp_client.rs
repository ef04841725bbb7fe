//! The official SDK's client, through Wharf.

use std::collections::BTreeSet;

use rmcp::model::{GetPromptRequestParams, ReadResourceRequestParams};
use serde_json::json;
use wharf_gateway::Transport as Spoken;
use wharf_testkit::{FastTest, FastTime, Upstream};
use wharf_tests::{
    Wharf,
    official::{calling, connect, text},
    serving, soon, until, upstream,
};

async fn wharf() -> (Upstream<FastTest>, Upstream<FastTime>, Wharf) {
    let (fast, time) = (serving(FastTest::new()).await, serving(FastTime::new()).await);
    let mut over_sse = upstream("time", &time.sse_url());
    over_sse.transport = Spoken::Sse;
    let wharf = Wharf::start([upstream("fast", &fast.url()), over_sse], |settings| {
        settings.page_size = 2;
    })
    .await;
    (fast, time, wharf)
}

#[tokio::test]
async fn it_uses_everything_that_there_is() {
    let (_fast, _time, wharf) = wharf().await;
    let (client, _ears) = connect(&wharf.url("/mcp"), "guest", false).await;
    let info = client.peer_info().unwrap();
    assert_eq!(info.server_info.as_ref().unwrap().name, "wharf");
    assert!(info.instructions.as_ref().unwrap().contains("fast:"), "{info:?}");

    let tools = soon("tools", client.list_all_tools()).await.unwrap();
    let names: BTreeSet<_> = tools.iter().map(|tool| tool.name.to_string()).collect();
    assert_eq!((tools.len(), names.len()), (6, 6), "{names:?}");
    assert!(names.contains("fast__echo") && names.contains("time__convert_time"), "{names:?}");
    let echo = calling("fast__echo", json!({"message": "ahoy"}));
    let echo = soon("echo", client.call_tool(echo)).await.unwrap();
    assert_eq!(text(&echo), "ahoy");
    let arguments = json!({
        "time": "2025-07-01 09:00",
        "source_timezone": "Europe/Berlin",
        "target_timezone": "America/New_York",
    });
    let time = client.call_tool(calling("time__convert_time", arguments));
    assert_eq!(text(&soon("time", time).await.unwrap()), "2025-07-01T03:00:00-04:00");

    let prompts = soon("prompts", client.list_all_prompts()).await.unwrap();
    assert_eq!(prompts.len(), 3);
    let arguments = json!({"timezones": "UTC"}).as_object().unwrap().clone();
    let prompt = GetPromptRequestParams::new("time__compare_timezones").with_arguments(arguments);
    let prompt = soon("a prompt", client.get_prompt(prompt)).await.unwrap();
    assert_eq!(prompt.messages.len(), 1);

    let resources = soon("resources", client.list_all_resources()).await.unwrap();
    assert_eq!(resources.len(), 4);
    let templates = soon("templates", client.list_all_resource_templates()).await.unwrap();
    assert_eq!(templates.len(), 1);
    for uri in ["time://formats", "time://zone/Asia/Tokyo"] {
        let read = client.read_resource(ReadResourceRequestParams::new(uri));
        assert_eq!(soon(uri, read).await.unwrap().contents.len(), 1);
    }
    let completed =
        client.complete_resource_simple("time://zone/{+timezone}", "timezone", "Europe/Berl");
    assert_eq!(soon("completion", completed).await.unwrap(), ["Europe/Berlin"]);
    let completed =
        client.complete_prompt_simple("time__compare_timezones", "timezones", "Asia/Tok");
    assert_eq!(soon("completion", completed).await.unwrap(), ["Asia/Tokyo"]);
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn it_hears_progress_before_the_answer() {
    let (_fast, _time, wharf) = wharf().await;
    for path in ["/mcp", "/servers/fast/mcp"] {
        let (client, mut ears) = connect(&wharf.url(path), "guest", false).await;
        let tool = if path == "/mcp" { "fast__slow_count" } else { "slow_count" };
        let count = client.call_tool(calling(tool, json!({"to": 3, "every": 1})));
        assert_eq!(text(&soon("the count", count).await.unwrap()), "counted to 3");
        for number in [1.0, 2.0, 3.0] {
            let progress = soon("progress", ears.progress.recv()).await.unwrap();
            assert_eq!(progress.progress, number, "{path}");
        }
    }
}

#[tokio::test]
async fn its_goodbye_and_the_restart_of_an_upstream_are_dealt_with() {
    let (mut fast, _time, wharf) = wharf().await;
    let (client, _ears) = connect(&wharf.url("/servers/fast/mcp"), "guest", false).await;
    for message in ["before", "after"] {
        let echo = client.call_tool(calling("echo", json!({"message": message})));
        assert_eq!(text(&soon(message, echo).await.unwrap()), message);
        if message == "before" {
            fast.restart().await.unwrap();
        }
    }
    let unknown = soon("an error", client.call_tool(calling("nope", json!({})))).await;
    let Err(rmcp::ServiceError::McpError(error)) = unknown else { panic!("{unknown:?}") };
    assert_eq!(error.code.0, -32602);
    client.cancel().await.unwrap();
    until("its session ends", || fast.sessions() == 0).await;
}

#[tokio::test]
async fn many_of_them_call_at_the_same_time() {
    let (_fast, _time, wharf) = wharf().await;
    let url = wharf.url("/mcp");
    let guests = (0..8).map(async |guest| {
        let (client, _ears) = connect(&url, &format!("guest-{guest}"), false).await;
        let calls = (0..8).map(async |call| {
            let message = format!("{guest}/{call}");
            let echo = client.call_tool(calling("fast__echo", json!({"message": message})));
            assert_eq!(text(&echo.await.unwrap()), message);
        });
        futures_util::future::join_all(calls).await;
        client.cancel().await.unwrap();
    });
    soon("all are answered", futures_util::future::join_all(guests)).await;
}
