//! Values that people type and read: sizes, dates, "since when", paths.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use layover_depot::{
    AccountName, ByteRate, ByteRateError, NameError, PathError, PathTexts, SessionLimit,
    SessionLimitError, SessionReuse, SessionReuseError, VirtualPath,
};
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

impl ByteSize {
    /// As it would be typed, to the byte: `100MB`, `1MiB`, `1000001`.
    pub(crate) fn exact(self) -> String {
        const NAMES: [(&str, u64); 8] = [
            ("TiB", 1 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
            ("TB", 1_000_000_000_000),
            ("GB", 1_000_000_000),
            ("MB", 1_000_000),
            ("KB", 1_000),
        ];
        let mut whole = NAMES
            .iter()
            .filter(|(_, unit)| self.0.is_multiple_of(*unit));
        match whole.find(|(_, unit)| self.0 >= *unit) {
            Some((name, unit)) => format!("{}{name}", self.0 / unit),
            None => self.0.to_string(),
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

/// A moment as people write it: `2027-01-31T18:00:00Z` (RFC 3339, with any offset), a
/// day, or a span such as `30d` counted from now. One form for every option that takes
/// a time; which end of a day is meant, and whether a span lies before now or behind
/// it, the option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// This one.
    At(Timestamp),
    /// A day, by its first moment, UTC.
    Day(Timestamp),
    /// So far from now.
    Span(Keep),
}

impl Moment {
    /// For `--since`: the start of a day, or so long ago.
    pub(crate) fn start(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) | Self::Day(at) => at,
            Self::Span(span) => now.saturating_sub(span.as_duration()),
        }
    }

    /// For `--until` of a report: the end of a day, or so long ago.
    pub(crate) fn end(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Day(at) => at.saturating_add(DAY),
            Self::Span(span) => now.saturating_sub(span.as_duration()),
        }
    }

    /// For `--until` of a permission: the end of a day, or so long from now.
    pub(crate) fn end_to_come(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Day(at) => at.saturating_add(DAY),
            Self::Span(span) => now.saturating_add(span.as_duration()),
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Span(span));
        }
        let at: Timestamp = text.parse().map_err(|_| MomentError)?;
        Ok(if is_a_plain_date(text) {
            Self::Day(at)
        } else {
            Self::At(at)
        })
    }
}

/// The text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a span such as 1h or 30d, a day such as 2027-01-31, or 2027-01-31T18:00:00Z")]
pub(crate) struct MomentError;

/// What `allow add` says of a network's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewUntil {
    /// It has none any more.
    Never,
    /// This one.
    At(Moment),
}

impl FromStr for NewUntil {
    type Err = MomentError;

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

/// A keep, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepOrNone(pub(crate) Option<Keep>);

impl FromStr for KeepOrNone {
    type Err = <Keep as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
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

/// Bytes a second, or no limit; `/s` may stand behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateOrNone(pub(crate) Option<ByteRate>);

/// Why a text is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RateError {
    #[error("write a rate as bytes a second with a unit, such as 10MiB or 500kB, or `none`")]
    NotARate,
    #[error(transparent)]
    OutOfBounds(#[from] ByteRateError),
}

impl FromStr for RateOrNone {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let bytes_per_s = match text.strip_suffix("/s").unwrap_or(text).parse::<ByteSize>() {
            Ok(size) => size.0,
            Err(ByteSizeError::Zero) => 0,
            Err(ByteSizeError::TooLarge) => u64::MAX,
            Err(ByteSizeError::NotASize) => return Err(RateError::NotARate),
        };
        Ok(Self(Some(ByteRate::new(bytes_per_s)?)))
    }
}

/// A number of sessions, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionsOrNone(pub(crate) Option<SessionLimit>);

impl FromStr for SessionsOrNone {
    type Err = SessionLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let sessions = text.parse().map_err(|_| SessionLimitError)?;
        Ok(Self(Some(SessionLimit::new(sessions)?)))
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
    Path(#[from] VirtualPathArgError),
}

impl FromStr for AccountOrPath {
    type Err = AccountOrPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text.contains('/') || text.starts_with(HEX) {
            Self::Path(text.parse()?)
        } else {
            Self::Account(text.parse()?)
        })
    }
}

