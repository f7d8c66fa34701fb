//! Names and paths on a partner's server.

use std::fmt;

/// Longest path that is sent, in bytes: the FTP engine's command line holds it
/// with room to spare, and no system we know takes more.
pub const MAX_REMOTE_PATH_BYTES: usize = 4_000;
/// Longest name of a file or folder, in bytes.
pub const MAX_REMOTE_NAME_BYTES: usize = 1_024;

/// The system that a partner's server runs on: how its paths are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerSystem {
    /// `/in/file`.
    #[default]
    Unix,
    /// `C:\in\file`, `\in\file`, or `/in/file`: both separators are understood.
    Windows,
}

impl ServerSystem {
    /// Whether `byte` separates the parts of a path.
    #[must_use]
    pub fn separates(self, byte: u8) -> bool {
        byte == b'/' || (self == Self::Windows && byte == b'\\')
    }
}

/// Why bytes are no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RemotePathError {
    /// Nothing.
    #[error("a remote path is empty")]
    Empty,
    /// Over [`MAX_REMOTE_PATH_BYTES`].
    #[error("a remote path is longer than {MAX_REMOTE_PATH_BYTES} bytes")]
    TooLong,
    /// A byte that would end or change a command.
    #[error("a remote path contains NUL, CR or LF")]
    ControlByte,
}

/// Why bytes are no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RemoteNameError {
    /// Nothing, `.` or `..`.
    #[error("not the name of a file or folder")]
    NotAName,
    /// Over [`MAX_REMOTE_NAME_BYTES`].
    #[error("the name is longer than {MAX_REMOTE_NAME_BYTES} bytes")]
    TooLong,
    /// A separator: the name would lead out of its folder.
    #[error("the name contains a path separator")]
    Separator,
    /// A byte that would end or change a command.
    #[error("the name contains NUL, CR or LF")]
    ControlByte,
}

/// The name of one file or folder: not empty, not `.` or `..`, no separator, no
/// NUL, CR or LF, at most [`MAX_REMOTE_NAME_BYTES`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteName(Vec<u8>);

