//! What may stand where.

use crate::project;
use crate::scan::{Scan, uses};

/// A rule about the text of files.
struct Rule {
    /// The claim, for messages.
    name: &'static str,
    /// Files (and, with a `/` behind, directories) in which the rule does not hold.
    except: &'static [&'static str],
    /// The places that break it: lines from 1, and what stands there.
    breaches: fn(&File<'_>) -> Vec<(usize, String)>,
    /// A file that breaks it.
    bad: &'static [(&'static str, &'static str)],
    /// Files that look like it and do not.
    good: &'static [(&'static str, &'static str)],
}

struct File<'a> {
    path: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the file itself is a test, or serves only tests.
    fn is_test(&self) -> bool {
        let inside =
            |dir: &str| self.path.starts_with(dir) || self.path.contains(&format!("/{dir}"));
        inside("tests/") || inside("benches/") || self.path.ends_with("/tests.rs")
    }

    /// The code that is built into the executable.
    fn production(&self) -> Scan {
        if self.is_rust() && !self.is_test() {
            Scan::production(self.text)
        } else {
            Scan::default()
        }
    }

    /// All code.
    fn code(&self) -> String {
        if self.is_rust() {
            Scan::of(self.text).code
        } else {
            String::new()
        }
    }
}

// Written apart, because the rules hold for this file, too.
const UNFINISHED: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];

