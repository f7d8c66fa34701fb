//! What a server's status means: `SSH_FX_*` and its words, as faults of ours.

use crate::fault::RemoteFault;

/// Status codes: those of version 3 (draft-ietf-secsh-filexfer-02 s.7) and
/// those of later versions that servers send all the same
/// (draft-ietf-secsh-filexfer-13 s.9.1).
pub(super) mod code {
    pub(in crate::sftp) const OK: u32 = 0;
    pub(in crate::sftp) const EOF: u32 = 1;
    pub(in crate::sftp) const NO_SUCH_FILE: u32 = 2;
    pub(super) const PERMISSION_DENIED: u32 = 3;
    pub(super) const FAILURE: u32 = 4;
    pub(super) const BAD_MESSAGE: u32 = 5;
    pub(super) const NO_CONNECTION: u32 = 6;
    pub(super) const CONNECTION_LOST: u32 = 7;
    pub(in crate::sftp) const OP_UNSUPPORTED: u32 = 8;
    pub(super) const NO_SUCH_PATH: u32 = 10;
    pub(super) const FILE_ALREADY_EXISTS: u32 = 11;
    pub(super) const WRITE_PROTECT: u32 = 12;
    pub(super) const NO_MEDIA: u32 = 13;
    pub(super) const NO_SPACE_ON_FILESYSTEM: u32 = 14;
    pub(super) const QUOTA_EXCEEDED: u32 = 15;
    pub(super) const LOCK_CONFLICT: u32 = 17;
}

/// Words of servers that answer every failure with `SSH_FX_FAILURE`, and what
/// they mean. The first that is found counts, so "does not exist" stands before
/// "exist".
const WORDS: &[(&str, RemoteFault)] = &[
    ("no such file", RemoteFault::NotFound),
    ("not exist", RemoteFault::NotFound),
    ("not found", RemoteFault::NotFound),
    ("no space", RemoteFault::NoSpace),
    ("disk full", RemoteFault::NoSpace),
    ("disk is full", RemoteFault::NoSpace),
    ("not enough space", RemoteFault::NoSpace),
    ("quota", RemoteFault::NoSpace),
    ("exist", RemoteFault::AlreadyExists),
    ("permission", RemoteFault::NotPermitted),
    ("denied", RemoteFault::NotPermitted),
    ("not permitted", RemoteFault::NotPermitted),
    ("not allowed", RemoteFault::NotPermitted),
    ("read-only", RemoteFault::NotPermitted),
    ("busy", RemoteFault::Busy),
    ("in use", RemoteFault::Busy),
    ("being used", RemoteFault::Busy),
    ("locked", RemoteFault::Busy),
    ("sharing violation", RemoteFault::Busy),
];

/// The fault that a status means. `verb` names what was asked for.
pub(super) fn fault(code: u32, words: &str, verb: &'static str) -> RemoteFault {
    match code {
        code::NO_SUCH_FILE | code::NO_SUCH_PATH => RemoteFault::NotFound,
        code::PERMISSION_DENIED | code::WRITE_PROTECT => RemoteFault::NotPermitted,
        code::FAILURE => by_words(words),
        code::BAD_MESSAGE => RemoteFault::Unsupported { what: verb },
        code::NO_CONNECTION | code::CONNECTION_LOST => RemoteFault::ConnectionLost,
        code::OP_UNSUPPORTED => RemoteFault::Unsupported { what: verb },
        code::FILE_ALREADY_EXISTS => RemoteFault::AlreadyExists,
        code::NO_MEDIA | code::LOCK_CONFLICT => RemoteFault::Busy,
        code::NO_SPACE_ON_FILESYSTEM | code::QUOTA_EXCEEDED => RemoteFault::NoSpace,
        code::OK | code::EOF => RemoteFault::Protocol {
            detail: format!("status {code} where it has no meaning ({verb})"),
        },
        _ => by_words(words),
    }
}

fn by_words(words: &str) -> RemoteFault {
    let words = words.to_lowercase();
    WORDS
        .iter()
        .find(|(part, _)| words.contains(part))
        .map_or(RemoteFault::Refused, |(_, fault)| fault.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_named_by_its_cause() {
        for (code, words, expected) in [
            (2, "No such file", RemoteFault::NotFound),
            (3, "Permission denied", RemoteFault::NotPermitted),
            (4, "Failure", RemoteFault::Refused),
            (4, "", RemoteFault::Refused),
            (4, "write: No space left on device", RemoteFault::NoSpace),
            (4, "Disk quota exceeded", RemoteFault::NoSpace),
            (4, "File already exists", RemoteFault::AlreadyExists),
            (4, "The file does not exist.", RemoteFault::NotFound),
            (4, "Device or resource busy", RemoteFault::Busy),
            (
                4,
                "The process cannot access the file because it is being used",
                RemoteFault::Busy,
            ),
            (4, "operation not permitted", RemoteFault::NotPermitted),
            (7, "", RemoteFault::ConnectionLost),
            (8, "", RemoteFault::Unsupported { what: "this" }),
            (11, "", RemoteFault::AlreadyExists),
            (14, "", RemoteFault::NoSpace),
            (15, "", RemoteFault::NoSpace),
            (17, "", RemoteFault::Busy),
            (999, "quota", RemoteFault::NoSpace),
        ] {
            assert_eq!(fault(code, words, "this"), expected, "{code} {words}");
        }
    }
}
