//! SFTP version 3 on the wire: bytes in, values out, and back.
//!
//! Pure: no I/O, no state, nothing of the depot. Source:
//! draft-ietf-secsh-filexfer-02; section numbers are that draft's. Names are
//! strings of bytes and stay so (S03).

use bytes::{BufMut, Bytes, BytesMut};

/// The version we speak (s.4).
pub const VERSION: u32 = 3;

/// Longest packet that is accepted, in bytes, its length field not counted:
/// 256 KiB of data, a handle and the fields around them. OpenSSH's limit is
/// the same 256 KiB (`SFTP_MAX_MSG_LENGTH`).
pub const MAX_PACKET_BYTES: usize = 256 * 1024 + 1024;

/// Most data that one READ answers or one WRITE carries, in bytes; told to
/// clients by `limits@openssh.com`.
pub const MAX_DATA_BYTES: usize = 255 * 1024;

/// Longest handle, in bytes (s.6.2 allows 256; ours have 4).
pub const MAX_HANDLE_BYTES: usize = 256;

/// Extended attributes pairs that a packet may carry; they are ignored.
const MAX_EXTENDED_ATTRS: u32 = 64;

/// Numbers of users, and of groups, that one `users-groups-by-id@openssh.com`
/// may ask for: `sftp` asks for those of one listing, each once. More would let
/// a small request make a large reply.
pub const MAX_IDS: usize = 1024;

mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const LSTAT: u8 = 7;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const SETSTAT: u8 = 9;
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const OPENDIR: u8 = 11;
    pub(super) const READDIR: u8 = 12;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const MKDIR: u8 = 14;
    pub(super) const RMDIR: u8 = 15;
    pub(super) const REALPATH: u8 = 16;
    pub(super) const STAT: u8 = 17;
    pub(super) const RENAME: u8 = 18;
    pub(super) const READLINK: u8 = 19;
    pub(super) const SYMLINK: u8 = 20;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

/// Open flags (s.6.3).
pub mod open_flag {
    /// Open for reading.
    pub const READ: u32 = 0x01;
    /// Open for writing.
    pub const WRITE: u32 = 0x02;
    /// Every write goes to the end.
    pub const APPEND: u32 = 0x04;
    /// Make the file if there is none.
    pub const CREAT: u32 = 0x08;
    /// Start with no content.
    pub const TRUNC: u32 = 0x10;
    /// Fail if there is a file.
    pub const EXCL: u32 = 0x20;
}

mod attr_flag {
    pub(super) const SIZE: u32 = 0x01;
    pub(super) const UIDGID: u32 = 0x02;
    pub(super) const PERMISSIONS: u32 = 0x04;
    pub(super) const ACMODTIME: u32 = 0x08;
    pub(super) const EXTENDED: u32 = 0x8000_0000;
}

/// Status codes (s.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Code {
    /// Done.
    Ok = 0,
    /// Nothing more to read or list.
    Eof = 1,
    /// No such file or directory.
    NoSuchFile = 2,
    /// Not allowed.
    PermissionDenied = 3,
    /// Anything else.
    Failure = 4,
    /// A packet that cannot be right.
    BadMessage = 5,
    /// We do not do this.
    Unsupported = 8,
}

/// File attributes (s.5); what is not set was not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Size in bytes.
    pub size: Option<u64>,
    /// Numeric owner and group.
    pub uid_gid: Option<(u32, u32)>,
    /// Type and permission bits as in `st_mode`.
    pub permissions: Option<u32>,
    /// Last access and modification, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// A file handle: a number of ours, opaque to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u32);

/// A request: its number and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Comes back in the reply.
    pub id: u32,
    /// What is asked for.
    pub body: Body,
}

