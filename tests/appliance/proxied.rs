//! Behind a load balancer: HAProxy, which says by the PROXY protocol who its client is (F17).

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Duration;

use layover_tests::content::{sha256, write_file};
use layover_tests::external::{Login, Proof};
use layover_tests::ftps::Entry;
use layover_tests::haproxy::{Haproxy, Version, free_ports};
use layover_tests::process::{self, Ran};
use layover_tests::skip::skip;
use layover_tests::wait::PATIENCE;
use layover_tests::{Account, Engine, Layover, Setup, on_both_engines, openssh};

const PASSWORD: &str = "correct-horse-7";

/// For one conversation, in a build that is not optimised.
const LONG: Duration = Duration::from_secs(120);

/// Where the balancer listens, and whence its clients come.
const FRONT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const CLIENT: &str = "127.0.0.3";
const STRANGER: &str = "127.0.0.4";

/// Data ports of these tests.
const DATA_PORTS: u16 = 12;

/// An appliance that believes connections from 127.0.0.1, and an account that may come from
/// [`CLIENT`] and ::1 only.
struct World {
    layover: Layover,
    account: Account,
    data: RangeInclusive<u16>,
}

impl World {
    fn new(engine: Engine) -> Self {
        let addresses = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            FRONT,
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let data = free_ports(&addresses, DATA_PORTS);
        let range = format!("\"{}-{}\"", data.start(), data.end());
        let layover = Setup::new(engine)
            .set("sftp", "proxy_protocol_from", "[\"127.0.0.1\"]")
            .set("ftps", "proxy_protocol_from", "[\"127.0.0.1\"]")
            .set("ftps", "passive_ports", &range)
            .prepare();
        let account = layover
            .account("partner")
            .password(PASSWORD)
            .only_from(&[CLIENT, "::1"])
            .add();
        layover.start();
        Self {
            layover,
            account,
            data,
        }
    }

    /// A balancer at `front`; `None` when it is not installed, which was said.
    fn balancer(&self, version: Version, front: IpAddr) -> Option<Haproxy> {
        if !Haproxy::is_there() {
            skip("haproxy is not installed");
            return None;
        }
        let backs = [
            self.layover.sftp_address(),
            self.layover.ftps_address(Entry::Explicit),
            self.layover.ftps_address(Entry::Implicit),
        ];
        Some(Haproxy::start(version, front, &backs, &self.data))
    }

    fn curl(&self, scheme: &str, server: SocketAddr, from: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new("curl");
        command
            .env("HOME", &self.account.client_dir)
            .args(["--disable", "--silent", "--show-error", "--insecure"])
            .args(["--interface", from, "--ssl-reqd", "--user"])
            .arg(format!("partner:{PASSWORD}"))
            .args(arguments)
            .arg(format!("{scheme}://{server}/file"));
        process::run(&mut command, b"", LONG)
    }

    /// The last login's peer, in the journal.
    fn last_peer(&self) -> String {
        let logins = self.layover.rows(&["journal", "--kind", "login"]);
        let logins = logins.iter().filter(|entry| entry["action"] == "login");
        let last = logins.max_by_key(|entry| entry["id"].as_i64());
        let peer = &last.expect("a login")["peer"];
        peer.as_str().expect("an address").to_owned()
    }

    fn login(&self, server: SocketAddr) -> Login {
        Login {
            server,
            user: "partner".to_owned(),
            proof: Proof::Password(PASSWORD.to_owned()),
            client_dir: self.account.client_dir.clone(),
        }
    }
}

on_both_engines!(f17_allowlists_and_journal_see_the_client_behind_a_balancer);

