//! Listings: LIST as `ls -l` prints them, NLST with patterns, and the facts of
//! MLSD and MLST.

use jiff::tz::TimeZone;
use layover_depot::{FileInfo, FileKind, Right, Rights};
use layover_retention::Timestamp;

/// Files older than this show their year, newer ones their time (`ls`).
const HALF_A_YEAR_S: u64 = 182 * 24 * 60 * 60;

/// The facts that there are, in the order in which they are told (RFC 3659
/// s.7.5). The last is ours: when the file is deleted (`x.` as in s.8.2 is
/// reserved for such).
const FACTS: [&str; 7] = [
    "Type",
    "Size",
    "Modify",
    "Perm",
    "Unique",
    "UNIX.mode",
    "X.Layover-Expires",
];

/// Which facts a client wants. All, until it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts([bool; FACTS.len()]);

impl Default for Facts {
    fn default() -> Self {
        Self([true; FACTS.len()])
    }
}

/// What the account may do with a name, as RFC 3659 s.7.5.5 spells it.
fn perm(kind: FileKind, rights: Rights) -> String {
    let may = |right| rights.contains(right);
    let replace = may(Right::Write) && may(Right::Overwrite);
    let letters: &[(char, bool)] = match kind {
        FileKind::Directory => &[
            ('c', may(Right::Write)),
            ('d', may(Right::Delete)),
            ('e', !rights.is_empty()),
            ('f', may(Right::Rename)),
            ('l', may(Right::List)),
            ('m', may(Right::Mkdir)),
            ('p', may(Right::Delete)),
        ],
        FileKind::File => &[
            ('a', replace),
            ('d', may(Right::Delete)),
            ('f', may(Right::Rename)),
            ('r', may(Right::Read)),
            ('w', replace),
        ],
    };
    let allowed = letters.iter().filter(|(_, allowed)| *allowed);
    allowed.map(|(letter, _)| letter).collect()
}

impl Facts {
    /// Those that OPTS MLST names; unknown ones are passed over (s.7.9).
    pub(crate) fn chosen(names: &[u8]) -> Self {
        let is_named = |fact: &str| {
            names
                .split(|byte| *byte == b';')
                .any(|name| name.eq_ignore_ascii_case(fact.as_bytes()))
        };
        Self(FACTS.map(is_named))
    }

    /// As FEAT shows them: an asterisk behind those that are told.
    pub(crate) fn feature(self) -> String {
        let told = |(fact, on): (&str, bool)| format!("{fact}{};", if on { "*" } else { "" });
        FACTS.into_iter().zip(self.0).map(told).collect()
    }

    /// As the answer to OPTS MLST repeats them.
    pub(crate) fn names(self) -> String {
        let chosen = FACTS.into_iter().zip(self.0).filter(|(_, on)| *on);
        chosen.map(|(fact, _)| format!("{fact};")).collect()
    }

    /// One line of MLSD or MLST: the facts, a space, the name.
    pub(crate) fn line(self, name: &[u8], info: &FileInfo, rights: Rights) -> Vec<u8> {
        let directory = info.kind == FileKind::Directory;
        let mut line = String::new();
        for (fact, _) in FACTS.into_iter().zip(self.0).filter(|(_, on)| *on) {
            let value = match fact {
                "Type" => if directory { "dir" } else { "file" }.to_owned(),
                "Size" if directory => continue,
                "Size" => info.size_bytes.to_string(),
                "Modify" => time_val(info.modified_at),
                "Perm" => perm(info.kind, rights),
                "Unique" if info.inode == 0 => continue,
                "Unique" => format!("{:x}", info.inode),
                "UNIX.mode" => format!("0{:03o}", info.mode & 0o777),
                _ => match info.expires_at {
                    Some(expires_at) => time_val(expires_at),
                    None => continue,
                },
            };
            line.push_str(&format!("{fact}={value};"));
        }
        line.push(' ');
        [line.as_bytes(), name].concat()
    }
}

/// RFC 3659 s.2.3, in UTC.
pub(crate) fn time_val(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros()).map_or_else(
        |_| "19700101000000".to_owned(),
        |at| at.strftime("%Y%m%d%H%M%S").to_string(),
    )
}

