//! One file of ours to a partner's server.

use super::Verified;
use super::error::{ExchangeError, Remainder};
use super::fetch::server_hash;
use super::landing::SourceState;
use super::outgoing::Outgoing;
use super::partial::{PartialSuffix, resumable};
use super::settle::{Settled, settle_send};
use super::upload::{Place, Sum, Uploaded, upload};
use crate::fault::{Permanence, RemoteError, RemoteFault, Step};
use crate::path::RemotePath;
use crate::pgp::EncryptOptions;
use crate::remote::{Entry, EntryKind, OnExisting, Progress, Remote};

/// What becomes of what an earlier attempt left under the temporary name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leftovers {
    /// It is continued where it is surely ours and a piece of this very file;
    /// otherwise it is removed. Encrypted files begin anew.
    #[default]
    Resume,
    /// It is removed, and so is what a failed attempt leaves, where the server
    /// allows that.
    Remove,
}

/// How a file is sent.
#[derive(Debug, Clone)]
pub struct SendRules {
    /// What stands behind the name until the file is whole. Without it a reader
    /// on the partner's side can meet half a file.
    pub partial: Option<PartialSuffix>,
    /// When a file of the name is there.
    pub on_existing: OnExisting,
    /// Encrypts to the partner.
    pub pgp: Option<EncryptOptions>,
    /// What an earlier attempt left.
    pub leftovers: Leftovers,
}

/// To whom a file was encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Fingerprint of the partner's key.
    pub encrypted_to: String,
    /// Fingerprint of our key that signed.
    pub signed_by: Option<String>,
}

/// A file that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Where it is on the partner's server.
    pub remote: RemotePath,
    /// Bytes of the file as it is there.
    pub remote_bytes: u64,
    /// Bytes that this attempt moved over the wire.
    pub wire_bytes: u64,
    /// Where this attempt began: bytes that an earlier one had brought.
    pub resumed_at: u64,
    /// Bytes of the content, before it was encrypted.
    pub content_bytes: u64,
    /// SHA-256 of the content, before it was encrypted.
    pub sha256: [u8; 32],
    /// To whom it was encrypted.
    pub pgp: Option<Sealed>,
    /// How it was made sure that it is whole there.
    pub verified: Verified,
}

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Nothing of it is on the partner's server.
    #[default]
    Unsent,
    /// A piece of it may be there, under the temporary name where there is one.
    Uploading,
    /// All of it is there under the temporary name.
    Whole,
    /// The last step was begun, and its answer did not come:
    /// [`settle_send`] finds out.
    Finishing,
}

/// What was there before under the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Before {
    #[default]
    Unknown,
    Nothing,
    File(SourceState),
}

/// What the attempts to send one file know of each other. Begins as
/// `Attempt::default()` and goes into every attempt for the same file and name.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    pub(super) stage: Stage,
    pub(super) version: String,
    /// Most bytes that may have gone to the server.
    pub(super) sent_bytes: u64,
    /// Bytes that are known to have arrived.
    pub(super) arrived_to: Option<u64>,
    pub(super) before: Before,
    /// The uploaded file, as the server showed it before it got its name.
    pub(super) uploaded: Option<SourceState>,
    pub(super) wire: Option<Sum>,
    /// What is told once it is known that the last step was taken.
    pub(super) delivered: Option<Delivered>,
}

impl Attempt {
    /// How far it came.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }
}

/// Sends a file: it has its name on the partner's server only when it is whole
/// there (with a temporary suffix), and no more than once. When an earlier
/// attempt ended in its last step, it is first found out how that went.
///
/// # Errors
/// What went wrong, and whether trying again, with the same `attempt`, may help.
pub async fn send(
    remote: &mut dyn Remote,
    outgoing: &mut dyn Outgoing,
    to: &RemotePath,
    rules: &SendRules,
    attempt: &mut Attempt,
    progress: &dyn Progress,
) -> Result<Delivered, ExchangeError> {
    let version = outgoing.version();
    if attempt.version != version {
        *attempt = Attempt {
            version,
            ..Attempt::default()
        };
    }
    let name = rules.name_while_uploading(to)?;
    let delivered = match already_there(remote, to, rules, attempt).await? {
        Some(Settled::Delivered(delivered)) => return Ok(delivered),
        Some(Settled::NotDelivered { whole: Some(whole) }) => whole,
        found => {
            if found.is_some() {
                outgoing.last_step(None).await?;
            }
            check_target(remote, to, rules, attempt).await?;
            transfer(remote, outgoing, &name, to, rules, attempt, progress).await?
        }
    };
    if rules.partial.is_some() {
        attempt.delivered = Some(delivered.clone());
        outgoing.last_step(attempt.last_step().as_deref()).await?;
        take_name(remote, &name, to, rules, attempt).await?;
    }
    *attempt = Attempt::default();
    Ok(delivered)
}

