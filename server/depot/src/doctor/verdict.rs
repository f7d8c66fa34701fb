//! What is wrong, from what was seen. Pure: rows in, findings out.

use layover_retention::Timestamp;
use serde::Serialize;

use super::advice::{self, Advice};
use super::is_of;
use super::ports::{PortPart, PortTally};
use super::sign::{SeenSign, Sign};
use crate::{Account, AccountName, AllowedNetwork, Network, Protocol};

/// Addresses that are told where the account itself was not seen.
const MAX_TRIED: usize = 10;

/// What is the partner's to know of us.
#[derive(Clone, Debug, Default)]
pub struct OurSide {
    /// The name, or address, by which partners reach us.
    pub server: Option<String>,
    /// Ports of passive data connections.
    pub passive_ports: Option<(u16, u16)>,
}

/// What of an account counts here.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its name.
    pub name: AccountName,
    /// Whether anybody may log in as it.
    pub enabled: bool,
    /// From where.
    pub networks: Vec<AllowedNetwork>,
}

impl From<Account> for Examined {
    fn from(account: Account) -> Self {
        Self {
            name: account.name,
            enabled: account.enabled,
            networks: account.networks,
        }
    }
}

/// Everything that a verdict is made of.
#[derive(Clone, Debug)]
pub struct Chart {
    pub(super) account: Examined,
    /// The account's own, and nobody's from its addresses.
    pub(super) signs: Vec<SeenSign>,
    /// Nobody's from elsewhere, the newest first.
    pub(super) elsewhere: Vec<SeenSign>,
    pub(super) last_login_at: Option<Timestamp>,
    pub(super) ours: OurSide,
    pub(super) now: Timestamp,
}

impl Chart {
    /// Of `account`, with its own signs, and nobody's of all addresses.
    #[must_use]
    pub fn new(
        account: Examined,
        mut signs: Vec<SeenSign>,
        nobodys: Vec<SeenSign>,
        last_login_at: Option<Timestamp>,
        ours: OurSide,
        now: Timestamp,
    ) -> Self {
        let came_from: Vec<Network> = signs
            .iter()
            .filter(|sign| sign.sign == Sign::LoggedIn)
            .map(|sign| sign.network)
            .collect();
        let (of_account, elsewhere): (Vec<_>, Vec<_>) = nobodys.into_iter().partition(|sign| {
            came_from.contains(&sign.network) || is_of(&account, sign.network, now)
        });
        signs.extend(of_account);
        Self {
            account,
            signs,
            elsewhere,
            last_login_at,
            ours,
            now,
        }
    }

    fn last_login(&self) -> Option<Timestamp> {
        self.last_login_at.max(self.last(Sign::LoggedIn))
    }

    fn last(&self, good: Sign) -> Option<Timestamp> {
        let of_it = self.signs.iter().filter(|seen| seen.sign == good);
        of_it.map(|seen| seen.last_at).max()
    }
}

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
    /// How often, since it began.
    pub times: u64,
    /// How often the opposite was seen since then.
    pub good_times: u64,
    /// When it began.
    pub first_at: Timestamp,
    /// When it was seen last.
    pub last_at: Timestamp,
    /// Ports to which nothing came.
    pub missed_ports: Option<PortSpan>,
    /// Ports to which something came.
    pub reached_ports: Option<PortSpan>,
    /// What was said: algorithms, fingerprints, addresses.
    pub told: Vec<String>,
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
}

/// What there is to say of an account's connections.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Whose.
    pub account: AccountName,
    /// What is wrong before all.
    pub verdict: Option<Finding>,
    /// What else there is, the newest first.
    pub further: Vec<Finding>,
    /// When somebody logged in last.
    pub last_login_at: Option<Timestamp>,
    /// When a file was transferred whole, as far as signs go back.
    pub last_transfer_at: Option<Timestamp>,
    /// Nothing was ever seen of the account, nor of its addresses.
    pub never_seen: bool,
    /// Who came from addresses that are not the account's, the newest first; only where
    /// nobody ever logged in.
    pub tried: Vec<Tried>,
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
    // A connection from elsewhere that ended before it was looked at left only its absence.
    let from_elsewhere: Vec<_> = findings
        .iter()
        .filter(|one| one.sign == Sign::DataFromElsewhere)
        .map(|one| (one.network, one.protocol, one.last_at, one.times))
        .collect();
    findings.retain(|one| {
        let is_its_cause = |(network, protocol, last_at, times): &(_, _, Timestamp, u64)| {
            (network, protocol) == (&one.network, &one.protocol)
                && *last_at >= one.first_at
                && times.saturating_mul(3) >= one.times
        };
        one.sign != Sign::NoDataConnection || !from_elsewhere.iter().any(is_its_cause)
    });
    findings.sort_by_key(|one| std::cmp::Reverse(one.last_at));
    let leading = findings
        .iter()
        .enumerate()
        .filter(|(_, one)| may_lead(chart, one))
        .max_by_key(|(at, one)| (weight(one.sign), one.last_at, std::cmp::Reverse(*at)))
        .map(|(at, _)| at);
    let verdict = leading.map(|at| findings.remove(at));
    let last_login_at = chart.last_login();
    let never_seen = last_login_at.is_none() && chart.signs.is_empty();
    let (tried, what_to_check) = match last_login_at {
        None => (tried(chart), advice::what_to_check(chart)),
        Some(_) => (Vec::new(), Vec::new()),
    };
    Diagnosis {
        account: chart.account.name.clone(),
        verdict,
        further: findings,
        last_login_at,
        last_transfer_at: chart.last(Sign::Transferred),
        never_seen,
        tried,
        what_to_check,
    }
}

