//! An upstream that does wrong: by a script, at the level of bytes, and on
//! record.
//!
//! [`Faulty`] speaks streamable HTTP at `/mcp` and HTTP+SSE at `/sse` and
//! `/messages`. Nothing of it stands on the transports that it is there to
//! test, so it can break every rule of theirs, and a mistake of theirs is not
//! made here a second time.
//!
//! - [`Script`] says which request meets which [`Fault`]. Whatever no rule is
//!   about is answered as it should be.
//! - [`Record`] tells what reached it, in order, and waits for what is yet to.
//! - Its tools have state, so that a leak between clients, a call that ran
//!   twice or a call that was not cancelled can be seen:
//!
//! | tool | what it does |
//! |---|---|
//! | `echo{message, nonce?}` | says `message`; `structuredContent` repeats both |
//! | `add{n}` | adds to a sum that the session keeps, and says it |
//! | `whoami{header?}` | the session's number, its log level and subscriptions, the names of the call's headers, the value of one |
//! | `sleep{ms}` | waits so many milliseconds, or until the call is cancelled |
//! | `run_once{token}` | is counted for each token; no hint that it may run again |
//! | `run_again{token}` | the same, with `idempotentHint` |
//! | `look{token}` | the same, with `readOnlyHint` |
//! | `ask{kind}` | asks the client for `elicitation`, `sampling` or `roots` and says what it answered |
//! | `notify{method}` | says that notification unasked, as [`Faulty::announce`] does |
//! | `progress{n}` | reports progress `n` times, then answers |

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
};

use tokio::sync::{mpsc, oneshot};

mod answer;
mod call;
mod connection;
mod fault;
mod gate;
mod life;
mod line;
mod methods;
mod mouth;
mod record;
mod request;
mod script;
mod session;
mod shared;
mod sse;
mod streamable;
mod tools;
mod visit;
mod when;

pub use fault::{Dress, Fault, Status};
pub use gate::Gate;
pub use record::{Arrival, Gauge, Happening, Record, Seen};
pub use script::Script;
pub use when::When;

use life::{Command, Order};
use shared::Shared;

pub use crate::upstream::StartError;

/// Where streamable HTTP is served.
const MCP: &str = "/mcp";
/// Where HTTP+SSE is served.
const SSE: &str = "/sse";
/// Where messages go over HTTP+SSE.
const MESSAGES: &str = "/messages";
/// Names the session over HTTP+SSE.
const SESSION_PARAMETER: &str = "session_id=";

/// An MCP server in this process that follows a [`Script`].
///
/// It runs on a thread and a runtime of its own, so a test may pause its
/// clock: the times of a script and of the record are real ones. Its port stays
/// its own while it is down. Dropping the handle ends it, as a crash would,
/// and does not wait for that.
pub struct Faulty {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// The thread ends when this is dropped.
    commands: mpsc::UnboundedSender<Command>,
}

/// What a [`Faulty`] does where its script says nothing.
#[derive(Debug, Clone, Copy)]
pub struct FaultySettings {
    /// Where it listens; by default at a free port of 127.0.0.1.
    pub addr: SocketAddr,
    /// In which form it answers calls over streamable HTTP.
    pub form: Form,
    /// Whether it gives session ids over streamable HTTP; by default it does.
    /// Clients without one share one state.
    pub keeps_sessions: bool,
    /// How it says that it does not know a session.
    pub gone: Dress,
}

/// The form of an answer over streamable HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// An event stream.
    #[default]
    EventStream,
    /// JSON, where the answer is all there is to say; else an event stream.
    Json,
}

/// What an upstream that comes back knows of the time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The sessions of streamable HTTP and their state. Those of HTTP+SSE are
    /// their event streams and never survive.
    Kept,
    /// No session.
    Lost,
}

// === impl Faulty ===

