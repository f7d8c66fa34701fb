//! After a connection that was lost in a file's last step: was it taken?

use super::Verified;
use super::error::ExchangeError;
use super::fetch::server_hash;
use super::landing::SourceState;
use super::send::{Attempt, Before, Delivered, SendRules, Stage, state};
use crate::path::RemotePath;
use crate::remote::{EntryKind, Precision, Remote};

/// What became of a file whose last step got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is there under its name, by size and, where the server can say it, by
    /// hash.
    Delivered(Delivered),
    /// It does not have its name. With `whole` all of it is there under the
    /// temporary name, and only the last step is missing.
    NotDelivered {
        /// What is told of it when the last step is taken.
        whole: Option<Delivered>,
    },
    /// What is there does not show it.
    Unknown {
        /// What is there.
        why: &'static str,
    },
}

/// Finds out, on a new connection, what became of an earlier attempt to send a
/// file to `to`. Changes nothing on the partner's server.
///
/// # Errors
/// A verb on the partner's server failed.
pub async fn settle_send(
    remote: &mut dyn Remote,
    to: &RemotePath,
    rules: &SendRules,
    attempt: &Attempt,
) -> Result<Settled, ExchangeError> {
    let (Some(delivered), Some(wire)) = (&attempt.delivered, attempt.wire) else {
        return Ok(Settled::NotDelivered { whole: None });
    };
    let theirs = Theirs {
        bytes: wire.bytes,
        sha256: wire.sha256,
    };
    if rules.partial.is_some() {
        let name = rules.name_while_uploading(to)?;
        if let Some(there) = look(remote, &name).await? {
            let whole = theirs.is(remote, &name, &there).await?;
            return Ok(Settled::NotDelivered {
                whole: whole.map(|verified| Delivered {
                    verified,
                    ..delivered.clone()
                }),
            });
        }
        if attempt.stage == Stage::Whole {
            return Ok(Settled::NotDelivered { whole: None });
        }
    }
    let Some(there) = look(remote, to).await? else {
        let why = "neither the file nor its temporary form is there: the partner may have taken it";
        return Ok(Settled::Unknown { why });
    };
    let Some(verified) = theirs.is(remote, to, &there).await? else {
        return Ok(match rules.partial {
            // Cut off under its own name: it is sent again.
            None => Settled::NotDelivered { whole: None },
            Some(_) => Settled::Unknown {
                why: "another file is there, and the uploaded one is gone",
            },
        });
    };
    if verified == Verified::Sha256 || is_another(attempt, &there) {
        return Ok(Settled::Delivered(Delivered {
            verified,
            ..delivered.clone()
        }));
    }
    Ok(Settled::Unknown {
        why: "the file that is there may be the one from before: it has the same size",
    })
}

/// Whether `there` cannot be the file that was there before.
fn is_another(attempt: &Attempt, there: &SourceState) -> bool {
    let is_exact = |state: &SourceState| {
        state
            .modified
            .is_some_and(|modified| modified.precision == Precision::Second)
    };
    match attempt.before {
        Before::Nothing => true,
        Before::Unknown => false,
        Before::File(before) => {
            let is_changed =
                before.size_bytes != there.size_bytes || before.modified != there.modified;
            is_exact(&before) && is_exact(there) && is_changed
        }
    }
}

async fn look(
    remote: &mut dyn Remote,
    path: &RemotePath,
) -> Result<Option<SourceState>, ExchangeError> {
    let entry = remote.stat(path).await?;
    Ok(entry
        .filter(|entry| entry.kind == EntryKind::File)
        .map(|entry| state(&entry)))
}

/// The file as it must be on the partner's server.
struct Theirs {
    bytes: u64,
    sha256: [u8; 32],
}

impl Theirs {
    /// Whether the file at `path` is it, as far as the server shows.
    async fn is(
        &self,
        remote: &mut dyn Remote,
        path: &RemotePath,
        there: &SourceState,
    ) -> Result<Option<Verified>, ExchangeError> {
        if there.size_bytes != Some(self.bytes) {
            return Ok(None);
        }
        Ok(match server_hash(remote, path).await? {
            Some(hash) if hash == self.sha256 => Some(Verified::Sha256),
            Some(_) => None,
            None => Some(Verified::Size),
        })
    }
}
