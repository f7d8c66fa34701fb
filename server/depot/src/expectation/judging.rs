//! What is said of the files of a day; pure.

use layover_retention::Timestamp;

use super::definition::ExpectationRules;
use super::record::{DayContent, DayFault};

/// A file whose name fits, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenFile {
    /// Its name.
    pub name: Vec<u8>,
    /// Its size; none: nobody told.
    pub size_bytes: Option<u64>,
    /// When it came; none: it is there, and when it came is not known.
    pub came_at: Option<Timestamp>,
    /// When it changed, as a partner's server says.
    pub modified_at: Option<Timestamp>,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: Option<String>,
    /// That is being computed.
    pub hash_to_come: bool,
}

/// What a look saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Files whose names fit, perhaps none.
    Files(Vec<SeenFile>),
    /// Nothing: the partner's server could not be asked.
    Unreachable {
        /// Why, in a sentence.
        why: String,
    },
}

/// What is to be said of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The file is there, and as it must be.
    AsExpected(SeenFile),
    /// It is not.
    Faulty {
        /// What is wrong.
        fault: DayFault,
        /// The file that it is wrong with.
        file: Option<SeenFile>,
    },
    /// Its content is not known yet.
    Waits,
}

/// What is said of one file.
enum Finding {
    Good,
    Waits,
    Bad(DayFault),
}

fn finding(rules: &ExpectationRules, file: &SeenFile, previous: Option<&DayContent>) -> Finding {
    let size = file.size_bytes;
    if let (Some(size), Some(least)) = (size, rules.min_size_bytes)
        && size < least
    {
        return Finding::Bad(DayFault::TooSmall);
    }
    if let (Some(size), Some(most)) = (size, rules.max_size_bytes)
        && size > most
    {
        return Finding::Bad(DayFault::TooLarge);
    }
    if rules.allow_same {
        return Finding::Good;
    }
    if file.sha256.is_none() && file.hash_to_come {
        return Finding::Waits;
    }
    match previous {
        Some(previous) if is_same(file, previous) => Finding::Bad(DayFault::SameContent),
        _ => Finding::Good,
    }
}

/// Whether a file is the one of the last time: by its content, or where nobody knows that,
/// by size and time of change.
fn is_same(file: &SeenFile, previous: &DayContent) -> bool {
    match (&file.sha256, &previous.sha256) {
        (Some(now), Some(then)) => now == then,
        _ => {
            file.modified_at.is_some()
                && file.modified_at == previous.modified_at
                && file.size_bytes == previous.size_bytes
        }
    }
}

/// What is said of the files that were found by a deadline. Several may fit: one that is
/// as it must be is enough; of others the last that came counts.
pub(crate) fn judge(
    rules: &ExpectationRules,
    due: Timestamp,
    files: &[SeenFile],
    previous: Option<&DayContent>,
) -> Verdict {
    let in_time = |file: &&SeenFile| file.came_at.is_none_or(|at| at <= due);
    let last = |files: &mut dyn Iterator<Item = &SeenFile>| {
        files
            .max_by_key(|file| (file.came_at, file.name.clone()))
            .cloned()
    };
    let mut waits = false;
    for file in files.iter().filter(in_time) {
        match finding(rules, file, previous) {
            Finding::Good => return Verdict::AsExpected(file.clone()),
            Finding::Waits => waits = true,
            Finding::Bad(_) => {}
        }
    }
    if waits {
        return Verdict::Waits;
    }
    if let Some(file) = last(&mut files.iter().filter(in_time)) {
        let fault = match finding(rules, &file, previous) {
            Finding::Bad(fault) => fault,
            Finding::Good | Finding::Waits => DayFault::Missing,
        };
        return Verdict::Faulty {
            fault,
            file: Some(file),
        };
    }
    match last(&mut files.iter()) {
        Some(file) => Verdict::Faulty {
            fault: DayFault::Late,
            file: Some(file),
        },
        None => Verdict::Faulty {
            fault: DayFault::Missing,
            file: None,
        },
    }
}

