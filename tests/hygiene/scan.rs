//! Tells code, texts and comments of a Rust file apart, and reads its `use` declarations.

/// A Rust file in two views of the same shape: what is not of the view is blank, so that places
/// in one are places in the file.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Everything but comments and the inside of literals.
    pub(crate) code: String,
    /// The inside of text literals only.
    pub(crate) texts: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Code,
    Text,
    Nothing,
}

impl Scan {
    /// Scans a whole file. Rust that does not compile may be misread, but never panics.
    pub(crate) fn of(source: &str) -> Self {
        let chars: Vec<char> = source.chars().collect();
        let mut scan = Self::default();
        let mut at = 0;
        while at < chars.len() {
            at = scan.step(&chars, at);
        }
        scan
    }

    /// The part in front of the unit tests, which stand last in a file. A test module that is only
    /// declared (`mod tests;`) ends nothing.
    pub(crate) fn production(source: &str) -> Self {
        let mut tests = source.match_indices("\n#[cfg(test)]\nmod ");
        let inline = tests.find(|(at, opening)| {
            let name_and_rest = &source[at + opening.len()..];
            name_and_rest
                .trim_start_matches(is_word)
                .trim_start()
                .starts_with('{')
        });
        Self::of(inline.map_or(source, |(at, _)| &source[..at]))
    }

    /// Takes one comment, literal or character; returns where the next one starts.
    fn step(&mut self, chars: &[char], at: usize) -> usize {
        let rest = &chars[at..];
        let behind_word = at > 0 && is_word(chars[at - 1]);
        if rest.starts_with(&['/', '/']) {
            let len = rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
            return self.put(rest, len, View::Nothing, at);
        }
        if rest.starts_with(&['/', '*']) {
            return self.put(rest, block_comment_len(rest), View::Nothing, at);
        }
        if let Some((open, hashes)) = raw_text(rest).filter(|_| !behind_word) {
            let close: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
            let body = &rest[open..];
            let end = body.windows(close.len()).position(|window| window == close);
            let inside = end.unwrap_or(body.len());
            return self.put_literal(rest, [open, inside, close.len()], View::Text, at);
        }
        match rest[0] {
            '"' => {
                let inside = literal_len(&rest[1..], '"');
                self.put_literal(rest, [1, inside, 1], View::Text, at)
            }
            // Any other quotation mark begins a lifetime.
            '\'' if rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'') => {
                let inside = literal_len(&rest[1..], '\'');
                self.put_literal(rest, [1, inside, 1], View::Nothing, at)
            }
            _ => self.put(rest, 1, View::Code, at),
        }
    }

    /// Takes a literal: its opening, its inside and its closing, of these lengths.
    fn put_literal(
        &mut self,
        rest: &[char],
        [open, inside, close]: [usize; 3],
        view: View,
        at: usize,
    ) -> usize {
        let at = self.put(rest, open, View::Code, at);
        let at = self.put(&rest[open..], inside, view, at);
        self.put(&rest[open + inside..], close, View::Code, at)
    }

    /// Takes up to `len` characters; returns where the next one is.
    fn put(&mut self, chars: &[char], len: usize, view: View, at: usize) -> usize {
        let taken = &chars[..len.min(chars.len())];
        for &c in taken {
            let blank = if c == '\n' { '\n' } else { ' ' };
            self.code.push(if view == View::Code { c } else { blank });
            self.texts.push(if view == View::Text { c } else { blank });
        }
        at + taken.len()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of the comment that opens `chars`; comments nest.
fn block_comment_len(chars: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < chars.len() {
        if chars[at..].starts_with(&['/', '*']) {
            (depth, at) = (depth + 1, at + 2);
        } else if chars[at..].starts_with(&['*', '/']) {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// When `chars` begin a raw text: the length of its opening and the number of its `#`.
fn raw_text(chars: &[char]) -> Option<(usize, usize)> {
    let prefix = match chars {
        ['r', ..] => 1,
        ['b' | 'c', 'r', ..] => 2,
        _ => return None,
    };
    let hashes = chars[prefix..].iter().take_while(|c| **c == '#').count();
    (chars.get(prefix + hashes) == Some(&'"')).then_some((prefix + hashes + 1, hashes))
}

/// Length of a literal's inside up to `close`, over escapes.
fn literal_len(body: &[char], close: char) -> usize {
    let mut at = 0;
    while at < body.len() && body[at] != close {
        at += if body[at] == '\\' { 2 } else { 1 };
    }
    at.min(body.len())
}

/// One path that a `use` declaration names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// From 1.
    pub(crate) line: usize,
    /// Whether it is `pub` without a restriction.
    pub(crate) public: bool,
    /// Such as `std::fs::File`; without renaming.
    pub(crate) path: String,
}

/// Every path that the `use` declarations in `code` name, groups taken apart.
pub(crate) fn uses(code: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use") {
        let before = &code[..at];
        let after = &code[at + "use".len()..];
        let is_keyword = before.chars().next_back().is_none_or(|c| !is_word(c))
            && after.starts_with(char::is_whitespace);
        let Some((tree, _)) = after.split_once(';').filter(|_| is_keyword) else {
            continue;
        };
        let start = before.rfind([';', '{', '}', ']']).map_or(0, |end| end + 1);
        let visibility = before[start..].trim();
        if visibility.is_empty() || visibility.starts_with("pub") {
            let line = before.matches('\n').count() + 1;
            for path in expand(tree) {
                found.push(Use {
                    line,
                    public: visibility == "pub",
                    path,
                });
            }
        }
    }
    found
}

/// `a::{b, c::{d, e as f}}` as `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return vec![
            path.split_whitespace()
                .collect::<String>()
                .trim_start_matches("::")
                .to_owned(),
        ];
    };
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let prefix: String = prefix.split_whitespace().collect();
    let members = members(group)
        .into_iter()
        .filter(|member| !member.trim().is_empty());
    members
        .flat_map(expand)
        .map(|path| {
            format!("{prefix}{path}")
                .trim_start_matches("::")
                .to_owned()
        })
        .collect()
}

