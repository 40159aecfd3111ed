//! A disk that can lose power: what was not synced is there, gone, or torn, sector by sector.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::disk::{Access, Dir, File, FileSystem};

const SECTOR: usize = 512;

/// Numbers that look random and are the same in every run (Steele, Lea and Flood's SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn flip(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}

#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    locked: bool,
}

#[derive(Default)]
struct Disk {
    inodes: Vec<Inode>,
    now: BTreeMap<String, usize>,
    synced: BTreeMap<String, usize>,
    /// Is called after every change.
    watch: Option<Watch>,
}

type Watch = Box<dyn FnMut(&Moment<'_>) + Send>;

/// A moment in the life of a disk.
pub struct Moment<'a>(&'a Disk);

impl Moment<'_> {
    /// What a loss of power may leave.
    pub fn power_loss(&self, random: &mut Random) -> MemoryDir {
        self.0.after_power_loss(random)
    }

    /// What a kill of the process leaves: everything, and what was not synced is still not synced.
    pub fn kill(&self) -> PowerDir {
        let Disk { inodes, now, synced, watch: _ } = self.0;
        let inodes = inodes.iter().map(|inode| Inode { locked: false, ..inode.clone() }).collect();
        let disk = Disk { inodes, now: now.clone(), synced: synced.clone(), watch: None };
        PowerDir(Arc::new(Mutex::new(disk)))
    }
}

#[derive(Clone, Default)]
pub struct PowerDir(Arc<Mutex<Disk>>);

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Disk {
    /// What a loss of power may leave. How an un-synced change fares is drawn for each name and each sector.
    fn after_power_loss(&self, random: &mut Random) -> MemoryDir {
        let dir = MemoryDir::new();
        let names: Vec<&String> = self.now.keys().chain(self.synced.keys()).collect();
        for name in names {
            let (now, synced) = (self.now.get(name), self.synced.get(name));
            let inode = if now == synced || random.flip() { now } else { synced };
            if let Some(inode) = inode {
                dir.put(name, &torn(&self.inodes[*inode], random));
            }
        }
        for name in ["", "ledger", "quarantine"] {
            dir.create_dir(name).unwrap();
        }
        dir
    }

    fn changed(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            watch(&Moment(self));
            self.watch = Some(watch);
        }
    }
}

fn torn(inode: &Inode, random: &mut Random) -> Vec<u8> {
    let Inode { now, synced, .. } = inode;
    // Nothing, all, or any sectors of what is new.
    let chance = random.below(3);
    let mut bytes = synced.clone();
    bytes.resize(now.len().max(synced.len()), 0);
    let mut len = if random.flip() { now.len() } else { synced.len() };
    for start in (0..now.len()).step_by(SECTOR) {
        let end = (start + SECTOR).min(now.len());
        if chance == 1 || (chance == 2 && random.flip()) {
            bytes[start..end].copy_from_slice(&now[start..end]);
            // A sector beyond the length is there only if the length is.
            len = len.max(if random.below(4) > 0 { end } else { len });
        }
    }
    bytes.truncate(len);
    bytes
}

impl PowerDir {
    /// Goes on with what a loss of power left.
    pub fn of(image: &MemoryDir) -> Self {
        let mut disk = Disk::default();
        for (name, bytes) in image.files() {
            disk.now.insert(name.clone(), disk.inodes.len());
            disk.synced.insert(name, disk.inodes.len());
            disk.inodes.push(Inode { now: bytes.clone(), synced: bytes, locked: false });
        }
        Self(Arc::new(Mutex::new(disk)))
    }

    /// Has `watch` called after every change.
    pub fn watch(&self, watch: impl FnMut(&Moment<'_>) + Send + 'static) {
        self.disk().watch = Some(Box::new(watch));
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }
}

impl fmt::Debug for PowerDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PowerDir")
    }
}

impl Dir for PowerDir {
    fn path(&self) -> &Path {
        Path::new("/power")
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        Ok(FileSystem::of_magic(0xef53))
    }

    fn create_dir(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let within = disk.now.keys().filter(|file| parent(file) == name);
        Ok(within.map(|file| file.rsplit('/').next().unwrap_or_default().to_owned()).collect())
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let now = disk.now.clone();
        disk.synced.retain(|file, _| parent(file) != name);
        disk.synced.extend(now.into_iter().filter(|(file, _)| parent(file) == name));
        disk.changed();
        Ok(())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let inode = self.disk().now.get(name).copied();
        match inode {
            Some(inode) => Ok(Arc::new(PowerFile { dir: self.clone(), inode })),
            None if access == Access::Create => self.create_new(name),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        let inode = disk.inodes.len();
        disk.inodes.push(Inode::default());
        assert!(disk.now.insert(name.to_owned(), inode).is_none(), "{name} is there already");
        disk.changed();
        drop(disk);
        Ok(Arc::new(PowerFile { dir: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.now.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.now.insert(to.to_owned(), inode);
        disk.changed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.now.remove(name).ok_or(io::ErrorKind::NotFound)?;
        disk.changed();
        Ok(())
    }
}

#[derive(Debug)]
struct PowerFile {
    dir: PowerDir,
    inode: usize,
}

impl PowerFile {
    fn change(&self, change: impl FnOnce(&mut Inode)) {
        let mut disk = self.dir.disk();
        change(&mut disk.inodes[self.inode]);
        disk.changed();
    }
}

impl File for PowerFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.dir.disk().inodes[self.inode].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.dir.disk();
        let rest = disk.inodes[self.inode].now.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap();
        self.change(|inode| {
            let end = start + bytes.len();
            inode.now.resize(inode.now.len().max(end), 0);
            inode.now[start..end].copy_from_slice(bytes);
        });
        Ok(bytes.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|inode| inode.now.resize(usize::try_from(len).unwrap(), 0));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = usize::try_from(offset + len).unwrap();
        self.change(|inode| inode.now.resize(inode.now.len().max(end), 0));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|inode| inode.synced = inode.now.clone());
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut disk = self.dir.disk();
        Ok(!std::mem::replace(&mut disk.inodes[self.inode].locked, true))
    }
}
