//! What a node knows of the hash chains by itself, whatever the database says: who can
//! write there and has no key of ours cannot make it forget.

use std::collections::BTreeSet;
use std::time::Duration;

use layover_retention::{ChainHead, ChainName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::Sealed;

/// How far two marks are apart at least.
const BETWEEN_MARKS: Duration = Duration::from_secs(24 * 3_600);

/// Marks of one chain: eleven years of days. Beyond, every other of them goes.
const MAX_MARKS: usize = 4_096;

/// What another node prunes may be so much younger than this node would prune: their
/// clocks and settings change at slightly different moments.
const TOLERANCE: Duration = Duration::from_secs(3_600);

/// Keys of servers that are remembered.
const MAX_KEYS: usize = 1_000;

/// An entry that there was, and when it was written, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark(u64, i64);

/// What is remembered of one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// Where it ended.
    #[serde(flatten)]
    pub(crate) head: ChainHead,
    /// The greatest number of an entry that had its place then.
    #[serde(default)]
    pub(crate) last_id: Option<i64>,
    /// The end of what was pruned.
    #[serde(default = "nothing")]
    pub(crate) pruned: ChainHead,
    /// Some of its entries, the oldest first.
    #[serde(default)]
    marks: Vec<Mark>,
}

fn nothing() -> ChainHead {
    ChainHead::EMPTY
}

/// What is remembered of both, as `chain_heads.json` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainMemory {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificates: Option<Remembered>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<Remembered>,
    /// The names of the keys that were there.
    #[serde(default)]
    keys: BTreeSet<String>,
}

/// What a chain is held against.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) remembered: Option<Remembered>,
    /// Other nodes may have pruned what was written before; none: nothing.
    pub(crate) prunable_before: Option<Timestamp>,
}

impl ChainMemory {
    fn slot(&mut self, chain: ChainName) -> &mut Option<Remembered> {
        match chain {
            ChainName::Certificates => &mut self.certificates,
            ChainName::Journal => &mut self.journal,
        }
    }

    /// What is known of a chain that has had entries.
    pub(crate) fn of(&self, chain: ChainName) -> Option<&Remembered> {
        let known = match chain {
            ChainName::Certificates => &self.certificates,
            ChainName::Journal => &self.journal,
        };
        known.as_ref().filter(|known| known.head.seq > 0)
    }

    /// What a chain is held against while nodes keep its entries so long.
    pub(crate) fn expected(
        &self,
        chain: ChainName,
        keep: Option<Duration>,
        now: Timestamp,
    ) -> Expected {
        Expected {
            remembered: self.of(chain).cloned(),
            prunable_before: keep.map(|keep| now.saturating_sub(keep).saturating_add(TOLERANCE)),
        }
    }

    /// Takes over what was found to be right. Returns whether anything is new.
    pub(crate) fn learn(&mut self, chain: ChainName, sealed: &Sealed) -> bool {
        let slot = self.slot(chain);
        let mut marks = slot.as_ref().map(|known| known.marks.clone());
        if let Some(marks) = &mut marks {
            marks.retain(|Mark(seq, _)| *seq > sealed.begins.seq);
        }
        let learnt = Remembered {
            head: sealed.head,
            last_id: Some(sealed.last_id),
            pruned: sealed.begins,
            marks: marks.unwrap_or_default(),
        };
        let is_new = slot.as_ref() != Some(&learnt);
        *slot = Some(learnt);
        is_new
    }

    /// This node has pruned the chain itself, up to here.
    pub(crate) fn learn_pruned(&mut self, chain: ChainName, pruned: ChainHead) {
        if let Some(known) = self.slot(chain) {
            known.pruned = pruned;
            known.marks.retain(|Mark(seq, _)| *seq > pruned.seq);
        }
    }

    /// The entry to be marked, when it is time for one.
    pub(crate) fn unmarked(&self, chain: ChainName, now: Timestamp) -> Option<u64> {
        let known = self.of(chain)?;
        let Some(Mark(seq, at)) = known.marks.last() else {
            return Some(known.head.seq);
        };
        let next = Timestamp::from_micros(*at).saturating_add(BETWEEN_MARKS);
        (*seq < known.head.seq && next <= now).then_some(known.head.seq)
    }

    /// Remembers when an entry was written.
    pub(crate) fn mark(&mut self, chain: ChainName, seq: u64, at: Timestamp) {
        let Some(known) = self.slot(chain) else {
            return;
        };
        if known.marks.len() >= MAX_MARKS {
            let mut odd = false;
            known.marks.retain(|_| {
                odd = !odd;
                odd
            });
        }
        known.marks.push(Mark(seq, at.as_micros()));
    }

