//! Transports with manners that the mock does not have.

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use wharf_pool::{Key, Pool, Settings};
use wharf_proto::{
    Notification, Request, Response, Revision,
    mock::{self, MockConnect, MockExchange, MockFeed, MockLink, MockUpstream},
    transport::{CallError, Connect, EndReason, Link},
};

/// How a link behaves where the mock behaves well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// The upstream hears a goodbye but never lets go.
    HangsAtGoodbye,
    /// The upstream takes no answers to its requests.
    TakesNoAnswers,
}

/// The mock, with other manners.
pub(crate) struct Mannered {
    mock: MockConnect<Key>,
    manners: Manners,
    /// Answers that hang at this moment.
    pub(crate) hanging: Arc<AtomicUsize>,
}

pub(crate) struct ManneredLink {
    mock: MockLink,
    manners: Manners,
    hanging: Arc<AtomicUsize>,
}

/// Panics at every connect from the first on, until it is told not to.
pub(crate) struct Panics {
    mock: MockConnect<Key>,
    /// How many more times.
    pub(crate) times: AtomicUsize,
}

struct Hanging(Arc<AtomicUsize>);

pub(crate) fn mannered(
    manners: Manners,
    change: impl FnOnce(&mut Settings),
) -> (Pool<Mannered>, MockUpstream, Arc<AtomicUsize>) {
    let mut settings = Settings::default();
    change(&mut settings);
    let (mock, upstream) = mock::pair();
    let hanging = Arc::new(AtomicUsize::new(0));
    let connect = Mannered { mock, manners, hanging: Arc::clone(&hanging) };
    (Pool::new(connect, settings), upstream, hanging)
}

pub(crate) fn panicking(
    times: usize,
    change: impl FnOnce(&mut Settings),
) -> (Pool<Panics>, MockUpstream) {
    let mut settings = Settings::default();
    change(&mut settings);
    let (mock, upstream) = mock::pair();
    (Pool::new(Panics { mock, times: AtomicUsize::new(times) }, settings), upstream)
}

impl Connect for Mannered {
    type Target = Key;
    type Link = ManneredLink;
    type Feed = MockFeed;

    async fn connect(&self, key: &Key) -> Result<(ManneredLink, MockFeed), CallError> {
        let (mock, feed) = self.mock.connect(key).await?;
        let (manners, hanging) = (self.manners, Arc::clone(&self.hanging));
        Ok((ManneredLink { mock, manners, hanging }, feed))
    }
}

impl Link for ManneredLink {
    type Exchange = MockExchange;

    fn call(&self, request: Request) -> MockExchange {
        self.mock.call(request)
    }

    fn notify(
        &self,
        notification: Notification,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        self.mock.notify(notification)
    }

    async fn respond(&self, response: Response) -> Result<(), CallError> {
        if self.manners == Manners::TakesNoAnswers {
            self.hanging.fetch_add(1, Ordering::Relaxed);
            let _hanging = Hanging(Arc::clone(&self.hanging));
            pending::<()>().await;
        }
        self.mock.respond(response).await
    }

    fn agree(&self, revision: Revision) {
        self.mock.agree(revision);
    }

    fn listen(&self) {
        self.mock.listen();
    }

    fn end_reason(&self) -> Option<EndReason> {
        self.mock.end_reason()
    }

    fn has_session(&self) -> bool {
        self.mock.has_session()
    }

    async fn goodbye(&self) {
        self.mock.goodbye().await;
        if self.manners == Manners::HangsAtGoodbye {
            pending::<()>().await;
        }
    }
}

impl Connect for Panics {
    type Target = Key;
    type Link = MockLink;
    type Feed = MockFeed;

    async fn connect(&self, key: &Key) -> Result<(MockLink, MockFeed), CallError> {
        // Not at once, so that a caller can give up before.
        tokio::task::yield_now().await;
        let left = self.times.load(Ordering::Relaxed);
        if left > 0 {
            self.times.store(left - 1, Ordering::Relaxed);
            panic!("a transport with a fault in it");
        }
        self.mock.connect(key).await
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
