//! What one partner delivers goes on to another by itself; and flows as a file has them.

use layover_tests::content::{MIB, sha256, write_file};
use layover_tests::ftps::{Entry, FtpsLogin};
use layover_tests::partner_server::{Plan, Security, Software};
use layover_tests::wait;
use layover_tests::{Engine, on_both_engines};

use super::{LONG, World, counts, held, sshd, wait_for};
use crate::outbound::Gpg;

on_both_engines!(
    what_lftp_uploads_lands_encrypted_at_the_next_partner_by_itself,
    the_flow_of_the_seeds_is_applied_and_runs,
);

fn what_lftp_uploads_lands_encrypted_at_the_next_partner_by_itself(engine: Engine) {
    let Some(world) = World::start(engine, sshd()) else {
        return;
    };
    let ours = &world.ours;
    let gpg = Gpg::new(ours);
    gpg.becomes_recipient(ours);
    ours.admin(&["integration", "set", "partner", "--outbound-pgp", "yes"]);
    let there = world.there("box");
    world.here("out");
    world.add("relay", "upload", "box", "/out", &["--on-arrival", "yes"]);
    let file = ours.scratch().join("claims.xml");
    let sum = write_file(&file, MIB + 9, 9);
    let login = FtpsLogin {
        layover: ours,
        account: &world.alice,
        entry: Entry::Explicit,
    };
    let put = format!("put {} -o /out/claims.xml", file.display());
    login.lftp(&put, LONG).expect_ok();
    wait::until("the file at the next partner", LONG, || {
        there.join("claims.xml").exists().then_some(())
    });
    let opened = ours.scratch().join("opened");
    let [opened_at, there_at] =
        [&opened, &there.join("claims.xml")].map(|path| path.display().to_string());
    gpg.run(&["--output", &opened_at, "--decrypt", &there_at])
        .expect_ok();
    assert_eq!(sha256(&opened), sum);
    assert_eq!(held(&there).len(), 1, "and nothing under a temporary name");

    let moves = wait::until("the journal to tell of it", LONG, || {
        let moves = world.moves();
        (!moves.is_empty()).then_some(moves)
    });
    let [sent] = &moves[..] else {
        panic!("one entry: {moves:?}");
    };
    let uploads = world.told("upload");
    let [came] = &uploads[..] else {
        panic!("one entry: {uploads:?}");
    };
    assert_eq!(
        (&came["protocol"], &came["outcome"]),
        (&"ftps".into(), &"ok".into())
    );
    assert_eq!(
        (&sent["action"], &sent["outcome"]),
        (&"outbound.upload".into(), &"ok".into())
    );
    assert_eq!(came["detail"]["file_id"], sent["detail"]["file_id"]);
    assert_eq!(came["path"], sent["path"]);
    assert!(sent["detail"]["pgp"]["encrypted_to"].is_string());
    let run = wait::until("the run to end", LONG, || {
        // The first looked at what was there when the flow was added, or took it along.
        let mut runs = world.history("relay").into_iter();
        let run = runs.find(|run| sent["detail"]["run"] == format!("relay/{}", run["run"]))?;
        run["ended_at"].is_string().then_some(run)
    });
    assert_eq!(counts(&run, &["moved", "failed"]), [1, 0], "{run}");
    assert_eq!(sent["detail"]["flow"], "relay");
}

/// As Xferity's page has it, but for names of this machine, the account, and the hour.
fn the_flow_of_the_seeds_is_applied_and_runs(engine: Engine) {
    let plan = Plan {
        security: Security::Explicit,
        ..Plan::of(Software::Vsftpd)
    };
    let Some(world) = World::start(engine, plan) else {
        return;
    };
    let there = world.there("incoming/claims");
    world.here("outgoing");
    let password = world.ours.scratch().join("password");
    std::fs::write(&password, world.theirs.password()).expect("write the password");
    let address = world.theirs.address();
    let partner = format!(
        "id: insurance-ftps\ndisplay_name: Insurance Partner FTPS\nprotocol: ftps\nftps:\n  \
         connection:\n    host: {}\n    port: {}\n    passive: true\n  auth:\n    \
         username: {}\n    password: file:{}\n  tls:\n    mode: explicit\n    \
         ca_cert: file:{}\n    server_cert_fingerprint: \"\"\n    insecure_skip_verify: false\n",
        address.ip(),
        address.port(),
        world.theirs.username(),
        password.display(),
        world.theirs.authority().expect("an authority").display(),
    );
    let flows = format!(
        "flows:\n  insurance-claims-upload:\n    direction: upload\n    enabled: true\n    \
         target:\n      partner: insurance-ftps\n      path: {}/incoming/claims\n    local:\n      \
         account: alice\n      path: /outgoing\n    files:\n    - pattern: \"*.xml\"\n    \
         idempotency_mode: hash\n    delete_after_upload: true\n    schedule_cron: \"* * * * * *\"\n",
        world.theirs.path(),
    );
    for (name, text, more) in [
        ("partner.yaml", &partner, &["--entity", "acme"][..]),
        ("flows.yaml", &flows, &[]),
    ] {
        let file = world.ours.scratch().join(name);
        std::fs::write(&file, text).expect("write the file");
        let file = file.display().to_string();
        world.ours.admin(&[&["apply", &file], more].concat());
    }
    let all = world.put_all("/outgoing", &["a.xml", "b.xml"], 1);
    let other = world.put_all("/outgoing", &["notes.txt"], 5);
    wait_for(&there, &all);
    // They went when they had moved, and what was not meant is still there.
    wait_for(&world.here("outgoing"), &other);
    let exported = world.ours.admin(&["export"]).stdout;
    assert!(exported.contains("insurance-claims-upload"), "{exported}");
}
