//! Names of files as an operator writes them: `*` and `?`, and `$yyyyMMdd` for a day;
//! pure.

use jiff::civil::{Date, DateTime};

/// A part of a date or a time of day, by its letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateField {
    Year,
    ShortYear,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// Letters behind `$`; longer ones first.
const FIELDS: [(&str, DateField); 7] = [
    ("yyyy", DateField::Year),
    ("yy", DateField::ShortYear),
    ("MM", DateField::Month),
    ("dd", DateField::Day),
    ("HH", DateField::Hour),
    ("mm", DateField::Minute),
    ("ss", DateField::Second),
];

impl DateField {
    /// The field that a text begins with, and the rest of it.
    pub(crate) fn take(text: &str) -> Option<(Self, &str)> {
        FIELDS
            .iter()
            .find_map(|(letters, field)| Some((*field, text.strip_prefix(letters)?)))
    }

    /// Its digits on a day; none for a time of day.
    pub(crate) fn of_day(self, day: Date) -> Option<String> {
        Some(match self {
            Self::Year => format!("{:04}", day.year()),
            Self::ShortYear => format!("{:02}", day.year().rem_euclid(100)),
            Self::Month => format!("{:02}", day.month()),
            Self::Day => format!("{:02}", day.day()),
            Self::Hour | Self::Minute | Self::Second => return None,
        })
    }

    fn at(self, moment: DateTime) -> String {
        let of_clock = match self {
            Self::Hour => moment.hour(),
            Self::Minute => moment.minute(),
            _ => moment.second(),
        };
        self.of_day(moment.date())
            .unwrap_or_else(|| format!("{of_clock:02}"))
    }

    /// The greatest number that its two digits may be.
    pub(crate) fn most(self) -> u8 {
        match self {
            Self::Year | Self::ShortYear => 99,
            Self::Month => 12,
            Self::Day => 31,
            Self::Hour => 23,
            Self::Minute | Self::Second => 59,
        }
    }
}

/// What a pattern is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// Any byte.
    One,
    /// Any bytes, or none.
    Run,
    /// Two digits, up to a number.
    Digits(u8),
}

impl Token {
    /// How much of a name it takes; `None`: it does not fit, or takes any.
    fn taken(self, name: &[u8]) -> Option<usize> {
        match (self, name) {
            (Self::One, [_, ..]) => Some(1),
            (Self::Byte(wanted), [byte, ..]) if *byte == wanted => Some(1),
            (Self::Digits(most), [ten, one, ..])
                if ten.is_ascii_digit() && one.is_ascii_digit() =>
            {
                ((ten - b'0') * 10 + (one - b'0') <= most).then_some(2)
            }
            _ => None,
        }
    }
}

/// A pattern whose days are those of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

impl Pattern {
    /// What stands behind a `$` in `text` and is no day, though it looks like one: `foo`
    /// in `$foo*`, `yyy` in `$yyy`. None: nothing does.
    #[must_use]
    pub fn unknown_letters(text: &str) -> Option<&str> {
        text.split('$').skip(1).find_map(|part| {
            let (mut rest, mut last) = (part, None);
            while let Some((_, behind)) = DateField::take(rest) {
                let letters = rest.len().saturating_sub(behind.len());
                last = rest.get(..letters).and_then(|taken| taken.chars().last());
                rest = behind;
            }
            let next = rest.chars().next().filter(char::is_ascii_alphabetic)?;
            // `$ddsales` is a day and a word; `$yyy` is a mistake.
            let is_mistake = last.is_none_or(|last| last == next);
            let end = part.find(|letter: char| !letter.is_ascii_alphabetic());
            is_mistake.then(|| part.get(..end.unwrap_or(part.len())).unwrap_or(part))
        })
    }

    /// `text` at a local moment: `crm_$yyyyMMdd.csv` is `crm_20261122.csv` on that day. A
    /// `$` without such letters behind it stands for itself.
    #[must_use]
    pub fn at(text: &str, moment: DateTime) -> Self {
        let mut pattern = Self::default();
        let mut parts = text.split('$');
        pattern.push_wild(parts.next().unwrap_or_default());
        for part in parts {
            let mut rest = part;
            while let Some((field, behind)) = DateField::take(rest) {
                pattern.push_text(&field.at(moment));
                rest = behind;
            }
            if rest.len() == part.len() {
                pattern.push_text("$");
            }
            pattern.push_wild(rest);
        }
        pattern
    }

