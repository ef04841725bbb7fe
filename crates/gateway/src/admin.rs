//! The admin listener: is it well, is it ready, what has it done. No secret
//! is in any of it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use wharf_http::{Body, Guard, json_response};
use wharf_pool::{LatencySnapshot, UpstreamSnapshot};

mod metrics;

use crate::{doors::Doors, fleet::Fleet};

/// Answers operators.
#[derive(Clone)]
pub(crate) struct Admin {
    guard: Guard,
    fleet: Arc<Fleet>,
    doors: Arc<Doors>,
    readiness: Arc<Readiness>,
}

/// Whether the gateway takes new work.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_draining: AtomicBool,
}

// === impl Readiness ===

impl Readiness {
    /// No new work from now on.
    pub(crate) fn begin_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}

// === impl Admin ===

impl Admin {
    pub(crate) fn new(
        guard: Guard,
        fleet: &Arc<Fleet>,
        doors: &Arc<Doors>,
        readiness: &Arc<Readiness>,
    ) -> Self {
        let (fleet, doors) = (Arc::clone(fleet), Arc::clone(doors));
        Self { guard, fleet, doors, readiness: Arc::clone(readiness) }
    }

    pub(crate) fn handle<B>(&self, request: &Request<B>) -> Response<Body> {
        if let Err(forbidden) = self.guard.check(request.headers()) {
            return problem(StatusCode::FORBIDDEN, &forbidden.to_string());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/healthz" => json_response(StatusCode::OK, r#"{"status":"ok"}"#),
            "/readyz" if self.readiness.is_draining() => {
                json_response(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
            }
            "/readyz" => json_response(StatusCode::OK, r#"{"status":"ready"}"#),
            "/metrics" => self.metrics(),
            "/admin/pool" => json_response(StatusCode::OK, self.pool().to_string()),
            _ => problem(
                StatusCode::NOT_FOUND,
                "no such path; there are /healthz, /readyz, /metrics and /admin/pool",
            ),
        }
    }

    fn metrics(&self) -> Response<Body> {
        let snapshot = self.fleet.pool.snapshot();
        let (aggregate, direct) = self.doors.sessions();
        let direct = direct.iter().map(|(upstream, clients)| (upstream.id().as_str(), *clients));
        let clients: Vec<_> = std::iter::once(("", aggregate)).chain(direct).collect();
        let text = metrics::write(&snapshot, &clients);
        let mut response = Response::new(Body::full(text));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    fn pool(&self) -> Value {
        let snapshot = self.fleet.pool.snapshot();
        let (aggregate, direct) = self.doors.sessions();
        let upstreams: Vec<_> = direct
            .into_iter()
            .map(|(upstream, clients)| {
                let id = upstream.id().as_str();
                let used = snapshot.upstreams.iter().find(|used| used.upstream == id);
                let unused = UpstreamSnapshot::default();
                let mut value = figures(used.unwrap_or(&unused));
                value["id"] = id.into();
                value["transport"] = upstream.edition().transport().label().into();
                value["clients"] = clients.into();
                value
            })
            .collect();
        json!({
            "clients": aggregate,
            "draining": self.readiness.is_draining(),
            "tasks": Handle::current().metrics().num_alive_tasks(),
            "upstreams": upstreams,
        })
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

fn figures(upstream: &UpstreamSnapshot) -> Value {
    let ends: serde_json::Map<_, _> = upstream
        .ends
        .iter()
        .map(|(reason, count)| ((*reason).to_owned(), Value::from(*count)))
        .collect();
    json!({
        "keys": upstream.keys,
        "sessions": upstream.sessions,
        "busy": upstream.busy,
        "idle": upstream.idle,
        "probing": upstream.probing,
        "warm": upstream.warm,
        "opening": upstream.opening,
        "closing": upstream.closing,
        "leases": upstream.leases,
        "waiters": upstream.waiters,
        "hits": upstream.hits,
        "misses": upstream.misses,
        "warmHits": upstream.warm_hits,
        "refusals": upstream.refusals,
        "breakerRefusals": upstream.breaker_refusals,
        "opens": upstream.opens,
        "openFailures": upstream.open_failures,
        "ends": ends,
        "probes": upstream.probes,
        "probeFailures": upstream.probe_failures,
        "breakers": {
            "closed": upstream.breakers - upstream.breakers_half_open - upstream.breakers_open,
            "halfOpen": upstream.breakers_half_open,
            "open": upstream.breakers_open,
            "trips": upstream.breaker_trips,
        },
        "acquireLatency": latency(&upstream.acquire_latency),
        "openLatency": latency(&upstream.open_latency),
    })
}

/// How many there were, and their mean.
fn latency(latency: &LatencySnapshot) -> Value {
    let count = latency.count();
    let mean = latency.sum.as_secs_f64() * 1000.0 / count.max(1) as f64;
    json!({ "count": count, "meanMs": (mean * 1000.0).round() / 1000.0 })
}

fn problem(status: StatusCode, what: &str) -> Response<Body> {
    json_response(status, json!({ "error": what }).to_string())
}
