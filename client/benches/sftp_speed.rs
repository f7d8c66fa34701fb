//! How fast SFTP is, side by side with OpenSSH's `sftp` and `rclone`: on
//! loopback, and through a proxy that delays each direction by 25 ms.
//!
//! `cargo bench -p layover-client --bench sftp_speed -- [MiB] [rounds]`
//!
//! Needs `sshd` and, for the comparison, `sftp` and `rclone`. Prints the best
//! of all rounds, in MB/s.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement reads the clock, and stops at the first error"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use layover_client::sftp::{
    Algorithms, Credential, Fingerprint, HostTrust, KeyKind, KeyPair, KeyPairs, KnownKeys,
    SftpOptions, SftpRemote, Timeouts,
};
use layover_client::{Remote, RemotePath, Silent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Delay of each direction.
const ONE_WAY: Duration = Duration::from_millis(25);

/// What the delayed line holds, in bytes: far more than anybody sends in 25 ms.
const LINE_BYTES: usize = 256 * 1024 * 1024;

const PIECE_BYTES: usize = 256 * 1024;

struct Bench {
    folder: PathBuf,
    user: String,
    key: KeyPair,
    trust: HostTrust,
    bytes: usize,
}

fn write_private(path: &Path, key: &KeyPair) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, key.to_openssh().unwrap().as_bytes()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// One sshd for each connection, on a port of ours.
async fn serve_ssh(folder: &Path, key: &KeyPair) -> (u16, KeyPair) {
    let host_key = KeyPair::generate(KeyKind::Ed25519, "").unwrap();
    write_private(&folder.join("host_key"), &host_key);
    std::fs::write(
        folder.join("authorized_keys"),
        key.authorized_keys_line().unwrap(),
    )
    .unwrap();
    let config = folder.join("sshd_config");
    let text = format!(
        "HostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\n\
         UsePAM no\nPermitRootLogin yes\nPidFile none\nLogLevel ERROR\n\
         Subsystem sftp internal-sftp\n",
        folder.display()
    );
    std::fs::write(&config, text).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            let input = OwnedFd::from(stream);
            let output = input.try_clone().unwrap();
            let mut child = Command::new("/usr/sbin/sshd")
                .arg("-i")
                .arg("-f")
                .arg(&config)
                .stdin(Stdio::from(input))
                .stdout(Stdio::from(output))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::spawn(move || child.wait());
        }
    });
    (port, host_key)
}

/// Relays with a delay that does not limit the rate.
async fn serve_delayed(target: SocketAddr) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(target).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(delay(from_client, to_server));
            tokio::spawn(delay(from_server, to_client));
        }
    });
    port
}

