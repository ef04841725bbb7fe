//! The signals by which a process is asked to stop, or to look again at its
//! configuration.

use std::io;

/// What the process is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To stop: Ctrl-C.
    Interrupt,
    /// To stop: SIGTERM, as service managers send it.
    #[cfg(unix)]
    Terminate,
    /// To read its configuration anew: SIGHUP.
    #[cfg(unix)]
    Hangup,
}

/// From the moment this is made, the signals no longer kill the process but
/// are heard here. One that comes while nobody listens is not lost.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

// === impl Signal ===

impl Signal {
    /// The signal's number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            #[cfg(unix)]
            Self::Terminate => 15,
            #[cfg(unix)]
            Self::Hangup => 1,
        }
    }

    /// What to call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupt",
            #[cfg(unix)]
            Self::Terminate => "SIGTERM",
            #[cfg(unix)]
            Self::Hangup => "SIGHUP",
        }
    }

    /// Whether it asks the process to stop.
    pub(crate) const fn stops(self) -> bool {
        match self {
            Self::Interrupt => true,
            #[cfg(unix)]
            Self::Terminate => true,
            #[cfg(unix)]
            Self::Hangup => false,
        }
    }
}

// === impl Signals ===

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// Where the system does not let us.
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// Where the system does not let us.
    #[cfg(windows)]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no signal is lost.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no signal is lost.
    #[cfg(windows)]
    pub(crate) async fn next(&mut self) -> Signal {
        self.interrupt.recv().await;
        Signal::Interrupt
    }
}
