//! What must be asked for: the database, and whether files can be stored. One request
//! asks, the others get what it was told.

use std::time::Duration;

use layover_depot::timer::{self, Stopwatch};
use layover_depot::{Depot, DiskRoom, LedgerFigures};
use layover_retention::ChainName;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// How long an answer, or that there was none, is used again.
pub const FRESH_FOR: Duration = Duration::from_secs(5);

/// The same of the number of stored files, for which each of them is counted.
const COUNT_FRESH_FOR: Duration = Duration::from_secs(60);

/// How long the database, and the storage, may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// What the database knows, or what is wrong with it.
    pub(crate) ledger: Result<LedgerFigures, String>,
    /// Whether it takes writes, or why not: it may answer all the same.
    pub(crate) writes: Result<(), String>,
    /// Stored files; none while they could not be counted.
    pub(crate) stored_files: Option<u64>,
    /// Whether files can be stored, or why not.
    pub(crate) storage: Result<(), String>,
    /// Hash chains that somebody changed, and how.
    pub(crate) altered: Vec<(ChainName, String)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Asked {
    depot: Depot,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    figures: Option<(Stopwatch, Figures)>,
    count: Option<(Stopwatch, u64)>,
    /// A try that has not ended: a disk that hangs must not take one thread after the
    /// other.
    trying: Option<JoinHandle<Result<(), String>>>,
}

impl Asked {
    pub(crate) fn new(depot: Depot) -> Self {
        Self {
            depot,
            known: Mutex::default(),
        }
    }

    pub(crate) async fn figures(&self) -> Figures {
        let mut known = self.known.lock().await;
        if let Some((at, figures)) = &known.figures
            && at.elapsed() < FRESH_FOR
        {
            let writes = self.writes();
            return Figures {
                writes,
                ..figures.clone()
            };
        }
        let figures = Figures {
            ledger: limited(self.depot.ledger_figures()).await,
            writes: self.writes(),
            stored_files: self.stored_files(&mut known).await,
            storage: self.storage(&mut known).await,
            altered: self.altered().await,
        };
        known.figures = Some((Stopwatch::start(), figures.clone()));
        figures
    }

    fn writes(&self) -> Result<(), String> {
        self.depot.check_writes().map_err(|fault| chain(&fault))
    }

    /// None while the chains are being sealed and the database is slow: it says so itself.
    async fn altered(&self) -> Vec<(ChainName, String)> {
        let evidence = self.depot.evidence();
        let altered = timer::timeout(ANSWER_LIMIT, evidence.altered()).await;
        altered.unwrap_or_default()
    }

    async fn stored_files(&self, known: &mut Known) -> Option<u64> {
        if let Some((at, files)) = known.count
            && at.elapsed() < COUNT_FRESH_FOR
        {
            return Some(files);
        }
        let files = limited(self.depot.count_stored()).await.ok()?;
        known.count = Some((Stopwatch::start(), files));
        Some(files)
    }

    async fn storage(&self, known: &mut Known) -> Result<(), String> {
        let depot = self.depot.clone();
        let trying = known.trying.get_or_insert_with(|| {
            tokio::spawn(async move {
                let disks = depot.disk_room().await.map_err(|fault| chain(&fault))?;
                if let Some(warning) = disks.iter().find_map(DiskRoom::warning) {
                    return Err(warning);
                }
                depot.try_storage().await.map_err(|fault| chain(&fault))
            })
        });
        let tried = timer::timeout(ANSWER_LIMIT, trying).await;
        let Ok(ended) = tried else {
            return Err(late());
        };
        known.trying = None;
        ended.unwrap_or_else(|error| Err(chain(&error)))
    }
}

async fn limited<T, E: std::error::Error + 'static>(
    asking: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timer::timeout(ANSWER_LIMIT, asking).await {
        Ok(answer) => answer.map_err(|error| chain(&error)),
        Err(_) => Err(late()),
    }
}

fn late() -> String {
    format!("no answer within {} s", ANSWER_LIMIT.as_secs())
}

/// An error with its causes on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
