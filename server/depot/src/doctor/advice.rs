//! What each sign means, whose it is to change, and what to write to the partner: one
//! table, without a catch-all.

use super::sign::{SeenSign, Sign, plain};
use super::verdict::{Chart, Finding, PortSpan, Side, Sureness};
use crate::Protocol;

pub(super) struct Advice {
    pub(super) what: String,
    pub(super) side: Side,
    pub(super) to_the_partner: Option<String>,
    pub(super) what_to_do: Option<String>,
}

/// How sure a sign is by itself.
pub(super) fn sureness(seen: &SeenSign) -> Sureness {
    match seen.sign {
        Sign::NoLogin | Sign::ConnectionLost | Sign::DataBroken => Sureness::Possible,
        Sign::TlsBroken | Sign::NoHandshake | Sign::HostKeyRefused | Sign::DataHandshake => {
            Sureness::Likely
        }
        _ => Sureness::Certain,
    }
}

fn partner(what: String, sentence: String, what_to_do: Option<String>) -> Advice {
    Advice {
        what,
        side: Side::Partner,
        to_the_partner: Some(sentence),
        what_to_do,
    }
}

fn ours(what: String, what_to_do: String) -> Advice {
    Advice {
        what,
        side: Side::Ours,
        to_the_partner: None,
        what_to_do: Some(what_to_do),
    }
}

fn span(ports: &PortSpan) -> String {
    match ports.lowest == ports.highest {
        true => format!("port {}", ports.lowest),
        false => format!("ports {}-{}", ports.lowest, ports.highest),
    }
}

/// The newest text, or what stands for it.
fn told<'a>(finding: &'a Finding, or: &'a str) -> &'a str {
    finding.told.last().map_or(or, String::as_str)
}

