//! The project on disk: its crates and its texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cargo_metadata::semver::Version;
use cargo_metadata::{Metadata, MetadataCommand};

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "__pycache__"];

/// Kinds of files that people write.
const KINDS: [&str; 10] = [
    "rs", "toml", "md", "sql", "sh", "py", "js", "yml", "yaml", "run",
];

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests lie in the project")
        .to_owned()
}

fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .no_deps()
            .other_options(["--offline".to_owned()])
            .exec()
            .expect("cargo metadata")
    })
}

/// The oldest Rust that the project says it needs.
pub(crate) fn rust_version() -> Version {
    let packages = metadata().workspace_packages().into_iter();
    let said = packages.map(|package| package.rust_version.clone().expect("a rust-version"));
    said.min().expect("a crate")
}

/// The dependency that needs the newest Rust, and which that is.
pub(crate) fn needed_rust_version() -> (String, Version) {
    let all = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let packages = all.packages.into_iter();
    packages
        .filter_map(|package| Some((package.name.to_string(), package.rust_version?)))
        .max_by(|(_, one), (_, other)| one.cmp(other))
        .expect("a dependency")
}

/// Each crate of the project and all it depends on, for whatever purpose.
pub(crate) fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let packages = metadata().workspace_packages().into_iter();
    packages
        .map(|package| {
            let to = package
                .dependencies
                .iter()
                .map(|dependency| dependency.name.clone());
            (package.name.to_string(), to.collect())
        })
        .collect()
}

/// Each crate's name and the text of its Cargo.toml.
pub(crate) fn manifests() -> Vec<(String, String)> {
    let packages = metadata().workspace_packages().into_iter();
    packages
        .map(|package| {
            let text = fs::read_to_string(&package.manifest_path).expect("read Cargo.toml");
            (package.name.to_string(), text)
        })
        .collect()
}

/// Names under which other crates' items can be written in code.
pub(crate) fn foreign_crates() -> BTreeSet<String> {
    let foreign = dependencies()
        .into_values()
        .flatten()
        .map(|name| name.replace('-', "_"));
    foreign
        .chain(["std", "core", "alloc"].map(str::to_owned))
        .collect()
}

/// Each text file of the project, by its path from the root.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root(), "", &mut found);
    assert!(
        found
            .iter()
            .any(|(path, _)| path == "tests/hygiene/project.rs"),
        "finds itself"
    );
    found
}

fn collect(dir: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .expect("list directory")
        .map(|entry| entry.expect("entry"))
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("file type");
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), found);
        }
        let is_text = name == "run"
            || name
                .rsplit_once('.')
                .is_some_and(|(_, end)| KINDS.contains(&end));
        if kind.is_file() && is_text {
            let bytes = fs::read(entry.path()).expect("read file");
            found.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}
