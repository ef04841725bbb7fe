//! The pool of `wharf-pool` as a specimen.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use wharf_pool::{
    BreakerLimits, Fingerprinter, Key, KeyParts, Lease, Limits, Pool, Profile, Scope, Settings,
};
use wharf_proto::{
    Json, Request, Response, Revision,
    transport::{Connect, Exchange as _, Fate, Link},
};

use super::{Bounds, Caller, Failed, Figures, Hold, Kind, Sharing, Specimen, Who};

/// How long its shutdown lets calls finish.
const DRAIN: Duration = Duration::from_secs(1);

/// The pool of `wharf-pool`.
#[derive(Debug)]
pub struct Here(());

/// It, over one transport.
pub struct HerePool<C: Connect<Target = Key>> {
    pool: Pool<C>,
    fingerprints: Arc<Fingerprinter>,
    patience: Duration,
    call_timeout: Duration,
}

/// A client of it.
pub struct HereCaller<C: Connect<Target = Key>> {
    pool: HerePool<C>,
    key: Key,
}

/// A lease of it.
pub struct HereHold<L: Link> {
    lease: Lease<L>,
    call_timeout: Duration,
}

// === impl Here ===

impl Kind for Here {
    type Target = Key;
    type Pool<C: Connect<Target = Key>> = HerePool<C>;

    fn build<C: Connect<Target = Key>>(connect: C, bounds: &Bounds) -> HerePool<C> {
        let breaker = BreakerLimits {
            failures: bounds.breaker_failures,
            pause: bounds.breaker_pause,
            ..BreakerLimits::default()
        };
        let default = Limits {
            sessions_per_key: bounds.sessions_per_key,
            idle_timeout: bounds.idle_timeout,
            max_age: Some(bounds.max_age),
            probe_after: bounds.probe_after,
            probe_timeout: bounds.probe_timeout,
            breaker,
            ..Limits::default()
        };
        HerePool {
            pool: Pool::new(connect, Settings { default, ..Settings::default() }),
            fingerprints: Arc::default(),
            patience: bounds.patience,
            call_timeout: bounds.call_timeout,
        }
    }
}

// === impl HerePool ===

impl<C: Connect<Target = Key>> HerePool<C> {
    /// The pool itself.
    #[must_use]
    pub const fn pool(&self) -> &Pool<C> {
        &self.pool
    }

    /// What makes that client eligible for a session.
    ///
    /// # Panics
    ///
    /// Where the URL has no host.
    #[must_use]
    pub fn key(&self, who: &Who) -> Key {
        // The gateway's names for upstreams are the configuration's; a URL is
        // never a part of a key.
        let host = who.url.split("//").nth(1).and_then(|rest| rest.split('/').next());
        let scope = match who.sharing {
            Sharing::Nobody => Scope::Client(who.client),
            Sharing::User => Scope::Identity(who.user.as_str().into()),
        };
        let profile = Profile {
            revision: Revision::LATEST,
            capabilities: Json::empty_object(),
            client_info: Json::parse(r#"{"name":"regress","version":"1"}"#).expect("it is JSON"),
        };
        Key::new(KeyParts {
            upstream: host.expect("the URL has a host").into(),
            scope,
            credential: self.fingerprints.of(&who.credential),
            profile: Arc::new(profile),
        })
    }
}

impl<C: Connect<Target = Key>> Specimen for HerePool<C> {
    type Caller = HereCaller<C>;

    fn caller(&self, who: &Who) -> HereCaller<C> {
        HereCaller { pool: self.clone(), key: self.key(who) }
    }

    fn figures(&self) -> Figures {
        let snapshot = self.pool.snapshot();
        let keys = snapshot.upstreams.iter().map(|upstream| upstream.keys).sum();
        let sessions = snapshot.upstreams.iter().map(|upstream| upstream.sessions).sum();
        Figures { keys, sessions, text: format!("{snapshot:?}") }
    }

    async fn shutdown(&self) {
        self.pool.shutdown(Instant::now() + DRAIN).await;
    }
}

impl<C: Connect<Target = Key>> Clone for HerePool<C> {
    fn clone(&self) -> Self {
        let (pool, fingerprints) = (self.pool.clone(), Arc::clone(&self.fingerprints));
        Self { pool, fingerprints, ..*self }
    }
}

impl<C: Connect<Target = Key>> fmt::Debug for HerePool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.pool, f)
    }
}

// === impl HereCaller ===

impl<C: Connect<Target = Key>> Caller for HereCaller<C> {
    type Hold = HereHold<C::Link>;

    async fn acquire(&mut self) -> Result<HereHold<C::Link>, Failed> {
        let deadline = Instant::now() + self.pool.patience;
        let leased = self.pool.pool.acquire(&self.key, deadline).await;
        let lease = leased.map_err(|error| Failed::new(&error, false))?;
        Ok(HereHold { lease, call_timeout: self.pool.call_timeout })
    }

    fn identify(&mut self, who: &Who) {
        self.key = self.pool.key(who);
    }
}

impl<C: Connect<Target = Key>> fmt::Debug for HereCaller<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HereCaller({:?})", self.key)
    }
}

// === impl HereHold ===

impl<L: Link> Hold for HereHold<L> {
    async fn call(&self, request: &Request) -> Result<Response, Failed> {
        let mut call = self.lease.call(request);
        match timeout(self.call_timeout, call.answer()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failed::new(&error, error.fate == Fate::NotSent)),
            Err(elapsed) => Err(Failed::new(&elapsed, false)),
        }
    }

    async fn give_back(self, _: bool) {
        // Whether the session is any good is not the caller's to say.
        drop(self.lease);
    }
}

impl<L: Link> fmt::Debug for HereHold<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.lease, f)
    }
}
