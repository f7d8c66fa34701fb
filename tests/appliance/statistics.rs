//! What `layover stats` tells of what real clients did.

use layover_tests::account::PASSWORD;
use layover_tests::content::write_file;
use layover_tests::http;
use layover_tests::partner_server::{PartnerServer, Plan, Software};
use layover_tests::skip::skip;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Protocol, Setup, on_both_engines, over_both_protocols};
use serde_json::{Value, json};

over_both_protocols!(each_transfer_counts_once_across_a_kill);

on_both_engines!(
    a_kill_in_the_middle_of_a_roll_up_counts_nothing_twice_and_loses_nothing,
    what_we_move_at_a_partners_server_counts_for_the_integration,
);

fn figures(layover: &Layover) -> Value {
    layover.json(&["stats", "account", "partner", "--days", "2"])
}

/// Requests and bytes of one direction: that came to their end, that did not.
fn of(figures: &Value, direction: &str) -> Value {
    let told = &figures[direction];
    json!([
        told["ok"]["requests"],
        told["ok"]["size_bytes"],
        told["failed"]["requests"]
    ])
}

fn each_transfer_counts_once_across_a_kill(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/one", &[b'x'; 2_000]).expect("put");
    partner.put(b"/two", b"another").expect("put");
    partner.get(b"/one").expect("get");
    partner.get(b"/nothing").expect_err("not there");
    let expected = |told: &Value| {
        let is_so = of(told, "uploads") == json!([2, 2_007, 0])
            && of(told, "downloads") == json!([1, 2_000, 1]);
        is_so.then_some(())
    };
    // Of a download, and of what never began, the entry is written after the answer.
    wait::until("the figures to be exact", PATIENCE, || {
        expected(&figures(&layover))
    });
    drop(partner);
    layover.kill_9();
    layover.start();
    let told = figures(&layover);
    assert_eq!(expected(&told), Some(()), "{told:#}");
    let days = told["per_day"].as_array().expect("days");
    assert_eq!((days.len(), &told["requests"]), (2, &json!(4)));
    assert_eq!(told["success_rate"], 0.75);

    let plain = layover.run(&["stats", "account", "partner"]).expect_ok();
    assert!(
        plain.stdout.contains("all\tupload\tok\t2\t2007\t"),
        "{plain}"
    );
    let unknown = layover.run(&["stats", "account", "partnre"]).expect_code(1);
    assert!(
        unknown.stderr.contains("did you mean `partner`?"),
        "{unknown}"
    );
    let usage = layover.run(&["stats", "account", "partner", "--days", "401"]);
    usage.expect_code(2);
}

/// Transfers of the test below.
const TRANSFERS: u64 = 5;

/// Holds a roll-up for ever between its sums and how far it came, once it has counted so
/// many transfers.
fn hold_the_roll_up(layover: &Layover) {
    let counted = format!("(SELECT SUM(requests) FROM daily_transfers) >= {TRANSFERS}");
    let script = match layover.engine() {
        Engine::Sqlite => format!(
            "CREATE VIEW endless AS WITH RECURSIVE n (i) AS \
             (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;\n\
             CREATE TRIGGER held BEFORE UPDATE OF seq ON rolled_up \
             WHEN NEW.name = 'daily_transfers' AND NEW.seq > OLD.seq AND {counted} \
             BEGIN SELECT COUNT(*) FROM endless; END;\n"
        ),
        Engine::Postgres => format!(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.name = 'daily_transfers' AND NEW.seq > OLD.seq AND {counted} \
             THEN PERFORM pg_sleep(3600); END IF; RETURN NEW; END $$;\n\
             CREATE TRIGGER held BEFORE UPDATE OF seq ON rolled_up \
             FOR EACH ROW EXECUTE FUNCTION hold();\n"
        ),
    };
    layover.sql(&script).expect_ok();
}

/// Whether it is held there now.
fn is_held(layover: &Layover) -> bool {
    match layover.engine() {
        // Nobody but a transaction that does not end keeps others from writing so long.
        Engine::Sqlite => (0..20).all(|_| {
            let tried = layover.sql(".timeout 0\nBEGIN IMMEDIATE;\nROLLBACK;\n");
            !tried.ok() && tried.stderr.contains("locked")
        }),
        Engine::Postgres => {
            let asleep = "SELECT COUNT(*) FROM pg_stat_activity \
                          WHERE datname = current_database() AND wait_event = 'PgSleep';\n";
            layover.sql(asleep).expect_ok().stdout.trim() == "1"
        }
    }
}