/// The members of a group, split at the commas outside of inner groups.
fn members(group: &str) -> Vec<&str> {
    let mut depth = 0;
    group
        .split(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0
        })
        .collect()
}

#[test]
fn code_texts_and_comments_are_told_apart() {
    let source = r####"
let a = "sqlx \" one"; // sqlx two
let b = r#"sqlx "three"#; /* sqlx /* four */ sqlx */ let c = 'x';
let d: &'static str = b"five"; let e = '"'; let f = '\''; sqlx::six();
let r#type = br"seven\"; eight
"####;
    let scan = Scan::of(source);
    assert_eq!(scan.code.matches("sqlx").count(), 1, "{}", scan.code);
    assert!(
        scan.code.contains("sqlx::six") && scan.code.contains("eight"),
        "{}",
        scan.code
    );
    assert!(scan.code.contains("&'static str"), "{}", scan.code);
    for word in ["one", "three", "five", "seven"] {
        assert!(
            scan.texts.contains(word) && !scan.code.contains(word),
            "{word}"
        );
    }
    for word in ["two", "four", "six", "eight"] {
        assert!(!scan.texts.contains(word), "{word}");
    }
    for view in [&scan.code, &scan.texts] {
        assert_eq!(view.chars().count(), source.chars().count());
        assert_eq!(view.lines().count(), source.lines().count());
    }
}

#[test]
fn unit_tests_are_not_production() {
    let scan = Scan::production("fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
    assert!(scan.code.contains("fn a") && !scan.code.contains("fn b"));
    let scan = Scan::production("fn a() {}\n\n#[cfg(test)]\nmod suite;\n\nfn b() {}\n");
    assert!(scan.code.contains("fn b"), "a declaration ends nothing");
}

#[test]
fn use_declarations_are_taken_apart() {
    let code = "use std::{fs::{self, File}, io as bytes};\n\
                pub use crate::a::B;\n\
                pub(crate) use ::tokio::time;\n\
                fn f() { use x::y; }\n\
                fn g() -> impl Sized + use<> {}\n";
    let found: Vec<_> = uses(code)
        .into_iter()
        .map(|u| (u.line, u.public, u.path))
        .collect();
    let expected = [
        (1, false, "std::fs::self"),
        (1, false, "std::fs::File"),
        (1, false, "std::io"),
        (2, true, "crate::a::B"),
        (3, false, "tokio::time"),
        (4, false, "x::y"),
    ];
    assert_eq!(
        found,
        expected.map(|(line, public, path)| (line, public, path.to_owned()))
    );
}

proptest::proptest! {
    #[test]
    fn no_text_can_panic_the_scanner(source in "[a-z\"'#/*\\\\{};:, r\n]{0,60}") {
        let scan = Scan::of(&source);
        proptest::prop_assert_eq!(scan.code.chars().count(), source.chars().count());
        uses(&scan.code);
    }
}
