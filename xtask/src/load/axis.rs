//! The axes of a load: who calls, how fast, how long, what, over which transport, and what goes wrong meanwhile.

use std::time::Duration;

use serde::Serialize;

/// The server that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Server {
    /// Answers at once.
    FastTest,
    /// Knows the time; has prompts and resources.
    FastTime,
    /// One that is there already, of which only its lists are known.
    #[value(skip)]
    Other,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    /// Wharf, in front of the servers.
    Wharf,
    /// The server itself.
    Straight,
}

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Transport {
    /// Streamable HTTP.
    StreamableHttp,
    /// HTTP+SSE (2024-11-05).
    Sse,
}

/// What goes wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Faults {
    /// Nothing.
    None,
    /// An upstream's process is killed, and started again a moment later.
    Restart,
    /// Connections to the upstreams are reset in the middle of a call.
    Flaky,
    /// Callers drop their connection in the middle of a call.
    Vanish,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// `tools/call`.
    Tools,
    /// `prompts/get`.
    Prompts,
    /// `resources/read`.
    Resources,
    /// `tools/list`.
    Lists,
    /// `ping`.
    Pings,
}

/// When the calls end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Extent {
    /// After so many.
    Requests(u64),
    /// After so long.
    #[serde(serialize_with = "as_seconds")]
    Seconds(Duration),
}

/// When a call is due.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Pace {
    /// As soon as the user's last one has been answered: a closed loop.
    Closed,
    /// So many a second among all users, whoever of them is free: an open loop. Latency is measured from when a call
    /// was due, so that one that had to wait for a user to be free is as late as its caller finds it.
    PerSecond(f64),
}

/// A load.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Load {
    pub(crate) users: usize,
    /// How long it takes until all users are there.
    #[serde(serialize_with = "as_seconds")]
    pub(crate) ramp: Duration,
    pub(crate) extent: Extent,
    pub(crate) pace: Pace,
    pub(crate) target: Target,
    pub(crate) servers: Vec<Server>,
    pub(crate) transports: Vec<Transport>,
    pub(crate) mix: Vec<Subject>,
    pub(crate) faults: Faults,
}

/// Loads with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// Ten seconds of everything.
    Smoke,
    /// 200 to 1000 users, and 610 000 requests in all.
    Full,
    /// The same with each fault in turn.
    Chaos,
    /// An hour at a moderate pace.
    Soak,
}

fn as_seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

// === impl Server ===

impl Server {
    pub(crate) const ALL: [Self; 2] = [Self::FastTest, Self::FastTime];

    /// The name of its program.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::FastTest => "fast-test",
            Self::FastTime => "fast-time",
            Self::Other => "other",
        }
    }
}

// === impl Transport ===

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::StreamableHttp, Self::Sse];

    /// Where a server is served by it.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::StreamableHttp => "/mcp",
            Self::Sse => "/sse",
        }
    }

    /// How the configuration of Wharf says it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::StreamableHttp => "streamable-http",
            Self::Sse => "sse",
        }
    }
}

// === impl Faults ===

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "no faults",
            Self::Restart => "restarts",
            Self::Flaky => "resets",
            Self::Vanish => "vanishing callers",
        })
    }
}

// === impl Subject ===

impl Subject {
    pub(crate) const ALL: [Self; 5] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Lists, Self::Pings];
}

// === impl Load ===

impl Load {
    /// The server and the transport of a user: the users are dealt out evenly.
    pub(crate) fn place(&self, user: usize) -> (usize, Transport) {
        let transports = self.transports.len();
        (user / transports % self.servers.len(), self.transports[user % transports])
    }

    /// How long a crowd takes to come: two hundred a second. One that comes at once is another test.
    pub(crate) fn ramp_of(users: usize) -> Duration {
        Duration::from_millis(5 * users as u64).max(Duration::from_secs(1))
    }

    /// How many upstreams the gateway has: one and the same server is two, by its transports.
    pub(crate) const fn upstreams(&self) -> u64 {
        (self.servers.len() * self.transports.len()) as u64
    }

    /// How many of them are reached over that transport.
    pub(crate) fn upstreams_over(&self, transport: Transport) -> u64 {
        if self.transports.contains(&transport) { self.servers.len() as u64 } else { 0 }
    }

    pub(crate) fn headline(&self) -> String {
        let pace = match self.pace {
            Pace::Closed => "each as fast as it can".to_owned(),
            Pace::PerSecond(rate) => format!("{rate} calls/s in all"),
        };
        format!("{} users, {pace}, {}", self.users, self.faults)
    }
}

// === impl Profile ===

impl Profile {
    /// The loads it stands for, one after the other.
    pub(crate) fn loads(self) -> Vec<Load> {
        const CROWDS: [usize; 5] = [200, 400, 600, 800, 1000];
        const REQUESTS_A_CROWD: u64 = 122_000;
        let load = |users, extent, pace, faults| Load {
            users,
            ramp: Load::ramp_of(users),
            extent,
            pace,
            target: Target::Wharf,
            servers: Server::ALL.to_vec(),
            transports: Transport::ALL.to_vec(),
            mix: Subject::ALL.to_vec(),
            faults,
        };
        let seconds = |seconds| Extent::Seconds(Duration::from_secs(seconds));
        match self {
            Self::Smoke => vec![load(20, seconds(10), Pace::Closed, Faults::None)],
            Self::Full => CROWDS
                .map(|users| {
                    load(users, Extent::Requests(REQUESTS_A_CROWD), Pace::Closed, Faults::None)
                })
                .to_vec(),
            Self::Chaos => {
                let faults = [Faults::Restart, Faults::Flaky, Faults::Vanish];
                let crowds = CROWDS.iter().flat_map(|&users| {
                    faults.map(|faults| load(users, seconds(20), Pace::Closed, faults))
                });
                crowds.collect()
            }
            Self::Soak => {
                vec![load(100, seconds(3600), Pace::PerSecond(500.0), Faults::None)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_profile_has_at_least_607_000_requests() {
        let requests = Profile::Full.loads().into_iter().map(|load| match load.extent {
            Extent::Requests(requests) => requests,
            Extent::Seconds(_) => 0,
        });
        assert!(requests.sum::<u64>() >= 607_000);
    }

    #[test]
    fn users_are_dealt_out_evenly() {
        let load = &Profile::Smoke.loads()[0];
        let places: Vec<_> = (0..4).map(|user| load.place(user)).collect();
        for (at, place) in places.iter().enumerate() {
            assert!(!places[..at].contains(place), "{place:?}");
        }
        assert_eq!(load.place(4), places[0]);
    }

    #[test]
    fn chaos_has_every_fault_with_every_crowd() {
        let loads = Profile::Chaos.loads();
        assert_eq!(loads.len(), 15);
        assert!(loads.iter().all(|load| load.faults != Faults::None));
    }
}
