//! Measuring: every way has its turn, again and again.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::Instant};
use wharf_testkit::TestClient;

use super::{
    case::{Case, Wire},
    lane::{Lane, Paved},
};
use crate::{
    stage::{Process, Stage},
    vitals::Vitals,
};

/// How often and how long each way is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    pub(crate) rounds: u32,
    pub(crate) length: Duration,
    /// All ways have theirs at the same time, and not one after the other.
    pub(crate) are_at_once: bool,
}

/// What was measured on one way.
pub(crate) struct Measured {
    pub(crate) lane: Lane,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Of the process in the way; zero where there is none.
    pub(crate) cpu: Duration,
    pub(crate) time: Duration,
    /// Answers in the last three quarters of each turn. A turn begins with no call under way and is up with one of each
    /// user, which is not counted: nor is, then, what comes of as many at its beginning.
    settled: u64,
    /// How long those were counted.
    settled_time: Duration,
}

/// What was measured in one case.
pub(crate) struct CaseResult {
    pub(crate) case: Case,
    pub(crate) lanes: Vec<Measured>,
}

/// When answers are counted in a turn.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

/// What one user had of a turn.
struct Ridden {
    latency: Histogram<u64>,
    settled: u64,
}

/// One way with its users on it.
pub(super) struct Track {
    paved: Paved,
    users: Vec<Arc<TestClient>>,
    tool: &'static str,
    pub(super) measured: Measured,
}

/// Measures every case, and says what has come of each.
///
/// # Errors
///
/// As [`ride`].
pub(crate) async fn measure(
    stage: &Stage,
    cases: &[Case],
    lanes: &[Lane],
    turns: Turns,
) -> Result<Vec<CaseResult>> {
    let mut results = Vec::new();
    for &case in cases {
        println!("{case}");
        let (_upstream, tracks) = ride(stage, case, lanes, turns).await?;
        let lanes = tracks.into_iter().map(|track| track.measured).collect();
        let result = CaseResult { case, lanes };
        print!("{}", super::result::table(&result));
        results.push(result);
    }
    Ok(results)
}

/// Uses the ways to an upstream as a case says. The upstream runs on, and what stands in the ways.
///
/// # Errors
///
/// Where something does not come up, or a call is not answered as it should be.
pub(super) async fn ride(
    stage: &Stage,
    case: Case,
    lanes: &[Lane],
    turns: Turns,
) -> Result<(Process, Vec<Track>)> {
    let (upstream, mut tracks) = pave(stage, case, lanes, turns).await?;
    for _ in 0..turns.rounds {
        let riding = tracks.iter_mut().map(|track| track.turn(case, turns.length));
        if turns.are_at_once {
            try_join_all(riding).await?;
        } else {
            for turn in riding {
                turn.await?;
            }
        }
    }
    Ok((upstream, tracks))
}

/// Puts the users of a case on the ways to an upstream, and uses each once without counting, so that every connection
/// is there.
///
/// # Errors
///
/// As [`ride`].
pub(super) async fn pave(
    stage: &Stage,
    case: Case,
    lanes: &[Lane],
    turns: Turns,
) -> Result<(Process, Vec<Track>)> {
    let upstream = stage.upstream("fast-test", case.wire.flags()).await?;
    let mut tracks = Vec::new();
    for lane in lanes {
        let paved = lane.pave(stage, upstream.address(), case.wire).await?;
        tracks.push(Track::new(paved, case, "echo").await?);
    }
    for track in &tracks {
        track.warm_up(case, turns).await?;
    }
    Ok((upstream, tracks))
}

// === impl Measured ===

impl Measured {
    fn new(lane: Lane) -> Self {
        let latency = Histogram::new(3).expect("three digits are allowed");
        Self {
            lane,
            latency,
            cpu: Duration::ZERO,
            time: Duration::ZERO,
            settled: 0,
            settled_time: Duration::ZERO,
        }
    }

    fn add(&mut self, turn: Self) -> Result<()> {
        self.latency.add(turn.latency).context("two histograms differ")?;
        self.cpu += turn.cpu;
        self.time += turn.time;
        self.settled += turn.settled;
        self.settled_time += turn.settled_time;
        Ok(())
    }

    pub(crate) fn calls(&self) -> u64 {
        self.latency.len()
    }

