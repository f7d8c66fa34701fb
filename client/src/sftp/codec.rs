//! SFTP version 3 on the wire, from the client's side: values out as bytes,
//! bytes in as values.
//!
//! Pure: no I/O, no state. Source: draft-ietf-secsh-filexfer-02; section
//! numbers are that draft's. Names are strings of bytes and stay so (S03):
//! that is why `russh-sftp`'s codec, which makes text of them, is not used.

use bytes::{BufMut, Bytes, BytesMut};

/// The version we speak (s.4).
pub(crate) const VERSION: u32 = 3;

/// Longest packet that is accepted, in bytes, its length field not counted:
/// OpenSSH's own limit (`SFTP_MAX_MSG_LENGTH`) and room for the fields around
/// 256 KiB of data.
pub(crate) const MAX_PACKET_BYTES: usize = 256 * 1024 + 1024;

/// Longest handle that is accepted, in bytes (s.6.2).
pub(crate) const MAX_HANDLE_BYTES: usize = 256;

/// Extensions that a version packet may announce; more are ignored.
pub(crate) const MAX_EXTENSIONS: usize = 64;

/// Pairs of extended attributes that a reply may carry; they are ignored.
const MAX_EXTENDED_ATTRS: u32 = 64;

/// Bytes of a server's words that are kept.
const MAX_WORDS_BYTES: usize = 1024;

mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const LSTAT: u8 = 7;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const OPENDIR: u8 = 11;
    pub(super) const READDIR: u8 = 12;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const MKDIR: u8 = 14;
    pub(super) const RENAME: u8 = 18;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

/// Open flags (s.6.3).
pub(crate) mod open_flag {
    /// Open for reading.
    pub(crate) const READ: u32 = 0x01;
    /// Open for writing.
    pub(crate) const WRITE: u32 = 0x02;
    /// Make the file if there is none.
    pub(crate) const CREAT: u32 = 0x08;
    /// Start with no content.
    pub(crate) const TRUNC: u32 = 0x10;
}

mod attr_flag {
    pub(super) const SIZE: u32 = 0x01;
    pub(super) const UIDGID: u32 = 0x02;
    pub(super) const PERMISSIONS: u32 = 0x04;
    pub(super) const ACMODTIME: u32 = 0x08;
    pub(super) const EXTENDED: u32 = 0x8000_0000;
}

/// File attributes (s.5); what is not set was not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attrs {
    /// Size in bytes.
    pub(crate) size: Option<u64>,
    /// Type and permission bits as in `st_mode`.
    pub(crate) permissions: Option<u32>,
    /// Last modification, in seconds since 1970.
    pub(crate) modified_s: Option<u32>,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The name, as bytes.
    pub(crate) name: Bytes,
    /// The line that `ls -l` would show.
    pub(crate) longname: Bytes,
    /// Its attributes.
    pub(crate) attrs: Attrs,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `SSH_FXP_STATUS`
    Status {
        /// As on the wire: servers send codes of later versions, too.
        code: u32,
        /// The server's words, cut.
        words: Bytes,
    },
    /// `SSH_FXP_HANDLE`
    Handle(Bytes),
    /// `SSH_FXP_DATA`
    Data(Bytes),
    /// `SSH_FXP_NAME`
    Names(Vec<Name>),
    /// `SSH_FXP_ATTRS`
    Attrs(Attrs),
    /// `SSH_FXP_EXTENDED_REPLY`, its content unread.
    Extended(Bytes),
}

/// What a server said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerVersion {
    /// The protocol's version.
    pub(crate) version: u32,
    /// Extensions and what stands beside their names.
    pub(crate) extensions: Vec<(Bytes, Bytes)>,
}

/// What `limits@openssh.com` says; 0 is "not said".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerLimits {
    /// Longest packet.
    pub(crate) packet_bytes: u64,
    /// Most that one READ gives.
    pub(crate) read_bytes: u64,
    /// Most that one WRITE takes.
    pub(crate) write_bytes: u64,
}

/// Bytes that are no packet of this protocol: the stream is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbled {
    /// A length that no packet may have.
    #[error("a packet of {bytes} bytes")]
    Length {
        /// The length as it came.
        bytes: u32,
    },
    /// A packet that ends before its fields do, or holds too many of them.
    #[error("a malformed packet")]
    Malformed,
    /// A type that no reply has.
    #[error("a packet of type {kind}")]
    Kind {
        /// The type as it came.
        kind: u8,
    },
}

/// Takes fields off the front.
struct Reader(Bytes);

