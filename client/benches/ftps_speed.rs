//! How fast FTPS is, side by side with `lftp`, against vsftpd and ProFTPD on loopback.
//!
//! `cargo bench -p layover-client --bench ftps_speed -- [MiB] [rounds]`
//!
//! Needs the servers of `tests/run`, root, and `lftp`. Prints medians over all
//! rounds: MB/s, and the client's CPU seconds per GiB.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement reads the clock, and stops at the first error"
)]

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/ftps/authority.rs"]
mod authority;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/ftps/servers.rs"]
mod servers;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use layover_client::ftps::{Ftps, FtpsOptions, Security};
use layover_client::{Remote, RemotePath, Silent};
use servers::{Server, Setup, Software};
use tokio::time::Instant;

/// Clock ticks per second in `/proc`: the same on every Linux of this world.
const TICKS: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Down,
    Up,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    Lftp,
}

struct Bench {
    folder: PathBuf,
    bytes: usize,
}

/// What one transfer took.
#[derive(Clone, Copy)]
struct Taken {
    rate: f64,
    cpu: f64,
}

impl Bench {
    fn near(&self) -> PathBuf {
        self.folder.join("near")
    }

    async fn ours(&self, options: &FtpsOptions, way: Way) {
        let mut remote = Ftps::connect(options.clone()).await.unwrap();
        let far = RemotePath::new(b"files/far").unwrap();
        match way {
            Way::Down => {
                let mut file = tokio::fs::File::create(self.near()).await.unwrap();
                file.set_max_buf_size(256 * 1024);
                let got = remote.get(&far, 0, &mut file, &Silent).await.unwrap();
                assert_eq!(got.bytes, self.bytes as u64);
            }
            Way::Up => {
                let mut file = tokio::fs::File::open(self.near()).await.unwrap();
                file.set_max_buf_size(256 * 1024);
                let sent = remote.put(&far, 0, &mut file, &Silent).await.unwrap();
                assert_eq!(sent.bytes, self.bytes as u64);
            }
        }
        Box::new(remote).close().await.unwrap();
    }

    async fn lftp(&self, options: &FtpsOptions, authority: &Path, way: Way) {
        let verb = match way {
            Way::Down => format!("get files/far -o {}", self.near().display()),
            Way::Up => format!("put {} -o files/far", self.near().display()),
        };
        let scheme = match options.security {
            Security::Implicit => "ftps",
            Security::Explicit | Security::Plain => "ftp",
        };
        let script = format!(
            "set cmd:fail-exit yes; set ssl:ca-file {}; set ftp:ssl-force yes; \
             set ftp:ssl-protect-data yes; set xfer:clobber yes; set ssl:check-hostname no; \
             set net:max-retries 1; open -u {},{} {scheme}://{}:{}; {verb}; bye",
            authority.display(),
            options.username,
            std::str::from_utf8(options.password.expose()).unwrap(),
            options.host,
            options.port.unwrap(),
        );
        let output = tokio::process::Command::new("lftp")
            .args(["--norc", "-c", &script])
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    async fn measure(&self, server: &Server, authority: &Path, who: Who, way: Way) -> Taken {
        let far = server.files.join("far");
        let (source, target) = match way {
            Way::Down => (far.clone(), self.near()),
            Way::Up => (self.near(), far.clone()),
        };
        std::fs::remove_file(&target).ok();
        std::fs::write(&source, vec![0x5a; self.bytes]).unwrap();
        let options = server.options();
        let cpu = cpu_seconds();
        let begun = Instant::now();
        match who {
            Who::Ours => self.ours(&options, way).await,
            Who::Lftp => self.lftp(&options, authority, way).await,
        }
        let seconds = begun.elapsed().as_secs_f64();
        let there = std::fs::metadata(&target).unwrap().len();
        assert_eq!(there, self.bytes as u64, "{who:?} {way:?}");
        let gib = self.bytes as f64 / f64::from(1 << 30);
        Taken {
            rate: self.bytes as f64 / seconds / 1e6,
            cpu: (cpu_seconds() - cpu) / gib,
        }
    }
}

/// CPU time of this process and of the children that it has waited for (proc(5)).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    ticks as f64 / TICKS
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    // cargo adds `--bench` to them.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let mut number = |otherwise| {
        arguments
            .next()
            .map_or(otherwise, |text| text.parse::<usize>().unwrap())
    };
    let (mib, rounds) = (number(512), number(5));
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench {
        folder: folder.path().to_owned(),
        bytes: mib * 1024 * 1024,
    };
    println!("{mib} MiB, medians of {rounds}");
    for software in [Software::Vsftpd, Software::ProFtpd] {
        let server = match Server::start(Setup::new(software, Security::Explicit)) {
            Ok(server) => server,
            Err(reason) => panic!("{reason}"),
        };
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, server.authority.pem()).unwrap();
        for way in [Way::Down, Way::Up] {
            // In turns, so that what else runs here meets both.
            let mut taken = [Vec::new(), Vec::new()];
            for _ in 0..rounds {
                for (who, taken) in [Who::Ours, Who::Lftp].into_iter().zip(&mut taken) {
                    taken.push(bench.measure(&server, &authority, who, way).await);
                }
            }
            let [ours, lftp] = taken.map(|all| {
                (
                    median(all.iter().map(|one| one.rate)),
                    median(all.iter().map(|one| one.cpu)),
                )
            });
            println!(
                "{software:?} {way:?}: ours {:.0} MB/s, {:.2} s/GiB; lftp {:.0} MB/s, {:.2} s/GiB; \
                 rate {:.2} x, CPU {:.2} x",
                ours.0,
                ours.1,
                lftp.0,
                lftp.1,
                ours.0 / lftp.0,
                ours.1 / lftp.1,
            );
        }
    }
}
