//! Configuration: what a user has written, where, and what is wrong with it.
//!
//! Reading goes through a file to its end and reports everything that is
//! wrong, each with its place. Nothing is decided here: what the sources mean
//! together is the business of [`crate::plan`].

use std::{net::SocketAddr, str::FromStr};

use wharf_gateway::UpstreamSettings;

pub(crate) mod error;
pub(crate) mod header;
pub(crate) mod interpolate;
pub(crate) mod mcp_json;
pub(crate) mod place;
pub(crate) mod schema;
mod section;
mod units;

#[cfg(test)]
mod tests;

pub(crate) use error::{Complaint, ConfigError, ConfigErrors, Findings};
pub(crate) use place::{Origin, Placed, Source};
pub(crate) use section::Reading;

/// An upstream, and where it is named.
#[derive(Debug)]
pub(crate) struct Named {
    /// Where.
    pub(crate) origin: Origin,
    /// The upstream.
    pub(crate) upstream: UpstreamSettings,
}

/// Where operators are listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admin {
    /// Nowhere.
    Off,
    /// Here.
    On(SocketAddr),
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

// === impl Admin ===

impl FromStr for Admin {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::On) }
    }
}
