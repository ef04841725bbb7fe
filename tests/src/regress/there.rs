//! The naive pool of the testkit as a specimen.

use std::fmt;

use wharf_proto::{Request, Response, transport::Connect};
use wharf_testkit::naive::{
    NaiveError, NaiveLease, NaivePool, NaiveRequest, NaiveSettings, Wanted,
};

use super::{Bounds, Caller, Failed, Figures, Hold, Kind, Specimen, Who};

/// The naive pool.
#[derive(Debug)]
pub struct There(());

/// It, over one transport.
pub struct TherePool<C: Connect<Target = Wanted>>(NaivePool<C>);

/// A client of it.
pub struct ThereCaller<C: Connect<Target = Wanted>> {
    pool: NaivePool<C>,
    who: Who,
    /// The client's connection, in whose task sessions come to live.
    request: Option<NaiveRequest<C>>,
}

/// A session of it, in use.
pub struct ThereHold<C: Connect<Target = Wanted>>(NaiveLease<C>);

// === impl There ===

impl Kind for There {
    type Target = Wanted;
    type Pool<C: Connect<Target = Wanted>> = TherePool<C>;

    fn build<C: Connect<Target = Wanted>>(connect: C, bounds: &Bounds) -> TherePool<C> {
        let settings = NaiveSettings {
            sessions_per_key: bounds.sessions_per_key,
            acquire_timeout: bounds.patience,
            call_timeout: bounds.call_timeout,
            max_age: bounds.max_age,
            probe_after: bounds.probe_after,
            probe_timeout: bounds.probe_timeout,
            idle_timeout: bounds.idle_timeout,
            breaker_failures: bounds.breaker_failures,
            breaker_pause: bounds.breaker_pause,
            ..NaiveSettings::default()
        };
        TherePool(NaivePool::new(connect, settings))
    }
}

// === impl TherePool ===

impl<C: Connect<Target = Wanted>> Specimen for TherePool<C> {
    type Caller = ThereCaller<C>;

    fn caller(&self, who: &Who) -> ThereCaller<C> {
        ThereCaller { pool: self.0.clone(), who: who.clone(), request: None }
    }

    fn figures(&self) -> Figures {
        let figures = self.0.figures();
        Figures { keys: figures.keys, sessions: figures.idle + figures.active, text: figures.text }
    }

    async fn shutdown(&self) {
        self.0.close().await;
    }
}

impl<C: Connect<Target = Wanted>> Clone for TherePool<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Connect<Target = Wanted>> fmt::Debug for TherePool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// === impl ThereCaller ===

impl<C: Connect<Target = Wanted>> Caller for ThereCaller<C> {
    type Hold = ThereHold<C>;

    async fn acquire(&mut self) -> Result<ThereHold<C>, Failed> {
        // One that was cancelled while it did nothing is lost by nobody.
        if self.request.as_ref().is_some_and(NaiveRequest::is_cancelled) {
            self.request = None;
        }
        let begin = || self.pool.request(wanted(&self.who));
        let request = self.request.get_or_insert_with(begin);
        let leased = request.acquire().await;
        leased.map(ThereHold).map_err(|error| failed(&error))
    }

    fn identify(&mut self, who: &Who) {
        self.who = who.clone();
        if let Some(request) = &self.request {
            request.identify(wanted(who));
        }
    }
}

impl<C: Connect<Target = Wanted>> fmt::Debug for ThereCaller<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThereCaller({:?})", self.who)
    }
}

fn wanted(who: &Who) -> Wanted {
    Wanted { url: who.url.clone(), user: who.user.clone(), credential: who.credential.clone() }
}

fn failed(error: &NaiveError) -> Failed {
    // It does not tell, so nothing may be made again.
    Failed::new(error, false)
}

// === impl ThereHold ===

impl<C: Connect<Target = Wanted>> Hold for ThereHold<C> {
    async fn call(&self, request: &Request) -> Result<Response, Failed> {
        self.0.call(request).await.map_err(|error| failed(&error))
    }

    async fn give_back(self, went_well: bool) {
        if went_well {
            self.0.give_back().await;
        } else {
            self.0.discard().await;
        }
    }
}

impl<C: Connect<Target = Wanted>> fmt::Debug for ThereHold<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
