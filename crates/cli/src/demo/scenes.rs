//! What the demo shows.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::time::{Duration, Instant};
use wharf_proto::{Json, method};
use wharf_testkit::TestClient;

use super::{
    report::{Report, Row},
    stage::Stage,
};

/// How many calls the reuse of a session is measured over.
const MANY: usize = 200;

/// A tool twice, a prompt and a resource, of two upstreams.
pub(super) async fn calls(
    stage: &mut Stage,
    report: &mut Report,
    client: &'static str,
    caller: &TestClient,
) -> Result<()> {
    let echo = ("test__echo", json!({ "message": "ahoy" }));
    let convert = (
        "time__convert_time",
        json!({ "time": "2026-07-01 12:00", "source_timezone": "Europe/Paris", "target_timezone": "Asia/Tokyo" }),
    );
    for (tool, arguments) in [&echo, &echo, &convert, &convert] {
        let asked = async {
            let answer = caller.call_tool(tool, arguments).await?;
            ensure!(!answer.is_error(), "{tool} failed: {}", answer.text());
            Ok(answer.text())
        };
        report.row(observe(stage, client, format!("tool {tool}"), asked).await?);
    }
    let prompt = json!({ "name": "time__compare_timezones", "arguments": { "timezones": "UTC, Asia/Tokyo" } });
    let asked = ask(caller, method::PROMPTS_GET, &prompt, &["messages"]);
    report.row(observe(stage, client, "prompt time__compare_timezones".into(), asked).await?);
    let resource = json!({ "uri": "time://formats" });
    let asked = ask(caller, method::RESOURCES_READ, &resource, &["contents"]);
    report.row(observe(stage, client, "resource time://formats".into(), asked).await?);
    Ok(())
}

/// What a call costs once its session is open.
pub(super) async fn many(
    stage: &mut Stage,
    report: &mut Report,
    caller: &TestClient,
) -> Result<()> {
    let before = stage.tally();
    let mut taken = Vec::with_capacity(MANY);
    for number in 0..MANY {
        let message = format!("call {number}");
        let started = Instant::now();
        let answer = caller.call_tool("test__echo", &json!({ "message": message })).await?;
        taken.push(started.elapsed());
        ensure!(answer.text() == message, "the answer to another call came back");
    }
    taken.sort_unstable();
    let after = stage.tally();
    let opened = after.sessions - before.sessions;
    report.reuse(MANY, taken[MANY / 2], opened, after.posts - before.posts);
    Ok(())
}

/// A call whose upstream has been killed and restarted since the last one.
pub(super) async fn restart(
    stage: &mut Stage,
    report: &mut Report,
    caller: &TestClient,
) -> Result<()> {
    report.aside("Fast Test is killed and restarted: every session it had is gone.");
    stage.fast_test.restart().await.context("Fast Test did not come up again")?;
    for what in ["the next call", "the one after"] {
        let asked = async {
            let answer =
                caller.call_tool("test__echo", &json!({ "message": "still here" })).await?;
            Ok(answer.text())
        };
        report.row(
            observe(stage, "streamable HTTP", format!("{what}: tool test__echo"), asked).await?,
        );
    }
    Ok(())
}

/// Runs one call and looks at what it took.
async fn observe(
    stage: &Stage,
    client: &'static str,
    what: String,
    asked: impl Future<Output = Result<String>>,
) -> Result<Row> {
    let before = stage.tally();
    let started = Instant::now();
    let answer = asked.await.with_context(|| format!("{what}, over {client}"))?;
    let elapsed: Duration = started.elapsed();
    let after = stage.tally();
    Ok(Row {
        client,
        what,
        opened: after.sessions > before.sessions,
        posts: after.posts - before.posts,
        elapsed,
        answer,
    })
}

async fn ask(
    caller: &TestClient,
    method: &str,
    params: &serde_json::Value,
    shown: &[&str],
) -> Result<String> {
    let response = caller.call(method, params).await?;
    let result =
        response.result().with_context(|| format!("{method} was answered with an error"))?;
    Ok(result.path(shown).as_ref().map(Json::to_string).unwrap_or_default())
}