/// What is wrong with a file besides that it came late; none: nothing that is known.
pub(crate) fn fault_of(
    rules: &ExpectationRules,
    file: &SeenFile,
    previous: Option<&DayContent>,
) -> Option<DayFault> {
    match finding(rules, file, previous) {
        Finding::Bad(fault) => Some(fault),
        Finding::Good | Finding::Waits => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUE: i64 = 1_000;

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    fn file(name: &str, size: u64, came_us: i64, sha: &str) -> SeenFile {
        SeenFile {
            name: name.as_bytes().to_vec(),
            size_bytes: Some(size),
            came_at: Some(at(came_us)),
            sha256: (!sha.is_empty()).then(|| sha.to_owned()),
            ..SeenFile::default()
        }
    }

    fn rules() -> ExpectationRules {
        ExpectationRules {
            min_size_bytes: Some(10),
            max_size_bytes: Some(20),
            ..ExpectationRules::default()
        }
    }

    fn yesterday() -> DayContent {
        DayContent {
            day: "2026-11-21".to_owned(),
            size_bytes: Some(15),
            sha256: Some("old".to_owned()),
            modified_at: Some(at(7)),
        }
    }

    fn fault(files: &[SeenFile]) -> Option<DayFault> {
        match judge(&rules(), at(DUE), files, Some(&yesterday())) {
            Verdict::AsExpected(_) => None,
            Verdict::Faulty { fault, .. } => Some(fault),
            Verdict::Waits => panic!("nothing to wait for"),
        }
    }

    #[test]
    fn each_fault_is_what_it_is_just_below_and_just_above() {
        for (one, expected) in [
            (file("a", 10, DUE, "new"), None),
            (file("a", 20, DUE, "new"), None),
            (file("a", 9, DUE, "new"), Some(DayFault::TooSmall)),
            (file("a", 21, DUE, "new"), Some(DayFault::TooLarge)),
            (file("a", 15, DUE, "old"), Some(DayFault::SameContent)),
            (file("a", 15, DUE + 1, "new"), Some(DayFault::Late)),
            (file("a", 15, DUE, ""), None),
        ] {
            assert_eq!(fault(std::slice::from_ref(&one)), expected, "{one:?}");
        }
        assert_eq!(fault(&[]), Some(DayFault::Missing));
    }

    #[test]
    fn of_several_one_that_is_good_is_enough_and_else_the_last_counts() {
        let (good, small, large) = (
            file("a", 15, 1, "new"),
            file("b", 1, 2, "new"),
            file("c", 99, 3, "new"),
        );
        assert_eq!(fault(&[small.clone(), good, large.clone()]), None);
        assert_eq!(fault(&[large, small]), Some(DayFault::TooLarge));
        // One that is late makes up for nothing.
        let late = file("d", 15, DUE + 1, "new");
        assert_eq!(
            fault(&[file("b", 1, 2, "new"), late]),
            Some(DayFault::TooSmall)
        );
    }

    #[test]
    fn a_content_that_is_not_known_yet_is_waited_for_unless_it_says_nothing() {
        let to_come = |size| SeenFile {
            hash_to_come: true,
            ..file("a", size, 1, "")
        };
        let verdict = |rules: &ExpectationRules, file| judge(rules, at(DUE), &[file], None);
        assert_eq!(verdict(&rules(), to_come(15)), Verdict::Waits);
        assert!(matches!(
            verdict(&rules(), to_come(1)),
            Verdict::Faulty {
                fault: DayFault::TooSmall,
                ..
            }
        ));
        let allowed = ExpectationRules {
            allow_same: true,
            ..rules()
        };
        assert!(matches!(
            verdict(&allowed, to_come(15)),
            Verdict::AsExpected(_)
        ));
    }

    #[test]
    fn without_a_checksum_size_and_time_tell_that_it_is_the_same() {
        let there = |size, modified_us| SeenFile {
            came_at: None,
            modified_at: Some(at(modified_us)),
            ..file("a", size, 1, "")
        };
        assert_eq!(fault(&[there(15, 7)]), Some(DayFault::SameContent));
        assert_eq!(fault(&[there(15, 8)]), None);
        assert_eq!(fault(&[there(16, 7)]), None);
        // What is known of the content decides.
        let hashed = SeenFile {
            sha256: Some("new".to_owned()),
            ..there(15, 7)
        };
        assert_eq!(fault(&[hashed]), None);
        let allowed = ExpectationRules {
            allow_same: true,
            ..rules()
        };
        assert!(matches!(
            judge(&allowed, at(DUE), &[there(15, 7)], Some(&yesterday())),
            Verdict::AsExpected(_)
        ));
    }
}
