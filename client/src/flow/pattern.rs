//! Names of files as an operator writes them: `*` and `?`, and `$yyyyMMdd` for a day;
//! pure.

use jiff::civil::DateTime;

type Field = (&'static str, fn(DateTime) -> u32, usize);

/// Letters behind `$`, and how many digits they become.
const FIELDS: [Field; 7] = [
    ("yyyy", |at| number(at.year()), 4),
    ("yy", |at| number(at.year()) % 100, 2),
    ("MM", |at| number(i16::from(at.month())), 2),
    ("dd", |at| number(i16::from(at.day())), 2),
    ("HH", |at| number(i16::from(at.hour())), 2),
    ("mm", |at| number(i16::from(at.minute())), 2),
    ("ss", |at| number(i16::from(at.second())), 2),
];

fn number(value: i16) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

/// A pattern whose days are those of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// `text` at a local moment: `crm_$yyyyMMdd.csv` is `crm_20261122.csv` on that day. A
    /// `$` without such letters behind it stands for itself.
    #[must_use]
    pub fn at(text: &str, moment: DateTime) -> Self {
        let mut parts = text.split('$');
        let mut pattern = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let mut rest = part;
            let mut digits = String::new();
            while let Some((letters, value, width)) = FIELDS
                .iter()
                .find(|(letters, ..)| rest.starts_with(letters))
            {
                let value = value(moment);
                digits.push_str(&format!("{value:0width$}"));
                rest = rest.strip_prefix(letters).unwrap_or_default();
            }
            if digits.is_empty() {
                digits.push('$');
            }
            pattern.push_str(&digits);
            pattern.push_str(rest);
        }
        Self(pattern.into_bytes())
    }

    /// Whether a name is one of these. Takes time in proportion to the product of both
    /// lengths at worst, whatever the pattern.
    #[must_use]
    pub fn fits(&self, name: &[u8]) -> bool {
        let pattern = self.0.as_slice();
        let (mut at, mut of) = (0, 0);
        // Where the last star is, and how much of the name it has taken.
        let mut star: Option<(usize, usize)> = None;
        while let Some(byte) = name.get(of) {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, of));
                    at += 1;
                }
                Some(wanted) if *wanted == b'?' || wanted == byte => {
                    at += 1;
                    of += 1;
                }
                _ => match star {
                    Some((back_to, taken)) => {
                        star = Some((back_to, taken + 1));
                        at = back_to + 1;
                        of = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern
            .get(at..)
            .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
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
                Pattern::at(pattern, moment()).0,
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