impl SendRules {
    pub(super) fn name_while_uploading(&self, to: &RemotePath) -> Result<RemotePath, RemoteError> {
        match &self.partial {
            Some(suffix) => suffix.behind(to),
            None => Ok(to.clone()),
        }
    }

    fn sealed(&self) -> Option<Sealed> {
        self.pgp.as_ref().map(|options| Sealed {
            encrypted_to: options.to.fingerprint(),
            signed_by: options
                .sign_with
                .as_ref()
                .map(|keys| keys.newest().fingerprint()),
        })
    }
}

async fn already_there(
    remote: &mut dyn Remote,
    to: &RemotePath,
    rules: &SendRules,
    attempt: &Attempt,
) -> Result<Option<Settled>, ExchangeError> {
    if attempt.stage < Stage::Whole {
        return Ok(None);
    }
    match settle_send(remote, to, rules, attempt).await? {
        Settled::Unknown { why } => Err(ExchangeError::Unsettled {
            path: to.clone(),
            why,
        }),
        settled => Ok(Some(settled)),
    }
}

/// What is there under the final name, before anything is sent.
async fn check_target(
    remote: &mut dyn Remote,
    to: &RemotePath,
    rules: &SendRules,
    attempt: &mut Attempt,
) -> Result<(), ExchangeError> {
    // A torn file under the final name, of an attempt without a suffix.
    let is_ours = rules.partial.is_none() && attempt.stage >= Stage::Uploading;
    let exists = || ExchangeError::TargetExists { path: to.clone() };
    attempt.before = match remote.stat(to).await {
        Err(error) if error.ends_connection() => return Err(error.into()),
        // A folder to drop files into shows nothing; what may not be replaced
        // must be seen.
        Err(error) if rules.on_existing == OnExisting::Fail => return Err(error.into()),
        Err(_) => Before::Unknown,
        Ok(None) => Before::Nothing,
        Ok(Some(entry)) if entry.kind != EntryKind::File => return Err(exists()),
        Ok(Some(entry)) => Before::File(state(&entry)),
    };
    if !matches!(attempt.before, Before::File(_)) || is_ours {
        return Ok(());
    }
    match rules.on_existing {
        OnExisting::Fail => Err(exists()),
        OnExisting::Replace if rules.partial.is_some() && !remote.abilities().replace_by_rename => {
            Err(ExchangeError::CannotReplace { path: to.clone() })
        }
        OnExisting::Replace | OnExisting::DeleteFirst => Ok(()),
    }
}

pub(super) fn state(entry: &Entry) -> SourceState {
    SourceState {
        size_bytes: entry.size_bytes,
        modified: entry.modified,
    }
}

/// Uploads to `name` and proves that it is whole there.
async fn transfer(
    remote: &mut dyn Remote,
    outgoing: &mut dyn Outgoing,
    name: &RemotePath,
    to: &RemotePath,
    rules: &SendRules,
    attempt: &mut Attempt,
    progress: &dyn Progress,
) -> Result<Delivered, ExchangeError> {
    let offset = match &rules.partial {
        Some(_) => resumable(remote, outgoing, name, rules, attempt).await?,
        None => 0,
    };
    let place = Place { path: name, offset };
    let stage_before = std::mem::replace(&mut attempt.stage, Stage::Uploading);
    attempt.sent_bytes = attempt.sent_bytes.max(outgoing.size_bytes());
    let Uploaded {
        is_begun,
        taken_to,
        content,
        wire,
        moved,
    } = match upload(remote, outgoing, &place, rules.pgp.as_ref(), progress).await {
        Ok(uploaded) => uploaded,
        Err(error) => {
            attempt.stage = stage_before;
            return Err(error);
        }
    };
    attempt.sent_bytes = taken_to;
    attempt.wire = wire;
    let told = |content: Sum, wire: Sum, wire_bytes, verified| Delivered {
        remote: to.clone(),
        remote_bytes: wire.bytes,
        wire_bytes,
        resumed_at: offset,
        content_bytes: content.bytes,
        sha256: content.sha256,
        pgp: rules.sealed(),
        verified,
    };
    let wire_bytes = match moved {
        Ok(wire_bytes) => wire_bytes,
        Err(error) => {
            if let ExchangeError::Remote(fault) = &error {
                attempt.arrived_to = fault.arrived_to;
            }
            if !is_begun {
                attempt.stage = stage_before;
            } else if error.ends_connection()
                && rules.partial.is_none()
                && let (Some(content), Some(wire)) = (content, wire)
                && taken_to == wire.bytes
            {
                // All went; whether all arrived is not known.
                let moved = wire.bytes - offset;
                attempt.delivered = Some(told(content, wire, moved, Verified::Word));
                attempt.stage = Stage::Finishing;
            } else {
                clear_away(remote, name, rules, attempt, &error).await;
            }
            return Err(error);
        }
    };
    let (Some(content), Some(wire)) = (content, wire) else {
        // A server that says it has all without having taken all.
        let error = RemoteError::new(Step::Upload, RemoteFault::Truncated).into();
        clear_away(remote, name, rules, attempt, &error).await;
        return Err(error);
    };
    match check(remote, outgoing, name, rules, wire, attempt).await {
        Ok(verified) => {
            attempt.stage = Stage::Whole;
            Ok(told(content, wire, wire_bytes, verified))
        }
        Err(error) => {
            if !error.ends_connection() && remote.remove(name).await.is_ok() {
                attempt.stage = Stage::Unsent;
            }
            Err(error)
        }
    }
}

