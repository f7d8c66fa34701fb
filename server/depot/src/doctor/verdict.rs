//! What is wrong, from what was seen. Pure: rows in, findings out.

mod announced;
mod reach;

use std::collections::HashSet;

use layover_retention::Timestamp;
use serde::Serialize;

use super::advice::{self, Advice};
use super::change::is_changed_since;
use super::chart::Chart;
use super::ports::{PortPart, PortTally};
use super::sign::{SeenSign, Sign};
use super::{is_of, overlap};
use crate::gate::AdmitRefused;
use crate::{AccountName, Network, Protocol};
use announced::{Announcement, announcement};
use reach::{Reach, reach};

/// How often it must have failed at an address that is not the account's own before
/// something is wrong with the account: once or twice, it may be anybody.
const FEWEST_FROM_ELSEWHERE: u64 = 3;

/// Addresses that are told where the account itself was not seen.
const MAX_TRIED: usize = 10;

/// On whose side something must change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The partner's client or its network.
    Partner,
    /// Ours: the account, the settings.
    Ours,
    /// A network between, or either side's.
    Between,
}

/// What there is to say, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// There is a verdict.
    Wrong,
    /// There is one, and the account was changed since: the partner's next try will tell.
    Changed,
    /// Nothing is known that is the account's own.
    Unseen,
    /// Nobody has logged in, and what was seen does not say why.
    Unknown,
    /// Somebody has logged in, and nothing is wrong.
    Ok,
}

/// How sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sureness {
    /// It may be something else.
    Possible,
    /// Hardly anything else.
    Likely,
    /// It was said, or seen often, and nothing speaks against it.
    Certain,
}

impl Sureness {
    /// Of what is said of a data connection that does not come.
    pub(super) const fn by_times(times: u64) -> Self {
        match times {
            0 | 1 => Self::Possible,
            2 => Self::Likely,
            _ => Self::Certain,
        }
    }
}

/// Ports that were tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortSpan {
    /// The lowest.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
    /// How often one of them was tried.
    pub times: u64,
}

impl PortSpan {
    /// The ranges of parts: those that lie side by side are one.
    fn ranges<'a>(parts: impl IntoIterator<Item = &'a PortPart>) -> Vec<Self> {
        let mut ranges: Vec<(u32, Self)> = Vec::new();
        for part in parts {
            match ranges.last_mut() {
                Some((last, range)) if part.part <= last.saturating_add(1) => {
                    *last = part.part;
                    range.highest = range.highest.max(part.highest);
                    range.times = range.times.saturating_add(part.times);
                }
                _ => ranges.push((
                    part.part,
                    Self {
                        lowest: part.lowest,
                        highest: part.highest,
                        times: part.times,
                    },
                )),
            }
        }
        ranges.into_iter().map(|(_, range)| range).collect()
    }

    /// From the first of these ranges to the end of the last.
    fn around(ranges: &[Self]) -> Option<Self> {
        let (first, last) = (ranges.first()?, ranges.last()?);
        Some(Self {
            lowest: first.lowest,
            highest: last.highest,
            times: ranges.iter().map(|range| range.times).sum(),
        })
    }

    fn of<'a>(parts: impl IntoIterator<Item = &'a PortPart>) -> Option<Self> {
        let (lowest, highest, times) = PortTally::span(parts)?;
        Some(Self {
            lowest,
            highest,
            times,
        })
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was seen.
    pub sign: Sign,
    /// In a sentence, for the operator.
    pub what: String,
    /// On whose side.
    pub side: Side,
    /// How sure.
    pub sureness: Sureness,
    /// What to write to the partner; none where there is nothing that it could do.
    pub to_the_partner: Option<String>,
    /// What to do here; none where there is nothing.
    pub what_to_do: Option<String>,
    /// From where.
    pub network: Network,
    /// By which protocol; none before any was spoken.
    pub protocol: Option<Protocol>,
    /// An operator has changed what it speaks of since it was seen last.
    pub changed_since: bool,
    /// How often, since it began.
    pub times: u64,
    /// How often the opposite was seen since then.
    pub good_times: u64,
    /// When it began.
    pub first_at: Timestamp,
    /// When it was seen last.
    pub last_at: Timestamp,
    /// Ports to which nothing came: the lowest and the highest of all.
    pub missed_ports: Option<PortSpan>,
    /// The ranges of them: between two nothing was tried.
    pub missed_ranges: Vec<PortSpan>,
    /// Ports to which something came.
    pub reached_ports: Option<PortSpan>,
    /// What was said: algorithms, fingerprints, addresses.
    pub told: Vec<String>,
    /// It is of the account's own client, as far as an address tells.
    #[serde(skip)]
    pub(super) is_own: bool,
}

