//! Flows: what moves files between a folder of a home and one of a partner's
//! server, by itself. What an operator says of them; `flow/` decides, the store
//! remembers, `layover-server` runs them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::values::{
    CatchUp, CronSchedule, FilePattern, FlowDirection, FlowFolder, IdempotencyMode, NotAValue,
    ZoneName,
};
use crate::{AccountName, FlowName, IntegrationName, LocationName, VirtualPath};

/// Most patterns of a flow.
pub const MAX_FLOW_FILES: usize = 100;
/// Most files that one flow moves at the same time: each is a connection, and
/// partners allow few.
pub const MAX_PARALLEL_FILES: u16 = 32;
/// Most tries of one file after the first.
pub const MAX_RETRIES: u16 = 100;
/// Longest wait before a file is tried for the second time, in seconds.
pub const MAX_RETRY_AFTER_S: u32 = 3_600;

/// What moves files between a folder of a partner's and one of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowDefinition {
    /// Its name.
    pub name: FlowName,
    /// Which way.
    pub direction: FlowDirection,
    /// Whether it is to run.
    pub enabled: bool,
    /// The integration.
    pub partner: IntegrationName,
    /// The folder there.
    #[serde(flatten)]
    pub target: FlowTarget,
    /// The folder here: `ACCOUNT:/folder`. What has another form is kept, and does
    /// not run ([`FlowDefinition::home`]).
    pub local: FlowFolder,
    /// Which files; none: all.
    pub files: Vec<FilePattern>,
    /// How a file that was moved already is known.
    pub idempotency_mode: IdempotencyMode,
    /// The file here goes when the partner has it.
    pub delete_after_upload: bool,
    /// The partner's file goes when we have it.
    pub delete_after_download: bool,
    /// When it runs; none: only when it is told to, or a file arrives.
    pub schedule_cron: Option<CronSchedule>,
    /// Everything else.
    #[serde(flatten)]
    pub rules: FlowRules,
}

/// A folder on a partner's server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowTarget {
    /// As the server calls it.
    Path(FlowFolder),
    /// A location of the integration.
    Location(LocationName),
}

impl FlowTarget {
    /// The path, or the location's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Path(path) => path.as_str(),
            Self::Location(name) => name.as_str(),
        }
    }
}

/// How a flow goes about it. What is as usual is not written down, so that flows of
/// earlier versions are what they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowRules {
    /// Which files not, of those that `files` names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<FilePattern>,
    /// Run when a file arrives in the folder here.
    #[serde(skip_serializing_if = "is_false")]
    pub on_arrival: bool,
    /// The zone of the schedule and of dates in patterns; none: the entity's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<ZoneName>,
    /// What becomes of firings that nobody was there for.
    #[serde(skip_serializing_if = "CatchUp::is_once")]
    pub catch_up: CatchUp,
    /// Most files at the same time, 1 to [`MAX_PARALLEL_FILES`].
    #[serde(skip_serializing_if = "is_parallel_default")]
    pub max_parallel: u16,
    /// Tries of a file after the first, up to [`MAX_RETRIES`]; only of what may go
    /// away by itself.
    #[serde(skip_serializing_if = "is_retries_default")]
    pub retries: u16,
    /// The wait before the second try, in seconds, up to [`MAX_RETRY_AFTER_S`]; it
    /// doubles with each.
    #[serde(skip_serializing_if = "is_retry_after_default")]
    pub retry_after_s: u32,
    /// Where the file at its source goes when it was moved: a folder beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub move_to: Option<FlowFolder>,
    /// Where it goes when it was given up; none: it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<FlowFolder>,
    /// The home may be of another entity than the integration.
    #[serde(skip_serializing_if = "is_false")]
    pub other_entity: bool,
}

const PARALLEL: u16 = 4;
const RETRIES: u16 = 5;
const RETRY_AFTER_S: u32 = 30;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_parallel_default(value: &u16) -> bool {
    *value == PARALLEL
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_retries_default(value: &u16) -> bool {
    *value == RETRIES
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_retry_after_default(value: &u32) -> bool {
    *value == RETRY_AFTER_S
}

impl Default for FlowRules {
    fn default() -> Self {
        Self {
            exclude: Vec::new(),
            on_arrival: false,
            time_zone: None,
            catch_up: CatchUp::Once,
            max_parallel: PARALLEL,
            retries: RETRIES,
            retry_after_s: RETRY_AFTER_S,
            move_to: None,
            dead_letter: None,
            other_entity: false,
        }
    }
}

/// A folder of an account's home, as `ACCOUNT:/folder`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HomeFolder {
    /// The account: files land and leave as if it moved them.
    pub account: AccountName,
    /// The folder, as the account sees it.
    pub folder: VirtualPath,
}

impl FromStr for HomeFolder {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let (account, folder) = text.split_once(':').ok_or(NotAValue)?;
        if !folder.starts_with('/') || climbs(folder) {
            return Err(NotAValue);
        }
        Ok(Self {
            account: account.parse().map_err(|_| NotAValue)?,
            folder: VirtualPath::parse(folder.as_bytes()).map_err(|_| NotAValue)?,
        })
    }
}

