//! The figures in the text format that Prometheus reads.

use std::fmt::Write as _;

use wharf_pool::{Snapshot, UpstreamSnapshot};

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
    text.family("wharf_pool_sessions", "gauge", "Sessions with upstreams, by state.");
    for upstream in upstreams {
        for (state, count) in [("open", upstream.sessions), ("opening", upstream.opening)] {
            let labels = [("upstream", upstream.upstream.as_str()), ("state", state)];
            text.sample("wharf_pool_sessions", &labels, count as u64);
        }
    }
    let counted: [(&str, &str, Count); 5] = [
        ("wharf_pool_hits_total", "Leases given at once.", |u| u.hits),
        ("wharf_pool_misses_total", "Leases that had to be waited for.", |u| u.misses),
        ("wharf_pool_refusals_total", "Callers sent away from a full line.", |u| u.refusals),
        ("wharf_pool_opens_total", "Sessions opened.", |u| u.opens),
        ("wharf_pool_open_failures_total", "Sessions that could not be opened.", |u| {
            u.open_failures
        }),
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
    text.0
}

/// Reads one figure.
type Count = fn(&UpstreamSnapshot) -> u64;

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
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
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
            sessions: 2,
            ends: vec![("idle", 3)],
            ..UpstreamSnapshot::default()
        };
        let text = write(&Snapshot { upstreams: vec![upstream] }, &[("", 1), ("time", 4)]);
        assert!(text.contains("wharf_clients{endpoint=\"/servers/time/mcp\"} 4\n"), "{text}");
        assert!(
            text.contains("wharf_pool_sessions{upstream=\"time\",state=\"open\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("wharf_pool_ends_total{upstream=\"time\",reason=\"idle\"} 3\n"),
            "{text}"
        );
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
            let family = sample.split('{').next().expect("a sample has a name");
            assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
            assert!(value.parse::<u64>().is_ok(), "{line}");
        }
    }
}
