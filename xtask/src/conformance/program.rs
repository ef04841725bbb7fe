//! What is run: a release of the suite for a revision, or a client on an SDK over a transport.

use std::io::{self, Write as _};

use anyhow::Result;

use super::kit::{Kit, PythonSdk, SuiteRelease};
use super::stage::{Stage, Transport, Way};
use super::verdict::{Outcome, Verdict};
use super::{client, suite};

/// One column's worth of software that we did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// The official suite for one revision.
    Suite(SuiteRelease, &'static str),
    /// Our script on an official SDK.
    Client(Sdk, Transport),
}

/// An official SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sdk {
    /// That for Python.
    Python(PythonSdk),
    /// That for TypeScript.
    TypeScript,
}

// === impl Program ===

impl Program {
    /// All programs, the quickest first.
    pub(super) fn all() -> Vec<Self> {
        let mut programs = vec![Self::Suite(SuiteRelease::First, "2025-11-25")];
        for revision in ["2025-11-25", "2025-06-18", "2025-03-26"] {
            programs.push(Self::Suite(SuiteRelease::Second, revision));
        }
        let pythons = [PythonSdk::First, PythonSdk::Second].map(Sdk::Python);
        for sdk in pythons.into_iter().chain([Sdk::TypeScript]) {
            for transport in [Transport::Streamable, Transport::Sse] {
                programs.push(Self::Client(sdk, transport));
            }
        }
        programs
    }

    /// What it is, in words.
    pub(super) fn title(self) -> String {
        match self {
            Self::Suite(release, revision) => {
                let release = match release {
                    SuiteRelease::First => "0.1",
                    SuiteRelease::Second => "0.2",
                };
                format!("Official suite {release}, revision {revision}")
            }
            Self::Client(sdk, transport) => {
                let sdk = match sdk {
                    Sdk::Python(PythonSdk::First) => "Python SDK 1.x",
                    Sdk::Python(PythonSdk::Second) => "Python SDK 2.x",
                    Sdk::TypeScript => "TypeScript SDK",
                };
                format!("{sdk} over {}", transport.words())
            }
        }
    }

    /// The names of its checks.
    ///
    /// # Errors
    ///
    /// When the program does not start.
    pub(super) fn names(self, kit: &Kit) -> Result<Vec<String>> {
        match self {
            Self::Suite(release, revision) => suite::names(kit, release, revision),
            Self::Client(sdk, _) => client::names(kit, sdk),
        }
    }

    /// What of it is to be run: nothing, or the checks with the answer in their names.
    ///
    /// # Errors
    ///
    /// When the program does not start.
    pub(super) fn narrow(self, filter: Option<&str>, kit: &Kit) -> Result<Option<String>> {
        let Some(filter) = filter else {
            return Ok(Some(String::new()));
        };
        if self.title().to_lowercase().contains(&filter.to_lowercase()) {
            return Ok(Some(String::new()));
        }
        let has_one = self.names(kit)?.iter().any(|name| name.contains(filter));
        Ok(has_one.then(|| filter.to_owned()))
    }

    /// Runs the checks that have `filter` in their names, and prints how they go.
    ///
    /// # Errors
    ///
    /// When the program does not start, or falls silent.
    pub(super) fn run(
        self,
        kit: &Kit,
        stage: &Stage,
        way: Way,
        filter: &str,
    ) -> Result<Vec<Outcome>> {
        let mut progress = Progress::of(way);
        let outcomes = match self {
            Self::Suite(release, revision) => {
                let url = stage.url(way, Transport::Streamable);
                suite::run(kit, (release, revision), way, &url, filter, &mut progress)?
            }
            Self::Client(sdk, transport) => {
                let url = stage.url(way, transport);
                client::run(kit, (sdk, transport), way, &url, filter, &mut progress)?
            }
        };
        progress.end(&outcomes);
        Ok(outcomes)
    }
}

/// A line that grows by a dot a check.
#[derive(Debug)]
pub(super) struct Progress(());

// === impl Progress ===

impl Progress {
    fn of(way: Way) -> Self {
        print!("  {:<22}", way.title());
        let this = Self(());
        this.flush();
        this
    }

    /// One check has been made.
    pub(super) fn step(&mut self) {
        print!(".");
        self.flush();
    }

    fn end(self, outcomes: &[Outcome]) {
        let failed = |outcome: &&Outcome| matches!(outcome.verdict, Verdict::Failed(_));
        let passed = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Passed).count();
        println!(" {passed} passed, {} failed", outcomes.iter().filter(failed).count());
    }

    fn flush(&self) {
        // Where nobody looks, nobody misses it.
        let _ = io::stdout().flush();
    }
}
