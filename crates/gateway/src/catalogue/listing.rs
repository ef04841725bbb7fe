//! One list of one upstream's, and finding things in it.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
};

use wharf_proto::{Json, Splice, Text};

use super::Kind;
use crate::{Separator, UpstreamId, names};

/// One list of one upstream's, as it is shown on `/mcp`. To find something in
/// it costs the same however long it is.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    items: Vec<Item>,
    /// The upstream's own names (or URIs), each with its place.
    by_key: HashMap<Text, usize>,
    /// The names that are shown in a short form, without their prefix.
    by_short: HashMap<String, Text>,
    templates: Literals,
}

/// An item of a list.
#[derive(Debug)]
pub(crate) struct Item {
    /// What the upstream calls it.
    pub(crate) key: Text,
    /// The item as it is shown, its name prefixed where its kind has names.
    pub(crate) shown: Json,
}

/// What stands before the first variable of each template.
#[derive(Debug, Default)]
struct Literals {
    all: HashSet<String>,
    /// How long they are, the longest first.
    lengths: BTreeSet<Reverse<usize>>,
}

// === impl Listing ===

impl Listing {
    /// Takes a page of an upstream's list. An item without a name of its own
    /// cannot be called, and is left out, as is one that is there already: a
    /// list that changes while it is read has some twice.
    pub(crate) fn take(
        &mut self,
        kind: Kind,
        items: Vec<Json>,
        upstream: &UpstreamId,
        separator: &Separator,
    ) {
        for item in items {
            let named = item.field(kind.key()).and_then(|part| Some((part.to_text()?, part)));
            let Some((key, part)) = named else {
                tracing::warn!(%upstream, list = kind.member(), "an item without a name is left out");
                continue;
            };
            if self.has(&key) {
                continue;
            }
            let shown = if kind.is_prefixed() {
                let name = names::shown(upstream, separator, &key);
                self.note_short(&name, upstream, separator, &key);
                Splice::of(&item).replace(&part, &Json::string(&name)).finish()
            } else {
                item
            };
            if kind == Kind::Templates {
                self.templates.add(&key);
            }
            self.by_key.insert(key.clone(), self.items.len());
            self.items.push(Item { key, shown });
        }
    }

    fn note_short(&mut self, shown: &str, id: &UpstreamId, separator: &Separator, own: &Text) {
        let short = &shown[id.as_str().len() + separator.as_str().len()..];
        if short != own.as_str() {
            self.by_short.insert(short.to_owned(), own.clone());
        }
    }

    /// The items, in the upstream's order.
    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The item of this name or URI.
    pub(crate) fn item(&self, key: &str) -> Option<&Json> {
        self.by_key.get(key).map(|at| &self.items[*at].shown)
    }

    /// Whether the upstream has an item of this name or URI.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// What the upstream calls that which is shown in this short form.
    pub(crate) fn long_for(&self, short: &str) -> Option<&Text> {
        self.by_short.get(short)
    }

    /// How much of a URI is given literally by the template, among these,
    /// that gives most of it.
    pub(crate) fn longest_match(&self, uri: &str) -> Option<usize> {
        self.templates.longest_in(uri)
    }

    /// Whether both show the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let shown = self.items.iter().map(|item| &item.shown);
        shown.eq(other.items.iter().map(|item| &item.shown))
    }
}

// === impl Literals ===

impl Literals {
    fn add(&mut self, template: &str) {
        let end = template.find('{').unwrap_or(template.len());
        self.lengths.insert(Reverse(end));
        self.all.insert(template[..end].to_owned());
    }

    fn longest_in(&self, uri: &str) -> Option<usize> {
        let lengths = self.lengths.iter().map(|Reverse(length)| *length);
        lengths
            .filter_map(|length| uri.get(..length))
            .find(|literal| self.all.contains(*literal))
            .map(str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(kind: Kind, items: &[&str]) -> Listing {
        let mut listing = Listing::default();
        let items = items.iter().map(|item| Json::parse((*item).to_owned()).expect("JSON"));
        let id = "up".parse().expect("an id");
        listing.take(kind, items.collect(), &id, &Separator::default());
        listing
    }

    #[test]
    fn a_short_form_leads_back_to_the_name() {
        let long = "n".repeat(200);
        let listing =
            listing(Kind::Tools, &[&format!(r#"{{"name":"{long}"}}"#), r#"{"name":"t"}"#]);
        let name = listing.items()[0].shown.field("name").and_then(|name| name.to_text());
        let short = name.expect("it has one").strip_prefix("up__").expect("prefixed").to_owned();
        assert_eq!(listing.long_for(&short).map(Text::as_str), Some(long.as_str()));
        assert_eq!(listing.long_for("t"), None);
    }

    #[test]
    fn what_is_there_twice_is_shown_once() {
        let twice = [r#"{"name":"a"}"#, r#"{"name":"b"}"#, r#"{"name":"a","x":1}"#];
        assert_eq!(listing(Kind::Tools, &twice).items().len(), 2);
    }

    #[test]
    fn the_template_that_gives_most_is_found() {
        let items = ["x://{a}", "x://b/{c}", "y", "x://b/c/d{e}"];
        let items = items.map(|template| format!(r#"{{"uriTemplate":"{template}"}}"#));
        let listing = listing(Kind::Templates, &items.each_ref().map(String::as_str));
        for (uri, length) in [
            ("x://q", Some(4)),
            ("x://b/q", Some(6)),
            ("x://b/c/dq", Some(9)),
            ("\u{e9}", None),
            ("z", None),
        ] {
            assert_eq!(listing.longest_match(uri), length, "{uri}");
        }
    }
}
