//! Why an integration cannot be used, before anything is sent.

use layover_depot::{Breach, IntegrationName, RegistryError};

use super::system_roots::NoSystemRoots;
use crate::fault::Permanence;
use crate::secret_ref::SecretError;

/// What is wrong with an integration's settings and secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartnerError {
    /// It is against hardened mode.
    #[error("hardened mode does not use integration `{name}`: {}", rules(.breaches))]
    Hardened {
        /// Which.
        name: IntegrationName,
        /// The rules that it breaks.
        breaches: Vec<Breach>,
    },
    /// Something to log in with, or to be sure of the server by, is not there.
    #[error("integration `{name}` has no {what}; {remedy}")]
    Missing {
        /// Which.
        name: IntegrationName,
        /// What is not there.
        what: &'static str,
        /// How to give it.
        remedy: String,
    },
    /// A reference could not be followed.
    #[error("the {what} cannot be had: {source}")]
    Secret {
        /// What it is for.
        what: &'static str,
        /// Why; it names the reference.
        source: SecretError,
    },
    /// What is kept as a reference is none.
    #[error("the {what} cannot be had: `{reference}` cannot be read as a reference")]
    Reference {
        /// What it is for.
        what: &'static str,
        /// As it is kept.
        reference: String,
    },
    /// A sealed value could not be opened.
    #[error("the {what} cannot be had: {source}")]
    Sealed {
        /// What it is for.
        what: &'static str,
        /// Why.
        source: RegistryError,
    },
    /// A field's value cannot be used.
    #[error("`{field}` cannot be used: {detail}")]
    Field {
        /// Which.
        field: &'static str,
        /// Why; never a secret.
        detail: String,
    },
    /// Nobody says which authorities are trusted.
    #[error(transparent)]
    SystemRoots(#[from] NoSystemRoots),
}

fn rules(breaches: &[Breach]) -> String {
    let rules: Vec<_> = breaches.iter().map(ToString::to_string).collect();
    rules.join("; ")
}

impl PartnerError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn permanence(&self) -> Permanence {
        match self {
            Self::Secret { source, .. } => source.permanence(),
            Self::Sealed {
                source: RegistryError::Store(_),
                ..
            } => Permanence::Transient,
            _ => Permanence::Permanent,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Hardened { name, .. } => format!(
                "change it (layover integration set {name} ...), or switch [outbound] hardened off"
            ),
            Self::Missing { remedy, .. } => remedy.clone(),
            Self::Secret { source, .. } => match source {
                SecretError::NotSet { name } => format!(
                    "set {name} in the environment of this process (of the service, too: \
                     systemd Environment= or EnvironmentFile=)"
                ),
                SecretError::Unreadable { path, .. } => format!(
                    "see that {} is there and that this user may read it",
                    path.display()
                ),
                SecretError::NoVault { .. } => {
                    "set [outbound] vault_address (or VAULT_ADDR) and vault_token".to_owned()
                }
                SecretError::Vault { .. } => {
                    "ask whoever runs Vault; [outbound] vault_address, vault_token and vault_ca \
                     say how it is reached"
                        .to_owned()
                }
                _ => "put the right secret there".to_owned(),
            },
            Self::Reference { .. } => "give it again as env:NAME, file:/path or \
                                       vault:path#field"
                .to_owned(),
            Self::Sealed { .. } => {
                "the master key lies in the data directory; see `layover secrets`".to_owned()
            }
            Self::Field { field, .. } => {
                format!(
                    "set it anew: layover integration set NAME --{}",
                    option(field)
                )
            }
            Self::SystemRoots(_) => {
                "install the system's ca-certificates package, or name what is trusted".to_owned()
            }
        }
    }
}

/// How the command line calls a field.
fn option(field: &str) -> String {
    let name = field.rsplit('.').next().unwrap_or(field);
    name.replace('_', "-")
}
