//! Sessions by the hundred that move data all the time: nothing fails, nothing grows.

use std::sync::Mutex;
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::load::{allow_open_files, heavy};
use layover_tests::partner::Refused;
use layover_tests::proc::{cpu_time, open_files, resident_kib};
use layover_tests::skip::skip;
use layover_tests::wait::{self, Timer};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, on_both_engines};

use crate::ledger;

/// Accounts that the sessions share.
const ACCOUNTS: usize = 20;

/// At most so many does a server open to PostgreSQL, and to SQLite fewer.
const DATABASE_CONNECTIONS: usize = 16;

/// Sizes of the files that each session moves in turn.
const SIZES: [usize; 4] = [1 << 10, 64 << 10, 256 << 10, 1 << 20];

/// What comes, and for how long.
struct Load {
    /// Half of them over SFTP by key, half over FTPS by password.
    sessions: usize,
    logins_per_s: u32,
    /// From the last login on.
    lasts: Duration,
}

on_both_engines!(a_hundred_sessions_move_data_and_none_fails);

fn a_hundred_sessions_move_data_and_none_fails(engine: Engine) {
    Load {
        sessions: 100,
        logins_per_s: 50,
        lasts: Duration::from_secs(5),
    }
    .run(engine);
}

const ENDURED: Load = Load {
    sessions: 1_000,
    logins_per_s: 50,
    lasts: Duration::from_secs(600),
};

#[test]
#[ignore = "long: 1,000 sessions for ten minutes"]
fn a_thousand_sessions_move_data_for_ten_minutes_on_sqlite() {
    ENDURED.run(Engine::Sqlite).assert_steady();
}

#[test]
#[ignore = "long: 1,000 sessions for ten minutes"]
fn a_thousand_sessions_move_data_for_ten_minutes_on_postgresql() {
    if Engine::Postgres.available() {
        ENDURED.run(Engine::Postgres).assert_steady();
    }
}

/// What a session asks for.
const VERBS: [&str; 4] = ["put", "get", "list", "remove"];

/// What one session did.
#[derive(Default)]
struct Done {
    bytes: u64,
    /// How long each took: put, get, compare, remove, and now and then list.
    rounds: Vec<Duration>,
    /// The same, of each verb.
    verbs: [Vec<Duration>; VERBS.len()],
}

/// What the load showed.
struct Shown {
    sizes: Sizes,
    /// Files of each session, sorted.
    turns: Vec<usize>,
}

impl Shown {
    /// The fewest files that a session moved, and those of the one in the middle.
    fn least_and_middle(&self) -> (usize, usize) {
        (self.turns[0], self.turns[self.turns.len() / 2])
    }

    /// Nothing grows, and nobody waits while others race ahead.
    fn assert_steady(&self) {
        self.sizes.assert_no_growth();
        let (least, middle) = self.least_and_middle();
        assert!(least >= middle / 2, "{least} files, others {middle}");
    }
}

/// The server's resident size in MiB, once a second, from the last login on.
struct Sizes(Vec<u64>);

impl Sizes {
    fn median(part: &[u64]) -> u64 {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    }

    /// Of the second fifth, when every session has met every size, and of the last one.
    fn early_and_late(&self) -> (u64, u64) {
        let fifth = self.0.len() / 5;
        let late = &self.0[self.0.len() - fifth - 1..];
        (Self::median(&self.0[fifth..=2 * fifth]), Self::median(late))
    }

    fn assert_no_growth(&self) {
        let (early, late) = self.early_and_late();
        assert!(
            late <= early + early / 10,
            "{early} MiB became {late} MiB: {:?}",
            self.0
        );
    }
}

/// What nobody else sends: a file that is mixed up with another is noticed.
fn content(session: usize, round: usize) -> Vec<u8> {
    let words = SIZES[round % SIZES.len()] / 8;
    let seed = ((session as u64) << 32) + ((round as u64) << 20);
    (0..words as u64)
        .flat_map(|word| (seed + word).to_be_bytes())
        .collect()
}

