//! The lists of `/mcp`: those of all upstreams, one after the other, in pages
//! of the gateway's own.

use std::{collections::HashSet, sync::Arc};

use futures_util::future::join_all;
use wharf_proto::Json;

use crate::{
    catalogue::{Kind, Listing},
    error::Failure,
    fleet::Fleet,
};

/// One page of a list. An upstream that cannot be asked is left out: one that
/// is down does not take the others' offer away.
pub(super) async fn page(
    fleet: &Arc<Fleet>,
    kind: Kind,
    cursor: Option<Json>,
) -> Result<Json, Failure> {
    let start = cursor.map_or(Ok(0), |cursor| read_cursor(kind, &cursor))?;
    let listings = listings(fleet, kind).await;
    let items = merged(kind, &listings);
    if start > items.len() {
        return Err(Failure::BadCursor);
    }
    let end = items.len().min(start + fleet.settings.page_size.max(1));
    let next = (end < items.len()).then(|| write_cursor(kind, end));
    Ok(write_page(kind, items[start..end].iter().copied(), next.as_ref()))
}

async fn listings(fleet: &Fleet, kind: Kind) -> Vec<Arc<Listing>> {
    let asked = fleet.upstreams.all().iter().map(async |upstream| {
        let listing = fleet.listing(upstream, kind).await;
        listing
            .inspect_err(|failure| tracing::warn!(%failure, "a list goes without this upstream"))
            .ok()
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What there is. A URI stands there once: for the first upstream that has
/// it, which is the one that is asked for it.
fn merged(kind: Kind, listings: &[Arc<Listing>]) -> Vec<&Json> {
    let mut seen = HashSet::new();
    let items = listings.iter().flat_map(|listing| listing.items());
    let items = items.filter(|item| kind.is_prefixed() || seen.insert(&item.key));
    items.map(|item| &item.shown).collect()
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

/// A cursor names its list, so that it is no good for another.
fn write_cursor(kind: Kind, start: usize) -> Json {
    Json::string(&format!("{}-{start}", kind.member()))
}

fn read_cursor(kind: Kind, cursor: &Json) -> Result<usize, Failure> {
    let text = cursor.to_text().ok_or(Failure::BadCursor)?;
    let start = text.strip_prefix(kind.member()).and_then(|rest| rest.strip_prefix('-'));
    start.and_then(|start| start.parse().ok()).ok_or(Failure::BadCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let cursor = write_cursor(Kind::Tools, 7);
        assert_eq!(read_cursor(Kind::Tools, &cursor).unwrap(), 7);
        assert!(read_cursor(Kind::Prompts, &cursor).is_err());
        for garbage in ["\"\"", "\"tools-\"", "\"tools-x\"", "7", "null", "\"tools--1\""] {
            let garbage = Json::parse(garbage).unwrap();
            assert!(read_cursor(Kind::Tools, &garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn items_stand_in_a_page_as_they_are() {
        let items = [Json::parse("{ \"a\":1.0 }").unwrap(), Json::parse("{}").unwrap()];
        let page = write_page(Kind::Templates, items.iter(), Some(&Json::string("c")));
        assert_eq!(page.as_str(), r#"{"resourceTemplates":[{ "a":1.0 },{}],"nextCursor":"c"}"#);
    }
}