pub(super) fn of(chart: &Chart, finding: &Finding) -> Advice {
    let name = &chart.account.name;
    let from = plain(finding.network);
    let server = chart.ours.server.as_deref().unwrap_or("our server");
    match finding.sign {
        Sign::LoggedIn | Sign::DataArrived | Sign::Transferred => Advice {
            what: "all is well".to_owned(),
            side: Side::Ours,
            to_the_partner: None,
            what_to_do: None,
        },
        Sign::AddressRefused => address_refused(finding),
        Sign::NoLogin => partner(
            format!(
                "clients from {from} connect and leave without a login ({})",
                told(finding, "nothing was said")
            ),
            format!(
                "Your client reaches {server} from {from} and hangs up before it logs in. What does its log say at that moment? It may ask somebody to accept our key or certificate, or wait for a user name and password that are not set."
            ),
            None,
        ),
        Sign::WithoutTls => partner(
            format!("the client from {from} is set to plain FTP: it sends its name without TLS"),
            format!(
                "Your client tries plain FTP, which {server} does not take. Please set it to \"FTP over TLS, explicit (AUTH TLS)\"."
            ),
            None,
        ),
        Sign::NoHandshake => partner(
            format!("the client from {from} asks for TLS (AUTH TLS) and then begins no handshake, or breaks it off"),
            format!(
                "Your client asks {server} for TLS and breaks the handshake off without a reason. Please look whether it asks somebody to accept our certificate, and whether a firewall with FTP inspection (\"FTP helper\", \"ALG\") stands in between: switch that off for {server}."
            ),
            None,
        ),
        Sign::ImplicitOnExplicit => partner(
            format!("the client from {from} speaks implicit FTPS on the port for explicit FTPS"),
            "Your client begins TLS at once on the port where AUTH TLS is expected. Please set it to \"explicit FTPS (AUTH TLS)\", or give it our port for implicit FTPS.".to_owned(),
            None,
        ),
        Sign::PlainOnImplicit => partner(
            format!("the client from {from} speaks without TLS on the port for implicit FTPS"),
            "Your client begins without TLS on our port for implicit FTPS. Please set it to \"implicit FTPS\", or give it our port for explicit FTPS (AUTH TLS).".to_owned(),
            None,
        ),
        Sign::TlsVersion => partner(
            format!(
                "the TLS of the client at {from} is too old: it offers {}",
                told(finding, "no version that this server takes")
            ),
            format!(
                "Your client offers {}; {server} takes TLS 1.2 and 1.3. Please update the client, or switch TLS 1.2 on in it.",
                told(finding, "only TLS versions before 1.2")
            ),
            None,
        ),
        Sign::TlsSuite => partner(
            format!(
                "the client at {from} and this server have no TLS cipher suite in common: it offers {}",
                told(finding, "others")
            ),
            format!(
                "Your client and {server} have no TLS cipher suite in common. Please switch on ECDHE with AES-GCM or ChaCha20-Poly1305 in it, or update it. It offers: {}.",
                told(finding, "(not told)")
            ),
            None,
        ),
        Sign::CertificateRefused => partner(
            format!(
                "the client at {from} refuses this server's certificate ({})",
                told(finding, "no reason given")
            ),
            format!(
                "Your client does not trust the certificate of {server}. Please import the certificate from our connection kit (or that of its authority), and use the host name that stands in it."
            ),
            Some(format!(
                "`layover account kit {name} --out FOLDER` writes what the partner needs, with the certificate; `layover check` says whether it has ended"
            )),
        ),
        Sign::ClientCertificate => partner(
            format!(
                "the client at {from} presents a certificate that cannot be used ({})",
                told(finding, "no reason known")
            ),
            "Your client's own TLS certificate cannot be used. Please check that it has not ended, and that the private key belongs to it.".to_owned(),
            None,
        ),
        Sign::TlsBroken => partner(
            format!(
                "TLS handshakes of the client at {from} fail: {}",
                told(finding, "no reason known")
            ),
            format!(
                "TLS handshakes of your client with {server} fail ({}). Does a proxy or firewall with TLS inspection stand in between?",
                told(finding, "no reason given")
            ),
            None,
        ),
        Sign::SshAlgorithms => partner(
            format!(
                "the SSH client at {from} and this server have no algorithm in common: {}",
                told(finding, "its offers are not known")
            ),
            format!(
                "Your SSH client is too old for {server}; it offers {}. Please update it, or switch on newer algorithms in it.",
                told(finding, "no algorithm that we take")
            ),
            Some("where the partner cannot update: `algorithms = \"compatible\"` in [sftp] takes some older ones".to_owned()),
        ),
        Sign::HostKeyRefused => partner(
            format!("the SSH client at {from} hangs up when it sees our host key: it knows another one, or none"),
            format!(
                "Your client hangs up when it sees the host key of {server}. Please replace the old key in its known_hosts (or key cache) by the fingerprints in our connection kit."
            ),
            Some(format!(
                "`layover host-key list` shows what is served; `layover account kit {name} --out FOLDER` writes it down for the partner"
            )),
        ),
        Sign::NetworkRefused => Advice {
            what: format!("{name} logs in from {from}, which is not among its networks"),
            side: Side::Between,
            to_the_partner: Some(format!(
                "Your client comes to us from {from}, which is not an address that you told us. Is it yours? Please tell us all addresses from which you connect."
            )),
            what_to_do: Some(format!(
                "if the partner says that it is its own: `layover account allow add {name} {from}`"
            )),
        },
        Sign::KeyRefused => partner(
            format!(
                "the key that the client at {from} shows is not accepted: {}",
                told(finding, "not authorized")
            ),
            format!(
                "The SSH key or certificate that your client shows for {name} is not the one that we have: {}. Please use the one that you gave us, or send us the public key of this one.",
                told(finding, "unknown")
            ),
            Some(format!(
                "if it is the partner's new key: `layover account key add {name} FILE`; `layover account show {name}` lists those that are accepted"
            )),
        ),
        Sign::PasswordRefused => partner(
            format!("the password that the client at {from} sends for {name} is refused ({})", told(finding, "wrong password")),
            format!("The password that your client sends for {name} is wrong. Please set the one that we gave you; if it is lost, we make a new one."),
            Some(format!("a new one: `layover account password {name} --generate`")),
        ),
        Sign::LoginRefused => login_refused(chart, finding),
        Sign::NoDataConnection => no_data_connection(chart, finding),
        Sign::DataFromElsewhere => partner(
            format!(
                "data connections do not come from {from}, as the control connection does, but from {}",
                told(finding, "another address")
            ),
            format!(
                "The control connection of your client reaches {server} from {from}, its data connections come from {}. Please let both leave by the same address: in the firewall or NAT, switch address pools off for {server} (\"sticky\", \"persistent\" or \"paired\" NAT).",
                told(finding, "another address")
            ),
            None,
        ),
        Sign::ActiveFailed => partner(
            format!(
                "the client at {from} uses active mode, and its port cannot be reached: {}",
                told(finding, "no answer")
            ),
            "Your client is set to active mode, and our connections to it are not let in. Please set it to passive mode (PASV, EPSV).".to_owned(),
            None,
        ),
        Sign::DataHandshake => partner(
            format!(
                "data connections of the client at {from} come, and their TLS handshake fails: {}",
                told(finding, "no reason given")
            ),
            format!(
                "Data connections of your client reach {server}, and their TLS handshake fails ({}). Please switch \"FTP inspection\" (\"FTP helper\", \"ALG\") off in your firewall for {server}, and look whether your client wants to accept the certificate for data connections anew.",
                told(finding, "no reason given")
            ),
            None,
        ),
        Sign::NotResumed => partner(
            format!("the client at {from} does not resume the TLS session on data connections, which this account asks for"),
            "Your client does not resume the TLS session of the control connection on its data connections. Please switch \"TLS session resumption\" (\"reuse\") on in it, or update it.".to_owned(),
            Some(format!(
                "where the client cannot: `layover account set {name} --session-reuse auto` takes its address for a proof"
            )),
        ),
        Sign::NoCloseNotify => partner(
            format!("the client at {from} ends uploads without TLS close_notify, so that nobody can tell whether they are whole; they are not published"),
            "Your client cuts its uploads off without TLS close_notify, so that we cannot tell whether a file is whole, and do not publish it. Please update the client.".to_owned(),
            Some(format!(
                "where the client cannot: `layover account set {name} --tolerant-completion yes` publishes such files"
            )),
        ),
        Sign::DataBroken => Advice {
            what: format!(
                "transfers from {from} break off: {}",
                told(finding, "no reason known")
            ),
            side: Side::Between,
            to_the_partner: Some(format!(
                "Transfers between you ({from}) and {server} break off in the middle ({}). Please look for time limits of idle or long connections in your firewall, and in your client.",
                told(finding, "no reason known")
            )),
            what_to_do: None,
        },
        Sign::ConnectionLost => connection_lost(finding, server),
        Sign::Repeats => partner(
            format!("the client at {from} repeats what cannot succeed: {}", told(finding, "the same transfer")),
            format!(
                "Your client repeats the same transfer again and again, and it cannot succeed: {}. Please stop it, or change what it does.",
                told(finding, "it is refused for good")
            ),
            None,
        ),
    }
}

