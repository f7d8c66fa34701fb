use std::os::unix::fs::PermissionsExt;

use layover_config::Settings;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn sftp(text: &str) -> Sftp {
    Settings::parse(&format!("[sftp]\n{text}"), "test", std::iter::empty())
        .unwrap()
        .sftp
}

fn modern() -> Sftp {
    sftp("")
}

fn compatible() -> Sftp {
    sftp("algorithms = \"compatible\"")
}

fn key_path(dir: &Path) -> PathBuf {
    dir.join(KEY_DIR_NAME).join("ssh_host_ed25519_key")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn prints(keys: &[HostKey]) -> Vec<String> {
    keys.iter().map(HostKey::fingerprint).collect()
}

/// Each key as `ed25519 served`.
fn states(dir: &Path, settings: &Sftp) -> Vec<String> {
    let set = HostKeySet::read(dir, settings).unwrap();
    let shown = |entry: &HostKeyEntry| format!("{} {}", entry.algorithm, entry.state.as_str());
    set.entries().iter().map(shown).collect()
}

fn change<T>(dir: &Path, by: impl FnOnce(&mut HostKeyChange) -> T) -> T {
    let mut change = HostKeyChange::begin(dir, &modern(), NOW).unwrap();
    let result = by(&mut change);
    change.finish().unwrap();
    result
}

#[test]
fn the_key_is_made_once_for_the_owner_only_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), &modern()).unwrap();
    let second = load(dir.path(), &modern()).unwrap();
    assert_eq!(prints(&first), prints(&second));
    assert!(first[0].fingerprint().starts_with("ssh-ed25519 SHA256:"));
    assert_eq!(mode(&key_path(dir.path())), 0o600);
    assert_eq!(mode(&dir.path().join(KEY_DIR_NAME)), 0o700);
    let files = fs::read_dir(dir.path().join(KEY_DIR_NAME)).unwrap();
    assert_eq!(files.count(), 1);
    assert_eq!(first[0].loose_mode(), None);
}

#[test]
fn a_key_open_to_others_is_noticed_and_still_used() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &modern()).unwrap();
    let path = key_path(dir.path());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let loaded = load(dir.path(), &modern()).unwrap();
    assert_eq!(loaded[0].loose_mode(), Some(0o640));
}

#[test]
fn a_damaged_key_is_an_error_and_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &modern()).unwrap();
    let path = key_path(dir.path());
    fs::write(&path, "damaged").unwrap();
    assert!(matches!(
        load(dir.path(), &modern()),
        Err(HostKeyError::NotAKey { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), b"damaged");
}

#[test]
fn a_key_that_came_meanwhile_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), &modern()).unwrap();
    let other = fresh(&Algorithm::Ed25519).unwrap();
    write_once(&key_path(dir.path()), other.as_bytes()).unwrap();
    assert_eq!(
        prints(&load(dir.path(), &modern()).unwrap()),
        prints(&first)
    );
}

#[test]
fn named_keys_are_used_instead_and_of_one_algorithm_the_first_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let places = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let own = places
        .each_ref()
        .map(|place| load(place.path(), &modern()).unwrap());
    let named = |paths: &[PathBuf]| {
        let paths: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        sftp(&format!("host_keys = {paths:?}\n"))
    };
    let both = named(&places.each_ref().map(|place| key_path(place.path())));
    assert_eq!(prints(&load(dir.path(), &both).unwrap()), prints(&own[0]));
    let expected = ["ssh-ed25519 served", "ssh-ed25519 announced"];
    assert_eq!(states(dir.path(), &both), expected);
    assert!(!key_path(dir.path()).exists());
    assert!(matches!(
        HostKeyChange::begin(dir.path(), &both, NOW),
        Err(HostKeyError::NamedBySettings)
    ));
    assert!(matches!(
        load(dir.path(), &named(&[dir.path().join("missing")])),
        Err(HostKeyError::Unreadable { .. })
    ));
}

#[test]
fn compatible_makes_an_ecdsa_key_beside_and_modern_does_not_offer_it() {
    let dir = tempfile::tempdir().unwrap();
    let alone = load(dir.path(), &modern()).unwrap();
    let set = HostKeySet::read(dir.path(), &compatible()).unwrap();
    assert_eq!((set.served().count(), set.missing().len()), (1, 1));
    let both = load(dir.path(), &compatible()).unwrap();
    assert_eq!(prints(&both)[0], prints(&alone)[0]);
    assert!(prints(&both)[1].starts_with("ecdsa-sha2-nistp256 SHA256:"));
    assert_eq!(mode(&dir.path().join("keys/ssh_host_ecdsa_key")), 0o600);
    let again = load(dir.path(), &compatible()).unwrap();
    assert_eq!(prints(&again), prints(&both));
    assert_eq!(load(dir.path(), &modern()).unwrap().len(), 1);
}

