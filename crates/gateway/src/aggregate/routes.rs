//! Which upstream a request on `/mcp` is for, and how that one knows it.

use std::sync::Arc;

use futures_util::future::join_all;
use wharf_proto::{Json, Request, Text, method};

use crate::{catalogue::Kind, error::Failure, fleet::Fleet, relay::Route, upstream::Upstream};

/// The upstream of a request, and the request with that upstream's own name
/// in it. A URI is the same on both sides.
pub(crate) async fn route(fleet: Arc<Fleet>, request: Request) -> Route {
    match request.method() {
        method::TOOLS_CALL => by_name(&fleet, &request, "tool", &need(&request, "name")?),
        method::PROMPTS_GET => by_name(&fleet, &request, "prompt", &need(&request, "name")?),
        method::RESOURCES_READ => by_uri(&fleet, &request, &need(&request, "uri")?).await,
        _ => by_reference(&fleet, &request).await,
    }
}

/// `completion/complete` names a prompt, or a resource template.
async fn by_reference(fleet: &Fleet, request: &Request) -> Route {
    let reference = need(request, "ref")?;
    let missing = || Failure::Missing { method: request.method().into(), param: "ref" };
    if let Some(name) = reference.field("name") {
        return by_name(fleet, request, "prompt", &name);
    }
    by_uri(fleet, request, &reference.field("uri").ok_or_else(missing)?).await
}

/// By the prefix of a name. Whether the upstream has it is for the upstream
/// to say: it may be newer than our list.
fn by_name(fleet: &Fleet, request: &Request, what: &'static str, part: &Json) -> Route {
    let name = part.to_text().unwrap_or_default();
    let split = name.split_once(fleet.settings.separator.as_str());
    let found = split.and_then(|(id, own)| Some((fleet.upstreams.find(id)?, own)));
    let Some((upstream, own)) = found else {
        return Err(Failure::Unknown { what, name: name.as_str().into() });
    };
    let request = request.rewrite().replace(part, &Json::string(own)).finish();
    Ok((Arc::clone(upstream), request))
}

/// By the lists: who has a resource of this URI, else whose template gives
/// most of it. Of several, the first in the configuration.
async fn by_uri(fleet: &Fleet, request: &Request, part: &Json) -> Route {
    let uri: Text = part.to_text().unwrap_or_default();
    let found = match holder(fleet, &uri).await {
        Some(upstream) => Some(upstream),
        None => likeliest(fleet, &uri).await,
    };
    let upstream = found.ok_or_else(|| Failure::NoResource { uri: uri.as_str().into() })?;
    Ok((Arc::clone(upstream), request.clone()))
}

async fn holder<'f>(fleet: &'f Fleet, uri: &str) -> Option<&'f Arc<Upstream>> {
    let asked = fleet.upstreams.all().iter().map(async |upstream| {
        let listing = fleet.listing(upstream, Kind::Resources).await.ok()?;
        listing.has(uri).then_some(upstream)
    });
    join_all(asked).await.into_iter().flatten().next()
}

async fn likeliest<'f>(fleet: &'f Fleet, uri: &str) -> Option<&'f Arc<Upstream>> {
    let asked = fleet.upstreams.all().iter().map(async |upstream| {
        let listing = fleet.listing(upstream, Kind::Templates).await.ok()?;
        let matched = if listing.has(uri) { Some(usize::MAX) } else { listing.longest_match(uri) };
        Some((matched?, upstream))
    });
    let matches = join_all(asked).await.into_iter().flatten();
    // `max_by_key` would take the last of the longest.
    let longest = matches.reduce(|best, next| if next.0 > best.0 { next } else { best });
    longest.map(|(_, upstream)| upstream)
}

fn need(request: &Request, param: &'static str) -> Result<Json, Failure> {
    let missing = || Failure::Missing { method: request.method().into(), param };
    request.param(param).ok_or_else(missing)
}
