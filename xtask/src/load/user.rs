//! A user: one client session, and one call after the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until, timeout};
use wharf_proto::Response;
use wharf_testkit::{TestClient, client::ConnectError};

use super::{
    ask::{Ask, Wrong},
    axis::{Extent, Faults, Load, Pace, Target, Transport},
    injection::{Failed, Injections},
    tally::{Blame, Tally},
};

/// What the users of one load share.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) load: Load,
    /// The URLs, by server and transport.
    pub(crate) urls: Vec<Urls>,
    pub(crate) begin: Instant,
    pub(crate) tally: Tally,
    pub(crate) injections: Arc<Injections>,
    taken: AtomicU64,
}

/// Where a server is reached, by transport.
pub(crate) type Urls = Vec<(Transport, String)>;

/// One user.
pub(crate) struct User {
    course: Arc<Course>,
    number: usize,
    server: usize,
    transport: Transport,
    client: Option<TestClient>,
    calls: u64,
    /// How long the last call took that was answered.
    took: Duration,
}

/// Why a call has no right answer.
enum Failure {
    /// There is no answer.
    Unanswered(String),
    /// The session that was asked for is refused, in answer to `initialize`.
    Refused(String),
    /// There is one, and it is wrong.
    Wrong(Wrong),
}

/// How long a user waits for anything before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a user who was sent away waits before trying again.
const PAUSE: Duration = Duration::from_millis(50);

/// Every how many calls a user vanishes, where users do.
const VANISH_EVERY: u64 = 20;

// === impl Course ===

impl Course {
    pub(crate) fn new(load: Load, urls: Vec<Urls>, injections: &Arc<Injections>) -> Self {
        let tally = Tally::new(load.users);
        let injections = Arc::clone(injections);
        Self { load, urls, begin: Instant::now(), tally, injections, taken: AtomicU64::new(0) }
    }

    /// When the next call is due; `None` where there is none any more. Waits until then.
    async fn next(&self) -> Option<Instant> {
        let number = self.taken.fetch_add(1, Relaxed);
        let due = match self.load.pace {
            Pace::Closed => Instant::now(),
            Pace::PerSecond(rate) => self.begin + Duration::from_secs_f64(number as f64 / rate),
        };
        let is_over = match self.load.extent {
            Extent::Requests(requests) => number >= requests,
            Extent::Seconds(seconds) => due >= self.begin + seconds,
        };
        if is_over {
            return None;
        }
        sleep_until(due).await;
        Some(due)
    }
}

// === impl User ===

impl User {
    pub(crate) fn new(course: &Arc<Course>, number: usize) -> Self {
        let (server, transport) = course.load.place(number);
        let course = Arc::clone(course);
        Self { course, number, server, transport, client: None, calls: 0, took: Duration::ZERO }
    }

    /// Calls until the load is over, and says goodbye.
    pub(crate) async fn run(mut self) {
        let course = Arc::clone(&self.course);
        let share = self.number as f64 / course.load.users as f64;
        sleep(course.load.ramp.mul_f64(share)).await;
        while let Some(due) = course.next().await {
            self.calls += 1;
            self.call(due).await;
        }
        if let Some(client) = self.client.take() {
            // The server may be gone; then there is nobody to say goodbye to.
            let _ = timeout(PATIENCE, client.close()).await;
        }
    }

    async fn call(&mut self, due: Instant) {
        let subjects = &self.course.load.mix;
        let subject = subjects[(self.number + self.calls as usize) % subjects.len()];
        let server = self.course.load.servers[self.server];
        let vanishes =
            self.course.load.faults == Faults::Vanish && self.calls.is_multiple_of(VANISH_EVERY);
        let (ask, patience) = if vanishes {
            (Ask::slow(server, self.number, self.calls), self.took / 2)
        } else {
            (Ask::new(subject, server, self.number, self.calls), PATIENCE)
        };
        let begin = Instant::now();
        match self.answer(&ask, patience).await {
            Ok(Some(())) => {
                self.took = begin.elapsed();
                self.course.tally.answered(due.elapsed());
                // Who comes late in the ramp has had less time.
                if due >= self.course.begin + self.course.load.ramp {
                    self.course.tally.answered_among_all(self.number);
                }
            }
            Ok(None) if vanishes => self.vanish(),
            Ok(None) => {
                let failure = Failure::Unanswered(format!("no answer in {patience:?}"));
                self.fail(&ask, due, failure).await;
            }
            Err(failure) => self.fail(&ask, due, failure).await,
        }
    }

