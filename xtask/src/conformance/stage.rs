//! The servers that the programs talk to: the reference server, and Wharf in front of it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::kit::{Kit, PythonSdk};
use crate::workspace;

/// The id of the reference server in Wharf's configuration.
const UPSTREAM: &str = "reference";

/// How a program gets to the reference server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Directly.
    Direct,
    /// Through Wharf, at the endpoint of that one upstream.
    Alone,
    /// The same, where Wharf speaks HTTP+SSE to the upstream.
    AloneOverSse,
    /// Through Wharf, at the endpoint of all upstreams.
    Together,
}

/// What the program speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Streamable HTTP.
    Streamable,
    /// HTTP+SSE.
    Sse,
}

/// Everything that listens. Dropping it takes it down.
#[derive(Debug)]
pub(super) struct Stage {
    reference: Server,
    wharf: Server,
    wharf_over_sse: Server,
}

/// A process that listens.
#[derive(Debug)]
struct Server {
    child: Child,
    streamable: String,
    sse: String,
    /// What keeps the reference server up.
    _input: Option<ChildStdin>,
}

// === impl Stage ===

impl Stage {
    /// Builds Wharf and starts everything.
    ///
    /// # Errors
    ///
    /// When Wharf does not build, or a server does not start.
    pub(super) fn set(root: &Path, folder: &Path, kit: &Kit, built: Option<&Path>) -> Result<Self> {
        let wharf = match built {
            Some(built) => built.to_owned(),
            None => build(root)?,
        };
        let reference = Server::reference(kit, &folder.join("reference.log"))?;
        let in_front_of = |url: &str, log: &str| Server::wharf(&wharf, url, &folder.join(log));
        Ok(Self {
            wharf: in_front_of(&reference.streamable, "wharf.log")?,
            wharf_over_sse: in_front_of(&reference.sse, "wharf-over-sse.log")?,
            reference,
        })
    }

    /// Where a program finds the reference server.
    pub(super) fn url(&self, way: Way, transport: Transport) -> String {
        let server = match way {
            Way::Direct => &self.reference,
            Way::Alone | Way::Together => &self.wharf,
            Way::AloneOverSse => &self.wharf_over_sse,
        };
        let (url, end) = match transport {
            Transport::Streamable => (&server.streamable, "/mcp"),
            Transport::Sse => (&server.sse, "/sse"),
        };
        match way {
            Way::Direct | Way::Together => url.clone(),
            Way::Alone | Way::AloneOverSse => {
                let origin = url.strip_suffix(end).unwrap_or(url);
                format!("{origin}/servers/{UPSTREAM}{end}")
            }
        }
    }
}

fn build(root: &Path) -> Result<PathBuf> {
    println!("building wharf ...");
    let mut cargo = workspace::cargo(root);
    workspace::build(cargo.args(["build", "--quiet", "--package", "wharf"]))?;
    Ok(root.join("target/debug/wharf"))
}

// === impl Server ===

impl Server {
    fn reference(kit: &Kit, log: &Path) -> Result<Self> {
        let mut command = kit.python(PythonSdk::First, "reference_server.py");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?);
        let mut child = command.spawn().context("the reference server did not start")?;
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut first)?;
        let input = child.stdin.take();
        Self::announced(child, input, &first, ["streamable-http", "sse"], log)
    }

    fn wharf(wharf: &Path, upstream: &str, log: &Path) -> Result<Self> {
        let mut command = Command::new(wharf);
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "off",
            "--log-format",
            "json",
        ]);
        command.arg("--upstream").arg(format!("{UPSTREAM}={upstream}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = child.with_context(|| format!("{} did not start", wharf.display()))?;
        let mut said = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut first = String::new();
        said.read_line(&mut first)?;
        let mut file = File::create(log)?;
        file.write_all(first.as_bytes())?;
        // A pipe that nobody reads would stop Wharf in the end.
        thread::spawn(move || io::copy(&mut said, &mut file));
        Self::announced(child, None, &first, ["streamable_http", "sse"], log)
    }

    /// Reads where a server listens from the first line that it prints.
    fn announced(
        child: Child,
        input: Option<ChildStdin>,
        first: &str,
        [streamable, sse]: [&str; 2],
        log: &Path,
    ) -> Result<Self> {
        let line: Value = serde_json::from_str(first).unwrap_or_default();
        let url = |key: &str| {
            let url = line[key].as_str().map(str::to_owned);
            let advice = || format!("a server did not start; it says why in {}", log.display());
            url.with_context(advice)
        };
        Ok(Self { streamable: url(streamable)?, sse: url(sse)?, child, _input: input })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended, or is to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Way ===

impl Way {
    /// All of them; the direct one first, which the others are held against.
    pub(super) const ALL: [Self; 4] =
        [Self::Direct, Self::Alone, Self::AloneOverSse, Self::Together];

    /// Its name at the head of a column.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Alone => "/servers/{id}",
            Self::AloneOverSse => "/servers/{id} to SSE",
            Self::Together => "/mcp, /sse",
        }
    }

    /// What stands before the names of tools and prompts on this way.
    pub(super) fn prefix(self) -> String {
        match self {
            Self::Together => format!("{UPSTREAM}__"),
            Self::Direct | Self::Alone | Self::AloneOverSse => String::new(),
        }
    }
}

// === impl Transport ===

impl Transport {
    /// Its name on a command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Streamable => "streamable-http",
            Self::Sse => "sse",
        }
    }

    /// Its name in words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Streamable => "streamable HTTP",
            Self::Sse => "HTTP+SSE",
        }
    }
}