impl Reader {
    fn u8(&mut self) -> Result<u8, Garbled> {
        let byte = self.0.first().copied().ok_or(Garbled::Malformed)?;
        drop(self.0.split_to(1));
        Ok(byte)
    }

    fn u32(&mut self) -> Result<u32, Garbled> {
        let (head, _) = self.0.split_first_chunk::<4>().ok_or(Garbled::Malformed)?;
        let value = u32::from_be_bytes(*head);
        drop(self.0.split_to(4));
        Ok(value)
    }

    fn u64(&mut self) -> Result<u64, Garbled> {
        let (head, _) = self.0.split_first_chunk::<8>().ok_or(Garbled::Malformed)?;
        let value = u64::from_be_bytes(*head);
        drop(self.0.split_to(8));
        Ok(value)
    }

    fn string(&mut self) -> Result<Bytes, Garbled> {
        let length = usize::try_from(self.u32()?).map_err(|_| Garbled::Malformed)?;
        if length > self.0.len() {
            return Err(Garbled::Malformed);
        }
        Ok(self.0.split_to(length))
    }

    fn attrs(&mut self) -> Result<Attrs, Garbled> {
        let flags = self.u32()?;
        let mut attrs = Attrs::default();
        if flags & attr_flag::SIZE != 0 {
            attrs.size = Some(self.u64()?);
        }
        if flags & attr_flag::UIDGID != 0 {
            self.u64()?;
        }
        if flags & attr_flag::PERMISSIONS != 0 {
            attrs.permissions = Some(self.u32()?);
        }
        if flags & attr_flag::ACMODTIME != 0 {
            self.u32()?;
            attrs.modified_s = Some(self.u32()?);
        }
        if flags & attr_flag::EXTENDED != 0 {
            let count = self.u32()?;
            if count > MAX_EXTENDED_ATTRS {
                return Err(Garbled::Malformed);
            }
            for _ in 0..count {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attrs)
    }

    fn names(&mut self) -> Result<Vec<Name>, Garbled> {
        let count = self.u32()?;
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(Name {
                name: self.string()?,
                longname: self.string()?,
                attrs: self.attrs()?,
            });
        }
        Ok(names)
    }
}

/// Reads one reply, its length field taken off, and the number of the request
/// that it answers. Bytes behind the last field are ignored, as OpenSSH does.
pub(crate) fn parse(packet: Bytes) -> Result<(u32, Reply), Garbled> {
    let mut reader = Reader(packet);
    let kind = reader.u8()?;
    let id = reader.u32()?;
    let reply = match kind {
        kind::STATUS => {
            let code = reader.u32()?;
            // Servers older than version 3 leave the words out.
            let mut words = reader.string().unwrap_or_default();
            words.truncate(MAX_WORDS_BYTES);
            Reply::Status { code, words }
        }
        kind::HANDLE => {
            let handle = reader.string()?;
            if handle.len() > MAX_HANDLE_BYTES {
                return Err(Garbled::Malformed);
            }
            Reply::Handle(handle)
        }
        kind::DATA => Reply::Data(reader.string()?),
        kind::NAME => Reply::Names(reader.names()?),
        kind::ATTRS => Reply::Attrs(reader.attrs()?),
        kind::EXTENDED_REPLY => Reply::Extended(reader.0),
        kind => return Err(Garbled::Kind { kind }),
    };
    Ok((id, reply))
}

/// Reads the answer to [`init`]. Extensions that cannot be read are left out:
/// some servers pad the packet.
pub(crate) fn parse_version(packet: Bytes) -> Result<ServerVersion, Garbled> {
    let mut reader = Reader(packet);
    let kind = reader.u8()?;
    if kind != kind::VERSION {
        return Err(Garbled::Kind { kind });
    }
    let version = reader.u32()?;
    let mut extensions = Vec::new();
    while extensions.len() < MAX_EXTENSIONS {
        let (Ok(name), Ok(value)) = (reader.string(), reader.string()) else {
            break;
        };
        extensions.push((name, value));
    }
    Ok(ServerVersion {
        version,
        extensions,
    })
}

/// Reads the content of the answer to [`limits`].
pub(crate) fn parse_limits(content: Bytes) -> Result<ServerLimits, Garbled> {
    let mut reader = Reader(content);
    Ok(ServerLimits {
        packet_bytes: reader.u64()?,
        read_bytes: reader.u64()?,
        write_bytes: reader.u64()?,
    })
}

