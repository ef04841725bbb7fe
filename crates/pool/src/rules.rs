//! What holds towards an upstream until it is renewed.

use std::sync::Arc;

use crate::{
    Fingerprint, Key,
    breaker::{Breaker, Breakers},
    settings::Limits,
};

/// What holds for all keys of an upstream.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    pub(crate) breakers: Breakers,
}

/// What holds for one key.
#[derive(Debug)]
pub(crate) struct KeyRules {
    pub(crate) limits: Limits,
    /// Shared by all keys of the upstream with the same credential.
    pub(crate) breaker: Arc<Breaker>,
    credential: Fingerprint,
    of: Arc<Rules>,
}

// === impl Rules ===

impl Rules {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let breakers = Breakers::new(limits.breaker.clone());
        Arc::new(Self { limits, breakers })
    }

    pub(crate) fn for_key(self: &Arc<Self>, key: &Key) -> KeyRules {
        KeyRules {
            limits: self.limits.for_key(key),
            breaker: self.breakers.of(key.credential()),
            credential: key.credential(),
            of: Arc::clone(self),
        }
    }
}

// === impl KeyRules ===

impl Drop for KeyRules {
    fn drop(&mut self) {
        self.of.breakers.give_back(self.credential, &self.breaker);
    }
}
