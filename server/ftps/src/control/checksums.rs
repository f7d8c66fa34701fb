//! HASH, XSHA256, XCRC and XMD5. A large file takes minutes: meanwhile the control
//! connection is read, as beside a transfer, and whoever says ABOR or leaves ends the
//! work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use layover_depot::{Download, Session, VirtualPath};
use tokio_util::sync::CancellationToken;

use super::transfer::{Work, broken_off};
use super::{ControlConnection, Ending, Fault, refuse};
use crate::command::{Checksum, Ranged};
use crate::digest::Digest;
use crate::reply::Reply;

/// Bytes that one read takes.
const READ_BYTES: usize = 256 * 1024;

/// How the checksum is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// HASH: with the range and the name.
    Hash,
    /// The X commands: alone.
    Alone,
}

/// A file that is being read for nothing but its checksum: when this goes, nothing was
/// sent, so nothing was collected, and no download was cut.
struct Unsent(Option<Download>);

impl Unsent {
    fn file(&self) -> Result<&Download, Fault> {
        self.0
            .as_ref()
            .ok_or_else(|| refuse(450, "the file is gone"))
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            file.forget();
        }
    }
}

/// What is going to be computed.
struct Job {
    session: Session,
    algorithm: Checksum,
    path: VirtualPath,
    range: (u64, Option<u64>),
    /// The argument as one name, when a file may have it.
    whole: Option<VirtualPath>,
    told: Told,
    cancel: CancellationToken,
    read_bytes: Arc<AtomicU64>,
}

impl ControlConnection {
    pub(super) async fn checksum(
        &mut self,
        algorithm: Checksum,
        ranged: &Ranged,
        told: Told,
    ) -> Result<(), Ending> {
        let (cancel, read_bytes) = (CancellationToken::new(), Arc::<AtomicU64>::default());
        let job = self.checksum_job(algorithm, ranged, told, &cancel, &read_bytes);
        match job {
            Ok(job) => {
                self.beside(Work::Checksum, job.reply(), cancel, read_bytes)
                    .await
            }
            Err(fault) => {
                let reply = self.fault_reply(fault);
                Ok(self.wire.send(&reply).await?)
            }
        }
    }

    fn checksum_job(
        &self,
        algorithm: Checksum,
        ranged: &Ranged,
        told: Told,
        cancel: &CancellationToken,
        read_bytes: &Arc<AtomicU64>,
    ) -> Result<Job, Fault> {
        let whole = ranged.whole.as_ref().map(|whole| self.at(whole));
        Ok(Job {
            session: self.session()?,
            algorithm,
            path: self.at(&ranged.path)?,
            range: (ranged.start, ranged.end),
            whole: whole.transpose()?,
            told,
            cancel: cancel.clone(),
            read_bytes: Arc::clone(read_bytes),
        })
    }
}

impl Job {
    async fn reply(self) -> Reply {
        let session = self.session.clone();
        match self.computed().await {
            Ok(reply) | Err(Fault::Reply(reply)) => reply,
            Err(Fault::Depot(error)) => broken_off(&session, &error),
        }
    }

    async fn computed(mut self) -> Result<Reply, Fault> {
        if let Some(whole) = self.whole.take()
            && self.session.stat(&whole).await.is_ok()
        {
            (self.path, self.range) = (whole, (0, None));
        }
        let opened = Unsent(Some(self.session.open_to_read(&self.path).await?));
        let file = opened.file()?;
        let (start, end) = (
            self.range.0,
            self.range.1.unwrap_or(u64::MAX).min(file.size()),
        );
        let is_whole = start == 0 && end == file.size();
        let known = match self.algorithm {
            Checksum::Sha256 if is_whole => file.known_sha256().await?,
            _ => None,
        };
        let digest = match known {
            Some(known) => hex::encode(known),
            None => self.read(file, start, end).await?,
        };
        if start > end {
            return Err(refuse(501, "the range begins behind the end of the file"));
        }
        Ok(match self.told {
            // draft-bryan-ftp-hash s.3.2.
            Told::Hash => {
                let text = format!("SHA-256 0-{end} {digest} ");
                Reply::new(213, [text.as_bytes(), self.path.as_bytes()].concat())
            }
            Told::Alone => Reply::new(250, digest),
        })
    }

    async fn read(&self, file: &Download, start: u64, end: u64) -> Result<String, Fault> {
        let mut digest = Digest::new(self.algorithm);
        let mut at = start;
        while at < end {
            if self.cancel.is_cancelled() {
                return Err(refuse(451, "the checksum was aborted"));
            }
            let left = usize::try_from(end - at).unwrap_or(READ_BYTES);
            let bytes = file.read_at(at, left.min(READ_BYTES)).await?;
            if bytes.is_empty() {
                break;
            }
            digest.update(&bytes);
            at = at.saturating_add(bytes.len() as u64);
            self.read_bytes.store(at - start, Ordering::Relaxed);
            // Quick storage never makes this wait, and what is said on the control
            // connection would not be heard.
            tokio::task::yield_now().await;
        }
        Ok(digest.finish())
    }
}
