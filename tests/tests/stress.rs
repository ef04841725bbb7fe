//! Two hundred clients, an upstream that restarts every second or so, and one
//! call in twenty that its caller gives up. Everything that fails is accounted
//! for, and nothing is left at the end.
//!
//! Which failures are a restart's own is told by what has happened, not by how
//! long ago: a machine that is busy gets around to everything later.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use wharf_gateway::{ScopeSetting, Transport as Spoken, UpstreamSettings};
use wharf_proto::{
    Outcome, method,
    transport::{CallError, Exchange as _},
};
use wharf_testkit::{Faulty, FaultySettings, Script, TestClient, faulty::Memory};
use wharf_tests::{Wharf, soon, until, upstream, value};

const USERS: u64 = 200;
/// How often each of the three kinds of upstream restarts.
const RESTARTS: u64 = 6;
/// Of a restart: see [`Course::phase`].
const PHASES: u64 = 3;
/// How long it is up between two of them, at least.
const UP: Duration = Duration::from_secs(1);
/// One in so many calls is given up.
const GIVEN_UP: u64 = 20;

/// What became of the calls of one user, or of all.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    given_up: u64,
    /// The upstream was restarting: nothing answered at its port, or it died
    /// while it was at the call, and the error says so.
    injected: u64,
    /// Everything else.
    ours: BTreeMap<String, u64>,
}

/// What the users and the one who restarts the upstream know of each other.
struct Course {
    /// How far it has got: three phases for each restart. The upstream is up;
    /// it is down; it is back and not everybody has been there yet.
    phase: AtomicU64,
    /// Of each user.
    asked: Vec<Asked>,
    is_over: AtomicBool,
}

/// The calls of one user that it waits for, one after the other.
#[derive(Default)]
struct Asked {
    begun: AtomicU64,
    ended: AtomicU64,
}

struct User {
    client: TestClient,
    number: u64,
    course: Arc<Course>,
    /// The last phase in which it has lost a call to an upstream that was back.
    lost_in: u64,
    tally: Tally,
}

// === impl Course ===

impl Course {
    fn new() -> Self {
        let asked = (0..USERS).map(|_| Asked::default()).collect();
        Self { phase: AtomicU64::new(0), asked, is_over: AtomicBool::new(false) }
    }

    fn phase(&self) -> u64 {
        self.phase.load(Ordering::SeqCst)
    }

    fn next_phase(&self) {
        self.phase.fetch_add(1, Ordering::SeqCst);
    }

    /// Restarts the upstream [`RESTARTS`] times, and then ends it all.
    async fn run(&self, faulty: &Faulty) {
        for _ in 0..RESTARTS {
            self.be_up().await;
            self.next_phase();
            faulty.crash().await;
            faulty.revive(Memory::Lost).await.expect("its port is its own");
            self.next_phase();
            self.all_ask_anew().await;
            self.next_phase();
        }
        self.be_up().await;
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Leaves it up, until every user has made a call that may not fail.
    async fn be_up(&self) {
        sleep(UP).await;
        self.all_ask_anew().await;
    }

    /// Waits until every user has made a call that began after this did:
    /// whatever it had a part in before is done with.
    async fn all_ask_anew(&self) {
        let begun: Vec<u64> =
            self.asked.iter().map(|asked| asked.begun.load(Ordering::SeqCst)).collect();
        until("every user has been at it again", || {
            let ended = self.asked.iter().map(|asked| asked.ended.load(Ordering::SeqCst));
            ended.zip(&begun).all(|(ended, begun)| ended > *begun)
        })
        .await;
    }
}

// === impl User ===

impl User {
    async fn work(mut self) -> Tally {
        let mut made = self.number;
        while !self.course.is_over.load(Ordering::SeqCst) {
            made += 1;
            let nonce = format!("{made} of {}", self.number);
            if made.is_multiple_of(GIVEN_UP) {
                self.give_up(&nonce).await;
            } else {
                let begun = self.course.phase();
                let (answer, ended) = self.ask(&nonce).await;
                self.judge(&nonce, answer, (begun, ended));
            }
            sleep(Duration::from_millis(20 + made % 60)).await;
        }
        let Self { client, tally, .. } = self;
        soon("a client leaves", client.close()).await;
        tally
    }

    /// Makes a call, and says in which phase it has ended.
    async fn ask(&self, nonce: &str) -> (Result<Outcome, CallError>, u64) {
        let call = json!({"name": "echo", "arguments": {"message": nonce, "nonce": nonce}});
        let asked = &self.course.asked[usize::try_from(self.number).expect("they are few")];
        asked.begun.fetch_add(1, Ordering::SeqCst);
        let answer = soon("an answer", self.client.call(method::TOOLS_CALL, &call)).await;
        // Before others learn of the end, and the next phase begins for it.
        let phase = self.course.phase();
        asked.ended.fetch_add(1, Ordering::SeqCst);
        (answer.map(|answer| answer.outcome().clone()), phase)
    }

    async fn give_up(&mut self, nonce: &str) {
        let call = json!({"name": "sleep", "arguments": {"ms": 3_600_000, "nonce": nonce}});
        let mut call = self.client.exchange(method::TOOLS_CALL, &call);
        let _ = timeout(Duration::from_millis(20), call.next()).await;
        let id = call.id().clone();
        drop(call);
        // Whether the upstream is there to be told is not what counts.
        let _ = self.client.cancel(&id).await;
        self.tally.given_up += 1;
    }

