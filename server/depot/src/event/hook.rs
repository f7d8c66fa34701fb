//! Hooks: who is told of events.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use layover_retention::Timestamp;

use super::record::{EventKind, HookId};
use crate::integration::{Credential, SecretForm};
use crate::{EntityId, EntityName, HookName};

/// Most hooks: each may have some connections at the same time.
pub const MAX_HOOKS: usize = 64;

/// Longest address of a hook, in bytes.
pub const MAX_HOOK_URL_BYTES: usize = 2048;

/// Longest authorities of a hook, in bytes, PEM: a company has some, not a system's 140.
pub const MAX_HOOK_AUTHORITIES_BYTES: usize = 64 * 1024;

/// Why a text is no address of a hook. It is not repeated: it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookUrlError {
    /// Another scheme, or none.
    #[error("the address of a hook begins with https:// (or http://)")]
    Scheme,
    /// No usable host and port.
    #[error("the address of a hook has a host, and perhaps a port: https://host[:port]/path")]
    Host,
    /// A name and a password before the host.
    #[error(
        "the address of a hook has no user name or password: requests are signed with its secret"
    )]
    User,
    /// What no request can hold.
    #[error(
        "the address of a hook has no spaces, no control characters, nothing but ASCII, and no #"
    )]
    Letters,
    /// Over the limit.
    #[error("the address of a hook has at most {MAX_HOOK_URL_BYTES} bytes")]
    TooLong,
}

/// Where a hook's requests go: `https://host[:port]/path?query`.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl {
    text: String,
    is_tls: bool,
    host: String,
    port: u16,
    /// Where the path begins in `text`.
    path_at: usize,
}

impl HookUrl {
    /// All of it. For the operator; the log and the journal get [`HookUrl::origin`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is https.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The host's name, or its address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, `/` at least.
    #[must_use]
    pub fn path(&self) -> String {
        let path = self.text.get(self.path_at..).unwrap_or_default();
        match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("/{path}"),
        }
    }

    /// Scheme, host and port: paths and queries of hooks may hold what is secret.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.text.get(..self.path_at).unwrap_or_default()
    }

    /// Host and port as they were given.
    #[must_use]
    pub fn authority(&self) -> &str {
        let origin = self.origin();
        origin.split_once("://").map_or(origin, |(_, rest)| rest)
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookUrl({}/..)", self.origin())
    }
}

impl FromStr for HookUrl {
    type Err = HookUrlError;

    fn from_str(text: &str) -> Result<Self, HookUrlError> {
        if text.len() > MAX_HOOK_URL_BYTES {
            return Err(HookUrlError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['#', '\\']) {
            return Err(HookUrlError::Letters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(HookUrlError::Scheme)?;
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(HookUrlError::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, _) = rest.split_at_checked(end).ok_or(HookUrlError::Host)?;
        if authority.contains('@') {
            return Err(HookUrlError::User);
        }
        let (host, port) = host_and_port(authority).ok_or(HookUrlError::Host)?;
        Ok(Self {
            path_at: scheme.len() + "://".len() + end,
            text: text.to_owned(),
            is_tls,
            host,
            port: port.unwrap_or(if is_tls { 443 } else { 80 }),
        })
    }
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':')?),
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_name = |host: &str| {
        host.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    if host.is_empty() || host.len() > 253 || !(is_name(host) || authority.starts_with('[')) {
        return None;
    }
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
        None => None,
    };
    Some((host.to_owned(), port))
}

/// Whether a hook may go without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPlain {
    /// To this machine only.
    ThisMachine,
    /// Anywhere, in the clear: an operator said so.
    Anywhere,
}

/// Which addresses a hook may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAddresses {
    /// Not link-local ones, nor those of clouds' metadata.
    Usual,
    /// Any: an operator said so.
    Any,
}

/// Where a hook's requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookTarget {
    /// The address.
    pub url: HookUrl,
    /// Who may have signed the receiver's certificate, PEM; none: whom the system trusts.
    pub authorities: Option<String>,
    /// Without TLS.
    pub plain: HookPlain,
    /// To which addresses.
    pub addresses: HookAddresses,
}

/// A hook as an operator wants it.
#[derive(Clone, Debug)]
pub struct WantedHook {
    /// Its name.
    pub name: HookName,
    /// Where requests go.
    pub target: HookTarget,
    /// Whose events; none: everybody's.
    pub entity: Option<EntityName>,
    /// Which; none: all.
    pub kinds: Vec<EventKind>,
    /// What requests are signed with.
    pub secret: Credential,
}

/// What of a hook is to change; what is not named stays as it is. Whose events it hears
/// does not change: those that wait for it are not another entity's to read.
#[derive(Clone, Debug, Default)]
pub struct HookChange {
    /// Where requests go.
    pub url: Option<HookUrl>,
    /// Who may have signed the receiver's certificate; `Some(None)`: whom the system trusts.
    pub authorities: Option<Option<String>>,
    /// Without TLS.
    pub plain: Option<HookPlain>,
    /// To which addresses.
    pub addresses: Option<HookAddresses>,
    /// Which events are told from now on; an empty list: all.
    pub kinds: Option<Vec<EventKind>>,
    /// What requests are signed with.
    pub secret: Option<Credential>,
}

