//! Downloads, uploads and listings over a data connection.

use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::command::Command;
use super::control::timed;
use super::faults::refused;
use super::link::{Data, Link};
use super::listing::Lines;
use super::reply::Reply;
use super::wire::Wire;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::path::RemotePath;
use crate::remote::Progress;
use layover_depot::timer;

/// What is read and written at once.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;
/// How long we wait, after the first bytes of an upload, for a server to say that it
/// demands a resumed TLS session. Only where none was resumed in TLS 1.3, and once for
/// each control connection.
const DOUBT: Duration = Duration::from_secs(1);
/// How long a server that has acknowledged an upload may take to close its side.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// An upload's source that can be begun again as long as no more than its first
/// [`BUFFER_BYTES`] were read.
pub(super) struct Source<'a> {
    from: &'a mut (dyn AsyncRead + Send + Unpin),
    head: Vec<u8>,
    used: usize,
    is_gone: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(from: &'a mut (dyn AsyncRead + Send + Unpin)) -> Self {
        Self {
            from,
            head: Vec::new(),
            used: 0,
            is_gone: false,
        }
    }

    /// Back to the beginning, if that is still here.
    pub(super) fn rewind(&mut self) -> bool {
        self.used = 0;
        !self.is_gone
    }

    /// Fills `buffer`, or as much as there is.
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(kept) = self.head.get(self.used..).filter(|kept| !kept.is_empty()) {
            let count = kept.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), kept.get(..count)) {
                to.copy_from_slice(from);
            }
            self.used += count;
            return Ok(count);
        }
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest).await? {
                0 => break,
                count => filled += count,
            }
        }
        if self.head.is_empty() && !self.is_gone {
            self.head = buffer.get(..filled).unwrap_or_default().to_vec();
            self.used = filled;
        } else if filled > 0 {
            self.is_gone = true;
            self.head = Vec::new();
            self.used = 0;
        }
        Ok(filled)
    }
}

