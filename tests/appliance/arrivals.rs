//! Whatever real clients do to a file and to its date, it goes exactly its keep after it arrived:
//! one table of what partners do over the days, for both protocols, with a clock that the test moves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::account::PASSWORD;
use layover_tests::calendar::Calendar;
use layover_tests::ftps::lftp_at;
use layover_tests::lftp::lftp;
use layover_tests::partner::Partner;
use layover_tests::process;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, openssh, over_both_protocols};

use crate::ledger;

const SECOND: Duration = Duration::from_secs(1);

/// What `Setup` leaves as it is: `[retention] keep`.
const KEEP: Duration = Duration::from_secs(5 * 24 * 3600);

const PAST: &str = "2001-02-03T04:05:06Z";
const FUTURE: &str = "2037-11-12T13:14:15Z";

/// When partners come, after the appliance's first moment.
const FIRST: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_secs(12 * 3600);
const DAY_FOUR: Duration = Duration::from_secs(4 * 24 * 3600);

/// What a partner does when it comes. In what clients are told, `{past}`, `{future}`, `{plain}` and
/// `{longer}` are local files (the first two with such dates, the last beginning as `{plain}` does),
/// and `{tree}` is a folder.
struct Visit {
    at: Duration,
    openssh: &'static str,
    lftp: &'static str,
    /// By bytes of the test's own, for what no client is known to send by itself.
    raw: &'static [fn(&mut dyn Partner)],
}

const BY_SFTP: [Visit; 3] = [
    Visit {
        at: FIRST,
        openssh: "put -p {past} /past
            put -p {future} /future
            put {plain} /dated
            put {plain} /before
            put {plain} /appended
            put {plain} /continued
            put {plain} /changed
            put {plain} /source
            put {plain} /overwritten
            put {plain} /overwritten-with-past
            put {plain} /replaced",
        lftp: "put {past} -o /by-lftp
            mirror -R {tree} /tree",
        raw: &[begin_and_break_off],
    },
    Visit {
        at: LATER,
        openssh: "reput {longer} /resumed",
        lftp: "",
        raw: &[],
    },
    Visit {
        at: DAY_FOUR,
        openssh: "rename /before /after
            reput {longer} /appended
            cp /source /copy
            put {longer} /overwritten
            put -p {past} /overwritten-with-past
            put {longer} /newcomer
            rename /newcomer /replaced
            chmod 600 /past",
        lftp: "put -c {longer} -o /continued",
        raw: &[change_in_place, set_the_date],
    },
];

const BY_FTPS: [Visit; 3] = [
    Visit {
        at: FIRST,
        openssh: "",
        lftp: "put {past} -o /past
            put {future} -o /future
            put {plain} -o /dated
            put {plain} -o /site-dated
            put {plain} -o /before
            put {plain} -o /appended
            put {plain} -o /continued
            put {plain} -o /changed
            put {plain} -o /overwritten
            put {plain} -o /overwritten-with-past
            put {plain} -o /replaced
            mirror -R {tree} /tree",
        raw: &[begin_and_break_off],
    },
    Visit {
        at: LATER,
        openssh: "",
        lftp: "put -c {longer} -o /resumed",
        raw: &[],
    },
    Visit {
        at: DAY_FOUR,
        openssh: "",
        lftp: "mv /before /after
            put -c {longer} -o /continued
            put {longer} -o /overwritten
            put {past} -o /overwritten-with-past
            put {longer} -o /newcomer
            mv /newcomer /replaced
            quote SITE UTIME 20371112131415 /site-dated
            chmod 600 /past",
        // The last sends MFMT; so does lftp with each file.
        raw: &[append, change_in_place, set_the_date],
    },
];

