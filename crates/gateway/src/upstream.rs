//! One upstream: what is configured of it for now, and what has been found
//! out about it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use wharf_http::Target;
use wharf_pool::{Fingerprint, Key, KeyParts, Lease, Profile, Scope, Session};
use wharf_proto::{Json, Revision};
use wharf_streamable_http::client::Opener;

use crate::{
    ScopeSetting, Transport, UpstreamId, UpstreamSettings, catalogue::Catalogue,
    commons::AllCommons, wire::WireLink,
};

/// One upstream, from its coming to its going. What is configured of it may
/// change meanwhile.
pub(crate) struct Upstream {
    id: UpstreamId,
    /// Its number, which no other has had. Numbers begin at 0 and are given
    /// in turn.
    pub(crate) number: usize,
    pub(crate) catalogue: Catalogue,
    pub(crate) commons: AllCommons,
    own_key: OnceLock<Key>,
    own_lease: Mutex<Weak<OnceCell<Lease<WireLink>>>>,
    edition: watch::Sender<Arc<Edition>>,
    /// It is no longer configured.
    going: CancellationToken,
    /// Another of its id has come before its calls have finished.
    superseded: CancellationToken,
    /// Nothing of it is under way any more.
    gone: CancellationToken,
}

/// An upstream as it is configured for now, and what has been found out about
/// it since.
#[derive(Debug)]
pub(crate) struct Edition {
    pub(crate) settings: UpstreamSettings,
    /// Opens the links over streamable HTTP, to the target of the settings.
    opener: Arc<OnceLock<Opener>>,
    found: Mutex<Arc<OnceCell<Transport>>>,
    is_sessionless: AtomicBool,
}

/// On whose behalf sessions are opened.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The client's session, by its number.
    pub(crate) client: u64,
    /// What the client declared.
    pub(crate) profile: Arc<Profile>,
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn new(number: usize, settings: UpstreamSettings) -> Self {
        Self {
            id: settings.id.clone(),
            number,
            catalogue: Catalogue::default(),
            commons: AllCommons::default(),
            own_key: OnceLock::new(),
            own_lease: Mutex::default(),
            edition: watch::Sender::new(Arc::new(Edition::new(settings))),
            going: CancellationToken::new(),
            superseded: CancellationToken::new(),
            gone: CancellationToken::new(),
        }
    }

    pub(crate) const fn id(&self) -> &UpstreamId {
        &self.id
    }

    /// The upstream as it is for now.
    pub(crate) fn edition(&self) -> Arc<Edition> {
        Arc::clone(&self.edition.borrow())
    }

    /// Whether it is still as it was then.
    pub(crate) fn is_in(&self, edition: &Arc<Edition>) -> bool {
        Arc::ptr_eq(&self.edition.borrow(), edition)
    }

    /// Has another edition hold from now on.
    pub(crate) fn publish(&self, edition: Edition) {
        self.edition.send_replace(Arc::new(edition));
    }

    /// Wharf's own key: of a session that belongs to no client and declares no
    /// capability.
    pub(crate) fn own_key(&self) -> &Key {
        self.own_key.get_or_init(|| self.key(Scope::Shared, own_profile()))
    }

    /// Where Wharf's own lease is, or is to be put: the same for all who ask
    /// while any of them has it.
    pub(crate) fn own_lease(&self) -> Arc<OnceCell<Lease<WireLink>>> {
        let mut own = self.own_lease.lock().expect("nothing panics while holding it");
        let is_good =
            |cell: &Arc<OnceCell<Lease<_>>>| !cell.get().is_some_and(|one| one.is_closed());
        if let Some(shared) = own.upgrade().filter(is_good) {
            return shared;
        }
        let shared = Arc::default();
        *own = Arc::downgrade(&shared);
        shared
    }

    /// The key of the sessions that a client may use in this edition.
    pub(crate) fn key_for(&self, edition: &Edition, identity: &Identity) -> Key {
        // Where the upstream keeps no session, one client can see nothing of
        // another's, whatever it is that they share.
        let is_sessionless = edition.is_sessionless.load(Ordering::Relaxed);
        let scope = match edition.settings.scope {
            ScopeSetting::Call => Scope::one_call(),
            ScopeSetting::Client if is_sessionless => Scope::Shared,
            ScopeSetting::Client => Scope::Client(identity.client),
            // Until there is authentication every client is the same one.
            ScopeSetting::Identity => Scope::Identity("anonymous".into()),
            ScopeSetting::Shared => Scope::Shared,
        };
        let profile = match scope {
            Scope::Client(_) | Scope::Call(_) => Arc::clone(&identity.profile),
            // A session that is shared declares nothing that only one of
            // those who share it can do.
            _ => Arc::new(Profile {
                revision: identity.profile.revision,
                ..(*own_profile()).clone()
            }),
        };
        self.key(scope, profile)
    }

    /// The key of the sessions that are one client's alone.
    pub(crate) fn key_alone(&self, identity: &Identity) -> Key {
        self.key(Scope::Client(identity.client), Arc::clone(&identity.profile))
    }

    fn key(&self, scope: Scope, profile: Arc<Profile>) -> Key {
        // All clients call with the credential that is configured, so that it
        // tells no two of them apart. Sessions that were opened with an
        // earlier one have been given up when it changed.
        let credential = Fingerprint::NONE;
        Key::new(KeyParts { upstream: self.id.shared(), scope, credential, profile })
    }

    /// It is another than it was: what is known of its lists may be wrong.
    pub(crate) fn renew(&self) {
        self.catalogue.doubt();
    }

    /// It is no longer configured. Calls that are under way may finish.
    pub(crate) fn dismiss(&self) {
        self.going.cancel();
    }

    /// Waits until it is no longer configured.
    pub(crate) async fn dismissed(&self) {
        self.going.cancelled().await;
    }

    /// Nobody waits for its calls any more: another of its id has come.
    pub(crate) fn supersede(&self) {
        self.superseded.cancel();
    }

    /// Waits for `farewell`, unless another of its id comes.
    pub(crate) async fn until_superseded(&self, farewell: impl Future<Output = ()>) {
        self.superseded.run_until_cancelled(farewell).await;
    }

    /// Its calls are over.
    pub(crate) fn leave(&self) {
        self.gone.cancel();
    }

    /// Whether it has gone, calls and all.
    pub(crate) fn has_left(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Waits until it has gone, calls and all.
    pub(crate) async fn left(&self) {
        self.gone.cancelled().await;
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}, {:?})", self.id, self.edition().settings.target.endpoint)
    }
}

