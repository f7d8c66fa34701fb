//! Very many FTPS clients at once: at the ports, at the logins.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::Entry;
use layover_tests::ftps::raw::{Ftps, NoData, Version, Way};
use layover_tests::load::{allow_open_files, heavy, in_parallel};
use layover_tests::proc::peak_kib;
use layover_tests::skip::skip;
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Account, Engine, Layover, Setup};

use crate::ledger;

/// Clients who are busy with the network while others compute.
const HANDS: usize = 16;

fn serve(setup: Setup) -> (Layover, Account) {
    let setup = setup
        .set("gate", "max_connections", "5000")
        .set("gate", "max_half_open", "5000")
        .set("gate", "max_connections_per_address", "5000")
        .set("gate", "stall_timeout", "\"10m\"");
    let layover = setup.prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

fn log_in(layover: &Layover, way: Way) -> Result<Ftps, String> {
    let mut ftps = Ftps::connect(layover.ftps_address(way.entry), way)?;
    match ftps.log_in("partner", PASSWORD) {
        Ok(reply) if reply.is_good() => Ok(ftps),
        Ok(reply) => Err(reply.words()),
        Err(_) => Err("the connection ended".to_owned()),
    }
}

#[test]
fn f12_one_address_gets_every_port_then_425_and_another_address_still_gets_one() {
    all_ports(100);
}

#[test]
#[ignore = "long: logs in 1,000 times"]
fn f12_one_address_gets_1001_ports_then_425_and_another_address_still_gets_one() {
    all_ports(1001);
}

/// As many transfers as there are ports, all at once from one address. Not one port request fails
/// before, at 89 % of the range as little as at its last port.
fn all_ports(ports: u16) {
    let _turn = heavy();
    let count = usize::from(ports);
    if let Err(why) = allow_open_files(3 * count as u64 + 500) {
        return skip(&why);
    }
    // An address of its own: servers of other tests have the same ports.
    let last = 31_000 + ports - 1;
    let setup = Setup::new(Engine::Sqlite)
        .set("ftps", "listen", "\"127.0.0.3\"")
        .set("ftps", "passive_ports", &format!("\"31000-{last}\""));
    let (layover, _) = serve(setup);
    let under_way = Mutex::new(Vec::new());
    in_parallel(count, HANDS, |number| {
        let mut ftps = log_in(&layover, Way::default()).expect("log in");
        let mut data = ftps.begin(format!("STOR /{number}")).expect("a data port");
        assert!(data.is_resumed());
        assert!(data.send(b"content"));
        under_way.lock().expect("no panic").push((ftps, data));
    });
    let mut under_way = under_way.into_inner().expect("no panic");

    let mut one_more = log_in(&layover, Way::default()).expect("log in");
    let Err(NoData::Told(refusal)) = one_more.passive() else {
        panic!("more ports than there are");
    };
    assert_eq!(refusal.code, 425);
    let words = refusal.words();
    let range = format!("all {ports} data ports (31000-{last})");
    assert!(words.contains(&range), "{words}");
    assert!(words.contains("from your address"), "{words}");
    let entry = wait::until("the journal to tell of it", PATIENCE, || {
        let told = layover.rows(&["journal", "--limit", "0", "--kind", "system"]);
        told.into_iter()
            .find(|entry| entry["action"] == "ftps.no-data-port")
    });
    assert_eq!(entry["outcome"], "refused", "{entry}");
    assert_eq!(entry["detail"]["peer"], "127.0.0.1", "{entry}");

    let other = Way {
        from: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
        ..Way::default()
    };
    let mut neighbour = log_in(&layover, other).expect("log in");
    let data = neighbour.begin("STOR /neighbour").expect("a data port");
    data.end();
    assert_eq!(neighbour.reply().expect("a reply").code, 226);

    // A transfer that ends gives its port to whoever asks next.
    let (mut ftps, data) = under_way.pop().expect("a transfer");
    data.end();
    assert_eq!(ftps.reply().expect("a reply").code, 226);
    wait::until("the freed port", PATIENCE, || one_more.passive().ok());
    for (mut ftps, data) in under_way {
        data.end();
        assert_eq!(ftps.reply().expect("a reply").code, 226);
    }
    assert_eq!(ledger::stored(&layover, "partner").len(), count + 1);
    ledger::agrees_with_tree(&layover, "partner");
}

/// Clients who log in at once.
const AT_ONCE: usize = 200;

#[test]
fn logins_200_at_a_time_all_succeed() {
    many_logins(500);
}

#[test]
#[ignore = "long: logs in 10,000 times"]
fn ten_thousand_logins_200_at_a_time_all_succeed() {
    many_logins(10_000);
}

/// No handshake fails and no login is refused, however long the queue for the cores is; and password
/// checks never need more memory than one for each core.
fn many_logins(count: usize) {
    let _turn = heavy();
    if let Err(why) = allow_open_files(2 * AT_ONCE as u64 + 500) {
        return skip(&why);
    }
    let (layover, _) = serve(Setup::new(Engine::Sqlite));
    let (faults, times) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let all = Timer::start();
    in_parallel(count, AT_ONCE, |number| {
        let (entries, versions) = (
            [Entry::Explicit, Entry::Implicit],
            [Version::Tls13, Version::Tls12],
        );
        let way = Way {
            entry: entries[number % 2],
            version: versions[number / 2 % 2],
            ..Way::default()
        };
        let since = Timer::start();
        match log_in(&layover, way) {
            Ok(mut ftps) => {
                let took = since.elapsed();
                times.lock().expect("no panic").push(took);
                assert_eq!(ftps.ask("QUIT").expect("a reply").code, 221);
            }
            Err(why) => faults.lock().expect("no panic").push(why),
        }
    });
    let faults = faults.into_inner().expect("no panic");
    assert!(faults.is_empty(), "{} failed: {faults:?}", faults.len());
    let took = all.elapsed();
    let mut times = times.into_inner().expect("no panic");
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let memory = peak_kib(layover.pid()) / 1024;
    println!(
        "{count} logins, {AT_ONCE} at a time, in {took:?} ({:.0}/s): median {:?}, 95 % {:?}, \
         slowest {:?}; at most {memory} MiB",
        count as f64 / took.as_secs_f64(),
        at(50),
        at(95),
        at(100),
    );
    // A check takes 19 MiB: 200 at once, or what an allocator keeps for each thread that
    // ever made one, would be far above.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let limit = 250 + 19 * cores as u64;
    assert!(memory < limit, "{memory} MiB");
    wait::until("the sessions to end", Duration::from_secs(60), || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
}
