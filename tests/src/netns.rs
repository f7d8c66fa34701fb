//! A network of a partner's own: a namespace that is joined to this machine by one line, in
//! which a firewall can be set up without touching anybody else's.

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::{self, Ran};

/// For `ip` and `nft`, which change the kernel's tables and are done.
const LIMIT: Duration = Duration::from_secs(30);

/// Numbers of this process' namespaces.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Removed with the value, and the line with it.
#[derive(Debug)]
pub struct PartnersNetwork {
    name: String,
    ours: Ipv4Addr,
    theirs: Ipv4Addr,
    other: Ipv4Addr,
}

impl PartnersNetwork {
    /// Makes one, or says why that cannot be here.
    pub fn make() -> Result<Self, String> {
        for program in ["ip", "nft"] {
            if !has(program) {
                return Err(format!("no `{program}` (packages iproute2, nftables)"));
            }
        }
        // 198.18.0.0/15 is for tests of networks (RFC 2544); eight addresses each.
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        let (unique, base) = loop {
            let unique = std::process::id()
                .wrapping_mul(64)
                .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let base = first + (unique % (1 << 14)) * 8;
            if is_free(base.into()) {
                break (unique, base);
            }
        };
        let network = Self {
            name: format!("lv{:x}", unique & 0x00ff_ffff),
            ours: (base + 1).into(),
            theirs: (base + 2).into(),
            other: (base + 3).into(),
        };
        network.set_up().map(|()| network)
    }

    fn set_up(&self) -> Result<(), String> {
        let (name, line) = (&self.name, self.line());
        let far = format!("{name}p");
        for step in [
            format!("netns add {name}"),
            format!("link add {line} type veth peer name {far} netns {name}"),
            format!("address add {}/29 dev {line}", self.ours),
            format!("link set {line} up"),
            format!("-n {name} address add {}/29 dev {far}", self.theirs),
            format!("-n {name} address add {}/29 dev {far}", self.other),
            format!("-n {name} link set lo up"),
            format!("-n {name} link set {far} up"),
        ] {
            let mut ip = Command::new("ip");
            let ran = process::run(ip.args(step.split(' ')), b"", LIMIT);
            if !ran.ok() {
                return Err(format!("network namespaces are not permitted here: {ran}"));
            }
        }
        self.firewall("table inet doctor { }")
            .map_err(|why| format!("nftables are not permitted here: {why}"))
    }

    fn line(&self) -> String {
        format!("{}h", self.name)
    }

    /// The server's address on the line.
    pub fn ours(&self) -> Ipv4Addr {
        self.ours
    }

    /// The partner's.
    pub fn theirs(&self) -> Ipv4Addr {
        self.theirs
    }

    /// Another one of the partner's.
    pub fn other(&self) -> Ipv4Addr {
        self.other
    }

    /// Gives the partner's firewall these rules in place of those before.
    pub fn firewall(&self, rules: &str) -> Result<(), String> {
        let mut nft = self.command("nft");
        let text = format!("flush ruleset\n{rules}\n");
        let ran = process::run(nft.args(["-f", "-"]), text.as_bytes(), LIMIT);
        ran.ok().then_some(()).ok_or_else(|| ran.to_string())
    }

    /// A program that runs in the partner's network.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs it.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str], limit: Duration) -> Ran {
        let mut command = self.command(program);
        process::run(command.args(arguments), b"", limit)
    }
}

impl Drop for PartnersNetwork {
    fn drop(&mut self) {
        let delete = |arguments: &[&str]| {
            // What was never made cannot be removed.
            Command::new("ip").args(arguments).output().ok();
        };
        delete(&["link", "delete", &self.line()]);
        delete(&["netns", "delete", &self.name]);
    }
}

/// Whether no other run of the tests has a line there.
fn is_free(base: Ipv4Addr) -> bool {
    let mut ip = Command::new("ip");
    let asked = ip.args(["-o", "address", "show", "to", &format!("{base}/29")]);
    process::run(asked, b"", LIMIT).stdout.trim().is_empty()
}

fn has(program: &str) -> bool {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let mut folders = folders.iter();
    folders.any(|folder| fs::metadata(format!("{folder}/{program}")).is_ok())
}
