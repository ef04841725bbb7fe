#![doc = include_str!("../README.md")]

mod accept;
mod answer;
mod body;
mod client;
mod connection;
mod dial;
mod events;
mod gate;
mod gather;
mod guard;
mod head_timer;
mod id;
mod idle;
mod late_timer;
mod negotiate;
mod outgoing;
mod prompt;
mod sending;
mod serving;
mod url;

pub use accept::{AcceptSettings, Handle, serve};
pub use answer::Answer;
pub use body::{Body, CollectError, Collecting, collect, empty_response, json_response};
pub use client::{ClientSettings, HttpClient};
pub use dial::TlsSetup;
pub use events::{EventError, EventReader};
pub use guard::{Forbidden, Guard};
pub use id::{ID_DIGITS, unguessable};
pub use late_timer::LateTimer;
pub use negotiate::{accepts, is_json, media_type};
pub use sending::Sending;
pub use url::{BadEndpoint, Endpoint, Origin, Target};
