//! What of the file system a job's processes may use (Landlock, Linux 5.13 and later).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a job's processes may use; everything else is out of their reach, whoever owns it. With it they may send signals to
/// each other only (Linux 6.12 and later).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Files, and directories with everything below them, that may be read and executed.
    pub read: Vec<PathBuf>,
    /// The same that may be written, made and removed too.
    pub write: Vec<PathBuf>,
}

/// Whether this system can keep a job to its files.
pub(crate) fn can_restrict() -> bool {
    #[cfg(target_os = "linux")]
    {
        restrict::ruleset().is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}

#[cfg(target_os = "linux")]
pub(super) use restrict::restrict;

#[cfg(target_os = "linux")]
mod restrict {
    use std::io;
    use std::path::Path;

    use landlock::{
        ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
        RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
    };

    use super::Files;

    /// What there must be, and what is used beyond that where the kernel has it.
    const OLDEST: ABI = ABI::V1;
    const NEWEST: ABI = ABI::V6;

    /// Devices that every program counts on, and that hold nothing.
    const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

    /// Rules that allow nothing yet.
    pub(super) fn ruleset() -> Result<RulesetCreated, RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(OLDEST))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .scope(Scope::Signal)?
            .create()
    }

    /// Keeps this process, and all that it becomes and starts, to these files, for ever.
    ///
    /// # Errors
    /// The system cannot, or one of the files is not there: its name is in the text.
    pub(in super::super) fn restrict(files: &Files) -> io::Result<()> {
        let Files { read, write } = files;
        let cannot = |error: RulesetError| io::Error::other(format!("no Landlock on this system: {error}"));
        let mut ruleset = ruleset().map_err(cannot)?;
        let devices = DEVICES.iter().map(Path::new).filter(|device| device.exists());
        let writable = write.iter().map(AsRef::as_ref).chain(devices).map(|path| (path, AccessFs::from_all(NEWEST)));
        let readable = read.iter().map(AsRef::as_ref).map(|path| (path, AccessFs::from_read(NEWEST)));
        for (path, access) in readable.chain(writable) {
            ruleset = allow(ruleset, path, access)
                .map_err(|error| io::Error::other(format!("{} cannot be allowed: {error}", path.display())))?;
        }
        ruleset.restrict_self().map(drop).map_err(cannot)
    }

    fn allow(ruleset: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
        // Some rights make sense for a directory only, and are refused of a file.
        let access = if path.metadata()?.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
        let file = PathFd::new(path).map_err(io::Error::other)?;
        ruleset.add_rule(PathBeneath::new(file, access)).map_err(io::Error::other)
    }
}
