//! `cargo xtask load-test`: many users at once, every answer checked, and every failure told whose it is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

mod ask;
mod axis;
mod fault;
mod flaky;
mod injection;
mod run;
mod sample;
mod tally;
mod user;
mod verdict;

pub(crate) use axis::{Load, Profile};
#[cfg(test)]
pub(crate) use run::Sessions;
pub(crate) use run::{GatewayFigures, Run};
#[cfg(test)]
pub(crate) use sample::Held;
pub(crate) use sample::Sample;
pub(crate) use tally::Blame;
#[cfg(test)]
pub(crate) use tally::{Failures, Fairness, Latency};

use axis::{Extent, Faults, Pace, Server, Subject, Target, Transport};
use run::Place;

use crate::{
    report,
    stage::{Build, Stage},
};

/// The load. Flags besides a profile override what it says.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A load, or several, that have a name.
    #[arg(value_enum, default_value = "smoke")]
    profile: Profile,
    /// How many call at once.
    #[arg(long)]
    users: Option<usize>,
    /// In how many seconds all of them are there [default: two hundred come in a second, and one second at least].
    #[arg(long, value_name = "SECONDS")]
    ramp: Option<f64>,
    /// End after so many requests.
    #[arg(long, conflicts_with = "duration")]
    requests: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Call so many times a second among all users; a call that is due while all of them wait is late, and its latency
    /// counts from when it was due.
    #[arg(long, value_name = "PER SECOND")]
    rate: Option<f64>,
    /// How the users speak: streamable-http, sse or both.
    #[arg(long, value_parser = transports)]
    transport: Option<Transports>,
    /// What is called: fast-test, fast-time, both, or the URL of a server.
    #[arg(long, value_parser = servers)]
    server: Option<Servers>,
    /// What is asked for; may be repeated.
    #[arg(long, value_enum)]
    mix: Vec<Subject>,
    /// What goes wrong meanwhile.
    #[arg(long, value_enum)]
    faults: Option<Faults>,
    /// Call this MCP server instead of starting Wharf. It must speak the transport, and be the server, that is named.
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Where the report goes [default: target/load-test].
    #[arg(long)]
    out: Option<PathBuf>,
    /// How the programs are built.
    #[arg(long, value_enum, default_value = "dist")]
    build: Build,
}

#[derive(Debug, Clone)]
struct Transports(Vec<Transport>);

#[derive(Debug, Clone)]
enum Servers {
    Ours(Vec<Server>),
    At(String),
}

/// Loads on the stage that is `set`, and writes the report.
///
/// # Errors
///
/// Where something cannot be built or started, and where a failure is ours.
pub(crate) fn run(args: &Args, set: impl FnOnce(Build) -> Result<Stage>) -> Result<()> {
    let loads = args.loads()?;
    let stage = set(args.build)?;
    let out = args.out.clone().unwrap_or_else(|| stage.target().join("load-test"));
    let runtime = tokio::runtime::Runtime::new().context("cannot set up the runtime")?;
    let mut runs = Vec::new();
    for load in loads {
        println!("{}", load.headline());
        let run = runtime.block_on(run::run(&stage, load, &args.place()))?;
        print!("{}", report::table(&run));
        runs.push(run);
        // After each, so that a long profile that is stopped has what it has measured.
        report::write(&runs, &out)?;
    }
    println!("report: {}", out.join("report.html").display());
    blameless(&runs)
}

/// Ten seconds of everything, with the programs as tests build them: what CI runs.
///
/// # Errors
///
/// As [`run()`].
pub(crate) fn smoke(root: &Path) -> Result<()> {
    run(&Args::of(Profile::Smoke, Build::Dev), |build| Stage::set(root, build))
}

/// Ten seconds of everything, for what stands between to count what it runs.
///
/// # Errors
///
/// As [`run()`].
pub(crate) async fn rehearse(stage: &Stage) -> Result<()> {
    let mut runs = Vec::new();
    for load in Profile::Smoke.loads() {
        runs.push(run::run(stage, load, &Place::AllHere).await?);
    }
    blameless(&runs)
}

/// Fails over what is our fault.
fn blameless(runs: &[Run]) -> Result<()> {
    let faults: Vec<_> = runs.iter().flat_map(Run::faults_of_ours).collect();
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(())
}

// === impl Args ===

impl Args {
    /// A profile as it is.
    const fn of(profile: Profile, build: Build) -> Self {
        Self {
            profile,
            users: None,
            ramp: None,
            requests: None,
            duration: None,
            rate: None,
            transport: None,
            server: None,
            mix: Vec::new(),
            faults: None,
            target: None,
            out: None,
            build,
        }
    }