/// What a packet asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `SSH_FXP_OPEN`
    Open {
        /// The name.
        path: Bytes,
        /// See [`open_flag`].
        flags: u32,
        /// Wishes for a new file.
        attrs: Attrs,
    },
    /// `SSH_FXP_CLOSE`
    Close {
        /// The handle.
        handle: Option<Handle>,
    },
    /// `SSH_FXP_READ`
    Read {
        /// The handle.
        handle: Option<Handle>,
        /// From where, in bytes.
        offset: u64,
        /// At most so many bytes.
        length: u32,
    },
    /// `SSH_FXP_WRITE`
    Write {
        /// The handle.
        handle: Option<Handle>,
        /// Where to, in bytes.
        offset: u64,
        /// What.
        data: Bytes,
    },
    /// `SSH_FXP_STAT` and `SSH_FXP_LSTAT`: there are no symbolic links.
    Stat {
        /// The name.
        path: Bytes,
    },
    /// `SSH_FXP_FSTAT`
    Fstat {
        /// The handle.
        handle: Option<Handle>,
    },
    /// `SSH_FXP_SETSTAT`
    Setstat {
        /// The name.
        path: Bytes,
        /// What to change.
        attrs: Attrs,
    },
    /// `SSH_FXP_FSETSTAT`
    Fsetstat {
        /// The handle.
        handle: Option<Handle>,
        /// What to change.
        attrs: Attrs,
    },
    /// `SSH_FXP_OPENDIR`
    Opendir {
        /// The name.
        path: Bytes,
    },
    /// `SSH_FXP_READDIR`
    Readdir {
        /// The handle.
        handle: Option<Handle>,
    },
    /// `SSH_FXP_REMOVE`
    Remove {
        /// The name.
        path: Bytes,
    },
    /// `SSH_FXP_MKDIR`
    Mkdir {
        /// The name.
        path: Bytes,
    },
    /// `SSH_FXP_RMDIR`
    Rmdir {
        /// The name.
        path: Bytes,
    },
    /// `SSH_FXP_REALPATH`
    Realpath {
        /// The name.
        path: Bytes,
    },
    /// `SSH_FXP_RENAME` (fails when the target exists), or
    /// `posix-rename@openssh.com` (replaces it).
    Rename {
        /// The present name.
        from: Bytes,
        /// The new name.
        to: Bytes,
        /// Whether an existing target is replaced.
        replace: bool,
    },
    /// `fsync@openssh.com`
    Fsync {
        /// The handle.
        handle: Option<Handle>,
    },
    /// `statvfs@openssh.com`
    Statvfs {
        /// Any name on the file system.
        path: Bytes,
    },
    /// `fstatvfs@openssh.com`
    Fstatvfs {
        /// Anything open on the file system.
        handle: Option<Handle>,
    },
    /// `limits@openssh.com`
    Limits,
    /// `expand-path@openssh.com`
    ExpandPath {
        /// A name that may begin with `~`.
        path: Bytes,
    },
    /// `home-directory`
    HomeDirectory {
        /// Whose; the account's own when empty.
        user: Bytes,
    },
    /// `users-groups-by-id@openssh.com`
    NamesById {
        /// Numbers of users.
        users: Vec<u32>,
        /// Numbers of groups.
        groups: Vec<u32>,
    },
    /// `copy-data`
    CopyData {
        /// The source.
        from: Option<Handle>,
        /// From where, in bytes.
        from_offset: u64,
        /// How much, in bytes; 0 for all up to the end of the source.
        length: u64,
        /// The target.
        to: Option<Handle>,
        /// Where to, in bytes.
        to_offset: u64,
    },
    /// A request that we know and do not do, or do not know.
    Unsupported {
        /// Its name.
        what: &'static str,
    },
    /// A request whose fields cannot be right.
    Malformed,
}

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `SSH_FXP_INIT`
    Init {
        /// The client's version.
        version: u32,
    },
    /// A request that gets a reply.
    Request(Request),
}

/// A packet that cannot even be answered: the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Longer than [`MAX_PACKET_BYTES`], or of no length at all.
    #[error("a packet of {bytes} bytes")]
    Length {
        /// What its length field says.
        bytes: u32,
    },
    /// Too short for a request number.
    #[error("a packet without a request number")]
    Truncated,
}

