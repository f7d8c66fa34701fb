//! What each sign means, whose it is to change, and what to write to the partner: one
//! table, without a catch-all.

mod access;
mod passive;
mod repeats;

use super::chart::Chart;
use super::sign::{SeenSign, Sign, plain};
use super::verdict::{Finding, Side, Sureness};
use crate::Protocol;
pub(super) use access::{
    changed_since, if_it_was_the_partner, of_somebody, summary, what_to_check,
};

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
        Sign::Stalled => Sureness::by_times(seen.times).min(Sureness::Likely),
        Sign::DataFromElsewhere => Sureness::by_times(seen.times),
        Sign::TlsBroken
        | Sign::NoHandshake
        | Sign::SilentOnImplicit
        | Sign::HostKeyRefused
        | Sign::DataHandshake => Sureness::Likely,
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

/// A sentence that is as sure of itself as its finding; it begins with a small letter.
fn as_sure(finding: &Finding, sentence: &str) -> String {
    match finding.sureness {
        Sureness::Possible => format!("It may be that {sentence}"),
        Sureness::Likely => format!("It looks as if {sentence}"),
        Sureness::Certain => {
            let mut letters = sentence.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
    }
}

/// The newest text, or what stands for it.
fn told<'a>(finding: &'a Finding, or: &'a str) -> &'a str {
    finding.told.last().map_or(or, String::as_str)
}

pub(super) fn of(chart: &Chart, seen: &SeenSign, finding: &Finding) -> Advice {
    let name = &chart.account.name;
    let from = plain(finding.network);
    let server = chart.ours.server.as_deref().unwrap_or("our server");
    match finding.sign {
        Sign::LoggedIn | Sign::DataArrived | Sign::PasvArrived | Sign::Transferred => Advice {
            what: "all is well".to_owned(),
            side: Side::Ours,
            to_the_partner: None,
            what_to_do: None,
        },
        Sign::AddressRefused => access::address_refused(chart, finding),
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
        Sign::SilentOnImplicit => partner(
            format!("the client from {from} connects to the port for implicit FTPS and waits for a greeting, as one that is set to explicit FTPS does"),
            as_sure(
                finding,
                &format!("your client is set to explicit FTPS (AUTH TLS) and connects to the port of {server} where TLS begins at once. Please set it to \"implicit FTPS\", or give it our port for explicit FTPS."),
            ),
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
            Some(match (seen.detail.compatible_helps, chart.ours.is_compatible) {
                (true, false) => "where the partner cannot update: `algorithms = \"compatible\"` in [sftp] takes what this client has".to_owned(),
                (true, true) => "`algorithms = \"compatible\"` in [sftp] takes what this client has, and is set by now: the partner may try again (a server reads it when it starts)".to_owned(),
                (false, _) => "nothing here: no setting takes what this client has".to_owned(),
            }),
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
        Sign::NetworkRefused => access::network_refused(chart, finding),
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
        Sign::AccountDisabled => access::account_disabled(chart, finding),
        Sign::ProtocolRefused => access::protocol_refused(chart, finding),
        Sign::SessionLimit => access::session_limit(chart, finding),
        Sign::LoginRefused => access::login_refused(chart, finding),
        Sign::NoDataConnection => passive::no_data_connection(chart, seen, finding),
        Sign::AddressUnreached => passive::address_unreached(chart, seen, finding),
        Sign::DataFromElsewhere => partner(
            format!(
                "data connections do not come from {from}, as the control connection does, but from {}",
                told(finding, "another address")
            ),
            as_sure(
                finding,
                &format!(
                    "the control connection of your client reaches {server} from {from}, and its data connections come from {}. Please let both leave by the same address: in the firewall or NAT, switch address pools off for {server} (\"sticky\", \"persistent\" or \"paired\" NAT).",
                    told(finding, "another address")
                ),
            ),
            None,
        ),
        Sign::ActiveRefused => partner(
            format!("the client at {from} asks for active mode (PORT, EPRT), which is off here, and does not try passive mode"),
            format!(
                "Your client is set to active mode (PORT, EPRT), which {server} does not do. Please switch your client to passive mode (PASV, EPSV)."
            ),
            Some("where the client cannot: `active_mode = true` in [ftps], and our firewall must let connections out to it".to_owned()),
        ),
        Sign::DataUnprotected => partner(
            format!("the client at {from} asks for transfers or listings without protecting their data connections (no PROT P)"),
            format!(
                "Your client encrypts the control connection and not the data connections, which {server} does not allow. Please switch on \"encrypt data connections\" (PROT P; in Python's ftplib prot_p(), in lftp ftp:ssl-protect-data yes)."
            ),
            None,
        ),
        Sign::ActiveFailed => partner(
            format!(
                "the client at {from} uses active mode, and no data connection to it can be made: {}",
                told(finding, "no answer")
            ),
            format!(
                "Your client is set to active mode, in which {server} connects to it, and that fails ({}). Please switch your client to passive mode (PASV, EPSV).",
                told(finding, "no answer")
            ),
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
        Sign::Stalled => Advice {
            what: format!(
                "transfers from {from} stand still in the middle until the server ends them ({})",
                told(finding, "nothing more is known")
            ),
            side: Side::Between,
            to_the_partner: Some(format!(
                "Transfers between you ({from}) and {server} stand still in the middle ({}): no byte comes through any more, and at last we end them. {} Please look at its log of that time, too.",
                told(finding, "nothing more is known"),
                as_sure(finding, "a firewall or line on the way drops the connection without a word, or your client's program hangs.")
            )),
            what_to_do: Some("`stall_timeout` in [gate] says after how long without a byte; where other partners' transfers stand still, too, look at our own line".to_owned()),
        },
        Sign::ConnectionLost => connection_lost(finding, server),
        Sign::Repeats => repeats::repeats(chart, seen, finding),
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
                "The control connection of your client to {server} is lost while a file moves ({}). If your firewall has a time limit for idle TCP connections, please raise it, or let your client send keep-alives (NOOP, TCP keep-alive).",
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
