//! What an upstream offers: its tools, prompts, resources and templates, and
//! what it said of itself.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;
use wharf_pool::Handshake;
use wharf_proto::method;

use crate::{error::Failure, fresh::Fresh};

mod listing;

pub(crate) use listing::{Item, Listing};

/// What is known of one upstream's offer.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    pub(crate) handshake: Fresh<Handshake, Failure>,
    tools: Fresh<Listing, Failure>,
    prompts: Fresh<Listing, Failure>,
    resources: Fresh<Listing, Failure>,
    templates: Fresh<Listing, Failure>,
    stir: Stir,
}

/// That something has changed, for the one who looks after the catalogue.
#[derive(Debug, Default)]
struct Stir {
    /// The changes that the upstream has told of.
    told: Mutex<Vec<Change>>,
    is_in_doubt: AtomicBool,
    happened: Notify,
}

/// The lists there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

/// What a `list_changed` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    Tools,
    Prompts,
    /// Resources, and templates of them.
    Resources,
}

// === impl Catalogue ===

impl Catalogue {
    pub(crate) const fn list(&self, kind: Kind) -> &Fresh<Listing, Failure> {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
        }
    }

    /// Hears a notification of the upstream's, which may be a `list_changed`.
    pub(crate) fn changed_by(&self, method: &str) {
        let Some(change) = Kind::changed_by(method) else { return };
        // Before anybody hears of it.
        change.kinds().iter().for_each(|kind| self.list(*kind).invalidate());
        let mut told = self.stir.told.lock().expect("nothing panics while holding it");
        if !told.contains(&change) {
            told.push(change);
        }
        drop(told);
        self.stir.happened.notify_one();
    }

    /// Everything may be another than it was: the upstream has been away.
    pub(crate) fn doubt(&self) {
        self.handshake.invalidate();
        Kind::ALL.into_iter().for_each(|kind| self.list(kind).invalidate());
        self.stir.is_in_doubt.store(true, Ordering::Release);
        self.stir.happened.notify_one();
    }

    /// Waits until the upstream has told of a change, or there is doubt. For
    /// one who waits.
    pub(crate) async fn stirred(&self) {
        self.stir.happened.notified().await;
    }

    /// Takes the changes that were told of, and whether there was doubt.
    pub(crate) fn take_stir(&self) -> (Vec<Change>, bool) {
        let mut told = self.stir.told.lock().expect("nothing panics while holding it");
        let is_in_doubt = self.stir.is_in_doubt.swap(false, Ordering::AcqRel);
        (std::mem::take(&mut *told), is_in_doubt)
    }
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The kind that a method lists.
    pub(crate) fn listed_by(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }

    /// What a notification says has changed.
    pub(crate) fn changed_by(method: &str) -> Option<Change> {
        Change::ALL.into_iter().find(|change| change.method() == method)
    }

    /// The method that lists it.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Tools => method::TOOLS_LIST,
            Self::Prompts => method::PROMPTS_LIST,
            Self::Resources => method::RESOURCES_LIST,
            Self::Templates => method::RESOURCES_TEMPLATES_LIST,
        }
    }

    /// The member of the result that holds the items.
    pub(crate) const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The capability of a server that has such lists.
    pub(crate) const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }

    /// What is announced when such a list changes.
    pub(crate) const fn change(self) -> Change {
        match self {
            Self::Tools => Change::Tools,
            Self::Prompts => Change::Prompts,
            Self::Resources | Self::Templates => Change::Resources,
        }
    }

    /// The member of an item by which it is called.
    const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// Whether an item's key gets the upstream's prefix. URIs keep their
    /// meaning, and so stay what they are.
    pub(crate) const fn is_prefixed(self) -> bool {
        matches!(self, Self::Tools | Self::Prompts)
    }
}

// === impl Change ===

impl Change {
    pub(crate) const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// The notification that tells of it.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Tools => method::TOOLS_LIST_CHANGED,
            Self::Prompts => method::PROMPTS_LIST_CHANGED,
            Self::Resources => method::RESOURCES_LIST_CHANGED,
        }
    }

    /// The lists that have changed.
    pub(crate) const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Tools => &[Kind::Tools],
            Self::Prompts => &[Kind::Prompts],
            Self::Resources => &[Kind::Resources, Kind::Templates],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_gathered_until_they_are_taken() {
        let catalogue = Catalogue::default();
        for method in [method::TOOLS_LIST_CHANGED, method::TOOLS_LIST_CHANGED, "x/y"] {
            catalogue.changed_by(method);
        }
        catalogue.changed_by(method::RESOURCES_LIST_CHANGED);
        catalogue.stirred().await;
        assert_eq!(catalogue.take_stir(), (vec![Change::Tools, Change::Resources], false));
        catalogue.doubt();
        catalogue.stirred().await;
        assert_eq!(catalogue.take_stir(), (vec![], true));
    }
}
