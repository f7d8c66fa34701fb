//! `layover flow` as types.

use clap::{Args, Subcommand};
use layover_depot::{
    CatchUp, FlowDirection, FlowName, HomeFolder, IdempotencyMode, IntegrationName, LocationName,
    MAX_PARALLEL_FILES, MAX_RETRIES, MAX_RETRY_AFTER_S,
};

use super::integration::words;
use super::number;

#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    /// Add a flow: files move by themselves between a folder here and one of a partner's
    Add(Box<FlowAdd>),
    /// List flows, with when they run next
    List,
    /// Show one flow
    Show {
        /// The flow
        name: FlowName,
    },
    /// Change a flow; its schedule counts from now on
    Set(Box<FlowSet>),
    /// Let a flow run again
    Enable {
        /// The flow
        name: FlowName,
    },
    /// Keep a flow from running; a run that is under way comes to its end
    Disable {
        /// The flow
        name: FlowName,
    },
    /// Run a flow now, also one that is disabled; a server does it within seconds
    Run {
        /// The flow
        name: FlowName,
        /// Only list what would move
        #[arg(long)]
        dry_run: bool,
    },
    /// Try files that were given up again, by a run that is due at once
    Retry {
        /// The flow
        name: FlowName,
    },
    /// Show what a flow did, the newest run first
    History {
        /// The flow
        name: FlowName,
        /// At most so many runs; 0: all
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = number::from(0_usize))]
        limit: usize,
        /// The files of this run
        #[arg(
            long,
            value_name = "NUMBER",
            conflicts_with = "limit",
            allow_negative_numbers = true,
            value_parser = number::from(1_i64)
        )]
        run: Option<i64>,
    },
    /// Remove a flow, with what it knows of files that moved; another one of its name
    /// would move them again
    Remove {
        /// The flow
        name: FlowName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FlowAdd {
    /// The flow
    pub(crate) name: FlowName,
    /// Which way: `download` is from the partner to us
    #[arg(long, value_name = "download|upload", value_parser = words::<FlowDirection>)]
    pub(crate) direction: FlowDirection,
    /// The integration
    #[arg(long, value_name = "NAME")]
    pub(crate) integration: IntegrationName,
    /// The folder here
    #[arg(long, value_name = "ACCOUNT:/FOLDER", value_parser = home_folder)]
    pub(crate) home: HomeFolder,
    #[command(flatten)]
    pub(crate) fields: FlowFields,
}

#[derive(Debug, Args)]
pub(crate) struct FlowSet {
    /// The flow
    pub(crate) name: FlowName,
    /// Which way: `download` is from the partner to us
    #[arg(long, value_name = "download|upload", value_parser = words::<FlowDirection>)]
    pub(crate) direction: Option<FlowDirection>,
    /// The integration
    #[arg(long, value_name = "NAME")]
    pub(crate) integration: Option<IntegrationName>,
    /// The folder here
    #[arg(long, value_name = "ACCOUNT:/FOLDER", value_parser = home_folder)]
    pub(crate) home: Option<HomeFolder>,
    #[command(flatten)]
    pub(crate) fields: FlowFields,
}

/// Fields that `add` and `set` share.
#[derive(Debug, Default, Args)]
pub(crate) struct FlowFields {
    /// The location of the integration
    #[arg(long, value_name = "NAME", conflicts_with = "path")]
    pub(crate) location: Option<LocationName>,
    /// The folder there, where it is no location
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Names of files that move, with * and ?, and $yyyyMMdd for the day; repeatable; `all`
    /// [default: all]
    #[arg(long = "file", value_name = "PATTERN")]
    pub(crate) files: Vec<String>,
    /// Names of files that do not, of those; repeatable; `none`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// When it runs, as in crontab, perhaps with seconds in front: "0 0 8 * * 1-5"; `none`
    #[arg(long, value_name = "CRON")]
    pub(crate) schedule: Option<String>,
    /// Uploads: run within seconds when a file arrives in the folder here [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) on_arrival: Option<String>,
    /// The zone of the schedule and of days in names; `default` is the entity's
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    pub(crate) time_zone: Option<String>,
    /// What becomes of firings that no server was there for: one run for all, or none
    /// [default: once]
    #[arg(long, value_name = "once|skip", value_parser = words::<CatchUp>)]
    pub(crate) catch_up: Option<CatchUp>,
    /// How a file that was moved already is known [default: hash]
    #[arg(long, value_name = "hash|name|name+size+time|none", value_parser = words::<IdempotencyMode>)]
    pub(crate) idempotency: Option<IdempotencyMode>,
    /// Most files at the same time [default: 4]
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        value_parser = number::between(1, MAX_PARALLEL_FILES)
    )]
    pub(crate) max_parallel: Option<u16>,
    /// Tries of a file after the first, of what may go away by itself [default: 5]
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        value_parser = number::between(0, MAX_RETRIES)
    )]
    pub(crate) retries: Option<u16>,
    /// Seconds before the second try; they double with each [default: 30]
    #[arg(
        long,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        value_parser = number::between(1, MAX_RETRY_AFTER_S)
    )]
    pub(crate) retry_after: Option<u32>,
    /// Delete a file at its source when it was moved [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) delete_after: Option<String>,
    /// Move it to this folder beside it instead; `none`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) move_to: Option<String>,
    /// Where a file goes at its source when it was given up; `none`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dead_letter: Option<String>,
    /// The home may be of another entity than the integration [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) other_entity: Option<String>,
}

fn home_folder(text: &str) -> Result<HomeFolder, &'static str> {
    text.parse().map_err(
        |_| "name an account and a folder of its home, from / on and without ..: alice:/in",
    )
}
