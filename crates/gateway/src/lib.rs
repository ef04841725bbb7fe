#![doc = include_str!("../README.md")]

mod admin;
mod aggregate;
mod atlas;
mod berth;
mod berths;
mod bulletin;
mod calls;
mod catalogue;
mod commons;
mod content;
mod deadline;
mod declared;
mod dial;
mod direct;
mod doors;
mod downstream;
mod ear;
mod endpoint;
mod errands;
mod error;
mod fingerprint;
mod fleet;
mod fresh;
mod gateway;
mod heard;
mod level;
mod lookout;
mod names;
mod questions;
mod relay;
mod reload;
mod roster;
mod settings;
mod setup;
mod tokens;
mod trace;
mod upstream;
mod wire;

pub use dial::Dial;
pub use error::SetupError;
pub use gateway::Gateway;
pub use reload::Reloaded;
pub use roster::Upstreams;
pub use settings::{
    BadSeparator, BadUpstreamId, OnDisconnect, OnLost, Repeat, ScopeSetting, Separator, Settings,
    Transport, UpstreamId, UpstreamSettings,
};
pub use wire::{WireExchange, WireFeed, WireLink};
