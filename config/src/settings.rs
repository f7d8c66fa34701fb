//! The table of all settings. A key's documentation here is its documentation
//! in `layover.example.toml`, too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::schema::section;
use crate::types::choice::{Algorithms, Checksum, Fsync, LogFormat, MinTls, Sandbox, SessionReuse};
use crate::types::count::Count;
use crate::types::database_url::DatabaseUrl;
use crate::types::host::Host;
use crate::types::label::{Label, LogLevel};
use crate::types::network::Networks;
use crate::types::port::{Port, PortRange};
use crate::types::public_address::PublicAddress;
use crate::types::secret::PemSource;
use crate::types::span::Span;
use crate::types::vault::{VaultAddress, VaultNamespace, VaultToken};

section! {
    /// Settings of Layover.
    Settings {
        /// Directory of this node's own things: keys and, by default, the SQLite
        /// database and the homes. A relative path starts at the working directory.
        data_dir: PathBuf = PathBuf::from("data"),
    }
    sections {
        server: Server,
        database: Database,
        storage: Storage,
        ftps: Ftps,
        sftp: Sftp,
        gate: Gate,
        retention: Retention,
        journal: Journal,
        outbound: Outbound,
        console: Console,
        log: Log,
    }
}

section! {
    /// What the appliance calls itself.
    Server {
        /// Host name in the banner, the certificate and the connection kits.
        public_name: Host = Host::Name("localhost".to_owned()),
        /// Shown to operators, so that nobody mistakes a test system for the real one.
        environment: Label = Label::new_static("production"),
        /// Whether the kernel (Landlock) keeps the server from writing outside of its folders
        /// and from executing anything: "auto": as far as it can; "require": in full, or it
        /// does not start; "off".
        sandbox: Sandbox = Sandbox::Auto,
    }
}

section! {
    /// Where accounts, ledger and journal are kept.
    Database {
        /// sqlite:PATH or postgres://USER@HOST/NAME, or a secret reference (env:NAME,
        /// file:/path, vault:path#field) to such a URL. Default: layover.db in data_dir.
        url: DatabaseUrl = DatabaseUrl::sqlite_in(&PathBuf::from("data")),
    }
}

section! {
    /// Where the files are kept.
    Storage {
        /// Directory of the accounts' homes; may be shared by several nodes.
        /// Default: homes in data_dir.
        homes: PathBuf = PathBuf::from("data/homes"),
        /// "always": what was acknowledged survives a power cut. "never": only for tests.
        fsync: Fsync = Fsync::Always,
        /// SHA-256 of each stored file: "background" or "off".
        checksum: Checksum = Checksum::Background,
    }
}

section! {
    /// FTP over TLS.
    Ftps {
        /// Address to listen on.
        listen: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        /// Whether FTPS with explicit TLS (AUTH TLS) is served.
        explicit_enabled: bool = true,
        /// Port for explicit TLS; 0 takes any free port.
        explicit_port: Port = Port::new(2121),
        /// Whether FTPS with implicit TLS is served.
        implicit_enabled: bool = true,
        /// Port for implicit TLS; 0 takes any free port.
        implicit_port: Port = Port::new(2990),
        /// Ports for passive data connections, first to last.
        passive_ports: PortRange = PortRange::new_static::<31_000, 32_000>(),
        /// IPv4 address that PASV tells clients for data connections, where it is not the one
        /// they came to; EPSV tells none. One address or name (looked up at the start and
        /// every five minutes), or rules, of which the first that fits counts:
        /// [{ from = "10.0.0.0/8", address = "10.0.0.5" }, { from = "any", address = "203.0.113.5" }]
        public_address: PublicAddress = PublicAddress::default(),
        /// Certificate chain, PEM file. Empty: an own certificate is made at the first start.
        certificate: Option<PathBuf> = None,
        /// Private key of the certificate: PEM file or secret reference.
        private_key: Option<PemSource> = None,
        /// Oldest TLS version: "1.2" or "1.3".
        min_tls: MinTls = MinTls::Tls12,
        /// Must a data connection resume the TLS session of its control connection?
        /// "auto": from clients that can; "require": from all; "off": from none.
        session_reuse: SessionReuse = SessionReuse::Auto,
        /// Whether PORT and EPRT are allowed, where the server connects to the client.
        active_mode: bool = false,
        /// Networks of load balancers whose PROXY protocol header is believed.
        proxy_protocol_from: Networks = Networks::default(),
    }
}

impl Ftps {
    /// Whether FTPS is served at all.
    #[must_use]
    pub const fn is_served(&self) -> bool {
        self.explicit_enabled || self.implicit_enabled
    }
}

