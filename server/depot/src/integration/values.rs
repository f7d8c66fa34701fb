//! The values of an integration: texts and words that cannot be wrong once
//! they exist. Each is read from the text that it is shown as.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::tz::{Offset, TimeZone};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::reference::SecretReference;

/// Longest host name, in bytes (RFC 1035, 2.3.4).
pub const MAX_HOST_BYTES: usize = 253;
/// Longest user name on a partner's server, in bytes.
pub const MAX_REMOTE_USER_BYTES: usize = 256;
/// Longest display name, in bytes.
pub const MAX_DISPLAY_NAME_BYTES: usize = 128;
/// Longest suffix of a file that is being uploaded, in bytes.
pub const MAX_SUFFIX_BYTES: usize = 32;
/// Longest pattern of dates in listings, in bytes.
pub const MAX_DATE_FORMAT_BYTES: usize = 64;
/// Longest certificates or PGP keys of one field, in bytes.
pub const MAX_KEY_TEXT_BYTES: usize = 256 * 1024;

/// The text is not what the field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a value of this field")]
pub struct NotAValue;

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $read:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAValue;

            fn from_str(text: &str) -> Result<Self, NotAValue> {
                let read: fn(&str) -> Option<String> = $read;
                read(text).map(Self).ok_or(NotAValue)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAValue;

            fn try_from(text: String) -> Result<Self, NotAValue> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

macro_rules! word_value {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Each of them.
            pub const EACH: &[Self] = &[$(Self::$variant),+];

            /// Its word, everywhere.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = NotAValue;

            fn from_str(text: &str) -> Result<Self, NotAValue> {
                let mut each = Self::EACH.iter().copied();
                each.find(|one| one.as_str().eq_ignore_ascii_case(text)).ok_or(NotAValue)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAValue;

            fn try_from(text: String) -> Result<Self, NotAValue> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }
    };
}

word_value!(
    /// What a partner's server speaks.
    IntegrationProtocol {
        /// FTP with TLS.
        Ftps = "ftps",
        /// Files over SSH.
        Sftp = "sftp",
        /// FTP without any protection, for partners who have nothing else.
        Ftp = "ftp",
    }
);
word_value!(
    /// How an FTPS connection begins.
    FtpsSecurity {
        /// AUTH TLS on the FTP port.
        Explicit = "explicit",
        /// TLS from the first byte.
        Implicit = "implicit",
    }
);
word_value!(
    /// Who makes data connections.
    TransferMode {
        /// We do.
        Passive = "passive",
        /// The partner's server does.
        Active = "active",
    }
);
word_value!(
    /// The oldest TLS that is offered.
    MinTlsVersion {
        /// TLS 1.2 and 1.3.
        Tls12 = "1.2",
        /// TLS 1.3 alone.
        Tls13 = "1.3",
    }
);
word_value!(
    /// How the server writes paths and listings.
    RemoteSystem {
        /// `/in/file`.
        Unix = "UNIX",
        /// `C:\in\file`.
        Windows = "WINDOWS",
    }
);
word_value!(
    /// What proves to an SFTP server who we are.
    SftpAuth {
        /// A password.
        Password = "password",
        /// An SSH key pair of ours.
        Key = "key",
    }
);
word_value!(
    /// Which SSH algorithms are offered.
    SshAlgorithms {
        /// The newer ones.
        Modern = "modern",
        /// Older ones as well; nothing that is broken.
        Compatible = "compatible",
    }
);
word_value!(
    /// What a location is for.
    LocationDirection {
        /// Files are fetched from there.
        Download = "download",
        /// Files are put there.
        Upload = "upload",
        /// Either.
        Both = "both",
    }
);

impl LocationDirection {
    /// Whether files may move this way there.
    #[must_use]
    pub fn is_for(self, direction: FlowDirection) -> bool {
        match self {
            Self::Both => true,
            Self::Download => direction == FlowDirection::Download,
            Self::Upload => direction == FlowDirection::Upload,
        }
    }
}

word_value!(
    /// Which way a flow moves files.
    FlowDirection {
        /// From us to the partner.
        Upload = "upload",
        /// From the partner to us.
        Download = "download",
    }
);
word_value!(
    /// How a flow knows a file that it has moved already.
    IdempotencyMode {
        /// By its content.
        Hash = "hash",
        /// By its name.
        Name = "name",
        /// By its name, its size and the time of its last change.
        NameSizeTime = "name+size+time",
        /// It does not.
        None = "none",
    }
);

word_value!(
    /// What becomes of a schedule's firings that nobody was there for.
    CatchUp {
        /// One run makes up for all of them.
        Once = "once",
        /// None does.
        Skip = "skip",
    }
);

impl CatchUp {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
    pub(super) fn is_once(&self) -> bool {
        *self == Self::Once
    }
}

