//! What the pool knows of an upstream, whatever the key.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, RwLock},
};

use tokio::sync::watch;

use crate::{breaker::Breakers, figures::Tally, settings::Limits};

/// One upstream.
pub(crate) struct Upstream {
    pub(crate) id: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) tally: Tally,
    pub(crate) breakers: Breakers,
    alarm: watch::Sender<()>,
}

/// The upstreams that have been used, by id.
#[derive(Debug, Default)]
pub(crate) struct Upstreams(RwLock<HashMap<Arc<str>, Arc<Upstream>>>);

// === impl Upstream ===

impl Upstream {
    fn new(id: &Arc<str>, limits: &Limits) -> Self {
        Self {
            id: Arc::clone(id),
            limits: limits.clone(),
            tally: Tally::default(),
            breakers: Breakers::new(limits.breaker.clone()),
            alarm: watch::Sender::new(()),
        }
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

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.id)
    }
}

// === impl Upstreams ===

impl Upstreams {
    /// The upstream of that id, which from now on has been used. `limits` are
    /// what holds for it.
    pub(crate) fn of(&self, id: &Arc<str>, limits: &Limits) -> Arc<Upstream> {
        if let Some(upstream) = self.find(id) {
            return upstream;
        }
        let mut all = self.0.write().expect("nothing panics while holding it");
        let upstream = all.entry(Arc::clone(id));
        Arc::clone(upstream.or_insert_with(|| Arc::new(Upstream::new(id, limits))))
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
