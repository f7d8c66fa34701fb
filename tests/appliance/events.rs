//! Events, told to a receiver over TLS by the real executable.

mod nodes;

use std::process::Command;
use std::time::Duration;

use layover_tests::receiver::{Received, Receiver};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Setup, on_both_engines, process};

on_both_engines!(
    what_happens_is_told_signed_and_nothing_is_lost_while_the_receiver_is_away,
    what_waits_for_a_hook_goes_where_it_leads_since_it_was_changed,
);

/// For what waits for a lease, or for two nodes on a busy machine.
const LONG: Duration = Duration::from_secs(240);

/// Verifies a signature as README tells a receiver to.
const VERIFY: &str = r#"
import hmac, hashlib, sys
secret, timestamp, signature = sys.argv[1:4]
body = sys.stdin.buffer.read()
wanted = "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
sys.exit(0 if hmac.compare_digest(wanted, signature) else 1)
"#;

fn is_signed(received: &Received, secret: &str) -> bool {
    let header = |name| received.header(name).expect("a header");
    let (timestamp, signature) = (header("layover-timestamp"), header("layover-signature"));
    let mut python = Command::new("python3");
    python.args(["-c", VERIFY, secret, timestamp, signature]);
    process::run(&mut python, received.body().as_bytes(), PATIENCE).ok()
}

/// What was received of a file: kind and account, in their order.
fn of_file(receiver: &Receiver, path: &str) -> Vec<String> {
    let subject = format!("file:partner:{path}");
    let events = receiver.received().into_iter().map(|one| one.event());
    events
        .filter(|event| event["subject"] == subject.as_str())
        .map(|event| event["kind"].as_str().expect("a kind").to_owned())
        .collect()
}

fn add_hook(layover: &Layover, name: &str, receiver: &Receiver, more: &[&str]) -> String {
    let url = receiver.url();
    let fixed = ["event", "hook", "add", name, "--url", &url];
    let trusted = ["--ca-certificate", receiver.authority()];
    let added = layover.json(&[&fixed[..], &trusted, more].concat());
    added["made_secret"].as_str().expect("a secret").to_owned()
}

fn what_happens_is_told_signed_and_nothing_is_lost_while_the_receiver_is_away(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    layover.run(&["entity", "add", "other"]).expect_ok();
    let receiver = Receiver::start(layover.scratch());
    let secret = add_hook(&layover, "crm", &receiver, &[]);
    let elsewhere = Receiver::start(layover.client_dir());
    add_hook(&layover, "other", &elsewhere, &["--entity", "other"]);
    layover.run(&["event", "hook", "test", "crm"]).expect_ok();
    let tried = receiver.received().remove(0);
    assert_eq!(tried.event()["kind"], "hook.test");
    assert!(is_signed(&tried, &secret));
    assert!(!is_signed(&tried, "another secret"));
    layover.start();

    let mut sftp = account.sftp(&layover);
    sftp.put(b"/in.csv", b"first").expect("put");
    wait::until("the arrival to be told", PATIENCE, || {
        (!of_file(&receiver, "/in.csv").is_empty()).then_some(())
    });
    let told = receiver.received().remove(1);
    assert!(is_signed(&told, &secret));
    let event = told.event();
    assert_eq!(event["kind"], "file.arrived", "{event}");
    assert_eq!(event["detail"]["size_bytes"], 5);
    assert_eq!(event["detail"]["account"], "partner");
    assert_eq!(
        Some(event["id"].as_str().expect("an id")),
        told.header("layover-event-id")
    );

    // Away, then the server dies as well.
    receiver.fall_silent();
    sftp.put(b"/in.csv", b"second").expect("put");
    sftp.remove(b"/in.csv").expect("remove");
    sftp.put(b"/in.csv", b"third").expect("put");
    let due = |layover: &Layover| {
        let rows = layover.rows(&["event", "list", "--undelivered", "--hook", "crm"]);
        (rows.len() == 3 && rows[0]["attempts"].as_u64() > Some(0)).then_some(rows)
    };
    let rows = wait::until("the rest to wait", PATIENCE, || due(&layover));
    assert_eq!(rows[0]["state"], "due");
    assert!(rows[0]["last_error"].is_string(), "{rows:?}");
    assert_eq!(rows[1]["attempts"], 0, "behind the first of its subject");
    drop(sftp);
    layover.kill_9();
    let log = layover.log();
    receiver.answer(200);
    layover.start();
    let all = wait::until("the rest to be told", PATIENCE, || {
        let told = of_file(&receiver, "/in.csv");
        (told.len() >= 4).then_some(told)
    });
    assert_eq!(
        all,
        [
            "file.arrived",
            "file.arrived",
            "file.deleted",
            "file.arrived"
        ]
    );
    wait::until("everything to be delivered", PATIENCE, || {
        layover
            .rows(&["event", "list", "--undelivered"])
            .is_empty()
            .then_some(())
    });
    assert_eq!(layover.rows(&["event", "list"]).len(), 4);
    // Nobody is told of another entity's files.
    assert!(elsewhere.received().is_empty());

    // The secret is nowhere to be seen, and everything that was done to hooks is told.
    let shown = layover.admin(&["event", "hook", "show", "crm"]).text();
    let journal = layover.admin(&["journal", "--json", "--limit", "0"]).text();
    for text in [&shown, &journal, &log, &layover.log()] {
        assert!(!text.contains(&secret), "{text}");
    }
    assert!(journal.contains("\"hook.add\""), "{journal}");
    layover.admin(&["event", "hook", "remove", "crm"]);
    let hooks = layover.rows(&["event", "hook", "list"]);
    assert_eq!(hooks.len(), 1);
    assert_eq!(hooks[0]["name"], "other");
}