fn let_go(layover: &Layover) {
    let script = match layover.engine() {
        Engine::Sqlite => "DROP TRIGGER held;\nDROP VIEW endless;\n",
        // The server does not notice by itself that its client is gone.
        Engine::Postgres => {
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event = 'PgSleep';\n\
             DROP TRIGGER held ON rolled_up;\nDROP FUNCTION hold;\n"
        }
    };
    layover.sql(script).expect_ok();
}

fn rolled_up(layover: &Layover) -> u64 {
    let sum = layover.sql("SELECT COALESCE(SUM(requests), 0) FROM daily_transfers;\n");
    sum.expect_ok().stdout.trim().parse().expect("a number")
}

fn a_kill_in_the_middle_of_a_roll_up_counts_nothing_twice_and_loses_nothing(engine: Engine) {
    if engine == Engine::Sqlite && !std::path::Path::new("/usr/bin/sqlite3").exists() {
        skip("no sqlite3 (package sqlite3)");
        return;
    }
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").add();
    hold_the_roll_up(&layover);
    layover.start();
    let mut sftp = account.sftp(&layover);
    for number in 0..TRANSFERS {
        let path = format!("/{number}").into_bytes();
        sftp.put(&path, b"seven b").expect("put");
    }
    wait::until("a roll-up that has counted all", PATIENCE, || {
        is_held(&layover).then_some(())
    });
    assert!(rolled_up(&layover) < TRANSFERS, "it is not done");
    layover.kill_9();
    let_go(&layover);
    let expected = json!([TRANSFERS, 7 * TRANSFERS, 0]);
    assert_eq!(of(&figures(&layover), "uploads"), expected);

    layover.start();
    assert_eq!(of(&figures(&layover), "uploads"), expected);
    wait::until("everything to be rolled up", PATIENCE, || {
        (rolled_up(&layover) >= TRANSFERS).then_some(())
    });
    assert_eq!(rolled_up(&layover), TRANSFERS);
    assert_eq!(of(&figures(&layover), "uploads"), expected);
}

fn what_we_move_at_a_partners_server_counts_for_the_integration(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    layover.account("alice").add();
    let theirs = PartnerServer::start(Plan::of(Software::Libunftp)).expect("it is within us");
    theirs.introduce(&layover, &["--delete-then-rename", "yes"]);
    write_file(&theirs.files().join("one"), 2_000, 1);
    let sent = layover.scratch().join("two");
    write_file(&sent, 3_000, 2);
    let sent = sent.to_str().expect("text");
    let exchange = |verb: &str, what: &[&str]| {
        let fixed = ["integration", verb, "partner"];
        layover.run(&[&fixed[..], what].concat()).ok()
    };
    let told = || layover.json(&["stats", "integration", "partner"]);

    assert!(exchange("get", &["out", "one", "--to", "alice:/"]));
    assert!(exchange("put", &["in", sent]));
    // There already: refused before a byte went.
    assert!(!exchange("put", &["in", sent]));
    assert!(!exchange("get", &["out", "nothing", "--to", "alice:/"]));
    assert_eq!(of(&told(), "downloads"), json!([1, 2_000, 1]));
    assert_eq!(of(&told(), "uploads"), json!([1, 3_000, 1]));
    // And one that does not even log in.
    let wrong = ["integration", "set", "partner", "--password-stdin"];
    layover
        .run_with_input(&wrong, "not the password\n")
        .expect_ok();
    assert!(!exchange("put", &["in", sent, "--replace"]));
    assert_eq!(of(&told(), "uploads"), json!([1, 3_000, 2]));

    // By a flow, and rolled up.
    let password = format!("{}\n", theirs.password());
    layover.run_with_input(&wrong, &password).expect_ok();
    layover.start();
    let flow = ["flow", "add", "fetch", "--direction", "download"];
    let from = ["--integration", "partner", "--location", "out"];
    let to = ["--file", "one", "--home", "alice:/in"];
    layover.admin(&[&flow[..], &from, &to].concat());
    let home = layover.homes().join("alice/in");
    std::fs::create_dir_all(&home).expect("make the folder");
    layover.admin(&["flow", "run", "fetch"]);
    wait::until("the flow's file to be counted", PATIENCE, || {
        (of(&told(), "downloads") == json!([2, 4_000, 1])).then_some(())
    });
    wait::until("everything to be rolled up", PATIENCE, || {
        let told = http::get(layover.console_address(), "/metrics").body;
        let nothing_waits = "layover_queue_depth{queue=\"statistics\"} 0\n";
        told.contains(nothing_waits).then_some(())
    });
    assert_eq!(of(&told(), "downloads"), json!([2, 4_000, 1]));
    assert_eq!(of(&told(), "uploads"), json!([1, 3_000, 2]));
    let of_alice = layover.json(&["stats", "account", "alice"]);
    assert_eq!(of_alice["requests"], 0, "none of the partner's own");
}