/// What is there afterwards, and when it arrived.
const ARRIVED: &[(&str, Duration)] = &[
    ("/past", FIRST),
    ("/future", FIRST),
    ("/tree/past", FIRST),
    ("/tree/in/future", FIRST),
    ("/dated", FIRST),
    ("/after", FIRST),
    ("/appended", FIRST),
    ("/continued", FIRST),
    ("/changed", FIRST),
    ("/resumed", LATER),
    ("/overwritten", DAY_FOUR),
    ("/overwritten-with-past", DAY_FOUR),
    ("/replaced", DAY_FOUR),
];
const ARRIVED_BY_SFTP: &[(&str, Duration)] =
    &[("/by-lftp", FIRST), ("/source", FIRST), ("/copy", FIRST)];
const ARRIVED_BY_FTPS: &[(&str, Duration)] = &[("/site-dated", FIRST)];

fn begin_and_break_off(partner: &mut dyn Partner) {
    partner.begin_upload(b"/resumed", b"pla").expect("begin");
}

fn change_in_place(partner: &mut dyn Partner) {
    partner.go_on(b"/changed", 2, b"other").expect("change");
}

fn append(partner: &mut dyn Partner) {
    partner.append(b"/appended", b", and more").expect("append");
}

fn set_the_date(partner: &mut dyn Partner) {
    partner
        .set_modified(b"/dated", time(FUTURE))
        .expect("set the date");
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn first_moment() -> Timestamp {
    time("2026-03-02T09:00:00Z")
}

/// The files that clients send.
struct Sources {
    folder: PathBuf,
}

impl Sources {
    fn make(account: &Account) -> Self {
        let folder = account.client_dir.join("sources");
        std::fs::create_dir_all(folder.join("tree/in")).expect("make folders");
        let write = |name: &str, content: &str, date: Option<&str>| {
            let path = folder.join(name);
            std::fs::write(&path, content).expect("write source");
            if let Some(date) = date {
                let mut touch = std::process::Command::new("touch");
                touch.args(["-d", date]).arg(&path);
                process::run(&mut touch, b"", PATIENCE).expect_ok();
            }
        };
        write("plain", "plain", None);
        write("longer", "plain, and more", None);
        for (name, date) in [
            ("past", PAST),
            ("future", FUTURE),
            ("tree/past", PAST),
            ("tree/in/future", FUTURE),
        ] {
            write(name, name, Some(date));
        }
        Self { folder }
    }

    /// One command a line.
    fn named_in(&self, commands: &str) -> String {
        let mut words: String = commands
            .lines()
            .flat_map(|line| [line.trim(), "\n"])
            .collect();
        for name in ["past", "future", "plain", "longer", "tree"] {
            let path = self.folder.join(name);
            words = words.replace(&format!("{{{name}}}"), &path.display().to_string());
        }
        words
    }
}

/// A partner who comes and goes, whose appliance the test has.
struct Stay {
    layover: Layover,
    account: Account,
    calendar: Calendar,
    protocol: Protocol,
}

impl Stay {
    fn begin(protocol: Protocol, engine: Engine) -> Self {
        let layover = Setup::new(engine).prepare();
        let account = layover.account("partner").password(PASSWORD).add();
        let calendar = Calendar::start(&layover, first_moment());
        Self {
            layover,
            account,
            calendar,
            protocol,
        }
    }

    fn partner(&self) -> Box<dyn Partner> {
        let server = self.calendar.address(self.protocol);
        self.account.partner_at(server, self.protocol)
    }

    fn receive(&self, visit: &Visit, sources: &Sources) {
        let server = self.calendar.address(self.protocol);
        let login = self.account.by_key_at(server);
        if !visit.openssh.is_empty() {
            let commands = sources.named_in(visit.openssh);
            openssh::sftp(&login, &[], &commands, PATIENCE).expect_ok();
        }
        if !visit.lftp.is_empty() {
            let commands = sources.named_in(visit.lftp);
            let ran = match self.protocol {
                Protocol::Sftp => lftp(&login, &commands, PATIENCE),
                Protocol::Ftps => {
                    let url = format!("ftp://{server}");
                    lftp_at(&url, &self.account, &commands, PATIENCE)
                }
            };
            ran.expect_ok();
        }
        for act in visit.raw {
            act(&mut *self.partner());
        }
    }

    fn on_disk(&self) -> BTreeSet<String> {
        let files = layover_tests::tree::files(&self.layover.homes().join("partner"));
        files
            .keys()
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect()
    }
}

over_both_protocols!(a_file_goes_exactly_its_keep_after_it_arrived_whatever_clients_do_to_it);

/// R01 (sftpgo#2074, nextcloud#3572), and every other way to touch a clock that is ours.
fn a_file_goes_exactly_its_keep_after_it_arrived_whatever_clients_do_to_it(
    protocol: Protocol,
    engine: Engine,
) {
    let stay = Stay::begin(protocol, engine);
    let sources = Sources::make(&stay.account);
    let (visits, more) = match protocol {
        Protocol::Sftp => (BY_SFTP, ARRIVED_BY_SFTP),
        Protocol::Ftps => (BY_FTPS, ARRIVED_BY_FTPS),
    };
    for visit in &visits {
        let now = stay.calendar.now().duration_since(first_moment());
        stay.calendar.advance(visit.at - now);
        stay.receive(visit, &sources);
        if visit.at == FIRST {
            wait::until("the interrupted upload to be kept", PATIENCE, || {
                (stay.partner().size(b"/resumed") == Ok(3)).then_some(())
            });
        }
    }
    dates_are_the_partners(&mut *stay.partner(), protocol);

    let expected: BTreeMap<_, _> = ARRIVED
        .iter()
        .chain(more)
        .map(|(path, arrived)| {
            let end = first_moment().saturating_add(*arrived + KEEP);
            ((*path).to_owned(), end)
        })
        .collect();
    let ends: BTreeSet<_> = expected.values().copied().collect();
    for end in ends {
        let left = |at: Timestamp| -> BTreeSet<String> {
            let stays = expected.iter().filter(|(_, end)| **end > at);
            stays.map(|(path, _)| path.clone()).collect()
        };
        stay.calendar
            .advance(end.duration_since(stay.calendar.now()) - SECOND);
        let before = stay.calendar.now();
        assert_eq!(stay.on_disk(), left(before), "a second before {end}");
        stay.calendar.advance(SECOND);
        assert_eq!(stay.on_disk(), left(end), "at {end}");
    }

    let Stay {
        layover, calendar, ..
    } = stay;
    calendar.stop();
    let told = layover.rows(&["journal", "--limit", "0", "--kind", "retention"]);
    let expired: Vec<_> = told
        .iter()
        .filter(|row| row["action"] == "expire")
        .collect();
    assert_eq!(expired.len(), expected.len(), "each once: {expired:?}");
    for row in expired {
        let path = row["path"].as_str().expect("a path");
        assert_eq!(Some(&ledger::time(&row["at"])), expected.get(path), "{row}");
        assert_eq!(row["outcome"], "ok", "{row}");
    }
}

/// That the dates came with the files: else nothing was shown.
fn dates_are_the_partners(partner: &mut dyn Partner, protocol: Protocol) {
    for (path, date) in [
        (&b"/past"[..], PAST),
        (b"/future", FUTURE),
        (b"/dated", FUTURE),
        (b"/tree/past", PAST),
        (b"/tree/in/future", FUTURE),
        (b"/overwritten-with-past", PAST),
    ] {
        assert_date(partner, path, date);
    }
    if protocol == Protocol::Ftps {
        assert_date(partner, b"/site-dated", FUTURE);
    }
}

#[track_caller]
fn assert_date(partner: &mut dyn Partner, path: &[u8], date: &str) {
    let name = path.escape_ascii();
    assert_eq!(partner.modified(path), Ok(time(date)), "{name}");
}