/// The line that `ls -l` shows, in UTC: clients print it, some parse it.
pub(crate) fn ls_line(name: &[u8], info: &FileInfo, account: &str, now: Timestamp) -> Vec<u8> {
    let kind = match info.kind {
        FileKind::Directory => 'd',
        FileKind::File => '-',
    };
    let bits: String = (0..9_u32)
        .rev()
        .zip("rwxrwxrwx".chars())
        .map(|(bit, letter)| {
            if (info.mode >> bit) & 1 == 1 {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let line = format!(
        "{kind}{bits} {:>3} {account:<8} {account:<8} {:>8} {} ",
        1,
        info.size_bytes,
        date(info.modified_at, now)
    );
    [line.as_bytes(), name].concat()
}

fn date(at: Timestamp, now: Timestamp) -> String {
    let Ok(instant) = jiff::Timestamp::from_microsecond(at.as_micros()) else {
        return "Jan  1  1970".to_owned();
    };
    let zoned = instant.to_zoned(TimeZone::UTC);
    let recent = now.duration_since(at).as_secs() < HALF_A_YEAR_S && at <= now;
    let format = if recent { "%b %e %H:%M" } else { "%b %e  %Y" };
    zoned.strftime(format).to_string()
}

/// LIST's argument: options as of `ls` in front, then a path or pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListArgument {
    /// Hidden names, too (`-a`, `-A`).
    pub(crate) all: bool,
    /// What is to be listed; empty for the current folder.
    pub(crate) path: Vec<u8>,
}

impl ListArgument {
    /// RFC 959 knows no options, clients send them all the same: those of `ls`
    /// in front are taken off, and a name that begins with `-` is written `./-`.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut argument = Self::default();
        let mut rest = text;
        while let Some(options) = rest.strip_prefix(b"-") {
            let end = options.iter().position(|byte| *byte == b' ');
            let (letters, behind) = options.split_at(end.unwrap_or(options.len()));
            if !letters.iter().all(u8::is_ascii_alphanumeric) && letters != b"-" {
                break;
            }
            argument.all |= letters.iter().any(|letter| b"aA".contains(letter));
            rest = behind.trim_ascii_start();
            if letters == b"-" {
                break;
            }
        }
        argument.path = rest.to_vec();
        argument
    }
}

/// Whether a name is a pattern.
pub(crate) fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| b"*?[".contains(byte))
}

