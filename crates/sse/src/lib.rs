#![doc = include_str!("../README.md")]

mod client;
mod server;

pub use client::{ClientSettings, Connector, SseExchange, SseFeed, SseLink, open};
pub use server::{Server, ServerSettings};
