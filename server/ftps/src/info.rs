//! Replies that depend on nobody: what the server is and can do.

use crate::command::{self, Command, Needs, Opts, VERBS};
use crate::listing::Facts;
use crate::reply::Reply;

/// The greeting. It names no version: whoever wants to know which faults to try
/// should have to try.
pub(crate) fn welcome(public_name: &str) -> Reply {
    Reply::lines(
        220,
        [
            format!(
                "Layover at {public_name}: FTP over TLS; files are deleted after a fixed time."
            )
            .into_bytes(),
            b"Log in over TLS (AUTH TLS); the time is told at the login.".to_vec(),
        ],
    )
}

/// Whether AUTH asks for TLS: RFC 4217 s.2 knows both names.
pub(crate) fn is_tls(mechanism: &[u8]) -> bool {
    let mechanism = mechanism.trim_ascii();
    mechanism.eq_ignore_ascii_case(b"TLS") || mechanism.eq_ignore_ascii_case(b"TLS-C")
}

/// Answers what needs neither login nor TLS.
pub(crate) fn answer(command: &Command) -> Option<Reply> {
    Some(match command {
        Command::Noop => Reply::new(200, "NOOP: still here"),
        Command::Syst => Reply::new(215, "UNIX Type: L8"),
        Command::Clnt(_) => Reply::new(200, "noted"),
        Command::Help(of) => help(of),
        Command::Feat => features(Facts::default()),
        Command::Opts(Opts::Utf8(true)) => Reply::new(200, "UTF8 is on"),
        Command::Opts(Opts::Utf8(false)) => {
            Reply::new(504, "names are UTF-8 here, or bytes as they are")
        }
        _ => return None,
    })
}

/// RFC 2389 s.3.
pub(crate) fn features(facts: Facts) -> Reply {
    let mut lines = vec![b"Extensions:".to_vec()];
    for feature in [
        "AUTH TLS",
        "AVBL",
        "CLNT",
        "EPRT",
        "EPSV",
        "HASH SHA-256*",
        "MDTM",
        "MFMT",
    ] {
        lines.push(format!(" {feature}").into_bytes());
    }
    lines.push(format!(" MLST {}", facts.feature()).into_bytes());
    for feature in [
        "PBSZ",
        "PROT",
        "REST STREAM",
        "SITE CHMOD",
        "SITE UTIME",
        "SIZE",
        "TVFS",
        "UTF8",
        "XCRC",
        "XMD5",
        "XSHA256",
    ] {
        lines.push(format!(" {feature}").into_bytes());
    }
    lines.push(b"End".to_vec());
    Reply::lines(211, lines)
}

fn help(of: &[u8]) -> Reply {
    if !of.is_empty() {
        return match command::find(of.trim_ascii()) {
            Some(verb) => {
                let needs = match verb.needs {
                    Needs::Nothing => "",
                    Needs::List => "; needs the right to list",
                    Needs::Read => "; needs the right to read",
                    Needs::Change => "; not for accounts that may only read",
                };
                let text = format!("Syntax: {} {}{needs}", verb.name, verb.argument);
                Reply::new(214, text)
            }
            None => Reply::new(502, "this server does not know that command"),
        };
    }
    let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
    let mut lines = vec![b"Commands:".to_vec()];
    for row in names.chunks(10) {
        lines.push(format!(" {}", row.join(" ")).into_bytes());
    }
    lines.push(b"HELP <command> tells its syntax".to_vec());
    Reply::lines(214, lines)
}
