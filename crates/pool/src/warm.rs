//! Sessions that are opened ahead of demand, for clients that are yet to come.
//!
//! They are kept in buckets of their own, whose keys no caller has, and so
//! expire, are probed, make room and count against the limits as any other.
//! One that is given away is moved to the bucket of the client that gets it;
//! nobody has used it before, and nobody else will.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::Key;

/// How many different sessions of an upstream are kept warm at most: clients
/// that declare something else, or call with another credential, need others.
const MOST_KINDS: usize = 4;

/// What sessions of an upstream are to be there before anybody asks.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    /// What was asked for last is last.
    wishes: Mutex<Vec<Wish>>,
    is_retrying: AtomicBool,
}

/// Sessions of a kind that somebody new has asked for lately.
#[derive(Debug)]
struct Wish {
    key: Key,
    asked: Instant,
}

/// The one who tries again, where sessions could not be opened. Dropping it
/// lets another do so.
#[derive(Debug)]
pub(crate) struct Retry<'a>(&'a Warm);

// === impl Warm ===

impl Warm {
    fn lock(&self) -> MutexGuard<'_, Vec<Wish>> {
        self.wishes.lock().expect("nothing panics while holding it")
    }

    /// Somebody new has asked for what `key` keeps. Says which others are not
    /// worth their room any more.
    pub(crate) fn wish(&self, key: Key) -> Option<Key> {
        let mut wishes = self.lock();
        wishes.retain(|wish| wish.key != key);
        wishes.push(Wish { key, asked: Instant::now() });
        (wishes.len() > MOST_KINDS).then(|| wishes.remove(0).key)
    }

    /// What has been asked for within the last `lasting`.
    pub(crate) fn wished(&self, lasting: Duration) -> Vec<Key> {
        let mut wishes = self.lock();
        wishes.retain(|wish| wish.asked.elapsed() < lasting);
        wishes.iter().map(|wish| wish.key.clone()).collect()
    }

    pub(crate) fn is_wished(&self, key: &Key, lasting: Duration) -> bool {
        self.lock().iter().any(|wish| wish.key == *key && wish.asked.elapsed() < lasting)
    }

    /// Nobody will ask for these any more.
    pub(crate) fn forget(&self, which: impl Fn(&Key) -> bool) {
        self.lock().retain(|wish| !which(&wish.key));
    }

    /// One is enough to find out when sessions can be opened again.
    pub(crate) fn begin_retrying(&self) -> Option<Retry<'_>> {
        (!self.is_retrying.swap(true, Ordering::AcqRel)).then(|| Retry(self))
    }
}

// === impl Retry ===

impl Drop for Retry<'_> {
    fn drop(&mut self) {
        self.0.is_retrying.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tries_again_at_a_time_however_many_would() {
        let warm = Warm::default();
        let first = warm.begin_retrying().expect("nobody else does");
        assert!(warm.begin_retrying().is_none());
        assert!(warm.begin_retrying().is_none());
        drop(first);
        assert!(warm.begin_retrying().is_some());
    }
}
