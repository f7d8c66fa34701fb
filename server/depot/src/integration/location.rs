//! Folders on partners' servers.

use std::fmt;

use layover_retention::Timestamp;

use super::values::LocationDirection;
use crate::LocationName;

/// Longest path of a location, in bytes: the engine joins file names to it.
pub const MAX_LOCATION_PATH_BYTES: usize = 2048;

/// A path in the server's own notation, as bytes: not empty, no NUL, CR or LF.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocationPath(Vec<u8>);

/// The bytes are no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a location's path has 1 to {MAX_LOCATION_PATH_BYTES} bytes, neither NUL nor a line end among them, no blank at its end and no part `..`"
)]
pub struct LocationPathError;

impl LocationPath {
    /// Takes a path as the operator wrote it.
    ///
    /// # Errors
    /// [`LocationPathError`].
    pub fn new(path: &[u8]) -> Result<Self, LocationPathError> {
        let fits = (1..=MAX_LOCATION_PATH_BYTES).contains(&path.len())
            && !path.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
        fits.then(|| Self(path.to_vec())).ok_or(LocationPathError)
    }

    /// Takes a path that somebody typed: a blank at its end and a part `..` are slips.
    ///
    /// # Errors
    /// [`LocationPathError`].
    pub fn typed(path: &[u8]) -> Result<Self, LocationPathError> {
        let climbs = path
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .any(|part| part == b"..");
        if climbs || path.last().is_some_and(u8::is_ascii_whitespace) {
            return Err(LocationPathError);
        }
        Self::new(path)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as text, where it is one.
    #[must_use]
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Display for LocationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for LocationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl std::str::FromStr for LocationPath {
    type Err = LocationPathError;

    fn from_str(text: &str) -> Result<Self, LocationPathError> {
        Self::new(text.as_bytes())
    }
}

/// A folder on a partner's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Its name with us.
    pub name: LocationName,
    /// Where it is.
    pub path: LocationPath,
    /// What it is for.
    pub direction: LocationDirection,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Location {
    /// In one line, for the journal.
    #[must_use]
    pub fn told(&self) -> String {
        format!("{} ({})", self.path, self.direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_bytes_within_its_limits() {
        for good in [
            &b"/"[..],
            b"in",
            b"C:\\in",
            b"\xff",
            &[b'a'; MAX_LOCATION_PATH_BYTES],
        ] {
            assert_eq!(LocationPath::new(good).unwrap().as_bytes(), good);
        }
        for bad in [
            &b""[..],
            b"a\0b",
            b"a\r",
            b"\n",
            &[b'a'; MAX_LOCATION_PATH_BYTES + 1],
        ] {
            assert_eq!(LocationPath::new(bad), Err(LocationPathError));
        }
    }

    #[test]
    fn slips_of_whoever_types_a_path_are_refused() {
        for good in ["/in", "in/a..b", "/my files/in"] {
            let path = LocationPath::typed(good.as_bytes()).unwrap();
            assert_eq!(path.to_str(), Some(good));
        }
        for bad in ["..", "/in ", "/in\t", "/in/../out", "..\\in", "/in/.."] {
            assert_eq!(
                LocationPath::typed(bad.as_bytes()),
                Err(LocationPathError),
                "{bad}"
            );
        }
    }
}