    /// Whether this key is a new one, which is remembered from now on.
    pub(crate) fn meet(&mut self, key: &str) -> bool {
        self.keys.len() < MAX_KEYS && self.keys.insert(key.to_owned())
    }
}

impl Remembered {
    /// An entry up to this place that nobody may have pruned yet, and when it was written.
    pub(crate) fn too_young(
        &self,
        pruned: u64,
        prunable_before: Option<Timestamp>,
    ) -> Option<(u64, Timestamp)> {
        let last = self.marks.iter().rev().find(|Mark(seq, _)| *seq <= pruned);
        last.map(|Mark(seq, at)| (*seq, Timestamp::from_micros(*at)))
            .filter(|(_, at)| prunable_before.is_none_or(|before| *at >= before))
    }
}

#[cfg(test)]
mod tests {
    use layover_retention::ChainHash;

    use super::*;

    const JOURNAL: ChainName = ChainName::Journal;
    const DAY: Duration = Duration::from_secs(86_400);

    fn at(days: u64) -> Timestamp {
        let start = Timestamp::from_micros(1_000);
        start.saturating_add(DAY.saturating_mul(u32::try_from(days).unwrap()))
    }

    fn head(seq: u64) -> ChainHead {
        ChainHead {
            seq,
            hash: ChainHash::from_bytes([7; 32]),
        }
    }

    fn sealed(seq: u64, begins: u64) -> Sealed {
        Sealed {
            entries: 1,
            more: false,
            found: head(seq),
            head: head(seq),
            begins: head(begins),
            last_id: i64::try_from(seq).unwrap(),
        }
    }

    /// A day of ten entries each.
    fn remembering(days: u64) -> ChainMemory {
        let mut memory = ChainMemory::default();
        for day in 1..=days {
            for seq in 0..10 {
                assert!(memory.learn(JOURNAL, &sealed(day * 10 + seq, 0)));
                if let Some(seq) = memory.unmarked(JOURNAL, at(day)) {
                    memory.mark(JOURNAL, seq, at(day));
                }
            }
        }
        memory
    }

    #[test]
    fn what_is_kept_is_read_back_equal_and_so_is_the_form_before() {
        let mut memory = remembering(3);
        assert!(memory.meet("key") && !memory.meet("key"));
        let text = serde_json::to_string(&memory).unwrap();
        assert_eq!(serde_json::from_str::<ChainMemory>(&text).unwrap(), memory);
        let before = format!(r#"{{"journal":{{"seq":2,"hash":"{}"}}}}"#, "07".repeat(32));
        let before: ChainMemory = serde_json::from_str(&before).unwrap();
        let known = before.of(JOURNAL).unwrap();
        assert_eq!((known.head, known.pruned), (head(2), ChainHead::EMPTY));
        assert_eq!(before.of(ChainName::Certificates), None);
    }

    #[test]
    fn a_day_has_one_mark_and_what_is_pruned_none() {
        let mut memory = remembering(3);
        let marks = |memory: &ChainMemory| memory.of(JOURNAL).unwrap().marks.clone();
        let expected = [10, 20, 30].map(|seq| Mark(seq, at(seq / 10).as_micros()));
        assert_eq!(marks(&memory), expected);
        assert!(!memory.learn(JOURNAL, &sealed(39, 0)), "nothing is new");
        assert!(memory.learn(JOURNAL, &sealed(40, 15)));
        assert_eq!(marks(&memory), expected[1..]);
        memory.learn_pruned(JOURNAL, head(20));
        assert_eq!(marks(&memory), expected[2..]);
    }

    #[test]
    fn only_what_is_old_enough_may_have_been_pruned() {
        let memory = remembering(3);
        let known = memory.of(JOURNAL).unwrap();
        // Nobody knows of a younger one than day 1 up to place 19.
        for (pruned, before, refused) in [
            (9, Some(at(0)), None),
            (19, Some(at(1)), Some(10)),
            (19, Some(at(2)), None),
            (20, Some(at(2)), Some(20)),
            (99, Some(at(3)), Some(30)),
            (99, Some(at(4)), None),
            (99, None, Some(30)),
        ] {
            let found = known.too_young(pruned, before).map(|(seq, _)| seq);
            assert_eq!(found, refused, "{pruned} {before:?}");
        }
    }

    #[test]
    fn marks_are_bounded_and_reach_back() {
        let memory = remembering(5_000);
        let known = memory.of(JOURNAL).unwrap();
        assert!(known.marks.len() <= MAX_MARKS);
        assert_eq!(known.marks.first(), Some(&Mark(10, at(1).as_micros())));
        assert_eq!(
            known.marks.last(),
            Some(&Mark(50_000, at(5_000).as_micros()))
        );
    }
}
