//! `layover completions` and `layover man`: what shells and `man` need to know of the
//! command line, made from the same types that read it.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::cli::server::CompletionShell;
use crate::error::CliError;
use crate::new_folder::{self, NewText};
use crate::output::Output;

/// The executable's name.
const NAME: &str = "layover";

impl From<CompletionShell> for Shell {
    fn from(shell: CompletionShell) -> Self {
        match shell {
            CompletionShell::Bash => Self::Bash,
            CompletionShell::Zsh => Self::Zsh,
            CompletionShell::Fish => Self::Fish,
        }
    }
}

/// Prints the script that completes the command line in a shell.
pub(super) fn completions(shell: CompletionShell) -> Result<(), CliError> {
    let mut script = Vec::new();
    let shell = Shell::from(shell);
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    let text = String::from_utf8_lossy(&script);
    Ok(Output::stdout(false).line(text.trim_end())?)
}

/// Writes a manual page for each command.
pub(super) fn pages(dir: &Path, json: bool) -> Result<(), CliError> {
    let pages = all_pages()?;
    new_folder::write(dir, &pages)?;
    let names: Vec<_> = pages.iter().map(|page| page.name.as_str()).collect();
    let document = serde_json::json!({
        "directory": dir.display().to_string(),
        "files": names,
    });
    let sentence = format!("{} manual pages written to {}", names.len(), dir.display());
    Ok(Output::stdout(json).done(&document, &sentence)?)
}

fn all_pages() -> Result<Vec<NewText>, CliError> {
    let mut command = Cli::command().disable_help_subcommand(true);
    if let Some(behind) = command.get_after_help().map(ToString::to_string) {
        // Lines of a page run together, unless one is empty.
        command = command.after_help(behind.replace('\n', "\n\n"));
    }
    // Gives commands their whole names: layover-account-add.
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &clap::Command, pages: &mut Vec<NewText>) -> Result<(), CliError> {
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)
        .map_err(|source| CliError::Output { source })?;
    let name = page.get_filename();
    let text = titled(&name, &String::from_utf8_lossy(&text));
    pages.push(NewText { name, text });
    for child in command.get_subcommands() {
        add_pages(child, pages)?;
    }
    Ok(())
}

/// The page with a title line of ours: for want of a date, its maker would have the command's
/// name taken for one, and pages made twice should be the same.
fn titled(file: &str, page: &str) -> String {
    let name = file.trim_end_matches(".1").to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    let title = format!(".TH \"{name}\" 1 \"\" \"Layover {version}\" \"Layover\"");
    let lines = page.lines().map(|line| match line.starts_with(".TH ") {
        true => title.as_str(),
        false => line.trim_end(),
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(command: &clap::Command) -> usize {
        1 + command.get_subcommands().map(count).sum::<usize>()
    }

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let pages = all_pages().unwrap();
        let mut names: Vec<_> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(names.len(), count(&Cli::command()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pages.len(), "each is another");
        for name in [
            "layover.1",
            "layover-account-kit.1",
            "layover-host-key-add.1",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        for page in &pages {
            let titles = page.text.lines().filter(|line| line.starts_with(".TH "));
            assert_eq!(titles.count(), 1, "{}", page.name);
            for part in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
                assert!(page.text.contains(part), "{}: {part}", page.name);
            }
        }
    }
}
