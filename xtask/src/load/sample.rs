//! Looking at a load while it runs: a line a second.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    axis::Extent,
    tally::{Blame, Latency},
    user::Course,
};
use crate::vitals::Vitals;

/// What was seen at a moment. Latency is that of the calls since the moment before.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// In seconds since the beginning.
    pub(crate) at: f64,
    pub(crate) calls_per_second: f64,
    pub(crate) latency: Latency,
    pub(crate) resident: u64,
    pub(crate) sockets: u64,
    pub(crate) held: Held,
}

/// What the gateway holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    pub(crate) clients: u64,
    /// Sessions that can be called: the idle, the busy and those that are being probed.
    pub(crate) open: u64,
    pub(crate) opening: u64,
    pub(crate) idle: u64,
    pub(crate) busy: u64,
    pub(crate) probing: u64,
    pub(crate) closing: u64,
    pub(crate) leases: u64,
    pub(crate) waiters: u64,
    pub(crate) tasks: u64,
}

/// Asks the gateway what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: hyper::Uri,
}

const EVERY: Duration = Duration::from_secs(1);

// === impl Admin ===

impl Admin {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let url = format!("http://{address}/admin/pool").parse().expect("an address makes a URL");
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url }
    }

    /// What the gateway holds now.
    ///
    /// # Errors
    ///
    /// Where it does not say.
    pub(crate) async fn held(&self) -> Result<Held> {
        let answer =
            self.client.get(self.url.clone()).await.context("no answer from /admin/pool")?;
        let body = answer.into_body().collect().await.context("no body from /admin/pool")?;
        let pool: Value =
            serde_json::from_slice(&body.to_bytes()).context("/admin/pool is no JSON")?;
        Ok(Held::read(&pool))
    }
}

// === impl Held ===

impl Held {
    /// Whether no client has anything in the gateway any more. It may keep a session of its own with each upstream.
    pub(crate) const fn is_nobodys(self, upstreams: u64) -> bool {
        let in_use = self.opening + self.busy + self.closing;
        self.clients + in_use + self.leases + self.waiters == 0 && self.open <= upstreams
    }

    fn read(pool: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let upstreams = pool["upstreams"].as_array().map(Vec::as_slice).unwrap_or_default();
        let sum = |name: &str| upstreams.iter().map(|upstream| number(&upstream[name])).sum();
        let alone: u64 = sum("clients");
        Self {
            clients: number(&pool["clients"]) + alone,
            open: sum("sessions"),
            opening: sum("opening"),
            idle: sum("idle"),
            busy: sum("busy"),
            probing: sum("probing"),
            closing: sum("closing"),
            leases: sum("leases"),
            waiters: sum("waiters"),
            tasks: number(&pool["tasks"]),
        }
    }
}

/// Looks every second, until it is dropped or told to stop, and shows what it sees.
pub(crate) async fn watch(
    course: Arc<Course>,
    pid: Option<u32>,
    admin: Option<Admin>,
    mut stop: tokio::sync::oneshot::Receiver<()>,
) -> Vec<Sample> {
    let bar = bar(course.load.extent);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let (mut samples, mut last) = (Vec::new(), Instant::now());
    loop {
        let is_over = tokio::select! {
            _ = ticks.tick() => false,
            _ = &mut stop => true,
        };
        let passed = last.elapsed().as_secs_f64();
        last = Instant::now();
        // The rest of a second is too short to be told from noise.
        if !is_over || passed > 0.5 {
            let sample = look(&course, passed, pid, admin.as_ref()).await;
            show(&bar, &course, &sample);
            samples.push(sample);
        }
        if is_over {
            bar.finish_and_clear();
            return samples;
        }
    }
}

async fn look(course: &Course, passed: f64, pid: Option<u32>, admin: Option<&Admin>) -> Sample {
    let (calls, latency) = course.tally.recent();
    let vitals = pid.and_then(|pid| Vitals::of(pid).ok()).unwrap_or_default();
    let held = match admin {
        Some(admin) => admin.held().await.unwrap_or_default(),
        None => Held::default(),
    };
    Sample {
        at: course.begin.elapsed().as_secs_f64(),
        calls_per_second: calls as f64 / passed,
        latency,
        resident: vitals.resident,
        sockets: vitals.sockets,
        held,
    }
}

fn bar(extent: Extent) -> ProgressBar {
    let length = match extent {
        Extent::Requests(requests) => requests,
        Extent::Seconds(seconds) => seconds.as_secs(),
    };
    let style = ProgressStyle::with_template("  {bar:30} {percent:>3} %  {msg}");
    ProgressBar::new(length).with_style(style.expect("the template is well formed"))
}

fn show(bar: &ProgressBar, course: &Course, sample: &Sample) {
    bar.set_position(match course.load.extent {
        Extent::Requests(_) => course.tally.calls(),
        Extent::Seconds(_) => sample.at as u64,
    });
    let of = |blame| course.tally.count(blame);
    bar.set_message(format!(
        "{:.0} calls/s, p50 {} µs, p99 {} µs; failures: {} ours, {} injected, {} the upstream's",
        sample.calls_per_second,
        sample.latency.p50,
        sample.latency.p99,
        of(Blame::Ours),
        of(Blame::Injected),
        of(Blame::Upstream),
    ));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_held_is_summed_over_the_upstreams() {
        let pool = json!({ "clients": 1, "tasks": 9, "upstreams": [
            { "clients": 2, "sessions": 3, "idle": 1, "busy": 2, "opening": 0, "leases": 2, "waiters": 4 },
            { "clients": 5, "sessions": 6, "idle": 5, "probing": 1, "opening": 1, "closing": 1 },
        ]});
        let held = Held {
            clients: 8,
            open: 9,
            opening: 1,
            idle: 6,
            busy: 2,
            probing: 1,
            closing: 1,
            leases: 2,
            waiters: 4,
            tasks: 9,
        };
        assert_eq!(Held::read(&pool), held);
    }
}
