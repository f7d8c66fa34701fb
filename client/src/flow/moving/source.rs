//! What becomes of a file at its source, when it was moved or given up.

use std::error::Error;

use layover_depot::{
    AfterSuccess, ClaimedRun, FlowDirection, FlowFile, FlowFileId, RunLost, SourceFacts,
};

use super::super::Engine;
use super::super::error::RunFault;
use super::super::folder::{Place, facts_of, is_as_exact_as_it_gets};
use super::{Job, Shift};
use crate::fault::RemoteError;
use crate::partner::Connection;
use crate::path::RemotePath;
use crate::remote::{OnExisting, Remote};

/// Names that are tried for a file that was moved there, beside its own.
const MAX_OTHER_NAMES: u32 = 100;

impl Engine {
    /// Does what runs before this one left undone at their sources.
    pub(in crate::flow) async fn finish_sources(
        &self,
        run: &ClaimedRun,
        place: &Place,
        remote: &mut dyn Remote,
        open: &[FlowFile],
    ) -> Result<(), RunFault> {
        for file in open.iter().filter(|file| file.source_pending) {
            self.after_success(run, place, remote, file.id, &file.facts)
                .await?;
        }
        Ok(())
    }

    /// Does what is to be done with the source of a file that moved, and remembers it. What
    /// fails is tried again by the next run.
    async fn after_success(
        &self,
        run: &ClaimedRun,
        place: &Place,
        remote: &mut dyn Remote,
        file: FlowFileId,
        facts: &SourceFacts,
    ) -> Result<(), RunLost> {
        let done = match run.definition.after_success() {
            AfterSuccess::Keep => Ok(()),
            AfterSuccess::Delete => take_away(place, remote, facts, None).await,
            AfterSuccess::Move(folder) => {
                take_away(place, remote, facts, Some(folder.as_str())).await
            }
        };
        match done {
            Ok(()) => self.runs.source_done(run, file).await,
            Err(error) => {
                tracing::warn!(
                    flow = %run.definition.name,
                    file = %String::from_utf8_lossy(&facts.name),
                    error = &*error as &dyn Error,
                    "a file moved, and its source could not be taken away; the next run tries again"
                );
                Ok(())
            }
        }
    }
}

impl Shift<'_> {
    /// Does what is to be done with the source of a file that moved just now.
    pub(super) async fn after(&self, job: &Job, remote: &mut dyn Remote) -> Result<(), RunLost> {
        let (run, place) = (self.run, self.place);
        self.engine
            .after_success(run, place, remote, job.id, &job.facts)
            .await
    }

    /// A file that was given up goes to the folder for such, where there is one. What gave
    /// it up may have ended the connection.
    pub(super) async fn bury(&self, job: &Job, connection: &mut Option<Connection>) {
        let Some(folder) = &self.run.definition.rules.dead_letter else {
            return;
        };
        if let Err(error) = self.put_aside(job, connection, folder.as_str()).await {
            tracing::warn!(
                flow = %self.run.definition.name,
                file = %String::from_utf8_lossy(&job.facts.name),
                error = &*error as &dyn Error,
                "a file that was given up could not be put aside"
            );
        }
    }

    async fn put_aside(
        &self,
        job: &Job,
        connection: &mut Option<Connection>,
        folder: &str,
    ) -> Result<(), Fault> {
        let (place, facts) = (self.place, &job.facts);
        if place.direction == FlowDirection::Upload {
            return take_away_here(place, facts, Some(folder)).await;
        }
        let there = match connection {
            Some(there) => there,
            None => connection.insert(place.partner.connect().await?),
        };
        take_away_there(place, there.remote(), facts, Some(folder)).await
    }
}

type Fault = Box<dyn Error + Send + Sync>;

/// Removes a file at its source, or moves it to a folder; one that is another one by now
/// stays.
async fn take_away(
    place: &Place,
    remote: &mut dyn Remote,
    facts: &SourceFacts,
    folder: Option<&str>,
) -> Result<(), Fault> {
    match place.direction {
        FlowDirection::Upload => take_away_here(place, facts, folder).await,
        FlowDirection::Download => take_away_there(place, remote, facts, folder).await,
    }
}

async fn take_away_here(
    place: &Place,
    facts: &SourceFacts,
    folder: Option<&str>,
) -> Result<(), Fault> {
    let path = place.home.join(&facts.name)?;
    if !is_same_here(place, &path, facts).await? {
        return Ok(());
    }
    match folder {
        None => place.visit.remove(&path).await?,
        Some(folder) => {
            let folder = place.folder_here(folder).ok_or("the folder is no path")?;
            place.visit.move_to(&path, &folder).await?;
        }
    }
    Ok(())
}

async fn take_away_there(
    place: &Place,
    remote: &mut dyn Remote,
    facts: &SourceFacts,
    folder: Option<&str>,
) -> Result<(), Fault> {
    let path = place.there(&facts.name).ok_or("the name is no path")?;
    let Some(entry) = remote.stat(&path).await? else {
        return Ok(());
    };
    // Another file has the name by now: nobody has moved that one.
    if !is_as_exact_as_it_gets(facts, &facts_of(&entry)) {
        return Ok(());
    }
    match folder {
        None => remote.remove(&path).await?,
        Some(folder) => {
            let folder = place.folder_there(folder).ok_or("the folder is no path")?;
            move_there(place, remote, &path, &folder, &facts.name).await?;
        }
    }
    Ok(())
}

async fn is_same_here(
    place: &Place,
    path: &layover_depot::VirtualPath,
    facts: &SourceFacts,
) -> Result<bool, Fault> {
    let there = place.visit.facts(path).await?;
    Ok(there.is_some_and(|there| there == *facts))
}

/// Where the name is taken, a number is put behind it.
async fn move_there(
    place: &Place,
    remote: &mut dyn Remote,
    path: &RemotePath,
    folder: &RemotePath,
    name: &[u8],
) -> Result<(), Fault> {
    let system = place.partner.system();
    if remote.stat(folder).await?.is_none() {
        remote.make_dir(folder).await?;
    }
    let mut last: Option<RemoteError> = None;
    for number in 0..=MAX_OTHER_NAMES {
        let name = match number {
            0 => name.to_vec(),
            number => [name, format!(".{number}").as_bytes()].concat(),
        };
        let to = folder.join(system, &crate::path::RemoteName::new(system, &name)?)?;
        if remote.stat(&to).await?.is_some() {
            continue;
        }
        match remote.rename(path, &to, OnExisting::Fail).await {
            Ok(()) => return Ok(()),
            Err(error) if error.ends_connection() => return Err(error.into()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| "every name is taken".into(), Into::into))
}
