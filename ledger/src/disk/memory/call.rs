//! Calls, and what can happen instead of them.

/// A call that a [`MemoryDir`](super::MemoryDir) is about to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Call {
    Read { bytes: usize },
    Write { bytes: usize },
    SetLen,
    Allocate,
    SyncData,
    SyncAll,
    SyncDir,
    CreateDir,
    Create,
    Rename,
    Remove,
}

impl Call {
    /// Whether it makes something durable.
    pub fn is_sync(self) -> bool {
        match self {
            Self::SyncData | Self::SyncAll | Self::SyncDir => true,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::SetLen
            | Self::Allocate
            | Self::CreateDir
            | Self::Create
            | Self::Rename
            | Self::Remove => false,
        }
    }

    /// Whether it leaves everything as it is.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Read { .. })
    }
}

/// What happens instead of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It fails with this error number ([`errno`]) and does nothing; a sync leaves what it was to make durable as
    /// Linux does: taken for clean, and not written.
    Error(i32),
    /// A read or a write handles only that many bytes. Other calls are carried out.
    Short(usize),
}

/// How often a mishap comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// The next try goes well.
    Once,
    /// Every call from there on.
    ForGood,
}

/// Error numbers, as on every Linux that we build for.
#[allow(missing_docs)]
pub mod errno {
    pub const EINTR: i32 = 4;
    pub const EIO: i32 = 5;
    pub const EFBIG: i32 = 27;
    pub const ENOSPC: i32 = 28;
    pub const EDQUOT: i32 = 122;
}
