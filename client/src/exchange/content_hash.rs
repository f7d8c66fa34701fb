//! SHA-256 of a stream, off the async threads where there is much of it.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::LocalError;

/// Up to here the caller's thread computes, in bytes: less than a millisecond,
/// and most files are small. What is more gets a thread of its own.
const HERE_BYTES: u64 = 256 * 1024;
/// Most pieces that wait for the thread.
const MAX_WAITING: usize = 4;

/// SHA-256 of what came so far.
pub(super) struct ContentHash {
    bytes: u64,
    place: Place,
}

enum Place {
    Here(Context),
    Thread {
        pieces: mpsc::Sender<Bytes>,
        digest: JoinHandle<Context>,
    },
    /// While it moves from one place to the other.
    Nowhere,
}

impl ContentHash {
    pub(super) fn new() -> Self {
        Self {
            bytes: 0,
            place: Place::Here(Context::new(&SHA256)),
        }
    }

    /// Bytes that came so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next bytes.
    pub(super) async fn update(&mut self, piece: Bytes) -> Result<(), LocalError> {
        self.bytes += piece.len() as u64;
        if self.bytes > HERE_BYTES {
            self.move_to_thread();
        }
        match &mut self.place {
            Place::Here(context) => {
                context.update(&piece);
                Ok(())
            }
            Place::Thread { pieces, .. } => pieces.send(piece).await.map_err(|_| stopped()),
            Place::Nowhere => Err(stopped()),
        }
    }

    fn move_to_thread(&mut self) {
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Here(mut context) => {
                let (pieces, mut waiting) = mpsc::channel::<Bytes>(MAX_WAITING);
                let digest = tokio::task::spawn_blocking(move || {
                    while let Some(piece) = waiting.blocking_recv() {
                        context.update(&piece);
                    }
                    context
                });
                self.place = Place::Thread { pieces, digest };
            }
            place => self.place = place,
        }
    }

    /// The hash of all that came.
    pub(super) async fn finish(self) -> Result<[u8; 32], LocalError> {
        let context = match self.place {
            Place::Here(context) => context,
            Place::Thread { pieces, digest } => {
                drop(pieces);
                digest.await.map_err(|_| stopped())?
            }
            Place::Nowhere => return Err(stopped()),
        };
        context.finish().as_ref().try_into().map_err(|_| stopped())
    }
}

/// The runtime is being shut down.
fn stopped() -> LocalError {
    LocalError::transient("the content could not be hashed: we are stopping")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_the_same_here_and_on_a_thread() {
        let all = Bytes::from(vec![7; 3 * HERE_BYTES as usize + 1]);
        for length in [
            0,
            1,
            HERE_BYTES - 1,
            HERE_BYTES,
            HERE_BYTES + 1,
            3 * HERE_BYTES + 1,
        ] {
            let content = all.slice(..length as usize);
            for piece_bytes in [1 << 10, 1 << 18, 1 << 22] {
                let mut hash = ContentHash::new();
                for piece in content.chunks(piece_bytes) {
                    hash.update(Bytes::copy_from_slice(piece)).await.unwrap();
                }
                assert_eq!(hash.bytes(), length);
                let expected = aws_lc_rs::digest::digest(&SHA256, &content);
                assert_eq!(hash.finish().await.unwrap(), expected.as_ref(), "{length}");
            }
        }
    }
}