impl Faulty {
    /// Starts an upstream.
    ///
    /// # Errors
    ///
    /// [`StartError`] where it cannot listen.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the upstream.
    pub async fn start(script: Script, settings: FaultySettings) -> Result<Self, StartError> {
        let (commands, orders) = mpsc::unbounded_channel();
        let (up, is_up) = oneshot::channel();
        let from_inside = commands.downgrade();
        thread::Builder::new()
            .name("faulty".into())
            .spawn(move || life::live(script, settings, from_inside, orders, up))
            .map_err(|source| StartError::Thread { source })?;
        let (shared, address) = is_up.await.expect("the thread says how it went")?;
        Ok(Self { shared, address, commands })
    }

    /// Where streamable HTTP is served.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{MCP}", self.address)
    }

    /// Where HTTP+SSE is served.
    #[must_use]
    pub fn sse_url(&self) -> String {
        format!("http://{}{SSE}", self.address)
    }

    /// Where it listens, or would if it were up.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it follows, to be changed at any time.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.shared.script
    }

    /// What has reached it since it was first started.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.shared.record
    }

    /// Says a notification unasked to every session: on its listening stream,
    /// or as soon as it has one.
    pub fn announce(&self, method: &str) {
        for session in self.shared.sessions.all() {
            session.announce(method);
        }
    }

    /// Kills it: connections break, calls end nowhere, its port refuses.
    /// Returns when all that is so. What it keeps of sessions is decided when
    /// it comes back.
    ///
    /// # Cancel safety
    ///
    /// It dies all the same when the future is dropped.
    pub async fn crash(&self) {
        self.order(Order::Crash).await.expect("nothing has to be got from the system to die");
    }

    /// Brings it back at the same port. It is killed first where it is up.
    ///
    /// # Errors
    ///
    /// [`StartError`] where the port cannot be had again.
    ///
    /// # Cancel safety
    ///
    /// It comes back all the same when the future is dropped.
    pub async fn revive(&self, memory: Memory) -> Result<(), StartError> {
        self.listening(Order::Revive(memory)).await
    }

    /// Refuses connections from now on. Those that are open stay, and the
    /// sessions with them. [`Faulty::admit`] is the way back.
    ///
    /// # Cancel safety
    ///
    /// It does so all the same when the future is dropped.
    pub async fn refuse(&self) {
        self.order(Order::Refuse).await.expect("nothing has to be got from the system to refuse");
    }

    /// Lets connections hang from now on: its queue is full and it accepts
    /// none, so that an attempt to connect is neither taken nor refused.
    /// Those that are open stay. [`Faulty::admit`] is the way back; the client's
    /// system takes a second or more to try again.
    ///
    /// # Errors
    ///
    /// [`StartError`] where the queue cannot be set up.
    ///
    /// # Cancel safety
    ///
    /// It does so all the same when the future is dropped.
    pub async fn stall(&self) -> Result<(), StartError> {
        self.listening(Order::Stall).await
    }

    /// Accepts connections again, after [`Faulty::refuse`] or
    /// [`Faulty::stall`]. It does not bring a dead upstream back.
    ///
    /// # Errors
    ///
    /// [`StartError`] where the port cannot be had again.
    ///
    /// # Cancel safety
    ///
    /// It does so all the same when the future is dropped.
    pub async fn admit(&self) -> Result<(), StartError> {
        self.listening(Order::Admit).await
    }

    async fn listening(&self, order: Order) -> Result<(), StartError> {
        let address = self.address;
        self.order(order).await.map_err(|source| StartError::Listen { address, source })
    }

    async fn order(&self, order: Order) -> io::Result<()> {
        let (done, is_done) = oneshot::channel();
        let sent = self.commands.send(Command { order, done: Some(done) });
        sent.expect("the thread lives as long as the handle");
        is_done.await.expect("the thread does what it is told")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty")
            .field("address", &self.address)
            .field("script", self.script())
            .finish_non_exhaustive()
    }
}

// === impl FaultySettings ===

impl Default for FaultySettings {
    fn default() -> Self {
        Self {
            addr: (Ipv4Addr::LOCALHOST, 0).into(),
            form: Form::default(),
            keeps_sessions: true,
            gone: Dress::default(),
        }
    }
}
