#![doc = include_str!("../README.md")]

mod bucket;
mod call;
mod capacity;
mod error;
mod figures;
mod key;
mod lease;
mod life;
mod line;
mod owner;
mod pool;
mod registry;
mod session;
mod settings;

pub use call::Call;
pub use error::{AcquireError, CloseReason, OpenError, Step};
pub use figures::{Snapshot, UpstreamSnapshot};
pub use key::{Fingerprint, Fingerprinter, Key, KeyParts, Profile, Scope};
pub use lease::Lease;
pub use pool::Pool;
pub use session::{Handshake, Inbound, Session};
pub use settings::{Limits, Settings};
