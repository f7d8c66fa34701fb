//! `layover integration get`: files of a partner's server to us, now.

use std::ffi::OsStr;
use std::path::PathBuf;

use layover_client::exchange::{
    ExchangeError, FetchRules, Fetched, HomeLanding, HomeTarget, LocalExisting, LocalTarget, fetch,
    look, note_fetched,
};
use layover_client::{RemoteName, RemotePath};
use layover_depot::{Attempt, Carrying, Courier, Depot, OfDisabled, Replace, VirtualPath, Visit};
use layover_retention::Timestamp;
use serde_json::json;

use super::carry::{FileView, Moved, Trip, name_of, not_tried, print, tell_failure, until_stopped};
use crate::cli::integration::GetArgs;
use crate::context::Context;
use crate::error::CliError;

/// Where the files go.
enum Goal {
    Home { visit: Visit, folder: VirtualPath },
    Local { folder: PathBuf },
}

impl Goal {
    /// Where a file of this name goes, as text.
    fn path_of(&self, name: &RemoteName) -> Result<String, CliError> {
        Ok(match self {
            Self::Home { visit, folder } => {
                format!("{}:{}", visit.account(), folder.join(name.as_bytes())?)
            }
            Self::Local { folder } => {
                let target = LocalTarget::in_folder(folder, name, LocalExisting::Keep);
                target.path().display().to_string()
            }
        })
    }
}

/// Where one file goes.
enum Place {
    Home(VirtualPath),
    Local(Box<LocalTarget>),
}

pub(super) async fn run(
    context: &mut Context,
    depot: &Depot,
    arguments: GetArgs,
) -> Result<(), CliError> {
    let GetArgs { name, location, .. } = &arguments;
    if arguments.new_name.is_some() && arguments.files.len() > 1 {
        return Err(CliError::OneNameForMany);
    }
    let mut trip = Trip::prepare(context, depot, name, location, Carrying::Download).await?;
    // Before anything is fetched: are these names at all?
    let mut wanted = Vec::new();
    for file in &arguments.files {
        let (name_there, remote) = trip.place(file)?;
        let name_here = match &arguments.new_name {
            Some(name) => trip.place(name)?.0,
            None => name_there,
        };
        wanted.push((name_of(file), (name_here, remote)));
    }
    let courier = depot.courier().await?;
    let goal = goal(&courier, &arguments).await?;
    if let Goal::Home { visit, .. } = &goal {
        trip.check_entity(visit, arguments.other_entity)?;
    }
    let mut views = Vec::new();
    let work = async {
        for (number, (name, (name_here, remote))) in wanted.iter().enumerate() {
            if trip.is_hopeless() {
                trip.meter.tell(&not_tried(wanted.len() - number));
                for (_, (name, remote)) in wanted.iter().skip(number) {
                    let to = goal.path_of(name)?;
                    views.push(FileView::not_tried(remote.to_string(), to));
                }
                break;
            }
            let replace = arguments.replace;
            let file = File {
                name,
                name_here,
                remote,
            };
            views.push(get(&mut trip, &courier, &goal, &file, replace).await?);
        }
        Ok(())
    };
    let stays = match &goal {
        Goal::Home { .. } => {
            "no file is half published; what has come stays hidden in the home, for as long as \
             [retention] partial_keep says"
        }
        Goal::Local { .. } => "no file is half published, and what has come is gone",
    };
    let done = until_stopped(work, stays).await;
    let run = trip.run().to_owned();
    trip.meter.end();
    let settled = trip.end(context, depot).await;
    let printed = print(context, name, location, &run, &views);
    done.and(printed).and(settled)
}

async fn goal(courier: &Courier, arguments: &GetArgs) -> Result<Goal, CliError> {
    let of_disabled = if arguments.even_disabled {
        OfDisabled::Serve
    } else {
        OfDisabled::Refuse
    };
    match (&arguments.to, &arguments.out) {
        (Some(place), _) => Ok(Goal::Home {
            visit: courier.visit(&place.account, of_disabled).await?,
            folder: place.path.clone(),
        }),
        (None, out) => Ok(Goal::Local {
            folder: out.clone().unwrap_or_else(|| PathBuf::from(".")),
        }),
    }
}

