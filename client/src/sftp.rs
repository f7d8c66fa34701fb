//! SFTP version 3 over SSH, as a client.
//!
//! The way in is [`SftpRemote::connect`]. SSH is `russh`; SFTP above it is our
//! own, because names are bytes and because a fast transfer keeps many requests
//! outstanding. Nothing of ours is sent before the host key is the one that is
//! expected.

mod codec;
mod dial;
mod entries;
mod host_key;
mod key_pair;
mod link;
mod login;
mod options;
mod reads;
mod session;
mod status;
mod transfer;
mod transport;
mod writes;

use std::net::Shutdown;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::client::{Handle, connect_stream};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, Disconnect, Error};
use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::codec::Reply;
use self::dial::Dial;
use self::host_key::Expected;
use self::link::{Link, Watcher};
use self::session::Session;
use self::status::code;
use self::transport::HostKeyKind;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::path::RemotePath;
use crate::remote::{Abilities, Entry, Listed, OnExisting, Progress, Received, Remote, Sent};
use crate::witness::{Witness, printable};
use layover_depot::timer::timeout;

pub use host_key::{
    Fingerprint, HostTrust, KnownKeys, MAX_KNOWN_HOSTS_LINE_BYTES, MAX_KNOWN_KEYS, TrustError,
};
pub use key_pair::{KeyKind, KeyPair, KeyPairError, MAX_PRIVATE_KEY_BYTES, MIN_RSA_BITS};
pub use link::Agreement;
pub use options::{Algorithms, Credential, DEFAULT_PORT, KeyPairs, Proof, SftpOptions, Timeouts};

/// How long is waited for the farewell to be sent.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection to a partner's SFTP server, logged in.
#[derive(Debug)]
pub struct SftpRemote {
    session: Session,
    ssh: Ssh,
    proofs: Vec<Proof>,
}

/// An SSH connection; ends with it.
struct Ssh {
    handle: Handle<Watcher>,
    link: Link,
    _hangup: Hangup,
}

impl std::fmt::Debug for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ssh").finish_non_exhaustive()
    }
}

/// Ends the connection when dropped. russh's own task would wait for a server
/// that is silent, with the socket open.
struct Hangup(Socket);

impl Hangup {
    fn of(stream: &TcpStream) -> Result<Self, RemoteError> {
        SockRef::from(stream)
            .try_clone()
            .map(Self)
            .map_err(|error| {
                RemoteError::new(
                    Step::Connect,
                    RemoteFault::Local {
                        detail: error.to_string(),
                    },
                )
            })
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        // It fails when the peer was faster.
        drop(self.0.shutdown(Shutdown::Both));
    }
}

impl SftpRemote {
    /// Connects, checks the host key, logs in and opens SFTP.
    pub async fn connect(options: &SftpOptions) -> Result<Self, RemoteError> {
        Self::connect_watched(options, &Witness::default()).await
    }

    /// The same, and `witness` hears what was seen, also where it fails.
    pub async fn connect_watched(
        options: &SftpOptions,
        witness: &Witness,
    ) -> Result<Self, RemoteError> {
        witness.begin();
        let expected = options
            .trust
            .expect(&options.host, options.port)
            .map_err(|fault| RemoteError::new(Step::Prepare, fault))?;
        let mut ssh = handshake(options, &expected, witness).await?;
        let limit = options.timeouts.login;
        let rest = async {
            let proofs = login::log_in(
                &mut ssh.handle,
                &ssh.link,
                &options.username,
                &options.credential,
            )
            .await?;
            witness.note(|seen| {
                seen.logged_in = true;
                seen.proofs.clone_from(&proofs);
            });
            let channel = open_channel(&ssh).await?;
            let (read, write) = channel.split();
            let session =
                Session::over_channel(read, write, options.timeouts, ssh.link.clone()).await?;
            Ok((session, proofs))
        };
        let (session, proofs) = timeout(limit, rest)
            .await
            .map_err(|_| RemoteError::new(Step::Login, RemoteFault::TimedOut { after: limit }))??;
        Ok(Self {
            session,
            ssh,
            proofs,
        })
    }

