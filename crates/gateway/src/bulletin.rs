//! What is announced to all clients of `/mcp`: which lists have changed.
//!
//! A client that is slow or away loses nothing and holds nobody up: what is
//! kept for it is one number for each list.

use tokio::sync::watch;

use crate::catalogue::Change;

/// What has been announced so far.
#[derive(Debug)]
pub(crate) struct Bulletin(watch::Sender<Issue>);

/// One client's reading of it. Several announcements of one kind that it has
/// not read yet are one to it.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    current: watch::Receiver<Issue>,
    read: Issue,
}

/// How often each kind of change was announced.
type Issue = [u64; Change::ALL.len()];

// === impl Bulletin ===

impl Bulletin {
    pub(crate) fn announce(&self, change: Change) {
        self.0.send_modify(|issue| issue[place(change)] += 1);
    }

    /// Reads on from here.
    pub(crate) fn reader(&self) -> Reader {
        let current = self.0.subscribe();
        let read = *current.borrow();
        Reader { current, read }
    }
}

impl Default for Bulletin {
    fn default() -> Self {
        Self(watch::Sender::new(Issue::default()))
    }
}

// === impl Reader ===

impl Reader {
    /// The next change that was announced.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is read before it is returned.
    pub(crate) async fn next(&mut self) -> Change {
        loop {
            let issue = *self.current.borrow_and_update();
            if let Some(change) = Change::ALL
                .into_iter()
                .find(|change| issue[place(*change)] > self.read[place(*change)])
            {
                self.read[place(change)] = issue[place(change)];
                return change;
            }
            if self.current.changed().await.is_err() {
                // Nobody will announce anything any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

const fn place(change: Change) -> usize {
    change as usize
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_reader_hears_of_each_kind_once_however_late_it_reads() {
        let bulletin = Bulletin::default();
        bulletin.announce(Change::Prompts);
        let mut reader = bulletin.reader();
        for change in [Change::Resources, Change::Tools, Change::Tools] {
            bulletin.announce(change);
        }
        assert_eq!(reader.next().await, Change::Tools);
        assert_eq!(reader.next().await, Change::Resources);
        assert_eq!(reader.next().now_or_never(), None);
        bulletin.announce(Change::Tools);
        assert_eq!(reader.next().now_or_never(), Some(Change::Tools));
    }
}
