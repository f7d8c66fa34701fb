//! kill -9 at random moments: after each restart every file at its final name is whole, nothing
//! that was acknowledged is missing, and the ledger agrees with the tree.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::content::{Dice, Seal, sealed, unseal};
use layover_tests::load::heavy;
use layover_tests::partner::{Outcome, Partner, Why};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Protocol, Setup, on_both_engines, over_both_protocols, tree};

use crate::ledger;

/// Kills per run.
const KILLS: usize = 50;

/// Uploaders at work when the server is killed: in each round some over SFTP, the others over FTPS.
const UPLOADERS: u64 = 4;

/// Names each uploader has for itself; few, so that most uploads overwrite.
const OWN_NAMES: u64 = 5;

/// Names all uploaders fight for.
const SHARED_NAMES: u64 = 2;

/// A kill comes at most this long after each uploader's first acknowledgement.
const LATEST_KILL_MS: u64 = 250;

on_both_engines!(whatever_the_moment_of_a_kill_9_every_acknowledged_file_is_there_and_whole);

over_both_protocols!(a_crash_in_the_middle_of_an_overwrite_leaves_the_old_file);

fn whatever_the_moment_of_a_kill_9_every_acknowledged_file_is_there_and_whole(engine: Engine) {
    survive(engine, KILLS);
}

#[test]
#[ignore = "long: 50 more kills"]
fn fifty_more_kills_on_sqlite() {
    survive(Engine::Sqlite, KILLS);
}

#[test]
#[ignore = "long: 50 more kills"]
fn fifty_more_kills_on_postgresql() {
    if Engine::Postgres.available() {
        survive(Engine::Postgres, KILLS);
    }
}

fn survive(engine: Engine, kills: usize) {
    let _turn = heavy();
    let mut dice = Dice::thrown(&format!("kill -9 on {engine:?}"));
    let layover = Setup::new(engine)
        .set("gate", "ban_score", "1000000")
        .prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut uploaders: Vec<Uploader> = (0..UPLOADERS).map(Uploader::new).collect();
    let mut partner = account.partner(&layover, Protocol::Sftp);
    partner.make_dir(b"/shared").expect("make folder");
    for uploader in &uploaders {
        partner.make_dir(&uploader.folder()).expect("make folder");
    }
    drop(partner);
    let mut shared = SharedNames::default();
    for round in 0..kills {
        let at_work = AtomicU64::new(0);
        let span = Duration::from_millis(dice.below(LATEST_KILL_MS));
        let seeds: Vec<u64> = uploaders.iter().map(|_| dice.number()).collect();
        std::thread::scope(|scope| {
            let (account, shared, at_work) = (&account, &shared, &at_work);
            for (uploader, seed) in uploaders.iter_mut().zip(seeds) {
                let protocol = uploader.protocol(round);
                let server = protocol.address(&layover);
                scope.spawn(move || {
                    // A login is cut by no kill: all are at work when it comes.
                    let mut partner = account.partner_at(server, protocol);
                    uploader.work(&mut *partner, shared, at_work, seed);
                });
            }
            wait::until("every uploader's first acknowledgement", PATIENCE, || {
                (at_work.load(Ordering::Relaxed) == UPLOADERS).then_some(())
            });
            wait::let_pass(span);
            layover.kill_9();
        });
        layover.start();
        let home = layover.homes().join(&account.name);
        for uploader in &mut uploaders {
            let found = uploader.check_against(&home);
            found.unwrap_or_else(|what| panic!("round {round}, seed {}: {what}", dice.seed()));
        }
        let found = shared.check_against(&home);
        found.unwrap_or_else(|what| panic!("round {round}, seed {}: {what}", dice.seed()));
        ledger::agrees_with_tree(&layover, &account.name);
    }
    let total: u64 = uploaders.iter().map(|uploader| uploader.sequence).sum();
    assert!(
        total > kills as u64,
        "only {total} operations in {kills} rounds tested nothing"
    );
}