fn one_line(text: &str, most: usize) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= most && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}

fn host(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // Four numbers that are no address are a mistake, not a name.
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let fits = name.len() <= MAX_HOST_BYTES && !numeric && name.split('.').all(label);
    fits.then(|| name.to_ascii_lowercase())
}

fn suffix(text: &str) -> Option<String> {
    one_line(text, MAX_SUFFIX_BYTES).filter(|text| !text.contains(['/', '\\']))
}

fn pin(text: &str) -> Option<String> {
    let text = text.trim();
    // The line that `openssl x509 -fingerprint -sha256` prints.
    let text = match text.split_once('=') {
        Some((what, digits)) if what.eq_ignore_ascii_case("sha256 fingerprint") => digits,
        _ => text,
    };
    let text = text
        .strip_prefix("SHA256:")
        .or_else(|| text.strip_prefix("sha256:"))
        .unwrap_or(text);
    let digits: String = text.chars().filter(|digit| *digit != ':').collect();
    let fits = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| digits.to_ascii_lowercase())
}

/// Pattern letters as in `yyyy-MM-dd HH:mm`; text in quotes stands for itself.
fn date_format(text: &str) -> Option<String> {
    let mut quoted = false;
    let mut letters = String::new();
    for letter in text.chars() {
        match letter {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            'y' | 'M' | 'd' | 'H' | 'h' | 'm' | 's' | 'S' | 'a' | 'E' => letters.push(letter),
            letter if letter.is_ascii_alphabetic() => return None,
            _ => {}
        }
    }
    let dated = letters.contains('M') && letters.contains('d');
    (dated && !quoted)
        .then(|| one_line(text, MAX_DATE_FORMAT_BYTES))
        .flatten()
}

fn time_zone(text: &str) -> Option<String> {
    if let Some((sign, clock)) = text.split_at_checked(1)
        && let Some(sign) = match sign {
            "+" => Some(1),
            "-" => Some(-1),
            _ => None,
        }
    {
        let (hours, minutes) = clock.split_once(':')?;
        let two = |digits: &str| {
            (digits.len() == 2)
                .then(|| digits.parse::<i32>().ok())
                .flatten()
        };
        let (hours, minutes) = (two(hours)?, two(minutes).filter(|minutes| *minutes < 60)?);
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
        return Some(text.to_owned());
    }
    TimeZone::get(text).ok().map(|_| text.to_owned())
}

fn ports(text: &str) -> Option<String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |digits: &str| digits.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then(|| format!("{first}-{last}"))
}

/// Lines without blanks at their ends, and exactly one line end behind the last.
fn tidy(text: &str) -> Option<String> {
    if text.len() > MAX_KEY_TEXT_BYTES {
        return None;
    }
    let lines: Vec<_> = text.trim().lines().map(str::trim_end).collect();
    Some(format!("{}\n", lines.join("\n")))
}

fn certificates(text: &str) -> Option<String> {
    if text.parse::<SecretReference>().is_ok() {
        return Some(text.to_owned());
    }
    let mut found = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.ok()?;
        x509_parser::parse_x509_certificate(&certificate).ok()?;
        found += 1;
    }
    // A private key beside it would stand in the database in clear.
    (found > 0 && !text.contains("PRIVATE KEY"))
        .then(|| tidy(text))
        .flatten()
}

fn pgp_public_key(text: &str) -> Option<String> {
    let tidied = tidy(text)?;
    let fits = tidied.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        && tidied.ends_with("\n-----END PGP PUBLIC KEY BLOCK-----\n")
        && !tidied.contains("PRIVATE KEY");
    fits.then_some(tidied)
}

/// Names of months and days that stand for numbers, from the lowest.
pub(crate) const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
pub(crate) const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronFault {
    /// It has more fields, or fewer.
    #[error("it has {0} fields instead of 5, or 6 with seconds in front")]
    Fields(usize),
    /// A field holds what it cannot.
    #[error(
        "`{text}` is no {field}: {low} to {high}{names}, `*`, a range or a list of them, perhaps with /step"
    )]
    Field {
        /// What the field stands for.
        field: &'static str,
        /// What is there.
        text: String,
        /// Its lowest value.
        low: u32,
        /// Its highest.
        high: u32,
        /// Words that stand for numbers, for people.
        names: &'static str,
    },
}

/// What a field of a schedule stands for, its lowest and highest value, the words for
/// them, and those for people.
type CronRule = (
    &'static str,
    u32,
    u32,
    &'static [&'static str],
    &'static str,
);

