//! `layover doctor account`: why a partner cannot connect to us.

use layover_config::{Algorithms, Settings};
use layover_depot::{AccountName, Condition, Diagnosis, Finding, OurSide, Side, Sureness};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Output, Tone, printable};

pub(super) async fn run(context: &mut Context, name: &AccountName) -> Result<(), CliError> {
    let ours = our_side(&context.settings);
    let depot = context.depot().await?;
    let diagnosis = depot.signs().examine(name, ours).await?;
    if context.out.is_json() {
        context.out.done(&diagnosis, "")?;
    } else {
        print(&mut context.out, &diagnosis)?;
    }
    depot.close().await;
    Ok(())
}

fn our_side(settings: &Settings) -> OurSide {
    let ports = settings.ftps.passive_ports;
    OurSide {
        server: Some(settings.server.public_name.to_string()),
        passive_ports: Some((ports.first(), ports.last())),
        is_compatible: settings.sftp.algorithms == Algorithms::Compatible,
    }
}

fn print(out: &mut Output, diagnosis: &Diagnosis) -> std::io::Result<()> {
    let (word, tone) = match diagnosis.state {
        Condition::Wrong => ("WRONG", Tone::Alarm),
        Condition::Changed => ("CHANGED", Tone::Notice),
        Condition::Unseen => ("UNSEEN", Tone::Notice),
        Condition::Unknown => ("UNKNOWN", Tone::Notice),
        Condition::Ok => ("ok", Tone::Good),
    };
    let line = format!("  {}: {}", diagnosis.account, diagnosis.summary);
    out.marked_line(&Cell::toned(word, tone), &printable(&line))?;
    if let Some(finding) = &diagnosis.verdict {
        evidence(out, finding)?;
    }
    for finding in &diagnosis.further {
        let line = format!("   {}", finding.what);
        out.marked_line(&Cell::toned("also", Tone::Notice), &printable(&line))?;
        evidence(out, finding)?;
    }
    for (label, at) in [
        ("last login", diagnosis.last_login_at),
        ("last whole transfer", diagnosis.last_transfer_at),
    ] {
        let at = at.map_or_else(|| "none that is known".to_owned(), |at| at.to_string());
        out.line(&format!("       {label}: {at}"))?;
    }
    for check in &diagnosis.what_to_check {
        out.line(&format!("       check: {}", printable(check)))?;
    }
    for tried in &diagnosis.tried {
        let told = match tried.told.is_empty() {
            true => String::new(),
            false => format!(" ({})", tried.told.join("; ")),
        };
        let line = format!(
            "       tried from {}: {}{told}, {} times, last {}",
            tried.network, tried.sign, tried.times, tried.last_at
        );
        out.line(&printable(&line))?;
        if let Some(text) = &tried.what_to_do {
            out.line(&format!("         what to do: {}", printable(text)))?;
        }
    }
    if diagnosis.tried_of_others > 0 {
        let addresses = diagnosis.tried_of_others;
        out.line(&format!(
            "       tried from addresses of other accounts, too: {addresses}, which are not listed"
        ))?;
    }
    Ok(())
}

/// What speaks for a finding, what to do, and what to write.
fn evidence(out: &mut Output, finding: &Finding) -> std::io::Result<()> {
    let side = match finding.side {
        Side::Partner => "the partner's",
        Side::Ours => "ours",
        Side::Between => "the network's, the partner's or ours",
    };
    let sureness = match finding.sureness {
        Sureness::Possible => "possible",
        Sureness::Likely => "likely",
        Sureness::Certain => "certain",
    };
    out.line(&format!("       whose side: {side}; {sureness}"))?;
    let mut seen = format!(
        "{} times, {} to {}",
        finding.times, finding.first_at, finding.last_at
    );
    if finding.good_times > 0 {
        seen.push_str(&format!(
            "; it went well {} times since",
            finding.good_times
        ));
    }
    out.line(&format!("       seen: {seen}"))?;
    for told in &finding.told {
        out.line(&format!("       said: {}", printable(told)))?;
    }
    if let Some(text) = &finding.what_to_do {
        out.line(&format!("       what to do: {}", printable(text)))?;
    }
    if let Some(text) = &finding.to_the_partner {
        out.line(&format!("       to the partner: \"{}\"", printable(text)))?;
    }
    Ok(())
}
