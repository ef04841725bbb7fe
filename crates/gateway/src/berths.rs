//! The berths of one client, by the number of the upstream.

use std::sync::OnceLock;

use crate::berth::Berth;

/// One client's berths. Most clients use few of the upstreams there are, and many
/// one.
///
/// A berth stays where it is for as long as the client is there, and is found
/// without a lock.
pub(crate) struct Berths {
    /// That with the upstream which the client came to first, and its number.
    first: OnceLock<(usize, Berth)>,
    others: OnceLock<Box<Row>>,
    numbers: usize,
}

/// Berths side by side. Upstreams that have come since it was made are in a row of
/// their own.
struct Row {
    row: Box<[OnceLock<Box<Berth>>]>,
    more: OnceLock<Box<Self>>,
}

// === impl Berths ===

impl Berths {
    /// For so many upstreams, and any that may come.
    pub(crate) const fn new(numbers: usize) -> Self {
        Self { first: OnceLock::new(), others: OnceLock::new(), numbers }
    }

    /// The berth with an upstream.
    pub(crate) fn at(&self, number: usize) -> &Berth {
        let (first, berth) = self.first.get_or_init(|| (number, Berth::default()));
        if *first == number {
            return berth;
        }
        self.others.get_or_init(|| Box::new(Row::new(self.numbers))).at(number)
    }

    /// The berth with an upstream, if there is one.
    pub(crate) fn find(&self, number: usize) -> Option<&Berth> {
        match self.first.get() {
            Some((first, berth)) if *first == number => Some(berth),
            _ => self.others.get()?.find(number),
        }
    }
}

// === impl Row ===

impl Row {
    fn new(numbers: usize) -> Self {
        let row = (0..numbers.max(1)).map(|_| OnceLock::new()).collect();
        Self { row, more: OnceLock::new() }
    }

    fn at(&self, number: usize) -> &Berth {
        match self.row.get(number) {
            Some(place) => place.get_or_init(Box::default),
            None => {
                let more = self.more.get_or_init(|| Box::new(Self::new(2 * self.row.len())));
                more.at(number - self.row.len())
            }
        }
    }

    fn find(&self, number: usize) -> Option<&Berth> {
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
        // Neither the lowest number comes first, nor the highest last.
        let numbers: Vec<_> = (0..70).map(|step| (3 + 29 * step) % 70).collect();
        let berth = |number: &usize| std::ptr::from_ref(berths.at(*number));
        let all: Vec<_> = numbers.iter().map(berth).collect();
        for (place, (number, berth)) in numbers.iter().zip(&all).enumerate() {
            assert!(std::ptr::eq(berths.at(*number), *berth));
            assert!(berths.find(*number).is_some_and(|found| std::ptr::eq(found, *berth)));
            assert!(!all[..place].contains(berth));
        }
        assert!(berths.find(70).is_none());
    }
}