impl RemoteName {
    /// Takes a name as a server of that system lists it. Fails on what could
    /// lead out of its folder, also on the other system: a backslash is refused
    /// on Windows only, where it separates.
    pub fn new(system: ServerSystem, name: &[u8]) -> Result<Self, RemoteNameError> {
        if matches!(name, b"" | b"." | b"..") {
            return Err(RemoteNameError::NotAName);
        }
        if name.len() > MAX_REMOTE_NAME_BYTES {
            return Err(RemoteNameError::TooLong);
        }
        for &byte in name {
            if system.separates(byte) {
                return Err(RemoteNameError::Separator);
            }
            if ends_a_command(byte) {
                return Err(RemoteNameError::ControlByte);
            }
        }
        Ok(Self(name.to_vec()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A path in the server's own notation: not empty, no NUL, CR or LF, at most
/// [`MAX_REMOTE_PATH_BYTES`]. An operator wrote it, or it was made of a folder
/// that an operator wrote and a [`RemoteName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemotePath(Vec<u8>);

impl RemotePath {
    /// Takes a path as an operator wrote it.
    pub fn new(path: &[u8]) -> Result<Self, RemotePathError> {
        if path.is_empty() {
            return Err(RemotePathError::Empty);
        }
        if path.len() > MAX_REMOTE_PATH_BYTES {
            return Err(RemotePathError::TooLong);
        }
        if path.iter().copied().any(ends_a_command) {
            return Err(RemotePathError::ControlByte);
        }
        Ok(Self(path.to_vec()))
    }

    /// The path of `name` in this folder. A backslash joins where the folder is
    /// written with backslashes alone.
    pub fn join(&self, system: ServerSystem, name: &RemoteName) -> Result<Self, RemotePathError> {
        let separator = if system == ServerSystem::Windows
            && self.0.contains(&b'\\')
            && !self.0.contains(&b'/')
        {
            b'\\'
        } else {
            b'/'
        };
        let mut path = self.0.clone();
        if !path.last().copied().is_some_and(|b| system.separates(b)) {
            path.push(separator);
        }
        path.extend_from_slice(name.as_bytes());
        Self::new(&path)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn ends_a_command(byte: u8) -> bool {
    matches!(byte, b'\0' | b'\r' | b'\n')
}

macro_rules! shown_as_text {
    ($type:ty) => {
        impl fmt::Display for $type {
            /// Bytes that are no printable text are shown as `\x..`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for chunk in self.0.utf8_chunks() {
                    for character in chunk.valid().chars() {
                        if character.is_control() {
                            write!(f, "{}", character.escape_default())?;
                        } else {
                            write!(f, "{character}")?;
                        }
                    }
                    for byte in chunk.invalid() {
                        write!(f, "\\x{byte:02x}")?;
                    }
                }
                Ok(())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{self}`")
            }
        }
    };
}

shown_as_text!(RemoteName);
shown_as_text!(RemotePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_folder_or_end_a_command_are_refused() {
        for (system, name, why) in [
            (ServerSystem::Unix, &b""[..], RemoteNameError::NotAName),
            (ServerSystem::Unix, b".", RemoteNameError::NotAName),
            (ServerSystem::Unix, b"..", RemoteNameError::NotAName),
            (ServerSystem::Unix, b"../x", RemoteNameError::Separator),
            (ServerSystem::Windows, b"..\\x", RemoteNameError::Separator),
            (ServerSystem::Windows, b"a/b", RemoteNameError::Separator),
            (ServerSystem::Unix, b"a\0b", RemoteNameError::ControlByte),
            (
                ServerSystem::Unix,
                b"a\r\nDELE b",
                RemoteNameError::ControlByte,
            ),
            (
                ServerSystem::Unix,
                &[b'x'; MAX_REMOTE_NAME_BYTES + 1],
                RemoteNameError::TooLong,
            ),
        ] {
            assert_eq!(RemoteName::new(system, name), Err(why), "{name:?}");
        }
        for name in [
            &b"a\\b"[..],
            b" leading",
            b"\xff\xfe",
            &[b'x'; MAX_REMOTE_NAME_BYTES],
        ] {
            assert!(
                RemoteName::new(ServerSystem::Unix, name).is_ok(),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_name_joins_its_folder_in_the_folders_own_notation() {
        let name = |system| RemoteName::new(system, b"f.csv").unwrap();
        for (system, folder, joined) in [
            (ServerSystem::Unix, &b"/in"[..], &b"/in/f.csv"[..]),
            (ServerSystem::Unix, b"/", b"/f.csv"),
            (ServerSystem::Unix, b"in/", b"in/f.csv"),
            (ServerSystem::Unix, b"a\\b", b"a\\b/f.csv"),
            (ServerSystem::Windows, b"C:\\in", b"C:\\in\\f.csv"),
            (ServerSystem::Windows, b"C:\\", b"C:\\f.csv"),
            (ServerSystem::Windows, b"C:/in", b"C:/in/f.csv"),
            (ServerSystem::Windows, b"/in", b"/in/f.csv"),
        ] {
            let path = RemotePath::new(folder).unwrap();
            assert_eq!(path.join(system, &name(system)).unwrap().as_bytes(), joined);
        }
    }

    #[test]
    fn a_path_is_limited_in_length_and_content() {
        assert!(RemotePath::new(&[b'x'; MAX_REMOTE_PATH_BYTES]).is_ok());
        for (path, why) in [
            (&b""[..], RemotePathError::Empty),
            (&[b'x'; MAX_REMOTE_PATH_BYTES + 1], RemotePathError::TooLong),
            (b"/in\n", RemotePathError::ControlByte),
        ] {
            assert_eq!(RemotePath::new(path), Err(why));
        }
    }

    #[test]
    fn names_print_without_control_characters() {
        let name = RemoteName::new(ServerSystem::Unix, b"a\x1b[2J\xff\xc3\xa9").unwrap();
        assert_eq!(name.to_string(), "a\\u{1b}[2J\\xff\u{e9}");
    }
}
