//! The calls that go on without their client, and how many of them there are.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::oneshot;

/// The calls of a session that go on without their client. Costs nothing until
/// there is one.
#[derive(Debug, Default)]
pub(super) struct Strays(Mutex<VecDeque<Stray>>);

/// What one POST has left behind.
#[derive(Debug)]
struct Stray {
    calls: usize,
    leave: oneshot::Sender<Infallible>,
}

/// The leave of calls to go on. As a future it is ready when the leave is
/// taken back; dropped when they have ended.
pub(super) type Leave = oneshot::Receiver<Infallible>;

// === impl Strays ===

impl Strays {
    /// Lets calls go on. Where that makes more than `most`, those that have
    /// gone on for the longest lose their leave: they are the least likely to
    /// be asked for. `None` where these alone are more.
    pub(super) fn admit(&self, calls: usize, most: usize) -> Option<Leave> {
        let room = most.checked_sub(calls)?;
        let mut strays = self.lock();
        strays.retain(|stray| !stray.leave.is_closed());
        let mut others: usize = strays.iter().map(|stray| stray.calls).sum();
        while others > room
            && let Some(oldest) = strays.pop_front()
        {
            tracing::debug!(calls = oldest.calls, "dropped calls whose client has gone");
            others -= oldest.calls;
        }
        let (leave, is_taken_back) = oneshot::channel();
        strays.push_back(Stray { calls, leave });
        Some(is_taken_back)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Stray>> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn goes_on(leave: &mut Leave) -> bool {
        matches!(leave.try_recv(), Err(TryRecvError::Empty))
    }

    #[test]
    fn the_oldest_make_room_and_those_that_have_ended_count_no_more() {
        let strays = Strays::default();
        let mut first = strays.admit(2, 4).expect("fits");
        let mut second = strays.admit(1, 4).expect("fits");
        let mut third = strays.admit(1, 4).expect("fits");
        assert!(goes_on(&mut first));
        let fourth = strays.admit(1, 4).expect("the first makes room");
        assert!(!goes_on(&mut first));
        let fifth = strays.admit(1, 4).expect("the first had two");
        drop((fourth, fifth));
        let mut both = strays.admit(2, 4).expect("two have ended");
        assert!(goes_on(&mut second) && goes_on(&mut third) && goes_on(&mut both));
    }

    #[test]
    fn more_than_there_may_be_are_not_let_go_on_and_end_nobody_else() {
        let strays = Strays::default();
        let mut one = strays.admit(1, 2).expect("fits");
        assert!(strays.admit(3, 2).is_none());
        assert!(strays.admit(1, 0).is_none());
        assert!(goes_on(&mut one));
    }
}
