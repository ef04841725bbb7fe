//! What an upstream offers: its tools, prompts, resources and templates, and
//! what it said of itself.

use std::collections::HashMap;

use wharf_pool::Handshake;
use wharf_proto::{Json, Splice, Text, method};

use crate::{Separator, UpstreamId, error::Failure, fresh::Fresh};

/// What is known of one upstream's offer.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    pub(crate) handshake: Fresh<Handshake, Failure>,
    tools: Fresh<Listing, Failure>,
    prompts: Fresh<Listing, Failure>,
    resources: Fresh<Listing, Failure>,
    templates: Fresh<Listing, Failure>,
}

/// The lists there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

/// One list of one upstream's, as it is shown on `/mcp`.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The items, their names prefixed where the kind has names.
    pub(crate) items: Vec<Json>,
    /// The upstream's own names (or URIs), each with its place.
    by_key: HashMap<Text, usize>,
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
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The kind that a method lists.
    pub(crate) fn listed_by(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
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
    const fn is_prefixed(self) -> bool {
        matches!(self, Self::Tools | Self::Prompts)
    }
}

// === impl Listing ===

impl Listing {
    /// Takes a page of an upstream's list. An item without a name of its own
    /// cannot be called, and is left out.
    pub(crate) fn take(
        &mut self,
        kind: Kind,
        items: Vec<Json>,
        upstream: &UpstreamId,
        separator: &Separator,
    ) {
        for item in items {
            let Some((part, key)) = item.field(kind.key()).and_then(|part| {
                let key = part.to_text()?;
                Some((part, key))
            }) else {
                tracing::warn!(%upstream, list = kind.member(), "an item without a name is left out");
                continue;
            };
            let shown = if kind.is_prefixed() {
                let name = Json::string(&format!("{upstream}{}{key}", separator.as_str()));
                Splice::of(&item).replace(&part, &name).finish()
            } else {
                item
            };
            self.by_key.insert(key, self.items.len());
            self.items.push(shown);
        }
    }

    /// The item of this name or URI.
    pub(crate) fn item(&self, key: &str) -> Option<&Json> {
        self.by_key.get(key).map(|at| &self.items[*at])
    }

    /// Whether the upstream has an item of this name or URI.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// How much of a URI is given literally by the template, among these,
    /// that gives most of it.
    pub(crate) fn longest_match(&self, uri: &str) -> Option<usize> {
        let literals = self.by_key.keys().map(|template| {
            let end = template.find('{').unwrap_or(template.len());
            &template[..end]
        });
        literals.filter(|literal| uri.starts_with(literal)).map(str::len).max()
    }
}