/// Which shared names were acknowledged to anyone: index to whether.
#[derive(Debug, Default)]
struct SharedNames {
    acknowledged: [AtomicU64; SHARED_NAMES as usize],
}

impl SharedNames {
    fn check_against(&mut self, home: &Path) -> Result<(), String> {
        for (index, acknowledged) in self.acknowledged.iter().enumerate() {
            let name = format!("shared/{index}");
            let found = read_sealed(home, &name)?;
            if found.is_none() && acknowledged.load(Ordering::Relaxed) > 0 {
                return Err(format!("{name} was acknowledged and is missing"));
            }
        }
        Ok(())
    }
}

/// What an uploader was doing when the server died.
#[derive(Debug, Clone, PartialEq, Eq)]
enum UnderWay {
    Put {
        name: String,
        sequence: u64,
    },
    Move {
        from: String,
        to: String,
        sequence: u64,
    },
    Remove {
        name: String,
    },
}

/// One partner's process: uploads, overwrites, moves into place and removes under its own names,
/// and remembers what the server acknowledged.
#[derive(Debug)]
struct Uploader {
    id: u64,
    sequence: u64,
    /// Name to sequence of the content the server acknowledged last.
    acknowledged: BTreeMap<String, u64>,
    under_way: Option<UnderWay>,
}

impl Uploader {
    fn new(id: u64) -> Self {
        Self {
            id,
            sequence: 0,
            acknowledged: BTreeMap::new(),
            under_way: None,
        }
    }

    fn folder(&self) -> Vec<u8> {
        format!("/own-{}", self.id).into_bytes()
    }

    /// Half of them by each protocol, and each of them by both in turn, so that what one left is
    /// overwritten by the other.
    fn protocol(&self, round: usize) -> Protocol {
        match (self.id + round as u64) % 2 {
            0 => Protocol::Sftp,
            _ => Protocol::Ftps,
        }
    }

    /// Works until the connection is lost.
    fn work(
        &mut self,
        partner: &mut dyn Partner,
        shared: &SharedNames,
        at_work: &AtomicU64,
        seed: u64,
    ) {
        let mut dice = Dice::seeded(seed);
        let mut is_first = true;
        loop {
            match self.one_operation(partner, shared, &mut dice) {
                Ok(()) if std::mem::take(&mut is_first) => {
                    at_work.fetch_add(1, Ordering::Relaxed);
                }
                Ok(()) => {}
                Err(refused) if refused.why == Why::Lost => return,
                Err(refused) => {
                    panic!("uploader {}: {:?}: {refused:?}", self.id, self.under_way)
                }
            }
        }
    }

    fn one_operation(
        &mut self,
        partner: &mut dyn Partner,
        shared: &SharedNames,
        dice: &mut Dice,
    ) -> Outcome {
        self.sequence += 1;
        let seal = Seal {
            uploader: self.id,
            sequence: self.sequence,
        };
        // Mostly small, sometimes larger than any buffer on the way.
        let payload_bytes = if dice.below(8) == 0 {
            400_000
        } else {
            dice.below(50_000)
        };
        let content = sealed(seal, usize::try_from(payload_bytes).expect("small"), dice);
        let name = format!("own-{}/{}", self.id, dice.below(OWN_NAMES));
        match dice.below(10) {
            0 => {
                let index = dice.below(SHARED_NAMES);
                partner.put(format!("/shared/{index}").as_bytes(), &content)?;
                let slot = &shared.acknowledged[usize::try_from(index).expect("small")];
                slot.fetch_add(1, Ordering::Relaxed);
            }
            1 if self.acknowledged.contains_key(&name) => {
                self.under_way = Some(UnderWay::Remove { name: name.clone() });
                partner.remove(format!("/{name}").as_bytes())?;
                self.acknowledged.remove(&name);
            }
            2 | 3 => {
                let from = format!("{name}.part");
                self.put(partner, &from, &content)?;
                self.under_way = Some(UnderWay::Move {
                    from: from.clone(),
                    to: name.clone(),
                    sequence: self.sequence,
                });
                partner.replace(format!("/{from}").as_bytes(), format!("/{name}").as_bytes())?;
                self.acknowledged.remove(&from);
                self.acknowledged.insert(name, self.sequence);
            }
            _ => self.put(partner, &name, &content)?,
        }
        self.under_way = None;
        Ok(())
    }