const CRON_RULES: [CronRule; 6] = [
    ("second", 0, 59, &[], ""),
    ("minute", 0, 59, &[], ""),
    ("hour", 0, 23, &[], ""),
    ("day of the month", 1, 31, &[], ""),
    ("month", 1, 12, MONTHS, " or jan to dec"),
    ("weekday", 0, 7, DAYS, " or sun to sat"),
];

impl CronSchedule {
    /// Why `text` is none; nothing when it is one.
    #[must_use]
    pub fn fault(text: &str) -> Option<CronFault> {
        read_cron(text).err()
    }
}

fn cron(text: &str) -> Option<String> {
    read_cron(text).ok()
}

/// Five fields (minute, hour, day, month, weekday), or six with seconds before them.
fn read_cron(text: &str) -> Result<String, CronFault> {
    let fields: Vec<_> = text.split_ascii_whitespace().collect();
    let skipped = CRON_RULES.len().checked_sub(fields.len());
    let Some(skipped) = skipped.filter(|skipped| *skipped <= 1) else {
        return Err(CronFault::Fields(fields.len()));
    };
    for (text, (field, low, high, words, names)) in
        fields.iter().zip(CRON_RULES.iter().skip(skipped))
    {
        let mut parts = text.split(',');
        if let Some(part) = parts.find(|part| !cron_part(part, *low, *high, words)) {
            return Err(CronFault::Field {
                field,
                text: part.to_owned(),
                low: *low,
                high: *high,
                names,
            });
        }
    }
    Ok(fields.join(" "))
}

/// `*`, `5`, `1-5`, `mon-fri`, each perhaps with `/step`.
pub(crate) fn cron_part(part: &str, low: u32, high: u32, names: &[&str]) -> bool {
    let number = |text: &str| {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        let named = named
            .and_then(|at| u32::try_from(at).ok())
            .map(|at| at + low);
        let value = named.or_else(|| text.parse().ok());
        value.filter(|value| (low..=high).contains(value))
    };
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let stepped = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
    let ranged = match range.split_once('-') {
        Some((first, last)) => {
            matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
        }
        None => matches!(range, "*" | "?") || number(range).is_some(),
    };
    stepped && ranged
}

text_value!(
    /// When a flow runs, as in crontab, perhaps with seconds in front.
    CronSchedule,
    cron
);
text_value!(
    /// Names of files, with `*` and `?`.
    FilePattern,
    |text| one_line(text, 256).filter(|text| !text.contains('/'))
);
text_value!(
    /// A folder, as a flow names it.
    FlowFolder,
    |text| one_line(text, 2048)
);
text_value!(
    /// A host name in lower case, or an address.
    RemoteHost,
    host
);
text_value!(
    /// The name that we log in with.
    RemoteUser,
    |text| one_line(text, MAX_REMOTE_USER_BYTES)
);
text_value!(
    /// What people call it.
    DisplayName,
    |text| one_line(text.trim(), MAX_DISPLAY_NAME_BYTES)
);
text_value!(
    /// What stands behind a file's name while it is being uploaded.
    PartialSuffix,
    suffix
);
text_value!(
    /// SHA-256 of a server's certificate, 64 small hexadecimal digits.
    CertificatePin,
    pin
);
text_value!(
    /// How a server writes dates in listings: `yyyy-MM-dd HH:mm`.
    DateFormat,
    date_format
);
text_value!(
    /// A time zone by its name (`Europe/Brussels`, `UTC`) or offset (`+02:00`).
    ZoneName,
    time_zone
);
text_value!(
    /// Local ports, `first-last`.
    ActivePorts,
    ports
);
text_value!(
    /// Certificates in PEM, or where they are.
    Certificates,
    certificates
);
text_value!(
    /// Public PGP keys, armored.
    PgpPublicKeys,
    pgp_public_key
);

impl Certificates {
    /// Where they are, when they are not here.
    #[must_use]
    pub fn reference(&self) -> Option<SecretReference> {
        self.0.parse().ok()
    }
}

impl ActivePorts {
    /// The first and the last.
    #[must_use]
    pub fn range(&self) -> std::ops::RangeInclusive<u16> {
        let (first, last) = self.0.split_once('-').unwrap_or((&self.0, &self.0));
        first.parse().unwrap_or(0)..=last.parse().unwrap_or(0)
    }
}

macro_rules! defaults {
    ($($name:ident = $variant:ident),+ $(,)?) => {
        $(impl Default for $name {
            fn default() -> Self {
                Self::$variant
            }
        })+
    };
}

defaults! {
    FtpsSecurity = Explicit,
    TransferMode = Passive,
    MinTlsVersion = Tls12,
    RemoteSystem = Unix,
    SftpAuth = Password,
    SshAlgorithms = Modern,
}

impl Default for PartialSuffix {
    fn default() -> Self {
        Self(".part".to_owned())
    }
}

#[cfg(test)]
mod tests;
