//! What of a load's outcome is the gateway's fault.

use super::{
    axis::{Load, Pace, Transport},
    run::{GatewayFigures, Run},
    sample::Sample,
    tally::Blame,
};

/// A run as long as this is asked whether it has grown: caches and buffers have their size by then.
const SETTLED_AFTER: f64 = 120.0;

/// How much more there may be at the end than once it had settled. Memory comes from the system in steps.
const GROWTH: f64 = 1.1;

// === impl Run ===

impl Run {
    /// What of it is our fault, in a sentence each.
    pub(crate) fn faults_of_ours(&self) -> Vec<String> {
        let who = format!("with {} users and {}", self.load.users, self.load.faults);
        let mut faults = self.faults();
        faults.iter_mut().for_each(|fault| *fault = format!("{who}, {fault}"));
        faults
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let ours = self.failures.iter().filter(|failures| failures.blame == Blame::Ours);
        let count: u64 = ours.map(|failures| failures.count).sum();
        if count > 0 {
            faults.push(format!("{count} failures are ours"));
        }
        if self.calls == 0 {
            faults.push("no call was answered".to_owned());
        }
        if !self.fairness.holds() {
            let (slowest, median) = (self.fairness.slowest, self.fairness.median);
            faults.push(format!("one user had {slowest} calls where another had {median}"));
        }
        if let Some(gateway) = &self.gateway {
            faults.extend(self.left_over(gateway));
        }
        faults.extend(self.growth());
        faults
    }

    fn left_over(&self, gateway: &GatewayFigures) -> impl Iterator<Item = String> {
        let holds = !gateway.has_let_go(&self.load);
        let holds = holds.then(|| {
            let (held, sockets) = (gateway.held_after, gateway.sockets_after);
            format!("the gateway still had {sockets} sockets at the end, and {held:?}")
        });
        let fell = (!gateway.ended_well).then(|| "the gateway did not end with success".to_owned());
        holds.into_iter().chain(fell)
    }

    /// What has grown under a load that was the same all the time.
    fn growth(&self) -> Option<String> {
        let is_steady = matches!(self.load.pace, Pace::PerSecond(_));
        if !is_steady || self.seconds < 2.0 * SETTLED_AFTER {
            return None;
        }
        let settled: Vec<_> =
            self.samples.iter().filter(|sample| sample.at >= SETTLED_AFTER).collect();
        let quarter = settled.len() / 4;
        let (first, last) = (&settled[..quarter], &settled[settled.len() - quarter..]);
        let grown = |name: &str, figure: Figure| {
            let (before, after) = (mean(first, figure), mean(last, figure));
            let has_grown = after > before * GROWTH + 1.0;
            has_grown.then(|| format!("{name} grew from {before:.0} to {after:.0}"))
        };
        grown("memory", |sample| sample.resident)
            .or_else(|| grown("sockets", |sample| sample.sockets))
    }
}

impl GatewayFigures {
    /// Whether nothing is left of what the users had: no session, no call, no socket and no task. Wharf may keep a
    /// session of its own with each upstream, which has a task and may have a socket; and where clients have had
    /// sessions over streamable HTTP, a task goes on looking for those that are no longer used.
    pub(crate) fn has_let_go(&self, load: &Load) -> bool {
        let held = self.held_after;
        held.is_nobodys(load.upstreams())
            && self.sockets_after <= self.sockets_before + held.open
            && held.tasks
                <= self.tasks_before + held.open + load.upstreams_over(Transport::StreamableHttp)
    }
}

type Figure = fn(&Sample) -> u64;

fn mean(samples: &[&Sample], figure: Figure) -> f64 {
    let sum: u64 = samples.iter().map(|sample| figure(sample)).sum();
    sum as f64 / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Profile, sample::Held};

    /// Of a gateway that has let go of everything but `open` sessions of its own.
    fn figures(open: u64) -> GatewayFigures {
        GatewayFigures {
            cpu_per_call: 50.0,
            peak_memory: 1 << 20,
            threads: 3,
            sockets_before: 5,
            tasks_before: 3,
            sockets_after: 5 + open,
            held_after: Held { open, tasks: 5 + open, ..Held::default() },
            ended_well: true,
        }
    }

    #[test]
    fn a_session_with_each_upstream_may_stay_that_is_the_gateways_own() {
        let load = Profile::Smoke.loads().remove(0);
        assert_eq!(load.upstreams(), 4);
        assert!((0..=4).all(|open| figures(open).has_let_go(&load)));
        assert!(!figures(5).has_let_go(&load));
    }

    #[test]
    fn what_a_user_has_had_may_not() {
        let mut lease = figures(1);
        lease.held_after.leases += 1;
        let mut socket = figures(1);
        socket.sockets_after += 1;
        let mut task = figures(1);
        task.held_after.tasks += 1;
        let mut closing = figures(1);
        closing.held_after.closing += 1;
        let mut busy = figures(1);
        busy.held_after.busy += 1;
        for left in [lease, socket, task, closing, busy] {
            assert!(!left.has_let_go(&Profile::Smoke.loads()[0]), "{left:?}");
        }
    }
}