impl Load {
    fn run(&self, engine: Engine) -> Shown {
        let _turn = heavy();
        if let Err(why) = allow_open_files(3 * self.sessions as u64 + 500) {
            skip(&why);
            return Shown {
                sizes: Sizes(vec![0; 5]),
                turns: vec![0],
            };
        }
        // Addresses of its own: servers of other tests have the same data ports.
        let layover = Setup::new(engine)
            .set("ftps", "listen", "\"127.0.0.4\"")
            .set("sftp", "listen", "\"127.0.0.4\"")
            .set("gate", "max_connections_per_address", "5000")
            .prepare();
        let accounts: Vec<Account> = (0..ACCOUNTS)
            .map(|number| {
                let plan = layover.account(&format!("partner-{number}"));
                plan.password(PASSWORD).add()
            })
            .collect();
        layover.start();
        let files_before = open_files(layover.pid());
        let cpu_before = cpu_time(layover.pid());
        let ramp = Duration::from_secs(self.sessions as u64) / self.logins_per_s;

        let (done, faults) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let since = Timer::start();
        let mut sizes = Vec::new();
        std::thread::scope(|scope| {
            for number in 0..self.sessions {
                let (layover, done, faults) = (&layover, &done, &faults);
                let (since, account) = (&since, &accounts[number % ACCOUNTS]);
                let begins = Duration::from_secs(number as u64) / self.logins_per_s;
                let ends = ramp + self.lasts;
                std::thread::Builder::new()
                    .stack_size(512 << 10)
                    .spawn_scoped(scope, move || {
                        wait::let_pass(begins.saturating_sub(since.elapsed()));
                        match session(layover, account, number, || since.elapsed() < ends) {
                            Ok(did) => done.lock().expect("no panic").push(did),
                            Err(why) => faults.lock().expect("no panic").push(why),
                        }
                    })
                    .expect("a thread");
            }
            wait::let_pass(ramp.saturating_sub(since.elapsed()));
            while since.elapsed() < ramp + self.lasts {
                wait::let_pass(Duration::from_secs(1));
                sizes.push(resident_kib(layover.pid()) / 1024);
            }
        });
        let took = since.elapsed();
        let faults = faults.into_inner().expect("no panic");
        let some: Vec<_> = faults.iter().take(10).collect();
        assert!(faults.is_empty(), "{} failed: {some:#?}", faults.len());
        let done = done.into_inner().expect("no panic");
        assert_eq!(done.len(), self.sessions);
        for did in &done {
            assert!(!did.rounds.is_empty(), "a session got no turn");
        }

        wait::until("the sessions to end", Duration::from_secs(60), || {
            layover.rows(&["session", "list"]).is_empty().then_some(())
        });
        // What stays: the database's connections, and a handle on each home.
        let limit = files_before + DATABASE_CONNECTIONS + ACCOUNTS + 16;
        wait::until("descriptors to go", Duration::from_secs(60), || {
            (open_files(layover.pid()) <= limit).then_some(())
        });
        for account in &accounts {
            assert!(ledger::stored(&layover, &account.name).is_empty());
            ledger::agrees_with_tree(&layover, &account.name);
        }
        let cpu = cpu_time(layover.pid()).saturating_sub(cpu_before);
        let mut turns: Vec<usize> = done.iter().map(|did| did.rounds.len()).collect();
        turns.sort_unstable();
        let shown = Shown {
            sizes: Sizes(sizes),
            turns,
        };
        report(engine, &done, took, cpu, &shown);
        shown
    }
}

/// Logs in, and moves files while `goes_on`.
fn session(
    layover: &Layover,
    account: &Account,
    number: usize,
    goes_on: impl Fn() -> bool,
) -> Result<Done, String> {
    let protocol = [Protocol::Sftp, Protocol::Ftps][number % 2];
    let told = |what: &str, why: Refused| format!("{protocol:?} {number}: {what}: {why:?}");
    let mut partner = account
        .try_partner_at(protocol.address(layover), protocol)
        .map_err(|why| format!("{protocol:?} {number}: login: {why}"))?;
    let path = format!("/file-{number}");
    let path = path.as_bytes();
    let mut done = Done::default();
    for round in 0.. {
        let content = content(number, round);
        let since = Timer::start();
        let mut asked = Timer::start();
        let mut answered = |verb: usize| {
            done.verbs[verb].push(asked.elapsed());
            asked = Timer::start();
        };
        partner
            .put(path, &content)
            .map_err(|why| told("put", why))?;
        answered(0);
        let got = partner.get(path).map_err(|why| told("get", why))?;
        answered(1);
        if got != content {
            return Err(format!("{protocol:?} {number}: another content"));
        }
        if round % 8 == 0 {
            let names = partner.names(b"/").map_err(|why| told("list", why))?;
            answered(2);
            if !names.iter().any(|name| *name == path[1..]) {
                return Err(format!("{protocol:?} {number}: not in the listing"));
            }
        }
        partner.remove(path).map_err(|why| told("remove", why))?;
        answered(3);
        done.rounds.push(since.elapsed());
        done.bytes += 2 * content.len() as u64;
        if !goes_on() {
            break;
        }
    }
    Ok(done)
}

fn report(engine: Engine, done: &[Done], took: Duration, cpu: Duration, shown: &Shown) {
    let bytes: u64 = done.iter().map(|did| did.bytes).sum();
    let mut rounds: Vec<_> = done.iter().flat_map(|did| did.rounds.clone()).collect();
    rounds.sort();
    let at = |percent: usize| rounds[(rounds.len() - 1) * percent / 100];
    let slowest: Vec<String> = (0..VERBS.len())
        .map(|verb| {
            let all = done.iter().flat_map(|did| &did.verbs[verb]);
            format!("{} {:?}", VERBS[verb], all.max().expect("one of each"))
        })
        .collect();
    let (least, middle) = shown.least_and_middle();
    let gib = bytes as f64 / f64::from(1 << 30);
    let (early, late) = shown.sizes.early_and_late();
    println!(
        "{engine:?}: {} sessions, {took:?}: {} files there and back, {gib:.1} GiB, {:.1} MiB/s; a \
         file: median {:?}, 99 % {:?}, slowest {:?} ({}); a session: {middle} files, \
         the least {least}; the server: {:.1} CPU s/GiB, {early} MiB early, {late} MiB late",
        done.len(),
        rounds.len(),
        gib * 1024.0 / took.as_secs_f64(),
        at(50),
        at(99),
        at(100),
        slowest.join(", "),
        cpu.as_secs_f64() / gib,
    );
}
