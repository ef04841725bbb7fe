//! A mixed load: clients of several users, some of whom go away in the midst of
//! a call, at an upstream that restarts now and then. The clock is paused and
//! the chances are drawn from a fixed seed, so that both kinds of pool meet the
//! same load, and the same pool meets it each time.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    Host, Kind, Outcome, Specimen, Stage, Underway, Who, millis, nonce_of, one_call, pass, play,
    request, secs,
};

/// How long it goes on.
const FOR: Duration = secs(60);
/// Users, and the clients of each.
const USERS: u64 = 10;
const CLIENTS: u64 = 2;
/// How often the upstream restarts.
const RESTARTS: Duration = secs(2);
/// How long it takes for a call, and when a client goes away that does.
const DELAY: Duration = millis(25);
const GIVES_UP: Duration = millis(10);
/// How many of a hundred calls their callers give up.
const GIVEN_UP: u64 = 5;

/// What became of the calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Calls made.
    pub made: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that their callers gave up.
    pub given_up: u64,
    /// Calls that the upstream was at when it restarted, which nobody can help.
    pub struck: u64,
    /// Calls that failed, though upstream and caller were there: the pool's
    /// doing.
    pub lost: u64,
    /// Calls that got another's answer.
    pub crossed: u64,
    /// The longest that a caller waited to be told of a loss.
    pub slowest: Duration,
    /// Sessions that the upstream still had long after the last caller left.
    pub left_behind: usize,
    /// The losses by what their callers were told.
    pub reasons: BTreeMap<String, u64>,
}

/// Puts the load on a pool of that kind.
///
/// # Errors
///
/// Where it does not come to an end.
pub fn lose<K: Kind>() -> Outcome<Losses> {
    play(|| Box::pin(load::<K>()))
}

async fn load<K: Kind>() -> Losses {
    let Stage { pool, upstream, .. } = Stage::<K>::new(|_| {});
    let host = Arc::new(Host::answering_after(DELAY, upstream));
    let end = Instant::now() + FOR;
    let restarting = {
        let host = Arc::clone(&host);
        Underway::start(async move {
            while Instant::now() + RESTARTS < end {
                pass(RESTARTS).await;
                host.restart();
            }
        })
    };
    let clients: Vec<_> = (0..USERS * CLIENTS)
        .map(|number| {
            let client = Client {
                who: Who::of(&format!("user {}", number % USERS), number),
                chances: Chances(number),
                losses: Losses::default(),
            };
            Underway::start(client.live(pool.clone(), Arc::clone(&host), end))
        })
        .collect();
    let mut losses = Losses::default();
    for client in clients {
        losses.add(client.outcome().await);
    }
    restarting.outcome().await;
    // Three times as long as an idle session is kept.
    pass(secs(1800)).await;
    losses.left_behind = host.sessions();
    losses
}

struct Client {
    who: Who,
    chances: Chances,
    losses: Losses,
}

/// Numbers that look drawn and are the same each time (splitmix64).
struct Chances(u64);

// === impl Client ===

impl Client {
    async fn live<P: Specimen>(mut self, pool: P, host: Arc<Host>, end: Instant) -> Losses {
        let mut caller = pool.caller(&self.who);
        while Instant::now() < end {
            pass(millis(10 + self.chances.below(40))).await;
            self.losses.made += 1;
            let nonce = format!("{} of {}", self.losses.made, self.who.client);
            let begun = Instant::now();
            let request = request(&nonce);
            let call = one_call(&mut caller, &request);
            if self.chances.below(100) < GIVEN_UP {
                let _ = timeout(GIVES_UP, call).await;
                self.losses.given_up += 1;
                // Its connection is gone, and it comes by another.
                caller = pool.caller(&self.who);
                continue;
            }
            match call.await {
                Ok(answer) if nonce_of(&answer) == nonce => self.losses.answered += 1,
                Ok(_) => self.losses.crossed += 1,
                Err(_) if host.has_struck(&nonce) => self.losses.struck += 1,
                Err(failed) => {
                    self.losses.lost += 1;
                    self.losses.slowest = self.losses.slowest.max(begun.elapsed());
                    *self.losses.reasons.entry(failed.text).or_default() += 1;
                }
            }
        }
        self.losses
    }
}

// === impl Chances ===

impl Chances {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

// === impl Losses ===

impl Losses {
    fn add(&mut self, other: Self) {
        self.made += other.made;
        self.answered += other.answered;
        self.given_up += other.given_up;
        self.struck += other.struck;
        self.lost += other.lost;
        self.crossed += other.crossed;
        self.slowest = self.slowest.max(other.slowest);
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { made, answered, given_up, struck, lost, crossed, .. } = self;
        write!(f, "{made} calls: {answered} answered, {given_up} given up by their callers, ")?;
        write!(f, "{struck} struck by a restart, {lost} lost, {crossed} crossed")?;
        if *lost > 0 {
            write!(f, "; the slowest loss was told after {:?}", self.slowest)?;
        }
        write!(f, "; {} sessions left behind", self.left_behind)
    }
}
