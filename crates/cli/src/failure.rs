//! How a command ends: its exit status, and what it says of a failure.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{config::ConfigErrors, output};

/// How a command ended that had nothing more to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// What was asked for failed, and that has been said.
    Failed,
    /// The command line or the configuration is broken, and that has been
    /// said.
    Misused,
    /// A signal of this number ended it.
    Signal(u8),
}

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is broken.
    Config(ConfigErrors),
    /// The command line asks for something that cannot be.
    Usage(anyhow::Error),
    /// It was tried, and failed.
    Failed(anyhow::Error),
    /// Standard output takes nothing more.
    Unwritable(io::Error),
}

// === impl Exit ===

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Misused => 2,
            // As shells have it.
            Exit::Signal(number) => 128 + number,
        })
    }
}

// === impl Failure ===

impl Failure {
    /// Something is wrong with the command line.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    /// Says on standard error what is wrong, and how to exit.
    pub(crate) fn report(&self) -> Exit {
        let (text, exit) = match self {
            Self::Config(ConfigErrors(errors)) => {
                let lines = errors.iter().map(|error| format!("error: {error}\n"));
                (lines.collect(), Exit::Misused)
            }
            Self::Usage(error) => (chain(error), Exit::Misused),
            Self::Failed(error) => (chain(error), Exit::Failed),
            // Whoever read it has seen enough, which is no failure.
            Self::Unwritable(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                (String::new(), Exit::Fine)
            }
            Self::Unwritable(error) => {
                (format!("error: cannot write to standard output: {error}\n"), Exit::Failed)
            }
        };
        // Where standard error is gone too there is nobody to tell.
        let _ = io::stderr().write_all(text.as_bytes());
        exit
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

fn chain(error: &anyhow::Error) -> String {
    let mut lines = output::causes(error.as_ref()).into_iter();
    let mut text = format!("error: {}\n", lines.next().unwrap_or_default());
    for cause in lines {
        text.push_str(&format!("caused by: {cause}\n"));
    }
    text
}
