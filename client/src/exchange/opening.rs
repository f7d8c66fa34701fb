//! A download that is decrypted on its way: three work at the same time. One
//! gets the encrypted file, one opens it, one lands its content.

use tokio::io::AsyncWriteExt;

use super::content_hash::ContentHash;
use super::error::{ExchangeError, LocalError};
use super::fetch::{Arrived, Opened, Source, demanded, get};
use super::landing::Landing;
use super::pieces::{self, Piece, PieceSink, PieceWriter};
use crate::pgp::{DecryptError, DecryptOptions, Decrypted, Decrypting};
use crate::remote::{Progress, Remote};

/// What became of the encrypted file.
enum Opening {
    Done(Decrypted),
    Failed(DecryptError),
    /// The download broke off before there was a verdict.
    BrokenOff,
}

pub(super) async fn receive(
    remote: &mut dyn Remote,
    source: &Source<'_>,
    landing: &mut dyn Landing,
    options: &DecryptOptions,
    progress: &dyn Progress,
) -> Result<Arrived, ExchangeError> {
    let mut wire_hash = remote.abilities().sha256.then(ContentHash::new);
    let mut hash = ContentHash::new();
    let (to_opening, mut encrypted) = pieces::channel();
    let (to_landing, mut plain) = pieces::channel();
    let mut decrypting = Decrypting::new(PieceWriter::new(to_landing), options.clone());
    let getting = get(
        remote,
        source,
        PieceSink::new(to_opening, source.limit_bytes),
        progress,
    );
    let wire_hashing = &mut wire_hash;
    let opening = async move {
        loop {
            match encrypted.recv().await {
                Some(Piece::Data(piece)) => {
                    if let Some(hash) = wire_hashing {
                        hash.update(piece.clone()).await?;
                    }
                    if decrypting.write_all(&piece).await.is_err() {
                        break;
                    }
                }
                Some(Piece::End) => break,
                Some(Piece::Failed(_)) | None if decrypting.has_verdict() => break,
                Some(Piece::Failed(_)) | None => return Ok(Opening::BrokenOff),
            }
        }
        // The download ends early when nobody takes it any more.
        drop(encrypted);
        let (_, verdict) = decrypting.finish().await;
        Ok::<_, LocalError>(match verdict {
            Ok(decrypted) => Opening::Done(decrypted),
            Err(error) => Opening::Failed(error),
        })
    };
    let hashing = &mut hash;
    let taking = async move {
        while let Some(Piece::Data(piece)) = plain.recv().await {
            hashing.update(piece.clone()).await?;
            landing.write(piece).await?;
        }
        Ok::<_, LocalError>(())
    };
    let (got, opened, taken) = tokio::join!(getting, opening, taking);
    taken?;
    let decrypted = match opened? {
        Opening::Done(decrypted) => decrypted,
        Opening::Failed(DecryptError::Undecryptable { cause }) => {
            return Err(ExchangeError::Undecryptable { cause });
        }
        // The download's own error says more than what became of it here.
        Opening::Failed(error) => {
            got?;
            let what = "decrypting failed on our side";
            return Err(LocalError::transient(what).because(error).into());
        }
        Opening::BrokenOff => {
            got?;
            return Err(LocalError::transient("decrypting stopped").into());
        }
    };
    let wire_bytes = got?;
    let content_bytes = hash.bytes();
    Ok(Arrived {
        wire_bytes,
        wire_sha256: match wire_hash {
            Some(hash) => Some(hash.finish().await?),
            None => None,
        },
        content_bytes,
        sha256: hash.finish().await?,
        pgp: Some(Opened {
            opened_by: decrypted.opened_by,
            signed_by: demanded(&options.sender),
        }),
    })
}
