//! Which files of a folder move; pure. Names come as a listing tells them; what is
//! kept of them is what may move.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::DateTime;
use layover_depot::{
    FileKey, FlowDefinition, FlowFile, FlowFileState, IdempotencyMode, Pattern, SourceFacts,
};
use layover_retention::Timestamp;

/// Endings of names that somebody is still writing.
pub(crate) const LOCKING_SUFFIXES: [&str; 4] = [".part", ".partial", ".filepart", ".tmp"];

/// What is said of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It may move.
    Taken,
    /// The flow does not want it.
    NotWanted,
    /// Somebody is still writing it.
    Locked,
}

/// A folder on its way to a decision.
#[derive(Debug)]
pub(super) struct Choice {
    wanted: Vec<Pattern>,
    unwanted: Vec<Pattern>,
    locking: Vec<String>,
    mode: IdempotencyMode,
    found: Vec<SourceFacts>,
    locked: u64,
    /// Of every name, wanted or not, when these are counted.
    seen: Option<Vec<FileKey>>,
}

/// Whether every file of the source is counted, for what is known of those that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Census {
    Due,
    NotDue,
}

/// What moves, and what does not yet.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decision {
    /// By name; with what an earlier run left of it.
    pub(super) moves: Vec<(SourceFacts, Option<FlowFile>)>,
    /// Tried before, and not to be tried again before this moment.
    pub(super) later: Option<Timestamp>,
    /// Files that wait.
    pub(super) waiting: u64,
    /// Files that had moved before.
    pub(super) known: u64,
    /// Files that were given up, and look as they did then.
    pub(super) given_up: u64,
}

impl Choice {
    /// `own_suffix`: what stands behind names while the integration's files are written.
    pub(super) fn new(
        flow: &FlowDefinition,
        own_suffix: Option<&str>,
        moment: DateTime,
        census: Census,
    ) -> Self {
        let patterns = |texts: &[layover_depot::FilePattern]| {
            let patterns = texts.iter();
            patterns
                .map(|text| Pattern::at(text.as_str(), moment))
                .collect()
        };
        let locking = LOCKING_SUFFIXES.iter().copied().chain(own_suffix);
        Self {
            wanted: patterns(&flow.files),
            unwanted: patterns(&flow.rules.exclude),
            locking: locking.map(str::to_ascii_lowercase).collect(),
            mode: flow.idempotency_mode,
            found: Vec::new(),
            locked: 0,
            seen: (census == Census::Due).then(Vec::new),
        }
    }

    /// Looks at a name of the folder.
    pub(super) fn offer(&mut self, facts: SourceFacts) -> Offer {
        if let Some(seen) = &mut self.seen {
            seen.extend(FileKey::all_of_listing(&facts));
        }
        let name = facts.name.as_slice();
        let is_wanted = self.wanted.is_empty() || self.wanted.iter().any(|one| one.fits(name));
        let small = name.to_ascii_lowercase();
        let is_locked = self
            .locking
            .iter()
            .any(|end| small.ends_with(end.as_bytes()));
        if is_locked {
            // What will have a name that is wanted once it is whole.
            self.locked += 1;
            return Offer::Locked;
        }
        if !is_wanted || self.unwanted.iter().any(|one| one.fits(name)) {
            return Offer::NotWanted;
        }
        self.found.push(facts);
        Offer::Taken
    }

    /// The keys by which what was found is known, in its order; none in a mode that
    /// remembers nothing.
    pub(super) fn keys(&self) -> Vec<FileKey> {
        let keys = self.found.iter();
        keys.filter_map(|facts| FileKey::of_listing(self.mode, facts))
            .collect()
    }

    /// The keys of all files that were there; none when they are not counted.
    pub(super) fn take_seen(&mut self) -> Option<Vec<FileKey>> {
        self.seen.take()
    }

    /// What moves: what is not known and not to be tried later. `known` is in the order of
    /// [`Choice::keys`]; `open` what earlier runs were not done with.
    /// `dead`: what was given up.
    pub(super) fn decide(
        self,
        known: &[bool],
        open: &[FlowFile],
        dead: &[SourceFacts],
        now: Timestamp,
    ) -> Decision {
        let dead: HashMap<&[u8], &SourceFacts> = dead
            .iter()
            .map(|facts| (facts.name.as_slice(), facts))
            .collect();
        let open: HashMap<&[u8], &FlowFile> = open
            .iter()
            .map(|file| (file.facts.name.as_slice(), file))
            .collect();
        let mut decision = Decision {
            waiting: self.locked,
            ..Decision::default()
        };
        let mut moves = BTreeMap::new();
        for (at, facts) in self.found.into_iter().enumerate() {
            let before = open.get(facts.name.as_slice()).copied();
            if known.get(at) == Some(&true) {
                decision.known += 1;
                continue;
            }
            if dead
                .get(facts.name.as_slice())
                .is_some_and(|dead| looks_as(dead, &facts))
            {
                decision.given_up += 1;
                continue;
            }
            if let Some(before) = before {
                if before.state == FlowFileState::Done {
                    decision.known += 1;
                    continue;
                }
                if before.waits(now) {
                    let earliest = decision
                        .later
                        .map_or(before.not_before, |at| at.min(before.not_before));
                    decision.later = Some(earliest);
                    decision.waiting += 1;
                    continue;
                }
            }
            moves.insert(facts.name.clone(), (facts, before.cloned()));
        }
        decision.moves = moves.into_values().collect();
        decision
    }
}

