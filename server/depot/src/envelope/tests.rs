use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const PLACE: Place<'static> = Place {
    table: "integration",
    row: "17",
    column: "password",
};
const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn keys(text: &str) -> MasterKeys {
    MasterKeys::parse(text.as_bytes()).unwrap()
}

fn one() -> MasterKeys {
    keys(&format!("k1 {HEX}"))
}

#[test]
fn what_was_sealed_opens_and_looks_different_each_time() {
    let keys = one();
    let longest = vec![7; MAX_SEALED_VALUE_BYTES];
    for value in [&b""[..], b"hunter2", &longest] {
        let sealed = keys.seal(PLACE, value).unwrap();
        assert_ne!(sealed, keys.seal(PLACE, value).unwrap());
        assert!(value.is_empty() || !sealed.windows(value.len()).any(|part| part == value));
        assert_eq!(keys.open(PLACE, &sealed).unwrap().expose(), value);
        assert_eq!(master_key_of(&sealed), Ok("k1"));
    }
    let too_long = vec![7; MAX_SEALED_VALUE_BYTES + 1];
    assert_eq!(keys.seal(PLACE, &too_long), Err(EnvelopeError::TooLong));
}

#[test]
fn a_value_in_another_table_row_or_column_does_not_open() {
    let keys = one();
    let sealed = keys.seal(PLACE, b"hunter2").unwrap();
    for place in [
        Place {
            table: "account",
            ..PLACE
        },
        Place { row: "18", ..PLACE },
        Place {
            column: "passphrase",
            ..PLACE
        },
        // The same letters, otherwise divided.
        Place {
            table: "integration1",
            row: "7",
            ..PLACE
        },
    ] {
        assert_eq!(
            keys.open(place, &sealed).err(),
            Some(EnvelopeError::WrongPlace)
        );
        // Neither with the other place's mark put in.
        let mut moved = sealed.clone();
        moved[4..12].copy_from_slice(&place_mark(place));
        assert_eq!(keys.open(place, &moved).err(), Some(EnvelopeError::Altered));
    }
}

#[test]
fn no_altered_or_cut_value_opens() {
    let keys = one();
    let sealed = keys.seal(PLACE, b"hunter2").unwrap();
    for place in 0..sealed.len() {
        for mask in [1, 0x80] {
            let mut altered = sealed.clone();
            altered[place] ^= mask;
            assert!(keys.open(PLACE, &altered).is_err(), "byte {place}");
        }
        assert!(
            keys.open(PLACE, &sealed[..place]).is_err(),
            "cut to {place}"
        );
    }
    assert!(keys.open(PLACE, &[&sealed[..], b"x"].concat()).is_err());
}

#[test]
fn the_faults_have_their_names() {
    let sealed = one().seal(PLACE, b"hunter2").unwrap();
    let other = keys(&format!("k2 {HEX}"));
    let unknown = EnvelopeError::UnknownKey {
        id: "k1".to_owned(),
    };
    assert_eq!(other.open(PLACE, &sealed).err(), Some(unknown));
    let impostor = keys(&format!("k1 {}", HEX.replace("00", "ff")));
    assert_eq!(
        impostor.open(PLACE, &sealed).err(),
        Some(EnvelopeError::Altered)
    );
    for unknown in [&b""[..], b"\x02k1", b"\x01", b"\x01\xff"] {
        assert_eq!(
            one().open(PLACE, unknown).err(),
            Some(EnvelopeError::UnknownFormat)
        );
    }
}

#[test]
fn after_a_rotation_old_values_open_and_are_sealed_anew_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master_keys");
    let keys = MasterKeys::load(&path).unwrap();
    let old = keys.ids().next().unwrap().to_owned();
    let sealed = keys.seal(PLACE, b"hunter2").unwrap();
    assert_eq!(keys.reseal(PLACE, &sealed), Ok(None));

    let keys = keys.rotate(&path).unwrap();
    assert_eq!(keys.ids().nth(1), Some(&*old));
    let again = keys.reseal(PLACE, &sealed).unwrap().unwrap();
    assert_eq!(master_key_of(&again), Ok(keys.ids().next().unwrap()));
    assert_eq!(keys.open(PLACE, &again).unwrap().expose(), b"hunter2");
    assert_eq!(keys.reseal(PLACE, &again), Ok(None));

    // The file says the same.
    let read = MasterKeys::load(&path).unwrap();
    assert!(read.ids().eq(keys.ids()));
    assert_eq!(read.open(PLACE, &sealed).unwrap().expose(), b"hunter2");
    assert_eq!(read.open(PLACE, &again).unwrap().expose(), b"hunter2");
    assert_eq!(mode(&path), 0o600);
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_file_is_made_once_for_this_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master_keys");
    let first = MasterKeys::load(&path).unwrap();
    let second = MasterKeys::load(&path).unwrap();
    assert!(first.ids().eq(second.ids()));
    assert_eq!(mode(&path), 0o600);
    let there: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(there.len(), 1, "nothing is left beside it");

    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    assert!(matches!(
        MasterKeys::load(&path),
        Err(MasterKeyError::TooOpen { mode: 0o640, .. })
    ));
}

