//! What lies in a directory tree, as the operator sees it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// Every regular file below `root`: its path from `root`, beginning with `/`, as bytes, and its
/// size in bytes. Hidden folders at the top (names beginning with a dot) hold no published files
/// and are left out.
pub fn files(root: &Path) -> BTreeMap<Vec<u8>, u64> {
    let mut found = BTreeMap::new();
    walk(root, b"", &mut found);
    found
}

fn walk(dir: &Path, prefix: &[u8], found: &mut BTreeMap<Vec<u8>, u64>) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => panic!("list {}: {error}", dir.display()),
    };
    for entry in entries {
        let entry = entry.expect("read directory entry");
        let name: Vec<u8> = OsString::into_vec(entry.file_name());
        if prefix.is_empty() && name.starts_with(b".") {
            continue;
        }
        let path = [prefix, b"/", &name].concat();
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            walk(&entry.path(), &path, found);
        } else {
            found.insert(path, metadata.len());
        }
    }
}