/// Somebody tried from there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// From where.
    pub network: Network,
    /// What came of it.
    pub sign: Sign,
    /// How often.
    pub times: u64,
    /// When last.
    pub last_at: Timestamp,
    /// What more there is: why the gate refused it.
    pub told: Vec<String>,
    /// What to do here if it was the partner; none where nothing here would help.
    pub what_to_do: Option<String>,
}

/// What there is to say of an account's connections.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Whose.
    pub account: AccountName,
    /// In a word.
    pub state: Condition,
    /// In a sentence.
    pub summary: String,
    /// What is wrong before all.
    pub verdict: Option<Finding>,
    /// What else there is, the newest first.
    pub further: Vec<Finding>,
    /// When somebody logged in last.
    pub last_login_at: Option<Timestamp>,
    /// When a file was transferred whole, as far as signs go back.
    pub last_transfer_at: Option<Timestamp>,
    /// No login is known, and nothing that is kept is the account's own: not in its name, not
    /// from networks that it names.
    pub never_seen: bool,
    /// Who came from addresses that are not the account's, the newest first; only where
    /// nobody ever logged in. Without those that are other accounts'.
    pub tried: Vec<Tried>,
    /// How many addresses of other accounts are left out there.
    pub tried_of_others: usize,
    /// What the operator may look at where nothing was seen.
    pub what_to_check: Vec<String>,
}

/// What is wrong, as far as was seen.
#[must_use]
pub fn diagnose(chart: &Chart) -> Diagnosis {
    let mut findings: Vec<_> = chart
        .signs
        .iter()
        .filter_map(|seen| judge(chart, seen))
        .collect();
    let has_cause: Vec<_> = findings
        .iter()
        .filter(|one| !is_vague(one.sign))
        .map(|one| (one.network, one.protocol))
        .collect();
    // A vague sign beside one that names the cause says nothing new.
    findings.retain(|one| !is_vague(one.sign) || !has_cause.contains(&(one.network, one.protocol)));
    findings.sort_by_key(|one| std::cmp::Reverse(one.last_at));
    let mut told = HashSet::new();
    // What PASV and EPSV both say is said once.
    findings.retain(|one| one.sign != Sign::NoDataConnection || told.insert(one.network));
    let leading = findings
        .iter()
        .enumerate()
        .filter(|(_, one)| may_lead(chart, one))
        .max_by_key(|(at, one)| {
            // Whoever knows the name must not hide what the partner sees.
            (
                one.is_own,
                !one.changed_since,
                weight(one.sign),
                one.last_at,
                std::cmp::Reverse(*at),
            )
        })
        .map(|(at, _)| at);
    let verdict = leading.map(|at| findings.remove(at));
    let last_login_at = chart.last_login();
    let is_proven = |one: &Finding| one.is_own || one.times >= FEWEST_FROM_ELSEWHERE;
    let never_seen = last_login_at.is_none() && chart.signs.is_empty();
    let state = match (&verdict, last_login_at) {
        (Some(finding), _) if finding.changed_since => Condition::Changed,
        (Some(finding), _) if is_proven(finding) => Condition::Wrong,
        (Some(_), _) => Condition::Unknown,
        (None, _) if never_seen => Condition::Unseen,
        (None, None) => Condition::Unknown,
        (None, Some(_)) => Condition::Ok,
    };
    let ((tried, tried_of_others), what_to_check) = match last_login_at {
        None => (tried(chart), advice::what_to_check(chart)),
        Some(_) => ((Vec::new(), 0), Vec::new()),
    };
    Diagnosis {
        account: chart.account.name.clone(),
        state,
        summary: match &verdict {
            Some(finding) => finding.what.clone(),
            None => advice::summary(chart, state),
        },
        verdict,
        further: findings,
        last_login_at,
        last_transfer_at: chart.last(Sign::Transferred),
        never_seen,
        tried,
        tried_of_others,
        what_to_check,
    }
}

