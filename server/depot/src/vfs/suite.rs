//! One set of claims for every storage: the jail on a real file system, and
//! the recording one that other tests trust to behave the same.

use std::io::ErrorKind;

use super::recording::RecordingStorage;
use super::{FileKind, HiddenName, LocalStorage, Place, Replace, Storage};
use crate::Fsync;

fn place(path: &str) -> Place {
    Place {
        home: "acme".parse().unwrap(),
        path: path.parse().unwrap(),
    }
}

fn put(storage: &dyn Storage, path: &str, content: &[u8]) -> HiddenName {
    let name = HiddenName::fresh().unwrap();
    let file = storage.create_hidden(&name).unwrap();
    file.write_at(0, content).unwrap();
    file.sync().unwrap();
    storage
        .publish(&name, &place(path), Replace::Allow)
        .unwrap();
    storage.sync_dir(&place(path).dir()).unwrap();
    name
}

fn content(storage: &dyn Storage, path: &str) -> Vec<u8> {
    let (file, entry) = storage.open(&place(path)).unwrap();
    file.read_at(0, usize::try_from(entry.size_bytes).unwrap())
        .unwrap()
}

/// Runs a claim against each storage.
fn on_each(claim: impl Fn(&dyn Storage)) {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalStorage::open(&folder.path().join("homes"), Fsync::Always).unwrap();
    let storages: [&dyn Storage; 2] = [&local, &RecordingStorage::new()];
    for storage in storages {
        storage.make_home(&place("/").home).unwrap();
        claim(storage);
    }
}

#[test]
fn a_home_is_made_once_and_is_empty() {
    on_each(|storage| {
        storage.make_home(&place("/").home).unwrap();
        assert_eq!(storage.stat(&place("/")).unwrap().kind, FileKind::Directory);
        assert!(storage.list(&place("/"), 10).unwrap().entries.is_empty());
    });
}

#[test]
fn a_published_file_is_read_back_and_keeps_its_identity_when_it_moves() {
    on_each(|storage| {
        put(storage, "/a", b"hello");
        let before = storage.stat(&place("/a")).unwrap();
        assert_eq!((before.kind, before.size_bytes), (FileKind::File, 5));
        storage.make_dir(&place("/d")).unwrap();
        storage
            .rename(&place("/a"), &place("/d/b"), Replace::Refuse)
            .unwrap();
        let after = storage.stat(&place("/d/b")).unwrap();
        assert!(after.identity.same_file(before.identity));
        assert_eq!(content(storage, "/d/b"), b"hello");
        assert_eq!(
            storage.stat(&place("/a")).unwrap_err().kind(),
            ErrorKind::NotFound
        );
    });
}

#[test]
fn an_open_file_outlives_its_name_and_a_new_one_is_another_file() {
    on_each(|storage| {
        put(storage, "/a", b"old");
        let (old, old_entry) = storage.open(&place("/a")).unwrap();
        put(storage, "/a", b"new");
        assert_eq!(old.read_at(0, 10).unwrap(), b"old");
        assert_eq!(content(storage, "/a"), b"new");
        let new = storage.stat(&place("/a")).unwrap();
        assert!(!new.identity.same_file(old_entry.identity));
    });
}

#[test]
fn nothing_is_replaced_unless_allowed() {
    on_each(|storage| {
        put(storage, "/a", b"a");
        put(storage, "/b", b"b");
        let refused = storage.rename(&place("/a"), &place("/b"), Replace::Refuse);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let hidden = HiddenName::fresh().unwrap();
        storage.create_hidden(&hidden).unwrap();
        let refused = storage.publish(&hidden, &place("/b"), Replace::Refuse);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(content(storage, "/b"), b"b");
        storage
            .rename(&place("/a"), &place("/b"), Replace::Allow)
            .unwrap();
        assert_eq!(content(storage, "/b"), b"a");
    });
}

