//! What operators have changed since something was seen: until the partner tries again, nobody
//! knows whether it helped.

use layover_retention::Timestamp;

use super::chart::Chart;
use super::sign::{SeenSign, Sign};
use super::{is_of, overlap};
use crate::gate::AdmitRefused;

/// A change of an account, as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// What was done, in one word: `account.set`.
    pub action: String,
    /// What was set, where the word does not say it: `max_sessions`.
    pub fields: Vec<String>,
}

/// Which changes speak of a sign: actions, and fields of `account.set`.
fn speaking(seen: &SeenSign) -> (&'static [&'static str], &'static [&'static str]) {
    let repeated = seen.detail.repeated.last();
    match seen.sign {
        Sign::SessionLimit => (&[], &["max_sessions"]),
        Sign::KeyRefused => (&["account.key.add", "account.certificate.add"], &["auth"]),
        Sign::PasswordRefused => (&["account.password"], &["auth"]),
        Sign::LoginRefused => (
            &[
                "account.password",
                "account.key.add",
                "account.certificate.add",
            ],
            &["auth"],
        ),
        Sign::AddressRefused => (
            &["account.allow.add", "account.allow.set", "account.enable"],
            &[],
        ),
        Sign::NotResumed => (&[], &["session_reuse"]),
        Sign::NoCloseNotify => (&[], &["tolerant_completion"]),
        Sign::Repeats => match repeated.map(|one| one.why.as_str()) {
            Some("permission") => (
                &["account.permission.set", "account.permission.remove"],
                &["read_only"],
            ),
            Some("quota") => (&[], &["quota_bytes"]),
            _ => (&[], &[]),
        },
        _ => (&[], &[]),
    }
}

/// Whether what was seen may be over by what we have changed since.
pub(super) fn is_changed_since(chart: &Chart, seen: &SeenSign) -> bool {
    let account = &chart.account;
    let why = seen.detail.told.last().map(String::as_str);
    match seen.sign {
        Sign::AccountDisabled => account.enabled,
        Sign::ProtocolRefused => seen
            .protocol
            .is_some_and(|protocol| account.protocols.contains(protocol)),
        Sign::NetworkRefused => may_come(chart, seen),
        Sign::AddressRefused if why == Some(AdmitRefused::Banned.as_str()) => {
            !chart.bans.iter().any(|ban| overlap(*ban, seen.network))
        }
        Sign::AddressRefused => {
            let is_not_allowed = why == Some(AdmitRefused::NotAllowed.as_str());
            is_not_allowed && account.enabled && may_come(chart, seen) && has_change(chart, seen)
        }
        _ => has_change(chart, seen),
    }
}

fn may_come(chart: &Chart, seen: &SeenSign) -> bool {
    let mut networks = chart.account.networks.iter();
    let any = networks.any(|allowed| {
        let is_live = allowed.until.is_none_or(|until| chart.now < until);
        is_live && allowed.network.is_any()
    });
    any || is_of(&chart.account, seen.network, chart.now)
}

fn has_change(chart: &Chart, seen: &SeenSign) -> bool {
    let (actions, fields) = speaking(seen);
    chart.changes.iter().any(|change| {
        let speaks = actions.contains(&change.action.as_str())
            || change
                .fields
                .iter()
                .any(|field| fields.contains(&field.as_str()));
        speaks && change.at > seen.last_at
    })
}
