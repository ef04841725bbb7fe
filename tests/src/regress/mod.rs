//! The pool beside a naive one: the same scenarios and the same load for both.
//!
//! A [`Scenario`] is written once, over the traits [`Kind`], [`Specimen`],
//! [`Caller`] and [`Hold`], and run against [`Here`], the pool of `wharf-pool`,
//! and [`There`], the naive pool of the testkit, which has every fault that
//! such pools have had. That the second fails is what shows that a scenario is
//! able to.

mod books;
mod here;
mod host;
pub mod load;
mod manners;
mod play;
pub mod scenarios;
mod specimen;
mod stage;
mod there;
mod underway;

pub use books::{EMPTY, Held, ends, held, only, snapshot_of};
pub use here::{Here, HereCaller, HereHold, HerePool};
pub use host::{GREETING, Host};
pub use manners::{Mannered, ManneredLink, Manners};
pub use play::{Outcome, Scene, play};
pub use scenarios::{Naive, Scenario};
pub use specimen::{Bounds, Caller, Failed, Figures, Hold, Kind, Sharing, Specimen, Who, one_call};
pub use stage::{
    Asking, MockCaller, MockHold, MockPool, Stage, asking, calling, nonce_of, repeat, request,
    served,
};
pub use there::{There, ThereCaller, ThereHold, TherePool};
pub use underway::{Underway, millis, pass, secs, settle};
