//! SSH public keys as operators give them: OpenSSH's `authorized_keys` form
//! (sshd(8)). What a line demands and we do not enforce is refused here, so
//! that nothing is ever silently ignored.

use std::net::IpAddr;

use layover_retention::Timestamp;
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey};

use crate::FromPattern;

/// Shortest RSA modulus that is accepted (NIST SP 800-131A rev. 2).
pub const MIN_RSA_BITS: u32 = 2048;
/// Longest RSA modulus: verifying a longer one costs a peer nothing and us much.
pub const MAX_RSA_BITS: u32 = 16384;
/// Keys that one account may have.
pub const MAX_KEYS_PER_ACCOUNT: usize = 64;
/// Patterns in one `from=` list.
pub const MAX_FROM_PATTERNS: usize = 64;
/// Names in one `principals=` list.
pub const MAX_PRINCIPALS: usize = 64;
/// Longest name in it, in bytes.
const MAX_PRINCIPAL_BYTES: usize = 256;
/// Longest comment that is kept, in characters.
const MAX_COMMENT_CHARS: usize = 256;

/// What an account's key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// It opens the account itself.
    Login,
    /// It signs certificates that do (`cert-authority`).
    Authority {
        /// Names of which a certificate must carry one; none listed: the
        /// account's own name.
        principals: Vec<String>,
    },
}

/// A key that an account logs in with, or whose certificates it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey {
    /// `SHA256:...`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa` (which says nothing of
    /// the signature: SHA-1 signatures are refused).
    pub algorithm: String,
    /// The line's comment.
    pub comment: String,
    /// The key in SSH's wire form (RFC 4253 s.6.6).
    pub blob: Vec<u8>,
    /// From where it may be used; an empty list is no restriction.
    pub from: Vec<FromPattern>,
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
    /// What it is for.
    pub used_for: KeyUse,
    /// When the operator added it.
    pub added_at: Timestamp,
}

impl AuthorizedKey {
    /// Whether this key may be used from `peer` at `now`.
    #[must_use]
    pub fn admits(&self, peer: IpAddr, now: Timestamp) -> bool {
        !self.is_over(now) && FromPattern::list_admits(&self.from, peer)
    }

    /// Whether its time has passed.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

/// A key to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// `SHA256:...`.
    pub fingerprint: String,
    /// The key's type.
    pub algorithm: String,
    /// The line's comment.
    pub comment: String,
    /// The key in SSH's wire form.
    pub blob: Vec<u8>,
    /// From where it may be used.
    pub from: Vec<FromPattern>,
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
    /// What it is for.
    pub used_for: KeyUse,
}

/// Why a line of an `authorized_keys` file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct KeyError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: KeyFault,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No public key in OpenSSH's form.
    #[error("this is not a public key in OpenSSH form (`ssh-ed25519 AAAA... comment`)")]
    NotAKey,
    /// A type that we do not verify.
    #[error(
        "keys of type `{algorithm}` are not accepted; use ssh-ed25519, ecdsa-sha2-nistp256/384/521 or RSA of at least {MIN_RSA_BITS} bits"
    )]
    Algorithm {
        /// The type.
        algorithm: String,
    },
    /// RSA outside the limits.
    #[error("this RSA key has {bits} bits; between {MIN_RSA_BITS} and {MAX_RSA_BITS} are accepted")]
    RsaBits {
        /// Its modulus' length.
        bits: u32,
    },
    /// An option that would restrict the key and that we do not enforce.
    #[error(
        "the option `{option}` is not enforced by this server, so the key is refused; take the option out if you can do without it"
    )]
    Unenforced {
        /// The option's name.
        option: String,
    },
    /// Options that cannot be read.
    #[error("the options before the key cannot be read: {reason}")]
    Options {
        /// Why.
        reason: &'static str,
    },
    /// `from=` with something that is no address.
    #[error(
        "`from=` takes addresses and CIDR blocks, also negated with `!`; `{pattern}` is neither (host names and wildcards are not looked up)"
    )]
    From {
        /// The pattern.
        pattern: String,
    },
    /// `principals=` that cannot be used.
    #[error(
        "`principals=` goes with `cert-authority` and takes 1 to {MAX_PRINCIPALS} names, with commas between them"
    )]
    Principals,
    /// Too many patterns.
    #[error("`from=` has more than {MAX_FROM_PATTERNS} patterns")]
    TooManyPatterns,
    /// `expiry-time=` that cannot be read.
    #[error(
        "`expiry-time=\"{text}\"` cannot be read: expected YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, in UTC"
    )]
    ExpiryTime {
        /// The text.
        text: String,
    },
}

