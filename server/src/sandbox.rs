//! What the kernel keeps this process from, whatever happens in it (Landlock,
//! landlock(7)): writing outside of its own folders, executing a file, sending a signal
//! to another process.
//!
//! Reading is not restricted: certificates, keys and secrets lie wherever an operator
//! points, also while the server runs, and each may be replaced by another file. Nor are
//! connections: partners' servers have the ports that they have.
//!
//! A thread hands its restrictions to those that it starts, and to no other, so
//! [`confine`] is called before there are any.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope,
};
use layover_config::{Sandbox, Settings};
use layover_depot::Depot;
use serde::{Deserialize, Serialize};

/// The least that is of use: files that move between folders were refused before.
const LEAST: ABI = ABI::V2;

/// The newest whose rights were looked at one by one, and tried.
const NEWEST: ABI = ABI::V5;

/// What [`confine`] did, for whoever asks later.
static REPORT: OnceLock<SandboxReport> = OnceLock::new();

/// Whether the kernel keeps the server in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    /// In all that was asked for.
    Enforced,
    /// In what this kernel knows of it.
    Partly,
    /// Not: the kernel cannot.
    Unavailable,
    /// Not: an operator said so.
    SwitchedOff,
}

/// How the server is kept in, in words that an operator reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// Whether it is.
    pub state: SandboxState,
    /// Where it may write; else why it is not kept in.
    pub detail: String,
}

impl SandboxReport {
    /// Whether the kernel refuses what is not allowed.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        matches!(self.state, SandboxState::Enforced | SandboxState::Partly)
    }

    /// The line for the log, as a warning where an operator should know.
    pub fn tell(&self) {
        match self.state {
            SandboxState::Enforced => tracing::info!("sandbox: {}", self.detail),
            SandboxState::SwitchedOff => tracing::warn!("no sandbox: {}", self.detail),
            SandboxState::Partly | SandboxState::Unavailable => {
                tracing::warn!("sandbox not in full: {}", self.detail);
            }
        }
    }
}

/// Why there is no sandbox although `[server] sandbox = "require"`.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel has no Landlock, or one that is too old.
    #[error(
        "[server] sandbox = \"require\", and this kernel has no Landlock of Linux 5.19 or later, or it is switched off"
    )]
    Kernel {
        /// What the kernel says.
        source: Box<RulesetError>,
    },
    /// A right that is not of the first kernels is missing.
    #[error("[server] sandbox = \"require\", and this kernel can enforce only a part of it")]
    Partly,
    /// Folders are not there yet, and a rule needs one that is.
    #[error(
        "[server] sandbox = \"require\" needs each folder of the server to be there at its start, \
         and there is no {}; make it as the server's user: mkdir -p -m 700 {}",
        in_a_row(folders, ", no "),
        for_the_shell(folders)
    )]
    Absent {
        /// The folders.
        folders: Vec<PathBuf>,
    },
    /// A folder cannot be opened.
    #[error("the sandbox cannot be made: a folder cannot be opened")]
    Folder {
        /// Why.
        source: Box<PathFdError>,
    },
    /// The working directory is not known.
    #[error("the sandbox cannot be made")]
    WorkingDirectory {
        /// Why.
        source: io::Error,
    },
}

/// Keeps this thread, and those that it starts, from what no server does, as `[server]
/// sandbox` says. Call it before there are other threads.
///
/// # Errors
/// Only with `"require"`: [`SandboxError`] says what is missing.
pub fn confine(settings: &Settings) -> Result<(), SandboxError> {
    let report = report_of(settings.server.sandbox, || {
        let writable = Writable::of(settings)?;
        let status = ruleset(&writable)?.restrict_self().map_err(kernel)?;
        Ok((writable, status.ruleset))
    })?;
    // A second one changes nothing of what the first did.
    let _ = REPORT.set(report);
    Ok(())
}

/// What [`confine`] would do here, without doing it.
///
/// # Errors
/// As [`confine`].
pub fn look_at_sandbox(settings: &Settings) -> Result<SandboxReport, SandboxError> {
    report_of(settings.server.sandbox, || {
        let writable = Writable::of(settings)?;
        // Of a rule set that restricts nobody nothing tells how much of it would count.
        let newest = made(&writable, CompatLevel::HardRequirement).is_ok();
        ruleset(&writable)?;
        let status = match newest {
            true => RulesetStatus::FullyEnforced,
            false => RulesetStatus::PartiallyEnforced,
        };
        Ok((writable, status))
    })
}

/// What was done; `None` in a process that is no server.
#[must_use]
pub fn sandbox_report() -> Option<&'static SandboxReport> {
    REPORT.get()
}

fn report_of(
    wanted: Sandbox,
    make: impl FnOnce() -> Result<(Writable, RulesetStatus), SandboxError>,
) -> Result<SandboxReport, SandboxError> {
    let report = |state, detail| Ok(SandboxReport { state, detail });
    if wanted == Sandbox::Off {
        let detail = "[server] sandbox = \"off\"".to_owned();
        return report(SandboxState::SwitchedOff, detail);
    }
    let is_required = wanted == Sandbox::Require;
    match make() {
        Ok((writable, _)) if is_required && !writable.absent.is_empty() => {
            Err(SandboxError::Absent {
                folders: writable.absent,
            })
        }
        Ok((writable, RulesetStatus::FullyEnforced)) => {
            report(SandboxState::Enforced, writable.in_words())
        }
        Ok(_) if is_required => Err(SandboxError::Partly),
        Ok((writable, RulesetStatus::PartiallyEnforced)) => {
            let detail = format!("{}; a newer kernel enforces more", writable.in_words());
            report(SandboxState::Partly, detail)
        }
        Ok((_, RulesetStatus::NotEnforced)) => {
            let detail = "the kernel enforces nothing of it".to_owned();
            report(SandboxState::Unavailable, detail)
        }
        Err(error) if is_required => Err(error),
        Err(SandboxError::Kernel { .. }) => {
            let detail =
                "this kernel has no Landlock of Linux 5.19 or later, or it is switched off";
            report(SandboxState::Unavailable, detail.to_owned())
        }
        Err(error) => report(SandboxState::Unavailable, crate::jobs::chain(&error)),
    }
}