    fn judge(&mut self, nonce: &str, answer: Result<Outcome, CallError>, phases: (u64, u64)) {
        let what = match answer {
            Ok(Outcome::Result(result)) => {
                let said = value(&result)["structuredContent"]["nonce"].clone();
                if said == nonce {
                    self.tally.answered += 1;
                    return;
                }
                format!("asked {nonce:?} and was answered {said}")
            }
            Ok(Outcome::Error(error)) => {
                let error = value(&error);
                if is_injected(&error) && self.may_lose(phases) {
                    self.tally.injected += 1;
                    return;
                }
                error["message"].to_string()
            }
            Err(error) => error.to_string(),
        };
        *self.tally.ours.entry(what).or_default() += 1;
    }

    /// Whether a call that began in one phase and ended in one may be lost:
    /// while the upstream was down, and once after each restart to what is left
    /// of the time before. Nobody is handed what is dead again and again.
    fn may_lose(&mut self, (begun, ended): (u64, u64)) -> bool {
        match begun % PHASES {
            0 => ended != begun,
            1 => true,
            _ => std::mem::replace(&mut self.lost_in, begun) != begun,
        }
    }
}

/// Whether the gateway says that the upstream was not there, or died at it.
fn is_injected(error: &Value) -> bool {
    let is_of_the_gateway = error["data"]["gateway"] == "wharf";
    let reason = error["data"]["reason"].as_str().unwrap_or_default();
    is_of_the_gateway && matches!(reason, "no_answer" | "not_sent" | "cannot_open_session")
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.given_up += other.given_up;
        self.injected += other.injected;
        for (what, count) in other.ours {
            *self.ours.entry(what).or_default() += count;
        }
    }
}

/// The sockets that this process has open.
fn sockets() -> usize {
    let open = fs::read_dir("/proc/self/fd").expect("a process may look at itself");
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

async fn stress(spoken: Spoken, scope: ScopeSetting) {
    let tasks_before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let sockets_before = sockets();
    let faulty = Faulty::start(Script::new(), FaultySettings::default()).await;
    let faulty = faulty.expect("it starts");
    let url = if spoken == Spoken::Sse { faulty.sse_url() } else { faulty.url() };
    let mut settings = UpstreamSettings { transport: spoken, scope, ..upstream("f", &url) };
    settings.limits.sessions_per_key = 20;
    settings.limits.calls_per_session = 4;
    // So that each failure to open is the upstream's own, and at its time.
    settings.limits.breaker.failures = 0;
    let wharf = Wharf::in_front_of([settings]).await;
    let mut connecting = JoinSet::new();
    let url = wharf.url("/servers/f/mcp");
    for number in 0..USERS {
        let url = url.clone();
        connecting.spawn(async move {
            (number, soon("a client connects", TestClient::connect_http(&url)).await)
        });
    }
    let course = Arc::new(Course::new());
    let mut users = JoinSet::new();
    for (number, client) in connecting.join_all().await {
        let client = client.expect("the upstream is up");
        let (course, tally) = (Arc::clone(&course), Tally::default());
        users.spawn(User { client, number, course, lost_in: 0, tally }.work());
    }
    tokio::select! {
        () = course.run(&faulty) => {}
        Some(ended) = users.join_next() => panic!("a user has ended before its time: {ended:?}"),
    }
    let mut tally = Tally::default();
    users.join_all().await.into_iter().for_each(|other| tally.add(other));
    nothing_is_wrong(spoken, &tally);

    // Sessions that are shared stay until the gateway stops; nothing else does.
    wharf.is_at_rest("f").await;
    if scope == ScopeSetting::Client {
        wharf.is_empty("f").await;
    }
    wharf.stop().await;
    let ended =
        faulty.record().wait_for(|seen| seen.sessions().now == 0 && seen.streams().now == 0);
    soon("no session is left at the upstream", ended).await;
    drop(faulty);
    let runtime = tokio::runtime::Handle::current();
    until("no task is left", || runtime.metrics().num_alive_tasks() <= tasks_before).await;
    until("no socket is left", || sockets() <= sockets_before).await;
}

#[expect(clippy::print_stdout, reason = "the output of a test is seen where it fails")]
fn nothing_is_wrong(spoken: Spoken, tally: &Tally) {
    println!("{spoken:?}: {tally:?}");
    assert!(tally.ours.is_empty(), "{spoken:?}: {:#?}", tally.ours);
    assert!(tally.given_up > USERS / 4, "{tally:?}");
    // Everybody has made one between any two restarts.
    assert!(tally.answered >= RESTARTS * USERS, "{tally:?}");
    // Far from all of them meet a restart.
    assert!(tally.answered > tally.injected, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_lose_nothing_but_what_a_restarting_upstream_takes_with_it() {
    for (spoken, scope) in [
        (Spoken::StreamableHttp, ScopeSetting::Client),
        (Spoken::StreamableHttp, ScopeSetting::Shared),
        (Spoken::Sse, ScopeSetting::Client),
    ] {
        stress(spoken, scope).await;
    }
}
