//! A raw SFTP client: single packets in any order, and the usual verbs on top of them.

use std::collections::BTreeMap;

use russh::client::Msg;
use russh::{Channel, ChannelMsg};

use crate::packet::{Attrs, Body, Reader, frame, open, reply, request, status};
use crate::ssh::{Ssh, block};

/// Bytes of file content in one WRITE or READ; every server must take 32 KiB.
const CHUNK: usize = 32 * 1024;

/// Requests under way at once when a whole file is moved.
const WINDOW: usize = 16;

/// Why a verb failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server answered with this status.
    Status {
        /// See [`status`].
        code: u32,
        /// The server's words.
        message: String,
    },
    /// The connection ended.
    Lost,
}

impl Fault {
    /// The status code; `None` when the connection ended.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Status { code, .. } => Some(*code),
            Self::Lost => None,
        }
    }
}

/// One packet from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// See [`reply`].
    pub kind: u8,
    /// The request it answers.
    pub id: u32,
    /// What follows the id.
    pub body: Vec<u8>,
}

/// A handle of the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleName(pub Vec<u8>);

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name as bytes.
    pub name: Vec<u8>,
    /// What `ls -l` shows.
    pub long: Vec<u8>,
    /// Attributes.
    pub attrs: Attrs,
}

/// An SFTP session. Dropping it closes the connection without a word.
pub struct Sftp {
    ssh: Ssh,
    channel: Channel<Msg>,
    received: Vec<u8>,
    waiting: BTreeMap<u32, Reply>,
    next_id: u32,
    /// Extensions the server announced: name and data.
    pub extensions: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Sftp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sftp")
            .field("ssh", &self.ssh)
            .finish_non_exhaustive()
    }
}

impl Sftp {
    /// Asks for the subsystem on `channel` and agrees on version 3.
    pub(crate) fn start(ssh: Ssh, channel: Channel<Msg>) -> Result<Self, String> {
        let mut sftp = Self::start_silent(ssh, channel)?;
        sftp.send_raw(&frame(request::INIT, Body::new().u32(3).bytes()));
        let Some((kind, body)) = sftp.read_frame() else {
            return Err("the connection ended before the version".to_owned());
        };
        if kind != reply::VERSION {
            return Err(format!("packet type {kind} instead of the version"));
        }
        let mut reader = Reader::new(&body);
        let version = reader.u32();
        if version != 3 {
            return Err(format!("version {version} instead of 3"));
        }
        while !reader.is_empty() {
            let name = String::from_utf8_lossy(reader.string()).into_owned();
            sftp.extensions.insert(name, reader.string().to_vec());
        }
        Ok(sftp)
    }

    /// Asks for the subsystem and says nothing on it.
    pub(crate) fn start_silent(ssh: Ssh, channel: Channel<Msg>) -> Result<Self, String> {
        let mut sftp = Self {
            ssh,
            channel,
            received: Vec::new(),
            waiting: BTreeMap::new(),
            next_id: 1,
            extensions: BTreeMap::new(),
        };
        block("subsystem", async {
            let asked = sftp.channel.request_subsystem(true, "sftp").await;
            asked.map_err(|error| error.to_string())?;
            loop {
                match sftp.channel.wait().await {
                    Some(ChannelMsg::Success) => return Ok(()),
                    Some(ChannelMsg::WindowAdjusted { .. }) => {}
                    other => return Err(format!("subsystem refused: {other:?}")),
                }
            }
        })?;
        Ok(sftp)
    }

    /// Closes the channel in the middle of whatever is open, and the connection with it.
    pub fn close_channel(self) {
        block("channel close", self.channel.close()).expect("the connection is there");
    }

    /// The connection below.
    pub fn connection(&self) -> &Ssh {
        &self.ssh
    }

    /// Sends bytes as they are; `false` when the connection has ended.
    pub fn send_raw(&mut self, bytes: &[u8]) -> bool {
        block("room to send", self.channel.data_bytes(bytes.to_vec())).is_ok()
    }

