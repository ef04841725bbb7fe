//! The mock transport with a switch for what it does too well.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use wharf_proto::{
    Notification, Request, Response, Revision,
    mock::{MockConnect, MockExchange, MockFeed, MockLink},
    transport::{CallError, Connect, EndReason, Link},
};

/// The mock, with manners.
pub struct Mannered<T: ?Sized> {
    mock: MockConnect<T>,
    manners: Manners,
}

/// How links behave. Clones are the same manners, to be changed at any time.
#[derive(Debug, Clone, Default)]
pub struct Manners(Arc<AtomicBool>);

/// A link of [`Mannered`].
#[derive(Debug)]
pub struct ManneredLink {
    mock: MockLink,
    manners: Manners,
}

// === impl Manners ===

impl Manners {
    /// From now on the upstream hears a goodbye and never lets go.
    pub fn never_let_go(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// === impl Mannered ===

impl<T: ?Sized> Mannered<T> {
    /// The mock with those manners.
    #[must_use]
    pub const fn new(mock: MockConnect<T>, manners: Manners) -> Self {
        Self { mock, manners }
    }
}

impl<T: ?Sized + Sync + 'static> Connect for Mannered<T> {
    type Target = T;
    type Link = ManneredLink;
    type Feed = MockFeed;

    async fn connect(&self, target: &T) -> Result<(ManneredLink, MockFeed), CallError> {
        let (mock, feed) = self.mock.connect(target).await?;
        Ok((ManneredLink { mock, manners: self.manners.clone() }, feed))
    }
}

impl<T: ?Sized> fmt::Debug for Mannered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mannered({:?})", self.manners)
    }
}

// === impl ManneredLink ===

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

    fn respond(&self, response: Response) -> impl Future<Output = Result<(), CallError>> + Send {
        self.mock.respond(response)
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
        if self.manners.0.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }
}
