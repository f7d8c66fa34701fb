//! Values that people type and read: sizes, dates, "since when", paths.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use layover_depot::{AccountName, NameError, SessionReuse, SessionReuseError, VirtualPath};
use layover_retention::{Keep, Timestamp};

/// One day; a date without a time means the whole day.
const DAY: Duration = Duration::from_secs(86_400);

/// A number of bytes, written `10GiB`, `500 MB`, `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

/// Units, longest first so that `MiB` is not read as `B`.
const UNITS: [(&str, u64); 15] = [
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("pib", 1 << 50),
    ("pb", 1_000_000_000_000_000),
    ("t", 1 << 40),
    ("g", 1 << 30),
    ("m", 1 << 20),
    ("k", 1 << 10),
    ("b", 1),
];

/// Why a text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ByteSizeError {
    #[error("write a size as a whole number with a unit, such as 10GiB, 500MB or 1048576")]
    NotASize,
    #[error("a size of 0 would refuse every upload")]
    Zero,
    #[error("the size is beyond 9223372036854775807 bytes")]
    TooLarge,
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_ascii_lowercase();
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((lower.strip_suffix(suffix)?, *unit)))
            .unwrap_or((lower.as_str(), 1));
        let digits = digits.trim_end();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ByteSizeError::NotASize);
        }
        let bytes = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .ok_or(ByteSizeError::TooLarge)?;
        if bytes == 0 {
            Err(ByteSizeError::Zero)
        } else {
            Ok(Self(bytes))
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(formatter, "{} B", self.0);
        }
        // Tenths of the unit, rounded down, in integers: no float surprises.
        let mut tenths = u128::from(self.0) * 10;
        let mut name = "B";
        for unit in NAMES {
            if tenths < 10_240 {
                break;
            }
            tenths /= 1024;
            name = unit;
        }
        write!(formatter, "{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// The end of a permission in time: a date means the end of that day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Until(pub(crate) Timestamp);

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at: Timestamp = text.parse().map_err(|_| UntilError)?;
        Ok(Self(if is_a_plain_date(text) {
            at.saturating_add(DAY)
        } else {
            at
        }))
    }
}

/// What `allow add` says of a network's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewUntil {
    /// It has none any more.
    Never,
    /// This one.
    At(Until),
}

impl FromStr for NewUntil {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            date => date.parse().map(Self::At),
        }
    }
}

/// A keep, or the one of the layer above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepOrDefault(pub(crate) Option<Keep>);

impl FromStr for KeepOrDefault {
    type Err = <Keep as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self(None)),
            keep => keep.parse().map(|keep| Self(Some(keep))),
        }
    }
}

/// A rule for FTPS data connections, or the appliance's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReuseOrDefault(pub(crate) Option<SessionReuse>);

impl FromStr for ReuseOrDefault {
    type Err = SessionReuseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self(None)),
            rule => rule.parse().map(|rule| Self(Some(rule))),
        }
    }
}

/// A quota, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeOrNone(pub(crate) Option<ByteSize>);

impl FromStr for SizeOrNone {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            size => size.parse().map(|size| Self(Some(size))),
        }
    }
}

/// The first word behind `file list`: an account, or with `--home` the path.
/// No name of an account has a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccountOrPath {
    Account(AccountName),
    Path(VirtualPathArg),
}

/// Why a text is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccountOrPathError {
    #[error(transparent)]
    Account(#[from] NameError),
    #[error(transparent)]
    Path(#[from] layover_depot::PathError),
}

impl FromStr for AccountOrPath {
    type Err = AccountOrPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text.contains('/') {
            Self::Path(text.parse()?)
        } else {
            Self::Account(text.parse()?)
        })
    }
}

impl AccountOrPath {
    /// The path it is when the home is known already.
    pub(crate) fn into_path(self) -> Result<VirtualPath, layover_depot::PathError> {
        match self {
            Self::Path(path) => Ok(path.0),
            Self::Account(name) => Ok(name.as_str().parse::<VirtualPathArg>()?.0),
        }
    }
}

/// The start of a report: so long ago, or a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Keep),
    /// From this moment; a plain date means its first second, UTC.
    At(Timestamp),
}

impl Since {
    /// The moment meant, seen from `now`.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => now.saturating_sub(span.as_duration()),
            Self::At(at) => at,
        }
    }
}

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self::Ago)
            .or_else(|_| text.parse().map(Self::At).map_err(|_| SinceError))
    }
}

/// The text is no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a date such as 2027-01-31 (the end of that day, UTC) or 2027-01-31T18:00:00Z")]
pub(crate) struct UntilError;

/// The text is no start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a span such as 1h or 30m, or a date such as 2027-01-31 or 2027-01-31T18:00:00Z")]
pub(crate) struct SinceError;

fn is_a_plain_date(text: &str) -> bool {
    !text.contains(['T', 't', ' ', ':'])
}

/// A path inside a home, as typed; a missing leading slash is forgiven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtualPathArg(pub(crate) VirtualPath);

impl FromStr for VirtualPathArg {
    type Err = layover_depot::PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let absolute = if text.starts_with('/') {
            text.to_owned()
        } else {
            format!("/{text}")
        };
        VirtualPath::parse(absolute.as_bytes()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("1", 1),
            ("1048576", 1_048_576),
            ("10GiB", 10 << 30),
            ("10gib", 10 << 30),
            ("10 G", 10 << 30),
            ("500MB", 500_000_000),
            ("1k", 1024),
            ("7b", 7),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "GiB", "-1", "1.5GiB", "ten", "1 0", "0x10", "1GiBs"] {
            assert_eq!(
                text.parse::<ByteSize>(),
                Err(ByteSizeError::NotASize),
                "{text}"
            );
        }
        assert_eq!("0".parse::<ByteSize>(), Err(ByteSizeError::Zero));
        assert_eq!(
            "9223372036854775808".parse::<ByteSize>(),
            Err(ByteSizeError::TooLarge)
        );
        assert_eq!("8192PiB".parse::<ByteSize>(), Err(ByteSizeError::TooLarge));
        assert_eq!("9223372036854775807".parse(), Ok(ByteSize(i64::MAX as u64)));
    }

    #[test]
    fn sizes_are_shown_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (268_435_456, "256.0 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_plain_date_ends_with_its_day() {
        let until: Until = "2027-01-31".parse().unwrap();
        assert_eq!(until.0.to_string(), "2027-02-01T00:00:00Z");
        let until: Until = "2027-01-31T18:00:00Z".parse().unwrap();
        assert_eq!(until.0.to_string(), "2027-01-31T18:00:00Z");
        assert_eq!("tomorrow".parse::<Until>(), Err(UntilError));
        assert!(!UntilError.to_string().contains("since"));
    }

    #[test]
    fn since_is_a_span_or_a_date() {
        let now: Timestamp = "2027-01-31T18:00:00Z".parse().unwrap();
        let since: Since = "1h".parse().unwrap();
        assert_eq!(since.before(now).to_string(), "2027-01-31T17:00:00Z");
        let since: Since = "2027-01-30".parse().unwrap();
        assert_eq!(since.before(now).to_string(), "2027-01-30T00:00:00Z");
        assert_eq!("yesterday".parse::<Since>(), Err(SinceError));
    }

    #[test]
    fn a_path_without_leading_slash_is_forgiven() {
        let path: VirtualPathArg = "in/today".parse().unwrap();
        assert_eq!(path.0.to_string(), "/in/today");
    }
}
