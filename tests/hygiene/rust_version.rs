//! Which Rust is needed: what the project says is what its dependencies ask for.

use crate::project;

#[test]
fn the_rust_that_is_asked_for_is_enough_for_every_dependency() {
    let (ours, needed) = (project::rust_version(), project::needed_rust_version());
    assert!(
        needed.1 <= ours,
        "{} needs Rust {}, the project asks for {ours}",
        needed.0,
        needed.1
    );
    let said = format!("Rust {}.{} or ", ours.major, ours.minor);
    let fuzz = format!("rust-version = \"{}.{}\"", ours.major, ours.minor);
    for (path, text) in [
        ("README.md", &said),
        ("tests/run", &said),
        ("tests/fuzz/Cargo.toml", &fuzz),
    ] {
        let files = project::files();
        let file = files.iter().find(|(name, _)| name == path);
        assert!(
            file.is_some_and(|(_, content)| content.contains(text)),
            "{path} does not say `{text}`"
        );
    }
}
