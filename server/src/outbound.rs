//! What integrations are used with, from the settings.

use std::sync::Arc;
use std::time::Duration;

use layover_client::SourceAddresses;
use layover_client::ftps::Now;
use layover_client::partner::{
    NoSystemRoots, Surroundings, Waits, authorities_in, system_authorities,
};
use layover_client::secret_ref::{FileAccess, SecretRef, SecretSources, VaultOptions};
use layover_config::{Outbound, VaultAddress};
use layover_retention::Clock;

/// The variable that says where Vault is, where the settings do not.
const VAULT_ADDRESS: &str = "VAULT_ADDR";
/// All of one question to Vault.
const VAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// Why integrations cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// `VAULT_ADDR` is no address of a Vault.
    #[error("the environment variable {VAULT_ADDRESS} is not of the form https://host[:port]")]
    VaultAddress,
    /// The certificates to check Vault's by are not there.
    #[error("[outbound] vault_ca cannot be used")]
    VaultCa {
        /// Why.
        source: NoSystemRoots,
    },
}

/// What integrations are used with.
///
/// # Errors
/// [`OutboundError`].
pub fn surroundings(
    outbound: &Outbound,
    clock: Arc<dyn Clock>,
) -> Result<Surroundings, OutboundError> {
    let variable = std::env::var(VAULT_ADDRESS).ok();
    Ok(Surroundings {
        sources: SourceAddresses::of(&outbound.source_addresses),
        hardened: outbound.hardened,
        secrets: SecretSources {
            file_access: FileAccess::default(),
            vault: vault(outbound, variable.as_deref())?,
        },
        waits: Waits {
            connect: outbound.connect_timeout.as_duration(),
            stall: outbound.stall_timeout.as_duration(),
        },
        now: Now::new(move || {
            let now = clock.now().as_micros();
            jiff::Timestamp::from_microsecond(now).unwrap_or(jiff::Timestamp::MAX)
        }),
    })
}

fn vault(
    outbound: &Outbound,
    variable: Option<&str>,
) -> Result<Option<VaultOptions>, OutboundError> {
    let named = variable.filter(|address| !address.is_empty());
    let address = match (&outbound.vault_address, named) {
        (Some(address), _) => address.clone(),
        (None, Some(named)) => VaultAddress::parse(named).ok_or(OutboundError::VaultAddress)?,
        (None, None) => return Ok(None),
    };
    let authorities_pem = match &outbound.vault_ca {
        Some(path) => authorities_in(path)
            .map(|found| found.pem)
            .map_err(|source| OutboundError::VaultCa { source })?,
        // Without any, Vault is not trusted when it is asked: not everybody asks.
        None => system_authorities()
            .map(|found| found.pem)
            .unwrap_or_default(),
    };
    let token = match outbound.vault_token.reference() {
        layover_config::SecretRef::Env(name) => SecretRef::Env(name.clone()),
        layover_config::SecretRef::File(path) => SecretRef::File(path.clone()),
        layover_config::SecretRef::Vault { path, field } => SecretRef::Vault {
            path: path.clone(),
            field: field.clone(),
        },
    };
    Ok(Some(VaultOptions {
        address: address.as_str().to_owned(),
        token,
        authorities_pem,
        namespace: outbound
            .vault_namespace
            .as_ref()
            .map(|namespace| namespace.as_str().to_owned()),
        timeout: VAULT_TIMEOUT,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vault_is_where_the_settings_say_else_where_the_environment_does() {
        let mut outbound = Outbound::default();
        assert!(vault(&outbound, None).unwrap().is_none());
        assert!(vault(&outbound, Some("")).unwrap().is_none());
        let found = vault(&outbound, Some("https://a.example")).unwrap();
        assert_eq!(found.unwrap().address, "https://a.example");
        let wrong = vault(&outbound, Some("http://a.example"));
        assert!(matches!(wrong, Err(OutboundError::VaultAddress)));
        outbound.vault_address = VaultAddress::parse("https://b.example");
        let found = vault(&outbound, Some("https://a.example"))
            .unwrap()
            .unwrap();
        assert_eq!(found.address, "https://b.example");
        assert_eq!(found.token, SecretRef::Env("VAULT_TOKEN".to_owned()));
        outbound.vault_ca = Some("/nowhere/ca.pem".into());
        let without = vault(&outbound, None);
        assert!(matches!(without, Err(OutboundError::VaultCa { .. })));
    }
}
