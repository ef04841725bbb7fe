//! Which upstream a request on `/mcp` is for, and how that one knows it.
//!
//! Names say it by their prefix. URIs are the same on both sides, and so have
//! to be found: in what the client has subscribed to; in the lists; in what
//! the client was shown in results; in the templates. What is known already is
//! looked at before any upstream is asked.

use std::sync::Arc;

use futures_util::future::join_all;
use wharf_proto::{Json, Request, Text, method};

use crate::{
    catalogue::{Kind, Listing},
    downstream::Downstream,
    error::Failure,
    fleet::Fleet,
    names,
    relay::Route,
    roster::Roster,
    upstream::Upstream,
};

/// The upstream of a request, and the request with that upstream's own name
/// in it.
pub(crate) async fn route(
    fleet: Arc<Fleet>,
    downstream: Arc<Downstream>,
    request: Request,
) -> Route {
    let name = |param| need(&request, param);
    match request.method() {
        method::TOOLS_CALL => by_name(&fleet, &request, Kind::Tools, &name("name")?).await,
        method::PROMPTS_GET => by_name(&fleet, &request, Kind::Prompts, &name("name")?).await,
        method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE => {
            by_uri(&fleet, &downstream, &request, &name("uri")?).await
        }
        method::TASKS_GET | method::TASKS_RESULT | method::TASKS_CANCEL => {
            by_task(&fleet, &downstream, &request, &name("taskId")?)
        }
        _ => by_reference(&fleet, &downstream, &request).await,
    }
}

/// `completion/complete` names a prompt, or a resource template.
async fn by_reference(fleet: &Fleet, downstream: &Downstream, request: &Request) -> Route {
    let reference = need(request, "ref")?;
    let missing = || Failure::Missing { method: request.method().into(), param: "ref" };
    if let Some(name) = reference.field("name") {
        return by_name(fleet, request, Kind::Prompts, &name).await;
    }
    by_uri(fleet, downstream, request, &reference.field("uri").ok_or_else(missing)?).await
}

/// By the prefix of a name. Whether the upstream has it is for the upstream
/// to say: it may be newer than our list.
async fn by_name(fleet: &Fleet, request: &Request, kind: Kind, part: &Json) -> Route {
    let name = part.to_text().unwrap_or_default();
    let what = if kind == Kind::Tools { "tool" } else { "prompt" };
    let unknown = || Failure::Unknown { what, name: name.as_str().into() };
    let split = name.split_once(fleet.settings.separator.as_str());
    let found = split.and_then(|(id, own)| Some((fleet.upstreams.find(id)?, own)));
    let (upstream, own) = found.ok_or_else(unknown)?;
    let own = if names::is_short(own) {
        let long = long_for(fleet, &upstream, kind, own).await;
        let not_spelled_out = |source| Failure::NotSpelledOut {
            upstream: upstream.id().clone(),
            name: name.as_str().into(),
            source: Box::new(source),
        };
        long.map_err(not_spelled_out)?.ok_or_else(unknown)?
    } else {
        own.into()
    };
    let request = request.rewrite().replace(part, &Json::string(&own)).finish();
    Ok((upstream, request))
}

/// What a short form is short for.
async fn long_for(
    fleet: &Fleet,
    upstream: &Upstream,
    kind: Kind,
    short: &str,
) -> Result<Option<Text>, Failure> {
    if let Some(Ok(known)) = upstream.catalogue.list(kind).last()
        && let Some(long) = known.long_for(short)
    {
        return Ok(Some(long.clone()));
    }
    Ok(fleet.listing(upstream, kind).await?.long_for(short).cloned())
}

/// Who made a task; where nobody is known to have, who alone can have.
fn by_task(fleet: &Fleet, downstream: &Downstream, request: &Request, part: &Json) -> Route {
    let id = part.to_text().unwrap_or_default();
    let roster = fleet.upstreams.roster();
    let upstream = downstream.atlas().task(&id).and_then(|number| roster.numbered(number));
    let unknown = || Failure::Unknown { what: "task", name: id.as_str().into() };
    Ok((Arc::clone(upstream.ok_or_else(unknown)?), request.clone()))
}

async fn by_uri(fleet: &Fleet, downstream: &Downstream, request: &Request, part: &Json) -> Route {
    let uri: Text = part.to_text().unwrap_or_default();
    let roster = fleet.upstreams.roster();
    let found = match at_hand(&roster, downstream, &uri) {
        Some(upstream) => Some(upstream),
        None => asked_for(fleet, &roster, downstream, &uri).await.map(Arc::clone),
    };
    let upstream = found.ok_or_else(|| Failure::NoResource { uri: uri.as_str().into() })?;
    Ok((upstream, request.clone()))
}

/// Who has the resource, as far as that is known without asking anybody.
fn at_hand(roster: &Roster, downstream: &Downstream, uri: &str) -> Option<Arc<Upstream>> {
    let listed = |upstream: &&Arc<Upstream>| {
        let known = upstream.catalogue.list(Kind::Resources).last();
        known.is_some_and(|known| known.is_ok_and(|listing| listing.has(uri)))
    };
    let mentioned = || roster.numbered(downstream.atlas().resource(uri)?);
    downstream.subscribed(uri).or_else(|| {
        let listed = roster.all().iter().find(listed);
        listed.or_else(mentioned).map(Arc::clone)
    })
}

/// Who lists the resource now; else whose template gives most of its URI. Of
/// several, the first in the configuration.
async fn asked_for<'r>(
    fleet: &Fleet,
    roster: &'r Roster,
    downstream: &Downstream,
    uri: &str,
) -> Option<&'r Arc<Upstream>> {
    let listings = all(fleet, roster, Kind::Resources).await;
    let holder = listings.iter().find(|(_, listing)| listing.has(uri));
    if let Some((upstream, _)) = holder {
        return Some(upstream);
    }
    let mentioned = downstream.atlas().resource(uri);
    if let Some(upstream) = mentioned.and_then(|number| roster.numbered(number)) {
        return Some(upstream);
    }
    let templates = all(fleet, roster, Kind::Templates).await;
    let matches = templates.iter().filter_map(|(upstream, listing)| {
        let whole = listing.has(uri).then_some(usize::MAX);
        Some((whole.or_else(|| listing.longest_match(uri))?, *upstream))
    });
    // `max_by_key` would take the last of the longest.
    let longest = matches.reduce(|best, next| if next.0 > best.0 { next } else { best });
    longest.map(|(_, upstream)| upstream)
}

async fn all<'r>(
    fleet: &Fleet,
    roster: &'r Roster,
    kind: Kind,
) -> Vec<(&'r Arc<Upstream>, Arc<Listing>)> {
    let asked = roster.all().iter().map(async |upstream| {
        let listing = fleet.listing(upstream, kind).await.ok()?;
        Some((upstream, listing))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn need(request: &Request, param: &'static str) -> Result<Json, Failure> {
    let missing = || Failure::Missing { method: request.method().into(), param };
    request.param(param).ok_or_else(missing)
}
