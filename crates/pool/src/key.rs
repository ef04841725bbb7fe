//! What makes two callers eligible for the same session.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use wharf_proto::{Json, Revision};

/// Two callers with equal keys may be given the same session.
///
/// Clones share what they hold, and the hash is taken once, so that a key
/// costs little on the way of a call.
#[derive(Clone)]
pub struct Key(Arc<Hashed>);

struct Hashed {
    hash: u64,
    parts: KeyParts,
    /// No caller has such a key: see [`Key::ahead`].
    is_ahead: bool,
}

/// What a [`Key`] is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyParts {
    /// The upstream's id, from the configuration.
    pub upstream: Arc<str>,
    /// Who may share the session.
    pub scope: Scope,
    /// The credential that the upstream sees.
    pub credential: Fingerprint,
    /// What was declared to the upstream when the session was opened.
    pub profile: Arc<Profile>,
}

/// Who may share a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// One client's session alone: whatever the upstream keeps in its session
    /// is that client's.
    Client(u64),
    /// Every client of one principal.
    Identity(Arc<str>),
    /// Anybody, by the operator's word.
    Shared,
    /// One call: the session ends with its first lease. See
    /// [`Scope::one_call`].
    Call(u64),
}

/// Stands for a credential without telling it: a hash under a key that is
/// drawn anew for each process, so that it means nothing outside of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64, u64);

/// Makes [`Fingerprint`]s. Only those of one maker can be compared.
#[derive(Debug, Clone, Default)]
pub struct Fingerprinter(RandomState, RandomState);

/// What Wharf says of itself, or of the client it speaks for, in `initialize`
/// (lifecycle, initialization). Fixed for the life of a session, and so a
/// part of its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The revision that is asked for.
    pub revision: Revision,
    /// The client's capabilities.
    pub capabilities: Json,
    /// The client's name and version.
    pub client_info: Json,
}

// === impl Key ===

impl Key {
    /// Makes a key of its parts.
    #[must_use]
    pub fn new(parts: KeyParts) -> Self {
        Self::hashed(parts, false)
    }

    fn hashed(parts: KeyParts, is_ahead: bool) -> Self {
        // Only spreads keys over shards and buckets of this process's maps;
        // equality decides.
        let mut hasher = std::hash::DefaultHasher::new();
        parts.hash(&mut hasher);
        is_ahead.hash(&mut hasher);
        Self(Arc::new(Hashed { hash: hasher.finish(), parts, is_ahead }))
    }

    /// The key of the sessions that are opened ahead of demand for clients
    /// with keys like this one. Whose they will be is not known yet.
    pub(crate) fn ahead(&self) -> Self {
        let parts = KeyParts { scope: Scope::Shared, ..self.0.parts.clone() };
        Self::hashed(parts, true)
    }

    pub(crate) fn is_ahead(&self) -> bool {
        self.0.is_ahead
    }

    /// Whether nobody else may ever use its sessions, so that each who comes
    /// needs one of its own.
    pub(crate) fn is_ones_own(&self) -> bool {
        matches!(self.scope(), Scope::Client(_) | Scope::Call(_))
    }

    /// The upstream's id.
    #[must_use]
    pub fn upstream(&self) -> &Arc<str> {
        &self.0.parts.upstream
    }

    /// Who may share the session.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.0.parts.scope
    }

    /// The credential that the upstream sees.
    #[must_use]
    pub fn credential(&self) -> Fingerprint {
        self.0.parts.credential
    }

    /// What is declared to the upstream.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.0.parts.profile
    }

    pub(crate) fn shard(&self, shards: usize) -> usize {
        // The high bits: the maps use the low ones.
        (self.0.hash >> 48) as usize % shards
    }
}

#[cfg(test)]
impl Key {
    /// A client's key, for tests that do not look at the rest of it.
    pub(crate) fn client(number: u64) -> Self {
        let profile = Profile {
            revision: Revision::LATEST,
            capabilities: Json::empty_object(),
            client_info: Json::empty_object(),
        };
        Self::new(KeyParts {
            upstream: "fast-time".into(),
            scope: Scope::Client(number),
            credential: Fingerprint::NONE,
            profile: Arc::new(profile),
        })
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash
                && self.0.is_ahead == other.0.is_ahead
                && self.0.parts == other.0.parts)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ahead() {
            return write!(f, "Key({}, warm)", self.upstream());
        }
        write!(f, "Key({}, {:?})", self.upstream(), self.scope())
    }
}

// === impl Scope ===

impl Scope {
    /// The scope of one call, different from that of any other.
    #[must_use]
    pub fn one_call() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::Call(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

// === impl Fingerprinter ===

impl Fingerprinter {
    /// The fingerprint of a credential.
    #[must_use]
    pub fn of(&self, credential: impl Hash) -> Fingerprint {
        Fingerprint(self.0.hash_one(&credential), self.1.hash_one(&credential))
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// No credential at all.
    pub const NONE: Self = Self(0, 0);
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

// === impl Profile ===

impl Profile {
    /// The parameters of the `initialize` request.
    pub(crate) fn to_params(&self) -> Json {
        let text = format!(
            r#"{{"protocolVersion":"{}","capabilities":{},"clientInfo":{}}}"#,
            self.revision, self.capabilities, self.client_info
        );
        Json::parse(text).expect("its parts are JSON")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_spread_over_all_shards_and_within_them() {
        let keys = || (0..1000).map(Key::client);
        let shards: HashSet<_> = keys().map(|key| key.shard(16)).collect();
        assert_eq!(shards, (0..16).collect());
        let state = RandomState::new();
        let hashes: HashSet<_> = keys().map(|key| state.hash_one(&key)).collect();
        assert_eq!(hashes.len(), 1000);
    }

    #[test]
    fn keys_are_not_equal_because_their_hashes_are() {
        let ours = Key::client(1);
        let parts = KeyParts { scope: Scope::Client(2), ..ours.0.parts.clone() };
        let theirs = Key(Arc::new(Hashed { hash: ours.0.hash, parts, is_ahead: false }));
        assert_ne!(ours, theirs);
        assert_ne!(theirs.ahead(), theirs);
    }

    #[test]
    fn a_fingerprint_shows_nothing_of_what_it_stands_for() {
        let fingerprint = Fingerprinter::default().of("secret");
        assert_eq!(format!("{fingerprint:?}"), "Fingerprint(..)");
    }
}
