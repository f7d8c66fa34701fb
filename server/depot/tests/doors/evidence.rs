//! What was deleted can be proven, and whoever changes the proof is found out.

use bytes::Bytes;
use layover_depot::{
    Completion, Depot, EvidenceError, JournalKind, Options, Role, Session, UploadMode,
};
use layover_retention::{
    ChainHead, ChainName, Checkpoint, Clock, Fault, Flaw, Line, PublicKey, SEED_BYTES, SigningKey,
    Verified, Verifier, sweep,
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
async fn tamper(world: &World, statement: impl Into<String>) {
    let statement = sqlx::AssertSqlSafe(statement.into());
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
async fn pruned_certificates_leave_a_signed_beginning_and_the_rest_still_holds() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        for (path, content) in [("/first", &b"1"[..]), ("/second", b"2"), ("/third", b"3")] {
            put(&session, path, content).await;
            world.clock.advance(DAY);
        }
        let mut whole = Vec::new();
        for _ in 0..3 {
            world.clock.advance(2 * DAY);
            sweep(world.depot.shelf(), world.clock.now(), 10)
                .await
                .unwrap();
            seal(&world.depot).await;
            whole = lines(&world.depot, CERTIFICATES).await;
        }
        let before = world.clock.now().saturating_sub(3 * DAY);
        let evidence = world.depot.evidence();
        let all = records(&whole).len() as u64;
        assert_eq!(all, 3);
        let pruned = evidence.prune(CERTIFICATES, before).await.unwrap();
        assert!(0 < pruned && pruned < all, "{pruned} of {all}");
        assert_eq!(evidence.prune(CERTIFICATES, before).await.unwrap(), 0);
        let found = verified(&world.depot, CERTIFICATES).await.unwrap();
        assert_eq!(found.entries + pruned, all);
        // The journal is left alone, and what was exported before still holds.
        verified(&world.depot, JOURNAL).await.unwrap();
        let keys = evidence.public_keys().await.unwrap();
        assert_eq!(verify(&whole, &keys).unwrap().entries, all);
        // A file that goes later is in the same chain; nothing is deleted twice.
        put(&session, "/fourth", b"4").await;
        session.remove(&at("/fourth")).await.unwrap();
        seal(&world.depot).await;
        let later = verified(&world.depot, CERTIFICATES).await.unwrap();
        assert_eq!(later.entries, found.entries + 1);
    }
}

