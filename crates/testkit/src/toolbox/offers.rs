//! What a toolbox offers of one kind.

use std::{collections::HashMap, ops::Deref};

use wharf_proto::Json;

/// Something that a list holds and a request asks for by name.
pub(super) struct Offered<A> {
    pub(super) name: String,
    pub(super) listed: Json,
    pub(super) act: A,
}

/// All of a kind, in the order of their list. One is found as fast among many
/// as among few: who measures what a client has to do must not wait for this.
pub(super) struct Offers<A> {
    in_order: Vec<Offered<A>>,
    places: HashMap<String, usize>,
}

// === impl Offers ===

impl<A> Offers<A> {
    pub(super) fn push(&mut self, offered: Offered<A>) {
        // Of two of one name the first is meant.
        self.places.entry(offered.name.clone()).or_insert(self.in_order.len());
        self.in_order.push(offered);
    }

    pub(super) fn named(&self, name: &str) -> Option<&Offered<A>> {
        self.places.get(name).map(|place| &self.in_order[*place])
    }
}

impl<A> Default for Offers<A> {
    fn default() -> Self {
        Self { in_order: Vec::new(), places: HashMap::new() }
    }
}

impl<A> Deref for Offers<A> {
    type Target = [Offered<A>];

    fn deref(&self) -> &[Offered<A>] {
        &self.in_order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_of_one_name_the_first_is_meant_and_both_are_listed() {
        let mut offers = Offers::default();
        for (name, act) in [("a", 1), ("b", 2), ("a", 3)] {
            offers.push(Offered { name: name.into(), listed: Json::empty_object(), act });
        }
        assert_eq!(offers.named("a").map(|offered| offered.act), Some(1));
        assert_eq!(offers.named("b").map(|offered| offered.act), Some(2));
        assert!(offers.named("c").is_none());
        assert_eq!(offers.iter().map(|offered| offered.act).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
