//! The upstreams: what is configured of each, and what has been found out.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::OnceCell;
use wharf_http::{ClientSettings, HttpClient};
use wharf_pool::{Fingerprint, Fingerprinter, Key, KeyParts, Lease, Profile, Scope, Session};
use wharf_proto::{Json, Revision};

use crate::{
    ScopeSetting, SetupError, Transport, UpstreamId, UpstreamSettings, catalogue::Catalogue,
    commons::AllCommons, wire::WireLink,
};

/// All upstreams of a gateway.
pub struct Upstreams {
    pub(crate) http: HttpClient,
    pub(crate) max_message: usize,
    all: Vec<Arc<Upstream>>,
    by_id: HashMap<Arc<str>, usize>,
}

/// One upstream.
pub(crate) struct Upstream {
    /// Its place among all.
    pub(crate) index: usize,
    pub(crate) settings: UpstreamSettings,
    pub(crate) catalogue: Catalogue,
    pub(crate) commons: AllCommons,
    credential: Fingerprint,
    own_key: OnceLock<Key>,
    own_lease: Mutex<Weak<OnceCell<Lease<WireLink>>>>,
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

// === impl Upstreams ===

impl Upstreams {
    /// Takes the upstreams as configured. Nothing is sent to them yet.
    ///
    /// # Errors
    ///
    /// [`SetupError`] where two have the same id, or TLS cannot be set up.
    pub fn new(all: Vec<UpstreamSettings>, max_message: usize) -> Result<Arc<Self>, SetupError> {
        let http = HttpClient::new(&ClientSettings::default())?;
        let fingerprinter = Fingerprinter::default();
        let mut by_id = HashMap::new();
        for (index, settings) in all.iter().enumerate() {
            if by_id.insert(settings.id.shared(), index).is_some() {
                return Err(SetupError::SameId { id: settings.id.clone() });
            }
        }
        let all = all.into_iter().enumerate();
        let all =
            all.map(|(index, settings)| Arc::new(Upstream::new(index, settings, &fingerprinter)));
        Ok(Arc::new(Self { http, max_message, all: all.collect(), by_id }))
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
        self.find(id.as_str()).map_or(Transport::Auto, |upstream| upstream.transport())
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Arc<Upstream>> {
        self.by_id.get(id).map(|index| &self.all[*index])
    }

    pub(crate) fn all(&self) -> &[Arc<Upstream>] {
        &self.all
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.all).finish()
    }
}

// === impl Upstream ===

impl Upstream {
    fn new(index: usize, settings: UpstreamSettings, fingerprinter: &Fingerprinter) -> Self {
        let headers = &settings.target.headers;
        let mut credential: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        credential.sort_unstable();
        let credential =
            if credential.is_empty() { Fingerprint::NONE } else { fingerprinter.of(credential) };
        Self {
            index,
            settings,
            catalogue: Catalogue::default(),
            commons: AllCommons::default(),
            credential,
            own_key: OnceLock::new(),
            own_lease: Mutex::default(),
            found: Mutex::default(),
            is_sessionless: AtomicBool::new(false),
        }
    }

    pub(crate) fn id(&self) -> &UpstreamId {
        &self.settings.id
    }

    /// Wharf's own key: see [`Upstreams::own_key`].
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

    /// The key of the sessions that a client may use.
    pub(crate) fn key_for(&self, identity: &Identity) -> Key {
        // Where the upstream keeps no session, one client can see nothing of
        // another's, whatever it is that they share.
        let is_sessionless = self.is_sessionless.load(Ordering::Relaxed);
        let scope = match self.settings.scope {
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
        let upstream = self.id().shared();
        Key::new(KeyParts { upstream, scope, credential: self.credential, profile })
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

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}, {:?})", self.id(), self.settings.target.endpoint)
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