/// Reads the text of an `authorized_keys` file (or of a `.pub` file); blank
/// lines and comments are passed over.
///
/// # Errors
/// The first line that is refused, with its number.
pub fn parse_authorized_keys(text: &str) -> Result<Vec<NewKey>, KeyError> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        keys.push(parse_line(line).map_err(|fault| KeyError {
            line: index + 1,
            fault,
        })?);
    }
    Ok(keys)
}

fn parse_line(line: &str) -> Result<NewKey, KeyFault> {
    // A line begins with the key's type, or with options that end at the
    // first space outside quotes.
    let (options, key) = match line.parse::<PublicKey>() {
        Ok(key) => (Vec::new(), key),
        Err(_) => {
            let (options, rest) = split_options(line)?;
            (
                options,
                rest.trim_start()
                    .parse::<PublicKey>()
                    .map_err(|_| refused_type(rest))?,
            )
        }
    };
    check_strength(key.key_data())?;
    let mut from = Vec::new();
    let mut expires_at = None;
    let (mut is_authority, mut principals) = (false, None);
    for option in options {
        match option {
            KeyOption::From(patterns) => from = parse_from(&patterns)?,
            KeyOption::ExpiryTime(text) => expires_at = Some(parse_expiry(&text)?),
            KeyOption::Authority => is_authority = true,
            KeyOption::Principals(names) => principals = Some(parse_principals(&names)?),
            KeyOption::NeverOffered => {}
        }
    }
    let used_for = match (is_authority, principals) {
        (false, None) => KeyUse::Login,
        (false, Some(_)) => return Err(KeyFault::Principals),
        (true, principals) => KeyUse::Authority {
            principals: principals.unwrap_or_default(),
        },
    };
    let blob = key.to_bytes().map_err(|_| KeyFault::NotAKey)?;
    Ok(NewKey {
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        algorithm: key.algorithm().as_str().to_owned(),
        comment: comment_of(&key),
        blob,
        from,
        expires_at,
        used_for,
    })
}

fn comment_of(key: &PublicKey) -> String {
    let comment = String::from_utf8_lossy(key.comment().as_bytes()).into_owned();
    comment
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_COMMENT_CHARS)
        .collect()
}

/// Names the type when the text begins like a key of one that we know and refuse.
fn refused_type(text: &str) -> KeyFault {
    match text.split_whitespace().next() {
        Some(word) if word.starts_with("ssh-") || word.contains("-cert-v0") => {
            KeyFault::Algorithm {
                algorithm: word.chars().take(80).collect(),
            }
        }
        _ => KeyFault::NotAKey,
    }
}

/// Whether we verify signatures of this key.
pub(crate) fn check_strength(key: &KeyData) -> Result<(), KeyFault> {
    match key {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) => Ok(()),
        KeyData::Rsa(rsa) => {
            let modulus = rsa.n().as_positive_bytes().unwrap_or_default();
            let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
            let bits = u32::try_from(modulus.len())
                .unwrap_or(u32::MAX)
                .saturating_mul(8)
                - leading;
            if (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                Ok(())
            } else {
                Err(KeyFault::RsaBits { bits })
            }
        }
        _ => Err(KeyFault::Algorithm {
            algorithm: key.algorithm().as_str().to_owned(),
        }),
    }
}

/// An option that we honour.
enum KeyOption {
    From(String),
    ExpiryTime(String),
    Authority,
    Principals(String),
    /// Forbids what this server offers to nobody.
    NeverOffered,
}

/// Takes the options off the front of a line.
fn split_options(line: &str) -> Result<(Vec<KeyOption>, &str), KeyFault> {
    let mut options = Vec::new();
    let mut rest = line;
    loop {
        let end = rest.find([',', '=', ' ', '\t']).ok_or(KeyFault::NotAKey)?;
        let (name, tail) = rest.split_at_checked(end).ok_or(KeyFault::NotAKey)?;
        let (value, tail) = match tail.strip_prefix('=') {
            Some(quoted) => {
                let (value, tail) = quoted_value(quoted)?;
                (Some(value), tail)
            }
            None => (None, tail),
        };
        let option = honoured(name, value);
        if let Some(next) = tail.strip_prefix(',') {
            options.push(option?);
            rest = next;
        } else if tail.starts_with([' ', '\t']) {
            // The first word may be a key type that we refuse, not an option.
            let key_like =
                options.is_empty() && matches!(refused_type(line), KeyFault::Algorithm { .. });
            if key_like {
                return Err(refused_type(line));
            }
            let looks_like_option = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && tail
                    .split_whitespace()
                    .next()
                    .is_some_and(|word| word.contains('-'));
            match option {
                Ok(option) => options.push(option),
                Err(fault) if looks_like_option => return Err(fault),
                Err(_) => return Err(KeyFault::NotAKey),
            }
            return Ok((options, tail));
        } else {
            return Err(KeyFault::Options {
                reason: "a comma or a space must follow an option",
            });
        }
    }
}

