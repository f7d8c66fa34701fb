//! Which data ports are reached, and how sure that is.

use super::{PortSpan, Sureness, is_mishap, is_outweighed};
use crate::doctor::chart::Chart;
use crate::doctor::ports::PortPart;
use crate::doctor::sign::SeenSign;

/// What is known of the ports of one partner.
pub(super) struct Reach {
    pub(super) sureness: Sureness,
    /// Ranges of ports to which nothing comes: never between those that are reached.
    pub(super) missed: Vec<PortSpan>,
    /// Ports to which something comes; none while there is no pattern in it.
    pub(super) reached: Option<PortSpan>,
}

impl Reach {
    /// Of ports of which none is reached.
    pub(super) fn of_none(seen: &SeenSign, sureness: Sureness) -> Self {
        let tally = seen.detail.ports.as_ref();
        Self {
            sureness,
            missed: tally.map_or_else(Vec::new, |tally| PortSpan::ranges(&tally.parts)),
            reached: None,
        }
    }
}

/// Which ports are not reached, if it is more than a mishap.
pub(super) fn reach(chart: &Chart, seen: &SeenSign) -> Option<Reach> {
    let arrived = chart.beside_it(seen, seen.sign.refuted_by()?);
    let tally = seen.detail.ports.as_ref();
    // Since it began nothing came to any port.
    if seen.good_times == 0 {
        if is_mishap(chart, seen) {
            return None;
        }
        return Some(Reach::of_none(seen, Sureness::by_times(seen.times)));
    }
    let (tally, reached) = (tally?, arrived.and_then(|seen| seen.detail.ports.as_ref()));
    let is_shut = |part: &&PortPart| {
        let known = reached.and_then(|reached| reached.part(tally, part.part));
        match known {
            None => true,
            Some(known) => part.times >= 3 && known.last_at_us < part.last_at_us,
        }
    };
    let shut: Vec<_> = tally.parts.iter().filter(is_shut).collect();
    let is_open = |part: &&PortPart| !shut.iter().any(|shut| shut.part == part.part);
    let open: Vec<_> = reached.map_or_else(Vec::new, |reached| {
        reached.parts.iter().filter(is_open).collect()
    });
    let (missed, came) = (times(&shut), times(&open));
    if missed < 2 {
        return None;
    }
    if !open.is_empty() && is_split(&shut, &open) {
        return Some(Reach {
            // By one that came, nobody knows whether the rest is open by now, too.
            sureness: Sureness::by_times(missed.min(came)),
            missed: PortSpan::ranges(shut),
            reached: PortSpan::of(open),
        });
    }
    // A firewall shuts ranges. What comes all over the range works again, or now and then.
    if is_outweighed(seen) {
        return None;
    }
    Some(Reach {
        sureness: Sureness::Possible,
        missed: Vec::new(),
        reached: None,
    })
}

fn times(parts: &[&PortPart]) -> u64 {
    parts.iter().map(|part| part.times).sum()
}

/// Whether one end of the range is shut and the other open.
fn is_split(shut: &[&PortPart], open: &[&PortPart]) -> bool {
    let below = |low: &[&PortPart], high: &[&PortPart]| {
        low.iter()
            .all(|low| high.iter().all(|high| low.part < high.part))
    };
    below(shut, open) || below(open, shut)
}
