//! What an account may do, folder by folder, and over which protocols.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::VirtualPath;
use crate::path_texts::in_texts;

macro_rules! flags {
    (
        $(#[$one_doc:meta])* $one:ident,
        $(#[$set_doc:meta])* $set:ident,
        $what:literal,
        $(#[$error_doc:meta])* $error:ident,
        { $($(#[$doc:meta])* $variant:ident = $bit:literal $text:literal),+ $(,)? }
    ) => {
        $(#[$one_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $one { $($(#[$doc])* $variant),+ }

        impl $one {
            /// Each of them, in the order of the command line.
            pub const EACH: &[Self] = &[$(Self::$variant),+];

            /// Its word on the command line, in the database and in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            const fn bit(self) -> u8 {
                match self { $(Self::$variant => $bit),+ }
            }
        }

        impl fmt::Display for $one {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $one {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::EACH
                    .iter()
                    .copied()
                    .find(|one| one.as_str() == text)
                    .ok_or_else(|| $error { text: text.chars().take(80).collect() })
            }
        }

        impl Serialize for $one {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        $(#[$set_doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $set(u8);

        impl $set {
            /// None of them.
            pub const NONE: Self = Self(0);
            /// All of them.
            pub const ALL: Self = Self($($bit)|+);

            /// The set of `members`.
            #[must_use]
            pub const fn of(members: &[$one]) -> Self {
                let mut bits = 0;
                let mut rest = members;
                while let [first, tail @ ..] = rest {
                    bits |= first.bit();
                    rest = tail;
                }
                Self(bits)
            }

            /// Whether it holds `one`.
            #[must_use]
            pub const fn contains(self, one: $one) -> bool {
                self.0 & one.bit() != 0
            }

            /// Whether it holds nothing.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// What both hold.
            #[must_use]
            pub const fn intersect(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// For people: its members, or `none`.
            #[must_use]
            pub fn to_word(self) -> String {
                if self.is_empty() {
                    "none".to_owned()
                } else {
                    self.to_string()
                }
            }

            /// Its members, in the order of the command line.
            pub fn iter(self) -> impl Iterator<Item = $one> {
                $one::EACH.iter().copied().filter(move |one| self.contains(*one))
            }
        }

        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (index, one) in self.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    f.write_str(one.as_str())?;
                }
                Ok(())
            }
        }

        impl FromStr for $set {
            type Err = $error;

            /// A comma-separated list; the empty text is the empty set.
            fn from_str(text: &str) -> Result<Self, $error> {
                if text.trim() == "none" {
                    return Ok(Self::NONE);
                }
                let mut bits = 0;
                for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                    bits |= word.parse::<$one>()?.bit();
                }
                Ok(Self(bits))
            }
        }

        impl Serialize for $set {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.iter())
            }
        }

        $(#[$error_doc])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("`{text}` is not {}: expected some of {}", $what, $set::ALL)]
        pub struct $error {
            text: String,
        }
    };
}

flags!(
    /// One thing an account may do in a folder.
    Right,
    /// What an account may do in a folder.
    Rights,
    "a right",
    /// The text names no right.
    RightsError,
    {
        /// See names, sizes and times.
        List = 1 "list",
        /// Download.
        Read = 2 "read",
        /// Upload under a name that is free.
        Write = 4 "write",
        /// Upload over a file that is there, or change it.
        Overwrite = 8 "overwrite",
        /// Remove files and empty folders.
        Delete = 16 "delete",
        /// Give files and folders another name.
        Rename = 32 "rename",
        /// Make folders.
        Mkdir = 64 "mkdir",
    }
);

flags!(
    /// A protocol that partners speak.
    Protocol,
    /// The protocols an account may use.
    Protocols,
    "a protocol",
    /// The text names no protocol.
    ProtocolsError,
    {
        /// FTP over TLS (RFC 4217).
        Ftps = 1 "ftps",
        /// SSH file transfer, version 3 (draft-ietf-secsh-filexfer-02).
        Sftp = 2 "sftp",
    }
);

impl Rights {
    /// What `--read-only` leaves.
    pub const READ_ONLY: Self = Self::of(&[Right::List, Right::Read]);
}

/// What an account may do in a folder and below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FolderPermission {
    /// The folder.
    #[serde(flatten, serialize_with = "in_texts")]
    pub path: VirtualPath,
    /// What is allowed there; everything else is not.
    pub rights: Rights,
}

impl FolderPermission {
    /// The rights at `path`: of the most specific folder that holds it, all of
    /// them where none does.
    #[must_use]
    pub fn rights_at(permissions: &[Self], path: &VirtualPath) -> Rights {
        permissions
            .iter()
            .filter(|permission| path.is_within(&permission.path))
            .max_by_key(|permission| permission.path.components().count())
            .map_or(Rights::ALL, |permission| permission.rights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_round_trip_and_unknown_words_are_named() {
        let rights: Rights = "write, list".parse().unwrap();
        assert_eq!(rights.to_string(), "list,write");
        assert_eq!(rights.to_string().parse::<Rights>().unwrap(), rights);
        assert_eq!("".parse::<Rights>().unwrap(), Rights::NONE);
        let error = "list,fly".parse::<Rights>().unwrap_err().to_string();
        assert!(
            error.contains("fly") && error.contains("overwrite"),
            "{error}"
        );
        assert_eq!(Protocols::ALL.to_string(), "ftps,sftp");
    }

    #[test]
    fn the_most_specific_folder_decides() {
        let permissions: Vec<FolderPermission> =
            [("/", "list,read"), ("/in", "write"), ("/in/deep", "")]
                .iter()
                .map(|(path, rights)| FolderPermission {
                    path: path.parse().unwrap(),
                    rights: rights.parse().unwrap(),
                })
                .collect();
        let at = |path: &str| FolderPermission::rights_at(&permissions, &path.parse().unwrap());
        assert_eq!(at("/x"), Rights::READ_ONLY);
        assert_eq!(at("/in"), Rights::of(&[Right::Write]));
        assert_eq!(at("/in/a"), Rights::of(&[Right::Write]));
        assert_eq!(at("/inn"), Rights::READ_ONLY);
        assert_eq!(at("/in/deep/x"), Rights::NONE);
        assert_eq!(
            FolderPermission::rights_at(&[], &"/x".parse().unwrap()),
            Rights::ALL
        );
    }
}
