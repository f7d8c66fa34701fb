//! A file of ours that is encrypted on its way: one reads it, one encrypts it,
//! one hashes what goes over the wire.

use std::io;

use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use super::content_hash::ContentHash;
use super::error::{ExchangeError, LocalError};
use super::pieces::{self, Piece, PieceReader};
use super::upload::{self, Expected, Sum};
use crate::pgp::{EncryptError, EncryptOptions, Encrypting};

/// Encrypts what `content` gives and hands it on. The sums of the content and of
/// its encrypted form.
pub(super) async fn pump<R: AsyncRead + Send + Unpin>(
    content: &mut R,
    hash: ContentHash,
    expected: Expected,
    options: &EncryptOptions,
    to_wire: mpsc::Sender<Piece>,
) -> Result<(Option<Sum>, Option<Sum>), ExchangeError> {
    let (to_thread, plain) = pieces::channel();
    let mut encrypting = Encrypting::new(PieceReader::new(plain), options.clone());
    let reading = upload::pump(content, hash, Some(expected), to_thread);
    let wiring =
        async move { upload::pump(&mut encrypting, ContentHash::new(), None, to_wire).await };
    let (read, wired) = tokio::join!(reading, wiring);
    // What cannot be read cannot be encrypted: the first cause is told.
    let content = read?;
    match wired {
        Err(ExchangeError::Local(LocalError {
            source: Some(source),
            ..
        })) => Err(unsealed(source)),
        wired => Ok((content, wired?)),
    }
}

fn unsealed(source: Box<dyn std::error::Error + Send + Sync>) -> ExchangeError {
    let error = source
        .downcast::<io::Error>()
        .map(|error| error.downcast::<EncryptError>());
    match error {
        Ok(Ok(error)) => ExchangeError::Unencryptable(error),
        Ok(Err(error)) => upload::unreadable(error),
        Err(source) => LocalError::transient("encrypting failed on our side")
            .because(source)
            .into(),
    }
}
