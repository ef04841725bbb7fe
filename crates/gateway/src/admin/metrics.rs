//! The figures in the text format that Prometheus reads.

use std::fmt::{Display, Write as _};

use wharf_pool::{LatencySnapshot, Snapshot, UpstreamSnapshot};

/// Writes everything there is to measure. `clients` are the sessions of
/// clients by the upstream whose endpoint they use, `""` being `/mcp`.
pub(super) fn write(snapshot: &Snapshot, clients: &[(&str, usize)]) -> String {
    let mut text = Exposition::default();
    text.family("wharf_clients", "gauge", "Sessions of clients, by endpoint.");
    for (upstream, count) in clients {
        let endpoint = if upstream.is_empty() {
            "/mcp".to_owned()
        } else {
            format!("/servers/{upstream}/mcp")
        };
        text.sample("wharf_clients", &[("endpoint", &endpoint)], *count as u64);
    }
    let upstreams = &snapshot.upstreams;
    text.each(upstreams, "wharf_pool_keys", "gauge", "Keys in use.", |u| u.keys as u64);
    text.each(upstreams, "wharf_pool_leases", "gauge", "Leases out.", |u| u.leases as u64);
    text.each(upstreams, "wharf_pool_waiters", "gauge", "Callers in line.", |u| u.waiters as u64);
    write_states(&mut text, upstreams);
    write_counts(&mut text, upstreams);
    write_timings(&mut text, upstreams);
    text.0
}

/// What there is now, by state.
fn write_states(text: &mut Exposition, upstreams: &[UpstreamSnapshot]) {
    text.family("wharf_pool_sessions", "gauge", "Sessions with upstreams, by state.");
    for upstream in upstreams {
        let states = [
            ("idle", upstream.idle),
            ("busy", upstream.busy),
            ("probing", upstream.probing),
            ("warm", upstream.warm),
            ("opening", upstream.opening),
            ("closing", upstream.closing),
        ];
        for (state, count) in states {
            let labels = [("upstream", upstream.upstream.as_str()), ("state", state)];
            text.sample("wharf_pool_sessions", &labels, count as u64);
        }
    }
    text.family("wharf_pool_breakers", "gauge", "Breakers, by state.");
    for upstream in upstreams {
        let closed = upstream.breakers - upstream.breakers_half_open - upstream.breakers_open;
        let states = [
            ("closed", closed),
            ("half_open", upstream.breakers_half_open),
            ("open", upstream.breakers_open),
        ];
        for (state, count) in states {
            let labels = [("upstream", upstream.upstream.as_str()), ("state", state)];
            text.sample("wharf_pool_breakers", &labels, count as u64);
        }
    }
}

/// What has happened.
fn write_counts(text: &mut Exposition, upstreams: &[UpstreamSnapshot]) {
    let counted: [(&str, &str, Count); 10] = [
        ("wharf_pool_hits_total", "Leases given at once.", |u| u.hits),
        ("wharf_pool_misses_total", "Leases that had to be waited for.", |u| u.misses),
        ("wharf_pool_warm_hits_total", "Misses served by a warm session.", |u| u.warm_hits),
        ("wharf_pool_refusals_total", "Callers sent away from a full line.", |u| u.refusals),
        ("wharf_pool_opens_total", "Sessions opened.", |u| u.opens),
        ("wharf_pool_open_failures_total", "Sessions that could not be opened.", |u| {
            u.open_failures
        }),
        ("wharf_pool_breaker_refusals_total", "Callers sent away by a breaker.", |u| {
            u.breaker_refusals
        }),
        ("wharf_pool_breaker_trips_total", "Times a breaker has opened.", |u| u.breaker_trips),
        ("wharf_pool_probes_total", "Times a session was probed.", |u| u.probes),
        ("wharf_pool_probe_failures_total", "Times that it did not work.", |u| u.probe_failures),
    ];
    for (name, help, value) in counted {
        text.each(upstreams, name, "counter", help, value);
    }
    text.family("wharf_pool_ends_total", "counter", "Sessions ended, by reason.");
    for upstream in upstreams {
        for (reason, count) in &upstream.ends {
            let labels = [("upstream", upstream.upstream.as_str()), ("reason", reason)];
            text.sample("wharf_pool_ends_total", &labels, *count);
        }
    }
}

