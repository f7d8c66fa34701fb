//! Live sessions: how many an account may have, what is told of them, and that they end, on
//! whichever node they are.

use std::thread;
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::content::Dice;
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, over_both_protocols};
use serde_json::Value;

over_both_protocols!(
    an_account_has_no_more_sessions_than_it_may,
    a_session_is_listed_with_how_it_is_secured_and_how_fast_it_moves,
);

/// The promise of five seconds, and what a busy machine may add to it.
const SOON: Duration = Duration::from_secs(5 + 10);

/// What takes four minutes at the slowest rate.
const MUCH: usize = 4 * 1024 * 1024;

fn listed(layover: &Layover) -> Vec<Value> {
    layover.rows(&["session", "list"])
}

/// The refusals of logins that the journal has, by reason.
fn refusals(layover: &Layover) -> Vec<String> {
    let entries = layover.rows(&["journal", "--kind", "login", "--limit", "0"]);
    let refused = entries.iter().filter(|entry| entry["outcome"] == "refused");
    refused
        .map(|entry| entry["detail"]["reason"].to_string())
        .collect()
}

fn an_account_has_no_more_sessions_than_it_may(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).set("gate", "ban_score", "1").prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.with(&["--max-sessions", "2"]).add();
    layover.start();
    let one = account.partner(&layover, protocol);
    let mut two = account.partner(&layover, protocol.other());
    // Each would be a ban, if it weighed anything.
    for way in [protocol, protocol.other(), protocol] {
        let refused = account.try_partner_at(way.address(&layover), way);
        assert!(refused.is_err(), "a third session over {way:?}");
    }
    for reason in refusals(&layover) {
        assert!(
            reason.contains("as many sessions as it may have (2)"),
            "{reason}"
        );
    }
    assert_eq!(refusals(&layover).len(), 3);
    assert_eq!(listed(&layover).len(), 2);
    drop(one);
    let three = wait::until("a place to be free", PATIENCE, || {
        let tried = account.try_partner_at(protocol.address(&layover), protocol);
        tried.ok()
    });
    two.put(b"/file", b"the others go on").expect("put");
    layover.admin(&["account", "set", "partner", "--max-sessions", "none"]);
    let _four = account.partner(&layover, protocol);
    drop(three);
    let shown = layover.json(&["account", "show", "partner"]);
    assert_eq!(shown["max_sessions"], Value::Null);
}

fn a_session_is_listed_with_how_it_is_secured_and_how_fast_it_moves(
    protocol: Protocol,
    engine: Engine,
) {
    let layover = Setup::new(engine).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.with(&["--upload-rate", "16KiB"]).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    let content = Dice::seeded(3).bytes(MUCH);
    thread::scope(|scope| {
        let put = scope.spawn(|| partner.put(b"/file", &content));
        let told = wait::until("a rate to be told", PATIENCE, || {
            let session = listed(&layover).into_iter().next()?;
            (session["moving"][0]["bytes_per_s"].as_u64() > Some(0)).then_some(session)
        });
        let names: &[&str] = match protocol {
            Protocol::Sftp => &["cipher", "kex"],
            Protocol::Ftps => &["tls", "suite"],
        };
        for name in names {
            let text = told["agreed"][name].as_str().expect("a name");
            assert!(!text.is_empty(), "{told}");
            let shown = layover.admin(&["session", "list"]).stdout;
            assert!(shown.contains(text) && shown.contains("/s"), "{shown}");
        }
        assert_eq!(told["account"], "partner");
        assert_eq!(told["protocol"], protocol.name());
        assert_eq!(told["moving"][0]["path"], "/file");
        layover.admin(&["session", "kill", told["id"].as_str().expect("an id")]);
        assert!(put.join().expect("the thread").is_err());
    });
}

/// Two nodes of one database, the second of which has the session.
struct Nodes {
    /// Goes first: the database is the other one's.
    second: Layover,
    first: Layover,
    account: Account,
}

impl Nodes {
    fn start(plan: &[&str]) -> Option<Self> {
        if !Engine::Postgres.available() {
            return None;
        }
        let first = Setup::new(Engine::Postgres).prepare();
        let account = first.account("partner").password(PASSWORD).with(plan).add();
        let second = Setup::beside(&first).prepare();
        first.start();
        second.start();
        Some(Self {
            second,
            first,
            account,
        })
    }

