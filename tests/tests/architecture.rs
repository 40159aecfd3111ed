//! The arrows between our crates, and no others.

use std::collections::{BTreeMap, BTreeSet};

/// Who may depend on whom. A worker never sees the ledger's crate: it cannot touch persistence even by mistake.
const ARROWS: &[(&str, &[&str])] = &[
    ("orch-core", &[]),
    ("orch-zeta", &[]),
    ("orch-ledger", &["orch-core"]),
    ("orch-proto", &["orch-core"]),
    ("orch-transport", &[]),
    ("orch-telemetry", &["orch-transport"]),
    ("orch-orchestrator", &["orch-core", "orch-ledger", "orch-proto", "orch-telemetry", "orch-transport"]),
    ("orch-worker", &["orch-core", "orch-proto", "orch-telemetry", "orch-transport", "orch-zeta"]),
    ("orch-compactor", &["orch-core", "orch-ledger"]),
    ("compactor", &["orch-compactor", "orch-core", "orch-ledger"]),
    (
        "orch-local",
        &[
            "orch-compactor",
            "orch-core",
            "orch-ledger",
            "orch-orchestrator",
            "orch-proto",
            "orch-transport",
            "orch-worker",
        ],
    ),
    ("orchctl", &["orch-compactor", "orch-core", "orch-ledger", "orch-local", "orch-proto", "orch-transport"]),
];

/// Crates that look at the system from outside and may depend on all of it.
const OUTSIDE: &[&str] = &["orch-tests", "orch-bench", "orch-sim", "orch-torture", "orch-fuzz"];

fn metadata() -> cargo_metadata::Metadata {
    cargo_metadata::MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

#[test]
fn the_arrows_are_those_of_the_architecture_and_no_others() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if OUTSIDE.contains(&name) {
            continue;
        }
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("crate {name} is not in the architecture's table"));
        for dependency in package.dependencies.iter().filter(|d| d.kind != cargo_metadata::DependencyKind::Development)
        {
            let on = dependency.name.as_str();
            assert!(!ours.contains(on) || allowed.contains(&on), "{name} must not depend on {on}");
        }
    }
    for (name, _) in ARROWS {
        assert!(ours.contains(name), "the table names crate {name}, which does not exist");
    }
}

#[test]
fn the_core_depends_on_nothing_that_does_io() {
    let metadata = metadata();
    let core = metadata.packages.iter().find(|package| package.name.as_str() == "orch-core").unwrap();
    for dependency in core.dependencies.iter().filter(|d| d.kind != cargo_metadata::DependencyKind::Development) {
        let forbidden = ["tokio", "tonic", "sled", "rustix", "rand", "mio", "reqwest"];
        assert!(!forbidden.contains(&dependency.name.as_str()), "orch-core must not depend on {}", dependency.name);
    }
}
