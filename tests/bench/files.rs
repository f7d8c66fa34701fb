//! What the clients send.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

pub(crate) const BIG_BYTES: u64 = 1 << 30;
const SMALL_FILES: usize = 1_000;
const SMALL_BYTES: u64 = 10 * 1024;

/// Bytes that no layer can shorten.
pub(crate) fn fill(path: &Path, bytes: u64) {
    let random = File::open("/dev/urandom").expect("open the kernel's chance");
    let mut file = File::create(path).expect("make a file");
    std::io::copy(&mut random.take(bytes), &mut file).expect("fill a file");
}

/// A folder with the small files; one that is there stays.
pub(crate) fn fill_small(dir: &Path) {
    if dir.exists() {
        return;
    }
    fs::create_dir(dir).expect("make a folder");
    for number in 0..SMALL_FILES {
        fill(&dir.join(format!("file-{number:04}")), SMALL_BYTES);
    }
}
