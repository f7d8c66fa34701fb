//! What is repeated in vain: whose move it is depends on the reason.

use super::{Advice, partner, told};
use crate::doctor::chart::Chart;
use crate::doctor::repeats::Repeated;
use crate::doctor::sign::{SeenSign, plain};
use crate::doctor::verdict::{Finding, Side};

/// What lets it succeed, where that is ours to do.
fn ours_to_do(chart: &Chart, why: &str) -> Option<String> {
    let name = &chart.account.name;
    match why {
        "permission" => Some(format!(
            "where it is to be allowed: `layover account permission set {name} FOLDER RIGHTS`; `layover account show {name}` says what it may do"
        )),
        "quota" => Some(format!(
            "`layover account set {name} --quota SIZE` gives it more room, `layover file remove` and expiries make some"
        )),
        "held" => Some("`layover hold list` says which hold is on it, and until when".to_owned()),
        _ => None,
    }
}

fn listed<'a>(repeated: impl Iterator<Item = &'a Repeated>) -> String {
    let each: Vec<_> = repeated
        .map(|one| format!("{}: {}", one.what, one.reason))
        .collect();
    each.join("; ")
}

pub(super) fn repeats(chart: &Chart, seen: &SeenSign, finding: &Finding) -> Advice {
    let from = plain(finding.network);
    let repeated = &seen.detail.repeated;
    let Some(newest) = repeated.last() else {
        return partner(
            format!(
                "the client at {from} repeats what cannot succeed: {}",
                told(finding, "the same transfer")
            ),
            format!(
                "Your client repeats the same transfer again and again, and it cannot succeed: {}. Please stop it, or change what it does.",
                told(finding, "it is refused for good")
            ),
            None,
        );
    };
    let is_ours = |one: &&Repeated| ours_to_do(chart, &one.why).is_some();
    let counted: Vec<_> = repeated
        .iter()
        .rev()
        .map(|one| format!("{}: {} ({} times)", one.what, one.reason, one.times))
        .collect();
    let ours = listed(repeated.iter().rev().filter(is_ours));
    let theirs = listed(repeated.iter().rev().filter(|one| !is_ours(one)));
    let mut sentences = Vec::new();
    if !theirs.is_empty() {
        sentences.push(format!(
            "Your client repeats again and again what cannot succeed: {theirs}. Please stop it, or change what it does."
        ));
    }
    if !ours.is_empty() {
        sentences.push(format!(
            "Your client repeats again and again what we do not let it do as things are: {ours}. We look into it; please stop it until you hear from us."
        ));
    }
    let mut to_do: Vec<String> = Vec::new();
    for one in repeated.iter().rev() {
        let each = ours_to_do(chart, &one.why);
        to_do.extend(each.filter(|each| !to_do.contains(each)));
    }
    Advice {
        what: format!(
            "the client at {from} repeats what cannot succeed: {}",
            counted.join("; ")
        ),
        side: match is_ours(&newest) {
            true => Side::Ours,
            false => Side::Partner,
        },
        to_the_partner: Some(sentences.join(" ")),
        what_to_do: (!to_do.is_empty()).then(|| to_do.join("; ")),
    }
}