const RULES: &[Rule] = &[
    Rule {
        name: "SQL stands only in the depot's store",
        except: &["server/depot/src/store.rs", "server/depot/src/store/"],
        breaches: |file| {
            let production = file.production();
            let mut found = words(&production.code, &["sqlx"]);
            found.extend(pieces(
                &production.texts,
                &[
                    "SELECT ",
                    "INSERT INTO",
                    "DELETE FROM",
                    "CREATE TABLE",
                    "PRAGMA ",
                ],
            ));
            found
        },
        bad: &[
            ("server/depot/src/gate.rs", "use sqlx::Row;"),
            (
                "server/depot/src/storeroom.rs",
                "fn f() { sqlx::query(QUERY); }",
            ),
            ("admin/src/lib.rs", "const QUERY: &str = \"SELECT 1\";"),
            (
                "server/sftp/src/lib.rs",
                "const QUERY: &str = r#\"DELETE FROM file\"#;",
            ),
        ],
        good: &[
            ("server/depot/src/store/body/file.rs", "use sqlx::Row;"),
            (
                "server/depot/src/gate.rs",
                "// sqlx is elsewhere: \"SELECT \"\nfn sqlx_free() {}",
            ),
            (
                "server/depot/src/gate.rs",
                "\n#[cfg(test)]\nmod tests { use sqlx::Row; }",
            ),
        ],
    },
    Rule {
        name: "files are opened only where this list says",
        except: &[
            // Hosted files.
            "server/depot/src/vfs/",
            // The tests' own homes.
            "server/depot/src/holdings/fixture.rs",
            "server/sftp/src/fixture.rs",
            "server/ftps/src/fixture.rs",
            // The data directory: lock, node id, host keys, the address file.
            "server/depot/src/data_dir.rs",
            "server/src/host_key.rs",
            "server/src/host_key_set.rs",
            "server/src/tls_certificate.rs",
            "server/src/tls_request.rs",
            "server/src/address_file.rs",
            "server/src/user_ca.rs",
            // The folders that the process is kept in, and the mask for what it makes.
            "server/src/sandbox.rs",
            "server/src/hardening.rs",
            // Which start of the machine this is.
            "server/src/clock.rs",
            // What the operator names or asks about: settings, secrets, key files, the machine.
            "config/src/load.rs",
            "config/src/types/secret.rs",
            "client/src/secret_ref/file.rs",
            "client/src/partner/system_roots.rs",
            // What the operator sends, and where he wants it.
            "client/src/exchange/local_file.rs",
            "admin/src/",
        ],
        breaches: |file| {
            let code = file.production().code;
            let mut found: Vec<_> = uses(&code)
                .into_iter()
                .filter(|used| is_file_system(&used.path))
                .map(|used| (used.line, used.path))
                .collect();
            found.extend(words(&code, &["std::fs", "tokio::fs", "rustix::fs"]));
            found.extend(pieces(
                &code,
                &[
                    ".exists()",
                    ".try_exists()",
                    ".read_dir()",
                    ".canonicalize()",
                ],
            ));
            found
        },
        bad: &[
            ("server/depot/src/session.rs", "use std::fs::File;"),
            ("server/depot/src/session.rs", "use std::{fs, io};"),
            (
                "server/depot/src/session.rs",
                "use rustix::{io, fs::{self, openat}};",
            ),
            (
                "server/sftp/src/lib.rs",
                "fn f() { tokio::fs::read(path); }",
            ),
            (
                "retention/src/sweep.rs",
                "fn f() { std::fs::remove_file(path); }",
            ),
            (
                "server/depot/src/vfs_like.rs",
                "fn f() { if path.exists() {} }",
            ),
        ],
        good: &[
            ("server/depot/src/vfs/local.rs", "use rustix::fs::openat2;"),
            (
                "server/depot/src/session.rs",
                "use crate::vfs::fs;\n// std::fs\nfn f() { \"std::fs\"; }",
            ),
            (
                "server/depot/src/session.rs",
                "\n#[cfg(test)]\nmod tests { use std::fs; }",
            ),
        ],
    },
    Rule {
        name: "an operating system's clock is read only in the files made for it",
        except: &[
            "server/src/clock.rs",
            "server/depot/src/timer.rs",
            // The tests' own deadline.
            "tests/src/wait.rs",
            "client/benches/",
        ],
        breaches: |file| {
            let code = file.code();
            let mut found: Vec<_> = uses(&code)
                .into_iter()
                .filter(|used| used.path == "tokio::time" || used.path.starts_with("tokio::time::"))
                .map(|used| (used.line, used.path))
                .collect();
            found.extend(words(
                &code,
                &[
                    "SystemTime::now",
                    "Instant::now",
                    "Timestamp::now",
                    "Zoned::now",
                    "Utc::now",
                    "UNIX_EPOCH.elapsed",
                    "tokio::time",
                    "thread::sleep",
                    "clock_gettime",
                ],
            ));
            found
        },
        bad: &[
            (
                "server/src/jobs.rs",
                "fn f() { std::time::SystemTime::now(); }",
            ),
            ("server/depot/src/gate.rs", "fn f() { Instant::now(); }"),
            (
                "retention/src/clock.rs",
                "fn f() { jiff::Timestamp::now(); }",
            ),
            ("server/sftp/src/lib.rs", "use tokio::{sync, time};"),
            (
                "server/sftp/src/lib.rs",
                "async fn f() { tokio::time::sleep(d).await }",
            ),
            (
                "tests/appliance/main.rs",
                "fn f() { std::thread::sleep(d); }",
            ),
        ],
        good: &[
            ("server/src/clock.rs", "fn f() { SystemTime::now(); }"),
            (
                "server/depot/src/gate.rs",
                "fn f() { self.clock.now(); }\n// Instant::now",
            ),
            ("server/depot/src/gate.rs", "use std::time::Duration;"),
        ],
    },
    Rule {
        name: "no module is called mod.rs",
        except: &[],
        breaches: |file| {
            let is_mod = file.path == "mod.rs" || file.path.ends_with("/mod.rs");
            is_mod
                .then(|| (1, file.path.to_owned()))
                .into_iter()
                .collect()
        },
        bad: &[("server/depot/src/store/mod.rs", "//! A store.")],
        good: &[("server/depot/src/mode.rs", "mod rs;")],
    },
    Rule {
        name: "a lint is expected, with a reason, and never allowed",
        except: &[],
        breaches: |file| {
            file.code()
                .lines()
                .zip(1..)
                .map(|(line, number)| (number, line.split_whitespace().collect::<String>()))
                .filter(|(_, line)| line.contains("[allow(") || line.contains(",allow("))
                .collect()
        },
        bad: &[
            ("admin/src/lib.rs", "#[allow(dead_code)]\nfn f() {}"),
            ("admin/src/lib.rs", "#![ allow (missing_docs)]"),
            ("admin/src/lib.rs", "#[cfg_attr(test, allow(dead_code))]"),
        ],
        good: &[
            (
                "admin/src/lib.rs",
                "#[expect(dead_code, reason = \"[allow(\")]\nfn f() {}",
            ),
            ("admin/src/lib.rs", "fn f() { gate.allow(network); }"),
        ],
    },
    Rule {
        name: "no crate hands on another crate's items as its own",
        except: &[],
        breaches: |file| {
            let code = file.code();
            let foreign = project::foreign_crates();
            let is_foreign = |path: &str| {
                let first = path.split("::").next().unwrap_or(path);
                foreign.contains(first) && words(&code, &[&format!("mod {first}")]).is_empty()
            };
            uses(&code)
                .into_iter()
                .filter(|used| used.public && is_foreign(&used.path))
                .map(|used| (used.line, used.path))
                .collect()
        },
        bad: &[
            ("server/depot/src/lib.rs", "pub use bytes::Bytes;"),
            (
                "server/depot/src/lib.rs",
                "pub use {ipnet::{IpNet, Ipv4Net}, crate::a::B};",
            ),
            (
                "server/depot/src/lib.rs",
                "pub use layover_retention::Timestamp;",
            ),
            ("config/src/lib.rs", "pub use std::path::PathBuf;"),
        ],
        good: &[
            (
                "server/depot/src/lib.rs",
                "mod bytes;\npub use bytes::Range;\npub use crate::a::B;",
            ),
            (
                "server/depot/src/lib.rs",
                "pub(crate) use bytes::Bytes;\nuse ipnet::IpNet;",
            ),
        ],
    },
    Rule {
        name: "nothing is left for later",
        except: &[],
        breaches: |file| pieces(file.text, &UNFINISHED),
        bad: &[
            ("admin/src/lib.rs", concat!("// TO", "DO: later")),
            ("README.md", concat!("FIX", "ME")),
            (
                "server/depot/migrations/0001_first.sql",
                concat!("-- XX", "X: slow"),
            ),
        ],
        good: &[("admin/src/lib.rs", "fn todo_list() {}")],
    },
];

