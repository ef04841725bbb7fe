//! An upstream that needs no telling.

use std::{
    collections::HashSet,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{select, sync::watch, task::JoinSet};
use wharf_proto::{
    Json, method,
    mock::{Heard, MockCall, MockPeer, MockUpstream},
    transport::{CallError, EndReason, Fault},
};

use super::{Underway, pass, stage::nonce_in};

/// What it says to `initialize`.
pub const GREETING: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"host","version":"1"}}"#;

/// An upstream that lets everybody in and answers what it is asked with the
/// asker's nonce. Dropping it hangs up on everybody.
pub struct Host {
    books: Arc<Books>,
    _hosting: Underway<()>,
}

#[derive(Debug, Default)]
struct Books {
    opened: AtomicU64,
    left: AtomicU64,
    calls: AtomicU64,
    pings: AtomicU64,
    open: AtomicUsize,
    most: AtomicUsize,
    /// How often it has been restarted.
    restarts: watch::Sender<u64>,
    struck: Mutex<HashSet<String>>,
}

/// One session, as the host has it.
struct Guest {
    peer: MockPeer,
    delay: Duration,
    books: Arc<Books>,
    answering: JoinSet<()>,
    /// The nonces of the calls that it works on.
    running: Arc<Mutex<HashSet<String>>>,
    is_open: bool,
    /// It was opened before the last restart.
    is_forgotten: bool,
}

// === impl Host ===

impl Host {
    /// An upstream that answers at once.
    #[must_use]
    pub fn quick(upstream: MockUpstream) -> Self {
        Self::answering_after(Duration::ZERO, upstream)
    }

    /// An upstream that takes so long for each call. Pings it answers at once.
    #[must_use]
    pub fn answering_after(delay: Duration, mut upstream: MockUpstream) -> Self {
        let books = Arc::<Books>::default();
        let kept = Arc::clone(&books);
        let hosting = Underway::start(async move {
            let mut guests = JoinSet::new();
            while let Some(opening) = upstream.opening().await {
                guests.spawn(Guest::new(opening.accept(), delay, Arc::clone(&kept)).stay());
            }
            while guests.join_next().await.is_some() {}
        });
        Self { books, _hosting: hosting }
    }

    /// Restarts, as an upstream that speaks streamable HTTP: calls under way
    /// break, and sessions are forgotten, of which nobody hears before asking.
    pub fn restart(&self) {
        self.books.restarts.send_modify(|restarts| *restarts += 1);
    }

    /// Whether the call of that nonce was under way when it restarted, which
    /// no pool can help.
    #[must_use]
    pub fn has_struck(&self, nonce: &str) -> bool {
        lock(&self.books.struck).contains(nonce)
    }

    /// Handshakes so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.books.opened.load(Ordering::Relaxed)
    }

    /// Goodbyes so far.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.books.left.load(Ordering::Relaxed)
    }

    /// Calls so far, pings apart.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.books.calls.load(Ordering::Relaxed)
    }

    /// Pings so far.
    #[must_use]
    pub fn pings(&self) -> u64 {
        self.books.pings.load(Ordering::Relaxed)
    }

    /// Sessions that it has now: opened, and no goodbye nor hang-up yet.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.books.open.load(Ordering::Relaxed)
    }

    /// The most sessions that it has had at once.
    #[must_use]
    pub fn most(&self) -> usize {
        self.books.most.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.books, f)
    }
}

// === impl Guest ===

impl Guest {
    fn new(peer: MockPeer, delay: Duration, books: Arc<Books>) -> Self {
        let (answering, running) = (JoinSet::new(), Arc::default());
        Self { peer, delay, books, answering, running, is_open: false, is_forgotten: false }
    }

    /// From the handshake to the goodbye, or to the link's end.
    async fn stay(mut self) {
        let mut restarts = self.books.restarts.subscribe();
        loop {
            let heard = select! {
                biased;
                Ok(()) = restarts.changed() => {
                    self.strike();
                    continue;
                }
                heard = self.peer.hear() => heard,
            };
            match heard {
                Some(Heard::Call(call)) => self.hear(call),
                Some(Heard::Goodbye) => {
                    self.books.left.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Some(Heard::Notification(_) | Heard::Response(_)) => {}
                None => return,
            }
        }
    }

    /// The upstream restarts under it.
    fn strike(&mut self) {
        self.answering = JoinSet::new();
        self.is_forgotten |= self.is_open;
        let running = mem::take(&mut *lock(&self.running));
        lock(&self.books.struck).extend(running);
    }

    fn hear(&mut self, call: MockCall) {
        if self.is_forgotten {
            self.peer.end(EndReason::SessionGone);
            return call.fail(CallError::not_sent(Fault::SessionGone));
        }
        match call.request.method() {
            method::INITIALIZE => {
                self.books.opened.fetch_add(1, Ordering::Relaxed);
                let open = self.books.open.fetch_add(1, Ordering::Relaxed) + 1;
                self.books.most.fetch_max(open, Ordering::Relaxed);
                self.is_open = true;
                call.answer(GREETING);
            }
            method::PING => {
                self.books.pings.fetch_add(1, Ordering::Relaxed);
                call.answer("{}");
            }
            _ => self.work(call),
        }
    }

    fn work(&mut self, call: MockCall) {
        self.books.calls.fetch_add(1, Ordering::Relaxed);
        let (delay, running) = (self.delay, Arc::clone(&self.running));
        let nonce = nonce_in(&call.request);
        lock(&running).insert(nonce.clone());
        self.answering.spawn(async move {
            pass(delay).await;
            lock(&running).remove(&nonce);
            call.answer(&format!(r#"{{"nonce":{}}}"#, Json::string(&nonce)));
        });
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.is_open {
            self.books.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while holding it")
}
