//! The requests: one function each, from a parsed request to its reply.
//!
//! Every rule about files is the depot's; here are only the protocol's. A
//! request never waits for the client.

use bytes::Bytes;
use layover_depot::{
    Completion, CopyRange, CopySource, Direction, FileInfo, FileKind, Replace, Session, UploadMode,
    VfsError, VirtualPath,
};
use layover_retention::{Clock, Timestamp};

use crate::activity::Activity;
use crate::codec::{self, Attrs, Body, Code, Handle, MAX_DATA_BYTES, Name, Request, open_flag};
use crate::handles::{Handles, MAX_HANDLES, Open, OpenDirectory, Slot};
use crate::outbox::Reply;
use crate::{longname, status};

/// Names in one READDIR reply; OpenSSH sends as many. The longest ones fill 70 KiB.
const NAMES_AT_ONCE: usize = 100;

/// Whether new transfers may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    No,
    /// The server stops: what runs may finish, nothing new begins.
    Yes,
}

/// Why there is no good reply.
enum Fault {
    Depot(VfsError),
    Status(Code, &'static str),
}

impl From<VfsError> for Fault {
    fn from(error: VfsError) -> Self {
        Self::Depot(error)
    }
}

impl From<layover_depot::PathError> for Fault {
    fn from(error: layover_depot::PathError) -> Self {
        Self::Depot(VfsError::BadPath(error))
    }
}

const BAD_HANDLE: Fault = Fault::Status(Code::Failure, "no such handle");

/// One channel's requests.
pub(crate) struct Requests<'a> {
    pub(crate) session: &'a Session,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) handles: &'a mut Handles,
    /// Hears of work that takes long and moves nothing over the wire.
    pub(crate) activity: &'a Activity,
    pub(crate) stopping: Stopping,
}

