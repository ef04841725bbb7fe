//! What the binaries share: their flags, and a server from start to end.

use std::{net::SocketAddr, num::NonZeroUsize, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::signal;
use wharf_proto::server::Backend;
use wharf_testkit::{Answers, Sessions, SiteSettings, Transport, listen, serve};

/// The exit status where the program cannot begin, as for a bad flag.
const UNUSABLE: u8 = 2;

/// How to serve.
#[derive(Debug, Args)]
pub(crate) struct Serving {
    /// The transports to speak: /mcp, or /sse with /messages, or both.
    #[arg(long, value_enum, default_value = "both")]
    transport: TransportFlag,
    /// In which form to answer calls over streamable HTTP.
    #[arg(long, value_enum, default_value = "fitting")]
    answers: AnswersFlag,
    /// Keep no sessions over streamable HTTP.
    #[arg(long)]
    no_sessions: bool,
    /// Leave Nagle's algorithm on, so that small packets may be held back.
    #[arg(long)]
    nagle: bool,
    /// Keep so many sessions at most.
    #[arg(long, value_name = "SESSIONS", default_value_t = SiteSettings::default().max_sessions)]
    max_sessions: usize,
    /// Answer lists in pages of so many items.
    #[arg(long, value_name = "ITEMS")]
    page_size: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TransportFlag {
    StreamableHttp,
    Sse,
    Both,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AnswersFlag {
    /// JSON where the answer is all there is to say, else an event stream.
    Fitting,
    /// JSON; progress and log lines are dropped.
    Json,
    /// An event stream.
    EventStream,
}

// === impl Serving ===

impl Serving {
    pub(crate) const fn page_size(&self) -> Option<NonZeroUsize> {
        self.page_size
    }

    fn site(&self) -> SiteSettings {
        SiteSettings {
            transport: match self.transport {
                TransportFlag::StreamableHttp => Transport::StreamableHttp,
                TransportFlag::Sse => Transport::Sse,
                TransportFlag::Both => Transport::Both,
            },
            answers: match self.answers {
                AnswersFlag::Fitting => Answers::Fitting,
                AnswersFlag::Json => Answers::Json,
                AnswersFlag::EventStream => Answers::EventStream,
            },
            sessions: if self.no_sessions { Sessions::None } else { Sessions::Kept },
            nagle: self.nagle,
            max_sessions: self.max_sessions,
        }
    }
}

/// Serves until the program is told to end.
#[expect(clippy::print_stderr, reason = "a program says on standard error why it cannot go on")]
pub(crate) fn run<B: Backend>(
    name: &str,
    backend: B,
    address: SocketAddr,
    serving: &Serving,
) -> ExitCode {
    let served = tokio::runtime::Runtime::new()
        .context("cannot set up the runtime")
        .and_then(|runtime| runtime.block_on(until_told(name, backend, address, serving.site())));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::from(UNUSABLE)
        }
    }
}

#[expect(clippy::print_stdout, reason = "whoever starts the program wants to know the port it got")]
async fn until_told<B: Backend>(
    name: &str,
    backend: B,
    address: SocketAddr,
    settings: SiteSettings,
) -> anyhow::Result<()> {
    let cannot_listen = || format!("cannot listen at {address}");
    let listener = listen(address).with_context(cannot_listen)?;
    let address = listener.local_addr().with_context(cannot_listen)?;
    // Before the first line is out: who reads it may end the program at once.
    let told = told_to_end().context("cannot hear signals")?;
    for path in settings.transport.paths() {
        println!("{name} is at http://{address}{path}");
    }
    serve(listener, Arc::new(backend), settings, told).await.context("cannot serve")
}

/// Is ready at SIGINT or SIGTERM.
#[cfg(unix)]
fn told_to_end() -> std::io::Result<impl Future<Output = ()>> {
    use signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Is ready at Ctrl-C.
#[cfg(not(unix))]
fn told_to_end() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Where Ctrl-C cannot be heard it ends the program by itself.
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