/// Reads the SHA-256 out of the answer to [`check_file`]; `None` when another
/// algorithm was used. Source: draft-ietf-secsh-filexfer-13 s.9.1.2; servers
/// that follow the extensions draft put the string `check-file` first.
pub(crate) fn parse_check_file(content: Bytes) -> Result<Option<[u8; 32]>, Garbled> {
    let mut reader = Reader(content);
    let mut algorithm = reader.string()?;
    if algorithm.as_ref() == b"check-file" {
        algorithm = reader.string()?;
    }
    Ok((algorithm.as_ref() == b"sha256")
        .then(|| <[u8; 32]>::try_from(reader.0.as_ref()).ok())
        .flatten())
}

/// Builds a packet around its length field.
fn packet(kind: u8, room: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(room + 9);
    out.put_u32(0);
    out.put_u8(kind);
    fill(&mut out);
    seal(&mut out);
    out.freeze()
}

/// Writes the length of a packet into its first field.
fn seal(packet: &mut BytesMut) {
    let length = u32::try_from(packet.len().saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(head) = packet.get_mut(..4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
}

fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text);
}

/// A request of a kind whose one field is a string.
fn of_string(kind: u8, id: u32, text: &[u8]) -> Bytes {
    packet(kind, text.len() + 8, |out| {
        out.put_u32(id);
        put_string(out, text);
    })
}

/// `SSH_FXP_INIT`
pub(crate) fn init() -> Bytes {
    packet(kind::INIT, 4, |out| out.put_u32(VERSION))
}

/// `SSH_FXP_OPEN`, with no wishes for a new file's attributes: the server's
/// own rules give them.
pub(crate) fn open(id: u32, path: &[u8], flags: u32) -> Bytes {
    packet(kind::OPEN, path.len() + 16, |out| {
        out.put_u32(id);
        put_string(out, path);
        out.put_u32(flags);
        out.put_u32(0);
    })
}

/// `SSH_FXP_CLOSE`
pub(crate) fn close(id: u32, handle: &[u8]) -> Bytes {
    of_string(kind::CLOSE, id, handle)
}

/// `SSH_FXP_READ`
pub(crate) fn read(id: u32, handle: &[u8], offset: u64, length: u32) -> Bytes {
    packet(kind::READ, handle.len() + 20, |out| {
        out.put_u32(id);
        put_string(out, handle);
        out.put_u64(offset);
        out.put_u32(length);
    })
}

/// `SSH_FXP_LSTAT`: a link is seen as a link.
pub(crate) fn lstat(id: u32, path: &[u8]) -> Bytes {
    of_string(kind::LSTAT, id, path)
}

/// `SSH_FXP_FSTAT`
pub(crate) fn fstat(id: u32, handle: &[u8]) -> Bytes {
    of_string(kind::FSTAT, id, handle)
}

/// `SSH_FXP_OPENDIR`
pub(crate) fn opendir(id: u32, path: &[u8]) -> Bytes {
    of_string(kind::OPENDIR, id, path)
}

/// `SSH_FXP_READDIR`
pub(crate) fn readdir(id: u32, handle: &[u8]) -> Bytes {
    of_string(kind::READDIR, id, handle)
}

/// `SSH_FXP_REMOVE`
pub(crate) fn remove(id: u32, path: &[u8]) -> Bytes {
    of_string(kind::REMOVE, id, path)
}

/// `SSH_FXP_MKDIR`, with no wishes for its attributes.
pub(crate) fn mkdir(id: u32, path: &[u8]) -> Bytes {
    packet(kind::MKDIR, path.len() + 12, |out| {
        out.put_u32(id);
        put_string(out, path);
        out.put_u32(0);
    })
}

/// `SSH_FXP_RENAME`
pub(crate) fn rename(id: u32, from: &[u8], to: &[u8]) -> Bytes {
    packet(kind::RENAME, from.len() + to.len() + 12, |out| {
        out.put_u32(id);
        put_string(out, from);
        put_string(out, to);
    })
}

fn extended(id: u32, name: &str, room: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    packet(kind::EXTENDED, name.len() + room + 8, |out| {
        out.put_u32(id);
        put_string(out, name.as_bytes());
        fill(out);
    })
}

/// Names of extensions that we use.
pub(crate) mod extension {
    /// Replaces the target in one step.
    pub(crate) const POSIX_RENAME: &str = "posix-rename@openssh.com";
    /// Content to stable storage.
    pub(crate) const FSYNC: &str = "fsync@openssh.com";
    /// How large requests may be.
    pub(crate) const LIMITS: &str = "limits@openssh.com";
    /// Announces [`CHECK_FILE_NAME`] in the extensions draft.
    pub(crate) const CHECK_FILE: &str = "check-file";
    /// Hash of a file, by its name.
    pub(crate) const CHECK_FILE_NAME: &str = "check-file-name";
}

