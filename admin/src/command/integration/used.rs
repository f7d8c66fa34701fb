//! An integration in use: dangers are told each time, and what a connection
//! taught is kept.

use layover_client::doctor::diagnose;
use layover_client::{Partner, RemoteError};
use layover_depot::{Integration, Location, LocationName, Registry};

use crate::context::Context;
use crate::error::CliError;
use crate::output::note;

/// Warns of what is dangerous to use, whatever the output's form.
pub(super) fn warn_of_dangers(integration: &Integration) {
    for caution in integration.cautions() {
        if caution.is_a_danger() {
            note(&format!("warning: {}: {caution}", integration.spec.name));
        }
    }
}

/// The location of this name.
pub(super) fn location<'a>(
    integration: &'a Integration,
    name: &LocationName,
) -> Result<&'a Location, CliError> {
    integration
        .location(name)
        .ok_or_else(|| CliError::UnknownLocation {
            integration: integration.spec.name.clone(),
            location: name.clone(),
            locations: integration
                .locations
                .iter()
                .map(|one| one.name.clone())
                .collect(),
        })
}

/// Keeps what the connections of `partner` taught, and tells a person of it.
pub(super) async fn settle(
    context: &Context,
    registry: &Registry,
    partner: &Partner,
) -> Result<(), CliError> {
    let settled = partner.settle(registry, &context.actor).await?;
    let name = partner.name();
    if let Some(print) = settled.host_key_seen {
        note(&format!(
            "note: the server showed the host key {print}, which nobody has confirmed; when the \
             partner says that it is theirs: layover integration host-key confirm {name} {print}"
        ));
    }
    if settled.key_confirmed {
        note(&format!(
            "note: the partner has our new SSH key; the one before it is forgotten ({name})"
        ));
    }
    if settled.tls12_only {
        note(&format!(
            "note: connections to {name} use TLS 1.2 from now on: the server wants TLS sessions \
             resumed more often than TLS 1.3 can"
        ));
    }
    Ok(())
}

/// What failed on the partner's server, for a person.
pub(super) fn remote_error(error: &RemoteError, partner: &Partner) -> CliError {
    let diagnosis = diagnose(error, partner.integration(), &partner.observed());
    CliError::Remote { diagnosis }
}
