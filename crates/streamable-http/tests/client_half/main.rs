//! The client half against an upstream that a test scripts byte by byte.

mod calls;
mod endings;
mod feed;
mod refusals;
mod resuming;
mod upstream;
