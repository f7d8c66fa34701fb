//! Commands with a data connection. The transfer is a future beside which the
//! control connection is read: ABOR stops it, STAT asks for it, everything else
//! waits its turn.

mod job;
mod lists;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use layover_depot::timer::{self, Stopwatch};
use layover_depot::{
    Clue, Direction, Right, Session, SessionReuse, Sign, UploadMode, VfsError, VirtualPath,
};
use tokio_util::sync::CancellationToken;

use super::{ControlConnection, DataPlace, Ending, Fault, ended, refuse, stopping};
use crate::command::{self, Command, Type};
use crate::reply::{Reply, of_fault, size};
use crate::server::Reserved;
use crate::wire::Lost;
use job::{Carrier, Download, Job, Upload};
use lists::List;

/// Commands that may wait for the end of a transfer: a keep-alive every half minute
/// for eight hours. Whoever sends more is ended: what is not read hides an ABOR, and
/// that the control connection is lost.
const MAX_QUEUED: usize = 1024;

/// Bytes of their lines.
const MAX_QUEUED_BYTES: usize = 64 * 1024;

/// Names that STOU tries.
const MAX_UNIQUE_TRIES: usize = 1000;

/// What is going to be transferred, after all checks and before the data
/// connection.
enum Plan {
    List(Box<List>),
    Download(Box<Download>),
    Upload(Box<Upload>),
}

impl Plan {
    /// Nothing comes of it, and the journal says why.
    fn not_begun(self, reply: &Reply) {
        match self {
            Self::List(_) => {}
            Self::Download(download) => download.file.not_begun(&reply.text()),
            Self::Upload(upload) => upload.permit.not_begun(&reply.text()),
        }
    }
}

/// What is done while the control connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Transfer,
    /// Its answer is for nobody else: it ends with its client.
    Checksum,
    /// A transfer that is repeated in vain is refused after a while.
    Refusal,
}

impl ControlConnection {
    /// Does one transfer, from its command to its last reply.
    pub(super) async fn transfer(&mut self, command: Command) -> Result<(), Ending> {
        if self.shared.soft.is_cancelled() {
            return Err(stopping());
        }
        let planned = self.plan(command).await;
        // F06: they count for this transfer, whether it succeeds or not.
        self.rest = 0;
        self.announced_bytes = None;
        let place = std::mem::take(&mut self.data);
        let (plan, opening) = match planned {
            Ok(planned) => planned,
            Err(fault) => {
                let reply = self.fault_reply(fault);
                self.declined = place;
                return self.refuse_late(reply).await;
            }
        };
        if matches!(place, DataPlace::None) {
            self.leave_active_mode();
            let reply = Reply::new(425, "no data connection: PASV or EPSV first");
            plan.not_begun(&reply);
            return Ok(self.wire.send(&reply).await?);
        }
        // F02: every data command asks, whatever PASV or EPSV did.
        if !self.is_private {
            self.declined = place;
            if let Some(session) = &self.session {
                session.see(Clue::new(Sign::DataUnprotected));
            }
            let reply = Reply::new(521, "data connections are encrypted: PROT P first");
            plan.not_begun(&reply);
            return Ok(self.wire.send(&reply).await?);
        }
        let Some(session) = self.session.clone() else {
            let reply = Reply::new(530, "log in first: USER and PASS");
            plan.not_begun(&reply);
            return Ok(self.wire.send(&reply).await?);
        };
        self.wire.send(&opening).await?;
        let cancel = CancellationToken::new();
        let moved = Arc::new(AtomicU64::new(0));
        let carrier = Carrier {
            shared: Arc::clone(&self.shared),
            tls: self.tls.data(),
            owner: self.shared.owner(self.tls.id()),
            local: self.arrival.local,
            peer: self.arrival.peer.ip(),
            place,
            cancel: cancel.clone(),
            moved: Arc::clone(&moved),
            stall: self.stall(),
            session_reuse: self.session_reuse(),
            session,
            is_ascii: self.representation == Type::Ascii,
        };
        let job = Job { carrier };
        match plan {
            Plan::List(list) => {
                self.beside(Work::Transfer, job.list(*list), cancel, moved)
                    .await
            }
            Plan::Download(file) => {
                self.beside(Work::Transfer, job.download(*file), cancel, moved)
                    .await
            }
            Plan::Upload(file) => {
                self.beside(Work::Transfer, job.upload(*file), cancel, moved)
                    .await
            }
        }
    }

    /// Refuses a transfer: at once, or, where it is repeated in vain, after a while, in which
    /// the client is heard as during a transfer.
    async fn refuse_late(&mut self, reply: Reply) -> Result<(), Ending> {
        let owed = self.session.as_ref().and_then(Session::take_owed_delay);
        let Some(delay) = owed else {
            return Ok(self.wire.send(&reply).await?);
        };
        let cancel = CancellationToken::new();
        let until = cancel.clone();
        let waits = async move {
            tokio::select! {
                () = until.cancelled() => {}
                () = timer::sleep(delay) => {}
            }
            reply
        };
        self.beside(Work::Refusal, waits, cancel, Arc::default())
            .await
    }