fn what_waits_for_a_hook_goes_where_it_leads_since_it_was_changed(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    let away = Receiver::start(layover.scratch());
    away.fall_silent();
    let old = add_hook(&layover, "crm", &away, &["--kind", "file.arrived"]);
    layover.start();
    let mut sftp = account.sftp(&layover);
    for path in [&b"/a"[..], b"/b", b"/a"] {
        sftp.put(path, b"content").expect("put");
    }
    wait::until("the receiver to be missed", PATIENCE, || {
        let rows = layover.rows(&["event", "list", "--undelivered"]);
        let is_tried = rows.iter().any(|row| row["attempts"].as_u64() > Some(0));
        (rows.len() == 3 && is_tried).then_some(())
    });

    let set = ["event", "hook", "set", "crm"];
    let there = Receiver::start(layover.client_dir());
    let url = there.url();
    let to = ["--url", &url, "--ca-certificate", there.authority()];
    let changed = layover.json(&[&set[..], &to, &["--new-secret"]].concat());
    assert_eq!(changed["url"], url.as_str());
    let secret = changed["made_secret"].as_str().expect("a secret");
    assert_ne!(secret, old);
    wait::until("everything to be delivered", PATIENCE, || {
        let rows = layover.rows(&["event", "list", "--undelivered"]);
        rows.is_empty().then_some(())
    });
    assert_eq!(of_file(&there, "/a"), ["file.arrived", "file.arrived"]);
    assert_eq!(of_file(&there, "/b"), ["file.arrived"]);
    assert!(away.received().is_empty());
    for received in there.received() {
        assert!(is_signed(&received, secret) && !is_signed(&received, &old));
    }

    // Kinds count from now on.
    layover.admin(&[&set[..], &["--kind", "file.deleted"]].concat());
    sftp.put(b"/c", b"content").expect("put");
    sftp.remove(b"/c").expect("remove");
    let told = wait::until("the removal to be told", PATIENCE, || {
        let told = of_file(&there, "/c");
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(told, ["file.deleted"]);
    let again = layover.run(&[&set[..], &["--kind", "file.deleted"]].concat());
    assert!(again.expect_ok().stdout.contains("was so already"));
    for (arguments, says) in [
        (&["--url", "http://10.0.0.1/x"][..], "--allow-plain"),
        (&["--kind", "hook.test"], "never kept"),
        (&[], "nothing to change"),
    ] {
        let refused = layover.run(&[&set[..], arguments].concat());
        assert!(!refused.ok(), "{refused}");
        assert!(refused.stderr.contains(says), "{refused}");
    }

    let shown = layover.json(&["event", "hook", "show", "crm"]);
    assert_eq!(shown["url"], url.as_str());
    assert_eq!(shown["kinds"], serde_json::json!(["file.deleted"]));
    let journal = layover.admin(&["journal", "--json", "--limit", "0"]).text();
    assert_eq!(journal.matches("\"hook.set\"").count(), 2, "{journal}");
    for kept_out in [secret, &old, "/events"] {
        assert!(!journal.contains(kept_out), "{journal}");
    }
}

#[test]
fn where_a_hook_may_not_go_is_said_at_once() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.run(&["entity", "add", "acme"]);
    for (url, more, says) in [
        ("http://10.0.0.1/x", &[][..], "--allow-plain"),
        ("ftp://10.0.0.1/x", &[], "https://"),
        ("https://u:p@h.example/", &[], "user name"),
        ("https://h.example/", &["--entity", "nobody"], "nobody"),
        (
            "https://h.example/",
            &["--kind", "file.eaten"],
            "file.arrived",
        ),
        ("https://h.example/", &["--kind", "hook.test"], "never kept"),
        ("https://169.254.169.254/latest", &[], "credentials"),
        (
            "https://[::ffff:169.254.169.254]/",
            &[],
            "--allow-any-address",
        ),
        ("https://[64:ff9b:1::a9fe:a9fe]/", &[], "refused"),
    ] {
        let fixed = ["event", "hook", "add", "h", "--url", url];
        let refused = layover.run(&[&fixed[..], more].concat());
        assert!(!refused.ok(), "{url}: {refused}");
        assert!(refused.stderr.contains(says), "{url}: {refused}");
        assert!(!refused.stderr.contains("u:p"), "{refused}");
    }
    let fixed = ["event", "hook", "add", "cloud", "--url"];
    let meant = ["https://169.254.169.254/latest", "--allow-any-address"];
    layover.admin(&[&fixed[..], &meant].concat());
    let weak = [
        "event",
        "hook",
        "add",
        "weak",
        "--url",
        "https://h.example/",
    ];
    let refused = layover.run_with_input(&[&weak[..], &["--secret-stdin"]].concat(), "short\n");
    assert!(refused.stderr.contains("16"), "{refused}");
}
