//! `layover expect` as types.

use clap::{Args, Subcommand};
use layover_depot::{AccountName, ExpectationName, IntegrationName, LocationName};

#[derive(Debug, Subcommand)]
pub(crate) enum ExpectCommand {
    /// Expect a file in a folder here or of a partner's, by a time of day
    Add(Box<ExpectAdd>),
    /// List expectations, with when they are looked at next and what came of the last day
    List,
    /// Show one expectation
    Show {
        /// The expectation
        name: ExpectationName,
    },
    /// Change an expectation; its deadlines count from now on
    Set(Box<ExpectSet>),
    /// Look again for an expectation's file
    Enable {
        /// The expectation
        name: ExpectationName,
    },
    /// Look for an expectation's file no more
    Disable {
        /// The expectation
        name: ExpectationName,
    },
    /// Say what a look would say now, and tell nobody else: exit 0 when the file is as
    /// expected, 1 when not
    Check {
        /// The expectation
        name: ExpectationName,
    },
    /// Show what came of an expectation's days, the newest first
    History {
        /// The expectation
        name: ExpectationName,
        /// At most so many days
        #[arg(long, default_value_t = 30)]
        limit: usize,
    },
    /// Remove an expectation, with what is remembered of its days
    Remove {
        /// The expectation
        name: ExpectationName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExpectAdd {
    /// The expectation
    pub(crate) name: ExpectationName,
    /// The file's name, with * and ?, $yyyyMMdd for the day, $HHmm for any time of day
    #[arg(long, value_name = "PATTERN")]
    pub(crate) file: String,
    /// Until when it is to be there, in the entity's time zone
    #[arg(long, value_name = "HH:MM")]
    pub(crate) by: String,
    #[command(flatten)]
    pub(crate) fields: ExpectFields,
}

#[derive(Debug, Args)]
pub(crate) struct ExpectSet {
    /// The expectation
    pub(crate) name: ExpectationName,
    /// The file's name, with * and ?, $yyyyMMdd for the day, $HHmm for any time of day
    #[arg(long, value_name = "PATTERN")]
    pub(crate) file: Option<String>,
    /// Until when it is to be there, in the entity's time zone
    #[arg(long, value_name = "HH:MM")]
    pub(crate) by: Option<String>,
    #[command(flatten)]
    pub(crate) fields: ExpectFields,
}

/// Fields that `add` and `set` share.
#[derive(Debug, Default, Args)]
pub(crate) struct ExpectFields {
    /// The account in whose home the file is expected
    #[arg(
        long,
        value_name = "NAME",
        requires = "folder",
        conflicts_with = "integration"
    )]
    pub(crate) account: Option<AccountName>,
    /// The folder of that home
    #[arg(long, value_name = "/FOLDER", requires = "account")]
    pub(crate) folder: Option<String>,
    /// The integration on whose server it is expected
    #[arg(long, value_name = "NAME")]
    pub(crate) integration: Option<IntegrationName>,
    /// The location of the integration
    #[arg(
        long,
        value_name = "NAME",
        requires = "integration",
        conflicts_with = "path"
    )]
    pub(crate) location: Option<LocationName>,
    /// The folder there, where it is no location
    #[arg(long, value_name = "PATH", requires = "integration")]
    pub(crate) path: Option<String>,
    /// Days of the week as in crontab: 1-5, mon-fri, mon,thu; `*` [default: *]
    #[arg(long, value_name = "DAYS")]
    pub(crate) days: Option<String>,
    /// The date in the name is so many days from the day: -1 is the day before [default: 0]
    #[arg(long, value_name = "DAYS", allow_hyphen_values = true)]
    pub(crate) date_offset: Option<i16>,
    /// The least that it has, e.g. 1MB; `none`
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_size: Option<String>,
    /// The most that it has, e.g. 100MB; `none`
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_size: Option<String>,
    /// Its content may be that of the last time [default: no]
    #[arg(
        long,
        value_name = "yes|no",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "yes"
    )]
    pub(crate) allow_same: Option<String>,
}
