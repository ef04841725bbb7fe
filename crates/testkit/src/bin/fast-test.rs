//! Fast Test as a program.

use std::{net::SocketAddr, process::ExitCode};

use clap::Parser;
use wharf_testkit::FastTest;

mod command;

/// An MCP server that answers at once, or exactly as late as it is told to.
#[derive(Debug, Parser)]
#[command(name = "fast-test", version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    #[command(flatten)]
    serving: command::Serving,
}

fn main() -> ExitCode {
    let Arguments { listen, serving } = Arguments::parse();
    let server = FastTest::new().page_size(serving.page_size());
    command::run("fast-test", server, listen, &serving)
}
