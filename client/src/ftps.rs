//! Our side of FTPS, and of FTP where a partner has nothing else.
//!
//! The way in is [`Ftps::connect`]; what comes out is a [`Remote`]. The engine is
//! ours from the control connection up. suppaftp 12.2, which it was to be built on,
//! stands in the way at each of these places:
//!
//! * an active data connection is accepted on a port of the system's choice, and
//!   the function that makes data connections is private;
//! * commands are `String`s, so a password is copied into memory that is not zeroed,
//!   and the whole line of PASS goes to the log at level trace;
//! * TLS faults arrive as text, so the cause of a refused certificate is lost, and it
//!   does not tell whether a data connection resumed its session;
//! * a future that is dropped in the middle of a reply or of a command line leaves the
//!   control connection out of step, and the verbs collect a listing in memory;
//! * implicit mode has no time-out, no source address and sends no PROT.
//!
//! What is left of it (the text of the commands) is less than what is ours.
//!
//! ```text
//! options.rs           what the operator says
//! login.rs             TCP, TLS, USER, PASS, PROT, FEAT, TYPE        -> Link
//! link.rs, transfer.rs, verbs.rs   the verbs on one connection
//! control.rs           commands and replies in step; passive.rs, active.rs: where data goes
//! trust.rs, trust/     certificates, pins, keys, one session store per connection
//! listing.rs, listing/ pure: lines to entries
//! reply.rs, command.rs, features.rs, faults.rs   pure: bytes to values and back
//! ```
//!
//! It must never: send a password before TLS, take what came before TLS for what
//! came inside it, connect to an address that is not the server's, report a
//! transfer as complete without the server's word (226) and, with TLS, its
//! close_notify.

mod active;
mod command;
mod control;
pub(crate) mod dial;
mod faults;
mod features;
mod link;
mod listing;
mod login;
mod options;
mod passive;
mod reply;
mod transfer;
mod trust;
mod verbs;
mod wire;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

pub use listing::{DatePattern, DatePatternError};
pub use options::{
    ClientIdentity, Fingerprint, FtpsOptions, ListingOptions, Now, Security, Timeouts, TlsOptions,
    TlsVersions, Transfer, Trust,
};

use command::Command;
use link::Link;
use transfer::Source;

use crate::fault::{RemoteError, RemoteFault, Step};
use crate::path::{RemotePath, ServerSystem};
use crate::remote::{
    Abilities, Entry, Listed, Modified, OnExisting, Progress, Received, Remote, Sent,
};
use crate::witness::Witness;

/// What became known of a server that is worth remembering for the next connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Learned {
    /// It demands resumed TLS sessions on data connections and gives too few tickets
    /// of TLS 1.3 for that: connect with [`TlsVersions::Only12`].
    pub tls12_only: bool,
}

/// What a connection is like, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The server's address.
    pub server: SocketAddr,
    /// Our address.
    pub ours: SocketAddr,
    /// Whether TLS is 1.3 (or 1.2); `None` without TLS.
    pub is_tls13: Option<bool>,
    /// The certificate that the server showed.
    pub certificate: Option<Fingerprint>,
    /// Where the last passive data connection went.
    pub data_address: Option<SocketAddr>,
    /// What the server announced instead: an address that nobody can reach from here.
    pub data_address_repaired: Option<SocketAddr>,
}

/// A connection to a partner's FTPS or FTP server.
pub struct Ftps {
    options: Arc<FtpsOptions>,
    link: Link,
    witness: Witness,
    learned: Learned,
    /// What ended the connection.
    ended: Option<RemoteError>,
}

impl Ftps {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub async fn connect(options: FtpsOptions) -> Result<Self, RemoteError> {
        Self::connect_watched(options, &Witness::default()).await
    }