/// Reads fields off the front of a packet.
struct Reader(Bytes);

/// A field is not there, or not right.
struct Bad;

impl Reader {
    fn u32(&mut self) -> Result<u32, Bad> {
        let (head, _) = self.0.split_first_chunk::<4>().ok_or(Bad)?;
        let value = u32::from_be_bytes(*head);
        self.0 = self.0.split_off(4);
        Ok(value)
    }

    fn u64(&mut self) -> Result<u64, Bad> {
        Ok((u64::from(self.u32()?) << 32) | u64::from(self.u32()?))
    }

    fn string(&mut self) -> Result<Bytes, Bad> {
        let length = usize::try_from(self.u32()?).map_err(|_| Bad)?;
        if length > self.0.len() {
            return Err(Bad);
        }
        Ok(self.0.split_to(length))
    }

    /// A handle of ours; another is well-formed and names nothing.
    fn handle(&mut self) -> Result<Option<Handle>, Bad> {
        let text = self.string()?;
        if text.len() > MAX_HANDLE_BYTES {
            return Err(Bad);
        }
        Ok(<[u8; 4]>::try_from(&*text)
            .ok()
            .map(|bytes| Handle(u32::from_be_bytes(bytes))))
    }

    /// A string that holds numbers.
    fn ids(&mut self) -> Result<Vec<u32>, Bad> {
        let text = self.string()?;
        let (ids, rest) = text.as_chunks::<4>();
        if !rest.is_empty() || ids.len() > MAX_IDS {
            return Err(Bad);
        }
        Ok(ids.iter().map(|id| u32::from_be_bytes(*id)).collect())
    }