/// How long it took.
fn write_timings(text: &mut Exposition, upstreams: &[UpstreamSnapshot]) {
    let timed: [(&str, &str, Timing); 2] = [
        ("wharf_pool_acquire_seconds", "How long a lease took.", |u| &u.acquire_latency),
        ("wharf_pool_open_seconds", "How long opening took.", |u| &u.open_latency),
    ];
    for (name, help, latency) in timed {
        text.family(name, "histogram", help);
        for upstream in upstreams {
            text.histogram(name, &upstream.upstream, latency(upstream));
        }
    }
}

/// Reads one figure.
type Count = fn(&UpstreamSnapshot) -> u64;

/// Reads one histogram.
type Timing = fn(&UpstreamSnapshot) -> &LatencySnapshot;

/// Text in the exposition format.
#[derive(Debug, Default)]
struct Exposition(String);

// === impl Exposition ===

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample. Label values are ids and words of our own: nothing in
    /// them needs escaping.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }

    /// Each range holds those below it, too.
    fn histogram(&mut self, name: &str, upstream: &str, latency: &LatencySnapshot) {
        let (bucket, mut count) = (format!("{name}_bucket"), 0);
        let bounds = LatencySnapshot::BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, in_range) in bounds.zip(latency.counts) {
            count += in_range;
            self.sample(&bucket, &[("upstream", upstream), ("le", &bound)], count);
        }
        let labels = [("upstream", upstream)];
        self.sample(&format!("{name}_sum"), &labels, latency.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), &labels, count);
    }

    fn each(
        &mut self,
        upstreams: &[UpstreamSnapshot],
        name: &str,
        kind: &str,
        help: &str,
        value: impl Fn(&UpstreamSnapshot) -> u64,
    ) {
        self.family(name, kind, help);
        for upstream in upstreams {
            self.sample(name, &[("upstream", &upstream.upstream)], value(upstream));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_type_and_every_sample_a_value() {
        let upstream = UpstreamSnapshot {
            upstream: "time".into(),
            sessions: 5,
            busy: 3,
            idle: 2,
            ends: vec![("idle", 3)],
            breakers: 2,
            breakers_open: 1,
            ..UpstreamSnapshot::default()
        };
        let mut upstream = upstream;
        upstream.acquire_latency.counts[0] = 7;
        upstream.acquire_latency.counts[2] = 2;
        upstream.acquire_latency.sum = std::time::Duration::from_millis(1500);
        let text = write(&Snapshot { upstreams: vec![upstream] }, &[("", 1), ("time", 4)]);
        assert!(text.contains("wharf_clients{endpoint=\"/servers/time/mcp\"} 4\n"), "{text}");
        assert!(
            text.contains("wharf_pool_sessions{upstream=\"time\",state=\"idle\"} 2\n"),
            "{text}"
        );
        for sample in [
            "wharf_pool_breakers{upstream=\"time\",state=\"open\"} 1",
            "wharf_pool_acquire_seconds_bucket{upstream=\"time\",le=\"0.0005\"} 7",
            "wharf_pool_acquire_seconds_bucket{upstream=\"time\",le=\"+Inf\"} 9",
            "wharf_pool_acquire_seconds_sum{upstream=\"time\"} 1.5",
            "wharf_pool_acquire_seconds_count{upstream=\"time\"} 9",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample} is not in {text}");
        }
        assert!(
            text.contains("wharf_pool_ends_total{upstream=\"time\",reason=\"idle\"} 3\n"),
            "{text}"
        );
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
            let name = sample.split('{').next().expect("a sample has a name");
            let parts = ["_bucket", "_sum", "_count"];
            let family = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