/// Whether it can be what keeps the partner out: at an address that is none of its own only
/// while nobody has logged in since, for else it may be anybody who knows the name.
fn may_lead(chart: &Chart, finding: &Finding) -> bool {
    let came_from =
        |seen: &SeenSign| seen.sign == Sign::LoggedIn && seen.network == finding.network;
    is_of(&chart.account, finding.network, chart.now)
        || chart.signs.iter().any(came_from)
        || chart.last_login().is_none_or(|at| at < finding.first_at)
}

fn tried(chart: &Chart) -> Vec<Tried> {
    let tried = chart.elsewhere.iter().take(MAX_TRIED);
    tried
        .map(|seen| Tried {
            network: seen.network,
            sign: seen.sign,
            times: seen.times,
            last_at: seen.last_at,
            told: seen.detail.told.clone(),
        })
        .collect()
}

/// Whether it says that something failed, and not what.
const fn is_vague(sign: Sign) -> bool {
    matches!(sign, Sign::NoLogin | Sign::TlsBroken | Sign::NoHandshake)
}

/// What leads: of two findings the one that names a cause.
const fn weight(sign: Sign) -> u8 {
    match sign {
        Sign::NoLogin => 0,
        Sign::TlsBroken | Sign::NoHandshake | Sign::Repeats | Sign::ConnectionLost => 1,
        _ => 2,
    }
}

/// How often it must be seen before it means anything.
const fn fewest_times(sign: Sign) -> u64 {
    match sign {
        // Monitors and scanners do no more; people look with telnet.
        Sign::NoLogin => 3,
        Sign::TlsBroken | Sign::NoHandshake | Sign::ConnectionLost | Sign::DataBroken => 2,
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
    let ports = match good {
        Sign::LoggedIn if has_come_in(chart, seen) => return None,
        Sign::DataArrived => Some(judge_ports(chart, seen)?),
        Sign::Transferred if is_outweighed(seen) => return None,
        _ => None,
    };
    let sureness = match ports.as_ref().map(|ports| ports.sureness) {
        Some(sureness) => sureness,
        None => advice::sureness(seen),
    };
    let (missed_ports, reached_ports) = match ports {
        Some(ports) => (ports.missed, ports.reached),
        None => (None, None),
    };
    let mut finding = Finding {
        sign: seen.sign,
        what: String::new(),
        side: Side::Partner,
        sureness,
        to_the_partner: None,
        what_to_do: None,
        network: seen.network,
        protocol: seen.protocol,
        times: seen.times,
        good_times: seen.good_times,
        first_at: seen.first_at,
        last_at: seen.last_at,
        missed_ports,
        reached_ports,
        told: seen.detail.told.clone(),
    };
    let Advice {
        what,
        side,
        to_the_partner,
        what_to_do,
    } = advice::of(chart, &finding);
    finding.what = what;
    finding.side = side;
    finding.to_the_partner = to_the_partner;
    finding.what_to_do = what_to_do;
    Some(finding)
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

struct Ports {
    sureness: Sureness,
    missed: Option<PortSpan>,
    reached: Option<PortSpan>,
}

/// Which ports are not reached, if it is more than a mishap.
fn judge_ports(chart: &Chart, seen: &SeenSign) -> Option<Ports> {
    let same = |other: &&SeenSign| {
        other.sign == Sign::DataArrived
            && (&other.account, other.network, other.protocol)
                == (&seen.account, seen.network, seen.protocol)
    };
    let arrived = chart.signs.iter().find(same);
    let reached = arrived.and_then(|seen| seen.detail.ports.as_ref());
    let tally = seen.detail.ports.as_ref();
    let by_times = |times| match times {
        0 | 1 => Sureness::Possible,
        2 => Sureness::Likely,
        _ => Sureness::Certain,
    };
    // Since it began nothing came to any port.
    if seen.good_times == 0 {
        if seen.times < 2 && arrived.is_some() {
            return None;
        }
        return Some(Ports {
            sureness: by_times(seen.times),
            missed: tally.and_then(|tally| PortSpan::of(&tally.parts)),
            reached: None,
        });
    }
    let tally = tally?;
    let is_shut = |part: &&PortPart| {
        let known = reached.and_then(|reached| reached.part(tally, part.part));
        match known {
            None => true,
            Some(known) => part.times >= 3 && known.last_at_us < part.last_at_us,
        }
    };
    let shut: Vec<_> = tally.parts.iter().filter(is_shut).collect();
    let times: u64 = shut.iter().map(|part| part.times).sum();
    if times < 2 {
        return None;
    }
    let is_open = |part: &&PortPart| !shut.iter().any(|shut| shut.part == part.part);
    let open: Vec<_> = reached.map_or_else(Vec::new, |reached| {
        reached.parts.iter().filter(is_open).collect()
    });
    let is_split = shut
        .iter()
        .all(|shut| open.iter().all(|open| open.part < shut.part))
        || shut
            .iter()
            .all(|shut| open.iter().all(|open| open.part > shut.part));
    let sureness = match is_split {
        true => by_times(times),
        false => by_times(times).min(Sureness::Likely),
    };
    Some(Ports {
        sureness,
        missed: PortSpan::of(shut.iter().copied()),
        reached: PortSpan::of(open.iter().copied()),
    })
}

#[cfg(test)]
mod tests;