    fn put(&mut self, partner: &mut dyn Partner, name: &str, content: &[u8]) -> Outcome {
        let name = name.to_owned();
        self.under_way = Some(UnderWay::Put {
            name: name.clone(),
            sequence: self.sequence,
        });
        partner.put(format!("/{name}").as_bytes(), content)?;
        self.acknowledged.insert(name, self.sequence);
        Ok(())
    }

    /// Compares what lies under the own names with what was acknowledged, and takes what is found
    /// as the new truth where an operation was under way.
    fn check_against(&mut self, home: &Path) -> Result<(), String> {
        let under_way = self.under_way.take();
        let mut found = BTreeMap::new();
        for index in 0..OWN_NAMES {
            for suffix in ["", ".part"] {
                let name = format!("own-{}/{index}{suffix}", self.id);
                if let Some(seal) = read_sealed(home, &name)? {
                    if seal.uploader != self.id {
                        return Err(format!("{name} holds another uploader's content: {seal:?}"));
                    }
                    found.insert(name, seal.sequence);
                }
            }
        }
        let before = self.acknowledged.clone();
        let mut outcomes = vec![before.clone()];
        if let Some(under_way) = &under_way {
            let mut after = before;
            match under_way.clone() {
                UnderWay::Put { name, sequence } => drop(after.insert(name, sequence)),
                UnderWay::Move { from, to, sequence } => {
                    after.remove(&from);
                    after.insert(to, sequence);
                }
                UnderWay::Remove { name } => drop(after.remove(&name)),
            }
            outcomes.push(after);
        }
        if !outcomes.contains(&found) {
            return Err(format!(
                "found {found:?}, acknowledged {:?}, under way {under_way:?}",
                self.acknowledged
            ));
        }
        self.acknowledged = found;
        Ok(())
    }
}

fn read_sealed(home: &Path, name: &str) -> Result<Option<Seal>, String> {
    match std::fs::read(home.join(name)) {
        Ok(content) => unseal(&content)
            .map(Some)
            .map_err(|what| format!("{name}: {what}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// A crash in the middle of one large upload leaves nothing at its name, and the old file when
/// there was one.
fn a_crash_in_the_middle_of_an_overwrite_leaves_the_old_file(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut partners = [(); 2].map(|()| account.partner(&layover, protocol));
    let put = partners[0].put(b"/old", b"old content");
    put.expect("put");
    for (partner, name) in partners.iter_mut().zip([&b"/old"[..], b"/new"]) {
        partner
            .begin_upload(name, &[7; 300_000])
            .expect("begin an upload");
    }
    layover.kill_9();
    layover.start();
    let home = layover.homes().join("partner");
    assert_eq!(
        std::fs::read(home.join("old")).expect("read"),
        b"old content"
    );
    assert_eq!(tree::files(&home).len(), 1, "{:?}", tree::files(&home));
    ledger::agrees_with_tree(&layover, "partner");
    let mut partner = account.partner(&layover, protocol);
    assert_eq!(partner.get(b"/old").expect("get"), b"old content");
    assert_eq!(partner.names(b"/").expect("list"), [b"old".to_vec()]);
    used_after_crash(&layover);
}

/// The interrupted uploads do not stay charged as stored files.
fn used_after_crash(layover: &Layover) {
    let status = layover.json(&["retention", "status"]);
    assert_eq!(status["stored_files"], 1, "{status}");
    assert_eq!(status["stored_bytes"], 11, "{status}");
}
