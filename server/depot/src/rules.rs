//! The rules that are a home's own, and what all rules together say of one of
//! its files.

use std::sync::Arc;

use layover_retention::{FileTimes, Keep, KeepWish, RetentionPolicy, Timestamp};

use crate::VirtualPath;
use crate::hold::HoldId;
use crate::ledger::{ApplianceKeep, Wishes};

/// Rules that one home may have: each is looked at for a file that comes.
pub(crate) const MAX_FOLDER_KEEPS: usize = 256;

/// How long the files in a folder, and in those below it, stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderKeep {
    /// The folder.
    pub path: VirtualPath,
    /// How long they stay after they arrived; none: as said further up.
    pub keep: Option<Keep>,
    /// How long they stay after they were first collected; none: as said further up.
    pub collected_keep: Option<Keep>,
    /// When the operator said so.
    pub set_at: Timestamp,
    /// Why.
    pub reason: String,
}

impl FolderKeep {
    pub(crate) fn wish(&self) -> KeepWish {
        KeepWish {
            keep: self.keep,
            collected_keep: self.collected_keep,
        }
    }
}

/// An active hold on a folder, or on a whole home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FolderHold {
    pub(crate) id: HoldId,
    pub(crate) path: VirtualPath,
    pub(crate) until: Timestamp,
}

/// The rules that are a home's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HomeRules {
    /// Each comes behind those that it is below of.
    pub(crate) folders: Vec<FolderKeep>,
    pub(crate) holds: Vec<FolderHold>,
    /// Where flows are told of files that come.
    pub(crate) arrivals: Vec<VirtualPath>,
}

impl HomeRules {
    /// `folders` in any order.
    pub(crate) fn new(mut folders: Vec<FolderKeep>, holds: Vec<FolderHold>) -> Self {
        folders.sort_by_key(|folder| folder.path.components().count());
        Self {
            folders,
            holds,
            arrivals: Vec::new(),
        }
    }

    /// The same; flows are told of files that come to these folders.
    pub(crate) fn with_arrivals(self, arrivals: Vec<VirtualPath>) -> Self {
        Self { arrivals, ..self }
    }

    /// Whether flows are told of a file that takes this name.
    pub(crate) fn is_arrival(&self, path: &VirtualPath) -> bool {
        !self.arrivals.is_empty() && self.arrivals.contains(&path.dir())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        let both = self.folders.len().saturating_add(self.holds.len());
        both.saturating_add(self.arrivals.len())
    }

    /// The holds that a file of this name comes under at `now`.
    pub(crate) fn holds_on(
        &self,
        path: &VirtualPath,
        now: Timestamp,
    ) -> impl Iterator<Item = &FolderHold> {
        let is_on = move |hold: &&FolderHold| hold.until > now && path.is_within(&hold.path);
        self.holds.iter().filter(is_on)
    }

    /// What the folders above a file say of it; the deepest that says something holds.
    fn wish(&self, path: &VirtualPath) -> KeepWish {
        let above = self
            .folders
            .iter()
            .filter(|folder| path.is_within(&folder.path));
        above.fold(KeepWish::default(), |outer, folder| folder.wish().or(outer))
    }
}

/// Everything that a file's rule rests on, as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grounds {
    pub(crate) wishes: Wishes,
    pub(crate) rules: Arc<HomeRules>,
}

/// What holds for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileRule {
    pub(crate) policy: RetentionPolicy,
    pub(crate) held_until: Option<Timestamp>,
    pub(crate) expires_at: Timestamp,
}

impl Grounds {
    /// What holds for a file of this name.
    pub(crate) fn policy(&self, appliance: ApplianceKeep, path: &VirtualPath) -> RetentionPolicy {
        appliance.policy(self.wishes, self.rules.wish(path))
    }

    /// What holds for a file that takes this name at `now`; its clock began at
    /// `arrived_at`.
    pub(crate) fn of_new(
        &self,
        appliance: ApplianceKeep,
        path: &VirtualPath,
        arrived_at: Timestamp,
        now: Timestamp,
    ) -> FileRule {
        let policy = self.policy(appliance, path);
        let held_until = self.rules.holds_on(path, now).map(|hold| hold.until).max();
        let times = FileTimes {
            held_until,
            ..FileTimes::arrived(arrived_at)
        };
        FileRule {
            policy,
            held_until,
            expires_at: layover_retention::expires_at(&times, &policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(hours: u64) -> Option<Keep> {
        Keep::from_secs(hours * 3600).ok()
    }

    fn folder(path: &str, hours: Option<u64>, collected_hours: Option<u64>) -> FolderKeep {
        FolderKeep {
            path: path.parse().unwrap(),
            keep: hours.and_then(keep),
            collected_keep: collected_hours.and_then(keep),
            set_at: Timestamp::from_micros(0),
            reason: String::new(),
        }
    }

    #[test]
    fn the_deepest_folder_that_says_something_holds() {
        let rules = HomeRules::new(
            vec![
                folder("/in/fast", Some(1), None),
                folder("/", None, Some(9)),
                folder("/in", Some(5), Some(2)),
            ],
            Vec::new(),
        );
        for (path, hours, collected_hours) in [
            ("/a", None, 9),
            ("/inn/a", None, 9),
            ("/in", Some(5), 2),
            ("/in/a", Some(5), 2),
            ("/in/fast/x/a", Some(1), 2),
            ("/in/faster", Some(5), 2),
        ] {
            let wish = rules.wish(&path.parse().unwrap());
            assert_eq!(wish.keep, hours.and_then(keep), "{path}");
            assert_eq!(wish.collected_keep, keep(collected_hours), "{path}");
        }
        assert_eq!(
            HomeRules::default().wish(&"/in/a".parse().unwrap()),
            KeepWish::default()
        );
    }

    #[test]
    fn a_new_file_comes_under_every_hold_above_it_that_is_not_over() {
        let second = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let hold = |id, path: &str, until| FolderHold {
            id: HoldId(id),
            path: path.parse().unwrap(),
            until: second(until),
        };
        let holds = vec![
            hold(1, "/", 50),
            hold(2, "/in", 90),
            hold(3, "/in/deep", 20),
        ];
        let grounds = Grounds {
            wishes: Wishes::default(),
            rules: Arc::new(HomeRules::new(Vec::new(), holds)),
        };
        let ten = Keep::from_secs(10).unwrap();
        let appliance = ApplianceKeep {
            keep: ten,
            max_keep: ten,
        };
        for (path, now, held_until) in [
            ("/a", 49, Some(50)),
            ("/a", 50, None),
            ("/in/a", 50, Some(90)),
            ("/in/deep/a", 10, Some(90)),
            ("/inn", 60, None),
        ] {
            let path = path.parse().unwrap();
            let rule = grounds.of_new(appliance, &path, second(now), second(now));
            assert_eq!(rule.held_until, held_until.map(second), "{path} {now}");
            let expected = held_until.unwrap_or(0).max(now + 10);
            assert_eq!(rule.expires_at, second(expected), "{path} {now}");
        }
    }
}
