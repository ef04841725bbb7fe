//! What was made to go wrong, and which failures that explains.

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;

use super::axis::Transport;

/// Everything that was injected into one load.
#[derive(Debug, Default)]
pub(crate) struct Injections(Mutex<Vec<Injection>>);

#[derive(Debug, Clone)]
struct Injection {
    server: usize,
    from: Instant,
    /// Not known while it lasts.
    until: Option<Instant>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// The upstream was not there.
    Restart,
    /// A connection was reset that carried the calls of these nonces.
    Reset(Vec<String>),
    /// A caller has dropped its connection.
    Vanished,
}

/// A call that failed, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed<'a> {
    pub(crate) server: usize,
    pub(crate) transport: Transport,
    pub(crate) nonce: &'a str,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// How long after a reset a request may still run into the connection that is no more.
const UNNOTICED: Duration = Duration::from_millis(2);

// === impl Injections ===

impl Injections {
    /// The upstream is away from now on. The answer is for [`Injections::restarted`].
    pub(crate) fn restarting(&self, server: usize) -> usize {
        let mut all = self.all();
        all.push(Injection { server, from: Instant::now(), until: None, what: What::Restart });
        all.len() - 1
    }

    /// It is back.
    pub(crate) fn restarted(&self, number: usize) {
        self.all()[number].until = Some(Instant::now());
    }

    /// A connection to the upstream has been reset just now.
    pub(crate) fn reset(&self, server: usize, nonces: Vec<String>) {
        let now = Instant::now();
        let until = Some(now + UNNOTICED);
        self.all().push(Injection { server, from: now, until, what: What::Reset(nonces) });
    }

    /// A caller of this upstream's has dropped its connection in the middle of a call.
    pub(crate) fn vanished(&self, server: usize) {
        let now = Instant::now();
        self.all().push(Injection { server, from: now, until: Some(now), what: What::Vanished });
    }

    /// Whether something that was injected into this very upstream, or call, explains the failure.
    pub(crate) fn explain(&self, failed: &Failed<'_>) -> bool {
        self.all().iter().rev().any(|injection| injection.explains(failed))
    }

    /// When each began, since `begin` and in seconds.
    pub(crate) fn marks(&self, begin: Instant) -> Vec<f64> {
        let all = self.all();
        let since = |one: &Injection| one.from.saturating_duration_since(begin).as_secs_f64();
        let mut marks: Vec<_> = all.iter().map(since).collect();
        marks.sort_unstable_by(f64::total_cmp);
        marks
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Injection>> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

// === impl Injection ===

impl Injection {
    fn explains(&self, failed: &Failed<'_>) -> bool {
        if self.server != failed.server {
            return false;
        }
        let began_before_its_end = self.until.is_none_or(|until| failed.from <= until);
        let overlaps = began_before_its_end && failed.until >= self.from;
        match &self.what {
            What::Restart => overlaps,
            What::Reset(nonces) => {
                // Over HTTP+SSE one stream carries the answers of a whole session.
                let is_of_a_stream = failed.transport == Transport::Sse;
                let has_run_into_it = failed.from >= self.from;
                let is_the_call = nonces.iter().any(|nonce| nonce == failed.nonce);
                is_the_call || overlaps && (is_of_a_stream || has_run_into_it)
            }
            // Nobody else's call may fail by it.
            What::Vanished => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(nonce: &str, from: Instant, until: Instant) -> Failed<'_> {
        Failed { server: 0, transport: Transport::StreamableHttp, nonce, from, until }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_explains_the_calls_that_it_overlaps_and_no_others() {
        let injections = Injections::default();
        let before = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        let number = injections.restarting(0);
        tokio::time::advance(Duration::from_secs(1)).await;
        injections.restarted(number);
        let end = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        let after = Instant::now();
        assert!(injections.explain(&failed("n", before, end)));
        assert!(injections.explain(&failed("n", end, after)));
        assert!(!injections.explain(&failed("n", before, before)));
        assert!(!injections.explain(&failed("n", after, after)));
        assert!(!injections.explain(&Failed { server: 1, ..failed("n", before, end) }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_explains_the_call_it_has_hit_and_not_its_neighbour() {
        let injections = Injections::default();
        let before = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        injections.reset(0, vec!["n1".into()]);
        tokio::time::advance(Duration::from_secs(1)).await;
        let after = Instant::now();
        assert!(injections.explain(&failed("n1", before, after)));
        assert!(!injections.explain(&failed("n2", before, after)));
        let of_a_stream = Failed { transport: Transport::Sse, ..failed("n2", before, after) };
        assert!(injections.explain(&of_a_stream));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_vanishes_is_marked_and_explains_no_failure() {
        let injections = Injections::default();
        let begin = Instant::now();
        tokio::time::advance(Duration::from_millis(100)).await;
        injections.vanished(0);
        assert_eq!(injections.marks(begin), [0.1]);
        assert!(!injections.explain(&failed("n", begin, Instant::now())));
    }
}