#[test]
fn a_key_of_another_algorithm_is_announced_then_served_beside_and_the_old_one_retired() {
    let dir = tempfile::tempdir().unwrap();
    let old = load(dir.path(), &modern()).unwrap();
    let new = change(dir.path(), |change| {
        change.make(HostKeyKind::Ecdsa).unwrap()
    });
    let announced = ["ssh-ed25519 served", "ecdsa-sha2-nistp256 announced"];
    assert_eq!(states(dir.path(), &modern()), announced);
    assert_eq!(prints(&load(dir.path(), &modern()).unwrap()), prints(&old));

    let before = change(dir.path(), |change| change.serve(&new.sha256).unwrap());
    assert!(before.is_none(), "{before:?}");
    assert_eq!(load(dir.path(), &modern()).unwrap().len(), 2);

    change(dir.path(), |change| {
        change.retire(&old[0].sha256()).map(drop).unwrap()
    });
    let left = load(dir.path(), &modern()).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].sha256(), new.sha256);
    let expected = ["ssh-ed25519 retired", "ecdsa-sha2-nistp256 served"];
    assert_eq!(states(dir.path(), &modern()), expected);
    // Neither is made again because the settings need its algorithm.
    assert_eq!(load(dir.path(), &compatible()).unwrap().len(), 1);
}

#[test]
fn of_one_algorithm_one_key_is_served_and_the_other_can_take_its_place_again() {
    let dir = tempfile::tempdir().unwrap();
    let old = load(dir.path(), &modern()).unwrap()[0].sha256();
    let new = change(dir.path(), |change| {
        change.make(HostKeyKind::Ed25519).unwrap()
    });
    assert!(
        matches!(&new.source, SecretRef::File(path) if path.ends_with("ssh_host_ed25519_key-2"))
    );
    let served = || load(dir.path(), &modern()).unwrap()[0].sha256();
    assert_eq!(served(), old);
    let before = change(dir.path(), |change| change.serve(&new.sha256).unwrap());
    assert_eq!(before.unwrap().sha256, old);
    assert_eq!(served(), new.sha256);
    change(dir.path(), |change| change.serve(&old).map(drop).unwrap());
    assert_eq!(served(), old);
    change(dir.path(), |change| {
        change.retire(&new.sha256).map(drop).unwrap()
    });
    assert_eq!(load(dir.path(), &modern()).unwrap().len(), 1);
}

#[test]
fn a_retired_key_comes_back_while_its_file_is_there_and_from_a_copy_later() {
    let dir = tempfile::tempdir().unwrap();
    let old = load(dir.path(), &modern()).unwrap()[0].sha256();
    let new = change(dir.path(), |change| {
        let new = change.make(HostKeyKind::Ed25519).unwrap();
        change.serve(&new.sha256).unwrap();
        change.retire(&old).unwrap();
        new
    });
    let served = || load(dir.path(), &modern()).unwrap()[0].sha256();
    assert_eq!(served(), new.sha256);
    change(dir.path(), |change| change.serve(&old).map(drop).unwrap());
    assert_eq!(served(), old);
    change(dir.path(), |change| {
        change.serve(&new.sha256).unwrap();
        change.retire(&old).map(drop).unwrap();
    });
    let copy = dir.path().join("copy");
    fs::rename(key_path(dir.path()), &copy).unwrap();
    // Another key at its place is not it.
    let stranger = fresh(&Algorithm::Ed25519).unwrap();
    write_once(&key_path(dir.path()), stranger.as_bytes()).unwrap();
    change(dir.path(), |change| {
        let other = change.serve(&old);
        assert!(matches!(other, Err(HostKeyError::Other { .. })));
    });
    fs::remove_file(key_path(dir.path())).unwrap();
    let again = change(dir.path(), |change| change.take_over(&copy).unwrap());
    assert_eq!(
        (again.sha256, again.state),
        (old.clone(), HostKeyState::Announced)
    );
    let expected = ["ssh-ed25519 served", "ssh-ed25519 announced"];
    assert_eq!(states(dir.path(), &modern()), expected);
    change(dir.path(), |change| change.serve(&old).map(drop).unwrap());
    assert_eq!(served(), old);
}

#[test]
fn what_is_retired_and_deleted_is_forgotten_but_for_the_last_of_its_algorithm() {
    let dir = tempfile::tempdir().unwrap();
    let old = load(dir.path(), &modern()).unwrap()[0].sha256();
    change(dir.path(), |change| {
        let second = change.make(HostKeyKind::Ed25519).unwrap();
        change.make(HostKeyKind::Ed25519).unwrap();
        let ecdsa = change.make(HostKeyKind::Ecdsa).unwrap();
        change.serve(&ecdsa.sha256).unwrap();
        for print in [&old, &second.sha256] {
            change.retire(print).unwrap();
        }
    });
    let count = || {
        let set = HostKeySet::read(dir.path(), &modern()).unwrap();
        set.entries().len()
    };
    assert_eq!(count(), 4);
    fs::remove_file(key_path(dir.path())).unwrap();
    assert_eq!(count(), 4, "a look changes nothing");
    change(dir.path(), |_| ());
    assert_eq!(count(), 3, "one that is there stays");
    let third = change(dir.path(), |change| {
        let entries = change.set().entries().iter();
        let announced = entries.filter(|one| one.state == HostKeyState::Announced);
        let print = announced.map(|one| one.sha256.clone()).next().unwrap();
        change.retire(&print).unwrap()
    });
    let keys = dir.path().join(KEY_DIR_NAME);
    fs::remove_file(keys.join("ssh_host_ed25519_key-2")).unwrap();
    assert_eq!(
        third.source,
        SecretRef::File(keys.join("ssh_host_ed25519_key-3"))
    );
    fs::remove_file(keys.join("ssh_host_ed25519_key-3")).unwrap();
    change(dir.path(), |_| ());
    assert_eq!(count(), 2);
    assert_eq!(load(dir.path(), &modern()).unwrap().len(), 1);
    assert!(!key_path(dir.path()).exists(), "none is made again");
}

