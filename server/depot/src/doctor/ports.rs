//! Which ports of the passive range were reached: by parts of the range, because a
//! firewall opens or closes ranges and not ports.

use layover_retention::Timestamp;
use serde::{Deserialize, Serialize};

/// Parts that a range is told in.
const MAX_PARTS: u32 = 16;

/// Counts by parts of the passive range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTally {
    /// The range's first port.
    pub first: u16,
    /// Its last.
    pub last: u16,
    /// In the order of ports, those of which anything is known; at most 16.
    pub parts: Vec<PortPart>,
}

/// A part of the range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortPart {
    /// Which, from 0.
    pub part: u32,
    /// How often.
    pub times: u64,
    /// The lowest port that it was.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
    /// When last, in microseconds since 1970.
    pub last_at_us: i64,
}

impl PortTally {
    /// One port of the range `first..=last`.
    pub(super) fn of(port: u16, (first, last): (u16, u16), at: Timestamp) -> Self {
        let ports = u32::from(last.saturating_sub(first)) + 1;
        let parts = ports.min(MAX_PARTS);
        let offset = u32::from(port.saturating_sub(first));
        let part = (offset.saturating_mul(parts) / ports).min(parts.saturating_sub(1));
        Self {
            first,
            last,
            parts: vec![PortPart {
                part,
                times: 1,
                lowest: port,
                highest: port,
                last_at_us: at.as_micros(),
            }],
        }
    }

    /// What came later is added; a range that was changed begins anew.
    pub(super) fn merge(&mut self, newer: Self) {
        if (self.first, self.last) != (newer.first, newer.last) {
            *self = newer;
            return;
        }
        for part in newer.parts {
            match self.parts.iter_mut().find(|known| known.part == part.part) {
                Some(known) => {
                    known.times = known.times.saturating_add(part.times);
                    known.lowest = known.lowest.min(part.lowest);
                    known.highest = known.highest.max(part.highest);
                    known.last_at_us = known.last_at_us.max(part.last_at_us);
                }
                None => self.parts.push(part),
            }
        }
        self.parts.sort_by_key(|part| part.part);
        self.parts.truncate(MAX_PARTS as usize);
    }

    /// The part that this one is of, if it is of the same range.
    pub(super) fn part(&self, of: &Self, part: u32) -> Option<&PortPart> {
        let is_same = (self.first, self.last) == (of.first, of.last);
        let mut parts = self.parts.iter();
        parts.find(|known| is_same && known.part == part)
    }

    /// The lowest and the highest port of `parts`, and how often.
    pub(super) fn span<'a>(
        parts: impl IntoIterator<Item = &'a PortPart>,
    ) -> Option<(u16, u16, u64)> {
        parts.into_iter().fold(None, |span, part| {
            let (low, high, times) = span.unwrap_or((part.lowest, part.highest, 0));
            let times = part.times.saturating_add(times);
            Some((low.min(part.lowest), high.max(part.highest), times))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn every_port_has_a_part_and_there_are_at_most_sixteen() {
        for (first, last, parts) in [
            (31000, 32000, 16),
            (31000, 31000, 1),
            (31000, 31007, 8),
            (0, u16::MAX, 16),
        ] {
            let mut all = PortTally::of(first, (first, last), at(0));
            for port in first..=last {
                all.merge(PortTally::of(port, (first, last), at(1)));
            }
            assert_eq!(all.parts.len(), parts, "{first}-{last}");
            let (low, high, times) = PortTally::span(&all.parts).unwrap();
            assert_eq!((low, high), (first, last));
            assert_eq!(times, u64::from(last - first) + 2);
        }
    }

    #[test]
    fn another_range_begins_anew() {
        let mut tally = PortTally::of(31000, (31000, 31999), at(0));
        let newer = PortTally::of(41000, (41000, 41999), at(1));
        tally.merge(newer.clone());
        assert_eq!(tally, newer);
        assert_eq!(newer.part(&PortTally::of(1, (1, 9), at(0)), 0), None);
    }
}
