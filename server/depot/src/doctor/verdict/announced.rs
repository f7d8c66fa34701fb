//! Whether the address that PASV tells keeps data connections from coming. EPSV tells none,
//! so that what it does speaks for or against the address.

use super::{Sureness, is_mishap};
use crate::Network;
use crate::doctor::chart::Chart;
use crate::doctor::sign::{SeenSign, Sign};

/// What is to be said of the address that PASV told.
pub(super) enum Announcement {
    /// It is the first thing to look at, as sure as this.
    Doubtful(Sureness),
    /// Nothing speaks against it.
    Unsuspicious,
}

/// What keeps data connections of PASV from coming; none where that is over, or said of EPSV.
pub(super) fn announcement(chart: &Chart, missed: &SeenSign) -> Option<Announcement> {
    use Announcement::{Doubtful, Unsuspicious};
    let Some(announced) = missed.detail.announced else {
        return Some(Unsuspicious);
    };
    if is_told_by_epsv(chart, missed) || is_mishap(chart, missed) {
        return None;
    }
    let by_pasv = chart.beside_it(missed, Sign::PasvArrived);
    if let Some(came) = by_pasv {
        // The address has served.
        if came.detail.announced == Some(announced) {
            return Some(Unsuspicious);
        }
        // Another one is told by now, and serves.
        if came.last_at > missed.last_at {
            return None;
        }
    }
    let by_pasv_at = by_pasv.map(|came| came.last_at);
    let by_epsv = chart.beside_it(missed, Sign::DataArrived).filter(|came| {
        let is_of_epsv = by_pasv_at.is_none_or(|at| at < came.last_at);
        is_of_epsv && came.last_at >= missed.first_at
    });
    let peer = match missed.network {
        Network::Block(block) => block.addr(),
        Network::Any => return Some(Unsuspicious),
    };
    let by_times = Sureness::by_times(missed.times);
    Some(match by_epsv {
        Some(came) if came.first_at <= missed.last_at => Doubtful(by_times),
        // Whatever it was, it may be mended since.
        Some(_) => Doubtful(Sureness::Possible),
        None if announced.is_out_of_reach(peer) => Doubtful(by_times),
        None if announced.is_without_nat() => Doubtful(by_times.min(Sureness::Likely)),
        // Behind NAT it is another address where all is well.
        None => Unsuspicious,
    })
}

/// Whether EPSV failed as well: it is not the address then.
fn is_told_by_epsv(chart: &Chart, missed: &SeenSign) -> bool {
    let by_epsv = chart.beside_it(missed, Sign::NoDataConnection);
    by_epsv.is_some_and(|epsv| {
        epsv.last_at >= missed.first_at && epsv.times.saturating_mul(3) >= missed.times
    })
}