#[test]
fn an_announced_key_that_cannot_be_read_is_an_error_until_it_is_retired() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &modern()).unwrap();
    let new = change(dir.path(), |change| {
        change.make(HostKeyKind::Ecdsa).unwrap()
    });
    let SecretRef::File(path) = &new.source else {
        panic!("{new:?}");
    };
    fs::write(path, "damaged").unwrap();
    let refused = HostKeySet::read(dir.path(), &modern()).unwrap_err();
    assert!(
        matches!(&refused, HostKeyError::NotAKey { key, .. } if *key == new.source),
        "{refused}"
    );
    change(dir.path(), |change| {
        change.serve(&new.sha256).unwrap_err();
        change.retire(&new.sha256).map(drop).unwrap();
    });
    let expected = ["ssh-ed25519 served", "ecdsa-sha2-nistp256 retired"];
    assert_eq!(states(dir.path(), &modern()), expected);
}

#[test]
fn a_list_that_leaves_no_key_to_show_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &modern()).unwrap();
    change(dir.path(), |_| ());
    let list = dir.path().join("keys/host_keys.json");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("served", "announced")).unwrap();
    let refused = load(dir.path(), &modern()).unwrap_err();
    assert!(matches!(refused, HostKeyError::NoneServed { .. }));
}

#[test]
fn the_last_key_that_is_served_cannot_be_retired() {
    let dir = tempfile::tempdir().unwrap();
    let only = load(dir.path(), &modern()).unwrap()[0].sha256();
    change(dir.path(), |change| {
        // One that is only announced does not help anybody.
        change.make(HostKeyKind::Ecdsa).unwrap();
        let refused = change.retire(&only);
        assert!(matches!(refused, Err(HostKeyError::Last { .. })));
        let unknown = change.retire("SHA256:x");
        assert!(matches!(unknown, Err(HostKeyError::Unknown { .. })));
    });
    assert_eq!(load(dir.path(), &modern()).unwrap()[0].sha256(), only);
}

#[test]
fn a_change_that_is_not_finished_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &modern()).unwrap();
    let mut begun = HostKeyChange::begin(dir.path(), &modern(), NOW).unwrap();
    begun.make(HostKeyKind::Ecdsa).unwrap();
    drop(begun);
    assert_eq!(states(dir.path(), &modern()), ["ssh-ed25519 served"]);
}

#[test]
fn a_key_from_elsewhere_is_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let theirs = load(other.path(), &modern()).unwrap()[0].sha256();
    let file = key_path(other.path());
    let added = change(dir.path(), |change| change.take_over(&file).unwrap());
    assert_eq!(added.sha256, theirs);
    change(dir.path(), |change| {
        let again = change.take_over(&file);
        assert!(matches!(again, Err(HostKeyError::Known { .. })));
        let none = change.take_over(Path::new("/nonexistent"));
        assert!(matches!(none, Err(HostKeyError::Unreadable { .. })));
    });
    fs::remove_file(&file).unwrap();
    assert_eq!(
        states(dir.path(), &modern()),
        ["ssh-ed25519 served", "ssh-ed25519 announced"]
    );
}

#[test]
fn there_is_a_most_of_keys() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &modern()).unwrap();
    change(dir.path(), |change| {
        for _ in 1..MAX_HOST_KEYS {
            change.make(HostKeyKind::Ed25519).unwrap();
        }
        let refused = change.make(HostKeyKind::Ed25519);
        assert!(matches!(refused, Err(HostKeyError::TooMany { .. })));
    });
    let set = HostKeySet::read(dir.path(), &modern()).unwrap();
    assert_eq!(set.entries().len(), MAX_HOST_KEYS);
}

#[test]
fn a_list_that_cannot_be_read_is_an_error_and_no_key_is_made() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &modern()).unwrap();
    change(dir.path(), |change| {
        change.make(HostKeyKind::Ecdsa).map(drop).unwrap()
    });
    fs::write(dir.path().join("keys/host_keys.json"), "{").unwrap();
    let refused = load(dir.path(), &compatible()).unwrap_err();
    assert!(refused.to_string().contains("host_keys.json"), "{refused}");
    fs::remove_file(dir.path().join("keys/host_keys.json")).unwrap();
    // What the list named is lost with it; what the settings need is there.
    assert_eq!(load(dir.path(), &modern()).unwrap().len(), 1);
}
