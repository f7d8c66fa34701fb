//! The two folders of a flow, and looks at the one that files come from.

use std::collections::HashMap;
use std::ops::ControlFlow;

use jiff::civil::DateTime;
use layover_depot::{
    FlowDefinition, FlowDirection, FlowFile, FlowTarget, OfDisabled, SourceFacts, VfsError,
    VirtualPath, Visit, timer,
};
use layover_retention::Timestamp;

use super::choice::{Census, Choice, unchanged};
use super::error::RunFault;
use super::{Engine, SECOND_LOOK_AFTER};
use crate::exchange::PartialSuffix;
use crate::fault::RemoteError;
use crate::partner::{Partner, PgpKeys, remote_path};
use crate::path::{RemoteName, RemotePath};
use crate::remote::{Entry, EntryKind, Listed, Remote};

/// Files that are asked for one by one at the second look; more are listed again.
const ASKED_SINGLY: usize = 20;

/// A file that is to move, and what an earlier run left of it.
pub(super) type Move = (SourceFacts, Option<FlowFile>);

/// Where a flow moves files from and to.
pub(super) struct Place {
    pub(super) partner: Partner,
    pub(super) keys: PgpKeys,
    pub(super) visit: Visit,
    /// Here.
    pub(super) home: VirtualPath,
    /// There.
    pub(super) folder: RemotePath,
    /// As the journal calls the folder there.
    pub(super) location: FlowTarget,
    pub(super) partial: Option<PartialSuffix>,
    pub(super) direction: FlowDirection,
}

impl Place {
    /// Reads what is kept of both sides; connects to nobody.
    pub(super) async fn prepare(engine: &Engine, flow: &FlowDefinition) -> Result<Self, RunFault> {
        let home = flow.home().ok_or_else(|| RunFault::NoHome {
            flow: flow.name.to_string(),
            local: flow.local.to_string(),
        })?;
        let registry = engine.depot.registry();
        let integration = registry.integration(&flow.partner).await?;
        let (folder, location) = match &flow.target {
            FlowTarget::Location(name) => {
                let found = integration.location(name);
                let found = found.ok_or_else(|| RunFault::NoLocation {
                    partner: flow.partner.to_string(),
                    location: name.to_string(),
                })?;
                if !found.direction.is_for(flow.direction) {
                    return Err(RunFault::WrongDirection {
                        partner: flow.partner.to_string(),
                        location: name.to_string(),
                        is_for: found.direction,
                    });
                }
                (remote_path(&found.path)?, flow.target.clone())
            }
            FlowTarget::Path(path) => {
                let mut locations = integration.locations.iter();
                let same = locations.find(|one| one.path.as_bytes() == path.as_str().as_bytes());
                let named = same.map(|location| FlowTarget::Location(location.name.clone()));
                let named = named.unwrap_or_else(|| flow.target.clone());
                (RemotePath::new(path.as_str().as_bytes())?, named)
            }
        };
        let outbound = &integration.spec.settings.outbound;
        let suffix = outbound.partial_lock.then_some(&outbound.partial_suffix);
        let partial = suffix
            .map(|suffix| PartialSuffix::new(suffix.as_str()))
            .transpose()
            .map_err(|_| RunFault::Suffix)?;
        let visit = engine
            .courier
            .visit(&home.account, OfDisabled::Refuse)
            .await?;
        if *visit.entity() != integration.spec.entity && !flow.rules.other_entity {
            return Err(RunFault::OtherEntity {
                flow: flow.name.to_string(),
                entity: visit.entity().to_string(),
                other: integration.spec.entity.to_string(),
            });
        }
        let keys = PgpKeys::prepare(registry, &integration, &engine.surroundings).await?;
        let partner = Partner::prepare(registry, integration, &engine.surroundings).await?;
        let place = Self {
            partner,
            keys,
            visit,
            home: home.folder,
            folder,
            location,
            partial,
            direction: flow.direction,
        };
        place.check_aside(flow)?;
        Ok(place)
    }