async fn delay(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
    let (line, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(LINE_BYTES / PIECE_BYTES);
    tokio::spawn(async move {
        while let Some((at, piece)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    });
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        match from.read_buf(&mut piece).await {
            Ok(1..) => {}
            _ => return,
        }
        if line.send((Instant::now() + ONE_WAY, piece)).await.is_err() {
            return;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Down,
    Up,
}

impl Bench {
    fn near(&self) -> PathBuf {
        self.folder.join("near")
    }

    fn far(&self) -> PathBuf {
        self.folder.join("far")
    }

    fn options(&self, port: u16) -> SftpOptions {
        SftpOptions {
            host: "127.0.0.1".to_owned(),
            port,
            username: self.user.clone(),
            credential: Credential::Key(KeyPairs {
                current: self.key.clone(),
                previous: None,
            }),
            trust: self.trust.clone(),
            algorithms: Algorithms::Modern,
            source_address: None,
            timeouts: Timeouts::default(),
        }
    }

    /// With connection and login, as the others are measured.
    async fn ours(&self, port: u16, way: Way) {
        let mut remote = SftpRemote::connect(&self.options(port)).await.unwrap();
        let far = RemotePath::new(self.far().into_os_string().as_encoded_bytes()).unwrap();
        match way {
            Way::Down => {
                let mut file = tokio::fs::File::create(self.near()).await.unwrap();
                let got = remote.get(&far, 0, &mut file, &Silent).await.unwrap();
                assert_eq!(got.bytes, self.bytes as u64);
            }
            Way::Up => {
                let mut file = tokio::fs::File::open(self.near()).await.unwrap();
                let sent = remote.put(&far, 0, &mut file, &Silent).await.unwrap();
                assert_eq!(sent.bytes, self.bytes as u64);
            }
        }
        Box::new(remote).close().await.unwrap();
    }

    async fn openssh(&self, port: u16, way: Way) {
        let batch = self.folder.join("batch");
        let (near, far) = (self.near(), self.far());
        let line = match way {
            Way::Down => format!("get {} {}\n", far.display(), near.display()),
            Way::Up => format!("put {} {}\n", near.display(), far.display()),
        };
        std::fs::write(&batch, line).unwrap();
        run(tokio::process::Command::new("sftp")
            .args(["-q", "-P", &port.to_string(), "-i"])
            .arg(self.folder.join("key"))
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-b"])
            .arg(&batch)
            .arg(format!("{}@127.0.0.1", self.user)))
        .await;
    }

    async fn rclone(&self, port: u16, way: Way) {
        let far = format!(
            ":sftp,host=127.0.0.1,port={port},user={},key_file={}:{}",
            self.user,
            self.folder.join("key").display(),
            self.far().display()
        );
        let near = self.near().display().to_string();
        let (from, to) = match way {
            Way::Down => (far, near),
            Way::Up => (near, far),
        };
        run(tokio::process::Command::new("rclone")
            .args([
                "--config",
                "/dev/null",
                "--ignore-times",
                "--ignore-checksum",
            ])
            .args(["--sftp-disable-hashcheck", "copyto", &from, &to]))
        .await;
    }

    async fn measure(&self, who: &str, port: u16, way: Way) -> f64 {
        let content = vec![0x5a; self.bytes];
        let (source, target) = match way {
            Way::Down => (self.far(), self.near()),
            Way::Up => (self.near(), self.far()),
        };
        std::fs::write(&source, content).unwrap();
        std::fs::remove_file(&target).ok();
        let begun = Instant::now();
        match who {
            "ours" => self.ours(port, way).await,
            "sftp" => self.openssh(port, way).await,
            _ => self.rclone(port, way).await,
        }
        let seconds = begun.elapsed().as_secs_f64();
        let there = std::fs::metadata(&target).unwrap().len();
        assert_eq!(there, self.bytes as u64, "{who} {way:?}");
        self.bytes as f64 / seconds / 1e6
    }
}

async fn run(command: &mut tokio::process::Command) {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
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
    let (mib, rounds) = (number(256), number(3));
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate(KeyKind::Ed25519, "speed").unwrap();
    write_private(&folder.path().join("key"), &key);
    let (near_port, host_key) = serve_ssh(folder.path(), &key).await;
    let far_port = serve_delayed((Ipv4Addr::LOCALHOST, near_port).into()).await;
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let pinned = Fingerprint::parse(&host_key.fingerprint()).unwrap();
    let bench = Bench {
        folder: folder.path().to_owned(),
        user: String::from_utf8(user).unwrap().trim().to_owned(),
        key,
        trust: HostTrust::Known(KnownKeys::fingerprints([pinned]).unwrap()),
        bytes: mib * 1024 * 1024,
    };
    println!("{mib} MiB, best of {rounds}, MB/s");
    for (line, port) in [("loopback", near_port), ("50 ms", far_port)] {
        for way in [Way::Down, Way::Up] {
            // In turns, so that what else runs here meets all of them.
            let mut best = [0.0_f64; 3];
            for _ in 0..rounds {
                for (who, best) in ["ours", "sftp", "rclone"].into_iter().zip(&mut best) {
                    *best = best.max(bench.measure(who, port, way).await);
                }
            }
            let [ours, sftp, rclone] = best;
            println!(
                "{line:9} {way:?}: ours {ours:.0}, sftp {sftp:.0}, rclone {rclone:.0}; {:.2} x the better",
                ours / sftp.max(rclone)
            );
        }
    }
}
