//! Downloads, uploads and listings: many requests outstanding at once.

use std::ops::ControlFlow;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::codec::{self, Reply, WritePacket, open_flag};
use super::entries;
use super::reads::Reads;
use super::session::Session;
use super::status::code;
use super::writes::Writes;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::path::RemotePath;
use crate::remote::{Listed, Progress};

/// Entries of one folder that are listed: a server that never ends a listing
/// would keep us for ever.
pub(super) const MAX_LISTED: u64 = 1_000_000;

/// READDIR requests that are outstanding once a folder turned out to be long.
const MAX_LISTING_OUTSTANDING: usize = 8;

/// Downloads and says how many bytes went to the sink.
pub(super) async fn download(
    session: &mut Session,
    path: &RemotePath,
    offset: u64,
    sink: &mut (dyn AsyncWrite + Send + Unpin),
    progress: &dyn Progress,
) -> Result<u64, RemoteError> {
    const STEP: Step = Step::Download;
    const VERB: &str = "reading a file";
    let handle = session
        .open(STEP, "opening a file", |id| {
            codec::open(id, path.as_bytes(), open_flag::READ)
        })
        .await?;
    let size_asked = session.request(STEP, |id| codec::fstat(id, &handle))?;
    let mut reads = Reads::new(offset, session.features.read_bytes);
    loop {
        while let Some(part) = reads.next() {
            let id = session.request(STEP, |id| {
                codec::read(id, &handle, part.offset, part.length)
            })?;
            reads.ask(id, part);
        }
        while let Some(content) = reads.deliver() {
            sink.write_all(&content)
                .await
                .map_err(|error| local(STEP, &error))?;
            progress.moved(content.len() as u64);
            session.be_patient();
        }
        if reads.is_done() {
            break;
        }
        let (id, reply) = session.reply(STEP).await?;
        if id == size_asked {
            if let Reply::Attrs(attrs) = reply
                && let Some(size) = attrs.size
            {
                reads.expect_size(size);
            }
            continue;
        }
        match reply {
            Reply::Data(content) => reads.content(id, content),
            Reply::Status {
                code: code::EOF, ..
            } => reads.end_of_file(id),
            other => return Err(session.refusal(STEP, VERB, other)),
        }
        .map_err(|error| session.garbled(STEP, error.to_string()))?;
    }
    sink.flush().await.map_err(|error| local(STEP, &error))?;
    session.be_patient();
    session.forget_outstanding();
    check_end(session, &handle, reads.delivered_to()).await?;
    session.close_held(STEP).await?;
    Ok(reads.delivered_to().saturating_sub(offset))
}