#[test]
fn directories_and_files_are_not_taken_for_each_other() {
    on_each(|storage| {
        storage.make_dir(&place("/d")).unwrap();
        put(storage, "/f", b"f");
        let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
        assert_eq!(
            kind(storage.make_dir(&place("/d"))),
            ErrorKind::AlreadyExists
        );
        assert_eq!(
            kind(storage.open(&place("/d")).map(drop)),
            ErrorKind::IsADirectory
        );
        assert_eq!(
            kind(storage.list(&place("/f"), 10).map(drop)),
            ErrorKind::NotADirectory
        );
        assert_eq!(
            kind(storage.stat(&place("/f/x")).map(drop)),
            ErrorKind::NotADirectory
        );
        assert_eq!(
            kind(storage.remove_dir(&place("/f"))),
            ErrorKind::NotADirectory
        );
        let over = storage.rename(&place("/f"), &place("/d"), Replace::Allow);
        assert_eq!(kind(over), ErrorKind::IsADirectory);
        let hidden = HiddenName::fresh().unwrap();
        assert_eq!(
            kind(storage.hide(&place("/d"), &hidden)),
            ErrorKind::IsADirectory
        );
        put(storage, "/d/x", b"x");
        assert_eq!(
            kind(storage.remove_dir(&place("/d"))),
            ErrorKind::DirectoryNotEmpty
        );
        assert_eq!(kind(storage.make_dir(&place("/no/d"))), ErrorKind::NotFound);
    });
}