    /// Sends one request and returns its id, not waiting for the answer.
    pub fn send(&mut self, kind: u8, body: &Body) -> u32 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let body = Body::new().u32(id).raw(body.bytes());
        self.send_raw(&frame(kind, body.bytes()));
        id
    }

    /// Waits for the answer to request `id`.
    pub fn receive(&mut self, id: u32) -> Result<Reply, Fault> {
        loop {
            if let Some(reply) = self.waiting.remove(&id) {
                return Ok(reply);
            }
            let reply = self.receive_any().ok_or(Fault::Lost)?;
            self.waiting.insert(reply.id, reply);
        }
    }

    /// Waits for the next answer to whatever request; `None` when the connection has ended.
    pub fn receive_any(&mut self) -> Option<Reply> {
        let (kind, body) = self.read_frame()?;
        let mut reader = Reader::new(&body);
        let id = reader.u32();
        Some(Reply {
            kind,
            id,
            body: body[4..].to_vec(),
        })
    }

    fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(header) = self.received.first_chunk::<4>() {
                let end = 4 + u32::from_be_bytes(*header) as usize;
                if self.received.len() >= end {
                    let rest = self.received.split_off(end);
                    let packet = std::mem::replace(&mut self.received, rest);
                    return Some((packet[4], packet[5..].to_vec()));
                }
            }
            match block("packet from the server", self.channel.wait()) {
                Some(ChannelMsg::Data { data }) => self.received.extend_from_slice(&data),
                Some(ChannelMsg::Close | ChannelMsg::Eof) | None => return None,
                Some(_) => {}
            }
        }
    }

    /// Sends one request and waits for its answer.
    pub fn ask(&mut self, kind: u8, body: &Body) -> Result<Reply, Fault> {
        let id = self.send(kind, body);
        self.receive(id)
    }

    /// Opens a file.
    pub fn open(&mut self, path: &[u8], flags: u32) -> Result<HandleName, Fault> {
        let answer = self.ask(
            request::OPEN,
            &Body::new().string(path).u32(flags).no_attrs(),
        )?;
        handle(&answer)
    }

    /// Closes a handle.
    pub fn close(&mut self, handle: &HandleName) -> Result<(), Fault> {
        self.done(request::CLOSE, &Body::new().string(&handle.0))
    }

    /// Writes bytes at an offset.
    pub fn write(&mut self, handle: &HandleName, offset: u64, data: &[u8]) -> Result<(), Fault> {
        self.done(
            request::WRITE,
            &Body::new().string(&handle.0).u64(offset).string(data),
        )
    }

    /// Reads up to `count` bytes at an offset; empty at the end.
    pub fn read(&mut self, from: &HandleName, offset: u64, count: u32) -> Result<Vec<u8>, Fault> {
        let answer = self.ask(
            request::READ,
            &Body::new().string(&from.0).u64(offset).u32(count),
        )?;
        match answer.kind {
            reply::DATA => Ok(Reader::new(&answer.body).string().to_vec()),
            _ => match settled(&answer) {
                Err(Fault::Status {
                    code: status::EOF, ..
                }) => Ok(Vec::new()),
                Err(fault) => Err(fault),
                Ok(()) => panic!("READ was answered with OK and no data"),
            },
        }
    }

    /// Uploads a whole file the way `put` does; acknowledged when this returns `Ok`.
    pub fn put(&mut self, path: &[u8], content: &[u8]) -> Result<(), Fault> {
        let handle = self.open(path, open::FRESH)?;
        let written = self.write_all(&handle, content);
        let closed = self.close(&handle);
        written.and(closed)
    }

    /// Writes a whole content from offset 0, several requests at once.
    pub fn write_all(&mut self, handle: &HandleName, content: &[u8]) -> Result<(), Fault> {
        let mut under_way = std::collections::VecDeque::new();
        let mut outcome = Ok(());
        for (index, chunk) in content.chunks(CHUNK).enumerate() {
            let offset = (index * CHUNK) as u64;
            let body = Body::new().string(&handle.0).u64(offset).string(chunk);
            under_way.push_back(self.send(request::WRITE, &body));
            if under_way.len() >= WINDOW {
                let id = under_way.pop_front().expect("requests under way");
                outcome = outcome.and(self.receive(id).and_then(|answer| settled(&answer)));
            }
        }
        for id in under_way {
            outcome = outcome.and(self.receive(id).and_then(|answer| settled(&answer)));
        }
        outcome
    }

    /// Downloads a whole file.
    pub fn get(&mut self, path: &[u8]) -> Result<Vec<u8>, Fault> {
        let handle = self.open(path, open::READ)?;
        let mut content = Vec::new();
        loop {
            let chunk = self.read(&handle, content.len() as u64, CHUNK as u32)?;
            if chunk.is_empty() {
                self.close(&handle)?;
                return Ok(content);
            }
            content.extend_from_slice(&chunk);
        }
    }

    /// Attributes of a path.
    pub fn stat(&mut self, path: &[u8]) -> Result<Attrs, Fault> {
        let answer = self.ask(request::STAT, &Body::new().string(path))?;
        match answer.kind {
            reply::ATTRS => Ok(Reader::new(&answer.body).attrs()),
            _ => Err(settled(&answer).expect_err("STAT was answered with OK and no attributes")),
        }
    }

    /// Entries of a directory, `.` and `..` left out.
    pub fn list(&mut self, path: &[u8]) -> Result<Vec<Entry>, Fault> {
        let answer = self.ask(request::OPENDIR, &Body::new().string(path))?;
        let dir = handle(&answer)?;
        let mut entries = Vec::new();
        loop {
            let answer = self.ask(request::READDIR, &Body::new().string(&dir.0))?;
            if answer.kind != reply::NAME {
                match settled(&answer) {
                    Err(Fault::Status {
                        code: status::EOF, ..
                    }) => break,
                    Err(fault) => return Err(fault),
                    Ok(()) => panic!("READDIR was answered with OK and no names"),
                }
            }
            entries.extend(names(&answer));
        }
        self.close(&dir)?;
        entries.retain(|entry| entry.name != b"." && entry.name != b"..");
        Ok(entries)
    }

    /// Names in a directory, sorted, lossily as text.
    pub fn names(&mut self, path: &[u8]) -> Result<Vec<String>, Fault> {
        let entries = self.list(path)?;
        let mut names: Vec<String> = entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The path the server makes of `path`.
    pub fn real_path(&mut self, path: &[u8]) -> Result<Vec<u8>, Fault> {
        let answer = self.ask(request::REALPATH, &Body::new().string(path))?;
        match answer.kind {
            reply::NAME => Ok(names(&answer).swap_remove(0).name),
            _ => Err(settled(&answer).expect_err("REALPATH was answered with OK and no name")),
        }
    }

    /// Deletes a file.
    pub fn remove(&mut self, path: &[u8]) -> Result<(), Fault> {
        self.done(request::REMOVE, &Body::new().string(path))
    }

    /// Makes a directory.
    pub fn make_dir(&mut self, path: &[u8]) -> Result<(), Fault> {
        self.done(request::MKDIR, &Body::new().string(path).no_attrs())
    }

    /// Removes an empty directory.
    pub fn remove_dir(&mut self, path: &[u8]) -> Result<(), Fault> {
        self.done(request::RMDIR, &Body::new().string(path))
    }

    /// Renames; the draft's verb, which never replaces.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        self.done(request::RENAME, &Body::new().string(from).string(to))
    }

    /// Renames as POSIX does, replacing.
    pub fn posix_rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        let body = Body::new()
            .string(b"posix-rename@openssh.com")
            .string(from)
            .string(to);
        self.done(request::EXTENDED, &body)
    }

    /// Sets the times of a path.
    pub fn set_times(&mut self, path: &[u8], accessed: u32, modified: u32) -> Result<(), Fault> {
        self.done(
            request::SETSTAT,
            &Body::new().string(path).times(accessed, modified),
        )
    }

    /// Sends a request that is answered with a status only.
    pub fn done(&mut self, kind: u8, body: &Body) -> Result<(), Fault> {
        settled(&self.ask(kind, body)?)
    }
}

/// A reply that carries a handle.
fn handle(answer: &Reply) -> Result<HandleName, Fault> {
    match answer.kind {
        reply::HANDLE => Ok(HandleName(Reader::new(&answer.body).string().to_vec())),
        _ => Err(settled(answer).expect_err("answered with OK and no handle")),
    }
}

/// The names in a NAME reply.
fn names(answer: &Reply) -> Vec<Entry> {
    let mut reader = Reader::new(&answer.body);
    let count = reader.u32();
    (0..count)
        .map(|_| Entry {
            name: reader.string().to_vec(),
            long: reader.string().to_vec(),
            attrs: reader.attrs(),
        })
        .collect()
}

/// A status reply as a result.
///
/// # Panics
/// When it is another kind of reply.
pub fn settled(answer: &Reply) -> Result<(), Fault> {
    assert_eq!(
        answer.kind,
        reply::STATUS,
        "a status was expected: {answer:?}"
    );
    let mut reader = Reader::new(&answer.body);
    let code = reader.u32();
    if code == status::OK {
        return Ok(());
    }
    let message = String::from_utf8_lossy(reader.string()).into_owned();
    Err(Fault::Status { code, message })
}