    /// What the data connections of who is logged in must prove.
    fn session_reuse(&self) -> SessionReuse {
        let of_account = self.session.as_ref().and_then(Session::session_reuse);
        of_account.unwrap_or(self.shared.options.session_reuse)
    }

    /// Reads the control connection until `transfer` ends, and gives its reply.
    pub(super) async fn beside(
        &mut self,
        work: Work,
        transfer: impl Future<Output = Reply>,
        cancel: CancellationToken,
        moved: Arc<AtomicU64>,
    ) -> Result<(), Ending> {
        let mut ending = None;
        let told_to_end = {
            let session = self.session.clone();
            async move {
                match session {
                    Some(session) => session.ended().await,
                    None => std::future::pending().await,
                }
            }
        };
        tokio::pin!(transfer, told_to_end);
        let mut gone = None;
        let since_start = Stopwatch::start();
        let reply = loop {
            // The transfer comes last: what was said before its last bytes is
            // heard before they are taken for its end.
            tokio::select! {
                biased;
                reason = &mut told_to_end, if ending.is_none() => {
                    cancel.cancel();
                    ending = Some(ended(reason));
                }
                line = self.wire.line(), if gone.is_none() => match line {
                    Ok(line) if self.may_wait(&line) => {
                        self.hear(work, line, &cancel, &moved).await?;
                    }
                    Ok(_) => {
                        cancel.cancel();
                        gone = Some(Lost::TooMany);
                    }
                    Err(lost) => {
                        // Whoever said QUIT waits for nothing but the end. From
                        // anybody else nothing is known any more (item 4).
                        let may_finish = work == Work::Transfer
                            && self.queue.iter().any(|line| is(line, &Command::Quit));
                        if !may_finish {
                            let moved = moved.load(Ordering::Relaxed);
                            self.see_lost(work, moved, since_start);
                            cancel.cancel();
                        }
                        gone = Some(lost);
                    }
                },
                reply = &mut transfer => break reply,
            }
        };
        match gone {
            Some(lost @ (Lost::Closed | Lost::Unread)) => Err(Ending::Lost(lost)),
            Some(lost @ (Lost::TooLong | Lost::TooMany)) => {
                self.wire.send(&reply).await?;
                Err(Ending::Lost(lost))
            }
            None => {
                self.wire.send(&reply).await?;
                ending.map_or(Ok(()), Err)
            }
        }
    }

    /// Tells the doctor of a control connection that went while bytes moved.
    fn see_lost(&self, work: Work, moved: u64, since_start: Stopwatch) {
        let Some(session) = &self.session else {
            return;
        };
        if work == Work::Transfer && moved > 0 {
            let seconds = since_start.elapsed().as_secs();
            let told = format!("after {seconds} s and {}", size(moved));
            session.see(Clue::new(Sign::ConnectionLost).telling(&told));
        }
    }

    /// Whether there is room for another command that waits.
    fn may_wait(&self, line: &[u8]) -> bool {
        let waiting: usize = self.queue.iter().map(Vec::len).sum();
        self.queue.len() < MAX_QUEUED && waiting.saturating_add(line.len()) <= MAX_QUEUED_BYTES
    }

    /// A command during a transfer.
    async fn hear(
        &mut self,
        work: Work,
        line: Vec<u8>,
        cancel: &CancellationToken,
        moved: &AtomicU64,
    ) -> Result<(), Lost> {
        if is(&line, &Command::Abor) {
            // Its own reply comes behind that of the transfer, and behind those of
            // the commands before it (RFC 959 s.5.4: 426, 226).
            cancel.cancel();
        } else if self.queue.is_empty() && is(&line, &Command::Stat(Vec::new())) {
            let moved = size(moved.load(Ordering::Relaxed));
            let text = match work {
                Work::Transfer => format!("a transfer is running: {moved} so far"),
                Work::Checksum => format!("a checksum is computed: {moved} so far"),
                Work::Refusal => {
                    "your last transfer is refused, as those before it were".to_owned()
                }
            };
            return self.wire.send(&Reply::new(213, text)).await;
        }
        self.queue.push_back(line);
        Ok(())
    }

    /// Checks everything that can be checked before the data connection.
    async fn plan(&mut self, command: Command) -> Result<(Plan, Reply), Fault> {
        let opening = Reply::new(150, "the data connection may begin");
        Ok(match command {
            Command::List(argument) => (listed(self.ls(&argument).await?), opening),
            Command::Nlst(argument) => (listed(self.names(&argument).await?), opening),
            Command::Mlsd(path) => (listed(self.fact_lines(&path).await?), opening),
            Command::Retr(path) => self.plan_download(&path).await?,
            Command::Stor(path) => {
                let mode = if self.rest == 0 {
                    UploadMode::New { exclusive: false }
                } else {
                    UploadMode::Modify
                };
                (self.plan_upload(&path, mode).await?, opening)
            }
            Command::Appe(path) => (self.plan_upload(&path, UploadMode::Append).await?, opening),
            Command::Stou(wish) => self.plan_unique(&wish).await?,
            _ => return Err(refuse(502, "this server does not do that")),
        })
    }