    fn attrs(&mut self) -> Result<Attrs, Bad> {
        let flags = self.u32()?;
        let mut attrs = Attrs::default();
        if flags & attr_flag::SIZE != 0 {
            attrs.size = Some(self.u64()?);
        }
        if flags & attr_flag::UIDGID != 0 {
            attrs.uid_gid = Some((self.u32()?, self.u32()?));
        }
        if flags & attr_flag::PERMISSIONS != 0 {
            attrs.permissions = Some(self.u32()?);
        }
        if flags & attr_flag::ACMODTIME != 0 {
            attrs.times = Some((self.u32()?, self.u32()?));
        }
        if flags & attr_flag::EXTENDED != 0 {
            let count = self.u32()?;
            if count > MAX_EXTENDED_ATTRS {
                return Err(Bad);
            }
            for _ in 0..count {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attrs)
    }
}

/// Reads one packet, its length field taken off. Bytes behind the last field
/// are ignored, as OpenSSH does: rclone 1.60 sends some (S02).
///
/// # Errors
/// [`Garbled`] when not even the request number can be read.
pub fn parse(packet: Bytes) -> Result<Packet, Garbled> {
    let mut packet = packet;
    if packet.is_empty() {
        return Err(Garbled::Truncated);
    }
    let kind = packet.split_to(1).first().copied().unwrap_or_default();
    let mut reader = Reader(packet);
    let number = reader.u32().map_err(|Bad| Garbled::Truncated)?;
    if kind == kind::INIT {
        return Ok(Packet::Init { version: number });
    }
    let body = body(kind, &mut reader).unwrap_or(Body::Malformed);
    Ok(Packet::Request(Request { id: number, body }))
}

fn body(kind: u8, reader: &mut Reader) -> Result<Body, Bad> {
    Ok(match kind {
        kind::OPEN => Body::Open {
            path: reader.string()?,
            flags: reader.u32()?,
            attrs: reader.attrs()?,
        },
        kind::CLOSE => Body::Close {
            handle: reader.handle()?,
        },
        kind::READ => Body::Read {
            handle: reader.handle()?,
            offset: reader.u64()?,
            length: reader.u32()?,
        },
        kind::WRITE => Body::Write {
            handle: reader.handle()?,
            offset: reader.u64()?,
            data: reader.string()?,
        },
        kind::LSTAT | kind::STAT => Body::Stat {
            path: reader.string()?,
        },
        kind::FSTAT => Body::Fstat {
            handle: reader.handle()?,
        },
        kind::SETSTAT => Body::Setstat {
            path: reader.string()?,
            attrs: reader.attrs()?,
        },
        kind::FSETSTAT => Body::Fsetstat {
            handle: reader.handle()?,
            attrs: reader.attrs()?,
        },
        kind::OPENDIR => Body::Opendir {
            path: reader.string()?,
        },
        kind::READDIR => Body::Readdir {
            handle: reader.handle()?,
        },
        kind::REMOVE => Body::Remove {
            path: reader.string()?,
        },
        // The attributes that follow are wishes for a new directory, which is
        // made as all are.
        kind::MKDIR => Body::Mkdir {
            path: reader.string()?,
        },
        kind::RMDIR => Body::Rmdir {
            path: reader.string()?,
        },
        kind::REALPATH => Body::Realpath {
            path: reader.string()?,
        },
        kind::RENAME => Body::Rename {
            from: reader.string()?,
            to: reader.string()?,
            replace: false,
        },
        kind::READLINK => Body::Unsupported {
            what: "symbolic links",
        },
        kind::SYMLINK => Body::Unsupported {
            what: "symbolic links",
        },
        kind::EXTENDED => extended(reader)?,
        _ => Body::Unsupported {
            what: "this request",
        },
    })
}

// OpenSSH PROTOCOL s.4; `copy-data` and `home-directory` are of
// draft-ietf-secsh-filexfer-extensions-00, s.7 and s.5.
fn extended(reader: &mut Reader) -> Result<Body, Bad> {
    let name = reader.string()?;
    Ok(match &*name {
        b"posix-rename@openssh.com" => Body::Rename {
            from: reader.string()?,
            to: reader.string()?,
            replace: true,
        },
        b"fsync@openssh.com" => Body::Fsync {
            handle: reader.handle()?,
        },
        b"statvfs@openssh.com" => Body::Statvfs {
            path: reader.string()?,
        },
        b"fstatvfs@openssh.com" => Body::Fstatvfs {
            handle: reader.handle()?,
        },
        b"limits@openssh.com" => Body::Limits,
        b"lsetstat@openssh.com" => {
            let (path, attrs) = (reader.string()?, reader.attrs()?);
            // As OpenSSH answers: it speaks of links, and those have no size.
            if attrs.size.is_some() {
                return Err(Bad);
            }
            Body::Setstat { path, attrs }
        }
        b"expand-path@openssh.com" => Body::ExpandPath {
            path: reader.string()?,
        },
        b"home-directory" => Body::HomeDirectory {
            user: reader.string()?,
        },
        b"users-groups-by-id@openssh.com" => Body::NamesById {
            users: reader.ids()?,
            groups: reader.ids()?,
        },
        b"copy-data" => Body::CopyData {
            from: reader.handle()?,
            from_offset: reader.u64()?,
            length: reader.u64()?,
            to: reader.handle()?,
            to_offset: reader.u64()?,
        },
        b"hardlink@openssh.com" => Body::Unsupported { what: "hard links" },
        _ => Body::Unsupported {
            what: "this extension",
        },
    })
}

/// Extensions that the version packet announces, with their versions.
const EXTENSIONS: &[(&str, &str)] = &[
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
    ("users-groups-by-id@openssh.com", "1"),
];

/// Builds a packet around its length field.
fn packet(kind: u8, room: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(room + 5);
    out.put_u32(0);
    out.put_u8(kind);
    fill(&mut out);
    let length = u32::try_from(out.len().saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(head) = out.get_mut(..4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    out.freeze()
}

fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text);
}

fn put_attrs(out: &mut BytesMut, attrs: &Attrs) {
    let mut flags = 0;
    for (given, flag) in [
        (attrs.size.is_some(), attr_flag::SIZE),
        (attrs.uid_gid.is_some(), attr_flag::UIDGID),
        (attrs.permissions.is_some(), attr_flag::PERMISSIONS),
        (attrs.times.is_some(), attr_flag::ACMODTIME),
    ] {
        if given {
            flags |= flag;
        }
    }
    out.put_u32(flags);
    if let Some(size) = attrs.size {
        out.put_u64(size);
    }
    if let Some((uid, gid)) = attrs.uid_gid {
        out.put_u32(uid);
        out.put_u32(gid);
    }
    if let Some(permissions) = attrs.permissions {
        out.put_u32(permissions);
    }
    if let Some((accessed, modified)) = attrs.times {
        out.put_u32(accessed);
        out.put_u32(modified);
    }
}

/// `SSH_FXP_VERSION` with our extensions.
#[must_use]
pub fn version() -> Bytes {
    packet(kind::VERSION, 512, |out| {
        out.put_u32(VERSION);
        for (name, version) in EXTENSIONS {
            put_string(out, name.as_bytes());
            put_string(out, version.as_bytes());
        }
    })
}

/// `SSH_FXP_STATUS`
#[must_use]
pub fn status(id: u32, code: Code, message: &str) -> Bytes {
    packet(kind::STATUS, message.len() + 24, |out| {
        out.put_u32(id);
        out.put_u32(code as u32);
        put_string(out, message.as_bytes());
        put_string(out, b"en");
    })
}

/// `SSH_FXP_HANDLE`
#[must_use]
pub fn handle(id: u32, handle: Handle) -> Bytes {
    packet(kind::HANDLE, 16, |out| {
        out.put_u32(id);
        put_string(out, &handle.0.to_be_bytes());
    })
}

/// The bytes before the data of an `SSH_FXP_DATA` packet: length, type,
/// request number, length of the data.
pub const DATA_HEADER_BYTES: usize = 13;

/// The header of an `SSH_FXP_DATA` packet that carries `length` bytes; the
/// data follows as it was read, without a copy.
#[must_use]
pub fn data_header(id: u32, length: u32) -> [u8; DATA_HEADER_BYTES] {
    let mut header = [0; DATA_HEADER_BYTES];
    let packet_length = length.saturating_add(9).to_be_bytes();
    let fields = packet_length
        .into_iter()
        .chain([kind::DATA])
        .chain(id.to_be_bytes())
        .chain(length.to_be_bytes());
    for (to, from) in header.iter_mut().zip(fields) {
        *to = from;
    }
    header
}

/// One entry of an `SSH_FXP_NAME` packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name, as bytes.
    pub name: Bytes,
    /// The line that `ls -l` would show.
    pub longname: Bytes,
    /// Its attributes.
    pub attrs: Attrs,
}

