//! File systems that misbehave on purpose. They need root; a test that is not root is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Ran};
use crate::wait::PATIENCE;

/// A small memory file system, unmounted when dropped.
#[derive(Debug)]
pub struct Tmpfs {
    at: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `size_mib` on `at`, which is made; the refusal when that is not allowed.
    pub fn mount(at: &Path, size_mib: u64) -> Result<Self, String> {
        std::fs::create_dir_all(at).expect("make mount point");
        let size = format!("size={size_mib}m");
        let ran = tool("mount", &["-t", "tmpfs", "-o", &size, "layover-test"], at);
        if ran.ok() {
            Ok(Self { at: at.to_owned() })
        } else {
            Err(refusal(&ran))
        }
    }

    /// Mounts one with room for so many files besides.
    pub fn mount_for_files(at: &Path, size_mib: u64, files: u64) -> Result<Self, String> {
        let storage = Self::mount(at, size_mib)?;
        let options = format!("remount,nr_inodes={files}");
        tool("mount", &["-o", &options], at).expect_ok();
        Ok(storage)
    }

    /// What is free, in bytes.
    pub fn free_bytes(&self) -> u64 {
        let ran = tool("df", &["--output=avail", "--block-size=1"], &self.at).expect_ok();
        let free = ran.stdout.lines().nth(1).map(str::trim);
        free.and_then(|free| free.parse().ok())
            .expect("df's answer")
    }

    /// Takes room until so many bytes are left, as somebody else on the machine may.
    pub fn fill_up_to(&self, leave_bytes: u64) {
        let mut filler = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.at.join("filler"))
            .expect("open filler");
        let block = vec![7; 64 << 10];
        let mut left = self.free_bytes().saturating_sub(leave_bytes);
        while left > 0 {
            let piece = left.min(block.len() as u64);
            let piece = usize::try_from(piece).expect("small");
            // The server writes meanwhile: there may be less than there was.
            if std::io::Write::write_all(&mut filler, &block[..piece]).is_err() {
                break;
            }
            left -= piece as u64;
        }
    }

    /// Gives that room back.
    pub fn empty(&self) {
        std::fs::remove_file(self.at.join("filler")).expect("remove filler");
    }

    /// Lets nothing be written from now on.
    pub fn make_read_only(&self) {
        tool("mount", &["-o", "remount,ro"], &self.at).expect_ok();
    }

    /// Lets things be written again.
    pub fn make_writable(&self) {
        tool("mount", &["-o", "remount,rw"], &self.at).expect_ok();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        tool("umount", &["--lazy"], &self.at);
    }
}

/// An ext4 file system in a file, which fails as one on a disk does; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes one of `size_mib` in the file `image` and mounts it on `at`, which is made; the
    /// refusal when that is not allowed.
    pub fn mount(image: &Path, at: &Path, size_mib: u64) -> Result<Self, String> {
        std::fs::create_dir_all(at).expect("make mount point");
        let file = std::fs::File::create(image).expect("make image");
        file.set_len(size_mib << 20).expect("size the image");
        tool("mkfs.ext4", &["-q", "-F"], image).expect_ok();
        let disk = Self {
            image: image.to_owned(),
            at: at.to_owned(),
        };
        let ran = disk.attach();
        if ran.ok() {
            Ok(disk)
        } else {
            Err(refusal(&ran))
        }
    }

    fn attach(&self) -> Ran {
        let image = self.image.to_string_lossy();
        tool("mount", &["-o", "loop,errors=remount-ro", &image], &self.at)
    }

    /// What the kernel does after an error of the disk: nothing more is written, and what is open
    /// for writing stays open.
    pub fn fail(&self) {
        tool("mount", &["-o", "remount,abort"], &self.at).expect_ok();
        // The first attempt to write finds out.
        std::fs::File::create(self.at.join("touched")).expect_err("nothing can be written");
    }

    /// Checks it and mounts it anew. Nobody has anything open on it.
    pub fn repair(&self) {
        tool("umount", &[], &self.at).expect_ok();
        // e2fsck(8): 1 says that it corrected something.
        let ran = tool("e2fsck", &["-f", "-y"], &self.image);
        assert!(ran.code.is_some_and(|code| code <= 1), "{ran}");
        self.attach().expect_ok();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        tool("umount", &["--lazy"], &self.at);
    }
}

/// A file that nobody can delete until this is dropped.
#[derive(Debug)]
pub struct Undeletable {
    path: PathBuf,
    mounted: bool,
}

impl Undeletable {
    /// Makes `path` undeletable: immutable where the file system knows that, else by mounting the
    /// file on itself. The refusal when neither is allowed.
    pub fn make(path: &Path) -> Result<Self, String> {
        if tool("chattr", &["+i"], path).ok() {
            return Ok(Self {
                path: path.to_owned(),
                mounted: false,
            });
        }
        let itself = path.to_string_lossy();
        let ran = tool("mount", &["--bind", &itself], path);
        if ran.ok() {
            Ok(Self {
                path: path.to_owned(),
                mounted: true,
            })
        } else {
            Err(refusal(&ran))
        }
    }
}

impl Drop for Undeletable {
    fn drop(&mut self) {
        if self.mounted {
            tool("umount", &["--lazy"], &self.path);
        } else {
            tool("chattr", &["-i"], &self.path);
        }
    }
}

fn tool(name: &str, arguments: &[&str], path: &Path) -> Ran {
    process::run(Command::new(name).args(arguments).arg(path), b"", PATIENCE)
}

fn refusal(ran: &Ran) -> String {
    format!("`{}`: {}", ran.command, ran.stderr.trim())
}