#[tokio::test]
async fn a_journal_that_nobody_has_followed_is_not_pruned() {
    for world in worlds().await {
        drop(world.login("alice", PASSWORD).await.unwrap());
        seal(&world.depot).await;
        let evidence = world.depot.evidence();
        let later = world.clock.now().saturating_add(DAY);
        assert_eq!(evidence.prune(JOURNAL, later).await.unwrap(), 0);
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
        assert!(!world.depot.statistics().roll_up().await.unwrap());
        let pruned = world
            .depot
            .evidence()
            .prune(JOURNAL, long_ago)
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

/// Bytes in the words of the engine.
fn blob(world: &World, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if world.url.starts_with("sqlite:") {
        format!("X'{digits}'")
    } else {
        format!("decode('{digits}', 'hex')")
    }
}

/// Removes a file of alice's that was never there before, and has it sealed or not.
async fn delete_one(world: &World, path: &str) {
    let session = world.login("alice", PASSWORD).await.unwrap();
    put(&session, path, b"1").await;
    session.remove(&at(path)).await.unwrap();
    session.end("done").await;
}

/// Writes another path into the first certificate, and computes the chain anew.
async fn forge(world: &World) -> ChainHead {
    let mut head = ChainHead::EMPTY;
    for line in lines(&world.depot, CERTIFICATES).await {
        let Line::Entry { seq, record, .. } = serde_json::from_str(&line).unwrap() else {
            continue;
        };
        let record = record.get().replace("/first", "/other");
        head = head.next(CERTIFICATES, record.as_bytes());
        assert_eq!(head.seq, seq);
        let hash = blob(world, head.hash.as_bytes());
        tamper(
            world,
            format!(
                "UPDATE certificates SET record = '{record}' WHERE id = (SELECT entry_id \
                 FROM chain_links WHERE chain = 'certificates' AND seq = {seq})"
            ),
        )
        .await;
        tamper(
            world,
            format!(
                "UPDATE chain_links SET hash = {hash} WHERE chain = 'certificates' AND seq = {seq}"
            ),
        )
        .await;
        tamper(
            world,
            format!("UPDATE chain_heads SET hash = {hash} WHERE chain = 'certificates'"),
        )
        .await;
    }
    tamper(
        world,
        "DELETE FROM chain_checkpoints WHERE chain = 'certificates'",
    )
    .await;
    head
}

async fn insert_checkpoint(world: &World, signed: &Checkpoint, pruned: u8) {
    let hash = blob(world, signed.head.hash.as_bytes());
    let signature = blob(world, signed.signature.as_bytes());
    let statement = format!(
        "INSERT INTO chain_checkpoints (chain, seq, hash, at_us, key_id, signature, pruned) \
         VALUES ('certificates', {}, {hash}, {}, '{}', {signature}, {pruned})",
        signed.head.seq,
        signed.at.as_micros(),
        signed.key_id,
    );
    tamper(world, statement).await;
}

/// Nothing is signed in the certificates' chain, and the journal, which goes on, says so once.
async fn refuses(world: &World, word: &str) {
    for _ in 0..20 {
        let refused = world.depot.evidence().seal().await;
        let Err(error @ EvidenceError::Altered { .. }) = refused else {
            continue;
        };
        assert!(error.to_string().contains(word), "{error}");
    }
    let told = world.journal(JournalKind::System).await;
    let told: Vec<_> = told
        .iter()
        .filter(|entry| entry.action == "chain.altered")
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].detail["chain"], "certificates");
    let reason = told[0].detail["reason"].as_str().unwrap();
    assert!(reason.contains(word), "{reason}");
    verified(&world.depot, JOURNAL).await.unwrap();
}

async fn reopened(world: World, meanwhile: fn(&std::path::Path)) -> World {
    world.depot.close().await;
    let World {
        folder,
        url,
        clock,
        depot,
    } = world;
    drop(depot);
    meanwhile(folder.path());
    let depot = Depot::open(options(folder.path(), &url, &clock, keep(5)))
        .await
        .unwrap();
    World {
        folder,
        url,
        clock,
        depot,
    }
}

#[tokio::test]
async fn a_chain_that_was_computed_anew_is_not_signed() {
    for world in worlds().await {
        for path in ["/first", "/second"] {
            delete_one(&world, path).await;
        }
        seal(&world.depot).await;
        forge(&world).await;
        delete_one(&world, "/third").await;
        refuses(&world, "the checkpoint of its last entry, 2, is gone").await;
        assert!(matches!(
            world.depot.evidence().export(CERTIFICATES).await,
            Err(EvidenceError::Unsigned(CERTIFICATES))
        ));
    }
}

