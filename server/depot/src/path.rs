//! Where a peer's path becomes a [`VirtualPath`]: absolute, normalised, inside
//! the home. Nothing else reaches the disk or the ledger.

use std::fmt;

/// Longest path, in bytes, as the peer sends it and after normalising
/// (Linux `PATH_MAX`, the terminating NUL included there).
pub const MAX_PATH_BYTES: usize = 4096;

/// Longest name of one component, in bytes (Linux `NAME_MAX`).
pub const MAX_NAME_BYTES: usize = 255;

/// Most components of a path: bounds every loop over them.
pub const MAX_DEPTH: usize = 128;

/// A path within a home: `/`, or `/a/b` without trailing slash, without `.`
/// and `..`, without NUL and control bytes. Names are bytes, not text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualPath(Vec<u8>);

/// Why a peer's path is not a [`VirtualPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The whole path is longer than [`MAX_PATH_BYTES`].
    #[error("the path is {bytes} bytes long; at most {MAX_PATH_BYTES} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A component is longer than [`MAX_NAME_BYTES`].
    #[error("a name in the path is {bytes} bytes long; at most {MAX_NAME_BYTES} are allowed")]
    NameTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// More than [`MAX_DEPTH`] components.
    #[error("the path has more than {MAX_DEPTH} folders")]
    TooDeep,
    /// A NUL byte.
    #[error("the path contains a NUL byte")]
    Nul,
    /// A control byte: it could forge lines in listings, replies and journals.
    #[error("the path contains the control byte 0x{byte:02x}")]
    Control {
        /// The first one found.
        byte: u8,
    },
    /// A name was wanted, and this is none (empty, `.`, `..` or with a slash).
    #[error("this is not a file name")]
    NotAName,
}

impl VirtualPath {
    /// The top of the home.
    #[must_use]
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Reads a peer's path; a relative one starts at the top of the home.
    /// `..` stops at the top, as it does in a real file system.
    ///
    /// # Errors
    /// [`PathError`] when a limit or the character rule is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        Self::root().resolve(bytes)
    }

    /// Reads a peer's path as seen from this folder (FTP's working directory).
    ///
    /// # Errors
    /// As [`VirtualPath::parse`].
    pub fn resolve(&self, bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong { bytes: bytes.len() });
        }
        let mut kept: Vec<&[u8]> = if bytes.first() == Some(&b'/') {
            Vec::new()
        } else {
            self.components().collect()
        };
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => {
                    kept.pop();
                }
                name => {
                    check_name(name)?;
                    kept.push(name);
                }
            }
            // Checked on the way, so that no list grows past the limit.
            if kept.len() > MAX_DEPTH {
                return Err(PathError::TooDeep);
            }
        }
        Self::from_components(&kept)
    }

    /// The entry `name` of this folder; `name` is one component, taken as it is.
    ///
    /// # Errors
    /// [`PathError::NotAName`] for an empty name, `.`, `..` or a slash, and the
    /// limits of [`VirtualPath::parse`].
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(PathError::NotAName);
        }
        check_name(name)?;
        let mut components: Vec<&[u8]> = self.components().collect();
        components.push(name);
        if components.len() > MAX_DEPTH {
            return Err(PathError::TooDeep);
        }
        Self::from_components(&components)
    }

    fn from_components(components: &[&[u8]]) -> Result<Self, PathError> {
        if components.is_empty() {
            return Ok(Self::root());
        }
        let mut path = Vec::new();
        for name in components {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong { bytes: path.len() });
        }
        Ok(Self(path))
    }

    /// The folder that holds this entry; the top's is the top itself.
    #[must_use]
    pub fn dir(&self) -> Self {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            None | Some(0) => Self::root(),
            Some(at) => Self(self.0.get(..at).unwrap_or_default().to_vec()),
        }
    }

    /// The last component; none for the top.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.components().last()
    }

    /// The names from the top down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
    }

    /// Whether this is the top of the home.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether `folder` is this path or holds it at any depth.
    #[must_use]
    pub fn is_within(&self, folder: &Self) -> bool {
        folder.is_root()
            || match self.0.strip_prefix(folder.as_bytes()) {
                Some(rest) => rest.is_empty() || rest.first() == Some(&b'/'),
                None => false,
            }
    }

    /// The path's bytes, beginning with `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn check_name(name: &[u8]) -> Result<(), PathError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(PathError::NameTooLong { bytes: name.len() });
    }
    match name.iter().find(|byte| **byte < 0x20 || **byte == 0x7f) {
        Some(0) => Err(PathError::Nul),
        Some(byte) => Err(PathError::Control { byte: *byte }),
        None => Ok(()),
    }
}