    /// What is moved into the folder that a flow takes from is found there again. (For a
    /// location only this tells: it may have been another folder when the flow was made.)
    fn check_aside(&self, flow: &FlowDefinition) -> Result<(), RunFault> {
        let rules = &flow.rules;
        let system = self.partner.system();
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            let parts = path.split(|byte| system.separates(*byte));
            parts
                .filter(|part| !part.is_empty())
                .map(<[u8]>::to_vec)
                .collect()
        };
        for folder in [&rules.move_to, &rules.dead_letter].into_iter().flatten() {
            let is_source = match self.direction {
                FlowDirection::Download => self
                    .folder_there(folder.as_str())
                    .is_some_and(|there| parts(there.as_bytes()) == parts(self.folder.as_bytes())),
                FlowDirection::Upload => {
                    self.folder_here(folder.as_str()).as_ref() == Some(&self.home)
                }
            };
            if is_source {
                return Err(RunFault::AsideIsSource {
                    flow: flow.name.to_string(),
                    folder: folder.as_str().to_owned(),
                });
            }
        }
        Ok(())
    }

    /// A file of the folder there.
    pub(super) fn there(&self, name: &[u8]) -> Option<RemotePath> {
        let system = self.partner.system();
        let name = RemoteName::new(system, name).ok()?;
        self.folder.join(system, &name).ok()
    }

    /// A folder beside the files there: within it, or from the root on.
    pub(super) fn folder_there(&self, folder: &str) -> Option<RemotePath> {
        if folder.starts_with('/') {
            return RemotePath::new(folder.as_bytes()).ok();
        }
        let system = self.partner.system();
        let mut path = self.folder.clone();
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            let name = RemoteName::new(system, part.as_bytes()).ok()?;
            path = path.join(system, &name).ok()?;
        }
        Some(path)
    }

    /// The same here.
    pub(super) fn folder_here(&self, folder: &str) -> Option<VirtualPath> {
        self.home.resolve(folder.as_bytes()).ok()
    }
}

/// What a listing there tells of a file.
pub(crate) fn facts_of(entry: &Entry) -> SourceFacts {
    let moment = |at: jiff::Timestamp| Timestamp::from_micros(at.as_microsecond());
    let modified = entry.modified;
    SourceFacts {
        name: entry.name.as_bytes().to_vec(),
        size_bytes: entry.size_bytes,
        modified_at: modified.map(|modified| moment(modified.at)),
        day_at: modified.and_then(|modified| modified.day_at).map(moment),
        file: None,
    }
}

/// Tells `take` every file there.
async fn list_there(
    place: &Place,
    remote: &mut dyn Remote,
    take: &mut (dyn FnMut(SourceFacts) + Send),
) -> Result<(), RemoteError> {
    let visit = &mut |listed: Listed| {
        if let Listed::Entry(entry) = &listed
            && entry.kind == EntryKind::File
        {
            take(facts_of(entry));
        }
        ControlFlow::Continue(())
    };
    remote.list(&place.folder, visit).await
}

/// Looks at the folder that files come from.
pub(super) async fn look(
    place: &Place,
    remote: &mut dyn Remote,
    flow: &FlowDefinition,
    moment: DateTime,
    census: Census,
) -> Result<Choice, RunFault> {
    let outbound = &place.partner.integration().spec.settings.outbound;
    let own_suffix = place
        .partial
        .is_some()
        .then(|| outbound.partial_suffix.as_str());
    let mut choice = Choice::new(flow, own_suffix, moment, census);
    let mut take = |facts| {
        choice.offer(facts);
    };
    match place.direction {
        FlowDirection::Download => list_there(place, remote, &mut take).await?,
        FlowDirection::Upload => match place.visit.files(&place.home, &mut take).await {
            // A run makes it; to look at it, nothing is made.
            Ok(()) | Err(VfsError::NotFound { .. }) => {}
            Err(fault) => return Err(fault.into()),
        },
    }
    Ok(choice)
}

