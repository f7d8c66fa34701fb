//! How long a file is kept.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest keep time: 100 years of 365 days. Far beyond any agreement, and
/// far from where arithmetic on points in time ends.
pub const MAX_KEEP_SECS: u64 = 100 * 365 * 86_400;

/// Units from large to small; texts use them in this order.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// How long: whole seconds, from 1 to [`MAX_KEEP_SECS`].
///
/// As text (`Display`, `FromStr`, serde) days, hours, minutes and seconds, each
/// at most once and in this order: `5d`, `36h`, `90m`, `5s`, `1d12h`. What is
/// written uses the largest units: 36 hours become `1d12h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Keep(u64);

impl Keep {
    /// A keep time of `secs` seconds.
    ///
    /// # Errors
    /// [`KeepError::Zero`] and [`KeepError::TooLong`] outside 1 to
    /// [`MAX_KEEP_SECS`].
    pub const fn from_secs(secs: u64) -> Result<Self, KeepError> {
        match secs {
            0 => Err(KeepError::Zero),
            1..=MAX_KEEP_SECS => Ok(Self(secs)),
            _ => Err(KeepError::TooLong),
        }
    }

    /// In seconds, at least 1.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// As a span of time.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// A number or text is no keep time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeepError {
    /// Zero seconds: the file would be gone before anybody could collect it.
    #[error("a keep time must be at least 1s")]
    Zero,
    /// More than [`MAX_KEEP_SECS`].
    #[error("a keep time must be at most {} days", MAX_KEEP_SECS / 86_400)]
    TooLong,
    /// Not of the form described at [`Keep`].
    #[error("`{text}` is no keep time; write it like 5d, 36h, 90m, 5s or 1d12h")]
    Syntax {
        /// The text as given.
        text: String,
    },
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, unit_secs) in UNITS {
            let count = rest / unit_secs;
            rest %= unit_secs;
            if count > 0 {
                text.push_str(&count.to_string());
                text.push(unit);
            }
        }
        f.pad(&text)
    }
}

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || KeepError::Syntax {
            text: text.to_owned(),
        };
        let mut units = UNITS.iter();
        let mut secs: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let (digits, unit_and_rest) = rest
                .find(|c: char| !c.is_ascii_digit())
                .and_then(|at| rest.split_at_checked(at))
                .ok_or_else(syntax)?;
            let mut after = unit_and_rest.chars();
            let unit = after.next();
            // The iterator walks on, so that a unit can neither come twice nor out of order.
            let (_, unit_secs) = units
                .find(|(name, _)| Some(*name) == unit)
                .ok_or_else(syntax)?;
            if digits.is_empty() {
                return Err(syntax());
            }
            // More digits than u64 holds are still a number, merely too long.
            let count: u64 = digits.parse().unwrap_or(u64::MAX);
            secs = secs.saturating_add(count.saturating_mul(*unit_secs));
            rest = after.as_str();
        }
        if text.is_empty() {
            Err(syntax())
        } else {
            Self::from_secs(secs)
        }
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{Keep, KeepError, MAX_KEEP_SECS};

    #[test]
    fn every_documented_form_is_read_and_written_in_its_largest_units() {
        for (text, secs, written) in [
            ("5d", 432_000, "5d"),
            ("36h", 129_600, "1d12h"),
            ("90m", 5_400, "1h30m"),
            ("5s", 5, "5s"),
            ("1d12h", 129_600, "1d12h"),
            ("1d1s", 86_401, "1d1s"),
            ("0d5s", 5, "5s"),
            ("36500d", MAX_KEEP_SECS, "36500d"),
        ] {
            let keep: Keep = text.parse().unwrap();
            assert_eq!(
                (keep.as_secs(), keep.to_string().as_str()),
                (secs, written),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_that_is_no_keep_time_is_refused_with_its_text() {
        for text in [
            "", "5", "d", "5x", "5 d", " 5d", "-5d", "+5d", "5.5d", "1h1d", "1d1d", "5d6", "5D",
            "٥d",
        ] {
            let expected = KeepError::Syntax {
                text: text.to_owned(),
            };
            assert_eq!(text.parse::<Keep>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_bounds_are_one_second_and_a_hundred_years() {
        assert_eq!("0s".parse::<Keep>(), Err(KeepError::Zero));
        assert_eq!(Keep::from_secs(1).map(Keep::as_secs), Ok(1));
        assert_eq!(
            Keep::from_secs(MAX_KEEP_SECS).map(Keep::as_secs),
            Ok(MAX_KEEP_SECS)
        );
        assert_eq!(Keep::from_secs(MAX_KEEP_SECS + 1), Err(KeepError::TooLong));
        assert_eq!(
            "99999999999999999999999d".parse::<Keep>(),
            Err(KeepError::TooLong)
        );
        assert_eq!(
            "18446744073709551615d1h".parse::<Keep>(),
            Err(KeepError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(secs in 1..=MAX_KEEP_SECS) {
            let keep = Keep::from_secs(secs).unwrap();
            prop_assert_eq!(keep.to_string().parse(), Ok(keep));
        }

        #[test]
        fn no_text_can_panic_the_parser(text in "\\PC*") {
            let _ = text.parse::<Keep>();
        }
    }
}
