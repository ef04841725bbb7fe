//! Programs that are built as they are given out: optimised by a profile of what a load has run of them.
//!
//! Most of what a call costs is waiting for code and data to come into the cache. A compiler that knows which branches
//! are taken puts what runs together, and what does not out of the way.

use std::{
    fs,
    hash::{DefaultHasher, Hasher as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    bench, load,
    stage::{Build, Stage},
    workspace,
};

/// What is guided.
const PROGRAMS: [&str; 2] = ["wharf", "bare-proxy"];

/// Where the programs and their profiles are built, apart from what other builds use.
struct Workshop<'a> {
    root: &'a Path,
    /// What the machine is to rustc. Named to cargo, it keeps the flags from the programs that only build.
    host: String,
    sysroot: PathBuf,
    folder: PathBuf,
}

/// Builds `wharf` as it is given out, and says where it is.
///
/// # Errors
///
/// As [`stage`].
pub(crate) fn run(root: &Path) -> Result<()> {
    let stage = stage(root, Build::Guided)?;
    println!("built: {}", stage.between("wharf").display());
    Ok(())
}

/// Builds what is measured. What is to be guided is built, run under a load, and built again, unless that has been done
/// and nothing has changed.
///
/// # Errors
///
/// Where a build fails, the load does, or there is no tool that reads profiles.
pub(crate) fn stage(root: &Path, build: Build) -> Result<Stage> {
    let stage = Stage::set(root, build)?;
    if build != Build::Guided {
        return Ok(stage);
    }
    let workshop = Workshop::of(root, stage.target())?;
    let profile = workshop.profile(&stage)?;
    println!("building by the profile");
    let flag = format!("-Cprofile-use={}", profile.display());
    let programs = workshop.build("guided", &flag)?;
    Ok(stage.with_between(programs))
}

// === impl Workshop ===

impl<'a> Workshop<'a> {
    fn of(root: &'a Path, target: &Path) -> Result<Self> {
        let about = said(Command::new("rustc").arg("-vV").current_dir(root))?;
        let host = about.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.context("rustc does not say what this machine is")?.to_owned();
        let sysroot = said(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root))?;
        let sysroot = PathBuf::from(sysroot.trim());
        Ok(Self { root, host, sysroot, folder: target.join("guided") })
    }

    /// The profile by which the programs are built: that of a load on ones that count what they run.
    fn profile(&self, stage: &Stage) -> Result<PathBuf> {
        let reader = self.reader()?;
        let counts = self.folder.join("counts");
        println!("building programs that count what they run");
        let flag = format!("-Cprofile-generate={}", counts.display());
        let programs = self.build("counting", &flag)?;
        // By what it is of, so that another profile is another flag to cargo.
        let profile = self.folder.join(format!("{:016x}.profdata", hash(&programs)?));
        if profile.exists() {
            return Ok(profile);
        }
        println!("running them under a load");
        // Counts of a run that was broken off are there, or none.
        let _ = fs::remove_dir_all(&counts);
        let runtime = tokio::runtime::Runtime::new().context("cannot set up the runtime")?;
        let stage = stage.clone().with_between(programs);
        runtime.block_on(async {
            bench::rehearse(&stage).await?;
            load::rehearse(&stage).await
        })?;
        // Under its own name once it is whole.
        let merged = self.folder.join("merged.profdata");
        said(Command::new(reader).arg("merge").arg("--output").arg(&merged).arg(&counts))?;
        fs::rename(&merged, &profile)
            .with_context(|| format!("cannot write {}", profile.display()))?;
        Ok(profile)
    }

    /// Builds the programs with a flag for rustc. Where they are.
    fn build(&self, name: &str, flag: &str) -> Result<PathBuf> {
        let target = self.folder.join(name);
        let mut cargo = workspace::cargo(self.root);
        cargo.args(["build", "--quiet", "--bins", "--profile", "dist", "--target", &self.host]);
        cargo.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
        cargo.arg("--target-dir").arg(&target);
        // One flag, whatever spaces are in it.
        workspace::build(cargo.env("CARGO_ENCODED_RUSTFLAGS", flag))?;
        Ok(target.join(&self.host).join("dist"))
    }

    /// The tool that comes with the toolchain and reads what its programs have counted.
    fn reader(&self) -> Result<PathBuf> {
        let reader = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/llvm-profdata");
        if !reader.exists() {
            let mut rustup = Command::new("rustup");
            let added =
                said(rustup.args(["component", "add", "llvm-tools"]).current_dir(self.root));
            added.context(
                "a guided build needs llvm-profdata, which is in the component `llvm-tools` of the toolchain; \
                 add it, or build with `--profile dist`",
            )?;
        }
        Ok(reader)
    }
}

/// What a program has said.
fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, why.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Tells programs apart by what is in them.
fn hash(folder: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for program in PROGRAMS {
        let program = folder.join(program);
        let bytes = fs::read(&program);
        hasher.write(&bytes.with_context(|| format!("cannot read {}", program.display()))?);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(wharf: &str, proxy: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wharf"), wharf).unwrap();
        fs::write(folder.path().join("bare-proxy"), proxy).unwrap();
        folder
    }

    #[test]
    fn programs_that_differ_have_profiles_of_their_own() {
        let of = |wharf, proxy| hash(folder(wharf, proxy).path()).unwrap();
        assert_eq!(of("one", "other"), of("one", "other"));
        assert_ne!(of("one", "other"), of("one", "another"));
        assert!(hash(tempfile::tempdir().unwrap().path()).is_err());
    }

    #[test]
    fn a_program_that_fails_is_told_with_what_it_said() {
        let error = said(Command::new("rustc").arg("--no-such-flag")).unwrap_err().to_string();
        assert!(error.contains("no-such-flag") && error.contains("ended with"), "{error}");
        assert!(said(&mut Command::new("no-such-program")).is_err());
    }
}
