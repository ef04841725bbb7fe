//! Where the next page of a list begins.
//!
//! Lists change between two pages, and then a number would point elsewhere. So
//! a cursor names what was given last, and the page goes on after it, whatever
//! has come or gone before. As it may be gone itself, a few that were given
//! before it are named too; where all of them are gone, what their upstream
//! has is given from its beginning: better twice than not at all.

use wharf_proto::Json;

use super::lists::Entry;
use crate::{
    catalogue::Kind,
    error::Failure,
    fingerprint::{fingerprint, is_fingerprint},
    roster::Roster,
};

/// How many items a cursor names at most, and so how long it is.
const MOST: usize = 4;

/// A place in the lists of all upstreams together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The upstream of the last item given, by its place among all.
    upstream: usize,
    /// The fingerprints of the last items given that were that upstream's, the
    /// very last first.
    given: Vec<String>,
}

// === impl Cursor ===

impl Cursor {
    /// What follows after a page; `None` after one that is empty.
    pub(super) fn after(page: &[Entry<'_>]) -> Option<Self> {
        let upstream = page.last()?.upstream;
        let own = page.iter().rev().take_while(|entry| entry.upstream == upstream);
        let given = own.take(MOST).map(|entry| fingerprint(&entry.item.key)).collect();
        Some(Self { upstream, given })
    }

    /// The place in the list as it is now.
    pub(super) fn find(&self, entries: &[Entry<'_>]) -> usize {
        let begin = entries.partition_point(|entry| entry.upstream < self.upstream);
        let own = entries[begin..].iter().take_while(|entry| entry.upstream == self.upstream);
        let own: Vec<_> = own.map(|entry| fingerprint(&entry.item.key)).collect();
        let found = self.given.iter().find_map(|given| own.iter().position(|item| item == given));
        begin + found.map_or(0, |last| last + 1)
    }

    /// The cursor as a client gets it. It names its list, so that it is no
    /// good for another.
    pub(super) fn write(&self, roster: &Roster, kind: Kind) -> Json {
        let upstream = roster.all()[self.upstream].id();
        Json::string(&format!("{}/{upstream}/{}", kind.member(), self.given.join(".")))
    }

    /// Reads what a client has sent.
    pub(super) fn read(roster: &Roster, kind: Kind, cursor: &Json) -> Result<Self, Failure> {
        let text = cursor.to_text().ok_or(Failure::BadCursor)?;
        let (upstream, given) = parse(kind, &text).ok_or(Failure::BadCursor)?;
        let upstream = roster.place(upstream).ok_or(Failure::BadCursor)?;
        Ok(Self { upstream, given })
    }
}

/// The upstream's id and the fingerprints.
fn parse(kind: Kind, text: &str) -> Option<(&str, Vec<String>)> {
    let (upstream, given) = text.strip_prefix(kind.member())?.strip_prefix('/')?.split_once('/')?;
    let given: Vec<_> = given.split('.').map(str::to_owned).collect();
    let is_well = given.len() <= MOST && given.iter().all(|one| is_fingerprint(one));
    is_well.then_some((upstream, given))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::Item;

    /// Items of several upstreams, by the keys of each.
    fn items(upstreams: &[Vec<u8>]) -> Vec<(usize, Item)> {
        let items = upstreams.iter().enumerate().flat_map(|(upstream, keys)| {
            let item = |key: &u8| Item { key: key.to_string().into(), shown: Json::empty_object() };
            keys.iter().map(move |key| (upstream, item(key)))
        });
        items.collect()
    }

    fn entries(items: &[(usize, Item)]) -> Vec<Entry<'_>> {
        items.iter().map(|(upstream, item)| Entry { upstream: *upstream, item }).collect()
    }

    fn keys(entries: &[Entry<'_>]) -> Vec<(usize, String)> {
        entries.iter().map(|entry| (entry.upstream, entry.item.key.to_string())).collect()
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let one = fingerprint("x");
        let text = format!("tools/time/{one}.{one}");
        assert_eq!(parse(Kind::Tools, &text), Some(("time", vec![one.clone(), one.clone()])));
        assert_eq!(parse(Kind::Prompts, &text), None);
        let too_many = format!("tools/time/{}", [one.as_str(); MOST + 1].join("."));
        for garbage in ["", "tools", "tools/time", "tools/time/", "tools/time/x", &too_many] {
            assert_eq!(parse(Kind::Tools, garbage), None, "{garbage}");
        }
    }

    #[test]
    fn a_page_goes_on_after_what_was_given_whatever_came_or_went() {
        let before = items(&[vec![1, 2], vec![3, 4, 5, 6, 7]]);
        let cursor = Cursor::after(&entries(&before)[..5]).expect("the page is not empty");
        for (after, rest) in [
            (vec![vec![1, 2], vec![3, 4, 5, 6, 7]], vec!["6", "7"]),
            (vec![vec![], vec![8, 3, 4, 9, 5, 6, 7]], vec!["6", "7"]),
            (vec![vec![1, 2, 8], vec![3, 4, 6, 7]], vec!["6", "7"]),
            (vec![vec![1], vec![6, 7]], vec!["6", "7"]),
            (vec![vec![1], vec![], vec![8]], vec!["8"]),
            (vec![vec![1]], vec![]),
        ] {
            let after = items(&after);
            let after = entries(&after);
            let found: Vec<_> = keys(&after[cursor.find(&after)..]);
            assert_eq!(found.iter().map(|(_, key)| key).collect::<Vec<_>>(), rest);
        }
    }

    proptest! {
        #[test]
        fn what_is_there_all_the_time_is_given_whatever_changes_between_two_pages(
            stays in prop::collection::vec(prop::collection::btree_set(0u8..100, 0..20), 1..4),
            goes in prop::collection::btree_set(100u8..200, 0..20),
            comes in prop::collection::btree_set(200u8..=255, 0..20),
            page in 1usize..9,
        ) {
            // What stays keeps its order, whatever comes between.
            let mixed = |others: &std::collections::BTreeSet<u8>| {
                let with = |(upstream, keys): (usize, &std::collections::BTreeSet<u8>)| {
                    let others = others.iter().filter(|other| usize::from(**other) % 4 == upstream);
                    let mut all: Vec<_> = keys.iter().chain(others).copied().collect();
                    all.sort_by_key(|key| key.wrapping_mul(37));
                    all
                };
                items(&stays.iter().enumerate().map(with).collect::<Vec<_>>())
            };
            let (before, after) = (mixed(&goes), mixed(&comes));
            let (before, after) = (entries(&before), entries(&after));
            let first = &before[..page.min(before.len())];
            let mut given = keys(first);
            if let Some(cursor) = Cursor::after(first) {
                given.extend(keys(&after[cursor.find(&after)..]));
            }
            for (upstream, keys) in stays.iter().enumerate() {
                for key in keys {
                    prop_assert!(given.contains(&(upstream, key.to_string())));
                }
            }
        }
    }
}
