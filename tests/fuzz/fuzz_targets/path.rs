//! Any bytes as a peer's path: refused, or absolute, normal and inside the home.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The file itself, not its crate: instrumented and built in seconds, without
// SSH and databases.
#[path = "../../../server/depot/src/path.rs"]
#[rustfmt::skip]
mod path;

use path::{MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, VirtualPath};

fuzz_target!(|input: &[u8]| {
    let Ok(path) = VirtualPath::parse(input) else {
        return;
    };
    check(&path);
    assert!(input.len() <= MAX_PATH_BYTES);
    // As seen from any folder it is inside, too, and `..` never leaves the top.
    let up = [input, b"/../../", input].concat();
    for bytes in [&up[..], b"..", b"../..", b"."] {
        if let Ok(resolved) = path.resolve(bytes) {
            check(&resolved);
        }
    }
    // A name is taken as it is, or refused.
    if let Ok(joined) = path.join(input) {
        check(&joined);
        assert_eq!(joined.name(), Some(input));
        assert_eq!(joined.dir(), path);
        assert!(joined.is_within(&path) && !path.is_within(&joined));
    }
});

fn check(path: &VirtualPath) {
    let bytes = path.as_bytes();
    assert_eq!(bytes.first(), Some(&b'/'));
    assert!(bytes.len() <= MAX_PATH_BYTES);
    assert!(path.components().count() <= MAX_DEPTH);
    for name in path.components() {
        assert!(!matches!(name, b"" | b"." | b".."), "{path:?}");
        assert!(name.len() <= MAX_NAME_BYTES);
        assert!(name.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f));
    }
    assert_eq!(VirtualPath::parse(bytes).as_ref(), Ok(path), "not normal");
    assert!(path.is_within(&VirtualPath::root()));
    assert!(path.is_within(&path.dir()));
    assert_eq!(path.is_root(), path.name().is_none());
    if let Some(name) = path.name() {
        assert_eq!(path.dir().join(name).as_ref(), Ok(path));
    }
}