/// The folders below which the server may write.
#[derive(Debug, PartialEq, Eq)]
struct Writable {
    folders: Vec<PathBuf>,
    /// Wanted, and not there yet: the nearest one that is stands among the folders.
    absent: Vec<PathBuf>,
    /// SQLite's, for what it sorts.
    temporary: Option<PathBuf>,
}

impl Writable {
    fn of(settings: &Settings) -> Result<Self, SandboxError> {
        let url = settings.database.url.resolve().ok();
        let database = url.and_then(|url| Depot::sqlite_file(&url));
        let temporary = database.as_ref().and_then(|_| folder_of_sqlite());
        Self::with(
            &settings.data_dir,
            &settings.storage.homes,
            database.as_deref(),
            temporary,
        )
        .map_err(|source| SandboxError::WorkingDirectory { source })
    }

    fn with(
        data_dir: &Path,
        homes: &Path,
        database: Option<&Path>,
        temporary: Option<PathBuf>,
    ) -> io::Result<Self> {
        let mut wanted = vec![std::path::absolute(data_dir)?, std::path::absolute(homes)?];
        if let Some(database) = database {
            // What a link leads to is what SQLite opens, and puts its log beside.
            let file = std::path::absolute(database)?;
            let file = file.canonicalize().unwrap_or(file);
            wanted.extend(file.parent().map(Path::to_owned));
        }
        wanted.extend(temporary.clone());
        let keys = data_dir.join("keys");
        if keys.is_symlink() {
            wanted.push(keys.canonicalize().unwrap_or(keys));
        }
        let (mut folders, mut absent) = (Vec::new(), Vec::new());
        for folder in wanted {
            let there = folder.ancestors().find(|place| place.is_dir());
            let there = there.unwrap_or(&folder).to_owned();
            if there != folder && !absent.contains(&folder) {
                absent.push(folder);
            }
            if !folders.contains(&there) {
                folders.push(there);
            }
        }
        // One within another says nothing; a link within it may lead out.
        let all = folders.clone();
        folders.retain(|folder| {
            let is_link = folder.ancestors().any(Path::is_symlink);
            is_link
                || !all
                    .iter()
                    .any(|other| other != folder && folder.starts_with(other))
        });
        Ok(Self {
            folders,
            absent,
            temporary,
        })
    }

    fn in_words(&self) -> String {
        let folders = self.folders.iter().map(|folder| {
            // Nobody has set this one.
            let why = match self.temporary.as_ref() == Some(folder) {
                true => " (where SQLite puts what it sorts)",
                false => "",
            };
            format!("{}{why}", folder.display())
        });
        let mut text = format!(
            "the kernel lets it write below {} only, and execute nothing",
            folders.collect::<Vec<_>>().join(", ")
        );
        if !self.absent.is_empty() {
            let absent = in_a_row(&self.absent, ", ");
            text.push_str(&format!(
                " ({absent} not there yet: less at the next start)"
            ));
        }
        text
    }
}

fn in_a_row(folders: &[PathBuf], between: &str) -> String {
    let shown: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
    shown.join(between)
}

/// Each as one word of a shell's line, whatever is in it.
fn for_the_shell(folders: &[PathBuf]) -> String {
    let words = folders.iter().map(|folder| {
        let text = folder.display().to_string();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
        match text.chars().all(is_plain) {
            true => text,
            false => format!("'{}'", text.replace('\'', r"'\''")),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Where SQLite puts what it sorts: the first of these that is there and may be written
/// to (os_unix.c, unixTempFileDir), which it asks without knowing of the sandbox.
fn folder_of_sqlite() -> Option<PathBuf> {
    use rustix::fs::{Access, access};
    let named = ["SQLITE_TMPDIR", "TMPDIR"];
    let named = named.into_iter().filter_map(std::env::var_os);
    let usual = ["/var/tmp", "/usr/tmp", "/tmp"];
    let all = named.map(PathBuf::from).chain(usual.map(PathBuf::from));
    all.filter(|folder| folder.is_dir())
        .find(|folder| access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok())
}

fn kernel(source: RulesetError) -> SandboxError {
    let source = Box::new(source);
    SandboxError::Kernel { source }
}

fn ruleset(writable: &Writable) -> Result<RulesetCreated, SandboxError> {
    made(writable, CompatLevel::BestEffort)
}

/// A rule set of which everything but [`LEAST`] is as the kernel has it, or must be there.
fn made(writable: &Writable, newest: CompatLevel) -> Result<RulesetCreated, SandboxError> {
    let write = |abi| -> BitFlags<AccessFs> { AccessFs::from_write(abi) };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(write(LEAST) | AccessFs::Execute)
        .map_err(kernel)?
        .set_compatibility(newest)
        .handle_access(write(NEWEST))
        .map_err(kernel)?
        .scope(Scope::Signal)
        .map_err(kernel)?
        .create()
        .map_err(kernel)?;
    for folder in &writable.folders {
        let opened = PathFd::new(folder).map_err(|source| SandboxError::Folder {
            source: Box::new(source),
        })?;
        let rule = PathBeneath::new(opened, write(NEWEST));
        ruleset = ruleset.add_rule(rule).map_err(kernel)?;
    }
    Ok(ruleset)
}

#[cfg(test)]
mod tests;
