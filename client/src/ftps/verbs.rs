//! What is done by commands alone, and listings made of the lines that came.

use std::ops::ControlFlow;

use jiff::tz::TimeZone;

use super::command::{Command, unescaped};
use super::faults::refused;
use super::link::Link;
use super::listing::{Facts, Kind, Reading, mlsd_line, timestamp};
use super::reply::Reply;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::path::{RemoteName, RemotePath, ServerSystem};
use crate::remote::{Entry, EntryKind, Listed, Modified, OnExisting};

/// Hears the entries of a folder.
pub(super) type Visit<'a> = dyn FnMut(Listed) -> ControlFlow<()> + Send + 'a;

/// A path, cut in front of its last part.
struct Split {
    parent: Option<RemotePath>,
    name: RemoteName,
}

impl Link {
    /// The entries of `folder`; of the folder after login where none is given.
    pub(super) async fn list(
        &mut self,
        folder: Option<&RemotePath>,
        visit: &mut Visit<'_>,
    ) -> Result<(), RemoteError> {
        if !self.features.mlst {
            return self.list_plainly(folder, visit).await;
        }
        let system = self.options.system;
        let command = match folder {
            Some(folder) => Command::path("MLSD", folder),
            None => Command::bare("MLSD"),
        };
        self.lines(&command, &mut |line| match mlsd_line(line, system) {
            Some(listed) => visit(listed),
            None => ControlFlow::Continue(()),
        })
        .await
    }

    /// LIST of the current folder: servers take a path behind LIST for options, for
    /// a pattern, or say nothing when it is not there.
    async fn list_plainly(
        &mut self,
        folder: Option<&RemotePath>,
        visit: &mut Visit<'_>,
    ) -> Result<(), RemoteError> {
        let options = std::sync::Arc::clone(&self.options);
        let utc = TimeZone::UTC;
        let reading = Reading {
            system: options.system,
            pattern: options.listing.date_format.as_ref(),
            zone: options.listing.time_zone.as_ref().unwrap_or(&utc),
            now: options.now.tell(),
        };
        if let Some(folder) = folder {
            self.demand(Step::List, &Command::path("CWD", folder))
                .await?;
        }
        let listed = self
            .lines(
                &Command::bare("LIST"),
                &mut |line| match reading.line(line) {
                    Some(listed) => visit(listed),
                    None => ControlFlow::Continue(()),
                },
            )
            .await;
        if folder.is_some() && !listed.as_ref().is_err_and(RemoteError::ends_connection) {
            self.go_home().await?;
        }
        listed
    }

    /// Back to the folder after login, from which relative paths lead.
    async fn go_home(&mut self) -> Result<(), RemoteError> {
        let home = self.home.as_deref().map(RemotePath::new);
        if let Some(Ok(home)) = home {
            self.demand(Step::List, &Command::path("CWD", &home))
                .await?;
        }
        Ok(())
    }

    /// The file or folder at `path`.
    pub(super) async fn stat(&mut self, path: &RemotePath) -> Result<Option<Entry>, RemoteError> {
        let split = split(self.options.system, path)?;
        if self.features.mlst
            && let Some(answer) = self.stat_by_mlst(path, &split.name).await?
        {
            return Ok(answer);
        }
        if self.features.size {
            let reply = self
                .ask(Step::Command, &Command::path("SIZE", path))
                .await?;
            if let Some(size_bytes) = size(&reply) {
                return Ok(Some(Entry {
                    name: split.name,
                    kind: EntryKind::File,
                    size_bytes: Some(size_bytes),
                    modified: self.modified(path).await?,
                }));
            }
        }
        self.stat_by_listing(split).await
    }

    /// `None` when MLST does not say whether it is there.
    async fn stat_by_mlst(
        &mut self,
        path: &RemotePath,
        name: &RemoteName,
    ) -> Result<Option<Option<Entry>>, RemoteError> {
        let reply = self
            .ask(Step::Command, &Command::path("MLST", path))
            .await?;
        if reply.is_positive() {
            let facts = reply.lines.get(1).filter(|_| reply.lines.len() > 2);
            return Ok(facts.map(|line| {
                let line = unescaped(line);
                let line = line.strip_prefix(b" ").unwrap_or(&line);
                let facts = Facts::read(line.split(|byte| *byte == b' ').next().unwrap_or(line));
                let kind = match facts.kind {
                    Some(Kind::Entry(kind)) => kind,
                    Some(Kind::Folder) => EntryKind::Directory,
                    None => EntryKind::Other,
                };
                Some(Entry {
                    name: name.clone(),
                    kind,
                    size_bytes: facts.size_bytes.filter(|_| kind == EntryKind::File),
                    modified: facts.modified,
                })
            }));
        }
        let error = refused(Step::Command, &reply);
        match error.fault {
            RemoteFault::NotFound => Ok(Some(None)),
            // 550 alone may be "not there" and "not for you".
            RemoteFault::Refused | RemoteFault::Unsupported { .. } | RemoteFault::Busy => Ok(None),
            _ => Err(error),
        }
    }

