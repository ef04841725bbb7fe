//! The answer to `initialize` on `/mcp`.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use wharf_pool::Handshake;
use wharf_proto::{Json, Revision, method};

use crate::{catalogue::Change, fleet::Fleet, upstream::own_info};

/// What a client is told that there is.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// The names of the capabilities.
    names: Vec<String>,
}

/// What all upstreams have said of themselves; nothing, where one could not
/// be asked.
struct Voices(Vec<Option<Arc<Handshake>>>);

/// What all upstreams together can do. One that cannot be asked now may come
/// back, and may then have anything but what only some have.
pub(super) async fn welcome(fleet: &Fleet, revision: Revision) -> (Json, Offer) {
    let limit = fleet.settings.list_timeout;
    let roster = fleet.upstreams.roster();
    let upstreams = roster.all();
    let asked = upstreams
        .iter()
        .map(async |upstream| timeout(limit, fleet.handshake(upstream)).await.ok()?.ok());
    let voices = Voices(join_all(asked).await);
    let instructions = upstreams.iter().zip(&voices.0).filter_map(|(upstream, handshake)| {
        let text = handshake.as_ref()?.result.field("instructions")?.to_text()?;
        Some(format!("{}: {text}", upstream.id()))
    });
    let instructions: Vec<_> = instructions.collect();
    let capabilities = voices.capabilities(revision);
    let offer = Offer::of(&capabilities);
    let mut result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": capabilities,
        "serverInfo": own_info(),
    });
    if !instructions.is_empty() {
        result["instructions"] = instructions.join("\n\n").into();
    }
    (Json::from_value(&result).expect("it is JSON"), offer)
}

// === impl Voices ===

impl Voices {
    /// What works for a client. Changes of the lists are announced by the
    /// gateway, whatever the upstreams do.
    fn capabilities(&self, revision: Revision) -> Map<String, Value> {
        let mut capabilities = Map::new();
        for (name, particulars) in [
            ("tools", json!({"listChanged": true})),
            ("prompts", json!({"listChanged": true})),
            ("resources", json!({"listChanged": true})),
            ("logging", json!({})),
        ] {
            if self.may_offer(name) {
                capabilities.insert(name.to_owned(), particulars);
            }
        }
        if let Some(resources) = capabilities.get_mut("resources")
            && self.say(&["resources", "subscribe"])
        {
            resources["subscribe"] = true.into();
        }
        // 2024-11-05 completes arguments too, but has no word for it.
        if revision >= Revision::V2025_03_26 && self.may_offer("completions") {
            capabilities.insert("completions".to_owned(), json!({}));
        }
        if revision >= Revision::V2025_11_25
            && let Some(tasks) = self.tasks()
        {
            capabilities.insert("tasks".to_owned(), tasks);
        }
        capabilities
    }

    fn tasks(&self) -> Option<Value> {
        if !self.say(&["tasks", "requests", "tools", "call"]) {
            return None;
        }
        let mut tasks = json!({"requests": {"tools": {"call": {}}}});
        for name in ["list", "cancel"] {
            if self.say(&["tasks", name]) {
                tasks[name] = json!({});
            }
        }
        Some(tasks)
    }

    fn may_offer(&self, capability: &str) -> bool {
        self.0.iter().any(|one| one.as_ref().is_none_or(|handshake| handshake.offers(capability)))
    }

    /// Whether one that could be asked has said so.
    fn say(&self, path: &[&str]) -> bool {
        let said = self.0.iter().flatten().map(|handshake| handshake.capabilities().path(path));
        said.flatten().any(|said| said.as_str() == "true" || said.is_object())
    }
}

// === impl Offer ===

impl Offer {
    fn of(capabilities: &Map<String, Value>) -> Self {
        Self { names: capabilities.keys().cloned().collect() }
    }

    /// Whether the client was told that there is such a list.
    pub(super) fn has(&self, change: Change) -> bool {
        change.kinds().iter().any(|kind| self.names(kind.capability()))
    }

    /// Whether a method belongs to what the client was told that there is. One
    /// that does not is unknown. Of completion the earliest revision says
    /// nothing, so that it can be asked for all the same.
    pub(super) fn covers(&self, method: &str) -> bool {
        match method {
            method::TOOLS_LIST | method::TOOLS_CALL => self.names("tools"),
            method::PROMPTS_LIST | method::PROMPTS_GET => self.names("prompts"),
            method::RESOURCES_LIST
            | method::RESOURCES_TEMPLATES_LIST
            | method::RESOURCES_READ
            | method::RESOURCES_SUBSCRIBE
            | method::RESOURCES_UNSUBSCRIBE => self.names("resources"),
            method::SET_LEVEL => self.names("logging"),
            method::TASKS_GET
            | method::TASKS_RESULT
            | method::TASKS_LIST
            | method::TASKS_CANCEL => self.names("tasks"),
            _ => true,
        }
    }

    fn names(&self, capability: &str) -> bool {
        self.names.iter().any(|name| name == capability)
    }
}
