//! The server's TLS certificate: whether it is there and valid, bears the names that
//! partners use, and keeps its key to itself.

use std::collections::BTreeMap;
use std::fs;

use layover_config::{SecretRef, Settings};
use layover_depot::ShownCertificate;
use layover_retention::Timestamp;
use layover_server::{TlsCertificateState, generated_tls_certificate_path, read_tls_certificate};

use super::super::server_certificate::names;
use super::super::status::valid_for;
use super::Finding;
use super::host::{FOREIGN_ACCESS, mode};
use super::kept::shortened;
use crate::error::with_causes;

const WHAT: &str = "TLS certificate";

/// The first of the days on which its end is told of as an event.
const RENEWED_WITHIN_DAYS: u64 = 30;

/// The TLS certificate; one of our own is made at the first start.
pub(super) fn certificate(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    if !settings.ftps.is_served() {
        return vec![Finding::ready(WHAT, "not needed: FTPS is switched off")];
    }
    let (chain, key) = match (&settings.ftps.certificate, &settings.ftps.private_key) {
        (Some(chain), Some(key)) => (SecretRef::File(chain.clone()), key.reference().clone()),
        _ => {
            let path = generated_tls_certificate_path(&settings.data_dir);
            if !path.exists() {
                let text = format!("will be made at the first start: {}", path.display());
                return vec![Finding::ready(WHAT, text)];
            }
            (SecretRef::File(path.clone()), SecretRef::File(path))
        }
    };
    let mut findings = Vec::new();
    match read_tls_certificate(&chain, &key) {
        Err(error) => findings.push(Finding::not_ready(
            WHAT,
            with_causes(&error),
            "correct it; never replace a self-signed one lightly: partners pin it",
        )),
        Ok(identity) => {
            let found = TlsCertificateState::of(&identity);
            let print = &found.fingerprint;
            findings.push(match found.warning(now) {
                Some(warning) => Finding::notice(WHAT, format!("{print}: {warning}"), "renew it"),
                None if found.days_left(now) < RENEWED_WITHIN_DAYS => Finding::notice(
                    WHAT,
                    format!("{print}, {}", valid_for(&found, now)),
                    "renew it: an authority may take weeks, and partners who pin it, too",
                ),
                None => Finding::ready(WHAT, format!("{print}, {}", valid_for(&found, now))),
            });
            findings.extend(
                names(settings)
                    .into_iter()
                    .filter(|(_, name)| !identity.bears(name))
                    .map(|(setting, name)| not_borne(setting, &name)),
            );
        }
    }
    findings.extend(key_file(&key));
    findings
}

/// Nothing, where all servers of the database show the same one.
pub(super) fn of_nodes(shown: &[ShownCertificate]) -> Option<Finding> {
    let mut nodes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for one in shown {
        let same = nodes.entry(&one.fingerprint).or_default();
        same.push(one.node.clone());
    }
    if nodes.len() < 2 {
        return None;
    }
    let told = nodes.into_iter().filter_map(|(fingerprint, nodes)| {
        let nodes = shortened(nodes)?;
        Some(format!("{fingerprint} ({nodes})"))
    });
    let told = shortened(told.collect())?;
    Some(Finding::notice(
        "TLS certificates of nodes",
        format!("the servers of this database show different ones: {told}"),
        "give each node the same [ftps] certificate and private_key: a partner who pins one is \
         refused by the others",
    ))
}

fn not_borne(setting: &str, name: &str) -> Finding {
    Finding::notice(
        "TLS certificate's names",
        format!("`{name}` ({setting}) is not among them: clients that check names refuse it"),
        "have one made that bears it, or correct the setting; a self-signed one is replaced only \
         with its partners, who pin it",
    )
}

/// Nothing, when the key lies in no file, or in one that is its owner's alone.
fn key_file(key: &SecretRef) -> Option<Finding> {
    let SecretRef::File(path) = key else {
        return None;
    };
    let mode = mode(&fs::metadata(path).ok()?);
    let shown = path.display();
    (mode & FOREIGN_ACCESS != 0).then(|| {
        Finding::notice(
            "TLS private key",
            format!("{shown} is open to other users (mode {mode:o})"),
            format!("chmod 600 {shown}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn nodes_that_show_different_certificates_are_told_of() {
        let shown = |all: &[(&str, &str)]| {
            let all = all.iter().map(|(node, print)| ShownCertificate {
                node: (*node).to_owned(),
                fingerprint: format!("SHA256:{print}"),
            });
            of_nodes(&all.collect::<Vec<_>>())
        };
        assert!(shown(&[]).is_none());
        assert!(shown(&[("a", "01"), ("b", "01")]).is_none());
        let found = shown(&[("a", "02"), ("b", "01"), ("c", "02")]).unwrap();
        assert_eq!(found.state, State::Notice);
        let told = "SHA256:01 (b), SHA256:02 (a, c)";
        assert!(found.detail.ends_with(told), "{found:?}");
    }
}