fn is_file_system(path: &str) -> bool {
    ["std::fs", "tokio::fs", "rustix::fs"].iter().any(|fs| {
        path.strip_prefix(fs)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// Where one of `wanted` stands as whole words.
fn words(text: &str, wanted: &[&str]) -> Vec<(usize, String)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    occurrences(text, wanted, |before, after| {
        before.is_none_or(|c| !is_word(c)) && after.is_none_or(|c| !is_word(c))
    })
}

/// Where one of `wanted` stands, even within a word.
fn pieces(text: &str, wanted: &[&str]) -> Vec<(usize, String)> {
    occurrences(text, wanted, |_, _| true)
}

fn occurrences(
    text: &str,
    wanted: &[&str],
    fits: impl Fn(Option<char>, Option<char>) -> bool,
) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for wanted in wanted {
        for (at, _) in text.match_indices(wanted) {
            let (before, after) = (&text[..at], &text[at + wanted.len()..]);
            if fits(before.chars().next_back(), after.chars().next()) {
                found.push((before.matches('\n').count() + 1, (*wanted).to_owned()));
            }
        }
    }
    found
}

impl Rule {
    fn excepts(&self, path: &str) -> bool {
        self.except.iter().any(|except| is_at(except, path))
    }

    /// A line for each place in `files` that breaks the rule.
    fn complaints<'a>(&self, files: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
        let mut complaints = Vec::new();
        for (path, text) in files.filter(|(path, _)| !self.excepts(path)) {
            let breaches = (self.breaches)(&File { path, text });
            complaints.extend(
                breaches
                    .into_iter()
                    .map(|(line, what)| format!("{path}:{line}: {what}")),
            );
        }
        complaints
    }
}

fn is_at(place: &str, path: &str) -> bool {
    if place.ends_with('/') {
        path.starts_with(place)
    } else {
        path == place
    }
}

#[test]
fn no_file_of_the_project_breaks_a_rule() {
    let files = project::files();
    let complaints: Vec<String> = RULES
        .iter()
        .flat_map(|rule| {
            let complaints = rule.complaints(
                files
                    .iter()
                    .map(|(path, text)| (path.as_str(), text.as_str())),
            );
            complaints
                .into_iter()
                .map(|complaint| format!("{}: {complaint}", rule.name))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn each_rule_finds_each_file_that_breaks_it() {
    for rule in RULES {
        assert!(!rule.bad.is_empty(), "{}: shown nothing", rule.name);
        for file in rule.bad {
            assert!(
                !rule.complaints([*file].into_iter()).is_empty(),
                "{}: {file:?}",
                rule.name
            );
        }
    }
}

#[test]
fn no_rule_complains_about_files_that_only_look_like_it() {
    for rule in RULES {
        let complaints = rule.complaints(rule.good.iter().copied());
        assert_eq!(complaints, Vec::<String>::new(), "{}", rule.name);
    }
}

#[test]
fn every_exception_is_in_use() {
    let files = project::files();
    let needs = |rule: &Rule, except: &str| {
        files.iter().any(|(path, text)| {
            is_at(except, path) && !(rule.breaches)(&File { path, text }).is_empty()
        })
    };
    let stale: Vec<String> = RULES
        .iter()
        .flat_map(|rule| rule.except.iter().map(move |except| (rule, except)))
        .filter(|(rule, except)| !needs(rule, except))
        .map(|(rule, except)| format!("{}: not needed for {except}", rule.name))
        .collect();
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}
