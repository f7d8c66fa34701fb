//! What LIST, NLST and MLSD send.

use layover_depot::{FileInfo, FileKind, Listing, VfsError, VirtualPath};

use super::super::{ControlConnection, Fault, refuse};
use crate::listing::{ListArgument, fits, is_pattern, ls_line};

impl ControlConnection {
    /// LIST's and STAT's lines.
    pub(in crate::control) async fn ls_lines(
        &self,
        argument: &[u8],
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let found = self.found(&ListArgument::parse(argument)).await?;
        let account = self.session()?.account_name().to_string();
        let now = self.shared.options.clock.now();
        Ok(found
            .into_iter()
            .map(|(name, info)| ls_line(&name, &info, &account, now))
            .collect())
    }

    /// NLST's names, written so that RETR takes them.
    pub(super) async fn names(&self, argument: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
        let argument = ListArgument::parse(argument);
        let found = self.found(&argument).await?;
        Ok(found.into_iter().map(|(name, _)| name).collect())
    }

    /// MLSD's lines.
    pub(super) async fn fact_lines(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
        let path = self.at(path)?;
        let entries = match self.session()?.list(&path).await {
            Ok(entries) => sorted(entries),
            // RFC 3659 s.7.2.1.
            Err(VfsError::NotDirectory { .. }) => {
                return Err(refuse(501, "MLSD lists folders; MLST tells of a file"));
            }
            Err(error) => return Err(error.into()),
        };
        let access = self.access();
        Ok(entries
            .iter()
            .map(|(name, info)| self.facts.line(name, info, access))
            .collect())
    }

    /// A folder's content, one file, or what fits a pattern in a folder. Names
    /// are as the client wrote them, so far as it wrote them.
    async fn found(&self, argument: &ListArgument) -> Result<Listing, Fault> {
        let session = self.session()?;
        let path = self.at(&argument.path)?;
        let shown = |(name, _): &(Vec<u8>, FileInfo)| argument.all || !name.starts_with(b".");
        match session.stat(&path).await {
            Ok(info) if info.kind == FileKind::Directory => {
                let mut entries = sorted(session.list(&path).await?);
                entries.retain(shown);
                Ok(entries)
            }
            Ok(info) if !info.partial => Ok(vec![(argument.path.clone(), info)]),
            Ok(_) => Err(VfsError::NotFound { path }.into()),
            Err(VfsError::NotFound { .. }) if is_pattern(path.name().unwrap_or_default()) => {
                self.matching(&path, argument).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn matching(
        &self,
        path: &VirtualPath,
        argument: &ListArgument,
    ) -> Result<Listing, Fault> {
        let pattern = path.name().unwrap_or_default();
        let written = &argument.path;
        let folder = written.iter().rposition(|byte| *byte == b'/');
        let prefix = folder.and_then(|at| written.get(..=at)).unwrap_or_default();
        let hidden = argument.all || pattern.starts_with(b".");
        let mut entries = sorted(self.session()?.list(&path.dir()).await?);
        entries.retain(|(name, _)| fits(pattern, name) && (hidden || !name.starts_with(b".")));
        for (name, _) in &mut entries {
            *name = [prefix, name.as_slice()].concat();
        }
        Ok(entries)
    }
}

fn sorted(mut entries: Listing) -> Listing {
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    entries
}