fn f17_allowlists_and_journal_see_the_client_behind_a_balancer(engine: Engine) {
    let world = World::new(engine);
    let dir = &world.account.client_dir;
    let sum = write_file(&dir.join("source"), 3_000_000, 17);
    let (source, target) = (dir.join("source"), dir.join("target"));
    let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let ways = [
        (Version::One, FRONT, CLIENT),
        (Version::Two, FRONT, CLIENT),
        (Version::One, v6, "::1"),
        (Version::Two, v6, "::1"),
    ];
    for (version, front, client) in ways {
        let Some(balancer) = world.balancer(version, front) else {
            return;
        };
        let way = format!("{version:?} at {front}");
        let [sftp, explicit, implicit] = *balancer.fronts.as_slice() else {
            unreachable!("three fronts were asked for");
        };
        let bind = format!("BindAddress={client}");
        let commands = format!("put {from} /file\nget /file {to}\n");
        openssh::sftp(&world.login(sftp), &["-o", &bind], &commands, LONG).expect_ok();
        assert_eq!(sha256(&target), sum, "{way}");
        assert_eq!(world.last_peer(), client, "{way}");
        std::fs::remove_file(&target).expect("remove it here");
        for (scheme, server) in [("ftp", explicit), ("ftps", implicit)] {
            let put = ["--upload-file", &*from];
            world.curl(scheme, server, client, &put).expect_ok();
            let kept = world.layover.homes().join("partner/file");
            assert_eq!(sha256(&kept), sum, "{way}");
            let get = ["--output", &*to];
            world.curl(scheme, server, client, &get).expect_ok();
            assert_eq!(sha256(&target), sum, "{way}");
            assert_eq!(world.last_peer(), client, "{way}");
            std::fs::remove_file(&target).expect("remove it here");
            if front.is_ipv4() {
                // By PASV, which announces where the client found the balancer.
                let get = ["--disable-epsv", "--output", &*to];
                world.curl(scheme, server, client, &get).expect_ok();
                assert_eq!(sha256(&target), sum, "{way}");
                std::fs::remove_file(&target).expect("remove it here");
            }
        }
    }
}

/// What a server says to who comes from `from`, says `words`, and waits.
fn said(server: SocketAddr, from: &str, words: &[u8]) -> Vec<u8> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let from: IpAddr = from.parse().expect("an address");
    socket
        .bind(&SocketAddr::new(from, 0).into())
        .expect("bind it");
    socket.connect(&server.into()).expect("connect");
    let mut stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("set a limit");
    // Fails when the connection was closed at once.
    stream.write_all(words).ok();
    let mut said = Vec::new();
    let mut buffer = [0; 512];
    // A banner is enough; an error is an end as good as any.
    while said.len() < 8 {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the connection stays open, in silence")
            }
            Err(_) => break,
        }
    }
    said
}

#[test]
fn f17_who_is_not_allowed_behind_a_balancer_gets_no_byte() {
    let world = World::new(Engine::Sqlite);
    for version in [Version::One, Version::Two] {
        let Some(balancer) = world.balancer(version, FRONT) else {
            return;
        };
        for front in &balancer.fronts {
            assert_eq!(said(*front, STRANGER, b""), b"", "{version:?} {front}");
        }
        assert!(said(balancer.fronts[0], CLIENT, b"").starts_with(b"SSH-2.0-"));
        assert!(said(balancer.fronts[1], CLIENT, b"").starts_with(b"220"));
    }
}

#[test]
fn f17_a_balancer_must_say_who_comes_and_nobody_else_may() {
    let world = World::new(Engine::Sqlite);
    let header = format!("PROXY TCP4 {CLIENT} 127.0.0.1 4711 22\r\n");
    let fronts = [
        world.layover.sftp_address(),
        world.layover.ftps_address(Entry::Explicit),
    ];
    for server in fronts {
        let by_balancer = said(server, "127.0.0.1", header.as_bytes());
        assert!(by_balancer.len() >= 8, "{server}: {by_balancer:?}");
        for words in [
            b"SSH-2.0-OpenSSH_9.2\r\n".as_slice(),
            b"PROXY TCP4 127.0.0.3 nonsense\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............",
        ] {
            assert_eq!(said(server, "127.0.0.1", words), b"", "{server}");
        }
        // Whoever is no balancer is who he is, whatever he says.
        assert_eq!(said(server, STRANGER, header.as_bytes()), b"", "{server}");
    }
    let log = world.layover.log();
    assert!(log.contains("no PROXY header"), "{log}");
    // A client of its own goes on as before.
    assert!(said(fronts[0], CLIENT, b"SSH-2.0-OpenSSH_9.2\r\n").starts_with(b"SSH-2.0-"));
}