/// After a failure with a connection that still lives: what is under way is
/// removed, unless the next attempt can continue it.
async fn clear_away(
    remote: &mut dyn Remote,
    name: &RemotePath,
    rules: &SendRules,
    attempt: &mut Attempt,
    error: &ExchangeError,
) {
    let is_continued = rules.leftovers == Leftovers::Resume
        && rules.pgp.is_none()
        && rules.partial.is_some()
        && error.permanence() == Permanence::Transient
        && !matches!(error, ExchangeError::OurFileChanged);
    if is_continued || error.ends_connection() {
        return;
    }
    match remote.remove(name).await {
        Ok(()) => attempt.stage = Stage::Unsent,
        Err(error) if error.fault == RemoteFault::NotFound => attempt.stage = Stage::Unsent,
        Err(error) => {
            tracing::warn!(file.path = %name, %error, "what a failed upload left stays there");
        }
    }
}

/// That the server has what was sent, and that it was our file.
async fn check(
    remote: &mut dyn Remote,
    outgoing: &mut dyn Outgoing,
    name: &RemotePath,
    rules: &SendRules,
    wire: Sum,
    attempt: &mut Attempt,
) -> Result<Verified, ExchangeError> {
    let fault = |fault| ExchangeError::from(RemoteError::new(Step::Upload, fault));
    let there = match remote.stat(name).await {
        Ok(Some(entry)) => Some(state(&entry)),
        // A partner may take a file at once; one that is not finished, nobody.
        Ok(None) if rules.partial.is_none() => None,
        Ok(None) => return Err(fault(RemoteFault::NotFound)),
        Err(error) if error.ends_connection() => return Err(error.into()),
        // Folders to drop files into show nothing.
        Err(_) => None,
    };
    attempt.uploaded = there;
    let size = there.and_then(|there| there.size_bytes);
    if let Some(got) = size
        && got != wire.bytes
    {
        return Err(fault(RemoteFault::WrongSize {
            expected: wire.bytes,
            got,
        }));
    }
    let theirs = match there {
        Some(_) => server_hash(remote, name).await?,
        None => None,
    };
    if theirs.is_some_and(|theirs| theirs != wire.sha256) {
        return Err(fault(RemoteFault::WrongHash));
    }
    if !outgoing.is_unchanged().await? {
        return Err(ExchangeError::OurFileChanged);
    }
    Ok(match (theirs, size) {
        (Some(_), _) => Verified::Sha256,
        (None, Some(_)) => Verified::Size,
        (None, None) => Verified::Word,
    })
}

/// The last step: the whole file gets its name.
async fn take_name(
    remote: &mut dyn Remote,
    name: &RemotePath,
    to: &RemotePath,
    rules: &SendRules,
    attempt: &mut Attempt,
) -> Result<(), ExchangeError> {
    attempt.stage = Stage::Finishing;
    let Err(error) = remote.rename(name, to, rules.on_existing).await else {
        return Ok(());
    };
    if error.ends_connection() {
        return Err(error.into());
    }
    let mut error = error;
    let is_deleted = matches!(attempt.before, Before::File(_))
        && rules.on_existing == OnExisting::DeleteFirst
        && matches!(remote.stat(to).await, Ok(None));
    if is_deleted {
        // Nothing is in the way any more, and ours is all that is left.
        match remote.rename(name, to, OnExisting::Fail).await {
            Ok(()) => return Ok(()),
            Err(again) if again.ends_connection() => return Err(again.into()),
            Err(again) => error = again,
        }
    }
    attempt.stage = Stage::Whole;
    let is_kept = is_deleted
        || (rules.leftovers == Leftovers::Resume && error.permanence() == Permanence::Transient);
    if !is_kept && remote.remove(name).await.is_ok() {
        attempt.stage = Stage::Unsent;
    }
    let path = to.clone();
    Err(match (&error.fault, rules.on_existing) {
        (RemoteFault::AlreadyExists, OnExisting::Fail) => ExchangeError::TargetExists { path },
        (RemoteFault::AlreadyExists, _) => ExchangeError::CannotReplace { path },
        _ => ExchangeError::RenameRefused {
            path,
            source: Box::new(error),
            rest: Remainder {
                partial_remains: attempt.stage == Stage::Whole,
                target_is_gone: is_deleted,
            },
        },
    })
}