/// A double-quoted value; `\"` stands for a quote (sshd(8)).
fn quoted_value(text: &str) -> Result<(String, &str), KeyFault> {
    let unterminated = KeyFault::Options {
        reason: "a double-quoted value must follow `=`",
    };
    let Some(body) = text.strip_prefix('"') else {
        return Err(unterminated);
    };
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let rest = body.get(at + 1..).unwrap_or_default();
                return Ok((value, rest));
            }
            '\\' if body.get(at + 1..).is_some_and(|rest| rest.starts_with('"')) => {
                value.push('"');
                characters.next();
            }
            other => value.push(other),
        }
    }
    Err(unterminated)
}

fn honoured(name: &str, value: Option<String>) -> Result<KeyOption, KeyFault> {
    let option = name.to_ascii_lowercase();
    match (option.as_str(), value) {
        ("from", Some(patterns)) => Ok(KeyOption::From(patterns)),
        ("expiry-time", Some(text)) => Ok(KeyOption::ExpiryTime(text)),
        ("cert-authority", None) => Ok(KeyOption::Authority),
        ("principals", Some(names)) => Ok(KeyOption::Principals(names)),
        (
            "restrict"
            | "no-agent-forwarding"
            | "no-port-forwarding"
            | "no-pty"
            | "no-user-rc"
            | "no-x11-forwarding",
            None,
        ) => Ok(KeyOption::NeverOffered),
        _ => Err(KeyFault::Unenforced {
            option: name.chars().take(80).collect(),
        }),
    }
}

fn parse_from(patterns: &str) -> Result<Vec<FromPattern>, KeyFault> {
    let list: Vec<FromPattern> = patterns
        .split(',')
        .map(|pattern| {
            let pattern = pattern.trim();
            pattern.parse().map_err(|_| KeyFault::From {
                pattern: pattern.chars().take(80).collect(),
            })
        })
        .collect::<Result<_, _>>()?;
    if list.len() > MAX_FROM_PATTERNS {
        return Err(KeyFault::TooManyPatterns);
    }
    Ok(list)
}

/// A name is compared as it is: neither spaces nor wildcards mean anything.
fn parse_principals(names: &str) -> Result<Vec<String>, KeyFault> {
    let list: Vec<String> = names.split(',').map(ToOwned::to_owned).collect();
    let is_name = |name: &String| {
        !name.is_empty() && name.len() <= MAX_PRINCIPAL_BYTES && !name.chars().any(char::is_control)
    };
    if list.len() > MAX_PRINCIPALS || !list.iter().all(is_name) {
        return Err(KeyFault::Principals);
    }
    Ok(list)
}

