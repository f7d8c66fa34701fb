use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

fn reference(text: &str) -> SecretRef {
    text.parse().expect("a reference")
}

#[test]
fn references_are_read_and_written() {
    let vault = SecretRef::Vault {
        path: "secret/partners/north".to_owned(),
        field: "password".to_owned(),
    };
    for (text, expected) in [
        ("env:DB_URL", SecretRef::Env("DB_URL".to_owned())),
        ("file:/run/x", SecretRef::File("/run/x".into())),
        ("vault:secret/partners/north#password", vault),
    ] {
        assert_eq!(reference(text), expected);
        assert_eq!(expected.to_string(), text);
    }
}

#[test]
fn what_is_no_reference_is_refused_and_not_repeated() {
    let at_limit = format!("file:{}", "x".repeat(MAX_REFERENCE_BYTES - 5));
    assert!(at_limit.parse::<SecretRef>().is_ok());
    for text in [
        "",
        "hunter2",
        "env:",
        "env:1A",
        "env:A B",
        "file:",
        "vault:secret/x",
        "vault:#f",
        "vault:secret#f",
        "vault:/secret/x#f",
        "vault:secret/../x#f",
        "vault:secret//x#f",
        "vault:secret/x#",
        "file:/a\nb",
        "http://x",
        &format!("{at_limit}x"),
    ] {
        assert_eq!(text.parse::<SecretRef>(), Err(SecretRefError), "{text}");
    }
    assert!(!SecretRefError.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_variable_is_read_as_it_stands() {
    let variables = |name: &str| (name == "PASSWORD").then(|| OsString::from("hunter2\n"));
    let sources = SecretSources::default();
    let secret = reference("env:PASSWORD")
        .resolve_in(&sources, variables)
        .await
        .expect("it is set");
    assert_eq!(secret.expose(), b"hunter2\n");
    let error = reference("env:OTHER")
        .resolve_in(&sources, variables)
        .await
        .expect_err("it is not set");
    assert_eq!(error.to_string(), "environment variable `OTHER` is not set");
    assert_eq!(error.permanence(), Permanence::Permanent);
}

#[tokio::test]
async fn a_file_loses_one_line_end_and_has_a_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    let sources = SecretSources::default();
    let longest = vec![b'x'; MAX_SECRET_BYTES];
    let with_end = [&longest[..], b"\r\n"].concat();
    let too_long = vec![b'x'; MAX_SECRET_BYTES + 1];
    for (content, expected) in [
        (&b"hunter2"[..], Some(&b"hunter2"[..])),
        (b"hunter2\n", Some(b"hunter2")),
        (b"hunter2\r\n", Some(b"hunter2")),
        (b"hunter2\n\n", Some(b"hunter2\n")),
        (&longest, Some(&longest)),
        (&with_end, Some(&longest)),
        (&too_long, None),
        (b"", None),
        (b"\n", None),
    ] {
        std::fs::write(&path, content).expect("write");
        let secret = SecretRef::File(path.clone()).resolve(&sources).await;
        let read = secret.as_ref().ok().map(Secret::expose);
        assert!(read == expected, "{:?}...", content.get(..9));
    }
    let missing = SecretRef::File(folder.path().join("missing"));
    assert!(matches!(
        missing.resolve(&sources).await,
        Err(SecretError::Unreadable { .. })
    ));
    let no_file = SecretRef::File(folder.path().to_owned());
    assert!(matches!(
        no_file.resolve(&sources).await,
        Err(SecretError::Unreadable { .. })
    ));
}

#[tokio::test]
async fn a_pipe_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("make a pipe");
    let sources = SecretSources::default();
    let read = SecretRef::File(path);
    let limit = Duration::from_secs(30);
    let outcome = layover_depot::timer::timeout(limit, read.resolve(&sources)).await;
    let error = outcome.expect("no waiting").expect_err("no secret");
    let source = std::error::Error::source(&error).expect("why");
    assert!(
        source.to_string().contains("not a regular file"),
        "{source}"
    );
}

#[tokio::test]
async fn a_file_that_others_may_use_is_refused_when_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "hunter2").expect("write");
    for (mode, strict) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("chmod");
        for (file_access, allowed) in [(FileAccess::Anybody, true), (FileAccess::NotOthers, strict)]
        {
            let sources = SecretSources {
                file_access,
                vault: None,
            };
            let outcome = SecretRef::File(path.clone()).resolve(&sources).await;
            assert_eq!(outcome.is_ok(), allowed, "{mode:o} {file_access:?}");
            if let Err(error) = outcome {
                assert!(matches!(error, SecretError::TooOpen { .. }), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_vault_its_references_say_so() {
    let error = reference("vault:secret/x#f")
        .resolve(&SecretSources::default())
        .await
        .expect_err("none is configured");
    assert_eq!(
        error.to_string(),
        "`vault:secret/x#f` cannot be read: no Vault is configured"
    );
}