struct File<'a> {
    name: &'a str,
    /// The name that it gets with us.
    name_here: &'a RemoteName,
    remote: &'a RemotePath,
}

async fn get(
    trip: &mut Trip,
    courier: &Courier,
    goal: &Goal,
    file: &File<'_>,
    replace: bool,
) -> Result<FileView, CliError> {
    let (attempt, mut place, to) = match goal {
        Goal::Home { visit, folder } => {
            let path = folder.join(file.name_here.as_bytes())?;
            let to = format!("{}:{path}", visit.account());
            (trip.attempt(visit, file.remote), Place::Home(path), to)
        }
        Goal::Local { folder } => {
            let existing = if replace {
                LocalExisting::Replace
            } else {
                LocalExisting::Keep
            };
            let target = LocalTarget::in_folder(folder, file.name_here, existing);
            let to = target.path().display().to_string();
            let attempt = courier.attempt(trip.errand(file.remote));
            attempt.note("local", absolute(target.path().as_os_str()));
            (attempt, Place::Local(Box::new(target)), to)
        }
    };
    trip.meter.begin(file.name);
    let mut tries = 0;
    let fetched = loop {
        match once(trip, &attempt, &mut place, file.remote, replace).await {
            Ok(fetched) => break Ok(fetched),
            Err(error) => {
                if let Err(error) = trip.again(&mut tries, file.name, error).await {
                    break Err(error);
                }
            }
        }
    };
    trip.meter.end();
    let from = file.remote.to_string();
    match fetched {
        Ok((fetched, expires_at)) => {
            let moved = moved(&fetched, expires_at);
            if matches!(place, Place::Local(_)) {
                note_fetched(&attempt, &fetched);
                if tries > 0 {
                    attempt.note("tries_again", tries);
                }
                let done = attempt.done(fetched.content_bytes).await;
                done.map_err(|source| CliError::not_recorded(&to, source))?;
            }
            Ok(FileView::moved(from, to, &moved, tries))
        }
        Err(error) => tell_failure(trip, attempt, (from, to), &error, tries).await,
    }
}

/// One try.
async fn once(
    trip: &mut Trip,
    attempt: &Attempt,
    place: &mut Place,
    remote: &RemotePath,
    replace: bool,
) -> Result<(Fetched, Option<Timestamp>), ExchangeError> {
    let rules = FetchRules {
        pgp: trip.keys.decrypting(trip.now),
        ..FetchRules::default()
    };
    let (server, meter) = trip.remote(attempt).await?;
    match place {
        Place::Local(target) => {
            let fetched = fetch(server, remote, &mut **target, &rules, meter).await?;
            Ok((fetched, None))
        }
        Place::Home(path) => {
            let target = HomeTarget {
                path: path.clone(),
                replace: if replace {
                    Replace::Allow
                } else {
                    Replace::Refuse
                },
                remote: remote.clone(),
                source: look(server, remote).await?,
                is_encrypted: rules.pgp.is_some(),
            };
            let mut landing = HomeLanding::open(attempt, target).await?;
            match fetch(server, remote, &mut landing, &rules, meter).await {
                Ok(fetched) => {
                    let receipt = landing.receipt();
                    let expires_at = receipt.and_then(|receipt| receipt.expires_at);
                    Ok((fetched, expires_at))
                }
                Err(error) => {
                    landing.leave().await?;
                    Err(error)
                }
            }
        }
    }
}

fn moved(fetched: &Fetched, expires_at: Option<Timestamp>) -> Moved {
    let pgp = fetched
        .pgp
        .as_ref()
        .map(|opened| json!({ "opened_by": opened.opened_by, "signed_by": opened.signed_by }));
    Moved {
        content_bytes: fetched.content_bytes,
        wire_bytes: fetched.wire_bytes,
        resumed_at: fetched.resumed_at,
        sha256: fetched.sha256,
        verified: fetched.verified,
        pgp,
        expires_at,
    }
}

/// A path of this machine as the journal keeps it.
pub(super) fn absolute(path: &OsStr) -> String {
    let path = PathBuf::from(path);
    let path = std::path::absolute(&path).unwrap_or(path);
    path.display().to_string()
}