    async fn stat_by_listing(&mut self, split: Split) -> Result<Option<Entry>, RemoteError> {
        let mut found = None;
        let wanted = split.name;
        let listed = self
            .list(split.parent.as_ref(), &mut |listed| match listed {
                Listed::Entry(entry) if entry.name == wanted => {
                    found = Some(entry);
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Continue(()),
            })
            .await;
        match listed {
            Err(error) if error.fault == RemoteFault::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(found),
        }
    }

    /// MDTM (RFC 3659 s.3): when a file changed, to the second.
    pub(super) async fn modified(
        &mut self,
        path: &RemotePath,
    ) -> Result<Option<Modified>, RemoteError> {
        if !self.features.mdtm {
            return Ok(None);
        }
        let reply = self
            .ask(Step::Command, &Command::path("MDTM", path))
            .await?;
        if reply.code != 213 {
            return Ok(None);
        }
        Ok(timestamp(reply.first().trim_ascii()))
    }

    /// SIZE (RFC 3659 s.4).
    pub(super) async fn size(&mut self, path: &RemotePath) -> Result<Option<u64>, RemoteError> {
        let reply = self
            .ask(Step::Command, &Command::path("SIZE", path))
            .await?;
        Ok(size(&reply))
    }

    pub(super) async fn rename(
        &mut self,
        from: &RemotePath,
        to: &RemotePath,
        on_existing: OnExisting,
    ) -> Result<(), RemoteError> {
        let taken = || RemoteError::new(Step::Rename, RemoteFault::AlreadyExists);
        if on_existing == OnExisting::Fail && self.stat(to).await?.is_some() {
            return Err(taken());
        }
        let Err(error) = self.rename_once(from, to).await else {
            return Ok(());
        };
        if error.ends_connection() || error.fault == RemoteFault::NotFound {
            return Err(error);
        }
        // Why the server refused it is often not to be seen from its words.
        let target = self.stat(to).await?;
        match (target, on_existing) {
            (None, _) => Err(self.explain(error, from).await),
            (Some(target), OnExisting::DeleteFirst) if target.kind == EntryKind::File => {
                if self.stat(from).await?.is_none() {
                    return Err(RemoteError::new(Step::Rename, RemoteFault::NotFound));
                }
                self.demand(Step::Rename, &Command::path("DELE", to))
                    .await?;
                self.rename_once(from, to).await
            }
            (Some(_), _) => Err(match error.server_said {
                Some(words) => taken().with_words(&words),
                None => taken(),
            }),
        }
    }

    async fn rename_once(&mut self, from: &RemotePath, to: &RemotePath) -> Result<(), RemoteError> {
        let step = Step::Rename;
        let reply = self.ask(step, &Command::path("RNFR", from)).await?;
        if !reply.is_intermediate() {
            return Err(refused(step, &reply));
        }
        self.demand(step, &Command::path("RNTO", to))
            .await
            .map(|_| ())
    }

    pub(super) async fn remove(&mut self, path: &RemotePath) -> Result<(), RemoteError> {
        match self
            .demand(Step::Remove, &Command::path("DELE", path))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(error, path).await),
        }
    }

    pub(super) async fn make_dir(&mut self, path: &RemotePath) -> Result<(), RemoteError> {
        let step = Step::Command;
        match self.demand(step, &Command::path("MKD", path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.fault == RemoteFault::Refused => match self.stat(path).await {
                Ok(Some(_)) => Err(RemoteError {
                    fault: RemoteFault::AlreadyExists,
                    ..error
                }),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Finds out whether a refusal without a reason means that `path` is not there.
    pub(super) async fn explain(&mut self, error: RemoteError, path: &RemotePath) -> RemoteError {
        if error.fault == RemoteFault::Refused && matches!(self.stat(path).await, Ok(None)) {
            return RemoteError {
                fault: RemoteFault::NotFound,
                ..error
            };
        }
        error
    }

    /// HASH (draft-bryan-ftpext-hash) or XSHA256.
    pub(super) async fn sha256(
        &mut self,
        path: &RemotePath,
    ) -> Result<Option<[u8; 32]>, RemoteError> {
        let step = Step::Command;
        let verb = match (self.features.hash_sha256, self.features.xsha256) {
            (true, _) => "HASH",
            (false, true) => "XSHA256",
            (false, false) => return Ok(None),
        };
        let reply = self.demand(step, &Command::path(verb, path)).await?;
        match hash(&reply) {
            Some(hash) => Ok(Some(hash)),
            None => {
                let detail = "a reply that holds no SHA-256".to_owned();
                Err(RemoteError::new(step, RemoteFault::Protocol { detail })
                    .with_words(&reply.words()))
            }
        }
    }
}

fn size(reply: &Reply) -> Option<u64> {
    if reply.code != 213 {
        return None;
    }
    std::str::from_utf8(reply.first()).ok()?.trim().parse().ok()
}

/// The first word of 64 hexadecimal digits: `213 SHA-256 0-5 <hash> name`, `250 <hash>`.
fn hash(reply: &Reply) -> Option<[u8; 32]> {
    let mut words = reply
        .lines
        .iter()
        .flat_map(|line| line.split(|byte| *byte == b' '));
    words.find_map(|word| {
        let mut hash = [0; 32];
        hex::decode_to_slice(word.trim_ascii(), &mut hash).ok()?;
        Some(hash)
    })
}

fn split(system: ServerSystem, path: &RemotePath) -> Result<Split, RemoteError> {
    let unusable = || {
        let detail = "the path names no file or folder below another".to_owned();
        RemoteError::new(Step::Prepare, RemoteFault::Settings { detail })
    };
    let bytes = path.as_bytes();
    let cut = bytes.iter().rposition(|byte| system.separates(*byte));
    let (parent, name) = match cut {
        Some(cut) => (
            bytes.get(..cut.max(1)),
            bytes.get(cut + 1..).unwrap_or_default(),
        ),
        None => (None, bytes),
    };
    let parent = parent.map(|parent| {
        // `C:` alone is the current folder of that drive; its root is meant.
        if parent.ends_with(b":") {
            bytes.get(..=parent.len()).unwrap_or(parent)
        } else {
            parent
        }
    });
    Ok(Split {
        parent: parent
            .map(RemotePath::new)
            .transpose()
            .map_err(|_| unusable())?,
        name: RemoteName::new(system, name).map_err(|_| unusable())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_in_front_of_its_last_part() {
        for (system, path, parent, name) in [
            (ServerSystem::Unix, "/in/a.csv", Some("/in"), "a.csv"),
            (ServerSystem::Unix, "/a.csv", Some("/"), "a.csv"),
            (ServerSystem::Unix, "a.csv", None, "a.csv"),
            (ServerSystem::Unix, "in/b\\c", Some("in"), "b\\c"),
            (
                ServerSystem::Windows,
                "C:\\in\\a.csv",
                Some("C:\\in"),
                "a.csv",
            ),
            (ServerSystem::Windows, "C:\\a.csv", Some("C:\\"), "a.csv"),
            (ServerSystem::Windows, "\\a.csv", Some("\\"), "a.csv"),
        ] {
            let split = split(system, &RemotePath::new(path.as_bytes()).unwrap()).unwrap();
            assert_eq!(
                split.parent.map(|parent| parent.to_string()).as_deref(),
                parent,
                "{path}"
            );
            assert_eq!(split.name.to_string(), name, "{path}");
        }
        for path in ["/", "/in/", "..", "/in/.."] {
            let path = RemotePath::new(path.as_bytes()).unwrap();
            assert!(split(ServerSystem::Unix, &path).is_err(), "{path}");
        }
    }

    #[test]
    fn hashes_and_sizes_are_read() {
        let reply = |code, text: &str| Reply {
            code,
            lines: vec![text.as_bytes().to_vec()],
        };
        let digits = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in [
            format!("SHA-256 0-0 {digits} a.csv"),
            digits.to_ascii_uppercase(),
            format!("{digits}\t"),
        ] {
            assert_eq!(
                hash(&reply(213, &text)).map(hex::encode).as_deref(),
                Some(digits)
            );
        }
        assert_eq!(hash(&reply(213, digits.trim_start_matches('e'))), None);
        for (code, text, expected) in [
            (213, "12", Some(12)),
            (213, " 12 ", Some(12)),
            (213, "-1", None),
            (213, "99999999999999999999", None),
            (550, "12", None),
        ] {
            assert_eq!(size(&reply(code, text)), expected);
        }
    }
}