    /// Calls; `None` where the answer is not there in time, and the call has been dropped.
    async fn answer(&mut self, ask: &Ask, patience: Duration) -> Result<Option<()>, Failure> {
        let client = self.connected().await?;
        let response = timeout(patience, client.call(ask.method, &ask.params)).await;
        let response: Response = match response {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Failure::Unanswered(chain(&error))),
            Err(_) => return Ok(None),
        };
        ask.check(&response).map(Some).map_err(Failure::Wrong)
    }

    async fn connected(&mut self) -> Result<&TestClient, Failure> {
        let is_there = self.client.as_ref().is_some_and(|client| client.end_reason().is_none());
        if is_there {
            self.course.tally.reused.fetch_add(1, Relaxed);
        } else {
            self.client = None;
            let urls = &self.course.urls[self.server];
            let found = urls.iter().find(|(transport, _)| *transport == self.transport);
            let (_, url) = found.expect("there is a URL for every transport");
            let connecting = async {
                match self.transport {
                    Transport::StreamableHttp => TestClient::connect_http(url).await,
                    Transport::Sse => TestClient::connect_sse(url).await,
                }
            };
            let connected = timeout(PATIENCE, connecting).await;
            let connected = connected
                .map_err(|_| Failure::Unanswered(format!("no session in {PATIENCE:?}")))?;
            let client = connected.map_err(|error| {
                let what = format!("no session: {}", chain(&error));
                match error {
                    ConnectError::Refused { .. } => Failure::Refused(what),
                    _ => Failure::Unanswered(what),
                }
            })?;
            self.course.tally.sessions.fetch_add(1, Relaxed);
            self.client = Some(client);
        }
        Ok(self.client.as_ref().expect("it is there or has been made"))
    }

    async fn fail(&mut self, ask: &Ask, from: Instant, failure: Failure) {
        let failed = Failed {
            server: self.server,
            transport: self.transport,
            nonce: &ask.nonce,
            from,
            until: Instant::now(),
        };
        let is_explained = || self.course.injections.explain(&failed);
        let (blame, what) = match failure {
            Failure::Wrong(Wrong::Crossed(what)) => (Blame::Ours, what),
            // An error of Wharf's own is right only if it says whether the call may have run.
            Failure::Wrong(Wrong::Error { may_have_run: Some(may), text }) => {
                let blame = if is_explained() { Blame::Injected } else { Blame::Ours };
                let fate = if may { "may have run" } else { "did not run" };
                (blame, format!("{fate}: {text}"))
            }
            Failure::Wrong(Wrong::Error { may_have_run: None, text }) => (Blame::Upstream, text),
            Failure::Refused(what) => {
                (if is_explained() { Blame::Injected } else { Blame::Ours }, what)
            }
            Failure::Unanswered(what) => {
                // Whoever calls a faulty server itself is told by the network; Wharf always answers.
                let is_straight = self.course.load.target == Target::Straight;
                let is_injected = is_straight && is_explained();
                (if is_injected { Blame::Injected } else { Blame::Ours }, what)
            }
        };
        self.course.tally.failed(blame, what);
        // Without a pause, users whose server is away would do nothing but fail.
        sleep(PAUSE).await;
    }

    /// The connection of a call was dropped in the middle of it.
    fn vanish(&mut self) {
        if self.transport == Transport::Sse {
            // There the connection of the answers is that of the session.
            self.client = None;
        }
        self.course.injections.vanished(self.server);
        self.course.tally.vanished.fetch_add(1, Relaxed);
    }
}

/// An error and its causes in a line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