/// Whether a file looks as it did when it was given up.
fn looks_as(dead: &SourceFacts, now: &SourceFacts) -> bool {
    (dead.size_bytes, dead.modified_at, dead.file) == (now.size_bytes, now.modified_at, now.file)
}

/// Parts what the second look shows as the first did from what changed between them.
pub(super) fn unchanged(
    moves: Vec<(SourceFacts, Option<FlowFile>)>,
    second: &HashMap<Vec<u8>, SourceFacts>,
) -> (Vec<(SourceFacts, Option<FlowFile>)>, u64) {
    let all = moves.len() as u64;
    let same: Vec<_> = moves
        .into_iter()
        .filter(|(facts, _)| second.get(&facts.name) == Some(facts))
        .collect();
    let changed = all - same.len() as u64;
    (same, changed)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use layover_depot::{FlowRules, FlowTarget};

    use super::*;

    fn flow(files: &[&str], exclude: &[&str]) -> FlowDefinition {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        FlowDefinition {
            name: "claims".parse().unwrap(),
            direction: "download".parse().unwrap(),
            enabled: true,
            partner: "globex".parse().unwrap(),
            target: FlowTarget::Path("/in".parse().unwrap()),
            local: "alice:/in".parse().unwrap(),
            files: patterns(files),
            idempotency_mode: IdempotencyMode::Name,
            delete_after_upload: false,
            delete_after_download: false,
            schedule_cron: None,
            rules: FlowRules {
                exclude: patterns(exclude),
                ..FlowRules::default()
            },
        }
    }

    fn facts(name: &str, size: u64) -> SourceFacts {
        SourceFacts {
            name: name.as_bytes().to_vec(),
            size_bytes: Some(size),
            modified_at: Some(Timestamp::from_micros(1)),
            day_at: None,
            file: None,
        }
    }

    fn choice(flow: &FlowDefinition) -> Choice {
        let moment = date(2026, 11, 22).at(8, 0, 0, 0);
        Choice::new(flow, Some(".XFER"), moment, Census::Due)
    }

    fn names(decision: &Decision) -> Vec<String> {
        let moves = decision.moves.iter();
        moves
            .map(|(facts, _)| String::from_utf8(facts.name.clone()).unwrap())
            .collect()
    }

    #[test]
    fn what_is_wanted_and_whole_moves_by_name() {
        let flow = flow(&["*.csv", "day_$yyyyMMdd*"], &["old_*"]);
        let mut choice = choice(&flow);
        let offers = [
            ("b.csv", Offer::Taken),
            ("a.csv", Offer::Taken),
            ("old_a.csv", Offer::NotWanted),
            ("c.txt", Offer::NotWanted),
            ("day_20261122.xml", Offer::Taken),
            ("day_20261121.xml", Offer::NotWanted),
            ("d.csv.part", Offer::Locked),
            ("e.csv.FilePart", Offer::Locked),
            ("f.csv.xfer", Offer::Locked),
        ];
        for (name, offer) in offers {
            assert_eq!(choice.offer(facts(name, 1)), offer, "{name}");
        }
        assert_eq!(choice.keys().len(), 3);
        let seen = choice.take_seen().unwrap();
        for (name, _) in offers {
            let key = FileKey::of_listing(IdempotencyMode::Name, &facts(name, 1));
            assert!(seen.contains(&key.unwrap()), "{name} is there");
        }
        let decision = choice.decide(&[false, true, false], &[], &[], Timestamp::MIN);
        assert_eq!(names(&decision), ["b.csv", "day_20261122.xml"]);
        assert_eq!((decision.known, decision.waiting), (1, 3));
    }

    #[test]
    fn what_was_given_up_stays_so_until_it_looks_otherwise() {
        let dead = [facts("a", 1), facts("b", 1), facts("gone", 1)];
        let mut choice = choice(&flow(&[], &[]));
        for now in [facts("a", 1), facts("b", 2), facts("c", 1)] {
            choice.offer(now);
        }
        let decision = choice.decide(&[], &[], &dead, Timestamp::MIN);
        assert_eq!(names(&decision), ["b", "c"]);
        assert_eq!(decision.given_up, 1);
    }

    #[test]
    fn what_changed_between_two_looks_waits() {
        let moves = vec![
            (facts("a", 1), None),
            (facts("b", 1), None),
            (facts("c", 1), None),
        ];
        let second = [facts("a", 1), facts("b", 2)];
        let second = second.map(|facts| (facts.name.clone(), facts)).into();
        let (same, changed) = unchanged(moves, &second);
        assert_eq!(same, [(facts("a", 1), None)]);
        assert_eq!(changed, 2, "one grew, one went");
    }

    #[test]
    fn ten_new_files_among_a_hundred_thousand_are_found() {
        let flow = flow(&["*.csv"], &[]);
        let mut choice = choice(&flow);
        for number in 0..100_000_u64 {
            choice.offer(facts(&format!("file_{number:06}.csv"), number));
        }
        let mut known = vec![true; choice.keys().len()];
        for known in known.iter_mut().skip(50_000).take(10) {
            *known = false;
        }
        let decision = choice.decide(&known, &[], &[], Timestamp::MIN);
        assert_eq!((decision.moves.len(), decision.known), (10, 99_990));
    }
}
