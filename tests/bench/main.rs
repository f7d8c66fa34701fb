//! Side by side with OpenSSH's `sshd` and `internal-sftp`, and over FTPS with vsftpd and ProFTPD:
//! the same client, cipher and files, in memory, one run alternating between them. And what a sweep
//! costs, on both database engines, with few and with many files in the ledger.
//!
//! `tests/run --bench` builds what is measured and calls this. Nothing here judges: it prints what
//! it found, and with `--write` puts the tables into README.md.

mod contest;
mod cost;
mod files;
mod ftps;
mod readme;
mod retention;
mod rivals;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use contest::{Contest, Line};
use readme::Place;
use rivals::{Fsync, Rivals};

const HELP: &str = "\
Usage: cargo bench --bench speed -- [--sftp | --ftps | --retention] [--runs N] [--rows N]... [--write] [NAME...]

  --sftp     only beside OpenSSH's sshd
  --ftps     only beside vsftpd and ProFTPD
  --retention  only what a sweep costs
  --rows N   files in the ledger that are not due (default: 1000000 and 10000000)
  --runs N   how often each server does each job (default 5)
  --write    put the tables into README.md
  --never    only with fsync = \"never\"
  NAME       only these: upload download put-r get-r login idle
             (SFTP), idle curl-put curl-get lftp-put lftp-get mirror mirror-4 (FTPS)";

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Sftp,
    Ftps,
    Retention,
}

/// What was asked for.
struct Wishes {
    /// One of them alone.
    part: Option<Part>,
    runs: usize,
    rows: Vec<u64>,
    write: bool,
    fsync: &'static [Fsync],
    only: Vec<String>,
}

impl Wishes {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wishes = Self {
            part: None,
            runs: 5,
            rows: Vec::new(),
            write: false,
            fsync: &[Fsync::Never, Fsync::Always],
            only: Vec::new(),
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--sftp" => wishes.part = Some(Part::Sftp),
                "--ftps" => wishes.part = Some(Part::Ftps),
                "--retention" => wishes.part = Some(Part::Retention),
                "--never" => wishes.fsync = &[Fsync::Never],
                "--write" => wishes.write = true,
                "--runs" => wishes.runs = number_behind("--runs", arguments.next())?,
                "--rows" => {
                    let rows = number_behind("--rows", arguments.next())?;
                    wishes.rows.push(rows as u64);
                }
                name if contest::JOBS.contains(&name) || ftps::JOBS.contains(&name) => {
                    wishes.only.push(name.to_owned())
                }
                other => return Err(format!("unknown argument `{other}`\n{HELP}")),
            }
        }
        if wishes.rows.is_empty() {
            wishes.rows = vec![1_000_000, 10_000_000];
        }
        Ok(wishes)
    }

    fn includes(&self, part: Part) -> bool {
        self.part.is_none_or(|only| only == part)
    }

    fn tell(&self, place: Place, table: &str) {
        println!("{table}");
        if self.write {
            let readme = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
            readme::put(&readme, place, table);
        }
    }

    fn wants(&self, job: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == job)
    }
}

fn number_behind(option: &str, argument: Option<String>) -> Result<usize, String> {
    argument
        .and_then(|number| number.parse().ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("{option} needs a number above 0"))
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == ftps::REAP).is_some() {
        return ftps::reap(arguments);
    }
    let wishes = match Wishes::parse(arguments) {
        Ok(wishes) => wishes,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(2);
        }
    };
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        eprintln!("/dev/shm is missing: measured on a disk");
        std::env::temp_dir()
    };
    if wishes.includes(Part::Sftp) {
        let lines = wishes.fsync.iter();
        let lines: Vec<Line> = lines
            .flat_map(|fsync| measure(&wishes, &place, *fsync))
            .collect();
        wishes.tell(Place::Sftp, &readme::table(&lines, wishes.runs));
    }
    if wishes.includes(Part::Ftps) {
        let lines = wishes.fsync.iter();
        let lines: Vec<ftps::Line> = lines
            .flat_map(|fsync| ftps::measure(&place, *fsync, wishes.runs, |job| wishes.wants(job)))
            .collect();
        wishes.tell(Place::Ftps, &ftps::table(&lines, wishes.runs));
    }
    if wishes.includes(Part::Retention) {
        let lines = retention::measure(&place, &wishes.rows);
        wishes.tell(Place::Retention, &retention::table(&lines));
    }
    ExitCode::SUCCESS
}

fn measure(wishes: &Wishes, place: &Path, fsync: Fsync) -> Vec<Line> {
    let rivals = Rivals::start(place, fsync);
    let mut contest = Contest::new(&rivals, wishes.runs, fsync);
    for job in contest::JOBS {
        // How a login or an idle session is kept has nothing to do with the disk.
        let depends_on_disk = !matches!(job, "login" | "idle");
        if wishes.wants(job) && (fsync == Fsync::Never || depends_on_disk) {
            contest.run(job);
        }
    }
    contest.lines
}
