//! The upstreams there are, which may change while the gateway runs.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;
use tokio::sync::watch;
use wharf_http::HttpClient;
use wharf_pool::{CloseReason, Key};

use crate::{
    SetupError, Transport, UpstreamId, UpstreamSettings,
    upstream::{Edition, Upstream},
};

/// All upstreams of a gateway.
pub struct Upstreams {
    pub(crate) http: HttpClient,
    pub(crate) max_message: usize,
    /// Read once for a request; written when the configuration changes.
    roster: watch::Sender<Arc<Roster>>,
    /// The number that the next upstream gets.
    next: AtomicUsize,
}

/// The upstreams at one time, in the order in which lists show them.
#[derive(Default)]
pub(crate) struct Roster {
    all: Vec<Arc<Upstream>>,
    /// By their ids, which the configuration gives and no client.
    places: HashMap<Arc<str>, usize, RandomState>,
}

/// What has become of the upstreams.
#[derive(Debug, Default)]
pub(crate) struct Turnover {
    pub(crate) added: Vec<Arc<Upstream>>,
    /// Those whose settings are others, and why their sessions are to be given
    /// up, if they are.
    pub(crate) changed: Vec<(Arc<Upstream>, Option<CloseReason>)>,
    pub(crate) removed: Vec<Arc<Upstream>>,
}

// === impl Upstreams ===

impl Upstreams {
    /// Takes the upstreams as configured, to be spoken to by `http` in messages
    /// of up to `max_message` bytes. Nothing is sent to them yet.
    ///
    /// # Errors
    ///
    /// [`SetupError`] where two have the same id.
    pub fn new(
        all: Vec<UpstreamSettings>,
        http: HttpClient,
        max_message: usize,
    ) -> Result<Arc<Self>, SetupError> {
        let upstreams =
            Self { http, max_message, roster: watch::Sender::default(), next: AtomicUsize::new(0) };
        upstreams.replace(all)?;
        Ok(Arc::new(upstreams))
    }

    /// Wharf's own key for an upstream: of a session that belongs to no
    /// client and declares no capability. `None` for an unknown id.
    #[must_use]
    pub fn own_key(&self, id: &UpstreamId) -> Option<Key> {
        self.find(id.as_str()).map(|upstream| upstream.own_key().clone())
    }

    /// The transport that an upstream speaks, as far as it is known by now.
    #[must_use]
    pub fn transport(&self, id: &UpstreamId) -> Transport {
        self.find(id.as_str()).map_or(Transport::Auto, |upstream| upstream.edition().transport())
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Upstream>> {
        self.roster.borrow().find(id).map(Arc::clone)
    }

    /// All there are now.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// All there are now, and from now on.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    /// How many numbers have been given to upstreams.
    pub(crate) fn numbers(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    /// Has these be the upstreams from now on. Those whose settings are the
    /// same are not touched.
    pub(crate) fn replace(&self, settings: Vec<UpstreamSettings>) -> Result<Turnover, SetupError> {
        let before = self.roster();
        let mut turnover = Turnover::default();
        let mut after = Roster::default();
        for settings in &settings {
            let place = after.places.len();
            if after.places.insert(settings.id.shared(), place).is_some() {
                return Err(SetupError::SameId { id: settings.id.clone() });
            }
        }
        for settings in settings {
            let upstream = match before.find(settings.id.as_str()) {
                Some(known) => {
                    turnover.change(known, settings);
                    Arc::clone(known)
                }
                None => {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let upstream = Arc::new(Upstream::new(number, settings));
                    turnover.added.push(Arc::clone(&upstream));
                    upstream
                }
            };
            after.all.push(upstream);
        }
        let removed = before.all.iter().filter(|known| after.find(known.id().as_str()).is_none());
        turnover.removed.extend(removed.cloned());
        self.roster.send_replace(Arc::new(after));
        Ok(turnover)
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.roster().all()).finish()
    }
}

// === impl Roster ===

impl Roster {
    pub(crate) fn find(&self, id: &str) -> Option<&Arc<Upstream>> {
        self.place(id).map(|place| &self.all[place])
    }

    /// The upstream of that number, if it is still there.
    pub(crate) fn numbered(&self, number: usize) -> Option<&Arc<Upstream>> {
        self.all.iter().find(|upstream| upstream.number == number)
    }