/// Whether `name` fits `pattern` with `*`, `?` and `[a-z]`. Takes at most the
/// product of both lengths in steps, whatever the pattern is.
pub(crate) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // Which beginnings of the name the pattern so far fits.
    let mut reached = vec![false; name.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    let mut rest = pattern;
    while let Some((letter, behind)) = rest.split_first() {
        let mut next = vec![false; name.len() + 1];
        if *letter == b'*' {
            let mut any = false;
            for (to, from) in next.iter_mut().zip(&reached) {
                any |= *from;
                *to = any;
            }
            rest = behind;
        } else {
            let (set, behind) = one_of(*letter, behind);
            let steps = name
                .iter()
                .zip(&reached)
                .map(|(byte, from)| *from && set.holds(*byte));
            for (to, from) in next.iter_mut().skip(1).zip(steps) {
                *to = from;
            }
            rest = behind;
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

enum Set<'a> {
    Any,
    One(u8),
    Of { bytes: &'a [u8], negated: bool },
}

impl Set<'_> {
    fn holds(&self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => *one == byte,
            Self::Of { bytes, negated } => {
                let mut rest = *bytes;
                let mut found = false;
                while let Some((first, behind)) = rest.split_first() {
                    rest = behind;
                    if let [b'-', last, behind @ ..] = behind {
                        found |= (*first..=*last).contains(&byte);
                        rest = behind;
                    } else {
                        found |= *first == byte;
                    }
                }
                found != *negated
            }
        }
    }
}

fn one_of(letter: u8, behind: &[u8]) -> (Set<'_>, &[u8]) {
    if letter == b'?' {
        return (Set::Any, behind);
    }
    if letter == b'['
        && let Some(end) = behind.iter().skip(1).position(|byte| *byte == b']')
    {
        let (bytes, rest) = behind.split_at(end + 1);
        let rest = rest.get(1..).unwrap_or_default();
        return match bytes.strip_prefix(b"!").or(bytes.strip_prefix(b"^")) {
            Some(bytes) => (
                Set::Of {
                    bytes,
                    negated: true,
                },
                rest,
            ),
            None => (
                Set::Of {
                    bytes,
                    negated: false,
                },
                rest,
            ),
        };
    }
    (Set::One(letter), behind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn info(kind: FileKind) -> FileInfo {
        FileInfo {
            kind,
            size_bytes: 1234,
            modified_at: "2026-11-18T08:20:00Z".parse().unwrap(),
            expires_at: Some("2026-11-26T04:00:00Z".parse().unwrap()),
            partial: false,
            mode: 0o640,
            inode: 0x2a,
            file: None,
        }
    }

    #[test]
    fn a_list_line_looks_as_ls_prints_it() {
        let now = "2026-11-21T04:00:00Z".parse().unwrap();
        assert_eq!(
            String::from_utf8(ls_line(b"a b", &info(FileKind::File), "acme", now)).unwrap(),
            "-rw-r-----   1 acme     acme         1234 Nov 18 08:20 a b"
        );
        let later = "2028-11-21T04:00:00Z".parse().unwrap();
        assert_eq!(
            String::from_utf8(ls_line(b"x", &info(FileKind::Directory), "acme", later)).unwrap(),
            "drw-r-----   1 acme     acme         1234 Nov 18  2026 x"
        );
    }

    #[test]
    fn facts_are_those_that_were_asked_for() {
        let facts = Facts::chosen(b"size;type;nonsense;X.Layover-Expires;");
        assert_eq!(facts.names(), "Type;Size;X.Layover-Expires;");
        assert_eq!(
            String::from_utf8(facts.line(b" a;b", &info(FileKind::File), Rights::ALL)).unwrap(),
            "Type=file;Size=1234;X.Layover-Expires=20261126040000;  a;b"
        );
        assert_eq!(
            Facts::chosen(b"").line(b"a", &info(FileKind::File), Rights::ALL),
            b" a"
        );
        assert!(facts.feature().starts_with("Type*;Size*;Modify;"));
        let all = Facts::default().line(b"d", &info(FileKind::Directory), Rights::READ_ONLY);
        let all = String::from_utf8(all).unwrap();
        assert!(
            all.starts_with("Type=dir;Modify=20261118082000;Perm=el;Unique=2a;"),
            "{all}"
        );
        assert!(all.contains("UNIX.mode=0640;"), "{all}");
    }

    #[test]
    fn the_perm_fact_tells_what_the_account_may_do() {
        for (rights, directory, file) in [
            (Rights::ALL, "cdeflmp", "adfrw"),
            (Rights::READ_ONLY, "el", "r"),
            (Rights::NONE, "", ""),
            // A drop box: what has been delivered is out of reach.
            (Rights::of(&[Right::Write]), "ce", ""),
            (
                Rights::of(&[Right::List, Right::Read, Right::Delete]),
                "delp",
                "dr",
            ),
        ] {
            assert_eq!(perm(FileKind::Directory, rights), directory, "{rights:?}");
            assert_eq!(perm(FileKind::File, rights), file, "{rights:?}");
        }
    }

    #[test]
    fn options_of_ls_are_taken_off_and_names_stay() {
        for (text, all, path) in [
            ("", false, ""),
            ("-la", true, ""),
            ("-l a b", false, "a b"),
            ("-a -L x", true, "x"),
            ("-- -x", false, "-x"),
            ("./-x", false, "./-x"),
            ("-invoice.txt", false, "-invoice.txt"),
        ] {
            let expected = ListArgument {
                all,
                path: path.as_bytes().to_vec(),
            };
            assert_eq!(ListArgument::parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("a[", "a[", true),
            ("*a*b*", "xxaxxbxx", true),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern in "[*?a\\[\\]!-]{0,60}", name in "[a-c]{0,60}") {
            fits(pattern.as_bytes(), name.as_bytes());
            prop_assert!(fits(b"*", name.as_bytes()));
        }
    }
}
