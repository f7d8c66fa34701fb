//! How a session is secured: what its connection and the partner agreed upon.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is kept of what a login's journal entry says of its connection, in the order in
/// which people read it.
const NAMES: [&str; 7] = [
    "tls",
    "suite",
    "cipher",
    "cipher_back",
    "mac",
    "mac_back",
    "kex",
];

/// Names of algorithms by what they are for, as in the journal: `tls` and `suite`, or `cipher`,
/// `mac` (none where the cipher has its own) and `kex`; with `_back` what the server sends
/// with, where it is another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Agreed(BTreeMap<String, String>);

impl Agreed {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What of these notes tells it.
    pub(crate) fn among(notes: &Map<String, Value>) -> Self {
        let told = NAMES.iter().filter_map(|name| {
            let text = notes.get(*name)?.as_str()?;
            Some(((*name).to_owned(), text.to_owned()))
        });
        Self(told.collect())
    }

    /// As the database has it.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What cannot be read is left out: nothing is decided by it.
    pub(crate) fn from_json(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for Agreed {
    /// `TLS 1.3, TLS13_AES_256_GCM_SHA384`; nothing where nothing is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().filter_map(|name| self.0.get(*name));
        for (index, text) in known.enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_secures_the_session_is_kept_and_it_comes_back() {
        let notes = serde_json::json!({
            "entry": "explicit", "cipher": "aes128-ctr", "kex": "curve25519-sha256",
            "mac": "hmac-sha2-256", "host_key": "ssh-ed25519", "suite": 7,
        });
        let agreed = Agreed::among(notes.as_object().unwrap());
        assert_eq!(
            agreed.to_string(),
            "aes128-ctr, hmac-sha2-256, curve25519-sha256"
        );
        assert_eq!(Agreed::from_json(Some(&agreed.to_json())), agreed);
        for unknown in [None, Some("[]"), Some("")] {
            assert_eq!(Agreed::from_json(unknown), Agreed::default());
        }
    }
}
