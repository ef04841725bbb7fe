//! The upstreams and the pool of sessions with them: what both kinds of
//! endpoint stand on.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, OnceCell},
    time::{Instant, sleep, timeout},
};
use wharf_http::{ClientSettings, HttpClient};
use wharf_pool::{AcquireError, Handshake, Key, Lease, OpenError, Pool, Session};
use wharf_proto::{Json, Request, RequestId, Response, code, method, transport::Exchange};

use crate::{
    Dial, Settings, SetupError,
    catalogue::{Kind, Listing},
    deadline, dial,
    errands::Errands,
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
    errands: Errands,
}

/// Wharf's own lease on an upstream, shared by all who have it. It is given
/// back with the last of them.
struct OwnLease(Arc<OnceCell<Lease<WireLink>>>);

// === impl Fleet ===

impl Fleet {
    pub(crate) fn new(settings: Settings) -> Result<Arc<Self>, SetupError> {
        let mut connections = ClientSettings::default();
        connections.idle_connection = settings.idle_connection;
        let http = HttpClient::new(&connections);
        let upstreams = Upstreams::new(settings.upstreams.clone(), http, settings.max_message)?;
        let limits = settings.upstreams.iter();
        let limits = limits.map(|upstream| (upstream.id.shared(), upstream.limits.clone()));
        let pool_settings = wharf_pool::Settings {
            sessions: settings.sessions,
            upstreams: limits.collect(),
            ..wharf_pool::Settings::default()
        };
        let pool = Pool::new(Dial::new(Arc::clone(&upstreams)), pool_settings);
        let (leaving, errands) = (Mutex::default(), Errands::default());
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
        let deadline = deadline::after(self.settings.acquire_timeout);
        let mut is_found_anew = false;
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
                // It may have come back as something else than it was.
                AcquireError::Open(OpenError::Transport(error))
                    if !is_found_anew
                        && dial::hints_at_another(&error.fault)
                        && edition.forget_transport() =>
                {
                    is_found_anew = true;
                }
                _ => return Err(Failure::Acquire { upstream: upstream.id().clone(), source }),
            }
        }
    }

    /// Leases Wharf's own session, or shares the lease of who asks the upstream
    /// something now: its lists are not worth a session each.
    async fn own_lease(&self, upstream: &Upstream) -> Result<OwnLease, Failure> {
        let shared = upstream.own_lease();
        shared.get_or_try_init(|| self.lease(upstream, upstream.own_key())).await?;
        Ok(OwnLease(shared))
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
        let asked = session.clone();
        self.errands.see_to_in(session.number(), async move {
            if let Err(error) = asked.respond(response).await {
                tracing::debug!(%error, "an upstream did not take our answer");
            }
        });
    }

    /// Sees to something small that nobody waits for.
    pub(crate) fn see_to(&self, errand: impl Future<Output = ()> + Send + 'static) {
        self.errands.see_to(errand);
    }

    /// What an upstream says of itself.
    pub(crate) async fn handshake(&self, upstream: &Upstream) -> Result<Arc<Handshake>, Failure> {
        let fetch = async || Ok(self.own_lease(upstream).await?.handshake().clone());
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
        let mut listing = Listing::default();
        let is_offered = |handshake: &Handshake| handshake.offers(kind.capability());
        let known = self.pool.handshake(upstream.own_key());
        if known.is_some_and(|handshake| !is_offered(&handshake)) {
            return Ok(listing);
        }
        let lease = self.own_lease(upstream).await?;
        if !is_offered(lease.handshake()) {
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
        self.errands.end().await;
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.upstreams, f)
    }
}

// === impl OwnLease ===

impl Deref for OwnLease {
    type Target = Lease<WireLink>;

    fn deref(&self) -> &Lease<WireLink> {
        self.0.get().expect("it is made with a lease in it")
    }
}

fn is_read(method: &str) -> bool {
    let is_list = Kind::listed_by(method).is_some();
    is_list || matches!(method, method::PROMPTS_GET | method::RESOURCES_READ | method::COMPLETE)
}

fn page_params(cursor: &Json) -> Json {
    Json::parse(format!(r#"{{"cursor":{cursor}}}"#)).expect("a cursor is JSON")
}
