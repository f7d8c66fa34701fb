//! What a server says of a file, as an entry that can be used or a refusal.

use jiff::Timestamp;

use super::codec::{Attrs, Name};
use crate::path::{RemoteName, RemoteNameError, RemotePath, ServerSystem};
use crate::remote::{Entry, EntryKind, Listed, Modified, Precision};

/// How much of a name that is refused is shown, in bytes.
const MAX_RAW_BYTES: usize = 1024;

// The type bits of `st_mode` (draft-ietf-secsh-filexfer-02 s.5).
const TYPE_BITS: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// One name of a listing; `None` for the folder itself and its parent.
pub(super) fn listed(name: &Name) -> Option<Listed> {
    if matches!(name.name.as_ref(), b"." | b"..") {
        return None;
    }
    Some(match RemoteName::new(ServerSystem::Unix, &name.name) {
        Ok(checked) => Listed::Entry(entry(checked, &name.attrs, name.longname.first().copied())),
        Err(error) => Listed::Refused {
            raw: name
                .name
                .get(..MAX_RAW_BYTES)
                .unwrap_or(&name.name)
                .to_vec(),
            why: match error {
                RemoteNameError::NotAName => "not the name of a file or folder",
                RemoteNameError::TooLong => "the name is too long",
                RemoteNameError::Separator => "the name contains a path separator",
                RemoteNameError::ControlByte => "the name contains NUL, CR or LF",
            },
        },
    })
}

/// An entry from its attributes. Only where those leave out its type does the
/// first letter of the line that `ls -l` would show count.
pub(super) fn entry(name: RemoteName, attrs: &Attrs, letter: Option<u8>) -> Entry {
    let type_bits = attrs.permissions.unwrap_or_default() & TYPE_BITS;
    let kind = match (type_bits, letter) {
        (REGULAR, _) | (0, Some(b'-')) => EntryKind::File,
        (DIRECTORY, _) | (0, Some(b'd')) => EntryKind::Directory,
        (0, None) if attrs.size.is_some() => EntryKind::File,
        _ => EntryKind::Other,
    };
    Entry {
        name,
        kind,
        size_bytes: attrs.size,
        modified: attrs
            .modified_s
            .and_then(|seconds| Timestamp::from_second(i64::from(seconds)).ok())
            .map(|at| Modified {
                at,
                precision: Precision::Second,
                day_at: None,
            }),
    }
}

/// The last part of a path; `None` where it has no name of its own.
pub(super) fn name_of(path: &RemotePath) -> Option<RemoteName> {
    let bytes = path.as_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/')? + 1;
    let path = bytes.get(..end)?;
    let start = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    RemoteName::new(ServerSystem::Unix, path.get(start..)?).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn name(name: &'static [u8], longname: &'static [u8], attrs: Attrs) -> Name {
        Name {
            name: Bytes::from_static(name),
            longname: Bytes::from_static(longname),
            attrs,
        }
    }

    #[test]
    fn the_kind_comes_from_the_attributes_and_only_without_them_from_the_line() {
        for (permissions, size, longname, kind) in [
            (Some(0o100_644), None, &b"drwx"[..], EntryKind::File),
            (Some(0o040_755), None, b"-rw-", EntryKind::Directory),
            (Some(0o120_777), Some(3), b"-rw-", EntryKind::Other),
            (Some(0o010_644), None, b"", EntryKind::Other),
            (Some(0o644), None, b"-rw-r--r--", EntryKind::File),
            (Some(0o755), None, b"drwxr-xr-x", EntryKind::Directory),
            (None, Some(3), b"lrwxrwxrwx", EntryKind::Other),
            (None, Some(3), b"", EntryKind::File),
            (None, None, b"", EntryKind::Other),
        ] {
            let attrs = Attrs {
                permissions,
                size,
                modified_s: None,
            };
            let Some(Listed::Entry(entry)) = listed(&name(b"f", longname, attrs)) else {
                panic!("{permissions:?} {longname:?}");
            };
            assert_eq!(entry.kind, kind, "{permissions:?} {longname:?}");
        }
    }

    #[test]
    fn hostile_names_are_refused_and_named() {
        for (raw, why) in [
            (&b"../x"[..], "the name contains a path separator"),
            (b"/etc/passwd", "the name contains a path separator"),
            (b"a\0b", "the name contains NUL, CR or LF"),
            (b"a\r\nb", "the name contains NUL, CR or LF"),
            (b"", "not the name of a file or folder"),
        ] {
            assert_eq!(
                listed(&name(raw, b"", Attrs::default())),
                Some(Listed::Refused {
                    raw: raw.to_vec(),
                    why
                })
            );
        }
        for own in [&b"."[..], b".."] {
            assert_eq!(listed(&name(own, b"", Attrs::default())), None);
        }
    }

    #[test]
    fn a_path_ends_in_a_name_or_has_none() {
        for (path, expected) in [
            (&b"/in/f"[..], Some(&b"f"[..])),
            (b"/in/", Some(b"in")),
            (b"f", Some(b"f")),
            (b"/", None),
            (b".", None),
            (b"/in/..", None),
        ] {
            let name = name_of(&RemotePath::new(path).unwrap());
            assert_eq!(name.as_ref().map(RemoteName::as_bytes), expected);
        }
    }
}
