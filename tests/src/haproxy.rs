//! HAProxy in front of an appliance, with the PROXY protocol.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::content::Dice;
use crate::wait::{self, PATIENCE};

const PROGRAM: &str = "/usr/sbin/haproxy";

/// How the header looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    One,
    /// Bytes.
    Two,
}

impl Version {
    const fn keyword(self) -> &'static str {
        match self {
            Self::One => "send-proxy",
            Self::Two => "send-proxy-v2",
        }
    }
}

/// `size` ports that are free at all of these addresses when they are looked at.
pub fn free_ports(addresses: &[IpAddr], size: u16) -> RangeInclusive<u16> {
    let mut dice = Dice::thrown("free ports");
    let free = |port| {
        addresses
            .iter()
            .all(|ip| TcpListener::bind((*ip, port)).is_ok())
    };
    wait::until("free ports", PATIENCE, || {
        let first = 20_000 + u16::try_from(dice.below(10_000)).expect("a port");
        let ports = first..=first + size - 1;
        ports.clone().all(free).then_some(ports)
    })
}

/// The running balancer; killed when dropped.
#[derive(Debug)]
pub struct Haproxy {
    child: Child,
    /// In the order in which they were asked for.
    pub fronts: Vec<SocketAddr>,
    _dir: TempDir,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Haproxy {
    /// Whether it is installed.
    pub fn is_there() -> bool {
        Path::new(PROGRAM).exists()
    }

    /// Passes connections to ports of its own at `front` on to `backs`, and those to the ports
    /// of `data` on to the same ports of 127.0.0.1.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn start(
        version: Version,
        front: IpAddr,
        backs: &[SocketAddr],
        data: &RangeInclusive<u16>,
    ) -> Self {
        let size = u16::try_from(backs.len()).expect("few servers");
        let ports = free_ports(&[front], size);
        let fronts: Vec<_> = ports.map(|port| SocketAddr::new(front, port)).collect();
        let mut text =
            "global\n    maxconn 500\ndefaults\n    mode tcp\n    timeout connect 10s\n    \
                        timeout client 60s\n    timeout server 60s\n"
                .to_owned();
        let keyword = version.keyword();
        for (front, back) in fronts.iter().zip(backs) {
            text += &format!(
                "listen front{}\n    bind {front}\n    server layover {back} {keyword}\n",
                front.port()
            );
        }
        let (first, last) = (data.start(), data.end());
        let there = Ipv4Addr::LOCALHOST;
        let bind = match front {
            IpAddr::V4(ip) => format!("{ip}:{first}-{last}"),
            IpAddr::V6(ip) => format!("[{ip}]:{first}-{last}"),
        };
        text += &format!("listen data\n    bind {bind}\n    server layover {there} {keyword}\n");
        let dir = TempDir::with_prefix("haproxy-").expect("make a folder");
        let config = dir.path().join("haproxy.cfg");
        std::fs::write(&config, text).expect("write haproxy.cfg");
        let log = std::fs::File::create(dir.path().join("log")).expect("make a log");
        let child = Command::new(PROGRAM)
            .args(["-db", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start haproxy");
        let mut balancer = Self {
            child,
            fronts,
            _dir: dir,
        };
        let last = *balancer.fronts.last().expect("a front");
        wait::until("haproxy to listen", PATIENCE, || {
            let ended = balancer.child.try_wait().expect("wait for haproxy");
            let log = balancer._dir.path().join("log");
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "haproxy ended: {}", log());
            TcpStream::connect(last).ok()
        });
        balancer
    }
}
