//! The server half, before a scripted backend: over loopback where the
//! connection matters, by hand on a paused clock where the time does.

mod backend;
mod client;
mod disconnects;
mod listening;
mod posts;
mod replies;
mod resuming;
mod sessions;
