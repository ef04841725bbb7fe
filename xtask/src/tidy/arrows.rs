//! Which of our crates may depend on which, and what the lower ones must not be built from.

use std::path::Path;

use anyhow::Result;
use cargo_metadata::DependencyKind;

use super::Finding;
use crate::workspace::{self, Dependency, Member};

use Arrows::{Anywhere, To};

/// Where the arrows from a crate may point.
#[derive(Clone, Copy, Debug)]
enum Arrows {
    /// To these of our crates.
    To(&'static [&'static str]),
    /// To all of our crates.
    Anywhere,
}

/// The arrows that are allowed among our crates. docs/ARCHITECTURE.md draws them.
const ALLOWED: &[(&str, Arrows)] = &[
    ("wharf-proto", To(&[])),
    ("wharf-http", To(&["wharf-proto"])),
    ("wharf-streamable-http", To(&["wharf-proto", "wharf-http"])),
    ("wharf-sse", To(&["wharf-proto", "wharf-http"])),
    ("wharf-pool", To(&["wharf-proto"])),
    (
        "wharf-gateway",
        To(&["wharf-proto", "wharf-http", "wharf-pool", "wharf-streamable-http", "wharf-sse"]),
    ),
    ("wharf-testkit", To(&["wharf-proto", "wharf-http", "wharf-streamable-http", "wharf-sse"])),
    (
        "wharf",
        To(&[
            "wharf-gateway",
            "wharf-testkit",
            "wharf-proto",
            "wharf-http",
            "wharf-pool",
            "wharf-streamable-http",
            "wharf-sse",
        ]),
    ),
    ("wharf-tests", Anywhere),
    ("bare-proxy", To(&[])),
    (
        "xtask",
        To(&["wharf-testkit", "wharf-proto", "wharf-http", "wharf-streamable-http", "wharf-sse"]),
    ),
];

/// What a crate must not be built from, however far down: the messages know no runtime, the pool knows no HTTP connection.
const FORBIDDEN: &[(&str, &[&str])] =
    &[("wharf-proto", &["tokio", "hyper"]), ("wharf-pool", &["hyper", "http-body"])];

/// Finds dependencies among our crates that point where no arrow is allowed, and crates that the table does not know.
pub(super) fn directions(members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members {
        let manifest = member.folder.join("Cargo.toml");
        let Some((_, arrows)) = ALLOWED.iter().find(|(name, _)| *name == member.name) else {
            findings.push(Finding::of_file(
                manifest,
                format!("{} is not in the table of allowed dependencies", member.name),
            ));
            continue;
        };
        let ours = member
            .dependencies
            .iter()
            .filter(|dependency| members.iter().any(|other| other.name == dependency.name));
        for dependency in ours.filter(|dependency| !is_allowed(member, *arrows, dependency)) {
            findings.push(Finding::of_file(
                &manifest,
                format!("{} must not depend on {}", member.name, dependency.name),
            ));
        }
    }
    findings
}

/// Finds what a crate is built from although it must not be.
///
/// # Errors
///
/// When cargo cannot tell what a crate is built from.
pub(super) fn reach(root: &Path, members: &[Member]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, forbidden) in FORBIDDEN {
        let Some(member) = members.iter().find(|member| member.name == *name) else {
            continue;
        };
        findings.extend(reached(member, forbidden, &workspace::built_from(root, name)?));
    }
    Ok(findings)
}

fn is_allowed(from: &Member, arrows: Arrows, to: &Dependency) -> bool {
    // A crate that turns on its own features for its tests draws no arrow, and the mock of the transport traits is there for
    // everybody's tests.
    let in_tests = to.kind == DependencyKind::Development;
    let is_mock = to.name == "wharf-proto" && to.features.iter().any(|it| it == "test-util");
    if in_tests && (to.name == from.name || is_mock) {
        return true;
    }
    match arrows {
        To(allowed) => allowed.contains(&to.name.as_str()),
        Anywhere => true,
    }
}

fn reached(member: &Member, forbidden: &[&str], built_from: &[String]) -> Vec<Finding> {
    let found = forbidden.iter().filter(|name| built_from.iter().any(|package| package == *name));
    found
        .map(|name| {
            let message = format!(
                "{} must not be built from {name}; see `cargo tree -p {} -e normal --all-features -i {name}`",
                member.name, member.name
            );
            Finding::of_file(member.folder.join("Cargo.toml"), message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dependencies: Vec<Dependency>) -> Member {
        Member { name: name.to_owned(), folder: name.into(), library: true, dependencies }
    }

    fn on(name: &str, kind: DependencyKind, features: &[&str]) -> Dependency {
        Dependency {
            name: name.to_owned(),
            kind,
            features: features.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    /// Checks one arrow of a workspace of two crates.
    fn check(from: &str, to: &Dependency, allowed: bool) {
        let mut members = vec![member(from, vec![to.clone()])];
        if to.name != from {
            members.push(member(&to.name, Vec::new()));
        }
        let findings = directions(&members);
        assert_eq!(findings.is_empty(), allowed, "{from} to {to:?}: {findings:?}");
    }

    #[test]
    fn an_arrow_of_the_table_is_allowed_and_no_other() {
        let normal = |name| on(name, DependencyKind::Normal, &[]);
        check("wharf-pool", &normal("wharf-proto"), true);
        check("wharf-gateway", &normal("wharf-pool"), true);
        check("wharf-tests", &normal("wharf"), true);
        check("wharf-proto", &normal("wharf-http"), false);
        check("wharf-pool", &normal("wharf-http"), false);
        check("wharf-sse", &normal("wharf-streamable-http"), false);
        check("xtask", &normal("wharf-gateway"), false);
    }

    #[test]
    fn tests_and_build_scripts_obey_the_table() {
        let in_tests = |name| on(name, DependencyKind::Development, &[]);
        check("wharf-gateway", &in_tests("wharf-testkit"), false);
        check("wharf-testkit", &in_tests("wharf-http"), true);
        check("wharf-proto", &on("wharf-http", DependencyKind::Build, &[]), false);
    }

    #[test]
    fn only_tests_may_reach_for_the_mock_past_the_table() {
        let mock = |kind| on("wharf-proto", kind, &["test-util"]);
        check("wharf-proto", &mock(DependencyKind::Development), true);
        check("wharf-proto", &mock(DependencyKind::Normal), false);
    }

    #[test]
    fn a_crate_outside_the_table_is_found() {
        let findings = directions(&[member("wharf-new", Vec::new())]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.starts_with("wharf-new is not in the table"));
    }

    #[test]
    fn crates_of_others_are_no_arrows() {
        let tokio = on("tokio", DependencyKind::Normal, &[]);
        assert_eq!(directions(&[member("wharf-proto", vec![tokio])]), []);
    }

    #[test]
    fn a_forbidden_package_is_found_however_it_got_there() {
        let proto = member("wharf-proto", Vec::new());
        let packages = ["http", "tokio"].map(str::to_owned);
        let findings = reached(&proto, &["tokio", "hyper"], &packages);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("built from tokio"), "{}", findings[0]);
        assert_eq!(reached(&proto, &["hyper"], &packages), []);
    }
}
