//! FTPS: Layover, vsftpd and ProFTPD do the same jobs for the same clients, in turn.

mod reaper;
mod servers;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use layover_depot::timer::Stopwatch;
use layover_tests::process;

use crate::contest::median;
use crate::cost;
use crate::files::{BIG_BYTES, fill, fill_small};
use crate::rivals::Fsync;
pub(crate) use reaper::{REAP, reap};
use servers::{Server, Servers};

/// Every job, in the table's order. Idle sessions first: what transfers took, the allocator keeps
/// for the next ones.
pub(crate) const JOBS: [&str; 7] = [
    "idle", "curl-put", "curl-get", "lftp-put", "lftp-get", "mirror", "mirror-4",
];

/// How long one job may take.
const JOB_LIMIT: Duration = Duration::from_secs(300);

/// Sessions that have listed a directory and wait.
const IDLE: usize = 100;

/// The one cipher suite, so that all do the same work.
const CURL_SUITE: [&str; 4] = [
    "--tlsv1.3",
    "--tls13-ciphers",
    "TLS_AES_256_GCM_SHA384",
    "--insecure",
];
const LFTP_SUITE: &str = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-256-GCM";

/// One line of the table: what each of [`Server::ALL`] took.
pub(crate) struct Line {
    what: String,
    unit: &'static str,
    took: [f64; 3],
}

struct Contest<'a> {
    servers: &'a Servers,
    runs: usize,
    fsync: Fsync,
    lines: Vec<Line>,
}

/// Does the jobs that `wants` names.
pub(crate) fn measure(
    place: &Path,
    fsync: Fsync,
    runs: usize,
    wants: impl Fn(&str) -> bool,
) -> Vec<Line> {
    let servers = Servers::start(place, fsync);
    let mut contest = Contest {
        servers: &servers,
        runs,
        fsync,
        lines: Vec::new(),
    };
    for job in JOBS {
        // How an idle session is kept has nothing to do with the disk.
        if wants(job) && (fsync == Fsync::Never || job != "idle") {
            contest.run(job);
        }
    }
    contest.lines
}

pub(crate) fn table(lines: &[Line], runs: usize) -> String {
    let mut text = format!(
        "| median of {runs} runs | vsftpd | ProFTPD | Layover | Layover / vsftpd | Layover / ProFTPD |\n\
         |---|---:|---:|---:|---:|---:|\n"
    );
    for Line { what, unit, took } in lines {
        let [vsftpd, proftpd, layover] = took;
        text.push_str(&format!(
            "| {what} | {vsftpd:.2} {unit} | {proftpd:.2} {unit} | {layover:.2} {unit} | {:.2} | {:.2} |\n",
            layover / vsftpd,
            layover / proftpd,
        ));
    }
    text
}

