//! Who may come in from where, as whom, and what to say where nothing was seen.

use super::{Advice, ours, partner, told};
use crate::doctor::chart::Chart;
use crate::doctor::sign::{SeenSign, Sign, plain};
use crate::doctor::verdict::{Condition, Finding, Side};
use crate::gate::{AdmitRefused, PASSWORD_NOT_WANTED};
use crate::{Network, Protocol};

/// Networks of an account that are named in a sentence.
const MAX_NAMED_NETWORKS: usize = 8;

/// Where the account may come from just now: in words, and whether from everywhere.
struct Allowed {
    words: Option<String>,
    is_any: bool,
}

impl Allowed {
    fn of(chart: &Chart) -> Self {
        let live = chart.account.networks.iter();
        let live: Vec<_> = live
            .filter(|allowed| allowed.until.is_none_or(|until| chart.now < until))
            .map(|allowed| allowed.network)
            .collect();
        let mut words: Vec<_> = live.iter().take(MAX_NAMED_NETWORKS).map(named).collect();
        if live.len() > MAX_NAMED_NETWORKS {
            words.push(format!("{} more", live.len() - MAX_NAMED_NETWORKS));
        }
        Self {
            words: (!words.is_empty()).then(|| words.join(", ")),
            is_any: live.iter().any(Network::is_any),
        }
    }

    /// As the rest of a sentence.
    fn words(&self) -> &str {
        match (&self.words, self.is_any) {
            (_, true) => "any address",
            (Some(words), false) => words,
            (None, false) => "nowhere",
        }
    }
}

fn named(network: &Network) -> String {
    network.to_string()
}

/// The command that lets the account come from an address.
fn allow(chart: &Chart, network: Network) -> String {
    let name = &chart.account.name;
    format!("`layover account allow add {name} {}`", plain(network))
}

/// Whether the account may come from there by now.
fn may_come(chart: &Chart, network: Network) -> bool {
    Allowed::of(chart).is_any || super::super::is_of(&chart.account, network, chart.now)
}

pub(super) fn address_refused(chart: &Chart, finding: &Finding) -> Advice {
    let (from, why) = (plain(finding.network), told(finding, "not_allowed"));
    let mut what = format!("connections from {from} are refused before the first byte: {why}");
    let what_to_do = match why {
        "banned" => format!(
            "`layover ban list` says why; `layover ban lift {from}` (or the network that the list has it under) when what failed is mended, or the ban is wrong"
        ),
        "denied" => "the address is in `[gate] deny` of the settings".to_owned(),
        "not_allowed" => {
            let allowed = Allowed::of(chart);
            what.push_str(&format!(
                "; {} may come from {}",
                chart.account.name,
                allowed.words()
            ));
            not_allowed(chart, finding.network)
        }
        "too_fast" => "`[gate] connection_rate` says how many new connections an address may open in a minute; the partner's client should keep its connection".to_owned(),
        _ => "the limits in `[gate]` of the settings say how many connections there may be; `layover session list` shows who has them".to_owned(),
    };
    let to_the_partner = match why {
        "too_fast" | "full_for_address" | "full_for_network" => Some(format!(
            "Your client opens more connections from {from} than an address may have. Please let it use fewer at a time, and keep them open."
        )),
        _ => None,
    };
    Advice {
        to_the_partner,
        ..ours(what, what_to_do)
    }
}

/// What lets an address in that the gate does not know.
fn not_allowed(chart: &Chart, network: Network) -> String {
    let name = &chart.account.name;
    if !chart.account.enabled {
        format!("`layover account enable {name}`: networks of a disabled account do not count")
    } else if may_come(chart, network) {
        format!(
            "{name} may come from there by now; where it is refused all the same, `[gate] allow` of the settings leaves the address out"
        )
    } else {
        format!(
            "if {} is the partner's: {}",
            plain(network),
            allow(chart, network)
        )
    }
}

/// What to do if somebody who tried from elsewhere was the partner.
pub(in crate::doctor) fn if_it_was_the_partner(chart: &Chart, seen: &SeenSign) -> Option<String> {
    let why = seen.detail.told.last().map(String::as_str);
    let is_not_allowed =
        seen.sign == Sign::AddressRefused && why == Some(AdmitRefused::NotAllowed.as_str());
    is_not_allowed.then(|| not_allowed(chart, seen.network))
}

