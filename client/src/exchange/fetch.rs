//! One file from a partner's server to us.

use crate::exchange::Verified;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::path::RemotePath;
use crate::pgp::{DecryptOptions, SenderRule};
use crate::remote::{EntryKind, Extent, Precision, Progress, Remote};

use super::content_hash::ContentHash;
use super::error::{ExchangeError, LocalError};
use super::landing::{Landing, SourceState};
use super::opening;
use super::pieces::{self, PIECE_BYTES, Piece, PieceSink};

/// How a file is fetched.
#[derive(Debug, Clone)]
pub struct FetchRules {
    /// The file must be encrypted to us, and is decrypted on its way. What is
    /// not is refused and stays on the partner's server.
    pub pgp: Option<DecryptOptions>,
    /// Longest file where the server says no size, in bytes.
    pub limit_bytes: u64,
}

impl Default for FetchRules {
    /// As it is, up to 1 TiB.
    fn default() -> Self {
        Self {
            pgp: None,
            limit_bytes: 1 << 40,
        }
    }
}

/// A file that came encrypted and was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Fingerprint of our key that opened it.
    pub opened_by: String,
    /// Fingerprint of the partner's key whose signature was demanded and is
    /// valid.
    pub signed_by: Option<String>,
}

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is on the partner's server.
    pub remote: RemotePath,
    /// What the server showed of it.
    pub source: SourceState,
    /// Bytes that this attempt moved over the wire.
    pub wire_bytes: u64,
    /// Where this attempt began: bytes that an earlier one had brought.
    pub resumed_at: u64,
    /// Bytes of the content, decrypted.
    pub content_bytes: u64,
    /// SHA-256 of the content, decrypted.
    pub sha256: [u8; 32],
    /// Who opened it and who signed, where it came encrypted.
    pub pgp: Option<Opened>,
    /// How it was made sure that it is whole.
    pub verified: Verified,
}

/// What came over the wire.
pub(super) struct Arrived {
    pub(super) wire_bytes: u64,
    /// Of the file as it is on the partner's server; `None` where nobody asks.
    pub(super) wire_sha256: Option<[u8; 32]>,
    pub(super) content_bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) pgp: Option<Opened>,
}

/// What is to be fetched.
pub(super) struct Source<'a> {
    pub(super) path: &'a RemotePath,
    pub(super) offset: u64,
    /// Most bytes that may come.
    pub(super) limit_bytes: u64,
}

/// Downloads `from` into `landing` and publishes it there when it is proven
/// whole. On an error nothing was published, and the partner's file is as it
/// was; the landing may be used again for another attempt.
///
/// # Errors
/// What went wrong, and whether trying again may help.
pub async fn fetch(
    remote: &mut dyn Remote,
    from: &RemotePath,
    landing: &mut dyn Landing,
    rules: &FetchRules,
    progress: &dyn Progress,
) -> Result<Fetched, ExchangeError> {
    let before = look(remote, from).await?;
    let offset = resumable(remote, landing, &before, rules);
    landing.begin(&before, offset).await?;
    progress.begins(Extent {
        from_bytes: offset,
        total_bytes: before.size_bytes,
    });
    let source = Source {
        path: from,
        offset,
        limit_bytes: before
            .size_bytes
            .unwrap_or(rules.limit_bytes)
            .saturating_sub(offset),
    };
    let received = match &rules.pgp {
        None => receive(remote, &source, landing, progress).await,
        Some(options) => opening::receive(remote, &source, landing, options, progress).await,
    };
    let arrived = match received {
        Ok(arrived) => arrived,
        Err(error) => return Err(or_changed(remote, from, &before, error).await),
    };
    let verified = check(remote, &source, &before, &arrived).await?;
    let fetched = Fetched {
        remote: from.clone(),
        source: before,
        wire_bytes: arrived.wire_bytes,
        resumed_at: offset,
        content_bytes: arrived.content_bytes,
        sha256: arrived.sha256,
        pgp: arrived.pgp,
        verified,
    };
    landing.publish(&fetched).await?;
    Ok(fetched)
}

/// What a partner's server shows of a file, before it is downloaded.
///
/// # Errors
/// It is not there, or is not a regular file.
pub async fn look(
    remote: &mut dyn Remote,
    path: &RemotePath,
) -> Result<SourceState, ExchangeError> {
    let path = || path.clone();
    match remote.stat(&path()).await? {
        None => Err(ExchangeError::Missing { path: path() }),
        Some(entry) if entry.kind != EntryKind::File => {
            Err(ExchangeError::NotAFile { path: path() })
        }
        Some(entry) => Ok(SourceState {
            size_bytes: entry.size_bytes,
            modified: entry.modified,
        }),
    }
}

/// Where the download begins. What was kept counts only when the source shows
/// the same size and the same time, to the second: a minute is long enough to
/// write another file.
fn resumable(
    remote: &dyn Remote,
    landing: &dyn Landing,
    now: &SourceState,
    rules: &FetchRules,
) -> u64 {
    let Some(kept) = landing.kept() else { return 0 };
    let is_exact = now
        .modified
        .is_some_and(|modified| modified.precision == Precision::Second);
    let fits = now.size_bytes.is_some_and(|size| kept.bytes <= size);
    // The session key of an encrypted file is at its beginning.
    let may = rules.pgp.is_none() && remote.abilities().resume_download;
    if may && is_exact && fits && kept.of == *now {
        kept.bytes
    } else {
        0
    }
}

