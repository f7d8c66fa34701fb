//! Side by side with OpenSSH's `sshd` and `internal-sftp`: the same client, cipher and files, in
//! memory, one run alternating between the two.
//!
//! `tests/run --bench` builds what is measured and calls this. Nothing here judges: it prints what
//! it found, and with `--write` puts the table into README.md.

mod contest;
mod cost;
mod readme;
mod rivals;

use std::path::{Path, PathBuf};

use contest::{Contest, Line};
use rivals::{Fsync, Rivals};

const HELP: &str = "\
Usage: cargo bench --bench sftp -- [--runs N] [--write] [NAME...]

  --runs N   how often each of the two does each job (default 5)
  --write    put the table into README.md
  NAME       only these: upload download put-r get-r login idle";

/// What was asked for.
struct Wishes {
    runs: usize,
    write: bool,
    only: Vec<String>,
}

impl Wishes {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wishes = Self {
            runs: 5,
            write: false,
            only: Vec::new(),
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--write" => wishes.write = true,
                "--runs" => {
                    wishes.runs = arguments
                        .next()
                        .and_then(|runs| runs.parse().ok())
                        .filter(|runs| *runs > 0)
                        .ok_or("--runs needs a number above 0")?;
                }
                name if contest::JOBS.contains(&name) => wishes.only.push(name.to_owned()),
                other => return Err(format!("unknown argument `{other}`\n{HELP}")),
            }
        }
        Ok(wishes)
    }

    fn wants(&self, job: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == job)
    }
}

fn main() {
    let wishes = match Wishes::parse(std::env::args().skip(1)) {
        Ok(wishes) => wishes,
        Err(fault) => {
            eprintln!("{fault}");
            std::process::exit(2);
        }
    };
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        eprintln!("/dev/shm is missing: measured on a disk");
        std::env::temp_dir()
    };
    let mut lines = Vec::new();
    for fsync in [Fsync::Never, Fsync::Always] {
        lines.extend(measure(&wishes, &place, fsync));
    }
    let table = readme::table(&lines, wishes.runs);
    println!("{table}");
    if wishes.write {
        let readme = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        readme::put(&readme, &table);
    }
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
