//! The command line: what was typed. The comments are the help text.

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;
use wharf_gateway::Transport;

use crate::config::{Admin, LogFormat, schema::TRANSPORTS};

/// An MCP gateway that keeps its sessions open.
#[derive(Parser)]
#[command(name = "wharf", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Stand in front of MCP servers until told to stop.
    Serve(ServeArgs),
    /// Say what is wrong with a configuration, and try each upstream.
    ///
    /// Exits with 0 when all is well, with 1 when an upstream does not answer,
    /// with 2 when the configuration is broken.
    Check(CheckArgs),
    /// List the tools, prompts and resources of any MCP server.
    List(ListArgs),
    /// Call a tool of any MCP server.
    ///
    /// Exits with 1 when the tool fails.
    Call(CallArgs),
    /// See the gateway at work: starts two servers and a gateway here, on loopback, and calls through it.
    Demo(DemoArgs),
    /// Print a script that completes this command's arguments in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The demo.
#[derive(clap::Args)]
pub(crate) struct DemoArgs {
    /// Stay up afterwards, and print the URL to paste into a client.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// How to log.
#[derive(clap::Args, Default)]
pub(crate) struct LogArgs {
    /// How to write logs to standard error [default: text].
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Logs")]
    pub(crate) log_format: Option<LogFormat>,
    /// Which logs to write, such as `debug` or `warn,wharf_pool=trace`
    /// [default: `warn,wharf=info` for serve, `warn` otherwise].
    #[arg(long = "log", global = true, value_name = "FILTER", help_heading = "Logs")]
    pub(crate) log_filter: Option<String>,
}

/// Where upstreams are named.
#[derive(clap::Args, Default, Clone)]
pub(crate) struct SourceArgs {
    /// The configuration, such as `wharf.toml`.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// An upstream by name, such as `time=http://127.0.0.1:9001/mcp`; may be repeated.
    #[arg(long = "upstream", value_name = "ID=URL")]
    pub(crate) upstreams: Vec<String>,
    /// A file with an `mcpServers` object, as IDEs use it.
    #[arg(long, value_name = "FILE")]
    pub(crate) mcp_json: Option<PathBuf>,
}

/// What `wharf serve` takes.
#[derive(clap::Args, Default)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// Where to listen for clients [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Where to listen for operators, or `off` [default: 127.0.0.1:8081].
    #[arg(long, value_name = "ADDR", value_parser = admin)]
    pub(crate) admin: Option<Admin>,
}

/// What `wharf check` takes.
#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// Print the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A server that is named by its URL alone.
#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// The server's URL, such as `http://127.0.0.1:9001/mcp`.
    pub(crate) url: String,
    /// A header to send with every request; may be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// The transport that the server speaks.
    #[arg(long, default_value = "auto", value_parser = transport())]
    pub(crate) transport: Transport,
}

/// What `wharf list` takes.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Print everything the server says of them, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `wharf call` takes.
#[derive(clap::Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The tool's name.
    pub(crate) tool: String,
    /// The tool's arguments as a JSON object, or `-` to read them from standard input.
    #[arg(value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    /// Print the result as the server wrote it.
    #[arg(long)]
    pub(crate) json: bool,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:8080")
}

fn admin(text: &str) -> Result<Admin, &'static str> {
    text.parse().map_err(|_| "expected `off`, or an address and a port such as 127.0.0.1:8081")
}

fn transport() -> impl TypedValueParser<Value = Transport> {
    PossibleValuesParser::new(TRANSPORTS.map(|(word, _)| word)).map(|word| {
        let found = TRANSPORTS.iter().find(|(name, _)| *name == word);
        found.expect("the parser lets no other word through").1
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