    /// The same, and `witness` hears what was seen, also where it fails.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub async fn connect_watched(
        options: FtpsOptions,
        witness: &Witness,
    ) -> Result<Self, RemoteError> {
        let options = Arc::new(options);
        let link = login::open(&options, options.tls.versions, witness).await?;
        Ok(Self {
            options,
            link,
            witness: witness.clone(),
            learned: Learned::default(),
            ended: None,
        })
    }

    /// What is worth remembering. Ask again after a transfer.
    #[must_use]
    pub fn learned(&self) -> Learned {
        self.learned
    }

    /// What the connection is like.
    #[must_use]
    pub fn facts(&self) -> ConnectionFacts {
        let place = self.link.last_place;
        ConnectionFacts {
            server: self.link.control.peer(),
            ours: self.link.control.local(),
            is_tls13: self.link.tls.as_ref().map(|_| self.link.is_tls13),
            certificate: self.link.tls.as_ref().and_then(trust::Tls::shown),
            data_address: place.map(|place| place.address),
            data_address_repaired: place.and_then(|place| place.repaired),
        }
    }

    /// When the file at `path` changed, to the second (MDTM): for files whose listing
    /// shows only a minute or a day. `None` when the server does not say.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn modified(&mut self, path: &RemotePath) -> Result<Option<Modified>, RemoteError> {
        self.alive()?;
        let answer = self.link.modified(path).await;
        self.noted(answer)
    }

    fn alive(&self) -> Result<(), RemoteError> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    /// Remembers what ended the connection.
    fn noted<T>(&mut self, answer: Result<T, RemoteError>) -> Result<T, RemoteError> {
        if let Err(error) = &answer
            && error.ends_connection()
        {
            self.ended = Some(error.clone());
        }
        answer
    }

    /// Connects anew with TLS 1.2 when `error` says that the server wants resumed
    /// sessions which TLS 1.3 did not give it, and the transfer has moved nothing.
    async fn steps_down(&mut self, error: &RemoteError, is_untouched: bool) -> bool {
        let may = error.fault == RemoteFault::SessionReuseDemanded
            && self.link.is_tls13
            && self.options.tls.versions == TlsVersions::From12;
        if !may {
            return false;
        }
        tracing::warn!(
            host = %self.options.host,
            "the server wants TLS sessions resumed more often than TLS 1.3 can with its \
             tickets: TLS 1.2 from now on"
        );
        self.learned.tls12_only = true;
        self.witness.note(|seen| seen.tls12_only = true);
        match login::open(&self.options, TlsVersions::Only12, &self.witness).await {
            Ok(link) => {
                self.link = link;
                is_untouched
            }
            // The old connection is as good as before; the fault is told as it is.
            Err(_) => false,
        }
    }

    async fn put_once(
        &mut self,
        path: &RemotePath,
        offset: u64,
        source: &mut Source<'_>,
        progress: &dyn Progress,
    ) -> Result<u64, RemoteError> {
        let store = Command::path("STOR", path);
        let error = match self.link.put(&store, offset, source, progress).await {
            Err(error) if offset > 0 && refuses_to_resume(&error) => error,
            answer => return answer,
        };
        // APPE continues where the file ends, which must be where we are.
        match self.link.size(path).await? {
            Some(size) if size == offset && source.rewind() => {
                let append = Command::path("APPE", path);
                self.link.put(&append, 0, source, progress).await
            }
            Some(size) if size != offset => Err(RemoteError::new(
                Step::Upload,
                RemoteFault::WrongSize {
                    expected: offset,
                    got: size,
                },
            )),
            _ => Err(error),
        }
    }
}

/// REST before STOR: not known (5xx), or known and not allowed (ProFTPD without
/// `AllowStoreRestart`: 451 "Append/Restart not permitted").
fn refuses_to_resume(error: &RemoteError) -> bool {
    match &error.fault {
        RemoteFault::Unsupported { .. } => true,
        RemoteFault::NotPermitted | RemoteFault::Refused => error
            .server_said
            .as_deref()
            .is_some_and(|words| words.to_ascii_lowercase().contains("restart")),
        _ => false,
    }
}