impl Requests<'_> {
    /// Does what is asked for and encodes the reply.
    pub(crate) async fn answer(&mut self, request: Request) -> Reply {
        let id = request.id;
        match self.reply(id, request.body).await {
            Ok(reply) => reply,
            Err(Fault::Status(code, message)) => codec::status(id, code, message).into(),
            Err(Fault::Depot(error)) => {
                log_fault(self.session, &error);
                let (code, message) = status::of(&error);
                codec::status(id, code, &message).into()
            }
        }
    }

    async fn reply(&mut self, id: u32, body: Body) -> Result<Reply, Fault> {
        let done = || codec::status(id, Code::Ok, "");
        let packet = match body {
            Body::Open { path, flags, attrs } => {
                let handle = self.open(&path, flags, &attrs).await?;
                codec::handle(id, handle)
            }
            Body::Close { handle } => {
                self.close(handle).await?;
                done()
            }
            Body::Read {
                handle,
                offset,
                length,
            } => return Ok(Reply::data(id, self.read(handle, offset, length).await?)),
            Body::Write {
                handle,
                offset,
                data,
            } => {
                self.write(handle, offset, data).await?;
                done()
            }
            Body::Stat { path } => {
                let info = self.session.stat(&VirtualPath::parse(&path)?).await?;
                codec::attrs(id, &longname::attrs(&info))
            }
            Body::Fstat { handle } => codec::attrs(id, &self.fstat(handle)?),
            Body::Setstat { path, attrs } => {
                self.setstat(&VirtualPath::parse(&path)?, &attrs).await?;
                done()
            }
            Body::Fsetstat { handle, attrs } => {
                self.fsetstat(handle, &attrs).await?;
                done()
            }
            Body::Opendir { path } => {
                let handle = self.opendir(&VirtualPath::parse(&path)?).await?;
                codec::handle(id, handle)
            }
            Body::Readdir { handle } => self.readdir(id, handle).await?,
            Body::Remove { path } => {
                self.session.remove(&VirtualPath::parse(&path)?).await?;
                done()
            }
            Body::Mkdir { path } => {
                self.session.make_dir(&VirtualPath::parse(&path)?).await?;
                done()
            }
            Body::Rmdir { path } => {
                self.session.remove_dir(&VirtualPath::parse(&path)?).await?;
                done()
            }
            Body::Realpath { path } => one_path(id, &VirtualPath::parse(&path)?),
            Body::ExpandPath { path } => one_path(id, &self.expand(&path)?),
            Body::HomeDirectory { user } => one_path(id, &self.home_of(&user)?),
            Body::NamesById { users, groups } => {
                let account = self.session.account_name().to_string();
                let name = |id: &u32| {
                    if *id == longname::OWNER {
                        &*account
                    } else {
                        ""
                    }
                };
                let users: Vec<&str> = users.iter().map(name).collect();
                let groups: Vec<&str> = groups.iter().map(name).collect();
                codec::names_by_id(id, &users, &groups)
            }
            Body::Rename { from, to, replace } => {
                // s.6.5: it is an error if the target exists (S06).
                let replace = if replace {
                    Replace::Allow
                } else {
                    Replace::Refuse
                };
                let (from, to) = (VirtualPath::parse(&from)?, VirtualPath::parse(&to)?);
                self.session.rename(&from, &to, replace).await?;
                done()
            }
            Body::Fsync { handle } => {
                self.fsync(handle).await?;
                done()
            }
            Body::Statvfs { path } => {
                self.session.stat(&VirtualPath::parse(&path)?).await?;
                codec::statvfs(id, self.space().await?)
            }
            Body::Fstatvfs { handle } => {
                self.handles.open(handle).ok_or(BAD_HANDLE)?;
                codec::statvfs(id, self.space().await?)
            }
            Body::CopyData {
                from,
                from_offset,
                length,
                to,
                to_offset,
            } => {
                // Of no length given there is all up to the end.
                let wanted = (length > 0).then_some(length);
                let range = CopyRange {
                    from_offset,
                    to_offset,
                    length_bytes: wanted.unwrap_or(u64::MAX),
                };
                let copied_bytes = self.copy(from, to, range).await?;
                if wanted.is_some_and(|wanted| copied_bytes < wanted) {
                    return Err(Fault::Status(Code::Eof, "the source ended before"));
                }
                done()
            }
            Body::Limits => codec::limits(id, MAX_HANDLES as u64),
            Body::Unsupported { what } => codec::status(
                id,
                Code::Unsupported,
                &format!("this server does not do {what}"),
            ),
            Body::Malformed => codec::status(id, Code::BadMessage, "malformed request"),
        };
        Ok(packet.into())
    }

    async fn open(&mut self, path: &[u8], flags: u32, attrs: &Attrs) -> Result<Handle, Fault> {
        if self.stopping == Stopping::Yes {
            return Err(Fault::Status(
                Code::Failure,
                "the server is stopping; try again later",
            ));
        }
        if self.handles.is_full() {
            return Err(Fault::Status(Code::Failure, "too many open handles"));
        }
        let wants = |flag| flags & flag != 0;
        let direction = match wants(open_flag::WRITE) {
            true => Direction::Upload,
            false => Direction::Download,
        };
        let path = VirtualPath::parse(path)
            .map_err(|fault| self.session.refuse_name(direction, path, fault))?;
        if !wants(open_flag::WRITE) {
            if !wants(open_flag::READ) {
                return Err(Fault::Status(
                    Code::Failure,
                    "open neither for reading nor writing",
                ));
            }
            let file = self.session.download(&path).await?;
            return Ok(self.handles.add(Open::Reading {
                file,
                sent_bytes: 0,
                reached_end: false,
            }));
        }
        let creates = wants(open_flag::CREAT);
        let mode = if creates && wants(open_flag::EXCL) {
            UploadMode::New { exclusive: true }
        } else if wants(open_flag::TRUNC) {
            UploadMode::New { exclusive: false }
        } else if wants(open_flag::APPEND) {
            UploadMode::Append
        } else {
            UploadMode::Modify
        };
        if !creates {
            // s.6.3: without CREAT the file must be there.
            self.existing_file(&path).await?;
        }
        let file = self.session.plan_upload(&path, mode).await?.begin().await?;
        // Not the mode: clients send that of their own file unasked, and with `-p`
        // say it again by FSETSTAT. Who did not ask keeps a file that is closed.
        if let Some((_, modified)) = attrs.times {
            file.set_times(None, Some(from_seconds(modified))).await?;
        }
        Ok(self.handles.add(Open::Writing {
            file,
            readable: wants(open_flag::READ),
        }))
    }

    async fn close(&mut self, handle: Option<Handle>) -> Result<(), Fault> {
        let slot = self.handles.remove(handle).ok_or(BAD_HANDLE)?;
        match slot.open {
            Open::Reading {
                file,
                sent_bytes,
                reached_end,
            } => {
                let whole = reached_end || sent_bytes >= file.size();
                file.finish(sent_bytes, whole).await?;
            }
            Open::Writing { file, .. } => {
                file.finish(Completion::Closed).await?;
            }
            Open::Listing(_) => {}
        }
        Ok(())
    }

    async fn read(
        &mut self,
        handle: Option<Handle>,
        offset: u64,
        length: u32,
    ) -> Result<Bytes, Fault> {
        let slot = self.handles.get(handle).ok_or(BAD_HANDLE)?;
        let size_bytes = match &slot.open {
            Open::Reading { file, .. } => file.size(),
            Open::Writing {
                file,
                readable: true,
            } => file.size(),
            Open::Writing {
                readable: false, ..
            } => {
                return Err(Fault::Status(
                    Code::PermissionDenied,
                    "not open for reading",
                ));
            }
            Open::Listing(_) => return Err(Fault::Status(Code::Failure, "this is a directory")),
        };
        // Never more than there is: nothing is read beyond the end, and no
        // reply holds more memory than it is counted with.
        let left = usize::try_from(size_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let asked = usize::try_from(length).unwrap_or(usize::MAX);
        let wanted = asked.min(MAX_DATA_BYTES).min(left);
        let data = match &mut slot.open {
            _ if wanted == 0 => Bytes::new(),
            Open::Reading { file, .. } => file.read_at(offset, wanted).await?,
            Open::Writing { file, .. } => file.read_at(offset, wanted).await?,
            Open::Listing(_) => Bytes::new(),
        };
        if let Open::Reading {
            sent_bytes,
            reached_end,
            ..
        } = &mut slot.open
        {
            *sent_bytes = sent_bytes.saturating_add(data.len() as u64);
            *reached_end |= offset.saturating_add(data.len() as u64) >= size_bytes;
        }
        if data.is_empty() && length > 0 {
            return Err(Fault::Status(Code::Eof, "end of file"));
        }
        Ok(if data.len() < wanted {
            // The file became shorter under our hands: its buffer is too large.
            Bytes::copy_from_slice(&data)
        } else {
            data
        })
    }

    async fn write(
        &mut self,
        handle: Option<Handle>,
        offset: u64,
        data: Bytes,
    ) -> Result<(), Fault> {
        match self.handles.open(handle) {
            // POSIX: a write of nothing changes nothing, wherever it is.
            Some(Open::Writing { .. }) if data.is_empty() => Ok(()),
            Some(Open::Writing { file, .. }) => Ok(file.write_at(offset, data).await?),
            Some(Open::Reading { .. }) => Err(Fault::Status(
                Code::PermissionDenied,
                "not open for writing",
            )),
            Some(Open::Listing(_)) => Err(Fault::Status(Code::Failure, "this is a directory")),
            None => Err(BAD_HANDLE),
        }
    }

    /// Content up to here survives a power cut afterwards; published it is
    /// with CLOSE alone.
    async fn fsync(&self, handle: Option<Handle>) -> Result<(), Fault> {
        match self.handles.open(handle) {
            Some(Open::Writing { file, .. }) => Ok(file.sync().await?),
            // What is published is on the disk already.
            Some(Open::Reading { .. }) => Ok(()),
            Some(Open::Listing(_)) => Err(Fault::Status(Code::Failure, "this is a directory")),
            None => Err(BAD_HANDLE),
        }
    }

    /// Copies from one handle to another, and returns how many bytes there
    /// were. Meanwhile this channel does nothing else, as in OpenSSH; the copy
    /// needs nothing of the client, so nobody can be waiting for the other.
    async fn copy(
        &mut self,
        from: Option<Handle>,
        to: Option<Handle>,
        mut range: CopyRange,
    ) -> Result<u64, Fault> {
        if from == to {
            return Err(Fault::Status(
                Code::Failure,
                "a file is not copied into itself",
            ));
        }
        // What waits for a published source reads it and changes nothing.
        let behind =
            |slot: &mut Slot| matches!(slot.open, Open::Writing { .. }) && !slot.waiting.is_empty();
        if self.handles.get(from).is_some_and(behind) {
            return Err(Fault::Status(
                Code::Failure,
                "the source is still written to; read the replies first",
            ));
        }
        let source = match self.handles.open(from) {
            Some(Open::Reading { file, .. }) => CopySource::Published(file),
            Some(Open::Writing {
                file,
                readable: true,
            }) => CopySource::Unfinished(file),
            Some(Open::Writing { .. }) => {
                return Err(Fault::Status(
                    Code::PermissionDenied,
                    "not open for reading",
                ));
            }
            Some(Open::Listing(_)) => {
                return Err(Fault::Status(Code::Failure, "this is a directory"));
            }
            None => return Err(BAD_HANDLE),
        };
        let target = match self.handles.open(to) {
            Some(Open::Writing { file, .. }) => file,
            Some(Open::Reading { .. }) => {
                return Err(Fault::Status(
                    Code::PermissionDenied,
                    "not open for writing",
                ));
            }
            Some(Open::Listing(_)) => {
                return Err(Fault::Status(Code::Failure, "this is a directory"));
            }
            None => return Err(BAD_HANDLE),
        };
        let mut copied_bytes = 0_u64;
        loop {
            let step_bytes = target.copy_from(source, range).await?;
            if step_bytes == 0 {
                return Ok(copied_bytes);
            }
            copied_bytes = copied_bytes.saturating_add(step_bytes);
            range.from_offset = range.from_offset.saturating_add(step_bytes);
            range.to_offset = range.to_offset.saturating_add(step_bytes);
            range.length_bytes = range.length_bytes.saturating_sub(step_bytes);
            // A long copy is no dead client (S07).
            self.activity
                .moved(usize::try_from(step_bytes).unwrap_or(usize::MAX));
        }
    }

    async fn space(&self) -> Result<codec::FileSystem, Fault> {
        let space = self.session.space().await?;
        Ok(codec::FileSystem {
            total_bytes: space.total_bytes,
            free_bytes: space.free_bytes,
        })
    }

    /// A path as a shell would read it: `~` is the home, `~name` that of `name`.
    fn expand(&self, path: &[u8]) -> Result<VirtualPath, Fault> {
        let Some(rest) = path.strip_prefix(b"~") else {
            return Ok(VirtualPath::parse(path)?);
        };
        let slash = rest.iter().position(|byte| *byte == b'/');
        let (user, rest) = rest.split_at(slash.unwrap_or(rest.len()));
        self.home_of(user)?;
        Ok(VirtualPath::parse(rest)?)
    }

    /// The account's home is the top of what it sees; whether another account
    /// exists is not said.
    fn home_of(&self, user: &[u8]) -> Result<VirtualPath, Fault> {
        if user.is_empty() || user == self.session.account_name().to_string().as_bytes() {
            Ok(VirtualPath::root())
        } else {
            Err(Fault::Status(Code::NoSuchFile, "no such user"))
        }
    }

    fn fstat(&mut self, handle: Option<Handle>) -> Result<Attrs, Fault> {
        match self.handles.get(handle).map(|slot| &slot.open) {
            Some(Open::Reading { file, .. }) => Ok(longname::attrs(file.info())),
            Some(Open::Writing { file, .. }) => Ok(longname::attrs(&FileInfo {
                kind: FileKind::File,
                size_bytes: file.size(),
                modified_at: self.clock.now(),
                expires_at: None,
                partial: true,
                mode: 0o644,
                inode: 0,
                file: None,
            })),
            Some(Open::Listing(_)) => Ok(Attrs {
                permissions: Some(0o040_755),
                ..Attrs::default()
            }),
            None => Err(BAD_HANDLE),
        }
    }

    async fn setstat(&mut self, path: &VirtualPath, attrs: &Attrs) -> Result<(), Fault> {
        if let Some(size_bytes) = attrs.size {
            self.truncate(path, size_bytes).await?;
        }
        if let Some(mode) = attrs.permissions {
            self.session.set_mode(path, mode & 0o777).await?;
        }
        if let Some((_, modified)) = attrs.times {
            self.session
                .set_times(path, None, Some(from_seconds(modified)))
                .await?;
        }
        // Owners are the account's and stay so; `put -p` sends them, and OpenSSH
        // answers OK to a chown that changes nothing.
        Ok(())
    }

    /// Cuts or pads a file that is there: through a hidden copy, as any other
    /// change of content. An interrupted upload stays one.
    async fn truncate(&mut self, path: &VirtualPath, size_bytes: u64) -> Result<(), Fault> {
        let info = self.existing_file(path).await?;
        let permit = self.session.plan_upload(path, UploadMode::Modify).await?;
        let file = permit.begin().await?;
        file.set_len(size_bytes).await?;
        if info.partial {
            file.interrupt().await?;
        } else {
            file.finish(Completion::Closed).await?;
        }
        Ok(())
    }

    /// What the account sees at `path`, when it is no directory.
    async fn existing_file(&self, path: &VirtualPath) -> Result<FileInfo, Fault> {
        let info = self.session.stat(path).await?;
        match info.kind {
            FileKind::File => Ok(info),
            FileKind::Directory => Err(VfsError::IsDirectory { path: path.clone() }.into()),
        }
    }

    async fn fsetstat(&mut self, handle: Option<Handle>, attrs: &Attrs) -> Result<(), Fault> {
        match self.handles.get(handle).map(|slot| &slot.open) {
            Some(Open::Writing { file, .. }) => {
                if let Some(size) = attrs.size {
                    file.set_len(size).await?;
                }
                if let Some(mode) = attrs.permissions {
                    file.set_mode(mode & 0o777).await?;
                }
                if let Some((_, modified)) = attrs.times {
                    file.set_times(None, Some(from_seconds(modified))).await?;
                }
                Ok(())
            }
            Some(Open::Reading { .. }) => Err(Fault::Status(
                Code::PermissionDenied,
                "not open for writing",
            )),
            Some(Open::Listing(_)) => Err(Fault::Status(Code::Failure, "this is a directory")),
            None => Err(BAD_HANDLE),
        }
    }

    async fn opendir(&mut self, path: &VirtualPath) -> Result<Handle, Fault> {
        if self.handles.is_full() {
            return Err(Fault::Status(Code::Failure, "too many open handles"));
        }
        let own = self.session.stat(path).await?;
        self.session.check_list(path).await?;
        Ok(self.handles.add(Open::Listing(OpenDirectory {
            own: Some(own),
            listing: Box::new(self.session.listing(path)),
        })))
    }

    async fn readdir(&mut self, id: u32, handle: Option<Handle>) -> Result<Bytes, Fault> {
        let slot = self.handles.get(handle).ok_or(BAD_HANDLE)?;
        let Open::Listing(directory) = &mut slot.open else {
            return Err(Fault::Status(Code::Failure, "this is no directory"));
        };
        let mut entries = directory.listing.next(NAMES_AT_ONCE).await?;
        if let Some(own) = directory.own.take() {
            let dots = [(b".".to_vec(), own.clone()), (b"..".to_vec(), own)];
            entries.splice(0..0, dots);
        }
        if entries.is_empty() {
            return Err(Fault::Status(Code::Eof, "end of directory"));
        }
        let (account, now) = (self.session.account_name().to_string(), self.clock.now());
        let page: Vec<_> = entries
            .into_iter()
            .map(|(name, info)| Name {
                longname: longname::line(&name, &info, &account, now),
                name: Bytes::from(name),
                attrs: longname::attrs(&info),
            })
            .collect();
        Ok(codec::names(id, &page))
    }
}

/// `SSH_FXP_NAME` with a path alone, as REALPATH is answered (s.6.11).
fn one_path(id: u32, path: &VirtualPath) -> Bytes {
    let path = Bytes::copy_from_slice(path.as_bytes());
    let name = Name {
        name: path.clone(),
        longname: path,
        attrs: Attrs::default(),
    };
    codec::names(id, &[name])
}

fn from_seconds(seconds: u32) -> Timestamp {
    Timestamp::from_micros(i64::from(seconds).saturating_mul(1_000_000))
}

/// Faults of ours are logged where they are handled; those of the peer are its
/// own business.
fn log_fault(session: &Session, error: &VfsError) {
    session.faults().request(Some(session), error);
    if !error.is_ours() {
        tracing::debug!(session.id = %session.id(), "request refused: {error}");
    }
}