    /// A text that stands for itself.
    pub(crate) fn push_text(&mut self, text: &str) {
        self.0.extend(text.bytes().map(Token::Byte));
    }

    /// A text in which `*` and `?` stand for others.
    pub(crate) fn push_wild(&mut self, text: &str) {
        self.0.extend(text.bytes().map(|byte| match byte {
            b'*' => Token::Run,
            b'?' => Token::One,
            byte => Token::Byte(byte),
        }));
    }

    /// Any two digits that such a field may be.
    pub(crate) fn push_digits(&mut self, field: DateField) {
        self.0.push(Token::Digits(field.most()));
    }

    /// What every name begins with.
    pub(crate) fn beginning(&self) -> Vec<u8> {
        let bytes = self.0.iter().map_while(|token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        });
        bytes.collect()
    }

    /// Whether a name is one of these. Takes time in proportion to the product of both
    /// lengths at worst, whatever the pattern.
    #[must_use]
    pub fn fits(&self, name: &[u8]) -> bool {
        let (mut at, mut of) = (0, 0);
        // Where the last star is, and how much of the name it has taken.
        let mut star: Option<(usize, usize)> = None;
        while of < name.len() {
            let token = self.0.get(at).copied();
            if token == Some(Token::Run) {
                star = Some((at, of));
                at += 1;
                continue;
            }
            let rest = name.get(of..).unwrap_or_default();
            match (token.and_then(|token| token.taken(rest)), star) {
                (Some(taken), _) => {
                    at += 1;
                    of += taken;
                }
                (None, Some((back_to, taken))) => {
                    star = Some((back_to, taken + 1));
                    at = back_to + 1;
                    of = taken + 1;
                }
                (None, None) => return false,
            }
        }
        let rest = self.0.get(at..).unwrap_or_default();
        rest.iter().all(|token| *token == Token::Run)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn moment() -> DateTime {
        date(2026, 3, 9).at(7, 5, 1, 0)
    }

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::at(pattern, moment()).fits(name.as_bytes())
    }

    #[test]
    fn letters_that_are_no_day_are_found() {
        for (text, unknown) in [
            ("$foo*", Some("foo")),
            ("$yyy*", Some("yyy")),
            ("$yyyyMMddd", Some("yyyyMMddd")),
            ("a_$yyyyMMdd_$h.csv", Some("h")),
            ("$yyyyMMddsales.csv", None),
            ("$yyyy-$MM-$dd_$HHmmss", None),
            ("price in $", None),
            ("$$5_$", None),
            ("*", None),
        ] {
            assert_eq!(Pattern::unknown_letters(text), unknown, "{text}");
        }
    }

    #[test]
    fn a_day_stands_in_a_name_as_it_is_written() {
        let cases = [
            ("crm_$yyyyMMdd.csv", "crm_20260309.csv"),
            ("$yy$MM", "2603"),
            ("$yyyy-$MM-$dd_$HHmmss", "2026-03-09_070501"),
            ("price in $", "price in $"),
            ("$x$$dd", "$x$09"),
        ];
        for (pattern, name) in cases {
            assert_eq!(
                Pattern::at(pattern, moment()).beginning(),
                name.as_bytes(),
                "{pattern}"
            );
        }
    }

    #[test]
    fn stars_and_question_marks_stand_for_what_they_do_everywhere() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "x"),
            ("a*b*c", "aXbbYc"),
            ("?.csv", "1.csv"),
            ("*.csv", ".csv"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("?", ""),
            ("a*b", "ba"),
            ("*.csv", "x.CSV"),
            ("a", "ab"),
            ("ab", "a"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    /// The same, by trying everything.
    fn oracle(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                oracle(rest, name)
                    || name
                        .split_first()
                        .is_some_and(|(_, name)| oracle(pattern, name))
            }
            (Some((wanted, rest)), Some((byte, name))) => {
                (*wanted == b'?' || wanted == byte) && oracle(rest, name)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_says_what_trying_everything_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(fits(&pattern, &name), oracle(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