/// For people: bytes that are not UTF-8 are replaced.
impl fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualPath({})", self.0.escape_ascii())
    }
}

impl std::str::FromStr for VirtualPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn dots_and_slashes_are_normalised_and_never_leave_the_home() {
        for (given, expected) in [
            ("", "/"),
            ("/", "/"),
            (".", "/"),
            ("a", "/a"),
            ("//a//b/", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("../../etc/passwd", "/etc/passwd"),
            ("/..", "/"),
            (" a", "/ a"),
            ("...", "/..."),
        ] {
            assert_eq!(path(given).to_string(), expected, "{given:?}");
        }
    }

    #[test]
    fn a_relative_path_starts_at_the_working_directory() {
        let cwd = path("/in/crm");
        assert_eq!(cwd.resolve(b"x").unwrap(), path("/in/crm/x"));
        assert_eq!(cwd.resolve(b"../x").unwrap(), path("/in/x"));
        assert_eq!(cwd.resolve(b"/x").unwrap(), path("/x"));
    }

    #[test]
    fn limits_hold_just_below_and_just_above() {
        let name = |n: usize| vec![b'n'; n];
        assert!(VirtualPath::parse(&name(MAX_NAME_BYTES)).is_ok());
        assert_eq!(
            VirtualPath::parse(&name(MAX_NAME_BYTES + 1)),
            Err(PathError::NameTooLong {
                bytes: MAX_NAME_BYTES + 1
            })
        );

        // 16 names of 255 bytes and their slashes are 4,096 bytes.
        let long = [b"/".to_vec(), name(255)].concat().repeat(16);
        assert_eq!(long.len(), MAX_PATH_BYTES);
        assert!(VirtualPath::parse(&long).is_ok());
        let longer = [long, b"/".to_vec()].concat();
        assert_eq!(
            VirtualPath::parse(&longer),
            Err(PathError::TooLong {
                bytes: MAX_PATH_BYTES + 1
            })
        );

        assert!(VirtualPath::parse(&b"/d".repeat(MAX_DEPTH)).is_ok());
        assert_eq!(
            VirtualPath::parse(&b"/d".repeat(MAX_DEPTH + 1)),
            Err(PathError::TooDeep)
        );
        let deepest = VirtualPath::parse(&b"/d".repeat(MAX_DEPTH)).unwrap();
        assert_eq!(deepest.join(b"d"), Err(PathError::TooDeep));
    }

    // F18: CR, LF and IAC-like bytes in names forge replies.
    #[test]
    fn nul_and_control_bytes_are_refused_by_name() {
        assert_eq!(VirtualPath::parse(b"a\0b"), Err(PathError::Nul));
        assert_eq!(
            VirtualPath::parse(b"a\r\nb"),
            Err(PathError::Control { byte: 13 })
        );
        assert_eq!(
            VirtualPath::parse(b"a\x7f"),
            Err(PathError::Control { byte: 0x7f })
        );
        assert!(VirtualPath::parse(b"a\xff\xfe").is_ok());
    }

    #[test]
    fn join_takes_one_component_and_nothing_else() {
        assert_eq!(path("/a").join(b"b").unwrap(), path("/a/b"));
        for bad in [&b""[..], b".", b"..", b"a/b", b"/"] {
            assert_eq!(path("/a").join(bad), Err(PathError::NotAName));
        }
    }

    #[test]
    fn within_means_whole_components() {
        assert!(path("/a/b").is_within(&path("/a")));
        assert!(path("/a").is_within(&path("/a")));
        assert!(path("/a").is_within(&VirtualPath::root()));
        assert!(!path("/ab").is_within(&path("/a")));
        assert!(!path("/").is_within(&path("/a")));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_clean_path_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(path) = VirtualPath::parse(&bytes) {
                prop_assert!(path.as_bytes().starts_with(b"/"));
                prop_assert!(path.components().all(|name| name != b".." && name != b"."));
                prop_assert!(path.as_bytes().iter().all(|byte| *byte >= 0x20 && *byte != 0x7f));
                prop_assert_eq!(&VirtualPath::parse(path.as_bytes()).unwrap(), &path);
                if let Some(name) = path.name() {
                    prop_assert_eq!(&path.dir().join(name).unwrap(), &path);
                }
            }
        }
    }
}