/// A file that is longer or shorter than what was read is being written to: it
/// is not complete. Servers that make files up as they are read say 0.
async fn check_end(session: &mut Session, handle: &Bytes, end: u64) -> Result<(), RemoteError> {
    let reply = session
        .ask(Step::Download, |id| codec::fstat(id, handle))
        .await?;
    match reply {
        Reply::Attrs(attrs) => match attrs.size {
            Some(size) if size != end && size != 0 => Err(RemoteError::new(
                Step::Download,
                RemoteFault::WrongSize {
                    expected: size,
                    got: end,
                },
            )),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Uploads and says how many bytes of the source the server acknowledged.
pub(super) async fn upload(
    session: &mut Session,
    path: &RemotePath,
    offset: u64,
    source: &mut (dyn AsyncRead + Send + Unpin),
    progress: &dyn Progress,
) -> Result<u64, RemoteError> {
    const STEP: Step = Step::Upload;
    let start = if offset == 0 { open_flag::TRUNC } else { 0 };
    let flags = open_flag::WRITE | open_flag::CREAT | start;
    let handle = session
        .open(STEP, "creating a file", |id| {
            codec::open(id, path.as_bytes(), flags)
        })
        .await?;
    if offset > 0 {
        check_start(session, &handle, offset).await?;
    }
    let mut writes = Writes::new(offset);
    send_all(session, &handle, &mut writes, source, progress)
        .await
        .map_err(|error| error.with_arrived_to(writes.arrived_to()))?;
    let arrived = writes.arrived_to().saturating_sub(offset);
    // What fails here takes back what was acknowledged: no offset is named.
    finish(session, &handle, arrived).await?;
    Ok(arrived)
}

/// A file is continued exactly at its end: a gap or a rest of other content
/// behind the new end would make a file that nobody sent.
async fn check_start(
    session: &mut Session,
    handle: &Bytes,
    offset: u64,
) -> Result<(), RemoteError> {
    let reply = session
        .ask(Step::Upload, |id| codec::fstat(id, handle))
        .await?;
    let Reply::Attrs(attrs) = reply else {
        return Err(session.refusal(Step::Upload, "the size of an open file", reply));
    };
    match attrs.size {
        Some(size) if size != offset => Err(RemoteError::new(
            Step::Upload,
            RemoteFault::WrongSize {
                expected: offset,
                got: size,
            },
        )),
        _ => Ok(()),
    }
}

async fn send_all(
    session: &mut Session,
    handle: &Bytes,
    writes: &mut Writes,
    source: &mut (dyn AsyncRead + Send + Unpin),
    progress: &dyn Progress,
) -> Result<(), RemoteError> {
    const STEP: Step = Step::Upload;
    const VERB: &str = "writing to a file";
    let most_bytes = session.features.write_bytes;
    let packet_for = |session: &mut Session, writes: &Writes| {
        let id = session.reserve();
        let packet = WritePacket::new(id, handle, writes.next_at(), most_bytes as usize);
        (id, packet)
    };
    let (mut id, mut packet) = packet_for(session, writes);
    let mut source_ended = false;
    loop {
        if source_ended && writes.is_idle() {
            return Ok(());
        }
        let may_read = !source_ended && writes.has_room(u64::from(most_bytes));
        tokio::select! {
            biased;
            reply = session.reply(STEP), if !writes.is_idle() => {
                let (answered, reply) = reply?;
                match reply {
                    Reply::Status { code: code::OK, .. } => {
                        let Some(bytes) = writes.arrived(answered) else {
                            return Err(session.garbled(STEP, "a reply to no write".to_owned()));
                        };
                        progress.moved(bytes);
                    }
                    other => return Err(not_written(session.refusal(STEP, VERB, other))),
                }
            }
            read = read_into(source, &mut packet), if may_read => {
                source_ended = read.map_err(|error| local(STEP, &error))? == 0;
                if packet.is_full() || (source_ended && packet.data_bytes() > 0) {
                    let bytes = packet.data_bytes() as u64;
                    session.send_reserved(STEP, id, packet.finish())?;
                    writes.sent(id, bytes);
                    (id, packet) = packet_for(session, writes);
                }
            }
        }
    }
}

/// Nothing that was read is lost when it is dropped.
async fn read_into(
    source: &mut (dyn AsyncRead + Send + Unpin),
    packet: &mut WritePacket,
) -> std::io::Result<usize> {
    let mut room = packet.room();
    source.read_buf(&mut room).await
}

/// Content to stable storage where the server offers that, and the handle
/// closed: some servers say only there that there was no room.
async fn finish(session: &mut Session, handle: &Bytes, bytes: u64) -> Result<(), RemoteError> {
    const STEP: Step = Step::Upload;
    session.allow_for(bytes);
    if session.features.fsync {
        let synced = session
            .ask_status(STEP, "fsync", |id| codec::fsync(id, handle))
            .await;
        match synced {
            // Offered, and yet not there for this file system.
            Err(error) if matches!(error.fault, RemoteFault::Unsupported { .. }) => {}
            other => other.map_err(not_written)?,
        }
    }
    session.close_held(STEP).await.map_err(not_written)
}

/// What a file that is open for writing meets: a server that gives no reason has, as a
/// rule, no room.
fn not_written(error: RemoteError) -> RemoteError {
    match error.fault {
        RemoteFault::Refused => RemoteError {
            fault: RemoteFault::NotWritten,
            ..error
        },
        _ => error,
    }
}

/// Tells `visit` every entry of a folder as it arrives.
pub(super) async fn list(
    session: &mut Session,
    folder: &RemotePath,
    visit: &mut (dyn FnMut(Listed) -> ControlFlow<()> + Send),
) -> Result<(), RemoteError> {
    const STEP: Step = Step::List;
    let handle = session
        .open(STEP, "opening a folder", |id| {
            codec::opendir(id, folder.as_bytes())
        })
        .await?;
    let mut listed = 0;
    let (mut outstanding, mut allowed) = (0, 1);
    loop {
        while outstanding < allowed {
            session.request(STEP, |id| codec::readdir(id, &handle))?;
            outstanding += 1;
        }
        let (_, reply) = session.reply(STEP).await?;
        outstanding -= 1;
        let names = match reply {
            Reply::Names(names) => names,
            Reply::Status {
                code: code::EOF, ..
            } => break,
            other => return Err(session.refusal(STEP, "listing a folder", other)),
        };
        // A server that has nothing to say would be asked for ever; OpenSSH
        // takes it for the end, too.
        if names.is_empty() {
            break;
        }
        allowed = (allowed * 2).min(MAX_LISTING_OUTSTANDING);
        for name in &names {
            listed += 1;
            if listed > MAX_LISTED {
                return Err(RemoteError::new(
                    STEP,
                    RemoteFault::OverLimit {
                        what: "the number of files in a folder",
                        limit: MAX_LISTED,
                    },
                ));
            }
            let Some(listed) = entries::listed(name) else {
                continue;
            };
            if visit(listed).is_break() {
                return Ok(());
            }
        }
        session.be_patient();
    }
    session.forget_outstanding();
    session.close_held(STEP).await
}

fn local(step: Step, error: &std::io::Error) -> RemoteError {
    RemoteError::new(
        step,
        RemoteFault::Local {
            detail: error.to_string(),
        },
    )
}
