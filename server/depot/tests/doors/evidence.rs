//! What was deleted can be proven, and whoever changes the proof is found out.

use bytes::Bytes;
use layover_depot::{Completion, Depot, EvidenceError, Options, Role, Session, UploadMode};
use layover_retention::{
    ChainName, Clock, Fault, Flaw, Line, PublicKey, Verified, Verifier, sweep,
};
use sqlx::{Connection, Executor};

use crate::world::{DAY, PASSWORD, World, at, keep, options, worlds};

const CERTIFICATES: ChainName = ChainName::Certificates;
const JOURNAL: ChainName = ChainName::Journal;

pub(crate) async fn seal(depot: &Depot) {
    // Enough rounds for a thorough one.
    for _ in 0..20 {
        while depot.evidence().seal().await.unwrap() {}
    }
}

async fn lines(depot: &Depot, chain: ChainName) -> Vec<String> {
    let evidence = depot.evidence();
    let mut shard = evidence.export(chain).await.unwrap();
    let mut lines = Vec::new();
    loop {
        lines.extend(shard.lines.iter().map(|line| line.to_text().unwrap()));
        if shard.is_last {
            return lines;
        }
        shard = evidence.export_next(chain, &shard).await.unwrap();
    }
}

fn verify(lines: &[String], keys: &[PublicKey]) -> Result<Verified, Flaw> {
    let mut verifier = Verifier::new(keys);
    for line in lines {
        verifier.line(line.as_bytes())?;
    }
    verifier.end()
}

pub(crate) async fn verified(depot: &Depot, chain: ChainName) -> Result<Verified, Flaw> {
    let keys = depot.evidence().public_keys().await.unwrap();
    verify(&lines(depot, chain).await, &keys)
}

fn records(lines: &[String]) -> Vec<serde_json::Value> {
    let entries = lines
        .iter()
        .filter_map(|line| match serde_json::from_str(line).unwrap() {
            Line::Entry { record, .. } => Some(serde_json::from_str(record.get()).unwrap()),
            Line::Chain { .. } | Line::Checkpoint(_) => None,
        });
    entries.collect()
}

async fn put(session: &Session, path: &str, content: &'static [u8]) {
    let mode = UploadMode::New { exclusive: false };
    let permit = session.plan_upload(&at(path), mode).await.unwrap();
    let upload = permit.begin().await.unwrap();
    upload
        .write_at(0, Bytes::from_static(content))
        .await
        .unwrap();
    upload.finish(Completion::Closed).await.unwrap();
}