section! {
    /// SFTP.
    Sftp {
        /// Address to listen on.
        listen: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        /// Whether SFTP is served.
        enabled: bool = true,
        /// Port; 0 takes any free port.
        port: Port = Port::new(2222),
        /// Private host keys: files or secret references. Empty: an own key is made at the
        /// first start.
        host_keys: Vec<PemSource> = Vec::new(),
        /// Public keys of authorities, one a line, whose user certificates open every account
        /// that they name, as OpenSSH's TrustedUserCAKeys: files. Read at the start.
        trusted_user_ca_keys: Vec<PathBuf> = Vec::new(),
        /// "modern", or "compatible" with clients of the last ten years.
        algorithms: Algorithms = Algorithms::Modern,
        /// Networks of load balancers whose PROXY protocol header is believed.
        proxy_protocol_from: Networks = Networks::default(),
    }
}

section! {
    /// Who may connect, and how much.
    Gate {
        /// Networks that may connect at all. Empty: those that some account allows.
        allow: Networks = Networks::default(),
        /// Networks that may never connect.
        deny: Networks = Networks::default(),
        /// Connections at once.
        max_connections: Count = Count::new_static::<2_000>(),
        /// Connections at once from one address.
        max_connections_per_address: Count = Count::new_static::<64>(),
        /// Connections at once from one network: a /24 of IPv4, a /48 of IPv6.
        max_connections_per_network: Count = Count::new_static::<1_000>(),
        /// New connections of one address within a minute.
        connection_rate: Count = Count::new_static::<6_000>(),
        /// Connections at once that have not logged in.
        max_half_open: Count = Count::new_static::<256>(),
        /// Time until a connection must have logged in.
        login_grace: Span = Span::new_static::<30>(),
        /// A session without any command ends after this time.
        idle_timeout: Span = Span::new_static::<900>(),
        /// A transfer without any byte ends after this time.
        stall_timeout: Span = Span::new_static::<120>(),
        /// Failed logins of one address, weighed, until it is banned.
        ban_score: Count = Count::new_static::<15>(),
        /// How long it is banned.
        ban_for: Span = Span::new_static::<1_800>(),
        /// Networks whose failed logins ban nobody, as those of a monitor.
        never_ban: Networks = Networks::default(),
    }
}

section! {
    /// How long files stay.
    Retention {
        /// Counted from a file's arrival; entities and accounts can differ.
        keep: Span = Span::new_static::<432_000>(),
        /// A longer keep is refused everywhere.
        max_keep: Span = Span::new_static::<432_000>(),
        /// Expired files are removed this often.
        sweep_every: Span = Span::new_static::<60>(),
        /// An interrupted upload can be resumed this long (at most max_keep).
        partial_keep: Span = Span::new_static::<86_400>(),
        /// Files that nobody has collected are reported this long before they expire.
        warn_before: Span = Span::new_static::<86_400>(),
        /// Older certificates of deletions are pruned; a signed checkpoint stays. At
        /// least as long as the journal. Empty: they stay for ever.
        certificates_keep: Option<Span> = None,
    }
}

section! {
    /// The record of what happened.
    Journal {
        /// Older entries are pruned; a signed checkpoint stays.
        keep: Span = Span::new_static::<34_560_000>(),
    }
}

section! {
    /// Exchange with partners' own servers.
    Outbound {
        /// Take secrets by reference only; refuse plain ftp and servers that nobody verifies.
        hardened: bool = false,
        /// Transfers at once.
        max_concurrent: Count = Count::new_static::<8>(),
        /// Own addresses to connect from, shown to partners for their allowlists.
        source_addresses: Vec<IpAddr> = Vec::new(),
        /// A partner's server has this long for each of: its name, TCP, the handshake, the
        /// login, a data connection.
        connect_timeout: Span = Span::new_static::<30>(),
        /// It has this long for a reply, or for the next byte of a transfer.
        stall_timeout: Span = Span::new_static::<120>(),
        /// HashiCorp Vault, for references such as vault:kv/ftp#password: https://host[:port].
        /// Empty: what the environment's VAULT_ADDR says.
        vault_address: Option<VaultAddress> = None,
        /// Where Vault's token is: env:NAME or file:/path; read whenever it is needed.
        vault_token: VaultToken = VaultToken::usual(),
        /// Certificates of the authorities that may have signed Vault's, PEM file. Empty: the
        /// system's.
        vault_ca: Option<PathBuf> = None,
        /// Vault's namespace, where it has some.
        vault_namespace: Option<VaultNamespace> = None,
    }
}

section! {
    /// Web page, HTTP API and metrics.
    Console {
        /// Whether it listens at all; without it nothing tells metrics or health.
        enabled: bool = true,
        /// Address and port to listen on; port 0 takes any free port.
        listen: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
    }
}

section! {
    /// What the server says on standard error.
    Log {
        /// "text" or "json".
        format: LogFormat = LogFormat::Text,
        /// error, warn, info, debug or trace; also by part: "info,layover_sftp=debug".
        level: LogLevel = LogLevel::info(),
    }
}
