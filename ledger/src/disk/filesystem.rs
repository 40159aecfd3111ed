//! Which file systems a ledger may lie on.
//!
//! The promise "acknowledged means durable" needs a `fdatasync` that reaches a disk and a lock that every process on
//! every host sees. A tmpfs has no disk, an overlay may drop with its container, and a network file system's lock and
//! sync are the server's business. So these are refused unless the operator says otherwise. What is unknown is
//! allowed: there are many local file systems, and their names say nothing.

use std::fmt;

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its name, if known.
    pub name: Option<&'static str>,
    /// Its magic number (`statfs(2)`), 0 where the system has none.
    pub magic: u64,
    /// Why a ledger should not lie on it.
    pub unfit: Option<&'static str>,
}

const NO_DISK: &str = "it keeps files in memory: nothing survives a restart of the machine";
const LAYERED: &str = "it is a container's scratch layer: it goes with the container";
const NETWORK: &str = "it is on the network: neither its lock nor its sync is this machine's own";
const USER_SPACE: &str = "it is a program in user space: its sync may mean anything";

/// Magic numbers from `linux/magic.h` and the file systems' own sources.
const KNOWN: &[(u64, &str, Option<&str>)] = &[
    (0x0000_ef53, "ext4", None),
    (0x5846_5342, "xfs", None),
    (0x9123_683e, "btrfs", None),
    (0x2fc1_2fc1, "zfs", None),
    (0xf2f5_2010, "f2fs", None),
    (0xca45_1a4e, "bcachefs", None),
    (0x0102_1994, "tmpfs", Some(NO_DISK)),
    (0x8584_58f6, "ramfs", Some(NO_DISK)),
    (0x794c_7630, "overlay", Some(LAYERED)),
    (0x6175_6673, "aufs", Some(LAYERED)),
    (0x0000_6969, "nfs", Some(NETWORK)),
    (0x0000_517b, "smb", Some(NETWORK)),
    (0xff53_4d42, "cifs", Some(NETWORK)),
    (0xfe53_4d42, "smb2", Some(NETWORK)),
    (0x0102_1997, "9p", Some(NETWORK)),
    (0x00c3_6400, "ceph", Some(NETWORK)),
    (0x5346_414f, "afs", Some(NETWORK)),
    (0x6b41_4653, "afs", Some(NETWORK)),
    (0x7375_7245, "coda", Some(NETWORK)),
    (0x0bd0_0bd0, "lustre", Some(NETWORK)),
    (0x4750_4653, "gpfs", Some(NETWORK)),
    (0x0116_1970, "gfs2", Some(NETWORK)),
    (0x6573_5546, "fuse", Some(USER_SPACE)),
];

impl FileSystem {
    /// The file system with this magic number.
    pub fn of_magic(magic: u64) -> Self {
        let known = KNOWN.iter().find(|(number, _, _)| *number == magic);
        Self { name: known.map(|k| k.1), magic, unfit: known.and_then(|k| k.2) }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "file system {:#x}", self.magic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_layers_and_networks_are_unfit() {
        assert_eq!(FileSystem::of_magic(0xef53).unfit, None);
        assert_eq!(FileSystem::of_magic(0x1234).unfit, None);
        assert_eq!(FileSystem::of_magic(0x1234).to_string(), "file system 0x1234");
        for (magic, name) in [(0x0102_1994, "tmpfs"), (0x794c_7630, "overlay"), (0x6969, "nfs")] {
            let file_system = FileSystem::of_magic(magic);
            assert!(file_system.unfit.is_some());
            assert_eq!(file_system.to_string(), name);
        }
    }
}