#[test]
fn two_processes_that_make_the_file_agree_on_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master_keys");
    let load = || -> Vec<String> {
        let keys = MasterKeys::load(&path).unwrap();
        keys.ids().map(str::to_owned).collect()
    };
    let found: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
}

#[test]
fn a_file_is_read_in_hexadecimal_and_base64_with_comments() {
    let text = format!("# newest first\r\n\r\nk2 {BASE64}\r\n  k1\t{HEX}  \n");
    let keys = keys(&text);
    assert_eq!(keys.ids().collect::<Vec<_>>(), ["k2", "k1"]);
    let sealed = keys.seal(PLACE, b"x").unwrap();
    let same_bytes = self::keys(&format!("k2 {}", HEX.to_uppercase()));
    assert_eq!(same_bytes.open(PLACE, &sealed).unwrap().expose(), b"x");
}

#[test]
fn a_bad_file_is_refused_by_its_line_and_its_keys_are_not_shown() {
    let longest_id = "x".repeat(MAX_KEY_ID_BYTES);
    assert!(MasterKeys::parse(format!("{longest_id} {HEX}").as_bytes()).is_ok());
    for bad in [
        HEX.to_owned(),
        format!("{longest_id}x {HEX}"),
        format!("k/1 {HEX}"),
        format!("k1 {}", HEX.replacen("00", "", 1)),
        format!("k1 {HEX}00"),
        format!("k1 {}", BASE64.replacen("AAEC", "", 1)),
        format!("k1 {BASE64}AAAA"),
        format!("k1 {HEX} more"),
    ] {
        let error = MasterKeys::parse(format!("#\n{bad}").as_bytes()).unwrap_err();
        assert!(
            matches!(error, MasterKeyError::BadLine { line: 2 }),
            "{bad}"
        );
        assert!(!error.to_string().contains("0405"), "{error}");
    }
    for (text, expected) in [
        (
            String::new(),
            "the master key file holds no key: restore it from a backup",
        ),
        (
            format!("k1 {HEX}\nk1 {BASE64}"),
            "line 2 of the master key file has an id that stands above already",
        ),
    ] {
        assert_eq!(
            MasterKeys::parse(text.as_bytes()).unwrap_err().to_string(),
            expected
        );
    }
    let many = |count: usize| -> String {
        (0..count)
            .map(|index| format!("k{index} {HEX}\n"))
            .collect()
    };
    assert!(MasterKeys::parse(many(MAX_MASTER_KEYS).as_bytes()).is_ok());
    assert!(matches!(
        MasterKeys::parse(many(MAX_MASTER_KEYS + 1).as_bytes()),
        Err(MasterKeyError::TooMany)
    ));
    let padded = |length: usize| format!("k1 {HEX}\n{}", "#".repeat(length - 68));
    assert!(MasterKeys::parse(padded(MAX_MASTER_KEY_FILE_BYTES).as_bytes()).is_ok());
    assert!(matches!(
        MasterKeys::parse(padded(MAX_MASTER_KEY_FILE_BYTES + 1).as_bytes()),
        Err(MasterKeyError::TooLong)
    ));
    assert_eq!(format!("{:?}", one()), r#"["k1"]"#);
}

#[test]
fn keys_that_seal_nothing_are_forgotten_but_the_newest_two() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let mut keys = MasterKeys::load(&path).unwrap();
    for _ in 0..3 {
        keys = keys.rotate(&path).unwrap();
    }
    let ids: Vec<_> = keys.ids().map(ToOwned::to_owned).collect();
    let [newest, before, third, fourth] = ids.as_slice() else {
        panic!("{ids:?}")
    };
    let used = [newest.clone(), fourth.clone()];
    assert_eq!(
        keys.forget_unused(&path, &used).unwrap(),
        std::slice::from_ref(third)
    );
    assert_eq!(keys.forget_unused(&path, &used).unwrap(), [""; 0]);
    let kept = MasterKeys::load(&path).unwrap();
    assert_eq!(kept.ids().collect::<Vec<_>>(), [newest, before, fourth]);
}