    fn loads(&self) -> Result<Vec<Load>> {
        let seconds = |seconds: f64| {
            Duration::try_from_secs_f64(seconds).context("a time must be positive and finite")
        };
        let mut loads = self.profile.loads();
        for load in &mut loads {
            if let Some(users) = self.users {
                (load.users, load.ramp) = (users, Load::ramp_of(users));
            }
            if let Some(ramp) = self.ramp {
                load.ramp = seconds(ramp)?;
            }
            if let Some(duration) = self.duration {
                load.extent = Extent::Seconds(seconds(duration)?);
            }
            if let Some(requests) = self.requests {
                load.extent = Extent::Requests(requests);
            }
            if let Some(rate) = self.rate {
                load.pace = Pace::PerSecond(rate);
            }
            if let Some(Transports(transports)) = &self.transport {
                load.transports.clone_from(transports);
            }
            match &self.server {
                Some(Servers::Ours(servers)) => load.servers.clone_from(servers),
                Some(Servers::At(_)) => load.servers = vec![Server::Other],
                None => {}
            }
            if !self.mix.is_empty() {
                load.mix.clone_from(&self.mix);
            }
            load.faults = self.faults.unwrap_or(load.faults);
            if self.target.is_some() {
                load.target = Target::Straight;
            }
            check(load)?;
        }
        // What a flag says of all of them may have been what told them apart.
        let mut different: Vec<Load> = Vec::new();
        for load in loads {
            if !different.contains(&load) {
                different.push(load);
            }
        }
        Ok(different)
    }

    fn place(&self) -> Place {
        match (&self.target, &self.server) {
            (Some(url), _) => Place::There(url.clone()),
            (None, Some(Servers::At(url))) => Place::WharfBefore(url.clone()),
            (None, _) => Place::AllHere,
        }
    }
}

fn check(load: &Load) -> Result<()> {
    if load.users == 0 {
        bail!("a load needs a user: --users 1 or more");
    }
    if matches!(load.pace, Pace::PerSecond(rate) if rate.is_nan() || rate <= 0.0) {
        bail!("--rate must be more than 0");
    }
    if matches!(load.extent, Extent::Seconds(seconds) if seconds <= load.ramp) {
        bail!(
            "{} users take {:?} to come, by which time the load is over: set a shorter --ramp or a longer --duration",
            load.users,
            load.ramp
        );
    }
    let is_elsewhere = load.target == Target::Straight || load.servers == [Server::Other];
    if is_elsewhere && (load.transports.len() > 1 || load.servers.len() > 1) {
        bail!("one URL is one server and one transport: name them by --server and --transport");
    }
    if is_elsewhere && matches!(load.faults, Faults::Restart | Faults::Flaky) {
        bail!("only servers that were started here can be restarted or reset");
    }
    Ok(())
}

fn transports(text: &str) -> Result<Transports, String> {
    let transports = match text {
        "both" => Transport::ALL.to_vec(),
        one => vec![<Transport as clap::ValueEnum>::from_str(one, false)?],
    };
    Ok(Transports(transports))
}

fn servers(text: &str) -> Result<Servers, String> {
    Ok(match text {
        "both" => Servers::Ours(Server::ALL.to_vec()),
        url if url.contains("://") => Servers::At(url.to_owned()),
        one => Servers::Ours(vec![<Server as clap::ValueEnum>::from_str(one, false)?]),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn loads(line: &[&str]) -> Result<Vec<Load>> {
        Line::try_parse_from(line)?.args.loads()
    }

    #[test]
    fn flags_override_the_profile() {
        let loads = loads(&["x", "soak", "--duration", "5", "--transport", "sse"]).unwrap();
        assert_eq!(loads.len(), 1);
        assert_eq!(loads[0].extent, Extent::Seconds(Duration::from_secs(5)));
        assert_eq!(loads[0].transports, [Transport::Sse]);
        assert_eq!(loads[0].servers, Server::ALL);
    }

    #[test]
    fn loads_that_a_flag_makes_the_same_are_one() {
        assert_eq!(loads(&["x", "full", "--users", "9"]).unwrap().len(), 1);
        assert_eq!(loads(&["x", "chaos", "--users", "9"]).unwrap().len(), 3);
        assert_eq!(loads(&["x", "chaos", "--faults", "flaky"]).unwrap().len(), 5);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for line in [
            &["x", "--users", "0"][..],
            &["x", "--rate", "0"],
            &["x", "--target", "http://127.0.0.1:1/mcp"],
            &["x", "--server", "http://127.0.0.1:1/mcp", "--transport", "both"],
            &["x", "--server", "nobody"],
            &["x", "--duration", "-1"],
            &["x", "--users", "3000"],
            &["x", "--duration", "1", "--ramp", "1"],
        ] {
            assert!(loads(line).is_err(), "{line:?}");
        }
    }
}