pub(super) fn network_refused(chart: &Chart, finding: &Finding) -> Advice {
    let name = &chart.account.name;
    let from = plain(finding.network);
    let allowed = Allowed::of(chart);
    if may_come(chart, finding.network) {
        return ours(
            format!(
                "{name} was refused when it logged in from {from}, from which it may come by now"
            ),
            format!(
                "nothing more here: {name} may come from {}; the partner may try again",
                allowed.words()
            ),
        );
    }
    Advice {
        what: format!(
            "{name} logs in from {from}, which is not among its networks ({})",
            allowed.words.as_deref().unwrap_or("it has none")
        ),
        side: Side::Between,
        to_the_partner: Some(format!(
            "Your client comes to us from {from}, which is not an address that you told us. Is it yours? Please tell us all addresses from which you connect."
        )),
        what_to_do: Some(format!(
            "if the partner says that it is its own: {}",
            allow(chart, finding.network)
        )),
    }
}

pub(super) fn account_disabled(chart: &Chart, finding: &Finding) -> Advice {
    let name = &chart.account.name;
    let from = plain(finding.network);
    match chart.account.enabled {
        false => ours(
            match finding.protocol {
                Some(_) => format!("logins from {from} are refused: {name} is disabled"),
                None => format!(
                    "connections from {from} are refused before the first byte: {name} is disabled, so that its networks do not count"
                ),
            },
            format!("`layover account enable {name}`"),
        ),
        true => ours(
            format!("logins from {from} were refused while {name} was disabled"),
            "nothing more here: it is enabled by now, and the partner may try again".to_owned(),
        ),
    }
}

pub(super) fn protocol_refused(chart: &Chart, finding: &Finding) -> Advice {
    let name = &chart.account.name;
    let from = plain(finding.network);
    let protocol = finding.protocol.map_or("that protocol", Protocol::as_str);
    let is_allowed = |protocol| chart.account.protocols.contains(protocol);
    if finding.protocol.is_some_and(is_allowed) {
        return ours(
            format!("logins from {from} were refused while {name} might not use {protocol}"),
            "nothing more here: it may by now, and the partner may try again".to_owned(),
        );
    }
    let may_use = chart.account.protocols;
    Advice {
        to_the_partner: Some(format!(
            "Your account {name} may use {may_use} here, and your client comes by {protocol}. Please set your client to {may_use}, or ask us to allow {protocol} as well."
        )),
        ..ours(
            format!(
                "logins from {from} are refused: {name} may not use {protocol} (it may use {may_use})"
            ),
            format!("`layover account set {name} --protocols ftps,sftp` allows both"),
        )
    }
}

pub(super) fn session_limit(chart: &Chart, finding: &Finding) -> Advice {
    let name = &chart.account.name;
    let from = plain(finding.network);
    let why = told(finding, "the account has as many sessions as it may have");
    Advice {
        to_the_partner: Some(format!(
            "A login of your client from {from} was refused, because {why}. Please let it use fewer sessions at a time, and end those that it does not need any more; if it needs more, tell us how many."
        )),
        ..ours(
            format!("logins from {from} are refused: {why}"),
            format!(
                "`layover session list` shows them, `layover session kill ID` ends one; `layover account set {name} --max-sessions N` allows more (`none`: any number)"
            ),
        )
    }
}

/// A password where a key is wanted, which over FTPS is a certificate of the client.
fn key_wanted(chart: &Chart, finding: &Finding, what: String) -> Advice {
    let name = &chart.account.name;
    let can_use_sftp = chart.account.protocols.contains(Protocol::Sftp);
    let (sentence, what_to_do) = match (finding.protocol, can_use_sftp) {
        (Some(Protocol::Ftps), true) => (
            format!(
                "Your client logs in as {name} over FTPS with a password, and this account has none that counts. Please log in over SFTP with your key; or send us a TLS client certificate for FTPS, without its private key."
            ),
            format!("for FTPS: `layover account certificate add {name} FILE`; "),
        ),
        (Some(Protocol::Ftps), false) => (
            format!(
                "Your client logs in as {name} over FTPS with a password, and this account has none that counts. Please set the TLS client certificate in it that you told us, or send us one, without its private key."
            ),
            format!("`layover account certificate add {name} FILE`; "),
        ),
        _ => (
            format!(
                "Your client logs in as {name} with a password, and this account logs in by key. Please set your SSH key in it, or send us its public half."
            ),
            format!("`layover account key add {name} FILE`; "),
        ),
    };
    partner(
        what,
        sentence,
        Some(format!(
            "{what_to_do}or a password: `layover account password {name} --generate`, and `layover account set {name} --auth any`"
        )),
    )
}

