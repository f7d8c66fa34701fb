//! The ports of data connections: which are taken, and by whom.

use std::collections::HashSet;
use std::fs;
use std::io;

use layover_config::Settings;
use layover_server::{Addresses, passive_port_survey};

use super::Finding;

/// The state of a socket that listens, in `/proc/net/tcp` (proc(5)).
const LISTENING: &str = "0A";

/// Nothing, where FTPS is switched off.
pub(super) fn ports(settings: &Settings, server: Option<&Addresses>) -> Option<Finding> {
    const WHAT: &str = "passive ports";
    const NEXT: &str = "free them, or set [ftps] passive_ports (LAYOVER__FTPS__PASSIVE_PORTS)";
    if !settings.ftps.is_served() {
        return None;
    }
    let range = settings.ftps.passive_ports;
    let survey = passive_port_survey(settings);
    let (Some(first), Some(error)) = (survey.refused.first().copied(), survey.fault) else {
        return Some(Finding::ready(WHAT, format!("{range} are free")));
    };
    let of_all = |count: usize| format!("{count} of {} ports ({range})", survey.ports);
    let server = server.filter(|server| server.ftps.or(server.ftps_implicit).is_some());
    let ours = match server.map(|server| listening_ports(server.pid)) {
        None => HashSet::new(),
        Some(Ok(ours)) => ours,
        Some(Err(error)) => {
            let refused = of_all(survey.refused.len());
            let text = format!(
                "{refused} are taken, the first is {first}; whether by our server cannot be seen: {error}"
            );
            return Some(Finding::notice(WHAT, text, "check as the server's user"));
        }
    };
    let foreign: Vec<_> = survey
        .refused
        .iter()
        .filter(|port| !ours.contains(port))
        .collect();
    let in_transfers = match survey.refused.len() - foreign.len() {
        0 => String::new(),
        count => format!("{} wait for transfers of our server", of_all(count)),
    };
    let Some(first) = foreign.first() else {
        return Some(Finding::ready(WHAT, in_transfers));
    };
    let by = match error.kind() {
        io::ErrorKind::AddrInUse => "are held by other programs",
        _ => "are not to be had",
    };
    let mut found = format!(
        "{} {by}, the first is {first}: {error}",
        of_all(foreign.len())
    );
    if !in_transfers.is_empty() {
        found = format!("{found}; {in_transfers}");
    }
    Some(if foreign.len() == survey.ports {
        Finding::not_ready(WHAT, format!("{found}; nobody can transfer"), NEXT)
    } else {
        Finding::notice(WHAT, format!("{found}; they are passed over"), NEXT)
    })
}

/// The ports that a process listens on.
fn listening_ports(process: u32) -> io::Result<HashSet<u16>> {
    let mut sockets = HashSet::new();
    for descriptor in fs::read_dir(format!("/proc/{process}/fd"))? {
        // One that is closed meanwhile listens no more.
        let Ok(target) = fs::read_link(descriptor?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        if let Some(socket) = target.strip_prefix("socket:[") {
            sockets.insert(socket.trim_end_matches(']').to_owned());
        }
    }
    let mut ports = HashSet::new();
    for table in ["tcp", "tcp6"] {
        // Without IPv6 there is but one.
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        ports.extend(text.lines().filter_map(|line| listener(line, &sockets)));
    }
    Ok(ports)
}

/// The port of one line, when it is that of a listening one of `sockets`.
fn listener(line: &str, sockets: &HashSet<String>) -> Option<u16> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (_, port) = columns.next()?.rsplit_once(':')?;
    let state = columns.nth(1)?;
    // Queues, timer, retransmissions, user, timeout.
    let socket = columns.nth(5)?;
    let is_ours = state == LISTENING && sockets.contains(socket);
    is_ours
        .then(|| u16::from_str_radix(port, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::State;
    use super::*;

    fn settings(first: u16, last: u16) -> Settings {
        let text = format!("[ftps]\nlisten = \"127.0.0.1\"\npassive_ports = \"{first}-{last}\"\n");
        Settings::parse(&text, "test", std::iter::empty()).unwrap()
    }

    fn server(pid: u32) -> Addresses {
        Addresses {
            pid,
            process_began: None,
            node: "n".to_owned(),
            version: "0".to_owned(),
            started_at: String::new(),
            sftp: None,
            ftps: "127.0.0.1:1".parse().ok(),
            ftps_implicit: None,
            console: None,
            tls_certificate: None,
            sandbox: None,
            stopping: false,
        }
    }

    #[test]
    fn ports_of_our_server_are_told_from_those_of_others() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let only = settings(port, port);
        let ours = server(std::process::id());
        let found = ports(&only, Some(&ours)).unwrap();
        assert_eq!(found.state, State::Ready, "{found:?}");
        assert!(found.detail.contains("of our server"), "{found:?}");
        // The same port, held by somebody who is not our server: its parent, say.
        let other = server(std::os::unix::process::parent_id());
        for server in [Some(&other), None] {
            let found = ports(&only, server).unwrap();
            assert_eq!(found.state, State::NotReady, "{found:?}");
            assert!(found.detail.contains("held by other programs"), "{found:?}");
            assert!(!found.detail.contains("our server"), "{found:?}");
        }
        let gone = ports(&only, Some(&server(u32::MAX))).unwrap();
        assert_eq!(gone.state, State::Notice, "{gone:?}");
        assert!(gone.detail.contains("cannot be seen"), "{gone:?}");
    }
}
