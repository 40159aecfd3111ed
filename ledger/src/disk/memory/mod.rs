//! A disk in memory, for tests, that can go wrong in every way that a ledger must survive.
//!
//! - **Calls fail** ([`MemoryDir::set_hook`], [`MemoryDir::fail`]): with an error number, or by handling fewer bytes than
//!   asked. Space runs out at [`MemoryDir::set_capacity`].
//! - **The process dies** ([`MemoryDir::kill`]): what was written is there, as the page cache keeps it; what was not synced
//!   still is not.
//! - **Power is lost** ([`MemoryDir::power_loss`]): what was not synced is there, gone, or torn. `power.rs` says how.
//! - **A sync fails** as on Linux: what it was to write is taken for clean, so that a second sync succeeds and writes
//!   nothing.
//!
//! `inode.rs` is a file, `content.rs` its bytes, `tree.rs` the names, `file.rs` the calls.

mod call;
mod content;
mod file;
mod inode;
mod power;
mod random;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::FileSystem;

pub use call::{Call, Lasting, Mishap, errno};
pub use content::SECTOR;
pub use random::Random;

use content::Content;
use inode::Inode;
use tree::Tree;

type Hook = Box<dyn FnMut(Call, &str) -> Option<Mishap> + Send>;
type Watch = Box<dyn FnMut(&MemoryDir) + Send>;

/// A data directory in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryDir {
    path: PathBuf,
    tree: Arc<Mutex<Tree>>,
    // Apart from the tree, so that they may look at it.
    hook: Arc<Mutex<Option<Hook>>>,
    watch: Arc<Mutex<Option<Watch>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked while it held the lock has failed already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryDir {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDir").field("files", &lock(&self.tree).now.files.len()).finish_non_exhaustive()
    }
}

impl MemoryDir {
    /// An empty directory.
    pub fn new() -> Self {
        Self::with(Tree::default())
    }

    fn with(tree: Tree) -> Self {
        let tree = Arc::new(Mutex::new(tree));
        Self { path: PathBuf::from("/memory"), tree, hook: Arc::default(), watch: Arc::default() }
    }

    /// The most bytes that all files together may have.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.tree).capacity = bytes;
    }

    /// The file system that it says it is.
    pub fn set_file_system(&self, file_system: FileSystem) {
        lock(&self.tree).file_system = Some(file_system);
    }

    /// Is asked before every call that reads or changes something, with the file's name. It may look at the directory
    /// ([`MemoryDir::files`], [`MemoryDir::kill`], [`MemoryDir::power_loss`]), but make no call.
    pub fn set_hook(&self, hook: impl FnMut(Call, &str) -> Option<Mishap> + Send + 'static) {
        *lock(&self.hook) = Some(Box::new(hook));
    }

    /// No call fails any more.
    pub fn clear_hook(&self) {
        *lock(&self.hook) = None;
    }

    /// Has the mishap come at the call with the number `at`, from 0, of those that `counts` names. Replaces the hook.
    pub fn fail(
        &self,
        at: usize,
        lasting: Lasting,
        mishap: Mishap,
        mut counts: impl FnMut(Call, &str) -> bool + Send + 'static,
    ) {
        let mut n = 0;
        self.set_hook(move |call, name| {
            if !counts(call, name) {
                return None;
            }
            n += 1;
            let hit = match lasting {
                Lasting::Once => n == at + 1,
                Lasting::ForGood => n > at,
            };
            hit.then_some(mishap)
        });
    }

    /// Is called after every change and every sync, failed ones too. It may look at the directory as the hook may.
    pub fn set_watch(&self, watch: impl FnMut(&Self) + Send + 'static) {
        *lock(&self.watch) = Some(Box::new(watch));
    }

    /// Nobody watches any more.
    pub fn clear_watch(&self) {
        *lock(&self.watch) = None;
    }

    /// What a death of the process leaves: everything that was written, as the page cache keeps it. What was not synced
    /// is still not synced; nothing is locked. Hook and watch stay behind.
    pub fn kill(&self) -> Self {
        Self::with(lock(&self.tree).killed())
    }

    /// What a loss of power may leave, drawn by chance. All of it is on the platter.
    pub fn power_loss(&self, random: &mut Random) -> Self {
        Self::with(lock(&self.tree).power_loss(random))
    }

    /// Everything that a loss of power may leave, if that is at most so many.
    pub fn power_losses(&self, at_most: usize) -> Option<Vec<Self>> {
        let losses = lock(&self.tree).power_losses(at_most);
        losses.map(|losses| losses.into_iter().map(Self::with).collect())
    }

    /// A copy that shares nothing with this one and is on the platter as it is.
    pub fn copy(&self) -> Self {
        let copy = self.kill();
        {
            let mut tree = lock(&copy.tree);
            tree.durable = tree.now.clone();
            for inode in tree.now.files.values() {
                let mut inode = lock(inode);
                *inode = Inode::synced(inode.now.clone());
            }
        }
        copy
    }

    /// Every file with its bytes.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let tree = lock(&self.tree);
        tree.now.files.iter().map(|(name, inode)| (name.clone(), lock(inode).now.bytes())).collect()
    }

    /// Puts a file there, and its directory, replacing what was there; on the platter.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        lock(&self.tree).put(name, Inode::synced(Content::of(bytes)));
    }
}