    /// With what the server let us in. [`Proof::PreviousKey`] says that the
    /// partner has not installed the new public key yet.
    #[must_use]
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// What was agreed upon in the handshake.
    #[must_use]
    pub fn agreement(&self) -> Option<Agreement> {
        self.ssh.link.agreement()
    }

    /// The last error of a transfer leaves nothing outstanding.
    fn settle<T>(&mut self, result: Result<T, RemoteError>) -> Result<T, RemoteError> {
        self.session.abandon();
        result
    }

    async fn lstat(
        &mut self,
        step: Step,
        path: &RemotePath,
    ) -> Result<Option<codec::Attrs>, RemoteError> {
        let reply = self
            .session
            .ask(step, |id| codec::lstat(id, path.as_bytes()))
            .await?;
        match reply {
            Reply::Attrs(attrs) => Ok(Some(attrs)),
            Reply::Status {
                code: code::NO_SUCH_FILE,
                ..
            } => Ok(None),
            other => match self.session.refusal(step, "looking at a file", other) {
                error if error.fault == RemoteFault::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn rename_plainly(
        &mut self,
        from: &RemotePath,
        to: &RemotePath,
    ) -> Result<(), RemoteError> {
        self.session
            .ask_status(Step::Rename, "renaming", |id| {
                codec::rename(id, from.as_bytes(), to.as_bytes())
            })
            .await
    }

    /// A plain rename that failed, by its cause: version 3 has no status for a
    /// target that exists.
    async fn named(
        &mut self,
        error: RemoteError,
        from: &RemotePath,
        to: &RemotePath,
    ) -> RemoteError {
        if !matches!(error.fault, RemoteFault::Refused) {
            return error;
        }
        let fault = match (
            self.lstat(Step::Rename, from).await,
            self.lstat(Step::Rename, to).await,
        ) {
            (Ok(None), _) => RemoteFault::NotFound,
            (Ok(Some(_)), Ok(Some(_))) => RemoteFault::AlreadyExists,
            _ => return error,
        };
        RemoteError { fault, ..error }
    }

    async fn remove_file(&mut self, step: Step, path: &RemotePath) -> Result<(), RemoteError> {
        self.session
            .ask_status(step, "removing a file", |id| {
                codec::remove(id, path.as_bytes())
            })
            .await
    }
}

#[async_trait]
impl Remote for SftpRemote {
    fn abilities(&self) -> Abilities {
        Abilities {
            resume_download: true,
            resume_upload: true,
            replace_by_rename: self.session.features.posix_rename,
            sha256: self.session.features.check_file,
        }
    }

    async fn list(
        &mut self,
        folder: &RemotePath,
        visit: &mut (dyn FnMut(Listed) -> ControlFlow<()> + Send),
    ) -> Result<(), RemoteError> {
        self.session.begin(Step::List)?;
        let result = transfer::list(&mut self.session, folder, visit).await;
        self.settle(result)
    }

    async fn stat(&mut self, path: &RemotePath) -> Result<Option<Entry>, RemoteError> {
        self.session.begin(Step::Command)?;
        let name = entries::name_of(path).ok_or_else(|| {
            RemoteError::new(
                Step::Command,
                RemoteFault::Unsupported {
                    what: "looking at a folder without a name of its own",
                },
            )
        })?;
        let attrs = self.lstat(Step::Command, path).await?;
        Ok(attrs.map(|attrs| entries::entry(name, &attrs, None)))
    }

    async fn get(
        &mut self,
        path: &RemotePath,
        offset: u64,
        sink: &mut (dyn AsyncWrite + Send + Unpin),
        progress: &dyn Progress,
    ) -> Result<Received, RemoteError> {
        self.session.begin(Step::Download)?;
        let result = transfer::download(&mut self.session, path, offset, sink, progress).await;
        self.settle(result).map(|bytes| Received { bytes })
    }

    async fn put(
        &mut self,
        path: &RemotePath,
        offset: u64,
        source: &mut (dyn AsyncRead + Send + Unpin),
        progress: &dyn Progress,
    ) -> Result<Sent, RemoteError> {
        self.session.begin(Step::Upload)?;
        let result = transfer::upload(&mut self.session, path, offset, source, progress).await;
        self.settle(result).map(|bytes| Sent { bytes })
    }

    async fn rename(
        &mut self,
        from: &RemotePath,
        to: &RemotePath,
        on_existing: OnExisting,
    ) -> Result<(), RemoteError> {
        const STEP: Step = Step::Rename;
        self.session.begin(STEP)?;
        // Some servers replace by a plain rename although version 3 forbids it.
        if on_existing == OnExisting::Fail && self.lstat(STEP, to).await?.is_some() {
            return Err(RemoteError::new(STEP, RemoteFault::AlreadyExists));
        }
        if on_existing != OnExisting::Fail && self.session.features.posix_rename {
            return self
                .session
                .ask_status(STEP, "renaming", |id| {
                    codec::posix_rename(id, from.as_bytes(), to.as_bytes())
                })
                .await;
        }
        let Err(error) = self.rename_plainly(from, to).await else {
            return Ok(());
        };
        let error = self.named(error, from, to).await;
        if on_existing != OnExisting::DeleteFirst || error.fault != RemoteFault::AlreadyExists {
            return Err(error);
        }
        // The target goes only when what replaces it is there.
        if self.lstat(STEP, from).await?.is_none() {
            return Err(RemoteError::new(STEP, RemoteFault::NotFound));
        }
        self.remove_file(STEP, to).await?;
        self.rename_plainly(from, to).await
    }

    async fn remove(&mut self, path: &RemotePath) -> Result<(), RemoteError> {
        self.session.begin(Step::Remove)?;
        self.remove_file(Step::Remove, path).await
    }

    async fn make_dir(&mut self, path: &RemotePath) -> Result<(), RemoteError> {
        const STEP: Step = Step::Command;
        self.session.begin(STEP)?;
        let made = self
            .session
            .ask_status(STEP, "making a folder", |id| {
                codec::mkdir(id, path.as_bytes())
            })
            .await;
        match made {
            Err(error)
                if error.fault == RemoteFault::Refused
                    && self.lstat(STEP, path).await?.is_some() =>
            {
                Err(RemoteError {
                    fault: RemoteFault::AlreadyExists,
                    ..error
                })
            }
            other => other,
        }
    }

    async fn sha256(&mut self, path: &RemotePath) -> Result<Option<[u8; 32]>, RemoteError> {
        const STEP: Step = Step::Command;
        self.session.begin(STEP)?;
        if !self.session.features.check_file {
            return Ok(None);
        }
        let Some(attrs) = self.lstat(STEP, path).await? else {
            return Err(RemoteError::new(STEP, RemoteFault::NotFound));
        };
        self.session.allow_for(attrs.size.unwrap_or_default());
        let reply = self
            .session
            .ask(STEP, |id| codec::check_file(id, path.as_bytes()))
            .await?;
        match reply {
            Reply::Extended(content) => codec::parse_check_file(content)
                .map_err(|error| self.session.garbled(STEP, error.to_string())),
            // A server that has the extension but not this algorithm.
            Reply::Status { .. } => match self.session.refusal(STEP, "hashing a file", reply) {
                error if error.ends_connection() => Err(error),
                _ => Ok(None),
            },
            other => Err(self.session.refusal(STEP, "hashing a file", other)),
        }
    }

    async fn close(mut self: Box<Self>) -> Result<(), RemoteError> {
        if self.session.begin(Step::Command).is_err() {
            return Ok(());
        }
        let farewell = async {
            self.ssh
                .handle
                .disconnect(Disconnect::ByApplication, "", "")
                .await
                .ok();
            // russh's task ends when it is sent; how it ends is of no interest.
            (&mut self.ssh.handle).await.ok();
        };
        timeout(FAREWELL, farewell).await.ok();
        Ok(())
    }
}

/// Connects and exchanges keys. A server has several host keys; where only
/// fingerprints are known, not of which kind, it is asked for each kind before
/// its key counts as changed.
async fn handshake(
    options: &SftpOptions,
    expected: &Expected,
    witness: &Witness,
) -> Result<Ssh, RemoteError> {
    let mut kinds = expected.kinds_in_order();
    let mut first_error: Option<RemoteError> = None;
    loop {
        let (error, shown) = match handshake_with(options, expected, &kinds, witness).await {
            Ok(ssh) => return Ok(ssh),
            Err(failure) => failure,
        };
        if let Some(first) = first_error.take()
            && !matches!(error.fault, RemoteFault::HostKeyChanged { .. })
        {
            return Err(first);
        }
        let Some(shown) = shown.filter(|_| expected.is_of_unknown_kind()) else {
            return Err(error);
        };
        kinds.retain(|kind| *kind != shown);
        if kinds.is_empty() {
            return Err(error);
        }
        first_error = Some(error);
    }
}

async fn handshake_with(
    options: &SftpOptions,
    expected: &Expected,
    kinds: &[HostKeyKind],
    witness: &Witness,
) -> Result<Ssh, (RemoteError, Option<HostKeyKind>)> {
    let dial = Dial {
        host: &options.host,
        port: options.port,
        source_address: options.source_address,
        limit: options.timeouts.connect,
    };
    let stream = dial.connect().await.map_err(|error| (error, None))?;
    let hangup = Hangup::of(&stream).map_err(|error| (error, None))?;
    witness.note(|seen| {
        seen.server = stream.peer_addr().ok();
        seen.ours = stream.local_addr().ok();
    });
    let greeting = first_line(&stream, options.timeouts.login).await;
    witness.note(|seen| seen.greeting = greeting);
    let link = Link::default();
    let watcher = Watcher {
        expected: expected.clone(),
        link: link.clone(),
        witness: witness.clone(),
    };
    let config = Arc::new(transport::config(options.algorithms, kinds));
    let limit = options.timeouts.login;
    match timeout(limit, connect_stream(config, stream, watcher)).await {
        Ok(Ok(handle)) => Ok(Ssh {
            handle,
            link,
            _hangup: hangup,
        }),
        Ok(Err(error)) => Err((
            link.error_or(Step::Handshake, link::fault_of(&error)),
            link.shown(),
        )),
        Err(_) => Err((
            RemoteError::new(Step::Handshake, RemoteFault::TimedOut { after: limit }),
            None,
        )),
    }
}

/// What the server says first, left in place for the handshake.
async fn first_line(stream: &TcpStream, limit: Duration) -> Option<String> {
    // RFC 4253 s.4.2: the version has at most 255 bytes.
    let mut line = [0; 255];
    let read = timeout(limit, stream.peek(&mut line)).await.ok()?.ok()?;
    let line = line.get(..read)?.split(|byte| *byte == b'\n').next()?;
    Some(printable(&String::from_utf8_lossy(line))).filter(|line| !line.is_empty())
}

async fn open_channel(ssh: &Ssh) -> Result<Channel<russh::client::Msg>, RemoteError> {
    const STEP: Step = Step::Login;
    const NO_SFTP: RemoteFault = RemoteFault::Unsupported { what: "SFTP" };
    let mut channel = ssh
        .handle
        .channel_open_session()
        .await
        .map_err(|error| match error {
            Error::ChannelOpenFailure(ChannelOpenFailure::ResourceShortage) => {
                RemoteError::new(STEP, RemoteFault::TooManyConnections)
            }
            Error::ChannelOpenFailure(_) => RemoteError::new(STEP, NO_SFTP),
            error => ssh.link.error_or(STEP, link::fault_of(&error)),
        })?;
    channel
        .request_subsystem(true, "sftp")
        .await
        .map_err(|_| ssh.link.error(STEP))?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(channel),
            Some(ChannelMsg::Failure | ChannelMsg::Close | ChannelMsg::Eof) => {
                return Err(RemoteError::new(STEP, NO_SFTP));
            }
            Some(_) => {}
            None => return Err(ssh.link.error(STEP)),
        }
    }
}

#[cfg(test)]
mod tests;