impl Contest<'_> {
    fn run(&mut self, job: &str) {
        eprintln!("{job}, fsync = {}", self.fsync.as_str());
        let files = &self.servers.client_dir;
        let (big, small, got) = (files.join("big"), files.join("small"), files.join("got"));
        let is_big = job.ends_with("-put") || job.ends_with("-get");
        if is_big && !big.exists() {
            fill(&big, BIG_BYTES);
        }
        if job.ends_with("-get") {
            for server in Server::ALL {
                let url = self.servers.url(server, "big");
                self.curl(server, &["--upload-file", &text(&big)], &url);
            }
        }
        match job {
            "idle" => self.idle(),
            "curl-put" => self.big("1 GiB up, curl", |contest, server| {
                let url = contest.servers.url(server, "big");
                contest.curl(server, &["--upload-file", &text(&big)], &url);
            }),
            "curl-get" => self.big("1 GiB down, curl", |contest, server| {
                let url = contest.servers.url(server, "big");
                contest.curl(server, &["--output", &text(&got)], &url);
            }),
            "lftp-put" => self.big("1 GiB up, lftp", |contest, server| {
                let at = contest.servers.base(server);
                contest.lftp(server, &format!("put {} -o {at}big", text(&big)));
            }),
            "lftp-get" => self.big("1 GiB down, lftp", |contest, server| {
                let at = contest.servers.base(server);
                let _ = fs::remove_file(&got);
                contest.lftp(server, &format!("get {at}big -o {}", text(&got)));
            }),
            "mirror" => self.mirror(&small, 1),
            "mirror-4" => self.mirror(&small, 4),
            other => unreachable!("the command line knows no job `{other}`"),
        }
        if job.ends_with("-get") {
            let sent = fs::read(&big).expect("read what was sent");
            assert!(
                sent == fs::read(&got).expect("read what came back"),
                "the file came back changed"
            );
            fs::remove_file(&got).expect("remove what came back");
        }
    }

    fn note(&self) -> &'static str {
        match self.fsync {
            Fsync::Never => "",
            Fsync::Always => ", Layover with `fsync = \"always\"` and checksums",
        }
    }

    fn big(&mut self, what: &str, job: impl Fn(&Self, Server)) {
        let spent = self.alternate(|contest, server, _| job(contest, server));
        let note = self.note();
        self.lines.push(Line {
            what: format!("{what}{note}: server CPU per GiB"),
            unit: "s",
            took: spent.map(|(_, cpu_s)| cpu_s),
        });
        self.lines.push(Line {
            what: format!("{what}{note}: rate"),
            unit: "MiB/s",
            took: spent.map(|(wall_s, _)| BIG_BYTES as f64 / 1_048_576.0 / wall_s),
        });
    }

    fn mirror(&mut self, small: &Path, connections: usize) {
        fill_small(small);
        let spent = self.alternate(|contest, server, run| {
            let at = contest.servers.base(server);
            let small = text(small);
            contest.lftp(
                server,
                &format!("mirror -R --parallel={connections} {small} {at}run{connections}-{run}"),
            );
        });
        let plural = if connections == 1 { "" } else { "s" };
        let note = self.note();
        let what =
            format!("1,000 × 10 KiB `lftp mirror -R`, {connections} connection{plural}{note}");
        self.lines.push(Line {
            what: format!("{what}: wall time"),
            unit: "s",
            took: spent.map(|(wall_s, _)| wall_s),
        });
        self.lines.push(Line {
            what: format!("{what}: server CPU"),
            unit: "s",
            took: spent.map(|(_, cpu_s)| cpu_s),
        });
    }

    /// Memory that each idle session takes beyond what the server has without any.
    fn idle(&mut self) {
        let mut took = [0.0; 3];
        for (server, took) in Server::ALL.into_iter().zip(&mut took) {
            // First as many that do not stay: what password checks leave with the allocator is
            // no session's.
            drop(self.servers.idle(server, IDLE, 1));
            self.servers.settle(server);
            let base_mib = cost::memory_mib(self.servers.pid(server));
            let waiting = self.servers.idle(server, 0, IDLE);
            self.servers.settle(server);
            let held_mib = cost::memory_mib(self.servers.pid(server)) - base_mib;
            drop(waiting);
            self.servers.settle(server);
            *took = held_mib * 1024.0 / IDLE as f64;
        }
        self.lines.push(Line {
            what: format!("{IDLE} idle sessions: server memory each"),
            unit: "KiB",
            took,
        });
    }

    /// All do the same, `runs` times in turn: medians of wall time and CPU, in seconds.
    fn alternate(&self, job: impl Fn(&Self, Server, usize)) -> [(f64, f64); 3] {
        let mut spent = [const { Vec::new() }; 3];
        for run in 0..self.runs {
            let mut order = Server::ALL;
            order.rotate_left(run % Server::ALL.len());
            for server in order {
                let pid = self.servers.pid(server);
                self.servers.settle(server);
                let before_s = cost::tree_cpu_s(pid);
                let start = Stopwatch::start();
                job(self, server, run);
                let wall_s = start.elapsed().as_secs_f64();
                self.servers.settle(server);
                let cpu_s = cost::tree_cpu_s(pid) - before_s;
                spent[server as usize].push((wall_s, cpu_s));
            }
        }
        spent.map(|all| {
            (
                median(all.iter().map(|(wall_s, _)| *wall_s)),
                median(all.iter().map(|(_, cpu_s)| *cpu_s)),
            )
        })
    }

    fn curl(&self, server: Server, arguments: &[&str], url: &str) {
        let mut command = Command::new("curl");
        command
            .args(["--disable", "--silent", "--show-error", "--ssl-reqd"])
            .args(CURL_SUITE)
            .args(["--user", &self.servers.login(server).join(":")])
            .args(arguments)
            .arg(url);
        process::run(&mut command, b"", JOB_LIMIT).expect_ok();
    }

    fn lftp(&self, server: Server, commands: &str) {
        let home = &self.servers.client_dir;
        let script = format!(
            "set cmd:fail-exit yes\n\
             set net:max-retries 1\n\
             set ssl:verify-certificate no\n\
             set ssl:priority {LFTP_SUITE}\n\
             set ftp:ssl-force yes\n\
             set ftp:ssl-protect-data yes\n\
             open -u {} {}\n\
             {commands}\n",
            self.servers.login(server).join(","),
            self.servers.url(server, ""),
        );
        let mut command = Command::new("lftp");
        command
            .env("HOME", home)
            .env("LFTP_HOME", home)
            .args(["-f", "/dev/stdin"]);
        process::run(&mut command, script.as_bytes(), JOB_LIMIT).expect_ok();
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
