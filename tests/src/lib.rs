//! What the end-to-end tests of Wharf have in common: a gateway in the test's
//! process, clients of three kinds, and upstreams of three kinds.
//!
//! [`Wharf`] is the gateway. Its clients are the kit's `TestClient`, [`Wire`],
//! which shows what is on the wire, and [`official::Guest`], which is the
//! official SDK's. Its upstreams are the kit's servers, a [`Puppet`] that says
//! what the test tells it to, and [`official::Host`], which is the official
//! SDK's; an [`Oddity`] is no MCP server at all.
//!
//! [`regress`] has the pool beside a naive one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod clients;
mod oddity;
pub mod official;
mod patience;
mod puppet;
pub mod regress;
mod wharf;
mod wire;

pub use clients::{Over, error_of, gateway_error, outcome, value};
pub use oddity::Oddity;
pub use patience::{A_WHILE, soon, until};
pub use puppet::{Cue, Lines, Puppet, PuppetSession, Strings};
pub use wharf::{Wharf, serving, upstream};
pub use wire::{Reply, Wire, request};
