//! Fast Time as a program.

use std::{net::SocketAddr, process::ExitCode};

use clap::Parser;
use wharf_testkit::FastTime;

mod command;

/// An MCP server that knows the time in every zone.
#[derive(Debug, Parser)]
#[command(name = "fast-time", version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
    #[command(flatten)]
    serving: command::Serving,
}

fn main() -> ExitCode {
    let Arguments { listen, serving } = Arguments::parse();
    let server = FastTime::new().page_size(serving.page_size());
    command::run("fast-time", server, listen, &serving)
}
