//! `layover event` as types.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use layover_depot::{EntityName, EventId, EventKind, HookName, SecretReference};

use super::{YesNo, number};
use crate::value::Moment;

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// List what happened, or what hooks were not told of it yet
    List(EventListArgs),
    /// Who is told of it over HTTPS
    #[command(subcommand)]
    Hook(HookCommand),
}

#[derive(Debug, Args)]
pub(crate) struct EventListArgs {
    /// Only of this entity
    #[arg(long)]
    pub(crate) entity: Option<EntityName>,
    /// Only of this kind, e.g. file.arrived
    #[arg(long)]
    pub(crate) kind: Option<EventKind>,
    /// Only since then: 1h or 30d (ago), 2027-01-31 (the start of that day, UTC) or
    /// 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<Moment>,
    /// Only the newest N events; 0 is all [default: 100, with --since all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::from(0_u64))]
    pub(crate) limit: Option<u64>,
    /// Wait for new events and print them, one a line
    #[arg(long, conflicts_with_all = ["limit", "undelivered"])]
    pub(crate) follow: bool,
    /// What hooks do not have: what is still tried, and what was given up (dead)
    #[arg(long, conflicts_with_all = ["entity", "kind", "since"])]
    pub(crate) undelivered: bool,
    /// Only of this hook
    #[arg(long, requires = "undelivered")]
    pub(crate) hook: Option<HookName>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HookCommand {
    /// Tell a web server of your own of every event from now on, in signed requests
    Add(Box<HookAdd>),
    /// List hooks, with what waits for them
    List,
    /// Show one hook
    Show {
        /// The hook
        name: HookName,
    },
    /// Change a hook; what waits for it goes where it leads from now on
    Set(Box<HookSet>),
    /// Tell a hook again
    Enable {
        /// The hook
        name: HookName,
    },
    /// Tell a hook nothing more; what it does not have yet waits
    Disable {
        /// The hook
        name: HookName,
    },
    /// Send an event of kind hook.test now, and say what the hook answers
    Test {
        /// The hook
        name: HookName,
    },
    /// Send what was given up (dead) again
    Retry {
        /// The hook
        name: HookName,
        /// Only this event
        #[arg(long, value_name = "ID")]
        event: Option<EventId>,
    },
    /// Remove a hook, with what it was not told yet
    Remove {
        /// The hook
        name: HookName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HookAdd {
    /// The hook
    pub(crate) name: HookName,
    /// Where requests go: https://host[:port]/path
    #[arg(long)]
    pub(crate) url: String,
    /// Only events of this entity [default: of all, and of the appliance itself]
    #[arg(long)]
    pub(crate) entity: Option<EntityName>,
    /// Only events of this kind, e.g. file.arrived; repeatable [default: all]
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<EventKind>,
    /// Where the secret is that requests are signed with: env:NAME, file:/path,
    /// vault:path#field [default: one is made, sealed, and shown once]
    #[arg(long, value_name = "REF", conflicts_with = "secret_stdin")]
    pub(crate) secret: Option<SecretReference>,
    /// Read that secret from the first line of standard input, and keep it sealed
    #[arg(long)]
    pub(crate) secret_stdin: bool,
    /// File with the certificates (PEM) of who signed the web server's [default: the system's
    /// authorities]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_certificate: Option<PathBuf>,
    /// Allow http:// to another machine: anybody on the way reads what is told
    #[arg(long)]
    pub(crate) allow_plain: bool,
    /// Allow link-local addresses and those of clouds' metadata services
    #[arg(long)]
    pub(crate) allow_any_address: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HookSet {
    /// The hook
    pub(crate) name: HookName,
    /// Where requests go: https://host[:port]/path
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Only events of this kind from now on; repeatable
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<EventKind>,
    /// Events of all kinds from now on
    #[arg(long, conflicts_with = "kinds")]
    pub(crate) all_kinds: bool,
    /// Where the secret is that requests are signed with: env:NAME, file:/path,
    /// vault:path#field
    #[arg(long, value_name = "REF", conflicts_with_all = ["secret_stdin", "new_secret"])]
    pub(crate) secret: Option<SecretReference>,
    /// Read that secret from the first line of standard input, and keep it sealed
    #[arg(long, conflicts_with = "new_secret")]
    pub(crate) secret_stdin: bool,
    /// Make another secret, which is sealed, and shown once
    #[arg(long)]
    pub(crate) new_secret: bool,
    /// File with the certificates (PEM) of who signed the web server's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_certificate: Option<PathBuf>,
    /// Check the web server by the system's authorities
    #[arg(long, conflicts_with = "ca_certificate")]
    pub(crate) system_authorities: bool,
    /// Allow http:// to another machine: anybody on the way reads what is told
    #[arg(long, value_name = "yes|no")]
    pub(crate) allow_plain: Option<YesNo>,
    /// Allow link-local addresses and those of clouds' metadata services
    #[arg(long, value_name = "yes|no")]
    pub(crate) allow_any_address: Option<YesNo>,
}
