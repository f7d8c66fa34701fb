//! What becomes of a file at its source, when it was moved or given up.

use std::error::Error;

use layover_depot::{
    AfterSuccess, ClaimedRun, FileId, FlowDirection, FlowFile, FlowFileId, RunLost, SourceFacts,
};
use layover_retention::Timestamp;

use super::super::Engine;
use super::super::error::RunFault;
use super::super::folder::{Place, facts_of, is_as_exact_as_it_gets};
use super::{Job, Shift, locked};
use crate::exchange::SourceState;
use crate::fault::RemoteError;
use crate::partner::Connection;
use crate::path::RemotePath;
use crate::remote::{Entry, OnExisting, Precision, Remote};

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
    ) -> Result<u64, RunFault> {
        let mut left = 0;
        for file in open.iter().filter(|file| file.source_pending) {
            let at = At::Later {
                facts: file.facts.clone(),
            };
            let is_done = self
                .after_success(run, place, remote, file.id, &file.facts.name, &at)
                .await?;
            left += u64::from(!is_done);
        }
        Ok(left)
    }

    /// Does what is to be done with the source of a file that moved, and remembers it. What
    /// fails is told, and tried again by the next run. Says whether it is done.
    async fn after_success(
        &self,
        run: &ClaimedRun,
        place: &Place,
        remote: &mut dyn Remote,
        file: FlowFileId,
        name: &[u8],
        at: &At,
    ) -> Result<bool, RunLost> {
        let done = match run.definition.after_success() {
            AfterSuccess::Keep => Ok(Source::Gone),
            AfterSuccess::Delete => take_away(place, remote, name, at, None).await,
            AfterSuccess::Move(folder) => {
                take_away(place, remote, name, at, Some(folder.as_str())).await
            }
        };
        match done {
            Ok(Source::Gone | Source::Another) => {
                self.runs.source_done(run, file).await.map(|()| true)
            }
            Ok(Source::Unclear) => {
                self.runs.source_left(run, file, name, UNCLEAR).await?;
                self.runs.source_done(run, file).await.map(|()| true)
            }
            Err(error) => {
                let why = format!("it moved, and stays at its source: {}", told(&*error));
                tracing::warn!(
                    flow = %run.definition.name,
                    file = %String::from_utf8_lossy(name),
                    error = &*error as &dyn Error,
                    "a file moved, and its source could not be taken away; the next run tries again"
                );
                self.runs.source_left(run, file, name, &why).await?;
                Ok(false)
            }
        }
    }
}

impl Shift<'_> {
    /// Does what is to be done with the source of a file that moved just now.
    pub(super) async fn after(
        &self,
        job: &Job,
        remote: &mut dyn Remote,
        at: At,
    ) -> Result<(), RunLost> {
        let (run, place) = (self.run, self.place);
        let is_done = self
            .engine
            .after_success(run, place, remote, job.id, &job.facts.name, &at)
            .await?;
        if !is_done {
            locked(&self.tally).report.sources_left += 1;
        }
        Ok(())
    }

    /// A file that was given up goes to the folder for such, where there is one. What gave
    /// it up may have ended the connection.
    pub(super) async fn bury(
        &self,
        job: &Job,
        connection: &mut Option<Connection>,
        cause: &str,
    ) -> Result<(), RunLost> {
        let Some(folder) = &self.run.definition.rules.dead_letter else {
            return Ok(());
        };
        if let Err(error) = self.put_aside(job, connection, folder.as_str()).await {
            tracing::warn!(
                flow = %self.run.definition.name,
                file = %String::from_utf8_lossy(&job.facts.name),
                error = &*error as &dyn Error,
                "a file that was given up could not be put aside"
            );
            let why = format!("{cause}; and it could not be put aside: {}", told(&*error));
            let runs = &self.engine.runs;
            runs.source_left(self.run, job.id, &job.facts.name, &why)
                .await?;
        }
        Ok(())
    }

    async fn put_aside(
        &self,
        job: &Job,
        connection: &mut Option<Connection>,
        folder: &str,
    ) -> Result<(), Fault> {
        let place = self.place;
        // Nothing was read of it: how it was listed must do. Moved aside it is not lost.
        let at = At::Listed(job.facts.clone());
        if place.direction == FlowDirection::Upload {
            take_away_here(place, &job.facts.name, &at, Some(folder)).await?;
            return Ok(());
        }
        let there = match connection {
            Some(there) => there,
            None => connection.insert(place.partner.connect().await?),
        };
        take_away_there(place, there.remote(), &job.facts.name, &at, Some(folder)).await?;
        Ok(())
    }
}

type Fault = Box<dyn Error + Send + Sync>;

/// A fault with what it comes from.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// What a file must still be to be taken away from its source.
#[derive(Clone, Debug)]
pub(super) enum At {
    /// As the same server told of it right before it was read, in this run.
    Once(SourceState),
    /// As an earlier look told: it must be the same for certain.
    Later { facts: SourceFacts },
    /// As it was listed, which may be told less exactly.
    Listed(SourceFacts),
}

/// What there is of a file at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// It is gone, or aside.
    Gone,
    /// Another file has the name by now, which nobody has moved: it stays.
    Another,
    /// Nobody can tell whether it is the same: it stays.
    Unclear,
}

/// Why a file that moved stays at its source for good.
const UNCLEAR: &str = "it moved, and stays at its source: the run ended before it could be taken \
    away, and the partner's server does not tell times to the second, so that another file of its \
    name cannot be told from it";