    pub(crate) fn cpu_per_call(&self) -> Duration {
        self.cpu.checked_div(u32::try_from(self.calls()).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    pub(crate) fn throughput(&self) -> f64 {
        self.calls() as f64 / self.time.as_secs_f64()
    }

    /// Answers a second while as many calls were under way as there were users.
    pub(super) fn settled_throughput(&self) -> f64 {
        self.settled as f64 / self.settled_time.as_secs_f64()
    }

    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }
}

// === impl Window ===

impl Window {
    fn of_turn(begin: Instant, length: Duration) -> Self {
        Self { from: begin + length / 4, until: begin + length }
    }

    fn contains(self, instant: Instant) -> bool {
        (self.from..self.until).contains(&instant)
    }
}

// === impl Track ===

impl Track {
    pub(super) async fn new(paved: Paved, case: Case, tool: &'static str) -> Result<Self> {
        let mut users = Vec::new();
        for _ in 0..case.users {
            users.push(Arc::new(connect(case.wire, &paved.url).await?));
        }
        let measured = Measured::new(paved.lane);
        Ok(Self { paved, users, tool, measured })
    }

    pub(super) async fn warm_up(&self, case: Case, turns: Turns) -> Result<()> {
        self.turn_alone(case, turns.length / 4).await.map(drop)
    }

    /// Sends the users away, and ends what stands in the way.
    pub(super) async fn end(self) -> Result<()> {
        drop(self.users);
        self.paved.end().await
    }

    /// A turn that counts for what is measured on the way.
    pub(super) async fn turn(&mut self, case: Case, length: Duration) -> Result<()> {
        let turn = self.turn_alone(case, length).await?;
        self.measured.add(turn)
    }

    /// Lets as many users as the case has call without a pause, for a while.
    pub(super) async fn turn_alone(&self, case: Case, length: Duration) -> Result<Measured> {
        let mut turn = Measured::new(self.paved.lane);
        let cpu = || self.paved.pid().map_or(Ok(Duration::ZERO), Vitals::cpu_of);
        let cpu_before = cpu()?;
        let begin = Instant::now();
        let window = Window::of_turn(begin, length);
        let mut calling = JoinSet::new();
        for (number, user) in self.users.iter().take(case.users).enumerate() {
            let user = Arc::clone(user);
            calling.spawn(call_until(window, user, self.tool, number, case.bytes));
        }
        while let Some(ended) = calling.join_next().await {
            let ridden = ended.context("a user's task died")??;
            turn.latency.add(ridden.latency).context("two histograms differ")?;
            turn.settled += ridden.settled;
        }
        turn.time = begin.elapsed();
        turn.settled_time = window.until - window.from;
        turn.cpu = cpu()? - cpu_before;
        Ok(turn)
    }
}

/// Opens a user's session.
pub(crate) async fn connect(wire: Wire, url: &str) -> Result<TestClient> {
    let connected = match wire {
        Wire::Json | Wire::EventStream | Wire::Nagle => TestClient::connect_http(url).await,
        Wire::Sse => TestClient::connect_sse(url).await,
    };
    connected.with_context(|| format!("no session at {url}"))
}

/// Calls until a turn is up, and says how long each call took.
async fn call_until(
    window: Window,
    user: Arc<TestClient>,
    tool: &'static str,
    number: usize,
    bytes: usize,
) -> Result<Ridden> {
    let mut settled = 0;
    let mut latency = Histogram::new(3).context("three digits are allowed")?;
    let filling = "x".repeat(bytes);
    let mut count = 0_u64;
    while Instant::now() < window.until {
        count += 1;
        let message = format!("{number}-{count} {filling}");
        let begin = Instant::now();
        let answer = user.call_tool(tool, &serde_json::json!({ "message": message })).await?;
        let end = Instant::now();
        let took = end - begin;
        settled += u64::from(window.contains(end));
        if answer.text() != message {
            bail!("user {number} got the answer to another call");
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        latency.record(nanos).context("the histogram grows by itself")?;
    }
    Ok(Ridden { latency, settled })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_from_a_quarter_of_a_turn_until_it_is_up() {
        let begin = Instant::now();
        let window = Window::of_turn(begin, Duration::from_millis(400));
        let is_counted = |millis| window.contains(begin + Duration::from_millis(millis));
        assert_eq!([99, 100, 399, 400].map(is_counted), [false, true, true, false]);
    }
}
