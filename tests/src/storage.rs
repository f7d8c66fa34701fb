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