impl Name {
    /// Bytes that it takes in a packet, at most.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.name.len() + self.longname.len() + 40
    }
}

/// `SSH_FXP_NAME`
#[must_use]
pub fn names(id: u32, names: &[Name]) -> Bytes {
    let room = names.iter().map(Name::wire_bytes).sum::<usize>() + 8;
    packet(kind::NAME, room, |out| {
        out.put_u32(id);
        out.put_u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
        for name in names {
            put_string(out, &name.name);
            put_string(out, &name.longname);
            put_attrs(out, &name.attrs);
        }
    })
}

/// `SSH_FXP_ATTRS`
#[must_use]
pub fn attrs(id: u32, attrs: &Attrs) -> Bytes {
    packet(kind::ATTRS, 48, |out| {
        out.put_u32(id);
        put_attrs(out, attrs);
    })
}

/// The answer to `limits@openssh.com`: packet, read, write, open handles.
#[must_use]
pub fn limits(id: u32, open_handles: u64) -> Bytes {
    packet(kind::EXTENDED_REPLY, 40, |out| {
        out.put_u32(id);
        out.put_u64(MAX_PACKET_BYTES as u64);
        out.put_u64(MAX_DATA_BYTES as u64);
        out.put_u64(MAX_DATA_BYTES as u64);
        out.put_u64(open_handles);
    })
}

