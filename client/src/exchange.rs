//! One file from a partner's server to us ([`fetch`]), or from us to a
//! partner's server ([`send`]), exactly.
//!
//! Our side is a [`Landing`] or an [`Outgoing`]; the partner's is a
//! [`Remote`](crate::Remote). What one attempt leaves for the next is kept by
//! the caller: in the landing, and in an [`Attempt`]. Dropping the future of
//! either function publishes nothing on our side; what a dropped `send` did on
//! the partner's side, its attempt knows.
//!
//! ```text
//! fetch   stat -> get -> [decrypt] -> landing      -> hash, stat -> publish
//! send    stat -> [encrypt] -> put as name.part    -> stat, hash -> rename
//! settle_send   after a lost connection: did the rename happen?
//! ```
//!
//! It must never: publish what is not proven whole, publish plaintext before
//! its message is proven unaltered, remove a partner's file, or count a file
//! as sent because nothing spoke against it.

mod content_hash;
mod error;
mod fetch;
mod home;
mod landing;
mod last_step;
mod local_file;
mod opening;
mod outgoing;
mod partial;
mod pieces;
mod sealing;
mod send;
mod settle;
mod upload;

pub use error::{ExchangeError, LocalError};
pub use fetch::{FetchRules, Fetched, Opened, fetch, look};
pub use home::{HomeLanding, HomeOutgoing, HomeTarget, note_delivered, note_fetched};
pub use landing::{Kept, Landing, SourceState};
pub use local_file::{LocalExisting, LocalFile, LocalTarget};
pub use outgoing::{Content, Outgoing};
pub use partial::{MAX_SUFFIX_BYTES, PartialSuffix, PartialSuffixError};
pub use send::{Attempt, Delivered, Leftovers, Sealed, SendRules, Stage, send};
pub use settle::{Settled, settle_send};

/// How it was made sure that the file on the partner's server and ours are the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verified {
    /// The server's word that the transfer is complete; it shows no size.
    Word,
    /// The size that the server shows as well.
    Size,
    /// The SHA-256 that the server computed as well.
    Sha256,
}

impl Verified {
    /// As it is written in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Size => "size",
            Self::Sha256 => "sha256",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let all = [Self::Word, Self::Size, Self::Sha256];
        all.into_iter().find(|one| one.as_str() == word)
    }
}

#[cfg(test)]
mod tests;
