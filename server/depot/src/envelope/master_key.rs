//! The master keys and their file.
//!
//! One key a line, the newest first: its id, a space, 32 bytes in hexadecimal or
//! base64. Empty lines and lines that begin with `#` are passed over.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::data_dir;

/// Most master keys: a rotation needs two, and backups may need older ones.
pub const MAX_MASTER_KEYS: usize = 16;
/// Longest id, in bytes.
pub const MAX_KEY_ID_BYTES: usize = 32;
/// Longest master key file, in bytes: all keys, and comments.
pub const MAX_MASTER_KEY_FILE_BYTES: usize = 16 * 1024;

const KEY_BYTES: usize = 32;

/// Why there are no master keys. What stands in the file is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// It cannot be read or written.
    #[error("the master key file `{}` cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the master key file `{}` has mode {mode:03o}: `chmod 600` it, and rotate its keys if somebody else may have read them", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Over [`MAX_MASTER_KEY_FILE_BYTES`].
    #[error("a master key file is longer than {MAX_MASTER_KEY_FILE_BYTES} bytes")]
    TooLong,
    /// No key in it.
    #[error("the master key file holds no key: restore it from a backup")]
    NoKey,
    /// Not an id and a key.
    #[error(
        "line {line} of the master key file is not `ID KEY`, with an id of up to {MAX_KEY_ID_BYTES} letters, digits, `-` and `_`, and 32 bytes in hexadecimal or base64"
    )]
    BadLine {
        /// From 1.
        line: usize,
    },
    /// An id stands twice.
    #[error("line {line} of the master key file has an id that stands above already")]
    SameId {
        /// From 1.
        line: usize,
    },
    /// More than [`MAX_MASTER_KEYS`].
    #[error(
        "there are more than {MAX_MASTER_KEYS} master keys: remove the last ones, which seal nothing any more"
    )]
    TooMany,
}

/// The master keys, newest first. Zeroed on drop.
pub struct MasterKeys {
    newest: MasterKey,
    older: Vec<MasterKey>,
}

pub(super) struct MasterKey {
    id: String,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl MasterKey {
    fn random() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
        let mut id = [0; 6];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        Ok(Self {
            id: format!("key-{}", hex::encode(id)),
            bytes,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..]
    }
}

impl MasterKeys {
    /// Reads the file at `path`, which must be this user's alone. Where there
    /// is none, it is made with a random key.
    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let unusable = |source| MasterKeyError::Unusable {
            path: path.to_owned(),
            source,
        };
        if data_dir::is_missing(path) {
            let fresh = Self {
                newest: MasterKey::random().map_err(unusable)?,
                older: Vec::new(),
            };
            // When another process was first, its file counts.
            data_dir::write_unless_there(path, fresh.to_text().as_bytes()).map_err(unusable)?;
        }
        let (text, mode) =
            data_dir::read_secret(path, MAX_MASTER_KEY_FILE_BYTES).map_err(unusable)?;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::TooOpen {
                path: path.to_owned(),
                mode,
            });
        }
        Self::parse(&text)
    }

    /// Puts a new random key in front and writes the file at `path` anew. What
    /// older keys sealed still opens; `reseal` moves it to the new one.
    pub fn rotate(self, path: &Path) -> Result<Self, MasterKeyError> {
        let unusable = |source| MasterKeyError::Unusable {
            path: path.to_owned(),
            source,
        };
        if self.older.len() + 1 >= MAX_MASTER_KEYS {
            return Err(MasterKeyError::TooMany);
        }
        let mut older = self.older;
        older.insert(0, self.newest);
        let rotated = Self {
            newest: MasterKey::random().map_err(unusable)?,
            older,
        };
        data_dir::write_once(path, rotated.to_text().as_bytes()).map_err(unusable)?;
        Ok(rotated)
    }

    /// Forgets keys that seal nothing, and writes the file at `path` anew. The newest
    /// two stay: whoever began to seal before a rotation can still end. Returns the
    /// ids of those that went.
    pub fn forget_unused(
        &mut self,
        path: &Path,
        used: &[String],
    ) -> Result<Vec<String>, MasterKeyError> {
        let mut gone = Vec::new();
        let mut stay = Vec::new();
        for key in std::mem::take(&mut self.older) {
            // The first of the older ones is the one before the newest.
            if stay.is_empty() && gone.is_empty() || used.contains(&key.id) {
                stay.push(key);
            } else {
                gone.push(key);
            }
        }
        self.older = stay;
        if !gone.is_empty() {
            data_dir::write_once(path, self.to_text().as_bytes()).map_err(|source| {
                MasterKeyError::Unusable {
                    path: path.to_owned(),
                    source,
                }
            })?;
        }
        Ok(gone.into_iter().map(|key| key.id).collect())
    }

    /// Reads the text of a master key file.
    pub fn parse(text: &[u8]) -> Result<Self, MasterKeyError> {
        if text.len() > MAX_MASTER_KEY_FILE_BYTES {
            return Err(MasterKeyError::TooLong);
        }
        let mut keys: Vec<MasterKey> = Vec::new();
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line_number = index + 1;
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let key = parse_line(line).ok_or(MasterKeyError::BadLine { line: line_number })?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(MasterKeyError::SameId { line: line_number });
            }
            if keys.len() >= MAX_MASTER_KEYS {
                return Err(MasterKeyError::TooMany);
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let newest = keys.next().ok_or(MasterKeyError::NoKey)?;
        Ok(Self {
            newest,
            older: keys.collect(),
        })
    }

    /// Ids, newest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.iter().map(MasterKey::id)
    }

    pub(super) fn newest(&self) -> &MasterKey {
        &self.newest
    }

    pub(super) fn find(&self, id: &str) -> Option<&MasterKey> {
        self.iter().find(|key| key.id == id)
    }

    fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    fn to_text(&self) -> Zeroizing<String> {
        // Room for all of it at once: a text that grows leaves copies behind.
        let room = (self.older.len() + 1) * (MAX_KEY_ID_BYTES + 2 + 2 * KEY_BYTES);
        let mut text = Zeroizing::new(String::with_capacity(room));
        for key in self.iter() {
            text.push_str(&key.id);
            text.push(' ');
            let digits = Zeroizing::new(hex::encode(&key.bytes[..]));
            text.push_str(&digits);
            text.push('\n');
        }
        text
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

fn parse_line(line: &[u8]) -> Option<MasterKey> {
    let at = line.iter().position(u8::is_ascii_whitespace)?;
    let (id, key) = line.split_at_checked(at)?;
    let key = key.trim_ascii();
    let id_fits = !id.is_empty()
        && id.len() <= MAX_KEY_ID_BYTES
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    if !id_fits {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    if key.len() == 2 * KEY_BYTES {
        hex::decode_to_slice(key, &mut *bytes).ok()?;
    } else {
        // The decoder wants room for whole groups of three bytes.
        let mut decoded = Zeroizing::new([0; KEY_BYTES + 1]);
        let length = BASE64_STANDARD.decode_slice(key, &mut decoded[..]).ok()?;
        if length != KEY_BYTES {
            return None;
        }
        bytes.copy_from_slice(decoded.get(..KEY_BYTES)?);
    }
    Some(MasterKey {
        id: String::from_utf8(id.to_vec()).ok()?,
        bytes,
    })
}