/// The answer to `users-groups-by-id@openssh.com`: a name for each number
/// asked for, empty when nobody has it.
#[must_use]
pub fn names_by_id(id: u32, users: &[&str], groups: &[&str]) -> Bytes {
    let room = |names: &[&str]| names.iter().map(|name| name.len() + 4).sum::<usize>() + 4;
    packet(
        kind::EXTENDED_REPLY,
        room(users) + room(groups) + 8,
        |out| {
            out.put_u32(id);
            for names in [users, groups] {
                out.put_u32(u32::try_from(room(names) - 4).unwrap_or(u32::MAX));
                for name in names {
                    put_string(out, name.as_bytes());
                }
            }
        },
    )
}

/// Sizes of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// In all.
    pub total_bytes: u64,
    /// Left for this account.
    pub free_bytes: u64,
}

/// The unit in which `statvfs@openssh.com` counts, in bytes.
const BLOCK_BYTES: u64 = 4096;

/// The answer to `statvfs@openssh.com` and `fstatvfs@openssh.com` (OpenSSH PROTOCOL s.4.4).
#[must_use]
pub fn statvfs(id: u32, fs: FileSystem) -> Bytes {
    let blocks = |bytes: u64| bytes / BLOCK_BYTES;
    packet(kind::EXTENDED_REPLY, 100, |out| {
        out.put_u32(id);
        for value in [
            BLOCK_BYTES,
            BLOCK_BYTES,
            blocks(fs.total_bytes),
            blocks(fs.free_bytes),
            blocks(fs.free_bytes),
            0, // f_files: not counted
            0, // f_ffree
            0, // f_favail
            0, // f_fsid
            2, // f_flag: SSH_FXE_STATVFS_ST_NOSUID
            255,
        ] {
            out.put_u64(value);
        }
    })
}

/// Cuts a stream of bytes into packets.
#[derive(Debug, Default)]
pub struct Frames {
    rest: BytesMut,
    whole: Bytes,
}

impl Frames {
    /// Takes the next bytes of the stream; [`Frames::next_packet`] must have returned
    /// `None` before.
    pub fn push(&mut self, bytes: Bytes) {
        if self.rest.is_empty() {
            self.whole = bytes;
        } else {
            self.rest.extend_from_slice(&bytes);
        }
    }

    /// Bytes of an unfinished packet that are held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.rest.len() + self.whole.len()
    }

    /// The next whole packet, its length field taken off.
    ///
    /// # Errors
    /// A length that no packet may have; the stream is lost then.
    pub fn next_packet(&mut self) -> Result<Option<Bytes>, Garbled> {
        let held: &[u8] = if self.rest.is_empty() {
            &self.whole
        } else {
            &self.rest
        };
        let Some((head, tail)) = held.split_first_chunk::<4>() else {
            self.keep();
            return Ok(None);
        };
        let bytes = u32::from_be_bytes(*head);
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if length == 0 || length > MAX_PACKET_BYTES {
            return Err(Garbled::Length { bytes });
        }
        if tail.len() < length {
            self.keep();
            return Ok(None);
        }
        Ok(Some(if self.rest.is_empty() {
            let mut packet = self.whole.split_to(4 + length);
            packet.split_off(4)
        } else {
            let mut packet = self.rest.split_to(4 + length);
            packet.split_off(4).freeze()
        }))
    }

    /// An unfinished packet waits for its rest.
    fn keep(&mut self) {
        if self.rest.is_empty() && !self.whole.is_empty() {
            self.rest
                .reserve(MAX_PACKET_BYTES.min(self.whole.len() * 2));
            self.rest.extend_from_slice(&self.whole);
            self.whole = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests;