#[async_trait]
impl Remote for Ftps {
    fn abilities(&self) -> Abilities {
        let features = self.link.features;
        Abilities {
            resume_download: features.rest_stream,
            resume_upload: features.rest_stream,
            // No feature says it: rename(2) does, what Windows does fails.
            replace_by_rename: self.options.system == ServerSystem::Unix,
            sha256: features.hash_sha256 || features.xsha256,
        }
    }

    async fn list(
        &mut self,
        folder: &RemotePath,
        visit: &mut (dyn FnMut(Listed) -> ControlFlow<()> + Send),
    ) -> Result<(), RemoteError> {
        self.alive()?;
        let mut is_untouched = true;
        let mut counting = |listed| {
            is_untouched = false;
            visit(listed)
        };
        let mut answer = self.link.list(Some(folder), &mut counting).await;
        if let Err(error) = &answer
            && self.steps_down(error, is_untouched).await
        {
            answer = self.link.list(Some(folder), visit).await;
        }
        self.noted(answer)
    }

    async fn stat(&mut self, path: &RemotePath) -> Result<Option<Entry>, RemoteError> {
        self.alive()?;
        let mut answer = self.link.stat(path).await;
        if let Err(error) = &answer
            && self.steps_down(error, true).await
        {
            answer = self.link.stat(path).await;
        }
        self.noted(answer)
    }

    async fn get(
        &mut self,
        path: &RemotePath,
        offset: u64,
        sink: &mut (dyn AsyncWrite + Send + Unpin),
        progress: &dyn Progress,
    ) -> Result<Received, RemoteError> {
        self.alive()?;
        let mut bytes = 0;
        let mut answer = self
            .link
            .get(path, offset, sink, progress, &mut bytes)
            .await;
        if let Err(error) = &answer
            && self.steps_down(error, bytes == 0).await
        {
            answer = self
                .link
                .get(path, offset, sink, progress, &mut bytes)
                .await;
        }
        if let Err(error) = answer {
            answer = Err(self.link.explain(error, path).await);
        }
        self.noted(answer)?;
        Ok(Received { bytes })
    }

    async fn put(
        &mut self,
        path: &RemotePath,
        offset: u64,
        source: &mut (dyn AsyncRead + Send + Unpin),
        progress: &dyn Progress,
    ) -> Result<Sent, RemoteError> {
        self.alive()?;
        let mut source = Source::new(source);
        let mut answer = self.put_once(path, offset, &mut source, progress).await;
        if let Err(error) = &answer {
            let is_untouched = source.rewind();
            if self.steps_down(error, is_untouched).await {
                answer = self.put_once(path, offset, &mut source, progress).await;
            }
        }
        self.noted(answer).map(|bytes| Sent { bytes })
    }

    async fn rename(
        &mut self,
        from: &RemotePath,
        to: &RemotePath,
        on_existing: OnExisting,
    ) -> Result<(), RemoteError> {
        self.alive()?;
        let mut answer = self.link.rename(from, to, on_existing).await;
        // It looks at the names by a listing where there is no MLST, and never after
        // it has renamed.
        if let Err(error) = &answer
            && self.steps_down(error, true).await
        {
            answer = self.link.rename(from, to, on_existing).await;
        }
        self.noted(answer)
    }

    async fn remove(&mut self, path: &RemotePath) -> Result<(), RemoteError> {
        self.alive()?;
        let answer = self.link.remove(path).await;
        self.noted(answer)
    }

    async fn make_dir(&mut self, path: &RemotePath) -> Result<(), RemoteError> {
        self.alive()?;
        let answer = self.link.make_dir(path).await;
        self.noted(answer)
    }

    async fn sha256(&mut self, path: &RemotePath) -> Result<Option<[u8; 32]>, RemoteError> {
        self.alive()?;
        let answer = self.link.sha256(path).await;
        self.noted(answer)
    }

    async fn close(mut self: Box<Self>) -> Result<(), RemoteError> {
        self.alive()?;
        self.link
            .control
            .quit()
            .await
            .map_err(|fault| RemoteError::new(Step::Command, fault))
    }
}
