//! SFTP version 3 packets as bytes, built and taken apart without the server's codec, so that the
//! tests do not share its mistakes (draft-ietf-secsh-filexfer-02).

/// Packet types of a client.
pub mod request {
    #![expect(missing_docs, reason = "the names are the draft's")]
    pub const INIT: u8 = 1;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const LSTAT: u8 = 7;
    pub const FSTAT: u8 = 8;
    pub const SETSTAT: u8 = 9;
    pub const FSETSTAT: u8 = 10;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const RMDIR: u8 = 15;
    pub const REALPATH: u8 = 16;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const SYMLINK: u8 = 20;
    pub const EXTENDED: u8 = 200;
}

/// Packet types of a server.
pub mod reply {
    #![expect(missing_docs, reason = "the names are the draft's")]
    pub const VERSION: u8 = 2;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
}

/// Status codes.
pub mod status {
    #![expect(missing_docs, reason = "the names are the draft's")]
    pub const OK: u32 = 0;
    pub const EOF: u32 = 1;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const FAILURE: u32 = 4;
    pub const BAD_MESSAGE: u32 = 5;
    pub const OP_UNSUPPORTED: u32 = 8;
}

/// Flags of OPEN.
pub mod open {
    #![expect(missing_docs, reason = "the names are the draft's")]
    pub const READ: u32 = 0x01;
    pub const WRITE: u32 = 0x02;
    pub const APPEND: u32 = 0x04;
    pub const CREAT: u32 = 0x08;
    pub const TRUNC: u32 = 0x10;
    pub const EXCL: u32 = 0x20;
    /// What `put` uses.
    pub const FRESH: u32 = WRITE | CREAT | TRUNC;
}

/// Builds the body of a packet.
#[derive(Debug, Default, Clone)]
pub struct Body(Vec<u8>);

impl Body {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a 32-bit number.
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Adds a 64-bit number.
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Adds bytes with their length before them.
    pub fn string(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).expect("a packet is short");
        self.u32(length).raw(bytes)
    }

    /// Adds bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds attributes that say nothing.
    pub fn no_attrs(self) -> Self {
        self.u32(0)
    }

    /// Adds attributes with access and modification time, in seconds.
    pub fn times(self, accessed_s: u32, modified_s: u32) -> Self {
        self.u32(0x8).u32(accessed_s).u32(modified_s)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Frames one packet: length, type, body.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 1).expect("a packet is short");
    [&length.to_be_bytes()[..], &[kind], body].concat()
}

/// Takes values off the front of a reply's body.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins at the front of `body`.
    pub fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// Takes `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        assert!(
            count <= self.0.len(),
            "reply too short: {count} bytes wanted of {:?}",
            self.0
        );
        let (front, rest) = self.0.split_at(count);
        self.0 = rest;
        front
    }

    /// Takes a 32-bit number.
    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("4 bytes"))
    }

    /// Takes a 64-bit number.
    pub fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().expect("8 bytes"))
    }

    /// Takes bytes with their length before them.
    pub fn string(&mut self) -> &'a [u8] {
        let length = self.u32() as usize;
        self.take(length)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes attributes.
    pub fn attrs(&mut self) -> Attrs {
        let flags = self.u32();
        let size_bytes = (flags & 0x1 != 0).then(|| self.u64());
        if flags & 0x2 != 0 {
            self.u64();
        }
        let mode = (flags & 0x4 != 0).then(|| self.u32());
        let modified_s = (flags & 0x8 != 0).then(|| {
            self.u32();
            self.u32()
        });
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.u32() {
                self.string();
                self.string();
            }
        }
        Attrs {
            size_bytes,
            mode,
            modified_s,
        }
    }
}

/// Attributes of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attrs {
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// File type and permission bits.
    pub mode: Option<u32>,
    /// Modification time in seconds since 1970.
    pub modified_s: Option<u32>,
}

impl Attrs {
    /// Whether the mode says directory.
    pub fn is_dir(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000)
    }
}