    /// The path of a file that is to be transferred. A name that is none counts like any
    /// other transfer that is refused.
    fn file_at(&self, direction: Direction, argument: &[u8]) -> Result<VirtualPath, Fault> {
        let resolved = self.cwd.resolve(argument);
        resolved.map_err(|fault| match &self.session {
            Some(session) => session.refuse_name(direction, argument, fault).into(),
            None => fault.into(),
        })
    }

    async fn plan_download(&mut self, path: &[u8]) -> Result<(Plan, Reply), Fault> {
        let path = self.file_at(Direction::Download, path)?;
        let mut file = self.session()?.download(&path).await?;
        if self.rest > 0 && self.representation == Type::Ascii {
            let text = "REST counts bytes: TYPE I first";
            file.not_begun(text);
            return Err(refuse(554, text));
        }
        if self.rest > file.size() {
            let text = format!("REST is behind the end: the file has {} bytes", file.size());
            file.not_begun(&text);
            return Err(refuse(554, text));
        }
        if self.rest > 0 {
            file.go_on_at(self.rest);
        }
        let text = format!("the file has {} bytes", file.size());
        let download = Download {
            file,
            from: self.rest,
        };
        Ok((Plan::Download(Box::new(download)), Reply::new(150, text)))
    }

    async fn plan_upload(&mut self, path: &[u8], mode: UploadMode) -> Result<Plan, Fault> {
        let path = self.file_at(Direction::Upload, path)?;
        let session = self.session()?;
        if mode == UploadMode::Modify {
            if self.representation == Type::Ascii {
                return Err(refuse(554, "REST counts bytes: TYPE I first"));
            }
            let here = match session.stat(&path).await {
                Ok(info) => info.size_bytes,
                Err(VfsError::NotFound { .. }) => 0,
                Err(error) => return Err(error.into()),
            };
            if self.rest > here {
                let text = format!("REST is behind the end: there are {here} bytes to go on from");
                return Err(refuse(554, text));
            }
        }
        let permit = session.plan_upload(&path, mode).await?;
        if let Some(announced) = self.announced_bytes {
            permit.check_announced(announced)?;
        }
        Ok(Plan::Upload(Box::new(Upload {
            permit,
            mode,
            from: self.rest,
            announced_bytes: self.announced_bytes,
            stored_as: None,
            reserved: None,
        })))
    }

    /// STOU: the name that the client wishes, or the next one that is free.
    async fn plan_unique(&mut self, wish: &[u8]) -> Result<(Plan, Reply), Fault> {
        let wish = if wish.is_empty() { b"upload" } else { wish };
        let mode = UploadMode::New { exclusive: true };
        self.rest = 0;
        let session = self.session()?;
        for number in 0..MAX_UNIQUE_TRIES {
            let name = match number {
                0 => wish.to_vec(),
                _ => [wish, format!(".{number}").as_bytes()].concat(),
            };
            let path = self.file_at(Direction::Upload, &name)?;
            // Nobody else may find the name free until this upload has it.
            let home = session.account().home.clone();
            let Some(reserved) = Reserved::new(&self.shared, home, &path) else {
                continue;
            };
            // Asked first: each refusal of the depot is an entry in the journal.
            match session.stat(&path).await {
                Err(VfsError::NotFound { .. }) => {}
                Ok(_) => continue,
                // Taken, though the account may not look at what has the name.
                Err(VfsError::NotPermitted {
                    right: Right::List, ..
                }) => continue,
                Err(error) => return Err(error.into()),
            }
            let mut plan = match self.plan_upload(&name, mode).await {
                Ok(plan) => plan,
                // Somebody's STOR, just now.
                Err(Fault::Depot(VfsError::AlreadyExists { .. })) => continue,
                Err(fault) => return Err(fault),
            };
            let shown = path.as_bytes().to_vec();
            // RFC 1123 s.4.1.2.9: exactly this form.
            let opening = Reply::new(150, [b"FILE: ", shown.as_slice()].concat());
            if let Plan::Upload(upload) = &mut plan {
                upload.stored_as = Some(shown);
                upload.reserved = Some(reserved);
            }
            return Ok((plan, opening));
        }
        Err(refuse(
            553,
            "no name is free that begins so; give another one",
        ))
    }
}

fn is(line: &[u8], command: &Command) -> bool {
    command::parse(line).is_ok_and(|(_, parsed)| parsed == *command)
}

fn listed(list: List) -> Plan {
    Plan::List(Box::new(list))
}

/// As [`of_fault`], for a fault in the middle of a transfer. The 421 of a session
/// that was ended comes behind the transfer's own reply.
pub(super) fn broken_off(session: &Session, error: &VfsError) -> Reply {
    session.faults().request(Some(session), error);
    match error {
        VfsError::SessionEnded => {
            Reply::new(426, "the session has ended, and the transfer with it")
        }
        error => of_fault(error),
    }
}
