//! The repository as cargo sees it: its root, its crates, and how to call cargo on it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand, Package, TargetKind};

/// One crate of this workspace.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The name of the package.
    pub(crate) name: String,
    /// The folder of the crate, relative to the root of the workspace.
    pub(crate) folder: PathBuf,
    /// Whether it has a library.
    pub(crate) library: bool,
    /// What its manifest declares, optional and platform-specific dependencies included.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One dependency that a manifest declares.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    /// The name of the package that is depended on, whatever the manifest renames it to.
    pub(crate) name: String,
    /// Whether it is wanted by the crate's code, its tests or its build script.
    pub(crate) kind: DependencyKind,
    /// The features that are asked for by name.
    pub(crate) features: Vec<String>,
}

/// The root of the workspace.
///
/// # Errors
///
/// When the folder of this crate has no parent, which means that it was moved out of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    // Cargo sets the variable for `cargo run` and for tests. What was compiled in serves a binary that is started by hand.
    let xtask =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&xtask).parent();
    Ok(root.context("the folder of xtask has no parent")?.to_owned())
}

/// A cargo command that runs in the root of the workspace.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(cargo_path());
    command.current_dir(root);
    for variable in inherited_from_cargo_run() {
        command.env_remove(variable);
    }
    command
}

/// Runs a command that builds, as [`cargo`] gives it.
///
/// # Errors
///
/// When it does not start or does not succeed. Its output says why.
pub(crate) fn build(cargo: &mut Command) -> Result<()> {
    let status = cargo.status().context("cargo did not start")?;
    if !status.success() {
        bail!("the build ended with {status}; its output is above");
    }
    Ok(())
}

/// The crates of this workspace, in the order of their names.
///
/// # Errors
///
/// When `cargo metadata` fails, for instance over a manifest that does not parse.
pub(crate) fn members(root: &Path) -> Result<Vec<Member>> {
    let metadata = MetadataCommand::new()
        .cargo_path(cargo_path())
        .current_dir(root)
        .no_deps()
        .exec()
        .context("cargo metadata failed")?;
    let mut members = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| member(package, metadata.workspace_root.as_std_path()))
        .collect::<Result<Vec<_>>>()?;
    members.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(members)
}

/// Where cargo puts what it builds.
///
/// # Errors
///
/// When `cargo metadata` fails.
pub(crate) fn target(root: &Path) -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .cargo_path(cargo_path())
        .current_dir(root)
        .no_deps()
        .exec()
        .context("cargo metadata failed")?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// The names of the packages that the code of `name` is built from with all its features, itself included and tests apart.
///
/// # Errors
///
/// When `cargo tree` fails.
pub(crate) fn built_from(root: &Path, name: &str) -> Result<Vec<String>> {
    let tree = cargo(root)
        .args(["tree", "--package", name, "--all-features", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .context("cargo tree did not start")?;
    if !tree.status.success() {
        let said = String::from_utf8_lossy(&tree.stderr);
        bail!("cargo tree --package {name} failed: {}", said.trim_end());
    }
    Ok(packages_of_tree(&String::from_utf8_lossy(&tree.stdout)))
}

/// The first word of each line, each once, in alphabetical order.
fn packages_of_tree(tree: &str) -> Vec<String> {
    let mut names: Vec<_> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn member(package: &Package, root: &Path) -> Result<Member> {
    let manifest = package.manifest_path.as_std_path();
    let folder = manifest
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok())
        .with_context(|| format!("{} is outside the workspace", manifest.display()))?;
    Ok(Member {
        name: package.name.to_string(),
        folder: folder.to_owned(),
        library: package.targets.iter().any(|target| target.is_kind(TargetKind::Lib)),
        dependencies: package
            .dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency.name.clone(),
                kind: dependency.kind,
                features: dependency.features.clone(),
            })
            .collect(),
    })
}

/// The cargo that runs this task, so that what it calls is of the same toolchain.
fn cargo_path() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// What `cargo run` tells the program it starts about itself.
///
/// Build scripts may ask cargo to watch these, so that a cargo that is called with them would build again what
/// the same cargo, called from a shell, has built already.
fn inherited_from_cargo_run() -> impl Iterator<Item = String> {
    env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_crate_is_found_with_what_it_depends_on() {
        let members = members(&root().unwrap()).unwrap();
        let xtask = members.iter().find(|member| member.name == "xtask").unwrap();
        assert_eq!(xtask.folder, Path::new("xtask"));
        assert!(!xtask.library);
        let kind_of = |name| xtask.dependencies.iter().find(|to| to.name == name).unwrap().kind;
        assert_eq!(kind_of("anyhow"), DependencyKind::Normal);
        assert_eq!(kind_of("tempfile"), DependencyKind::Development);
    }

    #[test]
    fn the_build_tree_has_what_code_needs_and_not_what_tests_need() {
        let packages = built_from(&root().unwrap(), "xtask").unwrap();
        let has = |name: &str| packages.iter().any(|package| package == name);
        assert!(has("anyhow"), "a direct dependency");
        assert!(has("clap_builder"), "a dependency of a dependency");
        assert!(!has("tempfile"), "a dependency of the tests");
    }

    #[test]
    fn an_unknown_package_has_no_build_tree() {
        let error = built_from(&root().unwrap(), "no-such-crate").unwrap_err();
        assert!(error.to_string().contains("no-such-crate"), "{error}");
    }

    #[test]
    fn a_tree_is_read_one_name_a_line() {
        let tree = "b v1.0.0 (/somewhere/b)\na v0.1.0\nb v1.0.0 (/somewhere/b) (*)\n\n";
        assert_eq!(packages_of_tree(tree), ["a", "b"]);
    }
}
