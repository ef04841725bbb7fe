#![doc = include_str!("../README.md")]

mod breaker;
mod bucket;
mod call;
mod capacity;
mod drain;
mod error;
mod figures;
mod growth;
mod key;
mod latency;
mod lease;
mod life;
mod line;
mod owner;
mod pool;
mod probe;
mod registry;
mod roll;
mod rules;
mod session;
mod settings;
mod shift;
mod upstream;
mod warm;

pub use breaker::{BreakerLimits, BreakerState};
pub use call::Call;
pub use drain::Afterwards;
pub use error::{AcquireError, CloseReason, OpenError, Step};
pub use figures::{Snapshot, UpstreamSnapshot};
pub use key::{Fingerprint, Fingerprinter, Key, KeyParts, Profile, Scope};
pub use latency::LatencySnapshot;
pub use lease::Lease;
pub use pool::Pool;
pub use probe::{Probe, ProbeFailure};
pub use session::{Handshake, Inbound, Session};
pub use settings::{Limits, Settings};
