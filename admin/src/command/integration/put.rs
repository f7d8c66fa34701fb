//! `layover integration put`: our files to a partner's server, now.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use layover_client::exchange::{
    self, Delivered, ExchangeError, HomeOutgoing, LocalFile, Outgoing, PartialSuffix, SendRules,
    note_delivered, send,
};
use layover_client::{OnExisting, RemotePath};
use layover_depot::{Attempt, Carrying, Courier, Depot, OfDisabled};
use serde_json::json;

use super::carry::{FileView, Moved, Trip, not_tried, print, tell_failure, until_stopped};
use super::get::absolute;
use crate::cli::integration::PutArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::value::FileSource;

/// A file of ours that is open.
enum Source {
    Home(HomeOutgoing),
    Local(LocalFile),
}

impl Source {
    fn outgoing(&mut self) -> &mut dyn Outgoing {
        match self {
            Self::Home(file) => file,
            Self::Local(file) => file,
        }
    }
}

pub(super) async fn run(
    context: &mut Context,
    depot: &Depot,
    arguments: PutArgs,
) -> Result<(), CliError> {
    let PutArgs { name, location, .. } = &arguments;
    if arguments.new_name.is_some() && arguments.sources.len() > 1 {
        return Err(CliError::OneNameForMany);
    }
    let mut trip = Trip::prepare(context, depot, name, location, Carrying::Upload).await?;
    let rules = rules(&trip, arguments.replace)?;
    let mut wanted = Vec::new();
    for source in &arguments.sources {
        let name = match &arguments.new_name {
            Some(name) => name.clone(),
            None => name_there(source)?,
        };
        wanted.push((source, trip.place(&name)?.1));
    }
    let courier = depot.courier().await?;
    let of_disabled = if arguments.even_disabled {
        OfDisabled::Serve
    } else {
        OfDisabled::Refuse
    };
    // Before anything is sent: may these homes' files go there?
    for (source, _) in &wanted {
        if let FileSource::Home(place) = source {
            let visit = courier.visit(&place.account, of_disabled).await?;
            trip.check_entity(&visit, arguments.other_entity)?;
        }
    }
    let mut views = Vec::new();
    let work = async {
        for (number, (source, to)) in wanted.iter().enumerate() {
            if trip.is_hopeless() {
                trip.meter.tell(&not_tried(wanted.len() - number));
                for (source, to) in wanted.iter().skip(number) {
                    views.push(FileView::not_tried(source.to_string(), to.to_string()));
                }
                break;
            }
            let attempt = begin(&trip, &courier, source, to, of_disabled).await?;
            views.push(put(&mut trip, attempt, source, to, &rules).await?);
        }
        Ok(())
    };
    let stays = match &rules.partial {
        Some(_) => {
            "the partner sees no half file under its name; a piece under the temporary name may \
             stay there until the file is sent again"
        }
        None => {
            "this integration has no temporary suffix: half a file may stay there under its name \
             until it is sent again"
        }
    };
    let done = until_stopped(work, stays).await;
    let run = trip.run().to_owned();
    trip.meter.end();
    let settled = trip.end(context, depot).await;
    let printed = print(context, name, location, &run, &views);
    done.and(printed).and(settled)
}

fn rules(trip: &Trip, replace: bool) -> Result<SendRules, CliError> {
    let policy = &trip.partner.integration().spec.settings.outbound;
    let suffix = policy.partial_lock.then_some(&policy.partial_suffix);
    let partial = suffix
        .map(|suffix| PartialSuffix::new(suffix.as_str()))
        .transpose()?;
    Ok(SendRules {
        partial,
        on_existing: match (replace, policy.delete_then_rename) {
            (false, _) => OnExisting::Fail,
            (true, false) => OnExisting::Replace,
            (true, true) => OnExisting::DeleteFirst,
        },
        pgp: trip.keys.encrypting(trip.now),
        leftovers: exchange::Leftovers::Resume,
    })
}

/// The name that a file has with us.
fn name_there(source: &FileSource) -> Result<OsString, CliError> {
    let name = match source {
        FileSource::Home(place) => place.path.name().map(OsStr::from_bytes),
        FileSource::Local(path) => path.file_name(),
    };
    name.map(OsStr::to_owned)
        .ok_or_else(|| CliError::NoFileName {
            given: source.to_string(),
        })
}

async fn begin(
    trip: &Trip,
    courier: &Courier,
    source: &FileSource,
    to: &RemotePath,
    of_disabled: OfDisabled,
) -> Result<Attempt, CliError> {
    Ok(match source {
        FileSource::Home(place) => {
            let visit = courier.visit(&place.account, of_disabled).await?;
            trip.attempt(&visit, to)
        }
        FileSource::Local(path) => {
            let attempt = courier.attempt(trip.errand(to));
            attempt.note("local", absolute(path.as_os_str()));
            attempt
        }
    })
}

async fn put(
    trip: &mut Trip,
    attempt: Attempt,
    source: &FileSource,
    to: &RemotePath,
    rules: &SendRules,
) -> Result<FileView, CliError> {
    let name = source.to_string();
    trip.meter.begin(&name);
    let mut tries = 0;
    let mut so_far = exchange::Attempt::default();
    let mut opened = None;
    let delivered = loop {
        match once(trip, &attempt, source, &mut opened, to, rules, &mut so_far).await {
            Ok(delivered) => break Ok(delivered),
            Err(error) => {
                if let Err(error) = trip.again(&mut tries, &name, error).await {
                    break Err(error);
                }
            }
        }
    };
    trip.meter.end();
    let delivered = match delivered {
        Ok(delivered) => delivered,
        Err(error) => {
            return tell_failure(trip, attempt, (name, to.to_string()), &error, tries).await;
        }
    };
    note_delivered(&attempt, &delivered);
    if tries > 0 {
        attempt.note("tries_again", tries);
    }
    match opened {
        Some(Source::Home(file)) => {
            let recorded = file.delivered().await;
            recorded.map_err(|source| CliError::not_recorded(&name, source))?;
        }
        Some(Source::Local(_)) | None => {
            let done = attempt.done(delivered.content_bytes).await;
            done.map_err(|source| CliError::not_recorded(&name, source))?;
        }
    }
    let moved = moved(&delivered);
    Ok(FileView::moved(name, to.to_string(), &moved, tries))
}

/// One try.
async fn once(
    trip: &mut Trip,
    attempt: &Attempt,
    source: &FileSource,
    opened: &mut Option<Source>,
    to: &RemotePath,
    rules: &SendRules,
    so_far: &mut exchange::Attempt,
) -> Result<Delivered, ExchangeError> {
    let file = match opened {
        Some(file) => file,
        None => opened.insert(match source {
            FileSource::Home(place) => {
                Source::Home(HomeOutgoing::open(attempt, place.path.clone()).await?)
            }
            FileSource::Local(path) => Source::Local(LocalFile::open(path.clone()).await?),
        }),
    };
    let (server, meter) = trip.remote(attempt).await?;
    send(server, file.outgoing(), to, rules, so_far, meter).await
}

fn moved(delivered: &Delivered) -> Moved {
    let pgp = delivered.pgp.as_ref().map(
        |sealed| json!({ "encrypted_to": sealed.encrypted_to, "signed_by": sealed.signed_by }),
    );
    Moved {
        content_bytes: delivered.content_bytes,
        wire_bytes: delivered.wire_bytes,
        resumed_at: delivered.resumed_at,
        sha256: delivered.sha256,
        verified: delivered.verified,
        pgp,
        expires_at: None,
    }
}
