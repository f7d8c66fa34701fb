//! What LIST, NLST and MLSD send.
//!
//! Before the data connection it is decided whether a folder may be listed; it is read
//! only after the connection's handshake, piece by piece as the client takes it: whoever
//! asks for listings and fetches none costs nothing.

use layover_depot::{DirectoryListing, FileInfo, FileKind, Session, VfsError, VirtualPath};
use layover_retention::Timestamp;

use super::super::{ControlConnection, Fault, refuse};
use crate::listing::{Facts, ListArgument, fits, is_pattern, ls_line};

/// Names that are read at once.
const NAMES_AT_ONCE: usize = 256;

/// A listing that may be sent, and has not been read.
pub(in crate::control) struct List {
    session: Session,
    content: Content,
    format: Format,
}

/// What is listed. Names are as the client wrote them, so far as it wrote them.
enum Content {
    File(Vec<u8>, Box<FileInfo>),
    Folder { path: VirtualPath, shown: Shown },
}

/// Which names of a folder are told.
enum Shown {
    All,
    /// But those that begin with a dot.
    Open,
    Fitting {
        pattern: Vec<u8>,
        /// What the client wrote in front of the pattern.
        prefix: Vec<u8>,
        /// Also those that begin with a dot.
        all: bool,
    },
}

/// How a name is told.
enum Format {
    Ls { account: String, now: Timestamp },
    Names,
    Facts { facts: Facts, folder: VirtualPath },
}

impl ControlConnection {
    /// LIST's and STAT's lines.
    pub(in crate::control) async fn ls(&self, argument: &[u8]) -> Result<List, Fault> {
        let account = self.session()?.account_name().to_string();
        let now = self.shared.options.clock.now();
        self.found(argument, Format::Ls { account, now }).await
    }

    /// NLST's names, written so that RETR takes them.
    pub(super) async fn names(&self, argument: &[u8]) -> Result<List, Fault> {
        self.found(argument, Format::Names).await
    }

    /// MLSD's lines.
    pub(super) async fn fact_lines(&self, path: &[u8]) -> Result<List, Fault> {
        let (path, session) = (self.at(path)?, self.session()?);
        match session.check_list(&path).await {
            Ok(()) => {}
            // RFC 3659 s.7.2.1.
            Err(VfsError::NotDirectory { .. }) => {
                return Err(refuse(501, "MLSD lists folders; MLST tells of a file"));
            }
            Err(error) => return Err(error.into()),
        }
        let format = Format::Facts {
            facts: self.facts,
            folder: path.clone(),
        };
        let shown = Shown::All;
        Ok(List {
            session,
            content: Content::Folder { path, shown },
            format,
        })
    }

    /// A folder's content, one file, or what fits a pattern in a folder.
    async fn found(&self, argument: &[u8], format: Format) -> Result<List, Fault> {
        let argument = ListArgument::parse(argument);
        let session = self.session()?;
        let path = self.at(&argument.path)?;
        let content = match session.stat(&path).await {
            Ok(info) if info.kind == FileKind::Directory => {
                session.check_list(&path).await?;
                let shown = if argument.all {
                    Shown::All
                } else {
                    Shown::Open
                };
                Content::Folder { path, shown }
            }
            Ok(info) if !info.partial => Content::File(argument.path, Box::new(info)),
            Ok(_) => return Err(VfsError::NotFound { path }.into()),
            Err(VfsError::NotFound { .. }) if is_pattern(path.name().unwrap_or_default()) => {
                let folder = path.dir();
                session.check_list(&folder).await?;
                let shown = fitting(&path, &argument);
                Content::Folder {
                    path: folder,
                    shown,
                }
            }
            Err(error) => return Err(error.into()),
        };
        Ok(List {
            session,
            content,
            format,
        })
    }
}

fn fitting(path: &VirtualPath, argument: &ListArgument) -> Shown {
    let pattern = path.name().unwrap_or_default();
    let written = &argument.path;
    let folder = written.iter().rposition(|byte| *byte == b'/');
    let prefix = folder.and_then(|at| written.get(..=at)).unwrap_or_default();
    Shown::Fitting {
        all: argument.all || pattern.starts_with(b"."),
        pattern: pattern.to_vec(),
        prefix: prefix.to_vec(),
    }
}

impl Shown {
    /// How a name is told, if it is.
    fn told(&self, name: Vec<u8>) -> Option<Vec<u8>> {
        let is_open = !name.starts_with(b".");
        match self {
            Self::All => Some(name),
            Self::Open => is_open.then_some(name),
            Self::Fitting {
                pattern,
                prefix,
                all,
            } => {
                let is_told = fits(pattern, &name) && (*all || is_open);
                is_told.then(|| [prefix.as_slice(), &name].concat())
            }
        }
    }
}

impl List {
    /// Begins to read it.
    pub(in crate::control) fn lines(self) -> Lines {
        let Self {
            session,
            content,
            format,
        } = self;
        let (source, shown) = match content {
            Content::File(name, info) => (Source::File(Some((name, info))), Shown::All),
            Content::Folder { path, shown } => {
                (Source::Folder(Box::new(session.listing(&path))), shown)
            }
        };
        Lines {
            session,
            source,
            shown,
            format,
        }
    }
}

/// A listing that is being read.
pub(in crate::control) struct Lines {
    session: Session,
    source: Source,
    shown: Shown,
    format: Format,
}

/// Where the names come from.
enum Source {
    File(Option<(Vec<u8>, Box<FileInfo>)>),
    Folder(Box<DirectoryListing>),
}

impl Lines {
    /// The next lines, without their ends; `None` at the end of the listing.
    ///
    /// # Errors
    /// As [`DirectoryListing::next`].
    pub(in crate::control) async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, VfsError> {
        let entries = match &mut self.source {
            Source::File(file) => file
                .take()
                .map(|(name, info)| (name, *info))
                .into_iter()
                .collect(),
            Source::Folder(listing) => listing.next(NAMES_AT_ONCE).await?,
        };
        if entries.is_empty() {
            return Ok(None);
        }
        let told = entries
            .into_iter()
            .filter_map(|(name, info)| Some((self.shown.told(name)?, info)));
        let line = |(name, info)| self.format.line(&self.session, name, &info);
        Ok(Some(told.map(line).collect()))
    }
}

impl Format {
    fn line(&self, session: &Session, name: Vec<u8>, info: &FileInfo) -> Vec<u8> {
        match self {
            Self::Ls { account, now } => ls_line(&name, info, account, *now),
            Self::Names => name,
            Self::Facts { facts, folder } => {
                let path = folder.join(&name);
                let rights = path.map_or(layover_depot::Rights::NONE, |path| session.rights(&path));
                facts.line(&name, info, rights)
            }
        }
    }
}
