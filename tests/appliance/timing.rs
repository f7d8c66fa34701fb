//! How long a refusal takes says nothing of its reason (G01, G03), by the two-sample
//! Kolmogorov-Smirnov test.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::Entry;
use layover_tests::ftps::raw::{Ftps, Version, Way};
use layover_tests::load::heavy;
use layover_tests::ssh::Ssh;
use layover_tests::wait::Timer;
use layover_tests::{Engine, Layover, Protocol, Setup};

mod g01_g03_a_refusal_takes_as_long_whatever_its_reason {
    use super::{Engine, Protocol, compare};

    #[test]
    #[ignore = "long: refuses 1,600 logins, and wants a quiet machine"]
    fn by_sftp() {
        compare(Protocol::Sftp, Engine::Sqlite);
    }

    #[test]
    #[ignore = "long: refuses 1,600 logins, and wants a quiet machine"]
    fn by_ftps() {
        compare(Protocol::Ftps, Engine::Sqlite);
    }

    #[test]
    #[ignore = "long: refuses 1,600 logins, and wants a quiet machine"]
    fn by_sftp_on_postgresql() {
        if Engine::Postgres.available() {
            compare(Protocol::Sftp, Engine::Postgres);
        }
    }
}

const ATTEMPTS: usize = 400;

/// 1.95 * sqrt(2 / 400): of two equal distributions one pair in a thousand is further apart
/// (Knuth, The Art of Computer Programming 2, 3.3.1).
const FURTHEST: f64 = 0.138;

const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whom, with which password; the first is what the others are held against.
const REASONS: [(&str, &str, &str); 4] = [
    ("wrong password", "partner", "wrong"),
    ("unknown account", "nobody", PASSWORD),
    ("another network", "distant", PASSWORD),
    ("disabled", "off", PASSWORD),
];

fn serve(engine: Engine) -> Layover {
    let layover = Setup::new(engine).prepare();
    layover.account("partner").password(PASSWORD).add();
    layover
        .account("distant")
        .password(PASSWORD)
        .only_from(&["127.0.0.2"])
        .add();
    layover.account("off").password(PASSWORD).add();
    layover.admin(&["account", "disable", "off"]);
    layover.start();
    layover
}

/// One refused login: the time from the password to the answer.
fn refused(layover: &Layover, protocol: Protocol, user: &str, password: &str) -> Duration {
    match protocol {
        Protocol::Sftp => {
            let mut ssh = Ssh::connect(layover.sftp_address()).expect("connect");
            let timer = Timer::start();
            ssh.password(user, password).expect_refused();
            timer.elapsed()
        }
        Protocol::Ftps => {
            let way = Way {
                entry: Entry::Implicit,
                version: Version::Tls13,
                from: NEAR,
            };
            let server = layover.ftps_address(way.entry);
            let mut ftps = Ftps::connect(server, way).expect("connect");
            ftps.ask(format!("USER {user}")).expect("an answer");
            let timer = Timer::start();
            let reply = ftps.ask(format!("PASS {password}")).expect("an answer");
            let took = timer.elapsed();
            assert_eq!(reply.code, 530, "{}", reply.words());
            took
        }
    }
}

/// The greatest difference of the two empirical distributions.
fn distance(first: &[Duration], second: &[Duration]) -> f64 {
    let share = |times: &[Duration], at: Duration| {
        let below = times.iter().filter(|time| **time <= at).count();
        below as f64 / times.len() as f64
    };
    let all = first.iter().chain(second);
    all.map(|at| (share(first, *at) - share(second, *at)).abs())
        .fold(0.0, f64::max)
}

fn compare(protocol: Protocol, engine: Engine) {
    let _turn = heavy();
    let layover = serve(engine);
    let mut times = REASONS.map(|_| Vec::with_capacity(ATTEMPTS));
    // In turns, each first once in four rounds: what else the machine does meets all alike.
    for round in 0..ATTEMPTS {
        for step in 0..REASONS.len() {
            let number = (round + step) % REASONS.len();
            let (_, user, password) = REASONS[number];
            times[number].push(refused(&layover, protocol, user, password));
        }
    }
    let [wrong, others @ ..] = &times;
    for (other, (reason, ..)) in others.iter().zip(&REASONS[1..]) {
        let distance = distance(wrong, other);
        println!("{protocol:?} on {engine:?}, {reason}: {distance:.3}");
        assert!(distance <= FURTHEST, "{reason}: {distance:.3}");
    }
}

#[test]
fn the_distance_of_two_distributions_is_found() {
    let of = |milliseconds: &[u64]| -> Vec<_> {
        let times = milliseconds.iter();
        times.map(|ms| Duration::from_millis(*ms)).collect()
    };
    assert!(distance(&of(&[1, 2, 3, 4]), &of(&[1, 2, 3, 4])) < 0.001);
    let apart = distance(&of(&[1, 2, 3, 4]), &of(&[3, 4, 5, 6]));
    assert!((apart - 0.5).abs() < 0.001, "{apart}");
    assert!((distance(&of(&[1, 2]), &of(&[3, 4])) - 1.0).abs() < 0.001);
}
