//! Where the binaries are. `cargo test --workspace` builds them, for their packages have tests of their own;
//! `cargo test -p orch-tests` alone does not, so what is missing is built here, once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Each binary and its package.
const ALL: [(&str, &str); 4] = [
    ("orchestrator", "orch-orchestrator"),
    ("worker", "orch-worker"),
    ("orchctl", "orchctl"),
    ("compactor", "compactor"),
];

/// The path of a binary.
///
/// # Panics
/// If it cannot be built.
pub fn path(name: &str) -> PathBuf {
    folder().join(name)
}

/// The folder of the binaries, in the profile of the test that asks.
///
/// # Panics
/// If they cannot be built.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // target/<profile>/deps/e2e-<hash>
        let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
        build_missing(&folder);
        folder
    })
}

fn build_missing(folder: &Path) {
    let missing: Vec<&str> =
        ALL.iter().filter(|(binary, _)| !folder.join(binary).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return;
    }
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--bins", "--profile", profile]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for package in missing {
        cargo.args(["-p", package]);
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