/// Whether it can be what keeps the partner out: at an address that is none of its own only
/// while nobody has logged in since, for else it may be anybody who knows the name.
fn may_lead(chart: &Chart, finding: &Finding) -> bool {
    finding.is_own
        || match chart.last_login() {
            None => true,
            Some(at) => at < finding.first_at && finding.times >= FEWEST_FROM_ELSEWHERE,
        }
}

/// Who tried from elsewhere, and how many addresses of other accounts are not among them.
fn tried(chart: &Chart) -> (Vec<Tried>, usize) {
    let is_others = |seen: &&SeenSign| {
        let mut others = chart.others.iter();
        others.any(|place| overlap(place.network, seen.network))
    };
    let (others, strangers): (Vec<_>, Vec<_>) = chart.elsewhere.iter().partition(is_others);
    let others: HashSet<_> = others.iter().map(|seen| seen.network).collect();
    let tried = strangers.into_iter().take(MAX_TRIED).map(|seen| Tried {
        network: seen.network,
        sign: seen.sign,
        times: seen.times,
        last_at: seen.last_at,
        told: seen.detail.told.clone(),
        what_to_do: advice::if_it_was_the_partner(chart, seen),
    });
    (tried.collect(), others.len())
}

/// Whether it says that something failed, and not what.
const fn is_vague(sign: Sign) -> bool {
    matches!(sign, Sign::NoLogin | Sign::TlsBroken | Sign::NoHandshake)
}

/// What leads: of two findings the one that names a cause.
const fn weight(sign: Sign) -> u8 {
    match sign {
        Sign::NoLogin => 0,
        Sign::TlsBroken
        | Sign::NoHandshake
        | Sign::Repeats
        | Sign::ConnectionLost
        | Sign::Stalled => 1,
        _ => 2,
    }
}

/// How often it must be seen before it means anything.
const fn fewest_times(sign: Sign) -> u64 {
    match sign {
        // Monitors and scanners do no more; people look with telnet.
        Sign::NoLogin => 3,
        Sign::TlsBroken
        | Sign::NoHandshake
        | Sign::SilentOnImplicit
        | Sign::ConnectionLost
        | Sign::DataBroken => 2,
        _ => 1,
    }
}

fn judge(chart: &Chart, seen: &SeenSign) -> Option<Finding> {
    let good = seen.sign.refuted_by()?;
    if seen.times < fewest_times(seen.sign) {
        return None;
    }
    // Monitors connect and leave, also beside a partner that works by another protocol.
    if seen.sign == Sign::NoLogin && chart.last_login().is_some_and(|at| at > seen.first_at) {
        return None;
    }
    if works_since(chart, seen, good) {
        return None;
    }
    let missed_data = matches!(seen.sign, Sign::NoDataConnection | Sign::AddressUnreached);
    if missed_data && is_from_elsewhere(chart, seen) {
        return None;
    }
    let announcement = match seen.sign {
        Sign::AddressUnreached => announcement(chart, seen)?,
        _ => Announcement::Unsuspicious,
    };
    let (sign, reach) = match announcement {
        Announcement::Doubtful(sureness) => (seen.sign, Some(Reach::of_none(seen, sureness))),
        // Nothing speaks against the address: the ports then.
        Announcement::Unsuspicious if missed_data => {
            (Sign::NoDataConnection, Some(reach(chart, seen)?))
        }
        Announcement::Unsuspicious if is_shut_out(chart, seen) => (Sign::AccountDisabled, None),
        Announcement::Unsuspicious => (seen.sign, None),
    };
    let (sureness, missed_ranges, reached_ports) = match reach {
        Some(reach) => (reach.sureness, reach.missed, reach.reached),
        None => (advice::sureness(seen), Vec::new(), None),
    };
    let is_shared = chart.is_shared(seen);
    let is_own = chart.is_its_own(seen.network) && !is_shared;
    let mut finding = Finding {
        sign,
        what: String::new(),
        side: Side::Partner,
        // Nobody knows whose client it is.
        sureness: match is_own {
            true => sureness,
            false => Sureness::Possible,
        },
        to_the_partner: None,
        what_to_do: None,
        network: seen.network,
        protocol: seen.protocol,
        changed_since: is_changed_since(chart, seen),
        times: seen.times,
        good_times: seen.good_times,
        first_at: seen.first_at,
        last_at: seen.last_at,
        missed_ports: PortSpan::around(&missed_ranges),
        missed_ranges,
        reached_ports,
        told: seen.detail.told.clone(),
        is_own,
    };
    let advice = advice::of(chart, seen, &finding);
    let advice = match is_own {
        true => advice,
        false => advice::of_somebody(chart, &finding, is_shared, advice),
    };
    let advice = match finding.changed_since {
        true => advice::changed_since(advice),
        false => advice,
    };
    let Advice {
        what,
        side,
        to_the_partner,
        what_to_do,
    } = advice;
    finding.what = what;
    finding.side = side;
    finding.to_the_partner = to_the_partner;
    finding.what_to_do = what_to_do;
    Some(finding)
}

