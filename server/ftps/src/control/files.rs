//! Commands about files that need no data connection.

use layover_depot::{FileInfo, FileKind, Replace, VfsError, VirtualPath};
use layover_retention::Timestamp;

use super::{ControlConnection, Fault, refuse};
use crate::command::{Checksum, Command, Ranged, Site, Timed, Type};
use crate::digest::Digest;
use crate::listing::{Access, time_val};
use crate::reply::{Reply, quoted};

/// Bytes that one read of a checksum takes.
const READ_BYTES: usize = 256 * 1024;

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
                session.stat(&path).await?;
                self.rename_from = Some(path);
                Reply::new(350, "RNTO with the new name, please")
            }
            Command::Size(path) => {
                if self.representation == Type::Ascii {
                    return Err(refuse(550, "SIZE tells bytes: TYPE I first"));
                }
                Reply::new(213, self.file(&path).await?.size_bytes.to_string())
            }
            Command::Mdtm(path) => Reply::new(213, time_val(self.file(&path).await?.modified_at)),
            Command::Mfmt(timed) => {
                let (path, at) = self.set_time(&timed).await?;
                let fact = format!("Modify={}; ", time_val(at));
                Reply::new(213, [fact.as_bytes(), path.as_bytes()].concat())
            }
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
                session.set_mode(&self.at(&path)?, mode).await?;
                Reply::new(200, "the mode is set")
            }
            Command::Site(Site::Help) => Reply::lines(
                214,
                [
                    b"SITE commands:".to_vec(),
                    b" CHMOD <octal mode> <file>".to_vec(),
                    b" UTIME YYYYMMDDhhmmss <file>".to_vec(),
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
                let line = self.facts.line(path.as_bytes(), &info, self.access());
                let line = [b" ", line.as_slice()].concat();
                Reply::lines(250, [b"Facts:".to_vec(), line, b"End".to_vec()])
            }
            Command::Stat(path) => {
                let mut lines = vec![b"Listing:".to_vec()];
                lines.extend(self.ls_lines(&path).await?);
                lines.push(b"End".to_vec());
                Reply::lines(213, lines)
            }
            Command::Hash(path) => {
                let whole = Ranged {
                    path,
                    start: 0,
                    end: None,
                };
                let (path, end, digest) = self.checksum(Checksum::Sha256, &whole).await?;
                // draft-bryan-ftp-hash s.3.2.
                let text = format!("SHA-256 0-{end} {digest} ");
                Reply::new(213, [text.as_bytes(), path.as_bytes()].concat())
            }
            Command::Checksum(algorithm, ranged) => {
                let (_, _, digest) = self.checksum(algorithm, &ranged).await?;
                Reply::new(250, digest)
            }
            _ => Reply::new(502, "this server does not do that"),
        })
    }

    pub(super) fn access(&self) -> Access {
        match &self.session {
            Some(session) if !session.account().read_only => Access::Full,
            _ => Access::ReadOnly,
        }
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

    async fn checksum(
        &self,
        algorithm: Checksum,
        ranged: &Ranged,
    ) -> Result<(VirtualPath, u64, String), Fault> {
        let path = self.at(&ranged.path)?;
        let file = self.session()?.download(&path).await?;
        let end = ranged.end.unwrap_or(u64::MAX).min(file.size());
        let mut digest = Digest::new(algorithm);
        let mut at = ranged.start;
        while at < end {
            let wanted = usize::try_from(end - at)
                .unwrap_or(READ_BYTES)
                .min(READ_BYTES);
            let bytes = file.read_at(at, wanted).await?;
            if bytes.is_empty() {
                break;
            }
            digest.update(&bytes);
            at = at.saturating_add(bytes.len() as u64);
        }
        // Nothing was sent, so nothing was collected.
        file.forget();
        if ranged.start > end {
            return Err(refuse(501, "the range begins behind the end of the file"));
        }
        Ok((path, end, digest.finish()))
    }
}
