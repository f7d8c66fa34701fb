//! A server whose data directory was destroyed comes back with everything that
//! its backup held; no file goes early, and none is forgotten.

use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Protocol, Setup, on_both_engines};

use crate::ledger;

on_both_engines!(a_destroyed_server_comes_back_from_its_backup);

fn a_destroyed_server_comes_back_from_its_backup(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover
        .account("partner")
        .password(PASSWORD)
        .with(&["--keep", "1h"])
        .add();
    let short = layover
        .account("short")
        .password(PASSWORD)
        .with(&["--keep", "20s"])
        .add();
    layover.start();
    account
        .partner(&layover, Protocol::Sftp)
        .put(b"/by-sftp", b"one")
        .expect("put");
    account
        .partner(&layover, Protocol::Ftps)
        .put(b"/by-ftps", b"two")
        .expect("put");
    short
        .partner(&layover, Protocol::Sftp)
        .put(b"/goes", b"soon")
        .expect("put");
    let before: Vec<_> = ["/by-sftp", "/by-ftps"]
        .map(|path| ledger::file(&layover, "partner", path))
        .into();
    let key = layover.admin(&["retention", "public-key"]).stdout;
    let secret = layover.scratch().join("secret");
    std::fs::write(&secret, "correct horse\n").expect("write secret");
    let out = layover.scratch().join("backup.age");
    let secret = secret.to_str().expect("a path in text");
    let out = out.to_str().expect("a path in text");
    // The server runs, and partners go on.
    layover.admin(&[
        "backup",
        "--files",
        "--out",
        out,
        "--passphrase-file",
        secret,
    ]);
    account
        .partner(&layover, Protocol::Sftp)
        .put(b"/later", b"not in it")
        .expect("put");
    layover.stop();
    std::fs::remove_dir_all(layover.data_dir()).expect("destroy data");
    std::fs::remove_dir_all(layover.homes()).ok();
    layover.empty_database();

    layover.admin(&["restore", out, "--passphrase-file", secret]);
    layover.start();
    let login = &account;
    for (path, content) in [(&b"/by-sftp"[..], &b"one"[..]), (b"/by-ftps", b"two")] {
        for protocol in [Protocol::Sftp, Protocol::Ftps] {
            assert_eq!(
                login.partner(&layover, protocol).get(path).expect("get"),
                content
            );
        }
    }
    for (row, path) in before.iter().zip(["/by-sftp", "/by-ftps"]) {
        let after = ledger::file(&layover, "partner", path);
        assert_eq!(
            (after.arrived_at(), after.expires_at()),
            (row.arrived_at(), row.expires_at())
        );
    }
    assert_eq!(layover.admin(&["retention", "public-key"]).stdout, key);
    let goes = layover.homes().join("short/goes");
    wait::until(
        "the file that was due to go",
        PATIENCE + Duration::from_secs(20),
        || (!goes.exists()).then_some(()),
    );
    let journal = layover.json(&["journal", "verify"]);
    assert_eq!(journal["chain"], "journal", "{journal}");
}