/// `posix-rename@openssh.com`
pub(crate) fn posix_rename(id: u32, from: &[u8], to: &[u8]) -> Bytes {
    extended(
        id,
        extension::POSIX_RENAME,
        from.len() + to.len() + 8,
        |out| {
            put_string(out, from);
            put_string(out, to);
        },
    )
}

/// `fsync@openssh.com`
pub(crate) fn fsync(id: u32, handle: &[u8]) -> Bytes {
    extended(id, extension::FSYNC, handle.len() + 4, |out| {
        put_string(out, handle);
    })
}

/// `limits@openssh.com`
pub(crate) fn limits(id: u32) -> Bytes {
    extended(id, extension::LIMITS, 0, |_| {})
}

/// `check-file-name`: SHA-256 over the whole file as one block.
pub(crate) fn check_file(id: u32, path: &[u8]) -> Bytes {
    extended(id, extension::CHECK_FILE_NAME, path.len() + 40, |out| {
        put_string(out, path);
        put_string(out, b"sha256");
        out.put_u64(0);
        out.put_u64(0);
        out.put_u32(0);
    })
}

/// An `SSH_FXP_WRITE` that is filled where it lies, so that content is read
/// straight into the packet.
#[derive(Debug)]
pub(crate) struct WritePacket {
    buffer: BytesMut,
    data_at: usize,
    most_bytes: usize,
}

impl WritePacket {
    /// A packet without content, for at most `most_bytes` of it.
    pub(crate) fn new(id: u32, handle: &[u8], offset: u64, most_bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(most_bytes + handle.len() + 32);
        buffer.put_u32(0);
        buffer.put_u8(kind::WRITE);
        buffer.put_u32(id);
        put_string(&mut buffer, handle);
        buffer.put_u64(offset);
        buffer.put_u32(0);
        let data_at = buffer.len();
        Self {
            buffer,
            data_at,
            most_bytes,
        }
    }

    /// Where content goes.
    pub(crate) fn room(&mut self) -> bytes::buf::Limit<&mut BytesMut> {
        let left = self.most_bytes.saturating_sub(self.data_bytes());
        (&mut self.buffer).limit(left)
    }

    /// Content that it holds, in bytes.
    pub(crate) fn data_bytes(&self) -> usize {
        self.buffer.len().saturating_sub(self.data_at)
    }

    /// Whether no more fits.
    pub(crate) fn is_full(&self) -> bool {
        self.data_bytes() >= self.most_bytes
    }

    /// The packet as it is sent.
    pub(crate) fn finish(mut self) -> Bytes {
        let length = u32::try_from(self.data_bytes()).unwrap_or(u32::MAX);
        let field = self.data_at.saturating_sub(4)..self.data_at;
        if let Some(head) = self.buffer.get_mut(field) {
            head.copy_from_slice(&length.to_be_bytes());
        }
        seal(&mut self.buffer);
        self.buffer.freeze()
    }
}

/// Cuts a stream of bytes into packets.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    rest: BytesMut,
    whole: Bytes,
}

impl Frames {
    /// Takes the next bytes of the stream; [`Frames::next_packet`] must have
    /// returned `None` before.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if self.rest.is_empty() {
            self.whole = bytes;
        } else {
            self.rest.extend_from_slice(&bytes);
        }
    }

    /// The next whole packet, its length field taken off.
    pub(crate) fn next_packet(&mut self) -> Result<Option<Bytes>, Garbled> {
        let held: &[u8] = if self.rest.is_empty() {
            &self.whole
        } else {
            &self.rest
        };
        let Some((head, tail)) = held.split_first_chunk::<4>() else {
            self.keep(0);
            return Ok(None);
        };
        let bytes = u32::from_be_bytes(*head);
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if length == 0 || length > MAX_PACKET_BYTES {
            return Err(Garbled::Length { bytes });
        }
        if tail.len() < length {
            self.keep(length);
            return Ok(None);
        }
        Ok(Some(if self.rest.is_empty() {
            self.whole.split_to(4 + length).split_off(4)
        } else {
            self.rest.split_to(4 + length).split_off(4).freeze()
        }))
    }

    /// An unfinished packet of `length` bytes waits for its rest.
    fn keep(&mut self, length: usize) {
        if self.rest.is_empty() && !self.whole.is_empty() {
            self.rest = BytesMut::with_capacity(length + 4 + READ_AHEAD_BYTES);
            self.rest.extend_from_slice(&self.whole);
            self.whole = Bytes::new();
        }
    }
}

/// Room behind an unfinished packet for what arrives with its end: the largest
/// SSH data packet that we take.
const READ_AHEAD_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