/// Does to the database what no Layover does.
async fn tamper(world: &World, statement: &'static str) {
    if world.url.starts_with("sqlite:") {
        let mut connection = sqlx::SqliteConnection::connect(&world.url).await.unwrap();
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(&world.url).await.unwrap();
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn every_deletion_has_one_certificate_that_says_what_went_and_why() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        for (path, content) in [
            ("/old", "12345"),
            ("/mine", "1"),
            ("/twice", "1"),
            ("/twice", "22"),
        ] {
            put(&session, path, content.as_bytes()).await;
        }
        session.remove(&at("/mine")).await.unwrap();
        world.clock.advance(6 * DAY);
        for _ in 0..2 {
            sweep(world.depot.shelf(), world.clock.now(), 100)
                .await
                .unwrap();
        }
        seal(&world.depot).await;
        let lines = lines(&world.depot, CERTIFICATES).await;
        let keys = world.depot.evidence().public_keys().await.unwrap();
        assert_eq!(verify(&lines, &keys).unwrap().entries, 4);
        let mut found: Vec<_> = records(&lines)
            .iter()
            .map(|record| {
                assert_eq!(record["entity"], "acme");
                assert_eq!(record["account"], "alice");
                assert_eq!(record["home"], "alice");
                assert_eq!(record["arrived_at"], "2026-11-21T04:00:00Z");
                assert_eq!(record["expires_at"], "2026-11-26T04:00:00Z");
                format!(
                    "{} {} {} {}",
                    record["path"], record["size_bytes"], record["cause"], record["deleted_at"]
                )
            })
            .collect();
        found.sort();
        let expected = [
            "\"/mine\" 1 \"removed\" \"2026-11-21T04:00:00Z\"",
            "\"/old\" 5 \"expired\" \"2026-11-27T04:00:00Z\"",
            "\"/twice\" 1 \"replaced\" \"2026-11-21T04:00:00Z\"",
            "\"/twice\" 2 \"expired\" \"2026-11-27T04:00:00Z\"",
        ];
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn whoever_changes_the_journal_in_the_database_is_found_out() {
    type IsNamed = fn(&Fault) -> bool;
    let changed: [(&str, IsNamed); 5] = [
        (
            "UPDATE journal SET account = 'mallory' WHERE id = 2",
            |fault| matches!(fault, Fault::Changed { seq: 2 }),
        ),
        (
            "UPDATE journal SET at_us = at_us + 1 WHERE id = 2",
            |fault| matches!(fault, Fault::Changed { seq: 2 }),
        ),
        ("DELETE FROM journal WHERE id = 2", |fault| {
            matches!(fault, Fault::Missing { first: 2, last: 2 })
        }),
        (
            "DELETE FROM chain_links WHERE chain = 'journal' AND seq = \
             (SELECT MAX(seq) FROM chain_links WHERE chain = 'journal')",
            |fault| matches!(fault, Fault::Missing { .. }),
        ),
        (
            "UPDATE chain_checkpoints SET at_us = at_us + 1000000 WHERE chain = 'journal'",
            |fault| matches!(fault, Fault::BadSignature { .. }),
        ),
    ];
    for (statement, is_named) in changed {
        for world in worlds().await {
            drop(world.login("alice", PASSWORD).await.unwrap());
            seal(&world.depot).await;
            verified(&world.depot, JOURNAL).await.unwrap();
            tamper(&world, statement).await;
            let flaw = verified(&world.depot, JOURNAL).await.unwrap_err();
            assert!(is_named(&flaw.fault), "{statement}: {flaw}");
        }
    }
}

#[tokio::test]
async fn an_entry_that_was_slipped_in_is_named() {
    for world in worlds().await {
        drop(world.login("alice", PASSWORD).await.unwrap());
        world.clock.advance(DAY);
        seal(&world.depot).await;
        assert!(
            world
                .depot
                .evidence()
                .intruders(JOURNAL)
                .await
                .unwrap()
                .is_empty()
        );
        let slip_in = if world.url.starts_with("sqlite:") {
            "INSERT INTO journal (id, at_us, kind, action, outcome, node_id, detail) \
             VALUES (-5, 0, 'login', 'login', 'ok', 'here', '{}')"
        } else {
            "INSERT INTO journal (id, at_us, kind, action, outcome, node_id, detail) \
             OVERRIDING SYSTEM VALUE VALUES (-5, 0, 'login', 'login', 'ok', 'here', '{}')"
        };
        tamper(&world, slip_in).await;
        seal(&world.depot).await;
        verified(&world.depot, JOURNAL).await.unwrap();
        assert_eq!(
            world.depot.evidence().intruders(JOURNAL).await.unwrap(),
            [-5]
        );
    }
}

#[tokio::test]
async fn a_pruned_journal_still_holds() {
    for world in worlds().await {
        drop(world.login("alice", PASSWORD).await.unwrap());
        seal(&world.depot).await;
        let before = verified(&world.depot, JOURNAL).await.unwrap();
        world.clock.advance(10 * DAY);
        drop(world.login("alice", PASSWORD).await.unwrap());
        seal(&world.depot).await;
        let long_ago = world.clock.now().saturating_sub(DAY);
        let pruned = world
            .depot
            .evidence()
            .prune_journal(long_ago)
            .await
            .unwrap();
        // The logout of the first session may have come after the last look.
        assert!(pruned >= before.entries, "{pruned} of {before:?}");
        let after = verified(&world.depot, JOURNAL).await.unwrap();
        assert_eq!(after.first_seq, pruned + 1);
        assert!(after.entries > 0);
    }
}

#[tokio::test]
async fn a_tool_signs_nothing_and_reads_everything() {
    for world in worlds().await {
        let tool = Options {
            role: Role::Visitor,
            ..options(world.folder.path(), &world.url, &world.clock, keep(5))
        };
        let tool = Depot::open(tool).await.unwrap();
        assert!(matches!(
            tool.evidence().seal().await,
            Err(EvidenceError::NoKey)
        ));
        let nothing = tool.evidence().export(CERTIFICATES).await;
        assert!(matches!(
            nothing,
            Err(EvidenceError::NothingSigned(CERTIFICATES))
        ));
        seal(&world.depot).await;
        verified(&tool, JOURNAL).await.unwrap();
        tool.close().await;
    }
}

#[tokio::test]
async fn a_server_that_ends_signs_what_is_left() {
    for world in worlds().await {
        drop(world.login("alice", PASSWORD).await.unwrap());
        world.depot.close().await;
        let World {
            folder,
            url,
            clock,
            depot,
        } = world;
        drop(depot);
        let options = options(folder.path(), &url, &clock, keep(5));
        let depot = Depot::open(options).await.unwrap();
        let journal = verified(&depot, JOURNAL).await.unwrap();
        assert!(journal.entries >= 3, "{journal:?}");
        let keys = depot.evidence().public_keys().await.unwrap();
        assert_eq!(keys.len(), 1, "the node keeps its key");
        depot.close().await;
    }
}