    /// An upstream's place among all.
    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    pub(crate) fn all(&self) -> &[Arc<Upstream>] {
        &self.all
    }
}

// === impl Turnover ===

impl Turnover {
    /// Brings an upstream to these settings, if it has others.
    fn change(&mut self, upstream: &Arc<Upstream>, settings: UpstreamSettings) {
        let before = upstream.edition();
        if before.settings == settings {
            return;
        }
        let reason = outdated(&before.settings, &settings);
        let after = match reason {
            Some(_) => Edition::new(settings),
            None => before.with(settings),
        };
        upstream.publish(after);
        self.changed.push((Arc::clone(upstream), reason));
    }
}

/// Why sessions that were opened under one set of settings are not to be used
/// under another; `None` where they may be.
fn outdated(before: &UpstreamSettings, after: &UpstreamSettings) -> Option<CloseReason> {
    // These say what is done with calls.
    let mut like = UpstreamSettings {
        on_disconnect: after.on_disconnect,
        on_lost: after.on_lost,
        repeat: after.repeat,
        call_timeout: after.call_timeout,
        ..before.clone()
    };
    if like == *after {
        return None;
    }
    like.target.headers = after.target.headers.clone();
    let is_credential = like == *after;
    Some(if is_credential { CloseReason::Credential } else { CloseReason::Configuration })
}

#[cfg(test)]
mod tests {
    use wharf_http::{ClientSettings, Endpoint, Target};

    use super::*;

    type Change = fn(&mut UpstreamSettings);

    fn settings(id: &str, change: impl FnOnce(&mut UpstreamSettings)) -> UpstreamSettings {
        let endpoint = Endpoint::parse("http://127.0.0.1:1/mcp").expect("it is a URL");
        let mut settings =
            UpstreamSettings::new(id.parse().expect("it is an id"), Target::new(endpoint));
        change(&mut settings);
        settings
    }

    fn usual(id: &str) -> UpstreamSettings {
        settings(id, |_| {})
    }

    fn upstreams(all: Vec<UpstreamSettings>) -> Result<Arc<Upstreams>, SetupError> {
        Upstreams::new(all, HttpClient::new(&ClientSettings::default()), 1)
    }

    fn ids<'a>(upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>) -> Vec<&'a str> {
        upstreams.into_iter().map(|upstream| upstream.id().as_str()).collect()
    }

    #[test]
    fn upstreams_come_and_go_and_those_that_stay_are_the_same() {
        let upstreams = upstreams(vec![usual("a"), usual("b")]).unwrap();
        let before = upstreams.roster();
        let turnover = upstreams.replace(vec![usual("c"), usual("b")]).unwrap();
        assert_eq!((ids(&turnover.added), ids(&turnover.removed)), (vec!["c"], vec!["a"]));
        assert!(turnover.changed.is_empty());
        let after = upstreams.roster();
        assert_eq!(ids(after.all()), ["c", "b"]);
        assert!(Arc::ptr_eq(after.find("b").unwrap(), before.find("b").unwrap()));
        assert_eq!((after.place("b"), after.find("c").unwrap().number), (Some(1), 2));

        upstreams.replace(vec![usual("a"), usual("b")]).unwrap();
        let back = upstreams.find("a").unwrap();
        assert_eq!(back.number, 3, "it is not the one that went");
    }

    #[test]
    fn two_of_one_id_change_nothing() {
        let upstreams = upstreams(vec![usual("a")]).unwrap();
        let other = settings("a", |settings| settings.scope = crate::ScopeSetting::Shared);
        let refused = upstreams.replace(vec![other, usual("b"), usual("b")]);
        assert!(matches!(refused, Err(SetupError::SameId { .. })));
        assert_eq!(ids(upstreams.roster().all()), ["a"]);
        assert_eq!(upstreams.find("a").unwrap().edition().settings, usual("a"));
    }

    #[test]
    fn what_has_changed_says_whether_sessions_are_given_up_and_why() {
        let changes: [(&str, Change); 6] = [
            ("kept", |settings| settings.on_lost = crate::OnLost::Tell),
            ("kept", |settings| settings.call_timeout = Some(std::time::Duration::from_secs(1))),
            ("credential", |settings| {
                let token = http::HeaderValue::from_static("Bearer x");
                settings.target.headers.insert(http::header::AUTHORIZATION, token);
            }),
            ("configuration", |settings| settings.limits.sessions = 1),
            ("configuration", |settings| settings.scope = crate::ScopeSetting::Shared),
            ("configuration", |settings| {
                settings.target.endpoint = Endpoint::parse("http://h/mcp").expect("it is a URL");
            }),
        ];
        for (expected, change) in changes {
            let upstreams = upstreams(vec![usual("a")]).unwrap();
            let turnover = upstreams.replace(vec![settings("a", change)]).unwrap();
            let [(_, reason)] = &turnover.changed[..] else { panic!("{turnover:?}") };
            assert_eq!(reason.as_ref().map_or("kept", CloseReason::label), expected);
        }
    }
}