/// A hook.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Its row.
    pub id: HookId,
    /// Counts its changes: what is due is given out to whoever knows the last one.
    pub version: i64,
    /// Its name.
    pub name: HookName,
    /// Where requests go.
    pub target: HookTarget,
    /// Whose events; none: everybody's.
    pub entity: Option<EntityName>,
    /// Which; none: all.
    pub kinds: Vec<EventKind>,
    /// Whether it is told.
    pub enabled: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// In which form its secret is kept.
    pub secret: SecretForm,
    /// What its sealed secret is bound to.
    pub(crate) handle: String,
    /// Deliveries that are to be sent.
    pub due: u64,
    /// Deliveries that were given up.
    pub dead: u64,
    /// Tries of the first that is due.
    pub failing: u32,
    /// Why the last try that failed did, of those that are not delivered.
    pub last_error: Option<String>,
}

impl Hook {
    /// As it is given out.
    pub(crate) fn due(&self) -> DueHook {
        DueHook {
            id: self.id,
            version: self.version,
        }
    }

    /// For people and the journal: where its secret is, or that it is sealed.
    #[must_use]
    pub fn secret_told(&self) -> String {
        self.secret.told()
    }
}

/// A hook to be inserted: everything is checked and sealed.
#[derive(Clone, Debug)]
pub(crate) struct NewHook {
    pub(crate) row: HookRow,
    pub(crate) created_at: Timestamp,
}

/// What the row of a hook holds.
#[derive(Clone, Debug)]
pub(crate) struct HookRow {
    pub(crate) name: HookName,
    pub(crate) entity: Option<EntityId>,
    pub(crate) target: HookTarget,
    pub(crate) kinds: Vec<EventKind>,
    pub(crate) handle: String,
    pub(crate) form: SecretForm,
    pub(crate) sealed: Option<Vec<u8>>,
}

/// What the row of a hook is to hold from now on.
#[derive(Clone, Debug)]
pub(crate) struct HookUpdate {
    pub(crate) id: HookId,
    /// The version that was looked at.
    pub(crate) version: i64,
    pub(crate) target: HookTarget,
    pub(crate) kinds: Vec<EventKind>,
    /// None: it keeps its secret.
    pub(crate) secret: Option<(SecretForm, Option<Vec<u8>>)>,
}

/// A hook to which something is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueHook {
    /// Its row.
    pub id: HookId,
    /// Its last change.
    pub version: i64,
}

/// A hook's sealed secret where it stands.
#[derive(Clone, Debug)]
pub(crate) struct SealedHook {
    pub(crate) handle: String,
    pub(crate) sealed: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_as_it_was_given() {
        for (text, origin, host, port, path) in [
            (
                "https://hooks.example/a?b=c",
                "https://hooks.example",
                "hooks.example",
                443,
                "/a?b=c",
            ),
            (
                "https://h.example:8443",
                "https://h.example:8443",
                "h.example",
                8443,
                "/",
            ),
            (
                "http://127.0.0.1?x",
                "http://127.0.0.1",
                "127.0.0.1",
                80,
                "/?x",
            ),
            ("https://[::1]:9/", "https://[::1]:9", "::1", 9, "/"),
        ] {
            let url: HookUrl = text.parse().unwrap();
            assert_eq!(url.origin(), origin);
            assert_eq!((url.host(), url.port()), (host, port));
            assert_eq!(url.path(), path);
            assert_eq!(url.as_str(), text);
            assert_eq!(url.is_tls(), text.starts_with("https"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for (text, why) in [
            ("ftp://a.example", HookUrlError::Scheme),
            ("a.example/x", HookUrlError::Scheme),
            ("https://user:secret@a.example/", HookUrlError::User),
            ("https:///x", HookUrlError::Host),
            ("https://a.example:0/", HookUrlError::Host),
            ("https://a.example:65536/", HookUrlError::Host),
            ("https://[::1/", HookUrlError::Host),
            ("https://[a.example]/", HookUrlError::Host),
            ("https://[::1]x/", HookUrlError::Host),
            ("https://a.example/ x", HookUrlError::Letters),
            ("https://a.example/\r\nX: y", HookUrlError::Letters),
            ("https://a.example/#x", HookUrlError::Letters),
            ("https://\u{e4}.example/", HookUrlError::Letters),
        ] {
            let refused = text.parse::<HookUrl>().unwrap_err();
            assert_eq!(refused, why, "{text}");
            assert!(!refused.to_string().contains("secret@"));
        }
        let fits = format!("https://a/{}", "x".repeat(MAX_HOOK_URL_BYTES - 10));
        assert!(fits.parse::<HookUrl>().is_ok());
        let refused = format!("{fits}x").parse::<HookUrl>().unwrap_err();
        assert_eq!(refused, HookUrlError::TooLong);
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown_by_mistake() {
        let url: HookUrl = "https://a.example/services/T0KEN?k=S3CRET".parse().unwrap();
        let shown = format!("{url:?}");
        assert!(
            !shown.contains("T0KEN") && !shown.contains("S3CRET"),
            "{shown}"
        );
    }
}
