//! What the gate is told that takes its strength away.

use layover_config::Settings;

use super::Finding;

/// Bans that are off; nothing where they are on for somebody of each family.
pub(super) fn bans(settings: &Settings) -> Option<Finding> {
    let all = settings.gate.never_ban.iter();
    let all: Vec<_> = all.filter(|network| network.prefix_len() == 0).collect();
    let has_v4 = all.iter().any(|network| network.addr().is_ipv4());
    let has_v6 = all.iter().any(|network| network.addr().is_ipv6());
    let whom = match (has_v4, has_v6) {
        (false, false) => return None,
        (true, true) => "everybody",
        (true, false) => "everybody who comes by IPv4",
        (false, true) => "everybody who comes by IPv6",
    };
    Some(Finding::notice(
        "bans",
        format!("bans are off for {whom}, by [gate] never_ban: passwords can be guessed for ever"),
        "name only the networks that must not be banned, such as a monitor's or a load \
         balancer's; behind a balancer set proxy_protocol_from instead",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn never_ban(networks: &str) -> Option<Finding> {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("layover.toml");
        std::fs::write(&file, format!("[gate]\nnever_ban = {networks}\n")).unwrap();
        let loaded = Settings::load(Some(&file), std::iter::empty()).unwrap();
        bans(&loaded.settings)
    }

    #[test]
    fn bans_that_are_off_for_all_are_told_of() {
        for (networks, whom) in [
            (r#"["any"]"#, "off for everybody, by"),
            (r#"["10.0.0.0/8", "0.0.0.0/0"]"#, "by IPv4"),
            (r#"["::/0"]"#, "by IPv6"),
        ] {
            let found = never_ban(networks).unwrap();
            assert_eq!(found.state, State::Notice);
            assert!(found.detail.contains(whom), "{networks}: {found:?}");
        }
        for networks in ["[]", r#"["10.0.0.0/8", "2001:db8::/32"]"#] {
            assert!(never_ban(networks).is_none(), "{networks}");
        }
    }
}
