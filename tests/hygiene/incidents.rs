//! Each incident of SECURITY.md names its tests, and so does the threat model: they are there.

use std::collections::BTreeMap;

use crate::project;

/// Where a path of the table may begin, as its first lines say.
const BEGINNINGS: [&str; 3] = ["", "server/ftps/src/", "tests/"];

/// The entries that the project answers for: none may be left out.
const ENTRIES: [(&str, u8); 5] = [("F", 19), ("S", 7), ("R", 4), ("G", 4), ("O", 5)];

/// A test's whole name has at least so many words; settings in backticks have fewer.
const WORDS_OF_A_NAME: usize = 5;

/// What is wrong with the last column of a table's line.
fn faults(line: &str, files: &BTreeMap<String, String>) -> Vec<String> {
    let (entry, tests) = line.trim_matches('|').rsplit_once('|').unwrap_or_default();
    let entry: String = entry.chars().take(60).collect();
    let words: Vec<_> = tests.split('`').collect();
    let mut faults = Vec::new();
    let mut named: Vec<&str> = Vec::new();
    // What stands in backticks, and what before it.
    let quoted = || words.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let mut folder = String::new();
    for (before, word) in quoted() {
        if before.ends_with("fuzz target ") {
            let target = format!("tests/fuzz/fuzz_targets/{word}.rs");
            if !files.contains_key(&target) {
                faults.push(format!("{entry}: no fuzz target `{word}`"));
            }
        } else if word.ends_with(".rs") || word.ends_with('/') {
            let found = found(word, &folder, files);
            match found.first() {
                None => faults.push(format!("{entry}: no `{word}`")),
                Some(first) => {
                    let end = match word.ends_with('/') {
                        true => first.find(word).map_or(0, |at| at + word.len()),
                        false => first.rfind('/').map_or(0, |at| at + 1),
                    };
                    folder = first[..end].to_owned();
                }
            }
            named.extend(found);
        }
    }
    let holds = |beginning: &str| {
        let mut texts = named.iter().filter_map(|path| files.get(*path));
        texts.any(|text| text.contains(&format!("fn {beginning}")))
    };
    for (_, word) in quoted() {
        let is_name = word.split('_').count() >= WORDS_OF_A_NAME && !word.contains(['/', '.', ' ']);
        let (beginning, is_test) = match word.strip_suffix('*') {
            Some(beginning) => (beginning.to_owned(), true),
            None => (format!("{word}("), is_name),
        };
        if is_test && !holds(&beginning) {
            faults.push(format!("{entry}: no test `{word}` in the files beside it"));
        }
    }
    if named.is_empty() && is_row(line) {
        faults.push(format!("{entry}: names no file"));
    }
    faults
}

/// The files that a path of the table means, which may be a folder.
fn found<'a>(word: &str, folder: &str, files: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let beginnings = BEGINNINGS.into_iter().chain([folder]);
    let paths = beginnings.map(|beginning| format!("{beginning}{word}"));
    for path in paths {
        let found: Vec<_> = match path.ends_with('/') {
            true => files
                .keys()
                .filter(|file| file.starts_with(&path))
                .collect(),
            false => files.keys().filter(|file| **file == path).collect(),
        };
        if !found.is_empty() {
            return found.into_iter().map(String::as_str).collect();
        }
    }
    Vec::new()
}

fn is_row(line: &str) -> bool {
    let entry = line.strip_prefix("| ").and_then(|rest| rest.get(..3));
    entry.is_some_and(|entry| {
        let (letter, number) = entry.split_at(1);
        letter.bytes().all(|c| c.is_ascii_uppercase()) && number.bytes().all(|c| c.is_ascii_digit())
    })
}

#[test]
fn the_tests_that_security_md_names_are_there() {
    let files: BTreeMap<_, _> = project::files().into_iter().collect();
    let rows: Vec<_> = files["SECURITY.md"]
        .lines()
        .filter(|line| is_row(line))
        .collect();
    let threats = files["SECURITY.md"].split("## Threat model").nth(1);
    let threats = threats.and_then(|rest| rest.split("\n## ").next());
    let threats = threats.expect("a threat model").lines();
    let threats: Vec<_> = threats.filter(|line| line.starts_with("| ")).collect();
    assert!(threats.len() > 12, "{}", threats.len());
    let all = rows.iter().chain(&threats);
    let mut wrong: Vec<_> = all.flat_map(|row| faults(row, &files)).collect();
    for (letter, last) in ENTRIES {
        for number in 1..=last {
            let entry = format!("| {letter}{number:02} |");
            if !rows.iter().any(|row| row.starts_with(&entry)) {
                wrong.push(format!("{letter}{number:02}: no entry"));
            }
        }
    }
    assert!(wrong.is_empty(), "SECURITY.md:\n{}", wrong.join("\n"));
}

#[test]
fn a_row_that_names_what_is_not_there_is_found() {
    let files = BTreeMap::from(
        [
            ("server/ftps/src/control/tests/limits.rs", "fn f05_a() {}"),
            ("tests/appliance/bans.rs", "fn g02_b(engine: Engine) {}"),
            ("tests/appliance/flows/killed.rs", "fn c_d_e_f_g() {}"),
            ("tests/fuzz/fuzz_targets/codec.rs", ""),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned())),
    );
    let count = |tests: &str| faults(&format!("| F05 | x | {tests} |"), &files).len();
    for good in [
        "`control/tests/limits.rs` `f05_*`",
        "`appliance/bans.rs` `g02_*`; fuzz target `codec`",
        "`appliance/flows/` `killed.rs`: `c_d_e_f_g` with `a_setting`",
    ] {
        assert_eq!(count(good), 0, "{good}");
    }
    for bad in [
        "`control/tests/limit.rs`",
        "`control/tests/limits.rs` `f06_*`",
        "`appliance/bans.rs` `f05_*`",
        "`appliance/bans.rs`; fuzz target `command`",
        "`appliance/flows/` `killed.rs`: `c_d_e_f_h`",
        "somewhere",
    ] {
        assert_ne!(count(bad), 0, "{bad}");
    }
    assert!(is_row("| G01 | a | b |") && !is_row("| who | a | b |"));
}
