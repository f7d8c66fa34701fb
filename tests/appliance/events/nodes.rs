//! Two nodes on one database tell one hook: each event once and in its order; when one of
//! them is killed, only what it was sending just then may come twice.

use std::collections::{BTreeMap, BTreeSet};

use layover_tests::receiver::{Received, Receiver};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup};
use serde_json::Value;

use super::LONG;

/// Requests of one node to a hook at the same time.
const AT_ONCE: usize = 4;

/// Files that change, as many as two nodes have requests.
const FILES: usize = 2 * AT_ONCE;

/// Two nodes that run, with an account and one hook.
struct World {
    /// Behind it, so that it goes first: the database is the first one's.
    second: Layover,
    first: Layover,
    partner: Account,
    receiver: Receiver,
}

impl World {
    fn start() -> Self {
        let first = Setup::new(Engine::Postgres).prepare();
        let partner = first.account("partner").add();
        let second = Setup::beside(&first).prepare();
        let receiver = Receiver::start(first.scratch());
        // Where both nodes find it: what is sealed is opened with a file of the node's own.
        let secret = first.scratch().join("secret");
        std::fs::write(&secret, "a secret of some length\n").expect("write the secret");
        let secret = format!("file:{}", secret.display());
        let url = receiver.url();
        let hook = ["event", "hook", "add", "crm", "--url", &url];
        let trusted = ["--ca-certificate", receiver.authority()];
        first.admin(&[&hook[..], &trusted, &["--secret", &secret]].concat());
        first.start();
        second.start();
        Self {
            second,
            first,
            partner,
            receiver,
        }
    }

    /// Each file is put, overwritten and removed, half of them through each node.
    fn change(&self, nodes: &[&Layover], round: usize) {
        let mut sessions: Vec<_> = nodes.iter().map(|node| self.partner.sftp(node)).collect();
        let count = sessions.len();
        for step in 0..3 {
            for file in 0..FILES {
                let path = format!("/{round}-{file}").into_bytes();
                let sftp = &mut sessions[file % count];
                match step {
                    2 => sftp.remove(&path).expect("remove"),
                    _ => sftp.put(&path, format!("{step}").as_bytes()).expect("put"),
                }
            }
        }
    }

    fn wait_until_all_is_delivered(&self, events: usize) {
        wait::until("everything to be delivered", LONG, || {
            let told = self.second.rows(&["event", "list", "--limit", "0"]).len();
            let waiting = self.second.rows(&["event", "list", "--undelivered"]);
            (told == events && waiting.is_empty()).then_some(())
        });
    }

    /// Ids of events by subject, as they happened.
    fn happened(&self) -> BTreeMap<String, Vec<String>> {
        let events = self.second.rows(&["event", "list", "--limit", "0"]);
        by_subject(events.iter())
    }

    /// The same as the receiver has them.
    fn received(&self) -> BTreeMap<String, Vec<String>> {
        let events: Vec<_> = self
            .receiver
            .received()
            .iter()
            .map(Received::event)
            .collect();
        by_subject(events.iter())
    }
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}

fn by_subject<'a>(events: impl Iterator<Item = &'a Value>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events {
        let subject = event["subject"].as_str().expect("a subject");
        found
            .entry(subject.to_owned())
            .or_default()
            .push(id_of(event));
    }
    found
}

/// What comes again at once is left out; those ids.
fn without_repeats(told: &mut BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut repeated = BTreeSet::new();
    for ids in told.values_mut() {
        let twice = ids.windows(2).filter(|pair| pair[0] == pair[1]);
        repeated.extend(twice.map(|pair| pair[0].clone()));
        ids.dedup();
    }
    repeated
}

/// Whoever takes over what the killed node was sending.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Successor {
    /// The node itself, which starts again.
    Itself,
    /// The other one, when the lease ends.
    Neighbour,
}

fn each_event_is_told_once_in_its_order(successor: Successor) {
    if !Engine::Postgres.available() {
        return;
    }
    let world = World::start();
    world.change(&[&world.first, &world.second], 0);
    world.wait_until_all_is_delivered(3 * FILES);
    assert_eq!(world.received(), world.happened());

    // One of them dies while requests of both are out.
    world.receiver.pause();
    let before = world.receiver.received().len();
    world.change(&[&world.second], 1);
    let node = world.first.json(&["status"])["server"]["node"].clone();
    let node = node.as_str().expect("a name");
    let out = format!(
        "SELECT COUNT(*) FROM deliveries WHERE lease_until_us IS NOT NULL AND state = 'due' \
         AND node_id = '{node}';\n"
    );
    wait::until("the first node to send", PATIENCE, || {
        let out = world.first.sql(&out).expect_ok().stdout;
        (out.trim() != "0").then_some(())
    });
    wait::until("as many requests as two nodes send", PATIENCE, || {
        (world.receiver.received().len() == before + FILES).then_some(())
    });
    world.first.kill_9();
    let on_the_way: BTreeSet<_> = {
        let sent = world.receiver.received().split_off(before);
        sent.iter().map(|one| id_of(&one.event())).collect()
    };
    world.receiver.go_on();
    if successor == Successor::Itself {
        world.first.start();
    }
    world.wait_until_all_is_delivered(6 * FILES);
    let mut told = world.received();
    let repeated = without_repeats(&mut told);
    assert_eq!(told, world.happened());
    assert!(
        repeated.is_subset(&on_the_way),
        "{repeated:?}, {on_the_way:?}"
    );
    assert!(!repeated.is_empty(), "those of the killed node come again");
}

#[test]
fn two_nodes_tell_each_event_once_and_what_one_was_sending_when_it_was_killed_again() {
    each_event_is_told_once_in_its_order(Successor::Itself);
}

#[test]
#[ignore = "long: waits for a lease of 90 s"]
fn what_a_killed_node_was_sending_is_sent_by_the_other() {
    each_event_is_told_once_in_its_order(Successor::Neighbour);
}
