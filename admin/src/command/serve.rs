//! `layover serve`: the server in the foreground.

use std::sync::Arc;

use layover_config::Settings;
use layover_server::{
    Appliance, Request, ServiceState, Signals, SystemClock, tell_service_manager,
};

use super::account::ADD_THE_FIRST;
use super::check::is_in_container;
use crate::error::CliError;
use crate::output::Output;

pub(super) async fn run(settings: Settings) -> Result<(), CliError> {
    let mut signals = take_over_signals()?;
    let clock = Arc::new(SystemClock::new());
    let appliance = start(settings, &clock).await?;
    let mut out = Output::stdout(false);
    announce(&mut out, &appliance)?;
    tell_service_manager(ServiceState::Ready);
    // It serves: that a hint cannot be given ends nothing.
    let accounts = appliance.depot().registry().list_accounts().await;
    if accounts.is_ok_and(|accounts| accounts.is_empty()) {
        out.line("There are no accounts yet. Create the first one:")?;
        out.line(&format!("  {ADD_THE_FIRST}"))?;
    }
    until_stopped(&appliance, &mut signals).await;
    Ok(())
}

/// Starts logging and the appliance.
pub(super) async fn start(
    settings: Settings,
    clock: &Arc<SystemClock>,
) -> Result<Appliance, CliError> {
    layover_server::start_logging(&settings.log)?;
    if let Some(report) = layover_server::sandbox_report() {
        report.tell();
    }
    if !is_in_container() {
        layover_server::warn_of_root();
    }
    Ok(Appliance::start_watched(settings, Arc::clone(clock)).await?)
}

/// From here on a signal stops the server in order.
pub(super) fn take_over_signals() -> Result<Signals, CliError> {
    Signals::take_over().map_err(|source| CliError::Signals { source })
}

/// Says where the server can be reached.
pub(super) fn announce(out: &mut Output, appliance: &Appliance) -> Result<(), CliError> {
    out.line(&appliance.addresses().ready_line())?;
    let host_keys = appliance.host_key_fingerprints();
    if !host_keys.is_empty() {
        out.line(&format!("host key: {}", host_keys.join(" ")))?;
    }
    if let Some(fingerprint) = appliance.tls_fingerprint() {
        out.line(&format!("TLS certificate: {fingerprint}"))?;
    }
    Ok(())
}

/// Runs until the appliance has stopped: the first signal asks it to finish,
/// the second to end at once.
pub(super) async fn until_stopped(appliance: &Appliance, signals: &mut Signals) {
    let mut asked = false;
    loop {
        tokio::select! {
            () = appliance.stopped() => return,
            request = signals.next() => match request {
                Request::Reload => appliance.reload().await,
                Request::Stop if asked => appliance.hard_stop(),
                Request::Stop => {
                    asked = true;
                    tell_service_manager(ServiceState::Stopping);
                    appliance.soft_stop();
                }
            },
        }
    }
}
