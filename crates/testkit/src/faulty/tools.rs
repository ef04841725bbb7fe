//! The tools: by their state, or by the record, they show what has happened to
//! a call.

use std::time::Duration;

use serde_json::{Value, json};

use super::call::{Call, Outcome};

/// The tools as `tools/list` says them.
pub(super) fn offered() -> Value {
    let read_only = json!({"readOnlyHint": true});
    json!([
        tool("echo", "Says a message", &json!({"message": TEXT, "nonce": ANY}), &read_only),
        tool("add", "Adds to the session's sum", &json!({"n": NUMBER}), &json!({})),
        tool("whoami", "Tells the session", &json!({"header": TEXT}), &read_only),
        tool("sleep", "Waits", &json!({"ms": NUMBER}), &read_only),
        tool("run_once", "Does work", &json!({"token": TEXT}), &json!({})),
        tool("run_again", "Does work", &json!({"token": TEXT}), &json!({"idempotentHint": true})),
        tool("look", "Does work", &json!({"token": TEXT}), &read_only),
        tool("ask", "Asks the client", &json!({"kind": TEXT}), &json!({})),
        tool("notify", "Says a notification", &json!({"method": TEXT}), &json!({})),
        tool("progress", "Reports progress", &json!({"n": NUMBER}), &read_only),
    ])
}

const TEXT: &str = "string";
const NUMBER: &str = "integer";
const ANY: &str = "";

/// Calls a tool.
pub(super) async fn run(call: &Call) -> Outcome {
    match call.param("name").as_str().unwrap_or_default() {
        "echo" => echo(call),
        "add" => Ok(said(&call.session.add(integer(call, "n")?).to_string())),
        "whoami" => Ok(said(&whoami(call).to_string())),
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(count(call, "ms")?)).await;
            Ok(said("awake"))
        }
        "run_once" | "run_again" | "look" => {
            let times = call.shared.record.executed(text(call, "token")?);
            Ok(said(&format!("ran {times} times")))
        }
        "ask" => ask(call).await,
        "notify" => {
            call.session.announce(text(call, "method")?);
            Ok(said("announced"))
        }
        "progress" => progress(call),
        name => Err((-32602, format!("Unknown tool: {name}"))),
    }
}

fn echo(call: &Call) -> Outcome {
    let message = text(call, "message")?;
    let mut result = said(message);
    result["structuredContent"] = json!({"message": message, "nonce": argument(call, "nonce")});
    Ok(result)
}

fn whoami(call: &Call) -> Value {
    let mut portrait = call.session.portrait();
    let mut names: Vec<&str> = call.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    portrait["headers"] = json!(names);
    let asked_for = argument(call, "header").as_str().and_then(|name| call.headers.get(name));
    portrait["value"] = json!(asked_for.and_then(|value| value.to_str().ok()));
    portrait
}

async fn ask(call: &Call) -> Outcome {
    let (method, params) = match text(call, "kind")? {
        "elicitation" => {
            let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
            let params = json!({"message": "What is your name?", "requestedSchema": schema});
            ("elicitation/create", params)
        }
        "sampling" => {
            let content = json!({"type": "text", "text": "What is the answer?"});
            let messages = json!([{"role": "user", "content": content}]);
            ("sampling/createMessage", json!({"messages": messages, "maxTokens": 16}))
        }
        "roots" => ("roots/list", json!({})),
        kind => return Err((-32602, format!("`kind` has no value {kind}"))),
    };
    let response = call.session.ask(method, &params, &call.mouth).await;
    let response = response.ok_or((-32603, "the client cannot be asked".to_owned()))?;
    let outcome = response.get("result").or_else(|| response.get("error"));
    let mut result = said(&outcome.cloned().unwrap_or_default().to_string());
    result["isError"] = json!(response.get("error").is_some());
    Ok(result)
}

fn progress(call: &Call) -> Outcome {
    let total = count(call, "n")?;
    if let Some(token) = call.param("_meta").get("progressToken") {
        for progress in 1..=total {
            let params = json!({"progressToken": token, "progress": progress, "total": total});
            call.mouth.say(&json!({
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": params,
            }));
        }
    }
    Ok(said(&format!("counted to {total}")))
}

fn tool(name: &str, description: &str, arguments: &Value, annotations: &Value) -> Value {
    let properties = arguments.as_object().into_iter().flatten().map(|(name, kind)| {
        let schema = if kind == ANY { json!({}) } else { json!({"type": kind}) };
        (name.clone(), schema)
    });
    json!({
        "name": name,
        "description": description,
        "inputSchema": {"type": "object", "properties": Value::from_iter(properties)},
        "annotations": annotations,
    })
}

fn said(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}], "isError": false})
}

fn argument<'a>(call: &'a Call, name: &str) -> &'a Value {
    call.param("arguments").get(name).unwrap_or(&Value::Null)
}

fn text<'a>(call: &'a Call, name: &str) -> Result<&'a str, (i64, String)> {
    argument(call, name).as_str().ok_or_else(|| wrong(name, "a string"))
}

fn integer(call: &Call, name: &str) -> Result<i64, (i64, String)> {
    argument(call, name).as_i64().ok_or_else(|| wrong(name, "an integer"))
}

fn count(call: &Call, name: &str) -> Result<u64, (i64, String)> {
    argument(call, name).as_u64().ok_or_else(|| wrong(name, "a number from 0 on"))
}

fn wrong(name: &str, expected: &str) -> (i64, String) {
    (-32602, format!("`{name}` has to be {expected}"))
}
