//! A file system in a file, mounted by a loop device.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::TortureError;

/// Makes sure that file systems may be mounted here.
///
/// # Errors
/// [`TortureError::NeedsRoot`], [`TortureError::NoTool`].
pub(super) fn check() -> Result<(), TortureError> {
    if !rustix::process::geteuid().is_root() {
        return Err(TortureError::NeedsRoot { what: "mounting a file system on a loop device" });
    }
    for (tool, args) in [("mkfs.ext4", ["-V"]), ("mount", ["-V"]), ("umount", ["-V"])] {
        let fix = "install e2fsprogs and mount (`apt-get install e2fsprogs mount`)";
        if let Err(error) = Command::new(tool).args(args).output() {
            return Err(TortureError::NoTool { tool, why: error.to_string(), fix });
        }
    }
    Ok(())
}

/// A mounted image. Unmounted, and its loop device detached, when it is dropped, whatever happened.
#[derive(Debug)]
pub(super) struct Image {
    mount: PathBuf,
    mounted: bool,
}

/// How long whoever still uses the disk may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

impl Image {
    /// Makes a file of this size with an ext4 file system in it, and mounts it.
    pub(super) async fn mount(folder: &Path, bytes: u64) -> Result<Self, TortureError> {
        let (file, mount) = (folder.join("disk.img"), folder.join("disk"));
        let made = std::fs::File::create(&file).and_then(|file| file.set_len(bytes));
        made.and_then(|()| std::fs::create_dir_all(&mount)).map_err(TortureError::io("make an image of a disk"))?;
        // Without blocks reserved for root: it would see more space than others do.
        let mut mkfs = Command::new("mkfs.ext4");
        run(mkfs.args(["-q", "-F", "-m", "0"]).arg(&file))?;
        let mut image = Self { mount, mounted: false };
        let mut command = Command::new("mount");
        run(command.args(["-o", "loop"]).arg(&file).arg(&image.mount))?;
        image.mounted = true;
        Ok(image)
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    /// Unmounts it.
    pub(super) async fn unmount(mut self) -> Result<(), TortureError> {
        self.mounted = false;
        let mut umount = Command::new("umount");
        run(umount.arg(&self.mount))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Processes that were killed a moment ago may still hold it.
        let end = Instant::now() + PATIENCE;
        while self.mounted {
            self.mounted = run(Command::new("umount").arg(&self.mount)).is_err();
            if self.mounted && Instant::now() > end {
                let lazily = run(Command::new("umount").arg("-l").arg(&self.mount));
                if let Err(error) = lazily {
                    eprintln!("orch-torture: {} stays mounted: {}", self.mount.display(), error.in_full());
                }
                return;
            }
            if self.mounted {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn run(command: &mut Command) -> Result<(), TortureError> {
    let title = command.get_program().to_string_lossy().into_owned();
    let ran = command.output().map_err(TortureError::io(format!("run {title}")))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    Err(TortureError::Io { doing: format!("run {title}"), source: std::io::Error::other(said) })
}