// === impl Edition ===

impl Edition {
    pub(crate) fn new(settings: UpstreamSettings) -> Self {
        Self {
            settings,
            opener: Arc::default(),
            found: Mutex::default(),
            is_sessionless: AtomicBool::new(false),
        }
    }

    /// The same, where other settings change nothing about its sessions: they
    /// have the same target.
    pub(crate) fn with(&self, settings: UpstreamSettings) -> Self {
        debug_assert!(self.settings.target == settings.target, "its links go to the old one");
        let is_sessionless = AtomicBool::new(self.is_sessionless.load(Ordering::Relaxed));
        Self {
            settings,
            opener: Arc::clone(&self.opener),
            found: Mutex::new(self.found()),
            is_sessionless,
        }
    }

    /// What opens links to it over streamable HTTP; made with `make` at first.
    pub(crate) fn opener(&self, make: impl FnOnce(Target) -> Opener) -> &Opener {
        self.opener.get_or_init(|| make(self.settings.target.clone()))
    }

    /// Learns from a session whether the upstream keeps any.
    pub(crate) fn meet(&self, session: &Session<WireLink>) {
        let is_sessionless = !session.has_session();
        // Mostly there is nothing to write, and then nothing is written to
        // what every lease looks at.
        if self.is_sessionless.load(Ordering::Relaxed) != is_sessionless {
            self.is_sessionless.store(is_sessionless, Ordering::Relaxed);
        }
    }

    /// Where the transport is written down once it is found out; what is
    /// configured needs no finding out.
    pub(crate) fn found(&self) -> Arc<OnceCell<Transport>> {
        Arc::clone(&self.found.lock().expect("nothing panics while holding it"))
    }

    /// Forgets what was found out: the upstream is not what it was. Whether
    /// there was anything to forget.
    pub(crate) fn forget_transport(&self) -> bool {
        let mut found = self.found.lock().expect("nothing panics while holding it");
        std::mem::take(&mut *found).initialized()
    }

    pub(crate) fn transport(&self) -> Transport {
        match self.settings.transport {
            Transport::Auto => self.found().get().copied().unwrap_or_default(),
            configured => configured,
        }
    }
}

/// What Wharf says of itself where it speaks for no client.
pub(crate) fn own_profile() -> Arc<Profile> {
    static PROFILE: OnceLock<Arc<Profile>> = OnceLock::new();
    let profile = PROFILE.get_or_init(|| {
        Arc::new(Profile {
            revision: Revision::LATEST,
            capabilities: Json::empty_object(),
            client_info: own_info(),
        })
    });
    Arc::clone(profile)
}

/// Wharf's name and version, as client and as server.
pub(crate) fn own_info() -> Json {
    let text = concat!(r#"{"name":"wharf","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    Json::parse(text).expect("it is JSON")
}

#[cfg(test)]
mod tests {
    use wharf_http::{ClientSettings as Connections, Endpoint, HttpClient};
    use wharf_streamable_http::client::ClientSettings;

    use super::*;
    use crate::OnLost;

    #[tokio::test]
    async fn links_are_opened_as_before_where_other_settings_leave_the_target() {
        let target = Target::new(Endpoint::parse("http://a/mcp").expect("it is a URL"));
        let mut settings = UpstreamSettings::new("a".parse().expect("it is an id"), target);
        let http = HttpClient::new(&Connections::default());
        let make = |target| Opener::new(http.clone(), target, ClientSettings::default());
        let before = Edition::new(settings.clone());
        settings.on_lost = OnLost::Tell;
        let after = before.with(settings.clone());
        assert!(std::ptr::eq(before.opener(make), after.opener(make)));
        assert!(!std::ptr::eq(before.opener(make), Edition::new(settings).opener(make)));
    }
}
