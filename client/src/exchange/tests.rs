//! The pipeline against a scripted server and real ones.

mod everything;
mod fetching;
mod opening;
mod scripted;
mod sealing;
mod sending;
mod settling;

use std::pin::pin;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use super::*;
use crate::path::RemotePath;
use crate::remote::{OnExisting, Progress, Silent};
use scripted::Scripted;

fn path(text: impl AsRef<[u8]>) -> RemotePath {
    RemotePath::new(text.as_ref()).unwrap()
}

/// Content whose every place is different.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(bytes)
        .collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use aws_lc_rs::digest::{SHA256, digest};
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

/// A file of ours in memory.
struct Ours {
    content: Bytes,
    version: String,
    sha256: Option<[u8; 32]>,
    is_unchanged: bool,
    /// Reading fails here.
    fails_at: Option<usize>,
    /// What the next process is told.
    noted: Option<String>,
}

impl Ours {
    /// What the next process knows of the attempts of one that died.
    fn recalled(&self, to: &str) -> Attempt {
        let noted = self.noted.as_deref();
        let recalled = noted.and_then(|noted| Attempt::recalled(noted, &path(to)));
        recalled.unwrap_or_default()
    }

    fn new(content: impl Into<Bytes>) -> Self {
        Self {
            content: content.into(),
            version: "1".to_owned(),
            sha256: None,
            is_unchanged: true,
            fails_at: None,
            noted: None,
        }
    }
}

#[async_trait::async_trait]
impl Outgoing for Ours {
    fn size_bytes(&self) -> u64 {
        self.content.len() as u64
    }

    fn sha256(&self) -> Option<[u8; 32]> {
        self.sha256
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    async fn open(&mut self, offset: u64) -> Result<Content, LocalError> {
        let rest = self.content.slice(offset as usize..);
        let Some(fails_at) = self.fails_at else {
            return Ok(Box::new(std::io::Cursor::new(rest)));
        };
        let good = std::io::Cursor::new(rest.slice(..fails_at - offset as usize));
        Ok(Box::new(good.chain(Broken)))
    }

    async fn last_step(&mut self, step: Option<&str>) -> Result<(), LocalError> {
        self.noted = step.map(str::to_owned);
        Ok(())
    }

    async fn is_unchanged(&mut self) -> Result<bool, LocalError> {
        Ok(self.is_unchanged)
    }
}

/// A disk that cannot be read.
struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::Error::other("bad sector")))
    }
}

/// A folder of ours and a target in it.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn target(&self) -> LocalTarget {
        LocalTarget::new(self.folder.path().join("f"), LocalExisting::Keep)
    }

    /// What is in it, with names.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, std::fs::read(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }
}

fn rules() -> SendRules {
    SendRules {
        partial: Some(PartialSuffix::new(".part").unwrap()),
        on_existing: OnExisting::Replace,
        pgp: None,
        leftovers: Leftovers::Resume,
    }
}

async fn get(
    remote: &mut Scripted,
    landing: &mut dyn Landing,
    rules: &FetchRules,
) -> Result<Fetched, ExchangeError> {
    fetch(remote, &path("/in/f"), landing, rules, &Silent).await
}

async fn put(
    remote: &mut Scripted,
    ours: &mut Ours,
    rules: &SendRules,
    attempt: &mut Attempt,
) -> Result<Delivered, ExchangeError> {
    send(remote, ours, &path("/out/f"), rules, attempt, &Silent).await
}

/// Tells when so many bytes were moved.
struct Waiting {
    left: std::sync::atomic::AtomicU64,
    reached: tokio::sync::Notify,
}

impl Waiting {
    fn until(bytes: u64) -> Self {
        Self {
            left: bytes.into(),
            reached: tokio::sync::Notify::new(),
        }
    }
}

impl Progress for Waiting {
    fn moved(&self, bytes: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        let before = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(bytes)))
            .unwrap();
        if before <= bytes {
            self.reached.notify_one();
        }
    }
}

/// Drops `work` as soon as `waiting` is reached.
async fn cancelled<T: std::fmt::Debug>(work: impl Future<Output = T>, waiting: &Waiting) {
    let work = pin!(work);
    tokio::select! {
        biased;
        () = waiting.reached.notified() => {}
        done = work => panic!("it was not cancelled: {done:?}"),
    }
}
