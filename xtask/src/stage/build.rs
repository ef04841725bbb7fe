//! How the programs of a measurement are built.

use std::path::Path;

use anyhow::Result;

use crate::workspace;

/// How the programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Build {
    /// As they are given out: as `dist`, and guided by what a load has run of them. The slowest to build; adds the
    /// component `llvm-tools` to the toolchain if it is not there.
    Guided,
    /// For speed, and slow to build.
    Dist,
    /// Nearly as fast, and quicker to build.
    Release,
    /// As tests build them: quick to build, slow to run.
    Dev,
    /// Not at all: what was built as `dist` before is taken as it is.
    Built,
}

// === impl Build ===

impl Build {
    /// Builds the testkit's servers, what stands between unless that is to be guided, and `with_this` the program that
    /// runs.
    pub(super) fn run(self, root: &Path, with_this: bool) -> Result<()> {
        if self == Self::Built {
            return Ok(());
        }
        let mut cargo = workspace::cargo(root);
        cargo.args(["build", "--quiet", "--bins", "--profile", self.profile()]);
        cargo.args(["--package", "wharf-testkit"]);
        if self != Self::Guided {
            cargo.args(["--package", "wharf", "--package", "bare-proxy"]);
        }
        if with_this {
            cargo.args(["--package", "xtask"]);
        }
        workspace::build(&mut cargo)
    }

    const fn profile(self) -> &'static str {
        match self {
            Self::Guided | Self::Dist | Self::Built => "dist",
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            _ => self.profile(),
        }
    }
}
