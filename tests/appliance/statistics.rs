//! What `layover stats` tells of what real clients did.

use layover_tests::account::PASSWORD;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Protocol, Setup, over_both_protocols};
use serde_json::{Value, json};

over_both_protocols!(each_transfer_counts_once_across_a_kill);

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
