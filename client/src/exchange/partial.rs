//! The name that a file bears while it is uploaded, and what an earlier attempt
//! left under it.

use tokio::io::AsyncReadExt;

use super::error::ExchangeError;
use super::outgoing::Outgoing;
use super::pieces::{self, PIECE_BYTES, Piece, PieceSink};
use super::send::{Attempt, Leftovers, SendRules, Stage};
use super::upload::unreadable;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::path::RemotePath;
use crate::remote::{EntryKind, Remote, Silent};

/// Longest suffix, in bytes.
pub const MAX_SUFFIX_BYTES: usize = 32;

/// Why text is no suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartialSuffixError {
    /// Empty, or over [`MAX_SUFFIX_BYTES`].
    #[error("a temporary suffix has 1 to {MAX_SUFFIX_BYTES} bytes")]
    Length,
    /// A separator or a control character.
    #[error("a temporary suffix contains no path separator and no control character")]
    Character,
}

/// What stands behind a file's name while it is uploaded, `.part` mostly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialSuffix(String);

impl PartialSuffix {
    /// Takes a suffix as an operator wrote it.
    pub fn new(suffix: &str) -> Result<Self, PartialSuffixError> {
        if suffix.is_empty() || suffix.len() > MAX_SUFFIX_BYTES {
            return Err(PartialSuffixError::Length);
        }
        if suffix
            .chars()
            .any(|c| c.is_control() || matches!(c, '/' | '\\'))
        {
            return Err(PartialSuffixError::Character);
        }
        Ok(Self(suffix.to_owned()))
    }

    /// The name of `target` while it is uploaded.
    pub(super) fn behind(&self, target: &RemotePath) -> Result<RemotePath, RemoteError> {
        RemotePath::new(&[target.as_bytes(), self.0.as_bytes()].concat()).map_err(|error| {
            RemoteError::new(
                Step::Prepare,
                RemoteFault::Settings {
                    detail: format!("the temporary name of `{target}`: {error}"),
                },
            )
        })
    }
}

/// How much of the end of a leftover is read back and compared before it is
/// continued, in bytes: besides all that was under way when the connection broke.
const TAIL_BYTES: u64 = 64 * 1024;

/// Where the upload to `name` begins. What an earlier attempt left there is
/// continued when it is a piece of this very file, and removed otherwise, so
/// that a connection of before that still lives writes into nothing of ours.
pub(super) async fn resumable(
    remote: &mut dyn Remote,
    outgoing: &mut dyn Outgoing,
    name: &RemotePath,
    rules: &SendRules,
    attempt: &Attempt,
) -> Result<u64, ExchangeError> {
    let there = match remote.stat(name).await {
        Ok(Some(entry)) => entry,
        Ok(None) => return Ok(0),
        Err(error) if error.ends_connection() => return Err(error.into()),
        // A folder that shows nothing: the upload empties what is there.
        Err(_) => return Ok(0),
    };
    if there.kind != EntryKind::File {
        return Err(ExchangeError::NotAFile { path: name.clone() });
    }
    let abilities = remote.abilities();
    let may = rules.leftovers == Leftovers::Resume
        && rules.pgp.is_none()
        && attempt.stage == Stage::Uploading
        && abilities.resume_upload
        && abilities.resume_download;
    if let Some(size) = there.size_bytes
        && may
        && (1..=attempt.sent_bytes).contains(&size)
        && has_our_tail(remote, outgoing, name, size, attempt).await?
    {
        return Ok(size);
    }
    match remote.remove(name).await {
        Err(error) if error.ends_connection() => Err(error.into()),
        Err(error) if error.fault != RemoteFault::NotFound => {
            tracing::warn!(file.path = %name, %error, "an old upload cannot be removed, it is overwritten");
            Ok(0)
        }
        _ => Ok(0),
    }
}

/// Whether the end of what is there is what our file has in its place.
async fn has_our_tail(
    remote: &mut dyn Remote,
    outgoing: &mut dyn Outgoing,
    name: &RemotePath,
    size: u64,
    attempt: &Attempt,
) -> Result<bool, ExchangeError> {
    let proven = attempt.arrived_to.unwrap_or(size).min(size);
    let from = proven.min(size.saturating_sub(TAIL_BYTES));
    let mut ours = outgoing.open(from).await?;
    let (to_us, mut arriving) = pieces::channel();
    let mut sink = PieceSink::new(to_us, size - from);
    let getting = async move {
        let got = remote.get(name, from, &mut sink, &Silent).await;
        sink.finish(got.is_ok()).await;
        got
    };
    let comparing = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut compared = 0;
        while let Some(Piece::Data(theirs)) = arriving.recv().await {
            let room = buffer.get_mut(..theirs.len()).unwrap_or_default();
            ours.read_exact(room).await.map_err(unreadable)?;
            if *room != *theirs {
                return Ok(false);
            }
            compared += theirs.len() as u64;
        }
        Ok::<_, ExchangeError>(compared == size - from)
    };
    let (got, is_ours) = tokio::join!(getting, comparing);
    match got {
        Err(error) if error.ends_connection() => Err(error.into()),
        // A folder that nobody may read: then nothing is proven.
        Err(_) => Ok(false),
        Ok(_) => is_ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::MAX_REMOTE_PATH_BYTES;

    #[test]
    fn a_suffix_leads_nowhere_and_has_a_limit() {
        let at_limit = "x".repeat(MAX_SUFFIX_BYTES);
        let above = "x".repeat(MAX_SUFFIX_BYTES + 1);
        for good in [".part", "~", " ", "\u{e9}", &at_limit] {
            assert!(PartialSuffix::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", PartialSuffixError::Length),
            (above.as_str(), PartialSuffixError::Length),
            ("/x", PartialSuffixError::Character),
            ("\\x", PartialSuffixError::Character),
            ("a\r\nDELE x", PartialSuffixError::Character),
            ("\0", PartialSuffixError::Character),
        ] {
            assert_eq!(PartialSuffix::new(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_with_its_suffix_is_refused() {
        let suffix = PartialSuffix::new(".part").unwrap();
        let path = |bytes| RemotePath::new(&vec![b'x'; bytes]).unwrap();
        assert!(suffix.behind(&path(MAX_REMOTE_PATH_BYTES - 5)).is_ok());
        assert!(suffix.behind(&path(MAX_REMOTE_PATH_BYTES - 4)).is_err());
    }
}