/// Whether a folder is named by way of another: nobody sees where it lies.
fn climbs(folder: &str) -> bool {
    folder.split('/').any(|part| matches!(part, "." | ".."))
}

impl fmt::Display for HomeFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.account, self.folder)
    }
}

impl TryFrom<String> for HomeFolder {
    type Error = NotAValue;

    fn try_from(text: String) -> Result<Self, NotAValue> {
        text.parse()
    }
}

impl From<HomeFolder> for String {
    fn from(folder: HomeFolder) -> Self {
        folder.to_string()
    }
}

/// What becomes of a file at its source when it was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterSuccess {
    /// It stays: their files are theirs.
    Keep,
    /// It goes.
    Delete,
    /// It goes to this folder.
    Move(FlowFolder),
}

/// What does not go together in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowFault {
    /// Arrivals are here.
    #[error(
        "a download cannot run on arrival: nobody tells us of files on a partner's server; give it a schedule"
    )]
    ArrivalOfDownload,
    /// There is no folder that they could arrive in.
    #[error("to run on arrival it needs an account: --home ACCOUNT:/folder")]
    ArrivalWithoutHome,
    /// Two ends for one file.
    #[error("a file is either deleted when it was moved or moved to a folder, not both")]
    DeleteAndMove,
    /// Out of range.
    #[error("it moves 1 to {MAX_PARALLEL_FILES} files at the same time")]
    Parallel,
    /// Out of range.
    #[error("a file is tried again at most {MAX_RETRIES} times")]
    Retries,
    /// Out of range.
    #[error("a file is tried again after 1 to {MAX_RETRY_AFTER_S} seconds")]
    RetryAfter,
    /// Too many.
    #[error("it has at most {MAX_FLOW_FILES} patterns of each kind")]
    Patterns,
    /// Nobody sees where it lies.
    #[error(
        "a folder that files are moved to is named without . and ..: `done`, or from the root on `/done`"
    )]
    Aside,
    /// It would find its own again.
    #[error("a folder that files are moved to is another than the one they come from")]
    AsideIsSource,
}

impl FlowDefinition {
    /// The folder here, when it names an account; without one the flow is kept and
    /// does not run.
    #[must_use]
    pub fn home(&self) -> Option<HomeFolder> {
        self.local.as_str().parse().ok()
    }

    /// What becomes of a file at its source.
    #[must_use]
    pub fn after_success(&self) -> AfterSuccess {
        let deletes = match self.direction {
            FlowDirection::Upload => self.delete_after_upload,
            FlowDirection::Download => self.delete_after_download,
        };
        match &self.rules.move_to {
            Some(folder) => AfterSuccess::Move(folder.clone()),
            None if deletes => AfterSuccess::Delete,
            None => AfterSuccess::Keep,
        }
    }

    /// Whether this is where the flow takes its files from: what is moved there would be
    /// found again. A location's folder is known only when the flow runs.
    fn takes_from(&self, folder: &FlowFolder) -> bool {
        let parts = |path: &str| -> Vec<String> {
            let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
            parts.map(ToOwned::to_owned).collect()
        };
        let is_absolute = folder.as_str().starts_with('/');
        if !is_absolute {
            return parts(folder.as_str()).is_empty();
        }
        match (self.direction, &self.target, self.home()) {
            (FlowDirection::Download, FlowTarget::Path(source), _) => {
                parts(source.as_str()) == parts(folder.as_str())
            }
            (FlowDirection::Upload, _, Some(home)) => {
                parts(&home.folder.to_string()) == parts(folder.as_str())
            }
            (FlowDirection::Download | FlowDirection::Upload, ..) => false,
        }
    }

    /// What does not go together.
    ///
    /// # Errors
    /// The first [`FlowFault`].
    pub fn check(&self) -> Result<(), FlowFault> {
        let rules = &self.rules;
        let faults = [
            (
                rules.on_arrival && self.direction == FlowDirection::Download,
                FlowFault::ArrivalOfDownload,
            ),
            (
                rules.on_arrival && self.home().is_none(),
                FlowFault::ArrivalWithoutHome,
            ),
            (
                rules.move_to.is_some() && (self.delete_after_upload || self.delete_after_download),
                FlowFault::DeleteAndMove,
            ),
            (
                !(1..=MAX_PARALLEL_FILES).contains(&rules.max_parallel),
                FlowFault::Parallel,
            ),
            (rules.retries > MAX_RETRIES, FlowFault::Retries),
            (
                !(1..=MAX_RETRY_AFTER_S).contains(&rules.retry_after_s),
                FlowFault::RetryAfter,
            ),
            (
                self.files.len() > MAX_FLOW_FILES || rules.exclude.len() > MAX_FLOW_FILES,
                FlowFault::Patterns,
            ),
            (
                [&rules.move_to, &rules.dead_letter]
                    .into_iter()
                    .flatten()
                    .any(|folder| climbs(folder.as_str())),
                FlowFault::Aside,
            ),
            (
                [&rules.move_to, &rules.dead_letter]
                    .into_iter()
                    .flatten()
                    .any(|folder| self.takes_from(folder)),
                FlowFault::AsideIsSource,
            ),
        ];
        let found = faults.into_iter().find(|(is_so, _)| *is_so);
        found.map_or(Ok(()), |(_, fault)| Err(fault))
    }

