//! What a scenario asks of a pool, and no more than any pool can do.

use std::time::Duration;

use wharf_proto::{Request, Response, transport::Connect};

/// A kind of pool: what it is built from, and how.
pub trait Kind: 'static {
    /// What it opens sessions to.
    type Target: Sync + 'static;
    /// The pool over one transport.
    type Pool<C: Connect<Target = Self::Target>>: Specimen;

    /// Builds an empty one.
    fn build<C: Connect<Target = Self::Target>>(connect: C, bounds: &Bounds) -> Self::Pool<C>;
}

/// A pool. Clones are the same one.
pub trait Specimen: Clone + Send + Sync + 'static {
    /// A client's connection.
    type Caller: Caller;

    /// Somebody connects. Dropping what it gives is that client going away.
    fn caller(&self, who: &Who) -> Self::Caller;

    /// What the pool holds now.
    fn figures(&self) -> Figures;

    /// Ends the pool.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// A client's connection, on which it makes one request after the other.
pub trait Caller: Send + 'static {
    /// A session in use.
    type Hold: Hold;

    /// Gets the use of a session.
    fn acquire(&mut self) -> impl Future<Output = Result<Self::Hold, Failed>> + Send;

    /// Says that it is somebody else from now on: its token was rotated.
    fn identify(&mut self, who: &Who);
}

/// The use of a session. Dropping it is giving up in the midst.
pub trait Hold: Send + Sync + 'static {
    /// Makes a call.
    fn call(&self, request: &Request) -> impl Future<Output = Result<Response, Failed>> + Send;

    /// Gives it back in the usual way, and says whether all went well.
    fn give_back(self, went_well: bool) -> impl Future<Output = ()> + Send;
}

/// Who calls, and whom.
#[derive(Debug, Clone)]
pub struct Who {
    /// The upstream's URL.
    pub url: String,
    /// The client's number.
    pub client: u64,
    /// The user it speaks for.
    pub user: String,
    /// What the upstream is shown.
    pub credential: String,
    /// Who may be given the same session.
    pub sharing: Sharing,
}

/// Who may be given the same session, where the pool can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else: the upstream keeps something in the session.
    Nobody,
    /// The clients of one user.
    User,
}

/// The limits that both kinds have in common.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Sessions of those who may share them.
    pub sessions_per_key: usize,
    /// How long a caller waits for a session.
    pub patience: Duration,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// How long a session is kept that nobody uses.
    pub idle_timeout: Duration,
    /// How long it is kept at all.
    pub max_age: Duration,
    /// How long one may have been idle to be leased without a probe.
    pub probe_after: Duration,
    /// How long a probe may take.
    pub probe_timeout: Duration,
    /// Failures to open in a row that open a breaker.
    pub breaker_failures: u32,
    /// How long it is open at first.
    pub breaker_pause: Duration,
}

/// What a pool holds.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Keys.
    pub keys: usize,
    /// Open sessions.
    pub sessions: usize,
    /// All of it, as operators are shown it.
    pub text: String,
}

/// Why there was no answer, as far as the pool can tell its caller.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The pool says that the request did not run, and can be made again.
    pub did_not_run: bool,
    /// The error's text with those below it.
    pub text: String,
}

/// One call as a gateway makes it: use, call, give back. Where the pool says
/// that the request did not run it is made again, up to three times.
///
/// # Errors
///
/// [`Failed`] where the last time failed, too.
///
/// # Cancel safety
///
/// Dropping the future is the caller giving up.
pub async fn one_call<C: Caller>(caller: &mut C, request: &Request) -> Result<Response, Failed> {
    for _ in 0..3 {
        match once(caller, request).await {
            Err(failed) if failed.did_not_run => {}
            done => return done,
        }
    }
    once(caller, request).await
}

async fn once<C: Caller>(caller: &mut C, request: &Request) -> Result<Response, Failed> {
    let hold = caller.acquire().await?;
    let answer = hold.call(request).await;
    hold.give_back(answer.is_ok()).await;
    answer
}

// === impl Who ===

impl Who {
    /// A client of a user's, to an upstream that keeps nothing in its sessions.
    #[must_use]
    pub fn of(user: &str, client: u64) -> Self {
        Self {
            url: "http://upstream.example/mcp".into(),
            client,
            user: user.into(),
            credential: format!("Bearer {user}"),
            sharing: Sharing::User,
        }
    }

    /// The same, to an upstream that keeps something in its sessions.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { sharing: Sharing::Nobody, ..self }
    }

    /// The same, with that credential.
    #[must_use]
    pub fn showing(self, credential: impl Into<String>) -> Self {
        Self { credential: credential.into(), ..self }
    }

    /// The same, to that upstream.
    #[must_use]
    pub fn calling(self, url: &str) -> Self {
        Self { url: url.into(), ..self }
    }
}

// === impl Bounds ===

impl Default for Bounds {
    fn default() -> Self {
        Self {
            sessions_per_key: 10,
            patience: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            max_age: Duration::from_secs(3600),
            probe_after: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(5),
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(10),
        }
    }
}

// === impl Failed ===

impl Failed {
    /// An error with its causes, which may have run unless it says otherwise.
    #[must_use]
    pub fn new(error: &dyn std::error::Error, did_not_run: bool) -> Self {
        let mut text = error.to_string();
        let mut below = error.source();
        while let Some(error) = below {
            text.push_str(": ");
            text.push_str(&error.to_string());
            below = error.source();
        }
        Self { did_not_run, text }
    }
}