/// Whether the gate refuses the address because the account is disabled: its networks do not
/// count then.
fn is_shut_out(chart: &Chart, seen: &SeenSign) -> bool {
    let why = seen.detail.told.last().map(String::as_str);
    seen.sign == Sign::AddressRefused
        && why == Some(AdmitRefused::NotAllowed.as_str())
        && !chart.account.enabled
        && is_of(&chart.account, seen.network, chart.now)
}

/// Whether what failed has gone well since.
fn works_since(chart: &Chart, seen: &SeenSign, good: Sign) -> bool {
    let is_refuted = seen.good_at.is_some_and(|at| at > seen.last_at);
    let since = |sign| {
        let other = chart.beside_it(seen, sign);
        other.is_some_and(|other| other.last_at > seen.last_at)
    };
    match seen.sign {
        Sign::DataFromElsewhere => is_refuted || is_mishap(chart, seen),
        // The client changed to passive mode, or we to active mode; it protects its data now.
        Sign::ActiveRefused | Sign::DataUnprotected => is_refuted || since(Sign::Transferred),
        Sign::ActiveFailed => since(Sign::DataArrived) || is_outweighed(seen),
        _ => match good {
            Sign::LoggedIn => has_come_in(chart, seen),
            Sign::Transferred => is_outweighed(seen),
            _ => false,
        },
    }
}

/// Whether it was seen once, of somebody whose data connections come.
fn is_mishap(chart: &Chart, seen: &SeenSign) -> bool {
    let arrives = || chart.beside_it(seen, Sign::DataArrived).is_some();
    seen.times < 2 && seen.good_times == 0 && arrives()
}

/// Whether a missed data connection came from another address: one that ended before it was
/// looked at left only its absence. When they come from the right one, that is over, too.
fn is_from_elsewhere(chart: &Chart, missed: &SeenSign) -> bool {
    let Some(elsewhere) = chart.beside_it(missed, Sign::DataFromElsewhere) else {
        return false;
    };
    let is_its_cause = elsewhere.last_at >= missed.first_at
        && elsewhere.times.saturating_mul(3) >= missed.times
        && !is_mishap(chart, elsewhere);
    let has_ended = elsewhere.good_at.filter(|at| *at > elsewhere.last_at);
    is_its_cause && has_ended.is_none_or(|at| missed.last_at < at)
}

/// Whether somebody has logged in since: from there, or for the first time from another
/// address that the partner has moved to.
fn has_come_in(chart: &Chart, seen: &SeenSign) -> bool {
    let from_there = seen.good_at.is_some_and(|at| at > seen.last_at);
    let since = |login: &SeenSign| {
        login.sign == Sign::LoggedIn
            && login.protocol == seen.protocol
            && login.first_at > seen.last_at
    };
    from_there || chart.signs.iter().any(since)
}

/// Whether transfers succeed, but for a few.
fn is_outweighed(seen: &SeenSign) -> bool {
    let works_now = seen.good_at.is_some_and(|at| at > seen.last_at);
    let is_rare = seen.times.saturating_mul(10) < seen.good_times;
    // A success ends what was repeated in vain; of the rest it takes some, or one in two that
    // fail would be forgotten each time.
    let is_over = seen.times < 3
        || seen.sign == Sign::Repeats
        || seen.times.saturating_mul(3) <= seen.good_times;
    is_rare || (works_now && is_over)
}

#[cfg(test)]
mod tests;