    /// As the database keeps it.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({ "version": 1, "flow": self }).to_string()
    }

    /// What the database keeps; `None` for what this version never wrote.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Kept {
            version: u32,
            flow: FlowDefinition,
        }
        let kept: Kept = serde_json::from_str(text).ok()?;
        (kept.version == 1).then_some(kept.flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As schema step 9 wrote it.
    const KEPT: &str = r#"{"flow":{"delete_after_download":false,"delete_after_upload":false,"direction":"download","enabled":true,"files":["claims_*.csv"],"idempotency_mode":"hash","local":"./storage/claims","name":"globex-claims","partner":"globex-sftp","path":"/in/claims","schedule_cron":"0 0 8 * * 1-5"},"version":1}"#;

    fn kept() -> FlowDefinition {
        FlowDefinition::from_json(KEPT).unwrap()
    }

    #[test]
    fn a_flow_of_an_earlier_version_is_what_it_was_and_written_as_it_was() {
        let flow = kept();
        assert_eq!(flow.rules, FlowRules::default());
        assert_eq!(flow.target, FlowTarget::Path("/in/claims".parse().unwrap()));
        assert_eq!(flow.home(), None);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&flow.to_json()), value(KEPT));
    }

    #[test]
    fn every_field_comes_back_from_the_database() {
        let flow = FlowDefinition {
            target: FlowTarget::Location("claims".parse().unwrap()),
            local: "alice:/in/claims".parse().unwrap(),
            rules: FlowRules {
                exclude: vec!["*.bak".parse().unwrap()],
                on_arrival: true,
                time_zone: "Europe/Brussels".parse().ok(),
                catch_up: CatchUp::Skip,
                max_parallel: 2,
                retries: 1,
                retry_after_s: 7,
                move_to: "done".parse().ok(),
                dead_letter: "dead".parse().ok(),
                other_entity: true,
            },
            ..kept()
        };
        assert_eq!(FlowDefinition::from_json(&flow.to_json()), Some(flow));
    }

    #[test]
    fn only_an_account_and_a_folder_of_it_are_a_home() {
        let home: HomeFolder = "alice:/in/claims".parse().unwrap();
        assert_eq!(home.account.as_str(), "alice");
        assert_eq!(home.folder.as_bytes(), b"/in/claims");
        for no_home in [
            "./storage/in",
            "alice",
            "alice:in",
            "C:\\in",
            ":/in",
            "alice:",
        ] {
            assert!(no_home.parse::<HomeFolder>().is_err(), "{no_home}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        type Change = fn(&mut FlowDefinition);
        let cases: [(Change, FlowFault); 8] = [
            (
                |flow| flow.rules.move_to = "/in//claims/".parse().ok(),
                FlowFault::AsideIsSource,
            ),
            (
                |flow| {
                    flow.direction = FlowDirection::Upload;
                    flow.local = "alice:/out".parse().unwrap();
                    flow.rules.dead_letter = "/out".parse().ok();
                },
                FlowFault::AsideIsSource,
            ),
            (
                |flow| flow.rules.on_arrival = true,
                FlowFault::ArrivalOfDownload,
            ),
            (
                |flow| {
                    flow.rules.on_arrival = true;
                    flow.direction = FlowDirection::Upload;
                },
                FlowFault::ArrivalWithoutHome,
            ),
            (
                |flow| {
                    flow.delete_after_download = true;
                    flow.rules.move_to = "done".parse().ok();
                },
                FlowFault::DeleteAndMove,
            ),
            (|flow| flow.rules.max_parallel = 33, FlowFault::Parallel),
            (|flow| flow.rules.retries = 101, FlowFault::Retries),
            (|flow| flow.rules.retry_after_s = 0, FlowFault::RetryAfter),
        ];
        for (change, fault) in cases {
            let mut flow = kept();
            assert_eq!(flow.check(), Ok(()));
            change(&mut flow);
            assert_eq!(flow.check(), Err(fault));
        }
        let mut most = kept();
        most.rules.max_parallel = MAX_PARALLEL_FILES;
        most.rules.retries = MAX_RETRIES;
        most.rules.retry_after_s = MAX_RETRY_AFTER_S;
        assert_eq!(most.check(), Ok(()));
    }
}
