//! Transfers that fail again and again for the same reason: which, why, how often.

use serde::{Deserialize, Serialize};

use super::sign::printable;
use crate::Direction;
use crate::vfs::VfsError;

/// Transfers that one sign keeps, the newest.
const MAX_REPEATED: usize = 4;

/// A transfer that is repeated in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeated {
    /// Which: direction and path, cut and made printable.
    pub what: String,
    /// The fault's word: `quota`.
    pub why: String,
    /// The fault in a sentence, cut and made printable.
    pub reason: String,
    /// How often, without the first tries.
    pub times: u64,
}

impl Repeated {
    pub(crate) fn new(direction: Direction, shown: &str, fault: &VfsError) -> Self {
        Self {
            what: printable(&format!("{} of {shown}", direction.as_str())),
            why: fault.word().to_owned(),
            reason: printable(&fault.reason()),
            times: 1,
        }
    }

    /// Adds it to the others; the newest is the last.
    pub(super) fn add_to(mut self, others: &mut Vec<Self>) {
        let same = others
            .iter()
            .position(|other| (&other.what, &other.why) == (&self.what, &self.why));
        if let Some(before) = same.map(|at| others.remove(at)) {
            self.times = self.times.saturating_add(before.times);
        }
        others.push(self);
        let surplus = others.len().saturating_sub(MAX_REPEATED);
        others.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_and_reason_is_counted_by_itself_and_the_newest_stay() {
        let fault = VfsError::QuotaExceeded { quota_bytes: 1 };
        let mut all = Vec::new();
        for path in ["/a", "/b", "/a", "/c", "/d", "/e"] {
            Repeated::new(Direction::Upload, path, &fault).add_to(&mut all);
        }
        let told: Vec<_> = all
            .iter()
            .map(|one| (one.what.as_str(), one.times))
            .collect();
        assert_eq!(
            told,
            [
                ("upload of /a", 2),
                ("upload of /c", 1),
                ("upload of /d", 1),
                ("upload of /e", 1)
            ]
        );
        Repeated::new(Direction::Upload, "/a", &VfsError::TooLarge).add_to(&mut all);
        assert_eq!((all[3].why.as_str(), all[3].times), ("too-large", 1));
    }
}
