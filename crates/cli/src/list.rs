//! `wharf list`: everything that a server offers, all pages of it.

use serde::Serialize;
use wharf_gateway::UpstreamSettings;
use wharf_proto::{Json, method};

use crate::{
    args::ListArgs,
    failure::{Exit, Failure},
    output::{print, printable, table},
    visit::{self, AskError, Visit},
};

/// What a server offers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Offers {
    /// Its tools.
    pub(crate) tools: Vec<Json>,
    /// Its prompts.
    pub(crate) prompts: Vec<Json>,
    /// Its resources.
    pub(crate) resources: Vec<Json>,
    /// Its templates of resource URIs.
    pub(crate) resource_templates: Vec<Json>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    transport: &'static str,
    protocol_version: &'static str,
    server_info: Option<Json>,
    #[serde(flatten)]
    offers: &'a Offers,
}

/// Lists what the server of `args` offers.
///
/// # Errors
///
/// Where there is no such server, or it does not answer.
///
/// # Cancel safety
///
/// Cancel safe.
pub(crate) async fn run(args: &ListArgs) -> Result<Exit, Failure> {
    let visit = open(visit::server(&args.server)?).await?;
    let offers = offers(&visit).await;
    let text = offers
        .as_ref()
        .ok()
        .map(|offers| if args.json { as_json(&visit, offers) } else { as_text(offers) });
    visit.leave().await;
    offers.map_err(anyhow::Error::new)?;
    print(text.unwrap_or_default())?;
    Ok(Exit::Fine)
}

/// All that a server offers.
///
/// # Errors
///
/// Where it does not answer.
///
/// # Cancel safety
///
/// Cancel safe.
pub(crate) async fn offers(visit: &Visit) -> Result<Offers, AskError> {
    let server = visit.handshake();
    let mut offers =
        Offers { tools: vec![], prompts: vec![], resources: vec![], resource_templates: vec![] };
    if server.offers("tools") {
        offers.tools = visit.pages(method::TOOLS_LIST, "tools").await?;
    }
    if server.offers("prompts") {
        offers.prompts = visit.pages(method::PROMPTS_LIST, "prompts").await?;
    }
    if server.offers("resources") {
        offers.resources = visit.pages(method::RESOURCES_LIST, "resources").await?;
        // Declared together with resources, and yet not always there.
        let templates = visit.pages(method::RESOURCES_TEMPLATES_LIST, "resourceTemplates").await;
        offers.resource_templates = match templates {
            Err(error) if error.is_unknown_method() => Vec::new(),
            templates => templates?,
        };
    }
    Ok(offers)
}

/// Opens a session for a command.
///
/// # Errors
///
/// Where there is none to be had.
///
/// # Cancel safety
///
/// Cancel safe.
pub(crate) async fn open(server: UpstreamSettings) -> Result<Visit, Failure> {
    let endpoint = server.target.endpoint.clone();
    let opened = Visit::open(server).await;
    opened.map_err(|error| error.context(format!("cannot open a session with {endpoint}")).into())
}

fn as_json(visit: &Visit, offers: &Offers) -> String {
    let handshake = visit.handshake();
    let listed = Listed {
        transport: visit.transport().label(),
        protocol_version: handshake.revision.as_str(),
        server_info: handshake.result.field("serverInfo"),
        offers,
    };
    let mut text = serde_json::to_string(&listed).expect("its parts are JSON");
    text.push('\n');
    text
}

fn as_text(offers: &Offers) -> String {
    let kinds = [
        ("tools", &offers.tools, "name"),
        ("prompts", &offers.prompts, "name"),
        ("resources", &offers.resources, "uri"),
        ("resource templates", &offers.resource_templates, "uriTemplate"),
    ];
    let mut text = String::new();
    for (kind, items, key) in kinds {
        text.push_str(&format!("{kind}: {}\n", items.len()));
        let rows: Vec<_> = items.iter().map(|item| row(item, key)).collect();
        text.push_str(&table(&rows));
    }
    text
}

/// An item's name, and the first line of what is said of it.
fn row(item: &Json, key: &str) -> Vec<String> {
    let text = |name: &str| item.field(name).and_then(|value| value.to_text());
    let name = text(key).map(|name| printable(&name)).unwrap_or_else(|| "(no name)".to_owned());
    let said = text("description").or_else(|| text("title"));
    let said = said.as_ref().and_then(|said| said.trim().lines().next()).map(printable);
    vec![format!("  {name}"), said.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_names_and_first_lines() {
        let json = |text: &str| Json::parse(text.to_owned()).unwrap();
        let offers = Offers {
            tools: vec![
                json(r#"{"name":"echo","description":"\n  Says it again.\nAnd more."}"#),
                json(r#"{"name":"get_time"}"#),
            ],
            prompts: vec![],
            resources: vec![json(r#"{"uri":"a://\u001b[31mb","name":"x","title":"A b"}"#)],
            resource_templates: vec![json("{}")],
        };
        let expected = "tools: 2\n  echo      Says it again.\n  get_time\nprompts: 0\n\
                        resources: 1\n  a:// [31mb  A b\nresource templates: 1\n  (no name)\n";
        assert_eq!(as_text(&offers), expected);
    }
}
