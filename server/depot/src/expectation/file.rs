//! The name of an expected file; pure.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::pattern::{DateField, Pattern};

/// Longest pattern, in bytes: as long as a name may be.
pub const MAX_EXPECTED_FILE_BYTES: usize = 255;

/// Why a text is not the name of an expected file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectedFileError {
    /// Empty, or too long.
    #[error("the name of an expected file has 1 to {MAX_EXPECTED_FILE_BYTES} bytes")]
    Length,
    /// It would be in another folder, or is no name at all.
    #[error(
        "the name of an expected file has no slash and no control character, and is not . or .."
    )]
    NotAName,
    /// Letters that mean nothing.
    #[error(
        "behind $ stand letters of a date, yyyy, yy, MM or dd, or of a time, HH, mm or ss; a $ itself is written $$"
    )]
    Letters,
}

/// Names of the files that are expected on a day: `*` and `?` as everywhere,
/// `$yyyyMMdd` for the day, `$HHmmss` for any time of day, `$$` for a `$`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExpectedFile(String);

/// What a text is made of.
enum Part<'a> {
    Text(&'a str),
    Dollar,
    Field(DateField),
}

/// Reads a text to its end.
fn parts(text: &str) -> Result<Vec<Part<'_>>, ExpectedFileError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        parts.push(Part::Text(before));
        if let Some(behind) = behind.strip_prefix('$') {
            parts.push(Part::Dollar);
            rest = behind;
            continue;
        }
        let (mut field, mut left) = DateField::take(behind).ok_or(ExpectedFileError::Letters)?;
        loop {
            parts.push(Part::Field(field));
            match DateField::take(left) {
                Some(next) => (field, left) = next,
                None => break,
            }
        }
        rest = left;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

impl ExpectedFile {
    /// As the operator writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> Vec<Part<'_>> {
        // It was read when it was made.
        parts(&self.0).unwrap_or_default()
    }

    /// The names of one day.
    #[must_use]
    pub fn on(&self, day: Date) -> Pattern {
        let mut pattern = Pattern::default();
        for part in self.parts() {
            match part {
                Part::Text(text) => pattern.push_wild(text),
                Part::Dollar => pattern.push_text("$"),
                Part::Field(field) => match field.of_day(day) {
                    Some(digits) => pattern.push_text(&digits),
                    None => pattern.push_digits(field),
                },
            }
        }
        pattern
    }

    /// Whether each day has names of its own: what has them is of that day, whenever it
    /// came.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        let parts = self.parts();
        let has = |wanted: DateField| {
            let mut fields = parts.iter();
            fields.any(|part| matches!(part, Part::Field(field) if *field == wanted))
        };
        (has(DateField::Year) || has(DateField::ShortYear))
            && has(DateField::Month)
            && has(DateField::Day)
    }
}

impl FromStr for ExpectedFile {
    type Err = ExpectedFileError;

    fn from_str(text: &str) -> Result<Self, ExpectedFileError> {
        if text.is_empty() || text.len() > MAX_EXPECTED_FILE_BYTES {
            return Err(ExpectedFileError::Length);
        }
        if text.contains('/') || text.contains(char::is_control) || matches!(text, "." | "..") {
            return Err(ExpectedFileError::NotAName);
        }
        parts(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ExpectedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ExpectedFile {
    type Error = ExpectedFileError;

    fn try_from(text: String) -> Result<Self, ExpectedFileError> {
        text.parse()
    }
}

impl From<ExpectedFile> for String {
    fn from(file: ExpectedFile) -> Self {
        file.0
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str) -> ExpectedFile {
        text.parse().unwrap()
    }

    fn fits(text: &str, name: &str) -> bool {
        file(text).on(date(2026, 3, 9)).fits(name.as_bytes())
    }

    #[test]
    fn the_day_stands_in_the_name_and_a_time_of_day_is_any() {
        for (pattern, name) in [
            ("crm_$yyyyMMdd.csv", "crm_20260309.csv"),
            ("$dd.$MM.$yy", "09.03.26"),
            ("crm_$yyyyMMdd_$HHmm.csv", "crm_20260309_0000.csv"),
            ("crm_$yyyyMMdd_$HHmm.csv", "crm_20260309_2359.csv"),
            ("*_$yyyyMMdd$HHmmss*", "a_20260309235959.csv.pgp"),
            ("price in $$dd", "price in $dd"),
            ("$$$dd", "$09"),
            ("crm.csv", "crm.csv"),
            ("?.csv", "1.csv"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("crm_$yyyyMMdd.csv", "crm_20260310.csv"),
            ("crm_$yyyyMMdd.csv", "crm_20260309.CSV"),
            ("crm_$yyyyMMdd_$HHmm.csv", "crm_20260309_2400.csv"),
            ("crm_$yyyyMMdd_$HHmm.csv", "crm_20260309_2360.csv"),
            ("crm_$yyyyMMdd_$HHmm.csv", "crm_20260309_235.csv"),
            ("crm_$yyyyMMdd_$HHmm.csv", "crm_20260309_+105.csv"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_name_or_means_nothing_is_refused() {
        use ExpectedFileError::{Length, Letters, NotAName};
        for (text, why) in [
            ("", Length),
            (&*"x".repeat(MAX_EXPECTED_FILE_BYTES + 1), Length),
            ("in/crm.csv", NotAName),
            ("..", NotAName),
            ("a\nb", NotAName),
            ("crm_$.csv", Letters),
            ("crm_$YYYY.csv", Letters),
            ("crm$", Letters),
        ] {
            assert_eq!(text.parse::<ExpectedFile>(), Err(why), "{text:?}");
        }
        assert!(
            "x".repeat(MAX_EXPECTED_FILE_BYTES)
                .parse::<ExpectedFile>()
                .is_ok()
        );
    }

    #[test]
    fn only_a_name_with_the_whole_date_is_of_its_day_alone() {
        assert!(file("crm_$yyyyMMdd.csv").is_dated());
        assert!(file("crm_$dd-$MM-$yy.csv").is_dated());
        for other in [
            "crm.csv",
            "crm_$yyyyMM.csv",
            "crm_$dd.csv",
            "crm_$HHmm.csv",
            "$$yyyyMMdd",
        ] {
            assert!(!file(other).is_dated(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_day_has_its_own_name(one in 0_i32..4_000, other in 0_i32..4_000) {
            let day = |number: i32| {
                let first = date(2020, 1, 1);
                first.checked_add(jiff::Span::new().days(number)).unwrap()
            };
            let (one, other) = (day(one), day(other));
            let named = file("crm_$yyyyMMdd.csv").on(other).beginning();
            prop_assert_eq!(file("crm_$yyyyMMdd.csv").on(one).fits(&named), one == other);
        }
    }
}