impl AccountOrPath {
    /// The path it is when the home is known already.
    pub(crate) fn into_path(self) -> Result<VirtualPath, VirtualPathArgError> {
        match self {
            Self::Path(path) => Ok(path.0),
            Self::Account(name) => Ok(name.as_str().parse::<VirtualPathArg>()?.0),
        }
    }
}

/// A file or folder in an account's home: `ACCOUNT:/path`, or `ACCOUNT:hex:2f70617468`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HomePlace {
    pub(crate) account: AccountName,
    pub(crate) path: VirtualPath,
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HomePlaceError {
    #[error("not of the form ACCOUNT:/path, or ACCOUNT for the top of its home")]
    Form,
    #[error(transparent)]
    Account(#[from] NameError),
    #[error(transparent)]
    Path(#[from] VirtualPathArgError),
}

impl FromStr for HomePlace {
    type Err = HomePlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None | Some((_, "")) => Ok(Self {
                account: text.trim_end_matches(':').parse()?,
                path: VirtualPath::root(),
            }),
            Some((account, path)) if path.starts_with('/') || path.starts_with(HEX) => Ok(Self {
                account: account.parse()?,
                path: path.parse::<VirtualPathArg>()?.0,
            }),
            _ => Err(HomePlaceError::Form),
        }
    }
}

impl fmt::Display for HomePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.account, PathTexts::from(&self.path))
    }
}

/// A file that is sent: of a home, or of this machine. No name of an account has a slash,
/// so a path that begins with one, or with `./`, is of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileSource {
    Home(HomePlace),
    Local(PathBuf),
}

impl FromStr for FileSource {
    type Err = HomePlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let before = text.split_once(':').map(|(before, _)| before);
        match before {
            Some(before) if !before.contains('/') => Ok(Self::Home(text.parse()?)),
            _ => Ok(Self::Local(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home(place) => place.fmt(f),
            Self::Local(path) => path.display().fmt(f),
        }
    }
}

fn is_a_plain_date(text: &str) -> bool {
    !text.contains(['T', 't', ' ', ':'])
}

/// Before the bytes of a path that is not UTF-8, in hexadecimal digits.
const HEX: &str = "hex:";

/// A path inside a home, as typed; a missing leading slash is forgiven. What cannot be typed
/// as text is given by its bytes: `hex:2f696eff`, the digits being those of `path_hex` in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtualPathArg(pub(crate) VirtualPath);

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VirtualPathArgError {
    #[error(
        "behind `hex:` come the bytes of the path in hexadecimal digits, as path_hex of --json tells them; a file whose name begins so: /hex:..."
    )]
    Hex,
    #[error(transparent)]
    Path(#[from] PathError),
}

