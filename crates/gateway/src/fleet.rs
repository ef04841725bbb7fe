//! The upstreams and the pool of sessions with them: what both kinds of
//! endpoint stand on.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;
use wharf_pool::{AcquireError, Handshake, Key, Lease, Pool, Session};
use wharf_proto::{Json, Request, RequestId, Response, code, method, transport::Exchange};

use crate::{
    Dial, Settings, SetupError,
    catalogue::{Kind, Listing},
    error::Failure,
    roster::Upstreams,
    upstream::Upstream,
    wire::WireLink,
};

/// How many pages of one list are read before it is taken to be endless.
const MAX_PAGES: usize = 1000;

/// How long a caller waits for an upstream whose breaker is open, if it is to
/// be tried again within that time. Any other is refused at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// How soon a caller that waits looks whether it has been tried.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The upstreams and the pool.
pub(crate) struct Fleet {
    pub(crate) settings: Settings,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) pool: Pool<Dial>,
    /// Upstreams on their way out. Held while another configuration is taken
    /// over.
    pub(crate) leaving: Mutex<Vec<Arc<Upstream>>>,
    /// Small things said to upstreams that nobody waits for.
    errands: TaskTracker,
}

// === impl Fleet ===

impl Fleet {
    pub(crate) fn new(settings: Settings) -> Result<Arc<Self>, SetupError> {
        let upstreams = Upstreams::new(settings.upstreams.clone(), settings.max_message)?;
        let limits = settings.upstreams.iter();
        let limits = limits.map(|upstream| (upstream.id.shared(), upstream.limits.clone()));
        let pool_settings = wharf_pool::Settings {
            sessions: settings.sessions,
            upstreams: limits.collect(),
            ..wharf_pool::Settings::default()
        };
        let pool = Pool::new(Dial::new(Arc::clone(&upstreams)), pool_settings);
        let (leaving, errands) = (Mutex::default(), TaskTracker::new());
        Ok(Arc::new(Self { settings, upstreams, pool, leaving, errands }))
    }

    /// Leases a session.
    pub(crate) async fn lease(
        &self,
        upstream: &Upstream,
        key: &Key,
    ) -> Result<Lease<WireLink>, Failure> {
        let edition = upstream.edition();
        let begun = Instant::now();
        let deadline = begun + self.settings.acquire_timeout;
        loop {
            let source = match self.pool.acquire(key, deadline).await {
                Ok(lease) => {
                    edition.meet(&lease);
                    return Ok(lease);
                }
                Err(source) => source,
            };
            // An upstream that restarts is back before its breaker closes.
            let patience = PATIENCE.saturating_sub(begun.elapsed());
            match source {
                AcquireError::BreakerOpen { retry_after, .. } if retry_after <= patience => {
                    sleep(retry_after.min(LOOK_AGAIN_AFTER)).await;
                }
                _ => return Err(Failure::Acquire { upstream: upstream.id().clone(), source }),
            }
        }
    }

    /// Leases a session that is there already, if one has room.
    pub(crate) fn lease_at_once(&self, key: &Key) -> Option<Lease<WireLink>> {
        self.pool.try_acquire(key)
    }

    /// Whether a request does no harm when it runs twice: because it only
    /// reads, or because the tool says so (2025-03-26, tools, annotations).
    pub(crate) async fn is_repeatable(&self, upstream: &Upstream, request: &Request) -> bool {
        if request.method() != method::TOOLS_CALL {
            return is_read(request.method());
        }
        let Some(name) = request.param("name").and_then(|name| name.to_text()) else {
            return false;
        };
        let Ok(tools) = self.listing(upstream, Kind::Tools).await else { return false };
        let says = |hint| {
            let hint = tools.item(&name)?.path(&["annotations", hint])?;
            Some(hint.as_str() == "true")
        };
        ["readOnlyHint", "idempotentHint"].into_iter().any(|hint| says(hint) == Some(true))
    }

    /// Answers a request of an upstream's; nobody waits for it.
    pub(crate) fn answer(&self, session: &Session<WireLink>, response: Response) {
        let session = session.clone();
        self.see_to(async move {
            if let Err(error) = session.respond(response).await {
                tracing::debug!(%error, "an upstream did not take our answer");
            }
        });
    }

    /// Sees to something small that nobody waits for.
    pub(crate) fn see_to(&self, errand: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime everything is coming to its end anyway.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.errands.spawn(errand);
        }
    }

    /// What an upstream says of itself.
    pub(crate) async fn handshake(&self, upstream: &Upstream) -> Result<Arc<Handshake>, Failure> {
        let fetch =
            async || Ok(self.lease(upstream, upstream.own_key()).await?.handshake().clone());
        upstream.catalogue.handshake.value(self.settings.list_lifetime, fetch).await
    }

    /// One list of one upstream's.
    pub(crate) async fn listing(
        &self,
        upstream: &Upstream,
        kind: Kind,
    ) -> Result<Arc<Listing>, Failure> {
        let limit = self.settings.list_timeout;
        let fetch = async || {
            let fetched = timeout(limit, self.fetch(upstream, kind)).await;
            fetched.unwrap_or_else(|_| {
                Err(Failure::TimedOut { upstream: upstream.id().clone(), limit })
            })
        };
        upstream.catalogue.list(kind).value(self.settings.list_lifetime, fetch).await
    }

    async fn fetch(&self, upstream: &Upstream, kind: Kind) -> Result<Listing, Failure> {
        let lease = self.lease(upstream, upstream.own_key()).await?;
        let mut listing = Listing::default();
        if !lease.handshake().offers(kind.capability()) {
            return Ok(listing);
        }
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let params = cursor.map(|cursor: Json| page_params(&cursor));
            let request = Request::new(&RequestId::from(0), kind.method(), params.as_ref());
            let answer = lease
                .call(&request)
                .answer()
                .await
                .map_err(|source| Failure::Call { upstream: upstream.id().clone(), source })?;
            if answer.error_code() == Some(code::METHOD_NOT_FOUND) {
                // Servers with resources need not have templates.
                return Ok(listing);
            }
            let bad = || Failure::NoList { upstream: upstream.id().clone(), method: kind.method() };
            let result = answer.result().ok_or_else(bad)?;
            let items = result.field(kind.member()).and_then(|items| items.items());
            listing.take(kind, items.ok_or_else(bad)?, upstream.id(), &self.settings.separator);
            cursor = result.field("nextCursor").filter(|cursor| cursor.as_str() != "null");
            if cursor.is_none() {
                return Ok(listing);
            }
        }
        tracing::warn!(upstream = %upstream.id(), list = kind.member(), "the list has too many pages");
        Ok(listing)
    }

    /// Says the last words to the upstreams.
    pub(crate) async fn shutdown(&self, deadline: Instant) {
        self.pool.shutdown(deadline).await;
        self.errands.close();
        // Sessions have ended, so what is left of these ends at once.
        self.errands.wait().await;
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.upstreams, f)
    }
}

fn is_read(method: &str) -> bool {
    let is_list = Kind::listed_by(method).is_some();
    is_list || matches!(method, method::PROMPTS_GET | method::RESOURCES_READ | method::COMPLETE)
}

fn page_params(cursor: &Json) -> Json {
    Json::parse(format!(r#"{{"cursor":{cursor}}}"#)).expect("a cursor is JSON")
}
