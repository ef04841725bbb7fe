//! The berths of one client, by the number of the upstream.

use std::sync::OnceLock;

use crate::berth::Berth;

/// One client's berths. Most clients use few of the upstreams there are.
///
/// A berth stays where it is for as long as the client is there, and is found
/// without a lock. Upstreams that have come since the client did are in rows
/// of their own.
pub(crate) struct Berths {
    row: Box<[OnceLock<Box<Berth>>]>,
    more: OnceLock<Box<Self>>,
}

// === impl Berths ===

impl Berths {
    /// For upstreams of these numbers, and of any that may come.
    pub(crate) fn new(numbers: usize) -> Self {
        let row = (0..numbers.max(1)).map(|_| OnceLock::new()).collect();
        Self { row, more: OnceLock::new() }
    }

    /// The berth with an upstream.
    pub(crate) fn at(&self, number: usize) -> &Berth {
        match self.row.get(number) {
            Some(place) => place.get_or_init(Box::default),
            None => {
                let more = self.more.get_or_init(|| Box::new(Self::new(2 * self.row.len())));
                more.at(number - self.row.len())
            }
        }
    }

    /// The berth with an upstream, if there is one.
    pub(crate) fn find(&self, number: usize) -> Option<&Berth> {
        match self.row.get(number) {
            Some(place) => place.get().map(|berth| &**berth),
            None => self.more.get()?.find(number - self.row.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_berth_stays_where_it_is_whoever_comes() {
        let berths = Berths::new(2);
        assert!(berths.find(1).is_none() && berths.find(70).is_none());
        let all: Vec<_> = (0..70).map(|number| std::ptr::from_ref(berths.at(number))).collect();
        for (number, berth) in all.iter().enumerate() {
            assert!(std::ptr::eq(berths.at(number), *berth));
            assert!(berths.find(number).is_some_and(|found| std::ptr::eq(found, *berth)));
            assert!(!all[..number].contains(berth));
        }
        assert!(berths.find(70).is_none());
    }
}