#[test]
fn hiding_takes_the_name_away_and_publishing_gives_it_back() {
    on_each(|storage| {
        put(storage, "/a", b"a");
        let identity = storage.stat(&place("/a")).unwrap().identity;
        let hidden = HiddenName::fresh().unwrap();
        storage.hide(&place("/a"), &hidden).unwrap();
        assert_eq!(
            storage.stat(&place("/a")).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert!(
            storage
                .stat_hidden(&hidden)
                .unwrap()
                .identity
                .same_file(identity)
        );
        assert_eq!(
            storage.list_hidden().unwrap(),
            std::slice::from_ref(&hidden)
        );
        storage
            .publish(&hidden, &place("/a"), Replace::Refuse)
            .unwrap();
        assert_eq!(content(storage, "/a"), b"a");
        assert!(storage.list_hidden().unwrap().is_empty());
    });
}

#[test]
fn a_copy_is_a_file_of_its_own() {
    on_each(|storage| {
        put(storage, "/a", b"0123456789");
        let hidden = HiddenName::fresh().unwrap();
        let (copy, source) = storage.copy_to_hidden(&place("/a"), &hidden).unwrap();
        assert!(source.same_file(storage.stat(&place("/a")).unwrap().identity));
        copy.write_at(2, b"XY").unwrap();
        copy.set_len(5).unwrap();
        assert_eq!(copy.read_at(0, 10).unwrap(), b"01XY4");
        assert_eq!(content(storage, "/a"), b"0123456789");
    });
}

#[test]
fn a_listing_says_that_there_is_more_just_above_its_limit() {
    on_each(|storage| {
        for name in ["/a", "/b", "/c"] {
            put(storage, name, b"");
        }
        for (limit, found, more) in [(2, 2, true), (3, 3, false), (4, 3, false)] {
            let listing = storage.list(&place("/"), limit).unwrap();
            assert_eq!((listing.entries.len(), listing.more), (found, more));
        }
    });
}

#[test]
fn names_are_told_alone_and_those_that_are_asked_for_with_what_they_are() {
    on_each(|storage| {
        storage.make_dir(&place("/d")).unwrap();
        put(storage, "/d/file", b"12");
        storage.make_dir(&place("/d/folder")).unwrap();
        let mut names = Vec::new();
        let mut tell = |name: &[u8]| names.push(name.to_vec());
        storage.names(&place("/d"), &mut tell).unwrap();
        names.sort();
        assert_eq!(names, [b"file".to_vec(), b"folder".to_vec()]);
        let mut wanted = names.clone();
        wanted.push(b"gone".to_vec());
        let entries = storage.entries(&place("/d"), wanted).unwrap();
        let sizes: Vec<_> = entries
            .iter()
            .map(|(name, entry)| (name.clone(), entry.kind))
            .collect();
        let kinds = [FileKind::File, FileKind::Directory];
        assert_eq!(sizes, names.into_iter().zip(kinds).collect::<Vec<_>>());
        for fault in [
            storage.names(&place("/none"), &mut |_| {}).unwrap_err(),
            storage.entries(&place("/none"), Vec::new()).unwrap_err(),
        ] {
            assert_eq!(fault.kind(), ErrorKind::NotFound);
        }
        let file = storage.names(&place("/d/file"), &mut |_| {});
        assert_eq!(file.unwrap_err().kind(), ErrorKind::NotADirectory);
    });
}

mod jail {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{FileExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;

    struct Jail {
        folder: tempfile::TempDir,
        storage: LocalStorage,
    }

    impl Jail {
        fn new() -> Jail {
            let folder = tempfile::tempdir().unwrap();
            let storage = LocalStorage::open(&folder.path().join("homes"), Fsync::Always).unwrap();
            storage.make_home(&place("/").home).unwrap();
            std::fs::write(folder.path().join("secret"), b"secret").unwrap();
            Jail { folder, storage }
        }

        fn home(&self) -> PathBuf {
            self.folder.path().join("homes/acme")
        }

        fn names(&self) -> Vec<Vec<u8>> {
            let listing = self.storage.list(&place("/"), 100).unwrap();
            listing.entries.into_iter().map(|(name, _)| name).collect()
        }
    }

    #[test]
    fn a_second_name_leaves_a_file_what_it_is_and_is_told() {
        let jail = Jail::new();
        let home = jail.home();
        std::fs::write(home.join("a"), b"x").unwrap();
        let before = jail.storage.stat(&place("/a")).unwrap();
        assert!(!before.is_linked);
        std::fs::hard_link(home.join("a"), jail.folder.path().join("snapshot")).unwrap();
        let linked = jail.storage.stat(&place("/a")).unwrap();
        assert_eq!(
            (linked.kind, linked.identity, linked.is_linked),
            (before.kind, before.identity, true)
        );
        assert_eq!(jail.names(), [b"a"]);
        assert!(jail.storage.open(&place("/a")).unwrap().1.is_linked);
        let hidden = HiddenName::fresh().unwrap();
        jail.storage.hide(&place("/a"), &hidden).unwrap();
        jail.storage.unlink_hidden(&hidden).unwrap();
        assert!(jail.storage.stat(&place("/a")).is_err());
    }

    #[test]
    fn symbolic_links_and_special_files_do_not_exist() {
        let jail = Jail::new();
        let home = jail.home();
        symlink(jail.folder.path().join("secret"), home.join("to-file")).unwrap();
        symlink(jail.folder.path(), home.join("to-dir")).unwrap();
        symlink("..", home.join("up")).unwrap();
        let _socket = UnixListener::bind(home.join("socket")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            home.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(jail.names().is_empty(), "{:?}", jail.names());
        let listing = jail.storage.list(&place("/"), 100).unwrap();
        assert_eq!(
            listing.foreign, 5,
            "they are counted, so that somebody hears of them"
        );
        for name in ["to-file", "to-dir", "up", "socket", "pipe"] {
            let at = place(&format!("/{name}"));
            let hidden = HiddenName::fresh().unwrap();
            let answers = [
                jail.storage.stat(&at).map(drop),
                jail.storage.open(&at).map(drop),
                jail.storage.set_mode(&at, 0o777),
                jail.storage.copy_to_hidden(&at, &hidden).map(drop),
                jail.storage.hide(&at, &hidden),
            ];
            for answer in answers {
                let fault = crate::VfsError::at(&at.path, answer.unwrap_err());
                assert!(
                    matches!(fault, crate::VfsError::NotFound { .. }),
                    "{name}: {fault:?}"
                );
            }
        }
        for path in [
            "/to-dir/secret",
            "/up/secret",
            "/to-dir/homes/acme",
            "/up/other",
        ] {
            let fault = crate::VfsError::at(
                &place(path).path,
                jail.storage.stat(&place(path)).unwrap_err(),
            );
            assert!(matches!(
                fault,
                crate::VfsError::NotFound { .. } | crate::VfsError::NotDirectory { .. }
            ));
            let hidden = HiddenName::fresh().unwrap();
            jail.storage.create_hidden(&hidden).unwrap();
            assert!(
                jail.storage
                    .publish(&hidden, &place(path), Replace::Allow)
                    .is_err()
            );
        }
        assert_eq!(
            std::fs::read(jail.folder.path().join("secret")).unwrap(),
            b"secret"
        );
    }

    #[test]
    fn no_home_reaches_the_hidden_folder_or_another_home() {
        let jail = Jail::new();
        jail.storage.make_home(&"other".parse().unwrap()).unwrap();
        std::fs::write(jail.folder.path().join("homes/other/x"), b"x").unwrap();
        for path in ["/../other/x", "/../.layover/incoming", "/../../secret"] {
            assert!(jail.storage.stat(&place(path)).is_err(), "{path}");
        }
        assert!(".layover".parse::<crate::HomeName>().is_err());
        assert!("..".parse::<crate::HomeName>().is_err());
    }

    #[test]
    fn names_are_bytes_and_the_longest_paths_fit() {
        let jail = Jail::new();
        let odd = crate::VirtualPath::root().join(b"caf\xe9 \xff").unwrap();
        let at = Place {
            home: place("/").home,
            path: odd,
        };
        let hidden = HiddenName::fresh().unwrap();
        jail.storage.create_hidden(&hidden).unwrap();
        jail.storage.publish(&hidden, &at, Replace::Refuse).unwrap();
        assert_eq!(jail.names(), [b"caf\xe9 \xff".to_vec()]);
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9 \xff");
        assert!(jail.home().join(name).exists());

        let mut path = String::new();
        for _ in 0..15 {
            path.push('/');
            path.push_str(&"d".repeat(255));
            jail.storage.make_dir(&place(&path)).unwrap();
        }
        path.push('/');
        path.push_str(&"f".repeat(255));
        assert_eq!(path.len(), crate::MAX_PATH_BYTES);
        let hidden = HiddenName::fresh().unwrap();
        jail.storage.create_hidden(&hidden).unwrap();
        jail.storage
            .publish(&hidden, &place(&path), Replace::Refuse)
            .unwrap();
        assert!(jail.storage.stat(&place(&path)).is_ok());
    }

    #[test]
    fn a_full_read_stops_at_the_end_and_a_mode_never_locks_us_out() {
        let jail = Jail::new();
        let file = std::fs::File::create(jail.home().join("a")).unwrap();
        file.write_all_at(&[7; 3000], 0).unwrap();
        let (open, _) = jail.storage.open(&place("/a")).unwrap();
        assert_eq!(open.read_at(1000, 10_000).unwrap().len(), 2000);
        assert_eq!(open.read_at(0, 100).unwrap().len(), 100);
        assert!(open.read_at(3000, 100).unwrap().is_empty());
        jail.storage.set_mode(&place("/a"), 0o4044).unwrap();
        assert_eq!(jail.storage.stat(&place("/a")).unwrap().mode, 0o644);
        jail.storage.set_modified(&place("/a"), -1_500_000).unwrap();
        assert_eq!(
            jail.storage.stat(&place("/a")).unwrap().modified_us,
            -1_500_000
        );
    }
}
