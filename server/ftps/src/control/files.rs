//! Commands about files that need no data connection.

use layover_depot::{FileInfo, FileKind, Replace, VfsError, VirtualPath};
use layover_retention::Timestamp;

use super::{ControlConnection, Ending, Fault, refuse};
use crate::command::{Command, Mdtm, Site, Timed, Type};
use crate::listing::time_val;
use crate::reply::{Reply, quoted};

impl ControlConnection {
    pub(super) async fn answer_files(&mut self, command: Command) -> Result<Reply, Fault> {
        let session = self.session()?;
        Ok(match command {
            Command::Cwd(path) => self.change_folder(&path).await?,
            Command::Cdup => self.change_folder(b"..").await?,
            Command::Dele(path) => {
                session.remove(&self.at(&path)?).await?;
                Reply::new(250, "deleted")
            }
            Command::Mkd(path) => {
                let path = self.at(&path)?;
                session.make_dir(&path).await?;
                let shown = quoted(path.as_bytes());
                Reply::new(257, [shown.as_slice(), b" was made"].concat())
            }
            Command::Rmd(path) => {
                session.remove_dir(&self.at(&path)?).await?;
                Reply::new(250, "removed")
            }
            Command::Rnfr(path) => {
                let path = self.at(&path)?;
                session.check_rename(&path).await?;
                self.rename_from = Some(path);
                Reply::new(350, "RNTO with the new name, please")
            }
            Command::Size(path) => {
                if self.representation == Type::Ascii {
                    return Err(refuse(550, "SIZE tells bytes: TYPE I first"));
                }
                Reply::new(213, self.file(&path).await?.size_bytes.to_string())
            }
            Command::Mdtm(Mdtm { path, set }) => match (self.file(&path).await, set) {
                (Err(Fault::Depot(VfsError::NotFound { .. })), Some(timed)) => {
                    self.modify(&timed).await?
                }
                (file, _) => Reply::new(213, time_val(file?.modified_at)),
            },
            Command::Mfmt(timed) => self.modify(&timed).await?,
            // Retention counts from our own clock, whatever partners say (R01).
            Command::Mfct(_) => Reply::new(
                504,
                "no time of creation is kept; MFMT sets that of modification",
            ),
            Command::Site(Site::Utime(timed)) => {
                self.set_time(&timed).await?;
                Reply::new(200, "the time is set")
            }
            Command::Site(Site::Chmod { mode, path }) => {
                let path = self.at(&path)?;
                session.set_mode(&path, mode).await?;
                moded(mode, session.stat(&path).await.ok().as_ref())
            }
            Command::Site(Site::Help) => Reply::lines(
                214,
                [
                    b"SITE commands:".to_vec(),
                    b" CHMOD <octal mode> <file>".to_vec(),
                    b" UTIME YYYYMMDDhhmmss <file>".to_vec(),
                    b" UTIME <file> <accessed> <modified> <changed> UTC".to_vec(),
                    b"End".to_vec(),
                ],
            ),
            Command::Avbl(path) => {
                session.stat(&self.at(&path)?).await?;
                Reply::new(213, session.space().await?.free_bytes.to_string())
            }
            Command::Mlst(path) => {
                let path = self.at(&path)?;
                let info = session.stat(&path).await?;
                let rights = session.rights(&path);
                let line = self.facts.line(path.as_bytes(), &info, rights);
                let line = [b" ", line.as_slice()].concat();
                Reply::lines(250, [b"Facts:".to_vec(), line, b"End".to_vec()])
            }
            _ => Reply::new(502, "this server does not do that"),
        })
    }

    /// STAT with a path: a listing in the reply, sent as it is read.
    pub(super) async fn list_in_reply(&mut self, path: &[u8]) -> Result<(), Ending> {
        let mut lines = match self.ls(path).await {
            Ok(list) => list.lines(),
            Err(fault) => {
                let reply = self.fault_reply(fault);
                return Ok(self.wire.send(&reply).await?);
            }
        };
        let mut begun = Some(Reply::begin(213, "Listing:"));
        loop {
            let piece = match lines.next().await {
                Ok(Some(piece)) => Reply::inner(&piece),
                Ok(None) => break,
                Err(error) => {
                    let reply = self.depot_reply(&error);
                    // What has begun with 213 must end with it.
                    let reply = match begun {
                        Some(_) => reply,
                        None => Reply::new(213, format!("broken off: {}", reply.text())),
                    };
                    return Ok(self.wire.send(&reply).await?);
                }
            };
            let piece = [begun.take().unwrap_or_default(), piece].concat();
            self.wire.send_bytes(&piece).await?;
        }
        let end = Reply::new(213, "End").encode();
        let end = [begun.take().unwrap_or_default(), end].concat();
        Ok(self.wire.send_bytes(&end).await?)
    }

    async fn change_folder(&mut self, path: &[u8]) -> Result<Reply, Fault> {
        let path = self.at(path)?;
        let info = self.session()?.stat(&path).await?;
        if info.kind != FileKind::Directory {
            return Err(VfsError::NotDirectory { path }.into());
        }
        let shown = quoted(path.as_bytes());
        self.cwd = path;
        Ok(Reply::new(
            250,
            [shown.as_slice(), b" is the current folder"].concat(),
        ))
    }

    /// A file, also one that is not complete yet.
    async fn file(&self, path: &[u8]) -> Result<FileInfo, Fault> {
        let path = self.at(path)?;
        let info = self.session()?.stat(&path).await?;
        if info.kind == FileKind::Directory {
            return Err(VfsError::IsDirectory { path }.into());
        }
        Ok(info)
    }

    async fn modify(&self, timed: &Timed) -> Result<Reply, Fault> {
        let (path, at) = self.set_time(timed).await?;
        let fact = format!("Modify={}; ", time_val(at));
        Ok(Reply::new(213, [fact.as_bytes(), path.as_bytes()].concat()))
    }

    async fn set_time(&self, timed: &Timed) -> Result<(VirtualPath, Timestamp), Fault> {
        let path = self.at(&timed.path)?;
        let at = Timestamp::from_micros(timed.modified_us);
        self.session()?.set_times(&path, None, Some(at)).await?;
        Ok((path, at))
    }

    pub(super) async fn rename(
        &self,
        from: Option<VirtualPath>,
        to: &[u8],
    ) -> Result<Reply, Fault> {
        let from = from.ok_or_else(|| refuse(503, "RNFR comes right before"))?;
        let to = self.at(to)?;
        // As every FTP server does; the depot asks for the right to overwrite.
        self.session()?.rename(&from, &to, Replace::Allow).await?;
        Ok(Reply::new(250, "renamed"))
    }
}

/// What became of SITE CHMOD: the server keeps its own access to files, and an upload that
/// is not complete has no mode.
fn moded(wish: u32, info: Option<&FileInfo>) -> Reply {
    let text = match info {
        Some(info) if info.partial => {
            "an upload that is not complete has no mode: nothing was set".to_owned()
        }
        Some(info) if info.mode & 0o777 == wish => format!("the mode is {wish:03o}"),
        Some(info) => format!(
            "the mode is {:03o} and not {wish:03o}: the server keeps its own access",
            info.mode & 0o777
        ),
        None => "done, as far as the server keeps its own access".to_owned(),
    };
    Reply::new(200, text)
}