impl Engine {
    /// Files on a partner's server may still be written: those that move look the same
    /// twice. What was published here is whole.
    pub(super) async fn second_look(
        &self,
        place: &Place,
        remote: &mut dyn Remote,
        moves: Vec<Move>,
    ) -> Result<(Vec<Move>, u64), RunFault> {
        if place.direction == FlowDirection::Upload || moves.is_empty() {
            return Ok((moves, 0));
        }
        timer::sleep_by(&*self.clock.0, SECOND_LOOK_AFTER).await;
        let mut second: HashMap<Vec<u8>, SourceFacts> = HashMap::new();
        if moves.len() > ASKED_SINGLY {
            let firsts: std::collections::HashSet<&[u8]> = moves
                .iter()
                .map(|(facts, _)| facts.name.as_slice())
                .collect();
            let mut take = |facts: SourceFacts| {
                if firsts.contains(facts.name.as_slice()) {
                    second.insert(facts.name.clone(), facts);
                }
            };
            list_there(place, remote, &mut take).await?;
        } else {
            for (first, _) in &moves {
                let Some(path) = place.there(&first.name) else {
                    continue;
                };
                let Some(entry) = remote.stat(&path).await? else {
                    continue;
                };
                // A listing may tell less exactly than an answer about one file.
                let mut facts = facts_of(&entry);
                if entry.kind == EntryKind::File && is_as_exact_as_it_gets(first, &facts) {
                    facts = first.clone();
                }
                facts.name.clone_from(&first.name);
                second.insert(first.name.clone(), facts);
            }
        }
        Ok(unchanged(moves, &second))
    }
}

/// Whether both looks may be of one state of a file: the same size, and times that differ
/// by no more than what a listing leaves out.
pub(crate) fn is_as_exact_as_it_gets(listed: &SourceFacts, asked: &SourceFacts) -> bool {
    const MINUTE_US: i64 = 60_000_000;
    // The day on which the clocks are set back.
    const LONGEST_DAY_US: i64 = 25 * 60 * MINUTE_US;
    let size = match (listed.size_bytes, asked.size_bytes) {
        (Some(listed), Some(asked)) => listed == asked,
        _ => true,
    };
    let listed_day = listed.day_at.map(Timestamp::as_micros);
    let time = match (listed.modified_at, asked.modified_at) {
        (Some(listed), Some(asked)) => {
            let (listed, asked) = (listed.as_micros(), asked.as_micros());
            let is_minute = listed % MINUTE_US == 0;
            let is_day = listed_day == Some(listed);
            listed == asked
                || (is_minute && listed == asked - asked.rem_euclid(MINUTE_US))
                || (is_day && (listed..listed + LONGEST_DAY_US).contains(&asked))
        }
        _ => true,
    };
    size && time
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(at: &str, day: Option<&str>) -> SourceFacts {
        SourceFacts {
            name: b"a".to_vec(),
            size_bytes: Some(1),
            modified_at: at.parse().ok(),
            day_at: day.and_then(|day| day.parse().ok()),
            file: None,
        }
    }

    #[test]
    fn an_answer_about_one_file_may_be_more_exact_than_its_listing_and_not_another_one() {
        let day = Some("2025-10-25T22:00:00Z");
        let shown_day = facts("2025-10-25T22:00:00Z", day);
        let shown_minute = facts("2025-10-26T10:20:00Z", day);
        let shown_second = facts("2025-10-26T10:20:30Z", None);
        for (listed, asked, is_same) in [
            (&shown_second, "2025-10-26T10:20:30Z", true),
            (&shown_second, "2025-10-26T10:20:31Z", false),
            (&shown_minute, "2025-10-26T10:20:59Z", true),
            (&shown_minute, "2025-10-26T10:21:00Z", false),
            // A day on which the clocks are set back.
            (&shown_day, "2025-10-26T22:59:59Z", true),
            (&shown_day, "2025-10-26T23:00:00Z", false),
            (&shown_day, "2025-10-25T21:59:59Z", false),
        ] {
            let asked = facts(asked, None);
            assert_eq!(is_as_exact_as_it_gets(listed, &asked), is_same, "{asked:?}");
        }
        let larger = SourceFacts {
            size_bytes: Some(2),
            ..shown_second.clone()
        };
        assert!(!is_as_exact_as_it_gets(&shown_second, &larger));
    }
}
