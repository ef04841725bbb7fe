//! The methods of MCP, as far as a client of tools needs them.

use serde_json::{Value, json};

use super::{
    call::{Call, Outcome},
    tools,
};

/// The revisions of which it is, latest first.
const REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// Does what a call asks for.
pub(super) async fn perform(call: &Call) -> Outcome {
    match call.method() {
        "initialize" => Ok(greeting(call.param("protocolVersion"))),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({"tools": tools::offered()})),
        "tools/call" => tools::run(call).await,
        "prompts/list" => Ok(json!({"prompts": []})),
        "resources/list" => Ok(json!({"resources": []})),
        "resources/templates/list" => Ok(json!({"resourceTemplates": []})),
        "resources/subscribe" => {
            text_param(call, "uri").map(|uri| call.session.subscribe(uri)).map(nothing)
        }
        "resources/unsubscribe" => {
            text_param(call, "uri").map(|uri| call.session.unsubscribe(uri)).map(nothing)
        }
        "logging/setLevel" => {
            text_param(call, "level").map(|level| call.session.set_level(level)).map(nothing)
        }
        method => Err((-32601, format!("Method not found: {method}"))),
    }
}

fn greeting(asked: &Value) -> Value {
    let is_known = REVISIONS.iter().any(|known| asked == known);
    json!({
        "protocolVersion": if is_known { asked.clone() } else { json!(REVISIONS[0]) },
        "capabilities": {
            "tools": {"listChanged": true},
            "prompts": {"listChanged": true},
            "resources": {"subscribe": true, "listChanged": true},
            "logging": {},
        },
        "serverInfo": {"name": "faulty", "version": env!("CARGO_PKG_VERSION")},
    })
}

fn text_param<'a>(call: &'a Call, name: &str) -> Result<&'a str, (i64, String)> {
    call.param(name).as_str().ok_or_else(|| (-32602, format!("`{name}` has to be a string")))
}

fn nothing((): ()) -> Value {
    json!({})
}
