//! The answer to `initialize` on `/mcp`.

use futures_util::future::join_all;
use tokio::time::timeout;
use wharf_proto::{Json, Revision};

use crate::{fleet::Fleet, upstream::own_info};

/// The capabilities of a server that can be bridged to many clients.
const BRIDGED: [&str; 4] = ["tools", "prompts", "resources", "completions"];

/// What all upstreams together can do. One that cannot be asked now may come
/// back, and may then have anything.
pub(super) async fn welcome(fleet: &Fleet, revision: Revision) -> Json {
    let limit = fleet.settings.list_timeout;
    let upstreams = fleet.upstreams.all();
    let asked = upstreams
        .iter()
        .map(async |upstream| timeout(limit, fleet.handshake(upstream)).await.ok()?.ok());
    let handshakes = join_all(asked).await;
    let offers = |capability: &&str| {
        handshakes.iter().any(|handshake| {
            handshake.as_ref().is_none_or(|handshake| handshake.offers(capability))
        })
    };
    let capabilities: serde_json::Map<_, _> = BRIDGED
        .into_iter()
        .filter(offers)
        .map(|capability| (capability.to_owned(), serde_json::json!({})))
        .collect();
    let instructions = upstreams.iter().zip(&handshakes).filter_map(|(upstream, handshake)| {
        let text = handshake.as_ref()?.result.field("instructions")?.to_text()?;
        Some(format!("{}: {text}", upstream.id()))
    });
    let instructions: Vec<_> = instructions.collect();
    let mut result = serde_json::json!({
        "protocolVersion": revision.as_str(),
        "capabilities": capabilities,
        "serverInfo": own_info(),
    });
    if !instructions.is_empty() {
        result["instructions"] = instructions.join("\n\n").into();
    }
    Json::from_value(&result).expect("it is JSON")
}