async fn receive(
    remote: &mut dyn Remote,
    source: &Source<'_>,
    landing: &mut dyn Landing,
    progress: &dyn Progress,
) -> Result<Arrived, ExchangeError> {
    let mut hash = ContentHash::new();
    while hash.bytes() < source.offset {
        let room = usize::try_from(source.offset - hash.bytes()).unwrap_or(PIECE_BYTES);
        let kept = landing
            .read_kept(hash.bytes(), room.min(PIECE_BYTES))
            .await?;
        if kept.is_empty() {
            let what = "what an earlier attempt had brought is no longer there";
            return Err(LocalError::transient(what).into());
        }
        hash.update(kept).await?;
    }
    let (to_us, mut pieces) = pieces::channel();
    let getting = get(
        remote,
        source,
        PieceSink::new(to_us, source.limit_bytes),
        progress,
    );
    let hashing = &mut hash;
    let taking = async move {
        while let Some(Piece::Data(piece)) = pieces.recv().await {
            hashing.update(piece.clone()).await?;
            landing.write(piece).await?;
        }
        Ok::<_, LocalError>(())
    };
    let (got, taken) = tokio::join!(getting, taking);
    // When both failed, the one on our side did first.
    taken?;
    let wire_bytes = got?;
    let content_bytes = hash.bytes();
    let sha256 = hash.finish().await?;
    Ok(Arrived {
        wire_bytes,
        wire_sha256: Some(sha256),
        content_bytes,
        sha256,
        pgp: None,
    })
}

/// The download itself, to the sink's end.
pub(super) async fn get(
    remote: &mut dyn Remote,
    source: &Source<'_>,
    mut sink: PieceSink,
    progress: &dyn Progress,
) -> Result<u64, ExchangeError> {
    let got = remote
        .get(source.path, source.offset, &mut sink, progress)
        .await;
    let is_overrun = sink.is_overrun();
    sink.finish(got.is_ok()).await;
    if is_overrun {
        return Err(ExchangeError::SourceChanged {
            path: source.path.clone(),
            how: format!(
                "more than {} bytes came",
                source.offset.saturating_add(source.limit_bytes)
            ),
        });
    }
    Ok(got?.bytes)
}

/// A file that the partner is still writing is mostly not what it has to be:
/// then that is the reason.
async fn or_changed(
    remote: &mut dyn Remote,
    path: &RemotePath,
    before: &SourceState,
    error: ExchangeError,
) -> ExchangeError {
    let may_be = matches!(error, ExchangeError::Undecryptable { .. })
        || matches!(
            &error,
            ExchangeError::Remote(RemoteError {
                fault: RemoteFault::WrongSize { .. } | RemoteFault::Truncated,
                ..
            })
        );
    if !may_be || error.ends_connection() {
        return error;
    }
    match unchanged(remote, path, before).await {
        Err(changed @ ExchangeError::SourceChanged { .. }) => changed,
        _ => error,
    }
}

/// Whether the source still shows what it showed before.
async fn unchanged(
    remote: &mut dyn Remote,
    path: &RemotePath,
    before: &SourceState,
) -> Result<(), ExchangeError> {
    let changed = |how: String| ExchangeError::SourceChanged {
        path: path.clone(),
        how,
    };
    let after = match look(remote, path).await {
        Err(ExchangeError::Missing { .. }) => {
            return Err(changed("it is no longer there".to_owned()));
        }
        Err(ExchangeError::NotAFile { .. }) => {
            return Err(changed("it is no longer a file".to_owned()));
        }
        looked => looked?,
    };
    match (before.size_bytes, after.size_bytes) {
        (Some(was), Some(is)) if was != is => {
            return Err(changed(format!("it had {was} bytes and has {is}")));
        }
        _ => {}
    }
    if before.modified != after.modified {
        return Err(changed("its time is another one".to_owned()));
    }
    Ok(())
}

/// That what came is what the server has, and that the server still has it.
async fn check(
    remote: &mut dyn Remote,
    source: &Source<'_>,
    before: &SourceState,
    arrived: &Arrived,
) -> Result<Verified, ExchangeError> {
    let whole_bytes = source.offset + arrived.wire_bytes;
    let theirs = server_hash(remote, source.path).await?;
    unchanged(remote, source.path, before).await?;
    let fault = |fault| ExchangeError::Remote(RemoteError::new(Step::Download, fault));
    if let Some(expected) = before.size_bytes
        && expected != whole_bytes
    {
        return Err(fault(RemoteFault::WrongSize {
            expected,
            got: whole_bytes,
        }));
    }
    match (theirs, arrived.wire_sha256) {
        (Some(theirs), Some(ours)) if theirs == ours => Ok(Verified::Sha256),
        (Some(_), Some(_)) => Err(fault(RemoteFault::WrongHash)),
        _ if before.size_bytes.is_some() => Ok(Verified::Size),
        _ => Ok(Verified::Word),
    }
}

/// SHA-256 as the server computes it. A server that offers it and then refuses
/// is one that cannot.
pub(super) async fn server_hash(
    remote: &mut dyn Remote,
    path: &RemotePath,
) -> Result<Option<[u8; 32]>, ExchangeError> {
    if !remote.abilities().sha256 {
        return Ok(None);
    }
    match remote.sha256(path).await {
        Err(error) if error.ends_connection() => Err(error.into()),
        Err(error) => {
            tracing::warn!(file.path = %path, %error, "the server refused to hash the file");
            Ok(None)
        }
        Ok(hash) => Ok(hash),
    }
}

/// Whose signature was demanded.
pub(super) fn demanded(rule: &SenderRule) -> Option<String> {
    match rule {
        SenderRule::Anyone => None,
        SenderRule::SignedBy(partner) => Some(partner.fingerprint()),
    }
}
