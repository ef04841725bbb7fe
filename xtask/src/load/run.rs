//! One load from beginning to end: what is started, the users, the quiet after them, and what is left.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    axis::{Faults, Load, Server, Transport},
    fault,
    flaky::Flaky,
    injection::Injections,
    sample::{self, Admin, Held, Sample},
    tally::{Failures, Fairness, Latency},
    user::{Course, Urls, User},
};
use crate::{
    stage::{Gateway, Process, Stage},
    vitals::Vitals,
};

/// Where the servers and the gateway are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// All are started here.
    AllHere,
    /// The server is there already; Wharf is started before it.
    WharfBefore(String),
    /// What is called is there already.
    There(String),
}

/// What has come of a load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    pub(crate) load: Load,
    pub(crate) seconds: f64,
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    /// In microseconds.
    pub(crate) latency: Latency,
    pub(crate) failures: Vec<Failures>,
    pub(crate) sessions: Sessions,
    /// Calls that their callers gave up on purpose.
    pub(crate) vanished: u64,
    pub(crate) fairness: Fairness,
    pub(crate) gateway: Option<GatewayFigures>,
    pub(crate) samples: Vec<Sample>,
    /// When faults were injected, in seconds since the beginning.
    pub(crate) injected_at: Vec<f64>,
}

/// The sessions of the users.
#[derive(Debug, Serialize)]
pub(crate) struct Sessions {
    pub(crate) opened: u64,
    /// Calls that were made on a session that was there.
    pub(crate) reused: u64,
}

/// What the load cost the gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayFigures {
    /// In microseconds.
    pub(crate) cpu_per_call: f64,
    /// In bytes.
    pub(crate) peak_memory: u64,
    pub(crate) threads: u64,
    /// Before the first user came.
    pub(crate) sockets_before: u64,
    pub(crate) tasks_before: u64,
    /// Once all users had gone.
    pub(crate) sockets_after: u64,
    pub(crate) held_after: Held,
    /// Whether it ended as it should when it was told to.
    pub(crate) ended_well: bool,
}

/// What runs for the users to call.
struct Scene {
    upstreams: Vec<Process>,
    /// Between the gateway and the upstreams.
    flaky: Vec<Flaky>,
    gateway: Option<Gateway>,
    urls: Vec<Urls>,
}

/// Of the gateway's configuration: unused connections go soon enough to be seen to go.
const CONNECTIONS: &str = "[limits]\nidle_connection = \"5s\"\n";

/// How long the gateway may take to let go of what the users had.
const QUIET_WITHIN: Duration = Duration::from_secs(20);

/// Puts the load on, and says what has come of it.
///
/// # Errors
///
/// Where something does not come up, or the gateway does not end.
pub(crate) async fn run(stage: &Stage, load: Load, place: &Place) -> Result<Run> {
    let injections = Arc::new(Injections::default());
    let mut scene = Scene::set(stage, &load, place, &injections).await?;
    let (pid, admin) = (scene.pid(), scene.admin());
    // Asked first: all its listeners are there when it answers.
    let held_before = match &admin {
        Some(admin) => admin.held().await?,
        None => Held::default(),
    };
    let before = pid.map(Vitals::of).transpose()?.unwrap_or_default();
    let course = Arc::new(Course::new(load, std::mem::take(&mut scene.urls), &injections));
    let (stop, stopped) = oneshot::channel();
    let mut watching = JoinSet::new();
    watching.spawn(sample::watch(Arc::clone(&course), pid, admin.clone(), stopped));
    play(&course, &mut scene.upstreams).await?;
    let seconds = course.begin.elapsed().as_secs_f64();
    // The watch ends by this; an error would mean that it has ended already.
    let _ = stop.send(());
    let samples = watching.join_next().await.context("somebody watches")?;
    let samples = samples.context("the watch died")?;
    let calls = course.tally.calls();
    let gateway = match scene.gateway.take() {
        Some(gateway) => {
            let admin = admin.context("a gateway has an admin listener")?;
            let before = (before, held_before.tasks);
            Some(last_look(gateway, &admin, before, &course.load, calls).await?)
        }
        None => None,
    };
    Ok(Run {
        seconds,
        calls,
        calls_per_second: calls as f64 / seconds,
        latency: course.tally.latency(),
        failures: course.tally.failures(),
        sessions: Sessions {
            opened: course.tally.sessions.load(Relaxed),
            reused: course.tally.reused.load(Relaxed),
        },
        vanished: course.tally.vanished.load(Relaxed),
        fairness: course.tally.fairness(),
        gateway,
        samples,
        injected_at: injections.marks(course.begin),
        load: course.load.clone(),
    })
}