impl Link {
    /// RETR. Counts the bytes that came in `bytes`, also when it fails.
    pub(super) async fn get(
        &mut self,
        path: &RemotePath,
        offset: u64,
        sink: &mut (dyn AsyncWrite + Send + Unpin),
        progress: &dyn Progress,
        bytes: &mut u64,
    ) -> Result<(), RemoteError> {
        let step = Step::Download;
        let mut data = self
            .begin(step, &Command::path("RETR", path), offset)
            .await?;
        let stall = self.options.timeouts.stall;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut held = None;
        loop {
            let count = match timed(stall, fill(&mut data.wire, &mut buffer, &mut held)).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(fault) => {
                    drop(data);
                    return Err(self.aftermath(step, step, fault).await);
                }
            };
            let came = buffer.get(..count).unwrap_or_default();
            if let Err(error) = sink.write_all(came).await {
                let local = local(step, &error);
                self.abort(data, step).await?;
                return Err(local);
            }
            *bytes += count as u64;
            progress.moved(count as u64);
        }
        self.finish_reading(step, data).await?;
        sink.flush().await.map_err(|error| local(step, &error))
    }

    /// A listing's command. Every line goes to `take` until it breaks.
    pub(super) async fn lines(
        &mut self,
        command: &Command,
        take: &mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send),
    ) -> Result<(), RemoteError> {
        let step = Step::List;
        let mut data = self.begin(step, command, 0).await?;
        let stall = self.options.timeouts.stall;
        let mut lines = Lines::default();
        let mut is_over = false;
        while !is_over {
            let read = data.wire.read_buf(lines.buffer(16 * 1024));
            match timed(stall, read).await {
                Ok(count) => is_over = count == 0,
                Err(fault) => {
                    drop(data);
                    return Err(self.aftermath(step, step, fault).await);
                }
            }
            match lines.drain(is_over, take) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return self.abort(data, step).await,
                Err(fault) => {
                    self.abort(data, step).await?;
                    return Err(RemoteError::new(step, fault));
                }
            }
        }
        self.finish_reading(step, data).await
    }

    /// Our close_notify, and the server's word that all was sent.
    async fn finish_reading(&mut self, step: Step, mut data: Data) -> Result<(), RemoteError> {
        let stall = self.options.timeouts.stall;
        // A server that has closed both ways cannot be told any more.
        let _ = timed(stall, data.wire.shutdown()).await;
        let reply = self
            .control
            .final_reply()
            .await
            .map_err(|fault| RemoteError::new(step, fault))?;
        self.judge(step, &reply, data.is_doubtful)
    }

    fn judge(&mut self, step: Step, reply: &Reply, is_doubtful: bool) -> Result<(), RemoteError> {
        if !reply.is_positive() {
            return Err(refused(step, reply));
        }
        self.full_handshake_accepted |= is_doubtful;
        Ok(())
    }

    /// STOR, or APPE without an offset. Gives the number of bytes that went.
    pub(super) async fn put(
        &mut self,
        command: &Command,
        offset: u64,
        source: &mut Source<'_>,
        progress: &dyn Progress,
    ) -> Result<u64, RemoteError> {
        let step = Step::Upload;
        let mut data = self.begin(step, command, offset).await?;
        data.break_off_on_drop(true);
        let mut buffer = vec![0; BUFFER_BYTES];
        let (mut bytes, mut untold) = (0_u64, 0);
        loop {
            let count = match source.fill(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    let local = local(step, &error);
                    self.abort(data, step).await?;
                    return Err(local);
                }
            };
            let chunk = buffer.get(..count).unwrap_or_default();
            if let Err(fault) = self.write(&mut data, chunk).await {
                drop(data);
                return Err(self.aftermath(step, step, fault).await);
            }
            if bytes == 0 && data.is_doubtful {
                self.wait_for_doubt(count).await?;
                // It may have to be sent again, and is not told twice.
                untold = count as u64;
            } else {
                progress.moved(count as u64 + std::mem::take(&mut untold));
            }
            bytes += count as u64;
        }
        self.finish_writing(data).await?;
        if untold > 0 {
            progress.moved(untold);
        }
        Ok(bytes)
    }

    async fn write(&mut self, data: &mut Data, mut chunk: &[u8]) -> Result<(), RemoteFault> {
        let stall = self.options.timeouts.stall;
        while !chunk.is_empty() {
            let written = timed(stall, data.wire.write(chunk)).await?;
            if written == 0 {
                return Err(RemoteFault::ConnectionLost);
            }
            chunk = chunk.get(written..).unwrap_or_default();
        }
        timed(stall, data.wire.flush()).await
    }

    /// Gives the server time to refuse a data connection whose TLS session is a new
    /// one, while what was sent can still be sent again. A file that is shorter than
    /// the buffer needs no waiting: it can be sent again at its end, too.
    async fn wait_for_doubt(&mut self, count: usize) -> Result<(), RemoteError> {
        if count < BUFFER_BYTES {
            return Ok(());
        }
        match self.control.final_reply_within(DOUBT).await {
            Err(RemoteFault::TimedOut { .. }) => Ok(()),
            Err(fault) => Err(RemoteError::new(Step::Upload, fault)),
            Ok(reply) => Err(refused(Step::Upload, &reply)),
        }
    }

    /// Our close_notify, then the server's word that it has all. Until that came
    /// the data connection stays open: closing it over bytes that we have not read
    /// (tickets of TLS 1.3) would reset it, and the server would lose what it had
    /// not read.
    async fn finish_writing(&mut self, mut data: Data) -> Result<(), RemoteError> {
        let step = Step::Upload;
        let stall = self.options.timeouts.stall;
        data.break_off_on_drop(false);
        if let Err(fault) = timed(stall, data.wire.shutdown()).await {
            drop(data);
            return Err(self.aftermath(step, step, fault).await);
        }
        let is_doubtful = data.is_doubtful;
        let mut is_drained = false;
        let reply = {
            let replying = self.control.final_reply();
            tokio::pin!(replying);
            loop {
                tokio::select! {
                    reply = &mut replying => break reply,
                    () = drain(&mut data.wire), if !is_drained => is_drained = true,
                }
            }
        };
        let reply = reply.map_err(|fault| RemoteError::new(step, fault))?;
        if !is_drained && reply.is_positive() {
            // Its tickets are needed for the next data connection.
            let _ = timer::timeout(LAST_WORDS, drain(&mut data.wire)).await;
        }
        self.judge(step, &reply, is_doubtful)
    }
}

/// Reads and forgets what the server sends on an upload's connection, to its end.
/// TLS takes the tickets out of it.
async fn drain(wire: &mut Wire) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = wire.read(&mut buffer).await {}
}

/// Waits for something, then takes all that is there, up to the buffer's length:
/// TLS gives 16 KiB at a time, and the sink is better served with more. An error
/// behind bytes is held until they are taken.
async fn fill(
    wire: &mut Wire,
    buffer: &mut [u8],
    held: &mut Option<io::Error>,
) -> io::Result<usize> {
    if let Some(error) = held.take() {
        return Err(error);
    }
    poll_fn(|cx| {
        let mut into = ReadBuf::new(buffer);
        loop {
            let before = into.filled().len();
            match Pin::new(&mut *wire).poll_read(cx, &mut into) {
                Poll::Pending if before == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(before)),
                Poll::Ready(Err(error)) if before == 0 => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) => {
                    *held = Some(error);
                    return Poll::Ready(Ok(before));
                }
                Poll::Ready(Ok(())) => {
                    let filled = into.filled().len();
                    if filled == before || into.remaining() == 0 {
                        return Poll::Ready(Ok(filled));
                    }
                }
            }
        }
    })
    .await
}

fn local(step: Step, error: &io::Error) -> RemoteError {
    let detail = error.to_string();
    RemoteError::new(step, RemoteFault::Local { detail })
}