    /// `change` is made at the first node, while the second one's partner is in the middle of a
    /// transfer in each direction: both end within five seconds.
    fn end_by(&self, protocol: Protocol, change: impl FnOnce(&Self, &[Value])) {
        let content = Dice::seeded(3).bytes(MUCH);
        let mut sender = self.account.partner(&self.second, protocol);
        sender.put(b"/stored", &content).expect("put");
        let limits = ["--upload-rate", "16KiB", "--download-rate", "16KiB"];
        let set = ["account", "set", "partner"];
        self.first.admin(&[&set[..], &limits].concat());
        // Twice: a busy machine may be slow by itself, but not for as long as the promise is.
        let mut slow = 0;
        wait::until("the limits to count on the other node", PATIENCE, || {
            let timer = Timer::start();
            sender.put(b"/probe", &content[..96 * 1024]).expect("put");
            let is_slow = timer.elapsed() >= Duration::from_secs(3);
            slow = if is_slow { slow + 1 } else { 0 };
            (slow == 2).then_some(())
        });
        let mut receiver = self.account.partner(&self.second, protocol);
        thread::scope(|scope| {
            let up = scope.spawn(|| sender.put(b"/file", &content).map(drop));
            let down = scope.spawn(|| receiver.get(b"/stored").map(drop));
            let told = wait::until("both transfers to be told", PATIENCE, || {
                let told = listed(&self.first);
                let moves = |one: &Value| one["moving"][0]["moved_bytes"].as_u64() > Some(0);
                (told.len() == 2 && told.iter().all(moves)).then_some(told)
            });
            change(self, &told);
            let timer = Timer::start();
            for transfer in [up, down] {
                let ended = transfer.join();
                assert!(!ended.is_ok_and(|outcome| outcome.is_ok()), "it went on");
            }
            assert!(timer.elapsed() < SOON, "{:?}", timer.elapsed());
        });
        assert!(!self.first.homes().join("partner/file").exists());
        wait::until("the sessions to leave the list", PATIENCE, || {
            listed(&self.first).is_empty().then_some(())
        });
    }
}

#[test]
fn a_session_of_another_node_is_killed_in_the_middle_of_a_transfer() {
    for protocol in [Protocol::Sftp, Protocol::Ftps] {
        let Some(nodes) = Nodes::start(&[]) else {
            return;
        };
        nodes.end_by(protocol, |nodes, told| {
            for session in told {
                let id = session["id"].as_str().expect("an id");
                nodes.first.admin(&["session", "kill", id]);
            }
        });
    }
}

#[test]
fn disabling_an_account_ends_its_transfers_on_another_node() {
    for protocol in [Protocol::Sftp, Protocol::Ftps] {
        let Some(nodes) = Nodes::start(&[]) else {
            return;
        };
        nodes.end_by(protocol, |nodes, _| {
            nodes.first.admin(&["account", "disable", "partner"]);
        });
    }
}

#[test]
fn removing_a_network_ends_its_transfers_on_another_node() {
    for protocol in [Protocol::Sftp, Protocol::Ftps] {
        let Some(nodes) = Nodes::start(&[]) else {
            return;
        };
        nodes.end_by(protocol, |nodes, _| {
            let remove = ["account", "allow", "remove", "partner", "127.0.0.0/8"];
            nodes.first.admin(&remove);
        });
    }
}

#[test]
fn nodes_count_an_accounts_sessions_together() {
    let Some(nodes) = Nodes::start(&["--max-sessions", "2"]) else {
        return;
    };
    let (first, second) = (&nodes.first, &nodes.second);
    let _one = nodes.account.partner(first, Protocol::Sftp);
    let _two = nodes.account.partner(second, Protocol::Ftps);
    for node in [first, second] {
        for protocol in [Protocol::Sftp, Protocol::Ftps] {
            let refused = nodes
                .account
                .try_partner_at(protocol.address(node), protocol);
            assert!(refused.is_err(), "a third session over {protocol:?}");
        }
    }
}