fn address_refused(finding: &Finding) -> Advice {
    let (from, why) = (plain(finding.network), told(finding, "not allowed"));
    let what = format!("connections from {from} are refused before the first byte: {why}");
    let what_to_do = match why {
        "banned" => format!(
            "`layover ban list` says why; `layover ban lift {from}` when the partner has mended what failed"
        ),
        "denied" => "the address is in `[gate] deny` of the settings".to_owned(),
        "not_allowed" => {
            "no account that is enabled allows the address, or `[gate] allow` leaves it out".to_owned()
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

fn login_refused(chart: &Chart, finding: &Finding) -> Advice {
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
    partner(
        what,
        format!("Logins of your client as {name} are refused: {why}."),
        Some(format!(
            "`layover account show {name}` says what the account may use"
        )),
    )
}

fn no_data_connection(chart: &Chart, finding: &Finding) -> Advice {
    let from = plain(finding.network);
    let server = chart.ours.server.as_deref().unwrap_or("our server");
    let range = match chart.ours.passive_ports {
        Some((first, last)) => format!("{first}-{last}"),
        None => "of our passive range".to_owned(),
    };
    let missed = finding.missed_ports.as_ref();
    let missed = missed.map_or_else(|| "any port".to_owned(), span);
    let (what, sentence) = match &finding.reached_ports {
        Some(reached) => (
            format!(
                "the client at {from} is told data ports and reaches only some: nothing comes to {missed}, while {} are reached",
                span(reached)
            ),
            format!(
                "Your firewall lets the control connection and some passive ports through ({}), but not the passive {missed} on {server}; please allow outgoing TCP to ports {range}.",
                span(reached)
            ),
        ),
        None => (
            format!(
                "the client at {from} logs in, is told a data port, and no data connection comes ({missed})"
            ),
            format!(
                "Your firewall lets the control connection through but not the passive {missed} on {server}; please allow outgoing TCP to ports {range}."
            ),
        ),
    };
    Advice {
        what,
        side: Side::Between,
        to_the_partner: Some(sentence),
        what_to_do: Some(format!(
            "our own firewall must let TCP {range} in, too; `layover check` says what address PASV tells"
        )),
    }
}

fn connection_lost(finding: &Finding, server: &str) -> Advice {
    let from = plain(finding.network);
    let (what, sentence) = match finding.protocol {
        Some(Protocol::Ftps) => (
            format!(
                "control connections from {from} are lost while a file moves ({})",
                told(finding, "after some time")
            ),
            format!(
                "The control connection of your client to {server} is lost while a file moves ({}). Please raise the time limit for idle TCP connections in your firewall, or let your client send keep-alives (NOOP, TCP keep-alive).",
                told(finding, "after some time")
            ),
        ),
        _ => (
            format!(
                "connections from {from} are lost while a file is open ({})",
                told(finding, "after some time")
            ),
            format!(
                "Connections of your client to {server} are lost while a file is open ({}). Please look whether your client has a time limit, and your firewall one for connections.",
                told(finding, "after some time")
            ),
        ),
    };
    Advice {
        what,
        side: Side::Between,
        to_the_partner: Some(sentence),
        what_to_do: None,
    }
}

/// Where nobody ever logged in.
pub(super) fn what_to_check(chart: &Chart) -> Vec<String> {
    let account = &chart.account;
    let name = &account.name;
    let mut check = Vec::new();
    if !account.enabled {
        check.push(format!(
            "the account is disabled: `layover account enable {name}`"
        ));
    }
    let now = chart.now;
    let live = account.networks.iter();
    let live: Vec<_> = live
        .filter(|allowed| allowed.until.is_none_or(|until| now < until))
        .map(|allowed| allowed.network.to_string())
        .collect();
    check.push(match live.is_empty() {
        true => format!("no network is allowed for it: `layover account allow add {name} CIDR`"),
        false => format!("it may come from {}: does the partner?", live.join(", ")),
    });
    check.push(
        "whether the partner has the right host name and port, and may connect to them from its own network".to_owned(),
    );
    check
}