/// `YYYYMMDD[HHMM[SS]][Z]`; UTC with and without `Z`, because this server
/// keeps no other time.
fn parse_expiry(text: &str) -> Result<Timestamp, KeyFault> {
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let format = match digits.len() {
        8 => "%Y%m%d",
        12 => "%Y%m%d%H%M",
        14 => "%Y%m%d%H%M%S",
        _ => "",
    };
    let bad = || KeyFault::ExpiryTime {
        text: text.chars().take(80).collect(),
    };
    if format.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let parsed = jiff::fmt::strtime::parse(format, digits).map_err(|_| bad())?;
    let date = parsed.to_date().map_err(|_| bad())?;
    let time = if digits.len() == 8 {
        jiff::civil::Time::midnight()
    } else {
        parsed.to_time().map_err(|_| bad())?
    };
    let zoned = date
        .to_datetime(time)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_err(|_| bad())?;
    Ok(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";

    fn one(line: &str) -> Result<NewKey, KeyFault> {
        match parse_authorized_keys(line) {
            Ok(mut keys) => Ok(keys.remove(0)),
            Err(error) => Err(error.fault),
        }
    }

    #[test]
    fn keys_are_read_with_comment_and_fingerprint() {
        let key = one(&format!("{ED25519} partner one")).unwrap();
        assert_eq!(key.algorithm, "ssh-ed25519");
        assert_eq!(key.comment, "partner one");
        // As `ssh-keygen -lf` prints it.
        assert_eq!(
            key.fingerprint,
            "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ"
        );
        assert_eq!(one(ECDSA).unwrap().algorithm, "ecdsa-sha2-nistp256");
    }

    #[test]
    fn a_file_has_blank_lines_comments_and_several_keys() {
        let text = format!("# keys\n\n{ED25519}\r\n  {ECDSA} b\n");
        assert_eq!(parse_authorized_keys(&text).unwrap().len(), 2);
        let error = parse_authorized_keys(&format!("{ED25519}\nnonsense\n")).unwrap_err();
        assert_eq!((error.line, error.fault), (2, KeyFault::NotAKey));
    }

    #[test]
    fn from_and_expiry_are_honoured() {
        let key = one(&format!(
            "from=\"10.0.0.0/8, !10.0.0.9\",expiry-time=\"20270102\",restrict {ED25519} c d e"
        ))
        .unwrap();
        assert_eq!(key.from.len(), 2);
        assert_eq!(key.expires_at.unwrap().to_string(), "2027-01-02T00:00:00Z");
        assert_eq!(key.comment, "c d e");
        let minute = one(&format!("expiry-time=\"202701021530Z\" {ED25519}")).unwrap();
        assert_eq!(
            minute.expires_at.unwrap().to_string(),
            "2027-01-02T15:30:00Z"
        );
    }

    #[test]
    fn options_that_are_not_enforced_are_refused_by_name() {
        for option in [
            "command=\"ls, \\\"quoted\\\" x\"",
            "permitopen=\"a:1\"",
            "environment=\"A=b\"",
            "pty",
            "from",
            "no-such-option",
            "verify-required",
        ] {
            let name = option.split('=').next().unwrap().to_owned();
            assert_eq!(
                one(&format!("{option} {ED25519}")),
                Err(KeyFault::Unenforced {
                    option: name.clone()
                }),
                "{option}"
            );
            assert_eq!(
                one(&format!("restrict,{option} {ED25519}")),
                Err(KeyFault::Unenforced { option: name }),
                "{option}"
            );
        }
    }

    #[test]
    fn bad_options_say_what_is_wrong() {
        assert!(matches!(
            one(&format!("from=\"*.example\" {ED25519}")),
            Err(KeyFault::From { .. })
        ));
        assert!(matches!(
            one(&format!("from=10.0.0.1 {ED25519}")),
            Err(KeyFault::Options { .. })
        ));
        assert!(matches!(
            one(&format!("from=\"10.0.0.1 {ED25519}")),
            Err(KeyFault::Options { .. })
        ));
        for bad in ["20271301", "2027", "x", "20270101250000"] {
            assert!(
                matches!(
                    one(&format!("expiry-time=\"{bad}\" {ED25519}")),
                    Err(KeyFault::ExpiryTime { .. })
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_authority_and_its_principals_are_read() {
        let used_for = |line: &str| one(&format!("{line} {ED25519}")).map(|key| key.used_for);
        let authority = |names: &[&str]| {
            let principals = names.iter().map(ToString::to_string).collect();
            Ok(KeyUse::Authority { principals })
        };
        assert_eq!(one(ED25519).unwrap().used_for, KeyUse::Login);
        assert_eq!(used_for("cert-authority"), authority(&[]));
        assert_eq!(
            used_for("CERT-AUTHORITY,principals=\"a,b c\",restrict"),
            authority(&["a", "b c"])
        );
        for bad in [
            "principals=\"a\"",
            "cert-authority,principals=\"\"",
            "cert-authority,principals=\"a,,b\"",
            "cert-authority,principals=\"a\u{7f}\"",
        ] {
            assert_eq!(used_for(bad), Err(KeyFault::Principals), "{bad}");
        }
        let many = |count: usize| {
            let names = vec!["p"; count].join(",");
            used_for(&format!("cert-authority,principals=\"{names}\""))
        };
        assert!(many(MAX_PRINCIPALS).is_ok());
        assert_eq!(many(MAX_PRINCIPALS + 1), Err(KeyFault::Principals));
    }

    #[test]
    fn from_pattern_count_is_bounded() {
        let list = |n: usize| vec!["10.0.0.1"; n].join(",");
        assert!(one(&format!("from=\"{}\" {ED25519}", list(MAX_FROM_PATTERNS))).is_ok());
        assert_eq!(
            one(&format!(
                "from=\"{}\" {ED25519}",
                list(MAX_FROM_PATTERNS + 1)
            )),
            Err(KeyFault::TooManyPatterns)
        );
    }

    #[test]
    fn refused_types_are_named() {
        let dss = "ssh-dss AAAAB3NzaC1kc3MAAAAA x";
        assert_eq!(
            one(dss),
            Err(KeyFault::Algorithm {
                algorithm: "ssh-dss".to_owned()
            })
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = parse_authorized_keys(&text);
        }
    }
}