pub(super) fn login_refused(chart: &Chart, finding: &Finding) -> Advice {
    let name = &chart.account.name;
    let why = told(finding, "no reason known");
    let what = format!("logins from {} are refused: {why}", plain(finding.network));
    if !chart.account.enabled {
        return ours(what, format!("`layover account enable {name}`"));
    }
    if finding
        .told
        .iter()
        .any(|told| told.starts_with("unknown account"))
    {
        return partner(
            what,
            // Never the name that was typed: it may be somebody else's, or a password.
            format!(
                "Your client logs in with a user name that we do not have. Your user name is {name}."
            ),
            None,
        );
    }
    if why == PASSWORD_NOT_WANTED {
        return key_wanted(chart, finding, what);
    }
    partner(
        what,
        format!("Logins of your client as {name} are refused: {why}."),
        Some(format!(
            "`layover account show {name}` says what it must show; `layover account set {name} --auth password|key|key+password|any` changes it"
        )),
    )
}

/// The same of a client of which nobody knows whether it is the partner's.
pub(in crate::doctor) fn of_somebody(
    chart: &Chart,
    finding: &Finding,
    is_shared: bool,
    advice: Advice,
) -> Advice {
    let name = &chart.account.name;
    let from = plain(finding.network);
    let asks_whose = finding.sign == Sign::NetworkRefused;
    let is_theirs = |sentence: String| match asks_whose {
        true => sentence,
        false => format!("If the client at {from} is yours: {sentence}"),
    };
    let if_it_is = |text: String| match asks_whose {
        true => text,
        false => format!("only if the client at {from} is the partner's: {text}"),
    };
    let whose = match is_shared {
        true => "accounts of others come from there, too".to_owned(),
        false => format!("no login of {name} is known from there"),
    };
    Advice {
        what: format!("{}; {whose}", advice.what),
        side: advice.side,
        to_the_partner: advice.to_the_partner.map(is_theirs),
        what_to_do: advice.what_to_do.map(if_it_is),
    }
}

/// The same after a change of ours: whether it helped, the next try tells.
pub(in crate::doctor) fn changed_since(advice: Advice) -> Advice {
    ours(
        format!(
            "{}; changed since: wait for the partner's next try",
            advice.what
        ),
        "nothing more here: the partner may try again, and what comes of that is told then"
            .to_owned(),
    )
}

/// What is to be said where nothing is wrong, or nobody knows what.
pub(in crate::doctor) fn summary(chart: &Chart, state: Condition) -> String {
    match state {
        Condition::Wrong | Condition::Changed | Condition::Ok => {
            "nothing is wrong, as far as was seen".to_owned()
        }
        Condition::Unknown => "no login is known; what was seen does not say why".to_owned(),
        Condition::Unseen => {
            let allowed = Allowed::of(chart);
            let from = match (&allowed.words, allowed.is_any) {
                (_, true) => "; it may come from any address, so a client that did not come to a login cannot be told from a stranger's".to_owned(),
                (Some(words), false) => format!(", and nothing from its networks ({words})"),
                (None, false) => "; no network is allowed for it".to_owned(),
            };
            format!(
                "no login is known, and no attempt in its name{from}, as far back as what was seen is kept (30 days at most)"
            )
        }
    }
}

/// Where nobody ever logged in.
pub(in crate::doctor) fn what_to_check(chart: &Chart) -> Vec<String> {
    let account = &chart.account;
    let name = &account.name;
    let mut check = Vec::new();
    if !account.enabled {
        check.push(format!(
            "the account is disabled: `layover account enable {name}`"
        ));
    }
    let allowed = Allowed::of(chart);
    match (&allowed.words, allowed.is_any) {
        (None, _) => check.push(format!(
            "no network is allowed for it: `layover account allow add {name} CIDR`"
        )),
        (Some(words), false) => check.push(format!("it may come from {words}: does the partner?")),
        (Some(_), true) => {}
    }
    check.push(
        "whether the partner has the right host name and port, and may connect to them from its own network".to_owned(),
    );
    check
}