#[tokio::test]
async fn a_forger_who_registers_a_key_of_his_own_meets_the_nodes_memory() {
    for world in worlds().await {
        for path in ["/first", "/second"] {
            delete_one(&world, path).await;
        }
        seal(&world.depot).await;
        let head = forge(&world).await;
        let own = SigningKey::from_seed(&[9; SEED_BYTES]).unwrap();
        let signed = own.checkpoint(CERTIFICATES, head, world.clock.now());
        insert_checkpoint(&world, &signed, 0).await;
        delete_one(&world, "/third").await;
        refuses(&world, "has no signature of a known key").await;
        let public = blob(&world, own.public().as_bytes());
        tamper(
            &world,
            format!(
                "INSERT INTO signing_keys (key_id, public_key, node_id, added_at_us) \
                 VALUES ('{}', {public}, 'mallory', 0)",
                own.public().id()
            ),
        )
        .await;
        let mut refused = Vec::new();
        for _ in 0..20 {
            refused.extend(world.depot.evidence().seal().await.err());
        }
        assert!(
            refused
                .iter()
                .any(|error| error.to_string().contains("entry 2 has another hash")),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_chain_that_went_back_is_not_signed_even_after_a_restart() {
    for world in worlds().await {
        delete_one(&world, "/first").await;
        seal(&world.depot).await;
        let early = lines(&world.depot, CERTIFICATES).await;
        let Line::Checkpoint(early) = serde_json::from_str(early.last().unwrap()).unwrap() else {
            panic!("the last line is a checkpoint");
        };
        delete_one(&world, "/second").await;
        seal(&world.depot).await;
        let hash = blob(&world, early.head.hash.as_bytes());
        for statement in [
            "DELETE FROM certificates WHERE id = (SELECT entry_id FROM chain_links \
             WHERE chain = 'certificates' AND seq = 2)",
            "DELETE FROM chain_links WHERE chain = 'certificates' AND seq = 2",
            "DELETE FROM chain_checkpoints WHERE chain = 'certificates'",
        ] {
            tamper(&world, statement).await;
        }
        tamper(
            &world,
            format!(
                "UPDATE chain_heads SET seq = 1, signed_seq = 1, hash = {hash} \
                 WHERE chain = 'certificates'"
            ),
        )
        .await;
        insert_checkpoint(&world, &early, 0).await;
        assert_eq!(
            verified(&world.depot, CERTIFICATES).await.unwrap().entries,
            1,
            "nothing in the database tells"
        );
        let kept = std::fs::read(world.folder.path().join("data/chain_heads.json")).unwrap();
        assert!(String::from_utf8(kept).unwrap().contains("\"seq\":2"));
        let world = reopened(world, |_| {}).await;
        delete_one(&world, "/third").await;
        let mut refused = Vec::new();
        for _ in 0..20 {
            refused.extend(world.depot.evidence().seal().await.err());
        }
        assert!(
            refused.iter().all(|error| error
                .to_string()
                .contains("it ends at entry 1, and this node has seen it end at entry 2")),
            "{refused:?}"
        );
        assert!(!refused.is_empty());
        assert_eq!(
            verified(&world.depot, CERTIFICATES).await.unwrap().entries,
            1,
            "nothing more is signed"
        );
    }
}

#[tokio::test]
async fn a_node_that_forgot_the_chain_believes_its_signature_and_says_so() {
    for world in worlds().await {
        delete_one(&world, "/first").await;
        seal(&world.depot).await;
        let believed = |entries: Vec<layover_depot::JournalEntry>| {
            let chains = entries
                .iter()
                .filter(|entry| entry.action == "chain.believed")
                .map(|entry| entry.detail["chain"].as_str().unwrap().to_owned());
            chains.collect::<Vec<_>>()
        };
        assert!(believed(world.journal(JournalKind::System).await).is_empty());
        let forget = |folder: &std::path::Path| {
            std::fs::remove_file(folder.join("data/chain_heads.json")).unwrap()
        };
        let world = reopened(world, forget).await;
        delete_one(&world, "/second").await;
        seal(&world.depot).await;
        assert_eq!(
            verified(&world.depot, CERTIFICATES).await.unwrap().entries,
            2
        );
        assert_eq!(
            believed(world.journal(JournalKind::System).await),
            ["certificates", "journal"]
        );
    }
}

#[tokio::test]
async fn servers_extend_what_the_others_signed() {
    let Some(world) = crate::world::postgres_world().await else {
        eprintln!("skipped: no PostgreSQL");
        return;
    };
    let other = Options {
        data_dir: world.folder.path().join("other"),
        ..options(world.folder.path(), &world.url, &world.clock, keep(5))
    };
    let other = Depot::open(other).await.unwrap();
    for (turn, path) in ["/a", "/b", "/c", "/d"].into_iter().enumerate() {
        delete_one(&world, path).await;
        seal(if turn % 2 == 0 { &world.depot } else { &other }).await;
    }
    let found = verified(&other, CERTIFICATES).await.unwrap();
    assert_eq!(found.entries, 4);
    assert_eq!(other.evidence().public_keys().await.unwrap().len(), 2);

    // What one prunes, the other lets go when it would have done so itself.
    let keeps = [&world.depot, &other].map(Depot::evidence);
    for evidence in keeps {
        evidence.keep(CERTIFICATES, DAY);
    }
    seal(&world.depot).await;
    world.clock.advance(2 * DAY);
    let before = world.clock.now().saturating_sub(DAY);
    assert_eq!(
        other.evidence().prune(CERTIFICATES, before).await.unwrap(),
        4
    );
    delete_one(&world, "/e").await;
    seal(&world.depot).await;
    seal(&other).await;
    assert_eq!(verified(&other, CERTIFICATES).await.unwrap().entries, 1);
    other.close().await;
}

async fn register(world: &World, key: &SigningKey) {
    let public = blob(world, key.public().as_bytes());
    let statement = format!(
        "INSERT INTO signing_keys (key_id, public_key, node_id, added_at_us) \
         VALUES ('{}', {public}, 'mallory', 0)",
        key.public().id()
    );
    tamper(world, statement).await;
}

// Found by an attacker: a pruning signed by a key of his own hid that everything was gone.
#[tokio::test]
async fn a_forgers_pruning_takes_nothing_that_is_not_old_enough() {
    for world in worlds().await {
        for path in ["/first", "/second"] {
            delete_one(&world, path).await;
        }
        seal(&world.depot).await;
        let own = SigningKey::from_seed(&[9; SEED_BYTES]).unwrap();
        register(&world, &own).await;
        for table in ["chain_links", "chain_checkpoints"] {
            let statement = format!("DELETE FROM {table} WHERE chain = 'certificates'");
            tamper(&world, statement).await;
        }
        tamper(&world, "DELETE FROM certificates").await;
        let head = ChainHead {
            seq: 3,
            ..ChainHead::EMPTY
        };
        let signed = own.pruning(CERTIFICATES, head, world.clock.now());
        insert_checkpoint(&world, &signed, 1).await;
        let hash = blob(&world, head.hash.as_bytes());
        tamper(
            &world,
            format!(
                "UPDATE chain_heads SET seq = 3, signed_seq = 3, hash = {hash} \
                 WHERE chain = 'certificates'"
            ),
        )
        .await;
        delete_one(&world, "/third").await;
        refuses(&world, "nobody may have done that yet").await;
        let met = world.journal(JournalKind::System).await;
        let met: Vec<_> = met
            .iter()
            .filter(|entry| entry.action == "chain.key")
            .collect();
        assert_eq!(met.len(), 1, "a key that nobody knows is told of");
        assert_eq!(met[0].detail["key"], own.public().id().as_str());
        let altered = world.depot.evidence().altered().await;
        assert!(matches!(&altered[..], [(CERTIFICATES, _)]), "{altered:?}");
        // A prune of our own signs nothing on top of it either.
        let now = world.clock.now();
        let pruned = world.depot.evidence().prune(CERTIFICATES, now).await;
        assert!(matches!(pruned, Err(EvidenceError::Altered { .. })));
    }
}

#[tokio::test]
async fn whoever_stops_the_counting_is_found_out_and_the_other_chain_goes_on() {
    for (statement, word) in [
        (
            "UPDATE chain_heads SET settled_id = 1000000, last_id = 1000000 \
             WHERE chain = 'certificates'",
            "entry number 1000000 has its place",
        ),
        (
            "UPDATE chain_heads SET settled_id = last_id + 1 WHERE chain = 'certificates'",
            "more entries are settled than have a place",
        ),
        (
            "INSERT INTO chain_links (chain, seq, entry_id, hash) SELECT chain, seq + 5, 99, hash \
             FROM chain_links WHERE chain = 'certificates' AND seq = 1",
            "entry 6 has a place behind its end, 2",
        ),
        (
            "UPDATE chain_heads SET hash = SUBSTR(hash, 1, 1) WHERE chain = 'certificates'",
            "an unusable hash",
        ),
    ] {
        for world in worlds().await {
            for path in ["/first", "/second"] {
                delete_one(&world, path).await;
            }
            seal(&world.depot).await;
            tamper(&world, statement).await;
            delete_one(&world, "/third").await;
            refuses(&world, word).await;
        }
    }
}

#[tokio::test]
async fn an_ordinary_checkpoint_is_no_beginning() {
    for world in worlds().await {
        delete_one(&world, "/first").await;
        seal(&world.depot).await;
        world.clock.advance(DAY);
        delete_one(&world, "/second").await;
        seal(&world.depot).await;
        for statement in [
            "DELETE FROM certificates WHERE id = (SELECT entry_id FROM chain_links \
             WHERE chain = 'certificates' AND seq = 1)",
            "DELETE FROM chain_links WHERE chain = 'certificates' AND seq = 1",
            "UPDATE chain_checkpoints SET pruned = 1 WHERE chain = 'certificates' AND seq = 1",
        ] {
            tamper(&world, statement).await;
        }
        let flaw = verified(&world.depot, CERTIFICATES).await.unwrap_err();
        assert_eq!(flaw.fault, Fault::NotPruned { last: 1 });
    }
}

#[tokio::test]
async fn pruning_signs_for_nothing_that_somebody_took_away_or_aged() {
    // Column or record, a young entry does not become old; a missing one is not.
    let changes = [
        (
            "DELETE FROM certificates WHERE id = (SELECT entry_id FROM chain_links \
             WHERE chain = 'certificates' AND seq = 2)",
            "entry 2 is missing",
        ),
        (
            "DELETE FROM chain_links WHERE chain = 'certificates' AND seq = 1",
            "entry 1 is missing",
        ),
        (
            "UPDATE certificates SET record = REPLACE(record, '2026-11-2', '2006-11-2')",
            "entry 1 was changed",
        ),
    ];
    for (statement, word) in changes {
        for world in worlds().await {
            for path in ["/first", "/second", "/third"] {
                delete_one(&world, path).await;
            }
            seal(&world.depot).await;
            tamper(&world, statement).await;
            let before = world.clock.now().saturating_add(DAY);
            let refused = world.depot.evidence().prune(CERTIFICATES, before).await;
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            let told = world.journal(JournalKind::System).await;
            let told = told.iter().find(|entry| entry.action == "chain.altered");
            assert!(
                told.unwrap().detail["reason"]
                    .as_str()
                    .unwrap()
                    .contains(word)
            );
        }
    }
}

#[tokio::test]
async fn the_age_of_an_entry_is_what_was_hashed_and_the_journal_tells_what_went() {
    for world in worlds().await {
        delete_one(&world, "/first").await;
        world.clock.advance(DAY);
        let before = world.clock.now();
        delete_one(&world, "/second").await;
        seal(&world.depot).await;
        tamper(&world, "UPDATE certificates SET at_us = 0").await;
        let evidence = world.depot.evidence();
        assert_eq!(evidence.prune(CERTIFICATES, before).await.unwrap(), 1);
        assert_eq!(evidence.prune(CERTIFICATES, before).await.unwrap(), 0);
        assert_eq!(
            verified(&world.depot, CERTIFICATES).await.unwrap().entries,
            1
        );
        let told = world.journal(JournalKind::System).await;
        let told: Vec<_> = told
            .iter()
            .filter(|entry| entry.action == "chain.prune")
            .collect();
        assert_eq!(told.len(), 1);
        let detail = &told[0].detail;
        assert_eq!(detail["chain"], "certificates");
        assert_eq!(
            (&detail["entries"], &detail["first"], &detail["last"]),
            (&1.into(), &1.into(), &1.into())
        );
    }
}
