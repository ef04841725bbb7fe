//! What the pool knows of an upstream, whatever the key.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;
use wharf_proto::Json;

use crate::{figures::Tally, rules::Rules, settings::Limits, shift::Shift, warm::Warm};

/// One upstream.
pub(crate) struct Upstream {
    pub(crate) id: Arc<str>,
    pub(crate) tally: Tally,
    pub(crate) warm: Warm,
    rules: RwLock<Arc<Rules>>,
    /// What it answered to the last handshake.
    greeting: Mutex<Json>,
    alarm: watch::Sender<()>,
    /// Drains under way, and those that have left it shut. Read for every
    /// lease.
    closed: AtomicUsize,
    shift: Mutex<Shift>,
}

/// The upstreams that have been used, by id.
#[derive(Default)]
pub(crate) struct Upstreams(RwLock<HashMap<Arc<str>, Arc<Upstream>>>);

// === impl Upstream ===

impl Upstream {
    fn new(id: &Arc<str>, limits: &Limits, shift: &Shift) -> Self {
        Self {
            id: Arc::clone(id),
            tally: Tally::default(),
            warm: Warm::default(),
            rules: RwLock::new(Rules::new(limits.clone())),
            greeting: Mutex::new(Json::empty_object()),
            alarm: watch::Sender::new(()),
            closed: AtomicUsize::new(0),
            shift: Mutex::new(shift.part()),
        }
    }

    /// What holds towards it for now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().expect("nothing panics while holding it"))
    }

    /// Has other limits hold, with breakers that know of no failure.
    pub(crate) fn renew(&self, limits: Limits) {
        *self.rules.write().expect("nothing panics while holding it") = Rules::new(limits);
    }

    /// What it answered to a handshake, to be kept for as long as the session
    /// is: none of the buffer around it, and the same for all sessions to
    /// which it says the same, which is mostly all of them.
    pub(crate) fn greeting(&self, answer: &Json) -> Json {
        let mut last = self.greeting.lock().expect("nothing panics while holding it");
        if *last != *answer {
            *last = answer.detached();
        }
        last.clone()
    }

    /// The owners of its sessions since it was last drained.
    pub(crate) fn shift(&self) -> Shift {
        self.shift.lock().expect("nothing panics while holding it").clone()
    }

    /// Whether nobody is let in.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) > 0
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.closed.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes one [`Upstream::close`] back. With the last of them a new shift
    /// begins, and it says so.
    pub(crate) fn reopen(&self, all: &Shift) -> bool {
        let mut shift = self.shift.lock().expect("nothing panics while holding it");
        let is_open = self.closed.load(Ordering::Acquire) == 1;
        if is_open {
            *shift = all.part();
        }
        // Whoever sees that it is open finds the new shift.
        self.closed.fetch_sub(1, Ordering::AcqRel);
        is_open
    }

    /// Tells every owner of a session with the upstream that another has
    /// been found dead: its own may be, too.
    pub(crate) fn sound_alarm(&self) {
        self.alarm.send_replace(());
    }

    /// What an owner hears alarms by. Those that come while it does not look
    /// are one.
    pub(crate) fn hear_alarms(&self) -> watch::Receiver<()> {
        self.alarm.subscribe()
    }
}

// === impl Upstreams ===

impl Upstreams {
    /// The upstream of that id, which from now on has been used. `limits` are
    /// what holds for it.
    pub(crate) fn of(&self, id: &Arc<str>, limits: &Limits, shift: &Shift) -> Arc<Upstream> {
        if let Some(upstream) = self.find(id) {
            return upstream;
        }
        let mut all = self.0.write().expect("nothing panics while holding it");
        let upstream = all.entry(Arc::clone(id));
        Arc::clone(upstream.or_insert_with(|| Arc::new(Upstream::new(id, limits, shift))))
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Upstream>> {
        self.0.read().expect("nothing panics while holding it").get(id).map(Arc::clone)
    }

    /// All of them, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<Arc<Upstream>> {
        let all = self.0.read().expect("nothing panics while holding it");
        let mut all: Vec<_> = all.values().map(Arc::clone).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }
}