impl FromStr for VirtualPathArg {
    type Err = VirtualPathArgError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = match text.strip_prefix(HEX) {
            Some(digits) => hex::decode(digits).map_err(|_| VirtualPathArgError::Hex)?,
            None => text.as_bytes().to_vec(),
        };
        // From the top, with a leading slash or without.
        Ok(Self(VirtualPath::parse(&bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_of_a_home_or_of_this_machine() {
        let home = |account: &str, path: &str| {
            FileSource::Home(HomePlace {
                account: account.parse().unwrap(),
                path: path.parse().unwrap(),
            })
        };
        for (text, expected) in [
            ("alice:/out/a", home("alice", "/out/a")),
            ("alice:/out/a:b", home("alice", "/out/a:b")),
            ("a.csv", FileSource::Local("a.csv".into())),
            ("/srv/a:b", FileSource::Local("/srv/a:b".into())),
            ("./a:/b", FileSource::Local("./a:/b".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["alice", "alice:", "alice:/"] {
            let top = HomePlace {
                account: "alice".parse().unwrap(),
                path: VirtualPath::root(),
            };
            assert_eq!(text.parse(), Ok(top), "{text}");
        }
        for text in ["a:b", "alice:out/a", ":/a", "al ice:/a"] {
            assert!(text.parse::<FileSource>().is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_read_within_their_bounds_and_refused_with_what_to_do() {
        let rate = |text: &str| text.parse::<RateOrNone>();
        assert_eq!(rate("none"), Ok(RateOrNone(None)));
        for text in ["16KiB", "16 KiB/s", "16384"] {
            assert_eq!(rate(text), Ok(RateOrNone(ByteRate::new(16_384).ok())));
        }
        for (text, says) in [
            ("0", "below 16KiB"),
            ("16383", "below 16KiB"),
            ("2TiB", "above 1TiB"),
            ("99999999999TiB", "above 1TiB"),
            ("-5", "bytes a second"),
            ("fast", "bytes a second"),
        ] {
            let refused = rate(text).unwrap_err().to_string();
            assert!(refused.contains(says), "{text}: {refused}");
        }
        let sessions = |text: &str| text.parse::<SessionsOrNone>();
        assert_eq!(sessions("none"), Ok(SessionsOrNone(None)));
        assert_eq!(sessions("3"), Ok(SessionsOrNone(SessionLimit::new(3).ok())));
        for text in ["0", "-1", "100001", "many", ""] {
            assert!(sessions(text).is_err(), "{text}");
        }
    }

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
    fn every_option_reads_the_same_moments_and_the_end_of_a_day_is_its_last() {
        let now: Timestamp = "2027-01-31T18:00:00Z".parse().unwrap();
        for (text, start, end, end_to_come) in [
            (
                "1h",
                "2027-01-31T17:00:00Z",
                "2027-01-31T17:00:00Z",
                "2027-01-31T19:00:00Z",
            ),
            (
                "30d",
                "2027-01-01T18:00:00Z",
                "2027-01-01T18:00:00Z",
                "2027-03-02T18:00:00Z",
            ),
            (
                "2027-01-30",
                "2027-01-30T00:00:00Z",
                "2027-01-31T00:00:00Z",
                "2027-01-31T00:00:00Z",
            ),
            (
                "2027-01-30T18:00:00+02:00",
                "2027-01-30T16:00:00Z",
                "2027-01-30T16:00:00Z",
                "2027-01-30T16:00:00Z",
            ),
        ] {
            let moment: Moment = text.parse().unwrap();
            let seen = [moment.start(now), moment.end(now), moment.end_to_come(now)];
            let seen = seen.map(|at| at.to_string());
            assert_eq!(seen, [start, end, end_to_come], "{text}");
        }
        for text in ["tomorrow", "yesterday", "", "-1h", "2027-13-01"] {
            assert_eq!(text.parse::<Moment>(), Err(MomentError), "{text}");
        }
        assert_eq!("never".parse(), Ok(NewUntil::Never));
        let day: Timestamp = "2027-01-31".parse().unwrap();
        assert_eq!("2027-01-31".parse(), Ok(NewUntil::At(Moment::Day(day))));
    }

    #[test]
    fn a_path_without_leading_slash_is_forgiven() {
        let path: VirtualPathArg = "in/today".parse().unwrap();
        assert_eq!(path.0.to_string(), "/in/today");
    }

    #[test]
    fn a_path_that_is_no_text_is_given_by_its_bytes() {
        let path = |text: &str| text.parse::<VirtualPathArg>().map(|path| path.0);
        let of_bytes = VirtualPath::parse(b"/in/\xff").unwrap();
        for text in ["hex:2f696e2fff", "hex:2F696E2FFF", "hex:696e2fff"] {
            assert_eq!(path(text).as_ref(), Ok(&of_bytes), "{text}");
        }
        let place: HomePlace = "alice:hex:2f696e2fff".parse().unwrap();
        assert_eq!(place.path, of_bytes);
        assert_eq!(place.to_string(), "alice:/in/\u{fffd} (hex:2f696e2fff)");
        let only: AccountOrPath = "hex:2f696e2fff".parse().unwrap();
        assert_eq!(only.into_path(), Ok(of_bytes));
        // A file whose name begins so.
        let literal = path("/hex:ff").unwrap();
        assert_eq!(literal.as_bytes(), b"/hex:ff");
        for text in ["hex:2", "hex:zz", "hex:/in", "hex: 2f"] {
            assert_eq!(path(text), Err(VirtualPathArgError::Hex), "{text}");
        }
        // Bytes get through no more than text does.
        assert!(matches!(
            path("hex:2f00"),
            Err(VirtualPathArgError::Path(PathError::Nul))
        ));
        assert!(matches!(
            path("hex:2f1b"),
            Err(VirtualPathArgError::Path(_))
        ));
    }
}
