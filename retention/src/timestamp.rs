//! Points in time, as the ledger and the journal hold them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
///
/// Always between [`Timestamp::MIN`] and [`Timestamp::MAX`], so that each can
/// be written as RFC 3339. `Display` and serde write whole seconds
/// (`2026-11-21T04:39:13Z`; a fraction is cut off); [`Timestamp::as_micros`] is
/// exact. `FromStr` and serde read RFC 3339 with any offset and fraction, or a
/// date, which means that day's first moment in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest: 0000-01-01T00:00:00Z, where RFC 3339 begins.
    pub const MIN: Self = Self(-62_167_219_200 * MICROS_PER_SECOND);
    /// The latest: 9999-12-30T22:00:00Z, which every offset can still express
    /// with a year of four digits.
    pub const MAX: Self = Self(253_402_207_200 * MICROS_PER_SECOND);

    /// The point `micros` microseconds after 1970; beyond [`Timestamp::MIN`]
    /// and [`Timestamp::MAX`] the nearer of them.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Microseconds since 1970, negative before.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This point plus `span`, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(span)))
    }

    /// This point minus `span`, at least [`Timestamp::MIN`].
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(micros(span)))
    }

    /// The time from `earlier` to this point; zero when `earlier` is later.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = jiff::Timestamp::from_second(self.0.div_euclid(MICROS_PER_SECOND))
            .map_err(|_| fmt::Error)?;
        f.pad(&second.to_string())
    }
}

/// A text is no point in time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no time; write it like 2026-11-21T04:39:13Z or 2026-11-21")]
pub struct TimestampError {
    text: String,
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || TimestampError {
            text: text.to_owned(),
        };
        let instant = match date(text) {
            Some(midnight) => midnight,
            None => text.parse::<jiff::Timestamp>().map_err(|_| error())?,
        };
        let micros =
            i64::try_from(instant.as_nanosecond().div_euclid(1000)).map_err(|_| error())?;
        let parsed = Self::from_micros(micros);
        if parsed.0 == micros {
            Ok(parsed)
        } else {
            Err(error())
        }
    }
}

/// `text` as a bare date. jiff reads the date of a longer text, too, and would
/// drop its time of day; hence the comparison.
fn date(text: &str) -> Option<jiff::Timestamp> {
    let date: jiff::civil::Date = text.parse().ok()?;
    if date.to_string() != text {
        return None;
    }
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(midnight.timestamp())
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{Duration, MICROS_PER_SECOND, Timestamp};

    #[test]
    fn a_time_is_written_in_whole_seconds_of_utc() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (999_999, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (1_795_235_953_000_001, "2026-11-21T04:39:13Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
            (i64::MAX, "9999-12-30T22:00:00Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_string(), text, "{micros}");
        }
    }

    #[test]
    fn a_time_is_read_with_offset_fraction_or_as_a_date() {
        for (text, micros) in [
            ("2026-11-21T04:39:13Z", 1_795_235_953_000_000),
            ("2026-11-21T05:39:13+01:00", 1_795_235_953_000_000),
            ("2026-11-21T04:39:13.000001999Z", 1_795_235_953_000_001),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2026-11-21", 1_795_219_200_000_000),
        ] {
            assert_eq!(
                text.parse::<Timestamp>().map(Timestamp::as_micros),
                Ok(micros),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_that_is_no_definite_time_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-11-21T04:39:13",
            "2026-11-21T04:39",
            "2026-13-01",
            "2026-02-30",
            "20261121",
            "9999-12-31",
            "-000001-01-01T00:00:00Z",
            "2026-11-21T04:39:13Z trailing",
        ] {
            let refused = text.parse::<Timestamp>().unwrap_err();
            assert!(
                refused.to_string().contains(&format!("`{text}`")),
                "{refused}"
            );
        }
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_time() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(
            Timestamp::MIN.duration_since(Timestamp::MAX),
            Duration::ZERO
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_to_the_second(micros in any::<i64>()) {
            let time = Timestamp::from_micros(micros);
            let back: Timestamp = time.to_string().parse().unwrap();
            prop_assert!(back <= time);
            prop_assert!(time.as_micros() - back.as_micros() < MICROS_PER_SECOND);
            prop_assert_eq!(back.to_string(), time.to_string());
        }

        #[test]
        fn no_text_can_panic_the_parser(text in "\\PC*") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
