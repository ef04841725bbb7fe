//! The lists of `/mcp`: those of all upstreams, one after the other, in pages
//! of the gateway's own.

use std::{collections::HashSet, sync::Arc};

use futures_util::future::join_all;
use wharf_proto::Json;

use super::cursor::Cursor;
use crate::{
    catalogue::{Item, Kind, Listing},
    error::Failure,
    fleet::Fleet,
    roster::Roster,
};

/// An item of all upstreams' lists together, and the upstream that has it, by
/// its place among all.
pub(super) struct Entry<'a> {
    pub(super) upstream: usize,
    pub(super) item: &'a Item,
}

/// One page of a list. An upstream that cannot be asked is left out: one that
/// is down does not take the others' offer away.
pub(super) async fn page(
    fleet: &Arc<Fleet>,
    kind: Kind,
    cursor: Option<Json>,
) -> Result<Json, Failure> {
    let roster = fleet.upstreams.roster();
    let cursor = cursor.map(|cursor| Cursor::read(&roster, kind, &cursor)).transpose()?;
    let listings = listings(fleet, &roster, kind).await;
    let entries = merged(kind, &listings);
    let rest = &entries[cursor.map_or(0, |cursor| cursor.find(&entries))..];
    let page = &rest[..rest.len().min(fleet.settings.page_size.max(1))];
    let next = (page.len() < rest.len()).then(|| Cursor::after(page));
    let next = next.flatten().map(|cursor| cursor.write(&roster, kind));
    Ok(write_page(kind, page.iter().map(|entry| &entry.item.shown), next.as_ref()))
}

async fn listings(fleet: &Fleet, roster: &Roster, kind: Kind) -> Vec<(usize, Arc<Listing>)> {
    let asked = roster.all().iter().enumerate().map(async |(place, upstream)| {
        let listing = fleet.listing(upstream, kind).await;
        listing
            .map(|listing| (place, listing))
            .inspect_err(|failure| tracing::warn!(%failure, "a list goes without this upstream"))
            .ok()
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What there is. A URI stands there once: for the first upstream that has
/// it, which is the one that is asked for it.
fn merged(kind: Kind, listings: &[(usize, Arc<Listing>)]) -> Vec<Entry<'_>> {
    let mut seen = HashSet::new();
    let entries = listings.iter().flat_map(|(upstream, listing)| {
        listing.items().iter().map(|item| Entry { upstream: *upstream, item })
    });
    entries.filter(|entry| kind.is_prefixed() || seen.insert(&entry.item.key)).collect()
}

fn write_page<'a>(kind: Kind, items: impl Iterator<Item = &'a Json>, next: Option<&Json>) -> Json {
    let mut text = format!(r#"{{"{}":["#, kind.member());
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(item.as_str());
    }
    text.push(']');
    if let Some(next) = next {
        text.push_str(r#","nextCursor":"#);
        text.push_str(next.as_str());
    }
    text.push('}');
    Json::parse(text).expect("its parts are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stand_in_a_page_as_they_are() {
        let items = [Json::parse("{ \"a\":1.0 }").unwrap(), Json::parse("{}").unwrap()];
        let page = write_page(Kind::Templates, items.iter(), Some(&Json::string("c")));
        assert_eq!(page.as_str(), r#"{"resourceTemplates":[{ "a":1.0 },{}],"nextCursor":"c"}"#);
    }
}
