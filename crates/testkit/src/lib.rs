#![doc = include_str!("../README.md")]

pub mod client;
pub mod fast_test;
pub mod fast_time;
pub mod faulty;
mod hesitant;
pub mod naive;
mod recorder;
mod site;
mod strict;
pub mod toolbox;
pub mod upstream;
mod zones;

#[cfg(test)]
mod direct;

pub use client::{Asked, Hello, TestClient, ToolAnswer};
pub use fast_test::FastTest;
pub use fast_time::FastTime;
pub use faulty::{Faulty, FaultySettings, Script, When};
pub use recorder::Requests;
pub use site::{SiteSettings, Transport, listen, serve};
pub use strict::{Strict, StrictExchange};
pub use toolbox::Toolbox;
pub use upstream::{Upstream, UpstreamSettings};
pub use wharf_streamable_http::server::{Answers, Sessions};
