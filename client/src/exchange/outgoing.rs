//! A file of ours that is sent.

use async_trait::async_trait;
use tokio::io::AsyncRead;

use super::error::LocalError;

/// A file's content from some offset on.
pub type Content = Box<dyn AsyncRead + Send + Unpin>;

/// A file on our side.
#[async_trait]
pub trait Outgoing: Send {
    /// Its size in bytes.
    fn size_bytes(&self) -> u64;

    /// SHA-256 of its content, where it is known: what is read must match.
    fn sha256(&self) -> Option<[u8; 32]> {
        None
    }

    /// A text that differs whenever the content may differ: what an earlier
    /// attempt sent is continued only under the same one.
    fn version(&self) -> String;

    /// Its content from `offset` on. May be asked again for a retry.
    async fn open(&mut self, offset: u64) -> Result<Content, LocalError>;

    /// The file is whole at the partner's under its temporary name and is about to get
    /// its own. Whoever keeps the text and hands it back by [`Attempt::recalled`] does not
    /// send the file twice, even when this process dies before it hears how that went.
    /// `None`: what was said before no longer counts, the file is sent anew. Fails, and
    /// the last step is not taken.
    ///
    /// [`Attempt::recalled`]: super::Attempt::recalled
    async fn last_step(&mut self, _step: Option<&str>) -> Result<(), LocalError> {
        Ok(())
    }

    /// Whether it is still the file that it was, asked after its last byte was
    /// read and before it gets its name at the partner's.
    async fn is_unchanged(&mut self) -> Result<bool, LocalError> {
        Ok(true)
    }
}
