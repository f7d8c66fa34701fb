//! The command line of Layover; builds the executable `layover`.
//!
//! The way in is [`run`]. Everything here works while a server runs and while
//! none does, because state is in the database. This crate contains no rule of
//! its own: what is allowed is decided by `layover-depot` and
//! `layover-retention`; this crate reads arguments and prints results. Nothing
//! but [`output`] writes to stdout.

mod cli;
mod client_line;
mod command;
mod context;
mod credentials;
mod error;
mod manifest;
mod new_file;
mod new_folder;
mod output;
mod password;
mod value;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextValue, ErrorKind};

use crate::cli::Cli;
use crate::error::CliError;
use crate::output::printable;

/// Exit code for a command that was refused or failed.
const FAILED: u8 = 1;

/// Exit code for a command line that cannot be understood.
const USAGE: u8 = 2;

/// Threads that serve sessions, at least: storage may hold up all but one of
/// them (`layover-depot`, `pace.rs`).
const MIN_THREADS: usize = 4;

/// Runs one command line, the name of the executable first.
///
/// Returns 0 when done, 1 when refused or failed (the reason is on stderr), 2
/// when the command line or the kind of the arguments is wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return explain(error, &arguments),
    };
    layover_server::take_up_privileged_ports();
    // What goes for the process comes before its threads, which get it from this one.
    let serving = match command::before_threads(&cli) {
        Ok(serving) => serving,
        Err(error) => return report(&error),
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(MIN_THREADS))
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(source) => return report(&CliError::Runtime { source }),
    };
    match runtime.block_on(command::execute(cli, serving)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Help and version are asked for and go to stdout; everything else is a
/// mistake in usage.
fn explain(error: clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_asked_for = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let is_printable = |argument: &OsString| {
        let text = argument.to_string_lossy();
        printable(&text) == text
    };
    // When even this cannot be printed, nobody is there to be told.
    if is_asked_for || arguments.iter().all(is_printable) {
        let _ = error.print();
    } else {
        let _ = io::stderr().write_all(repeated_safely(error).as_bytes());
    }
    match is_asked_for {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(USAGE),
    }
}

/// What the parser says of a command line that would move the cursor where it is repeated:
/// without colours, which could not be told from what was typed.
fn repeated_safely(mut error: clap::Error) -> String {
    let context: Vec<_> = error
        .context()
        .map(|(kind, value)| (kind, value.clone()))
        .collect();
    for (kind, value) in context {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(printable(&text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| printable(text)).collect())
            }
            _ => continue,
        };
        error.insert(kind, value);
    }
    printable(&error.render().to_string())
}

/// Tells on stderr what went wrong and what to do next.
fn report(error: &CliError) -> ExitCode {
    // A reader that has seen enough (`layover journal | head`) is no failure.
    if let CliError::Output { source } = error
        && source.kind() == io::ErrorKind::BrokenPipe
    {
        return ExitCode::SUCCESS;
    }
    error.explain(&mut io::stderr().lock());
    let code = if error.is_usage() { USAGE } else { FAILED };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_was_typed_is_repeated_without_what_moves_the_cursor() {
        for bad in [
            "\u{9b}2J",
            "\u{1b}[2J",
            "\u{1b}]0;title",
            "a\u{202e}b",
            "\u{7}",
        ] {
            for arguments in [
                &["layover", bad][..],
                &["layover", "journal", "--kind", bad],
                &["layover", "account", "list", bad],
                &["layover", "account", "add", bad, "--entity", "acme"],
                &["layover", "journal", "--since", bad],
                &["layover", "file", bad],
            ] {
                let error = Cli::try_parse_from(arguments).unwrap_err();
                let told = repeated_safely(error);
                assert_eq!(printable(&told), told, "{arguments:?}");
                let shown = bad.escape_default().to_string();
                let shown = shown.trim_matches(|letter| letter == 'a' || letter == 'b');
                assert!(told.contains(shown), "{arguments:?}: {told}");
                assert!(told.contains("Usage:") || told.contains("--help"), "{told}");
            }
        }
    }

    #[test]
    fn every_argument_and_verb_has_a_help_text() {
        fn look(command: &clap::Command) {
            for child in command.get_subcommands() {
                assert!(
                    child.get_about().is_some(),
                    "{} has no help",
                    child.get_name()
                );
                for option in child.get_arguments() {
                    assert!(
                        option.get_help().is_some(),
                        "{} {option} has no help",
                        child.get_name()
                    );
                }
                look(child);
            }
        }
        look(&Cli::command());
    }
}
