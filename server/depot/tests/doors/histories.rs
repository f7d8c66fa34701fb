//! Random histories: whatever partners, operators and the clock did before, a
//! stored file goes when the pure rules say, and what is forecast is what the
//! sweep deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use layover_depot::{
    AccountChange, Completion, CopyRange, CopySource, FileState, ForecastQuestion, Hold, HoldState,
    RegistryError, Replace, Session, StoredFile, UploadMode, VfsError, VirtualPath,
};
use layover_retention::{
    Clock, FileTimes, Keep, KeepWish, PolicyLayers, RetentionPolicy, expires_at,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::foresight::{fetch, forecast, put};
use crate::world::{PASSWORD, World, acme, actor, at, keep, name, postgres_world, sqlite_world};

const HOUR: Duration = Duration::from_secs(3_600);

/// Histories on SQLite, in every run.
const ON_SQLITE: u32 = 40;

/// On PostgreSQL, where making the database takes most of the time.
const ON_POSTGRESQL: u32 = 8;

/// Names that files may have; the folder `deep` moves between `in` and `out`.
const FILES: [&str; 7] = [
    "/a",
    "/b",
    "/in/c",
    "/in/d",
    "/in/deep/e",
    "/out/f",
    "/out/deep/e",
];
const FOLDERS: [&str; 3] = ["/in", "/in/deep", "/out"];
/// Who shares the home.
const ACCOUNTS: [&str; 2] = ["alice", "bob"];

/// Who approves holds, in this order.
const OPERATORS: [&str; 2] = ["ann", "bob"];

/// What partners, operators and time do. Numbers choose among the names above.
#[derive(Clone, Debug)]
enum Act {
    Put {
        account: usize,
        file: usize,
    },
    Append(usize),
    Copy(usize, usize),
    Rename(usize, usize),
    MoveFolder,
    Remove(usize),
    Fetch(usize),
    AccountKeep {
        account: usize,
        days: Option<u64>,
    },
    CollectedKeep {
        account: usize,
        hours: Option<u64>,
    },
    EntityKeep(Option<u64>),
    FolderKeep {
        folder: usize,
        days: Option<u64>,
        collected_hours: Option<u64>,
    },
    NoFolderKeep(usize),
    /// On a file, a folder or (beyond both) the whole home.
    ProposeHold {
        on: usize,
        hours: u32,
        signatures: usize,
    },
    SignHold(usize),
    ReleaseHold(usize),
    Wait(u32),
    ClockBack(u32),
    Sweep,
}

fn act() -> impl Strategy<Value = Act> {
    let file = || 0..FILES.len();
    let folder = || 0..FOLDERS.len();
    let account = || 0..ACCOUNTS.len();
    let days = || option::of(1..8_u64);
    let hours = || option::of(1..60_u64);
    prop_oneof![
        6 => (account(), file()).prop_map(|(account, file)| Act::Put { account, file }),
        1 => file().prop_map(Act::Append),
        1 => (file(), file()).prop_map(|(from, to)| Act::Copy(from, to)),
        2 => (file(), file()).prop_map(|(from, to)| Act::Rename(from, to)),
        1 => proptest::strategy::Just(Act::MoveFolder),
        1 => file().prop_map(Act::Remove),
        2 => file().prop_map(Act::Fetch),
        1 => (account(), days()).prop_map(|(account, days)| Act::AccountKeep { account, days }),
        1 => (account(), hours())
            .prop_map(|(account, hours)| Act::CollectedKeep { account, hours }),
        1 => days().prop_map(Act::EntityKeep),
        1 => (folder(), days(), hours()).prop_map(|(folder, days, collected_hours)| {
            Act::FolderKeep { folder, days, collected_hours }
        }),
        1 => folder().prop_map(Act::NoFolderKeep),
        3 => (0..=FILES.len() + FOLDERS.len(), 1..300_u32, 0..4_usize)
            .prop_map(|(on, hours, signatures)| Act::ProposeHold { on, hours, signatures }),
        1 => (0..4_usize).prop_map(Act::SignHold),
        1 => (0..4_usize).prop_map(Act::ReleaseHold),
        4 => (1..60_u32).prop_map(Act::Wait),
        1 => (1..60_u32).prop_map(Act::ClockBack),
        1 => proptest::strategy::Just(Act::Sweep),
    ]
}

/// Some acts, then a forecast, which comes true.
#[derive(Clone, Debug)]
struct Round {
    acts: Vec<Act>,
    hours: u32,
    if_keep_days: Option<u64>,
}

fn round() -> impl Strategy<Value = Round> {
    (
        vec(act(), 1..25),
        1..200_u32,
        option::weighted(0.3, 1..8_u64),
    )
        .prop_map(|(acts, hours, if_keep_days)| Round {
            acts,
            hours,
            if_keep_days,
        })
}

/// The rules as operators have set them.
#[derive(Default)]
struct Rules {
    entity: Option<Keep>,
    accounts: BTreeMap<&'static str, KeepWish>,
    /// By path, so that the deeper come later.
    folders: BTreeMap<&'static str, KeepWish>,
}

impl Rules {
    fn of(&self, file: &StoredFile) -> RetentionPolicy {
        let path = file.path.to_string();
        let around = self
            .folders
            .iter()
            .filter(|(folder, _)| path.starts_with(&format!("{folder}/")));
        let uploader = file.uploaded_by.as_ref().unwrap();
        let layers = PolicyLayers {
            appliance: keep(5),
            max_keep: keep(30),
            entity: self.entity,
            account: self
                .accounts
                .get(uploader.as_str())
                .copied()
                .unwrap_or_default(),
            folder: around.fold(KeepWish::default(), |outer, (_, wish)| wish.or(outer)),
        };
        layers.effective()
    }
}

/// A home that two accounts share, and what was agreed on it.
struct Story {
    world: World,
    sessions: [Session; 2],
    rules: Rules,
}

fn in_hours(hours: Option<u64>) -> Option<Keep> {
    hours.map(|hours| Keep::from_secs(hours * 3_600).unwrap())
}

fn in_days(days: Option<u64>) -> Option<Keep> {
    days.map(keep)
}

fn chosen<T>(from: &[T], number: usize) -> Option<&T> {
    from.get(number.checked_rem(from.len())?)
}

/// A held file, or folder, refuses; nothing else does.
#[track_caller]
fn done_or_held<T: Debug>(result: Result<T, VfsError>) {
    assert!(
        matches!(result, Ok(_) | Err(VfsError::Held { .. })),
        "{result:?}"
    );
}

impl Story {
    async fn begin(world: World) -> Self {
        world
            .add("bob", |new| new.home = Some("alice".parse().unwrap()))
            .await;
        for operator in OPERATORS {
            world.add_operator(operator).await.unwrap();
        }
        let alice = world.login("alice", PASSWORD).await.unwrap();
        let bob = world.login("bob", PASSWORD).await.unwrap();
        for folder in FOLDERS {
            alice.make_dir(&at(folder)).await.unwrap();
        }
        Self {
            world,
            sessions: [alice, bob],
            rules: Rules::default(),
        }
    }

    /// Whether partners see something complete of that name.
    async fn is_there(&self, path: &VirtualPath) -> bool {
        let seen = self.sessions[0].stat(path).await;
        seen.is_ok_and(|seen| !seen.partial)
    }

    async fn has_folder_for(&self, path: &VirtualPath) -> bool {
        self.is_there(&path.dir()).await
    }

    async fn act(&mut self, act: &Act) {
        let [alice, bob] = self.sessions.clone();
        match *act {
            Act::Put { account, file } => {
                let path = at(FILES[file]);
                if self.has_folder_for(&path).await {
                    let session = [&alice, &bob][account];
                    done_or_held(put(session, &path, b"content").await);
                }
            }
            Act::Append(file) => {
                let path = at(FILES[file]);
                if self.is_there(&path).await {
                    done_or_held(append(&alice, &path).await);
                }
            }
            Act::Copy(from, to) => {
                let (from, to) = (at(FILES[from]), at(FILES[to]));
                let possible = self.is_there(&from).await && self.has_folder_for(&to).await;
                if from != to && possible {
                    done_or_held(copy(&bob, &from, &to).await);
                }
            }
            Act::Rename(from, to) => {
                let (from, to) = (at(FILES[from]), at(FILES[to]));
                let possible = self.is_there(&from).await && self.has_folder_for(&to).await;
                if from != to && possible {
                    done_or_held(alice.rename(&from, &to, Replace::Allow).await);
                }
            }
            Act::MoveFolder => {
                let (mut from, mut to) = (at("/in/deep"), at("/out/deep"));
                if !self.is_there(&from).await {
                    std::mem::swap(&mut from, &mut to);
                }
                done_or_held(alice.rename(&from, &to, Replace::Refuse).await);
            }
            Act::Remove(file) => {
                let path = at(FILES[file]);
                if self.is_there(&path).await {
                    done_or_held(alice.remove(&path).await);
                }
            }
            Act::Fetch(file) => {
                let path = at(FILES[file]);
                if self.is_there(&path).await {
                    fetch(&bob, &path).await;
                }
            }
            Act::Wait(hours) => self.world.clock.advance(HOUR * hours),
            Act::ClockBack(hours) => {
                let clock = &self.world.clock;
                clock.set(clock.now().saturating_sub(HOUR * hours));
            }
            Act::Sweep => {
                self.world.sweep().await;
            }
            _ => self.operate(act).await,
        }
    }

    /// The acts of operators.
    async fn operate(&mut self, act: &Act) {
        match *act {
            Act::AccountKeep { account, days } => {
                self.set_account_keep(ACCOUNTS[account], in_days(days))
                    .await;
            }
            Act::CollectedKeep { account, hours } => {
                let account = ACCOUNTS[account];
                let change = AccountChange {
                    collected_keep: Some(in_hours(hours)),
                    ..AccountChange::default()
                };
                let registry = self.world.depot.registry();
                let changed = registry
                    .change_account(&actor(), &name(account), &change)
                    .await;
                changed.unwrap();
                self.rules
                    .accounts
                    .entry(account)
                    .or_default()
                    .collected_keep = in_hours(hours);
            }
            Act::EntityKeep(days) => {
                let registry = self.world.depot.registry();
                let keep = in_days(days);
                let set = registry
                    .set_entity_keep(&actor(), &acme(), keep, None)
                    .await;
                set.unwrap();
                self.rules.entity = keep;
            }
            Act::FolderKeep {
                folder,
                days,
                collected_hours,
            } => {
                let wish = KeepWish {
                    keep: in_days(days),
                    collected_keep: in_hours(collected_hours),
                };
                if wish != KeepWish::default() {
                    self.set_folder_keep(FOLDERS[folder], wish).await;
                }
            }
            Act::NoFolderKeep(folder) => {
                let (registry, home) = (self.world.depot.registry(), "alice".parse().unwrap());
                let folder = FOLDERS[folder];
                if self.rules.folders.remove(folder).is_some() {
                    let removed = registry
                        .remove_folder_keep(&actor(), &home, &at(folder), "over")
                        .await;
                    removed.unwrap();
                }
            }
            Act::ProposeHold {
                on,
                hours,
                signatures,
            } => {
                let names = FILES.iter().chain(&FOLDERS).nth(on);
                let path = at(names.unwrap_or(&"/"));
                let until = self.world.clock.now().saturating_add(HOUR * hours);
                if self.is_there(&path).await {
                    let hold = self.world.propose(&path.to_string(), until).await;
                    for operator in OPERATORS.iter().take(signatures) {
                        self.world.sign(&hold, operator).await.unwrap();
                    }
                }
            }
            Act::SignHold(number) => {
                let proposed = self.holds(HoldState::Proposed).await;
                if let Some(hold) = chosen(&proposed, number) {
                    let operator = OPERATORS[hold.approvals.len()];
                    let signed = self.world.sign(hold, operator).await;
                    // A hold on a file that has gone waits for nobody.
                    assert!(
                        matches!(signed, Ok(_) | Err(RegistryError::HoldOver { .. })),
                        "{signed:?}"
                    );
                }
            }
            Act::ReleaseHold(number) => {
                if let Some(hold) = chosen(&self.holds(HoldState::Active).await, number) {
                    self.world.release(hold.id).await;
                }
            }
            ref act => unreachable!("{act:?} is a partner's or time's"),
        }
    }

    async fn set_account_keep(&mut self, account: &'static str, keep: Option<Keep>) {
        self.world.set_keep(account, keep).await;
        self.rules.accounts.entry(account).or_default().keep = keep;
    }

    async fn set_folder_keep(&mut self, folder: &'static str, wish: KeepWish) {
        self.world
            .set_folder(folder, wish.keep, wish.collected_keep)
            .await;
        self.rules.folders.insert(folder, wish);
    }

    /// Holds in this state whose time is not over.
    async fn holds(&self, state: HoldState) -> Vec<Hold> {
        let now = self.world.clock.now();
        let home = "alice".parse().unwrap();
        let holds = self.world.depot.registry().list_holds(Some(&home)).await;
        let mut holds = holds.unwrap();
        holds.retain(|hold| hold.state == state && hold.until > now);
        holds
    }

    async fn stored(&self) -> Vec<StoredFile> {
        let registry = self.world.depot.registry();
        let files = registry.list_files(&name("alice"), &at("/")).await;
        let mut files = files.unwrap();
        files.retain(|file| file.state == FileState::Stored);
        files
    }

    async fn paths(&self) -> BTreeSet<String> {
        let files = self.stored().await;
        files.iter().map(|file| file.path.to_string()).collect()
    }

    /// When each file goes is what the pure rules say of it.
    async fn check_expiries(&self) {
        for file in self.stored().await {
            let times = FileTimes {
                arrived_at: file.arrived_at.unwrap(),
                collected_at: file.collected_at,
                held_until: file.held_until,
            };
            let expected = expires_at(&times, &self.rules.of(&file));
            assert_eq!(file.expires_at, Some(expected), "{file:?}");
        }
    }

    /// A keep that was only tried out becomes the one that holds everywhere.
    async fn agree_on(&mut self, keep: Keep) {
        for account in ACCOUNTS {
            self.set_account_keep(account, Some(keep)).await;
        }
        for (folder, wish) in self.rules.folders.clone() {
            if wish.keep.is_some() {
                let wish = KeepWish {
                    keep: Some(keep),
                    ..wish
                };
                self.set_folder_keep(folder, wish).await;
            }
        }
    }

    async fn play(&mut self, round: &Round) {
        for act in &round.acts {
            self.act(act).await;
        }
        self.check_expiries().await;
        let span = HOUR * round.hours;
        let if_keep = in_days(round.if_keep_days);
        let question = ForecastQuestion {
            until: self.world.clock.now().saturating_add(span),
            if_keep,
        };
        let expected: BTreeSet<_> = forecast(&self.world.depot, &question)
            .await
            .into_iter()
            .collect();
        if let Some(keep) = if_keep {
            self.agree_on(keep).await;
            self.check_expiries().await;
        }
        let before = self.paths().await;
        self.world.clock.advance(span);
        self.world.sweep().await;
        let after = self.paths().await;
        let gone: BTreeSet<_> = before.difference(&after).cloned().collect();
        assert_eq!(gone, expected);
    }
}

async fn append(session: &Session, path: &VirtualPath) -> Result<(), VfsError> {
    let upload = session
        .plan_upload(path, UploadMode::Append)
        .await?
        .begin()
        .await?;
    upload.write_at(0, Bytes::from_static(b", more")).await?;
    upload.finish(Completion::Closed).await.map(drop)
}

async fn copy(session: &Session, from: &VirtualPath, to: &VirtualPath) -> Result<(), VfsError> {
    let mode = UploadMode::New { exclusive: false };
    let upload = session.plan_upload(to, mode).await?.begin().await?;
    let source = session.download(from).await?;
    let whole = CopyRange {
        from_offset: 0,
        to_offset: 0,
        length_bytes: u64::MAX,
    };
    upload
        .copy_from(CopySource::Published(&source), whole)
        .await?;
    source.forget();
    upload.finish(Completion::Closed).await.map(drop)
}

/// Plays random histories, and looks for a short one when one of them fails.
fn play<W: Future<Output = Option<World>>>(cases: u32, world: impl Fn() -> W) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let played = TestRunner::new(config).run(&vec(round(), 1..4), |rounds| {
        runtime.block_on(async {
            if let Some(world) = world().await {
                let mut story = Story::begin(world).await;
                for round in &rounds {
                    story.play(round).await;
                }
                story.world.depot.close().await;
            }
        });
        Ok(())
    });
    played.unwrap();
}

#[test]
fn a_forecast_is_what_the_sweep_deletes_whatever_happened_before() {
    play(ON_SQLITE, async || Some(sqlite_world().await));
}

#[test]
fn a_forecast_is_what_the_sweep_deletes_on_postgresql_as_well() {
    play(ON_POSTGRESQL, postgres_world);
}
