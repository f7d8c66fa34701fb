//! The jobs, and what each of the two took for them.

use std::fs;

use layover_depot::timer::Stopwatch;
use layover_tests::sftp::Sftp;

use crate::cost;
use crate::files::{BIG_BYTES, fill, fill_small};
use crate::rivals::{Fsync, Rival, Rivals};

/// Every job, in the table's order.
/// Idle sessions first: what transfers took, the allocator keeps for the next ones.
pub(crate) const JOBS: [&str; 6] = ["idle", "login", "upload", "download", "put-r", "get-r"];

/// Logins in one run: one alone is below the kernel's clock tick.
const LOGINS: usize = 20;
/// Idle sessions; `sshd` has two processes for each, so it is asked for the smaller number alone.
const IDLE: [usize; 2] = [100, 1_000];

/// One line of the table.
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) openssh: Option<f64>,
    pub(crate) layover: f64,
}

struct Spent {
    wall_s: f64,
    cpu_s: f64,
}

pub(crate) struct Contest<'a> {
    rivals: &'a Rivals,
    runs: usize,
    fsync: Fsync,
    pub(crate) lines: Vec<Line>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(rivals: &'a Rivals, runs: usize, fsync: Fsync) -> Self {
        Self {
            rivals,
            runs,
            fsync,
            lines: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, job: &str) {
        eprintln!("{job}, fsync = {}", self.fsync.as_str());
        let files = &self.rivals.client_dir;
        let (big, small) = (files.join("big"), files.join("small"));
        match job {
            "upload" => {
                fill(&big, BIG_BYTES);
                let what = "1 GiB `put`";
                self.transfer(what, |base, _| format!("put {} {base}big\n", big.display()));
            }
            "download" => {
                if !big.exists() {
                    fill(&big, BIG_BYTES);
                }
                for rival in [Rival::OpenSsh, Rival::Layover] {
                    let base = self.rivals.base(rival);
                    let put = format!("put {} {base}big\n", big.display());
                    self.rivals.sftp(rival, &put);
                }
                let got = files.join("got");
                let what = "1 GiB `get`";
                self.transfer(what, |base, _| format!("get {base}big {}\n", got.display()));
                let sent = fs::read(&big).expect("read what was sent");
                assert!(
                    sent == fs::read(&got).expect("read what came back"),
                    "the file came back changed"
                );
                fs::remove_file(&got).expect("remove what came back");
                fs::remove_file(&big).expect("remove the big file");
            }
            "put-r" => {
                fill_small(&small);
                self.transfer("1,000 × 10 KiB `put -r`", |base, run| {
                    format!(
                        "mkdir {base}run{run}\nput -r {} {base}run{run}\n",
                        small.display()
                    )
                });
            }
            "get-r" => {
                fill_small(&small);
                for rival in [Rival::OpenSsh, Rival::Layover] {
                    let base = self.rivals.base(rival);
                    let put = format!("mkdir {base}all\nput -r {} {base}all\n", small.display());
                    self.rivals.sftp(rival, &put);
                }
                self.transfer("1,000 × 10 KiB `get -r`", |base, run| {
                    format!("get -r {base}all {}/got{run}\n", files.display())
                });
            }
            "login" => self.logins(),
            "idle" => self.idle(),
            other => unreachable!("the command line knows no job `{other}`"),
        }
    }

    /// Both do the same, `runs` times in turn; medians count.
    fn transfer(&mut self, what: &str, commands: impl Fn(&str, usize) -> String) {
        let rivals = self.rivals;
        let (openssh, layover) = self.alternate(|rival, run| {
            // Each of the two downloads into a place of its own.
            let run = run * 2 + usize::from(rival == Rival::Layover);
            rivals.sftp(rival, &commands(&rivals.base(rival), run));
        });
        let note = match self.fsync {
            Fsync::Never => "",
            Fsync::Always => ", Layover with `fsync = \"always\"`",
        };
        self.line(
            format!("{what}{note}: wall time"),
            "s",
            openssh.wall_s,
            layover.wall_s,
        );
        self.line(
            format!("{what}{note}: server CPU"),
            "s",
            openssh.cpu_s,
            layover.cpu_s,
        );
    }

    fn logins(&mut self) {
        let rivals = self.rivals;
        let (openssh, layover) = self.alternate(|rival, _| {
            for _ in 0..LOGINS {
                rivals.sftp(rival, &format!("ls {}\n", rivals.base(rival)));
            }
        });
        let each_ms = |spent_s: f64| spent_s * 1_000.0 / LOGINS as f64;
        let what = "Login and `ls`";
        self.line(
            format!("{what}: wall time"),
            "ms",
            each_ms(openssh.wall_s),
            each_ms(layover.wall_s),
        );
        self.line(
            format!("{what}: server CPU"),
            "ms",
            each_ms(openssh.cpu_s),
            each_ms(layover.cpu_s),
        );
    }

    fn idle(&mut self) {
        for sessions in IDLE {
            let openssh = (sessions == IDLE[0]).then(|| self.held(Rival::OpenSsh, sessions));
            let layover = self.held(Rival::Layover, sessions);
            self.lines.push(Line {
                what: format!("{sessions} idle sessions: server memory"),
                unit: "MiB",
                openssh,
                layover,
            });
        }
    }

    /// Memory of a server with so many sessions that have listed a directory and wait.
    fn held(&self, rival: Rival, sessions: usize) -> f64 {
        let base = self.rivals.base(rival);
        let waiting: Vec<Sftp> = (0..sessions)
            .map(|_| {
                let mut session = self.rivals.session(rival);
                session.list(base.as_bytes()).expect("list a folder");
                session
            })
            .collect();
        self.rivals.settle(rival);
        let memory = cost::memory_mib(self.rivals.pid(rival));
        drop(waiting);
        self.rivals.settle(rival);
        memory
    }

    fn alternate(&self, job: impl Fn(Rival, usize)) -> (Spent, Spent) {
        let mut spent = [Vec::new(), Vec::new()];
        for run in 0..self.runs {
            let mut order = [Rival::OpenSsh, Rival::Layover];
            if run % 2 == 1 {
                order.reverse();
            }
            for rival in order {
                let pid = self.rivals.pid(rival);
                self.rivals.settle(rival);
                let before_s = cost::cpu_s(pid);
                let start = Stopwatch::start();
                job(rival, run);
                let wall_s = start.elapsed().as_secs_f64();
                self.rivals.settle(rival);
                let cpu_s = cost::cpu_s(pid) - before_s;
                spent[usize::from(rival == Rival::Layover)].push(Spent { wall_s, cpu_s });
            }
        }
        let [openssh, layover] = spent.map(|all| Spent {
            wall_s: median(all.iter().map(|spent| spent.wall_s)),
            cpu_s: median(all.iter().map(|spent| spent.cpu_s)),
        });
        (openssh, layover)
    }

    fn line(&mut self, what: String, unit: &'static str, openssh: f64, layover: f64) {
        self.lines.push(Line {
            what,
            unit,
            openssh: Some(openssh),
            layover,
        });
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
