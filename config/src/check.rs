//! Faults of settings that are right one by one.

use std::net::IpAddr;

use crate::error::{ConfigError, Fault};
use crate::schema::Setting;
use crate::types::span::Span;
use crate::walk::Walk;

/// Adds what is wrong to the errors. A key whose value is wrong already takes
/// part in no comparison.
pub(crate) fn check(walk: &mut Walk) {
    keeps(walk);
    certificates_keep(walk);
    certificate(walk);
    served(walk);
    ports(walk);
}

fn conflict(walk: &mut Walk, key: &str, value: String, expected: String) {
    let fault = Fault::WrongValue {
        key: key.to_owned(),
        value,
        expected,
    };
    walk.errors.push(ConfigError {
        origin: walk.origin(key),
        fault,
    });
}

fn keeps(walk: &mut Walk) {
    const MAX_KEEP: &str = "retention.max_keep";
    let retention = &walk.settings.retention;
    let max_keep: Span = retention.max_keep;
    let keeps = [
        ("retention.keep", retention.keep),
        ("retention.partial_keep", retention.partial_keep),
    ];
    for (key, keep) in keeps {
        if keep > max_keep && !walk.is_wrong(key) && !walk.is_wrong(MAX_KEEP) {
            let limit_origin = walk.origin(MAX_KEEP);
            let expected = format!(
                "at most `{MAX_KEEP}`, which is {} ({limit_origin})",
                max_keep.write()
            );
            conflict(walk, key, keep.write(), expected);
        }
    }
}

/// A deletion's proof must not go before the journal's word for it.
fn certificates_keep(walk: &mut Walk) {
    let (key, journal_key) = ("retention.certificates_keep", "journal.keep");
    let journal = walk.settings.journal.keep;
    let Some(keep) = walk.settings.retention.certificates_keep else {
        return;
    };
    if keep < journal && !walk.is_wrong(key) && !walk.is_wrong(journal_key) {
        let limit_origin = walk.origin(journal_key);
        let expected = format!(
            "at least `{journal_key}`, which is {} ({limit_origin}), or \"\" for ever",
            journal.write()
        );
        conflict(walk, key, keep.write(), expected);
    }
}

fn certificate(walk: &mut Walk) {
    let (certificate, private_key) = ("ftps.certificate", "ftps.private_key");
    if walk.is_wrong(certificate) || walk.is_wrong(private_key) {
        return;
    }
    let ftps = &walk.settings.ftps;
    let (given, missing) = match (&ftps.certificate, &ftps.private_key) {
        (Some(_), None) => (certificate, private_key),
        (None, Some(_)) => (private_key, certificate),
        (Some(_), Some(_)) | (None, None) => return,
    };
    let expected = format!("with `{given}`, which is set, both or none of the two");
    conflict(walk, missing, "\"\"".to_owned(), expected);
}

/// A server that serves nothing was not meant.
fn served(walk: &mut Walk) {
    const SWITCHES: [&str; 3] = [
        "sftp.enabled",
        "ftps.explicit_enabled",
        "ftps.implicit_enabled",
    ];
    if walk.settings.sftp.enabled || walk.settings.ftps.is_served() {
        return;
    }
    let [first, ..] = SWITCHES;
    let expected = format!("one of `{}` to be true", SWITCHES.join("`, `"));
    conflict(walk, first, "false".to_owned(), expected);
}

/// A listener, or the range of passive data ports.
struct Listener {
    /// Nothing listens where a listener is switched off.
    enabled: bool,
    key: &'static str,
    address_key: &'static str,
    address: IpAddr,
    first: u16,
    last: u16,
    written: String,
}

impl Listener {
    fn overlaps(&self, other: &Self) -> bool {
        // A listener on :: takes IPv4 connections, too.
        let addresses = self.address == other.address
            || self.address.is_unspecified()
            || other.address.is_unspecified();
        addresses
            && self.enabled
            && other.enabled
            && self.first <= other.last
            && other.first <= self.last
            && self.last > 0
            && other.last > 0
    }
}

fn ports(walk: &mut Walk) {
    let (ftps, sftp, console) = (
        &walk.settings.ftps,
        &walk.settings.sftp,
        &walk.settings.console,
    );
    let single = |key, address_key, address, port: u16, written| Listener {
        enabled: true,
        key,
        address_key,
        address,
        first: port,
        last: port,
        written,
    };
    let listeners = [
        Listener {
            enabled: ftps.explicit_enabled,
            ..single(
                "ftps.explicit_port",
                "ftps.listen",
                ftps.listen,
                ftps.explicit_port.get(),
                ftps.explicit_port.write(),
            )
        },
        Listener {
            enabled: ftps.implicit_enabled,
            ..single(
                "ftps.implicit_port",
                "ftps.listen",
                ftps.listen,
                ftps.implicit_port.get(),
                ftps.implicit_port.write(),
            )
        },
        Listener {
            enabled: ftps.is_served(),
            key: "ftps.passive_ports",
            address_key: "ftps.listen",
            address: ftps.listen,
            first: ftps.passive_ports.first(),
            last: ftps.passive_ports.last(),
            written: ftps.passive_ports.write(),
        },
        Listener {
            enabled: sftp.enabled,
            ..single(
                "sftp.port",
                "sftp.listen",
                sftp.listen,
                sftp.port.get(),
                sftp.port.write(),
            )
        },
        Listener {
            enabled: console.enabled,
            ..single(
                "console.listen",
                "console.listen",
                console.listen.ip(),
                console.listen.port(),
                console.listen.write(),
            )
        },
    ];
    let mut conflicts = Vec::new();
    for (later, listener) in listeners.iter().enumerate() {
        for earlier in listeners.iter().take(later) {
            let keys = [
                listener.key,
                listener.address_key,
                earlier.key,
                earlier.address_key,
            ];
            if listener.overlaps(earlier) && !keys.into_iter().any(|key| walk.is_wrong(key)) {
                let (blamed, other) = blame(walk, listener, earlier);
                let expected = format!(
                    "another port than `{}`, which is {}",
                    other.key, other.written
                );
                conflicts.push((blamed.key, blamed.written.clone(), expected));
            }
        }
    }
    for (key, written, expected) in conflicts {
        conflict(walk, key, written, expected);
    }
}

/// Of two listeners in conflict the one that the operator wrote is named first;
/// a default cannot be looked up in the file.
fn blame<'a>(walk: &Walk, a: &'a Listener, b: &'a Listener) -> (&'a Listener, &'a Listener) {
    if walk.was_written(b.key) && !walk.was_written(a.key) {
        (b, a)
    } else {
        (a, b)
    }
}
