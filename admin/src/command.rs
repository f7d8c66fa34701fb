//! One file per noun; this one leads each command to its file.

mod account;
mod allow;
mod apply;
mod backup;
mod ban;
mod certificate;
mod check;
mod clock;
mod demo;
mod doctor;
mod entity;
mod event;
mod evidence;
mod expect;
mod file;
mod flow;
mod folder;
mod hold;
mod host_key;
mod integration;
mod journal;
mod key;
mod kit;
mod location;
mod manual;
mod operator;
mod permission;
mod retention;
mod secrets;
mod serve;
mod server_certificate;
mod session;
mod stats;
mod status;
mod view;

use layover_config::Loaded;

use crate::cli::integration::IntegrationCommand;
use crate::cli::retention::RetentionCommand;
use crate::cli::{AccountCommand, Cli, Command, DoctorCommand, EntityCommand};
use crate::context::{Context, NewData, load};
use crate::error::CliError;

/// Reads the settings of a server and gives up what it does not need; `None` for every other
/// command. There is one thread yet, and those that come inherit what it has.
pub(crate) fn before_threads(cli: &Cli) -> Result<Option<Loaded>, CliError> {
    let Command::Serve { demo } = cli.command else {
        return Ok(None);
    };
    let config = cli.config.as_deref();
    let loaded = match demo {
        true => demo::settings(config)?,
        false => load(config)?,
    };
    layover_server::harden_process();
    layover_server::confine(&loaded.settings)?;
    Ok(Some(loaded))
}

/// Does what the command line asks for, a server with the settings of [`before_threads`].
pub(crate) async fn execute(cli: Cli, serving: Option<Loaded>) -> Result<(), CliError> {
    let Cli {
        config,
        json,
        command,
    } = cli;
    if let Some(loaded) = serving {
        return match command {
            Command::Serve { demo: true } => demo::run(config.as_deref(), loaded).await,
            _ => serve::run(loaded.settings).await,
        };
    }
    let command = match command {
        // Offline: neither settings nor data are looked at.
        Command::Retention(RetentionCommand::Verify { file, public_key }) => {
            return evidence::verify_file(&file, &public_key, json);
        }
        Command::Completions { shell } => return manual::completions(shell),
        Command::Man { out } => return manual::pages(&out, json),
        Command::Check => return check::run(config.as_deref(), json).await,
        other => other,
    };
    let new_data = match &command {
        Command::Entity(EntityCommand::Add { .. }) | Command::Account(AccountCommand::Add(_)) => {
            NewData::Make
        }
        _ => NewData::Refuse,
    };
    let mut context = Context::of_a_tool(config.as_deref(), json, new_data)?;
    match command {
        Command::Serve { .. }
        | Command::Check
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(()),
        Command::Certificate(command) => server_certificate::run(&mut context, command).await,
        Command::Backup(arguments) => backup::backup(&mut context, arguments).await,
        Command::Restore(arguments) => backup::restore(&mut context, arguments).await,
        Command::Status { health } => status::run(&mut context, health).await,
        Command::Entity(command) => entity::run(&mut context, command).await,
        Command::Account(AccountCommand::Key(command)) => key::run(&mut context, command).await,
        Command::Account(AccountCommand::Certificate(command)) => {
            certificate::run(&mut context, command).await
        }
        Command::Account(AccountCommand::Allow(command)) => allow::run(&mut context, command).await,
        Command::Account(AccountCommand::Permission(command)) => {
            permission::run(&mut context, command).await
        }
        Command::Account(AccountCommand::Kit(arguments)) => kit::run(&mut context, arguments).await,
        Command::Account(command) => account::run(&mut context, command).await,
        Command::HostKey(command) => host_key::run(&mut context, command).await,
        Command::File(command) => file::run(&mut context, command).await,
        Command::Operator(command) => operator::run(&mut context, command).await,
        Command::Retention(command) => retention::run(&mut context, command).await,
        Command::Doctor(DoctorCommand::Integration(arguments)) => {
            let test = IntegrationCommand::Test(arguments);
            integration::run(&mut context, test).await
        }
        Command::Doctor(DoctorCommand::Account { name }) => doctor::run(&mut context, &name).await,
        Command::Integration(command) => integration::run(&mut context, command).await,
        Command::Location(command) => location::run(&mut context, command).await,
        Command::Flow(command) => flow::run(&mut context, command).await,
        Command::Event(command) => event::run(&mut context, command).await,
        Command::Expect(command) => expect::run(&mut context, command).await,
        Command::Secrets(command) => secrets::run(&mut context, command).await,
        Command::Apply(arguments) => apply::apply(&mut context, arguments).await,
        Command::Export => apply::export(&mut context).await,
        Command::Session(command) => session::run(&mut context, command).await,
        Command::Ban(command) => ban::run(&mut context, command).await,
        Command::Stats(command) => stats::run(&mut context, command).await,
        Command::Journal(arguments) => journal::run(&mut context, arguments).await,
    }
}