/// Lets the users call until the load is over, and things go wrong meanwhile.
async fn play(course: &Arc<Course>, upstreams: &mut [Process]) -> Result<()> {
    let mut users = JoinSet::new();
    for number in 0..course.load.users {
        users.spawn(User::new(course, number).run());
    }
    let played = async {
        while let Some(ended) = users.join_next().await {
            ended.context("a user's task died")?;
        }
        anyhow::Ok(())
    };
    if course.load.faults != Faults::Restart {
        return played.await;
    }
    tokio::select! {
        played = played => played,
        restarted = fault::restart(upstreams, &course.injections) => restarted,
    }
}

/// What the gateway has cost and still holds, now that all users have gone; and its end.
async fn last_look(
    mut gateway: Gateway,
    admin: &Admin,
    (before, tasks_before): (Vitals, u64),
    load: &Load,
    calls: u64,
) -> Result<GatewayFigures> {
    let pid = gateway.process.pid();
    let cpu = Vitals::cpu_of(pid)?.saturating_sub(before.cpu);
    let deadline = Instant::now() + QUIET_WITHIN;
    let mut figures;
    loop {
        let (held_after, vitals) = (admin.held().await?, Vitals::of(pid)?);
        figures = GatewayFigures {
            cpu_per_call: cpu.as_secs_f64() * 1e6 / calls.max(1) as f64,
            peak_memory: vitals.peak,
            threads: vitals.threads,
            sockets_before: before.sockets,
            tasks_before,
            sockets_after: vitals.sockets,
            held_after,
            ended_well: false,
        };
        if figures.has_let_go(load) || Instant::now() > deadline {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    figures.ended_well = gateway.process.end().await?;
    Ok(figures)
}

// === impl Scene ===

impl Scene {
    async fn set(
        stage: &Stage,
        load: &Load,
        place: &Place,
        injections: &Arc<Injections>,
    ) -> Result<Self> {
        let mut scene =
            Self { upstreams: Vec::new(), flaky: Vec::new(), gateway: None, urls: Vec::new() };
        match place {
            Place::There(url) => scene.urls = vec![vec![(load.transports[0], url.clone())]],
            Place::WharfBefore(url) => {
                let upstream = section(Server::Other, load.transports[0], url);
                scene.open_gateway(stage, &upstream, load).await?;
            }
            Place::AllHere => {
                let mut config = String::new();
                for (number, &server) in load.servers.iter().enumerate() {
                    let upstream = stage.upstream(server.program(), &[]).await?;
                    let address =
                        scene.way_to(number, upstream.address(), load, injections).await?;
                    scene.upstreams.push(upstream);
                    for &transport in &load.transports {
                        let url = format!("http://{address}{}", transport.path());
                        config.push_str(&section(server, transport, &url));
                    }
                }
                scene.open_gateway(stage, &config, load).await?;
            }
        }
        Ok(scene)
    }

    /// The address by which the gateway reaches an upstream.
    async fn way_to(
        &mut self,
        number: usize,
        upstream: SocketAddr,
        load: &Load,
        injections: &Arc<Injections>,
    ) -> Result<SocketAddr> {
        if load.faults != Faults::Flaky {
            return Ok(upstream);
        }
        let flaky = Flaky::before(number, upstream, injections).await?;
        let address = flaky.address();
        self.flaky.push(flaky);
        Ok(address)
    }

    async fn open_gateway(&mut self, stage: &Stage, upstreams: &str, load: &Load) -> Result<()> {
        let gateway = stage.wharf("wharf", &format!("{CONNECTIONS}{upstreams}")).await?;
        let base = gateway.process.address();
        let url = |server, transport: Transport| {
            let path = transport.path();
            (transport, format!("http://{base}/servers/{}{path}", id(server, transport)))
        };
        let urls = load.servers.iter().map(|&server| {
            load.transports.iter().map(|&transport| url(server, transport)).collect()
        });
        self.urls = urls.collect();
        self.gateway = Some(gateway);
        Ok(())
    }

    fn pid(&self) -> Option<u32> {
        self.gateway.as_ref().map(|gateway| gateway.process.pid())
    }

    fn admin(&self) -> Option<Admin> {
        self.gateway.as_ref().map(|gateway| Admin::new(gateway.admin))
    }
}

/// An upstream of the gateway's configuration.
fn section(server: Server, transport: Transport, url: &str) -> String {
    let (id, word) = (id(server, transport), transport.word());
    format!("[upstream.{id}]\nurl = \"{url}\"\ntransport = \"{word}\"\n")
}

/// What an upstream is called: one and the same server is two, by its transports.
fn id(server: Server, transport: Transport) -> String {
    format!("{}-{}", server.program(), transport.word())
}