impl At {
    /// Whether what the server shows now is the file.
    fn compare(&self, now: &Entry) -> Source {
        match self {
            Self::Once(seen) => {
                let same = seen.size_bytes == now.size_bytes && seen.modified == now.modified;
                if same { Source::Gone } else { Source::Another }
            }
            Self::Listed(facts) => {
                if is_as_exact_as_it_gets(facts, &facts_of(now)) {
                    Source::Gone
                } else {
                    Source::Another
                }
            }
            Self::Later { facts } => {
                let exact = now
                    .modified
                    .filter(|modified| modified.precision == Precision::Second)
                    .map(|modified| Timestamp::from_micros(modified.at.as_microsecond()));
                match (facts.size_bytes, now.size_bytes, facts.modified_at, exact) {
                    (Some(was), Some(is), Some(then), Some(now)) => {
                        if was == is && then == now {
                            Source::Gone
                        } else {
                            Source::Another
                        }
                    }
                    (Some(was), Some(is), ..) if was != is => Source::Another,
                    _ => Source::Unclear,
                }
            }
        }
    }

    /// In a home: the file's number.
    fn file(&self) -> Option<FileId> {
        match self {
            Self::Once(_) => None,
            Self::Later { facts } | Self::Listed(facts) => facts.file,
        }
    }
}

/// Removes a file at its source, or moves it to a folder; one that is another one by now
/// stays.
async fn take_away(
    place: &Place,
    remote: &mut dyn Remote,
    name: &[u8],
    at: &At,
    folder: Option<&str>,
) -> Result<Source, Fault> {
    match place.direction {
        FlowDirection::Upload => take_away_here(place, name, at, folder).await,
        FlowDirection::Download => take_away_there(place, remote, name, at, folder).await,
    }
}

async fn take_away_here(
    place: &Place,
    name: &[u8],
    at: &At,
    folder: Option<&str>,
) -> Result<Source, Fault> {
    let path = place.home.join(name)?;
    let Some(file) = at.file() else {
        return Ok(Source::Unclear);
    };
    match folder {
        None => place.visit.remove(&path, file).await?,
        Some(folder) => {
            let folder = place.folder_here(folder).ok_or("the folder is no path")?;
            place.visit.move_to(&path, file, &folder).await?;
        }
    }
    Ok(Source::Gone)
}

async fn take_away_there(
    place: &Place,
    remote: &mut dyn Remote,
    name: &[u8],
    at: &At,
    folder: Option<&str>,
) -> Result<Source, Fault> {
    let path = place.there(name).ok_or("the name is no path")?;
    let Some(entry) = remote.stat(&path).await? else {
        return Ok(Source::Gone);
    };
    let found = at.compare(&entry);
    if found != Source::Gone {
        return Ok(found);
    }
    match folder {
        None => remote.remove(&path).await?,
        Some(folder) => {
            let folder = place.folder_there(folder).ok_or("the folder is no path")?;
            move_there(place, remote, &path, &folder, name).await?;
        }
    }
    Ok(Source::Gone)
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
    // A file that comes each day under the same name: its numbers end one day, and names
    // that nobody has had do not.
    let random = getrandom::u64().unwrap_or(0);
    for number in 0..=MAX_OTHER_NAMES.saturating_add(1) {
        let name = match number {
            0 => name.to_vec(),
            number if number > MAX_OTHER_NAMES => {
                [name, format!(".{random:016x}").as_bytes()].concat()
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RemoteName;
    use crate::path::ServerSystem;
    use crate::remote::{EntryKind, Modified};

    /// What a server shows of a file that was changed at this second.
    fn shown(size: Option<u64>, second: Option<i64>, precision: Precision) -> Entry {
        let name = RemoteName::new(ServerSystem::Unix, b"a").unwrap();
        Entry {
            name,
            kind: EntryKind::File,
            size_bytes: size,
            modified: second.map(|second| Modified {
                at: jiff::Timestamp::from_second(second).unwrap(),
                precision,
                day_at: None,
            }),
        }
    }

    fn later(size: Option<u64>, second: Option<i64>) -> At {
        At::Later {
            facts: SourceFacts {
                name: b"a".to_vec(),
                size_bytes: size,
                modified_at: second.map(|second| Timestamp::from_micros(second * 1_000_000)),
                day_at: None,
                file: None,
            },
        }
    }

    /// A partner's file that was changed on a full minute, and written anew within it, was
    /// taken for the one that had moved, and deleted unread.
    #[test]
    fn a_later_run_takes_away_what_is_the_same_for_certain_and_nothing_else() {
        use Precision::{Minute, Second};
        let moved = later(Some(10), Some(600));
        for (now, expected) in [
            (shown(Some(10), Some(600), Second), Source::Gone),
            (shown(Some(10), Some(630), Second), Source::Another),
            (shown(Some(11), Some(600), Second), Source::Another),
            (shown(Some(11), Some(600), Minute), Source::Another),
            (shown(Some(10), Some(600), Minute), Source::Unclear),
            (shown(Some(10), None, Second), Source::Unclear),
            (shown(None, Some(600), Second), Source::Unclear),
        ] {
            assert_eq!(moved.compare(&now), expected, "{now:?}");
        }
        let now = shown(Some(10), Some(600), Second);
        for untold in [later(None, Some(600)), later(Some(10), None)] {
            assert_eq!(untold.compare(&now), Source::Unclear, "{untold:?}");
        }
    }

    #[test]
    fn the_same_run_goes_by_what_it_saw_right_before() {
        let seen = shown(Some(10), Some(600), Precision::Minute);
        let at = At::Once(SourceState {
            size_bytes: seen.size_bytes,
            modified: seen.modified,
        });
        assert_eq!(at.compare(&seen), Source::Gone);
        let other = shown(Some(10), Some(660), Precision::Minute);
        assert_eq!(at.compare(&other), Source::Another);
    }
}
