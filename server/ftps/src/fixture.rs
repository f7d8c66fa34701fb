//! A depot of the calling test's own with two accounts, a server over it on
//! loopback, and a client that says what it likes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use layover_depot::{
    AccountChange, Actor, AuthPolicy, Balancers, CertificateUse, Depot, Fsync, GateOptions,
    JournalEntry, JournalFilter, Network, NewAccount, NewCertificate, NewEntity, NewNetwork,
    Options as DepotOptions, Protocols, Role, Secret, SessionReuse, timer,
};
use layover_retention::{Keep, ManualClock};
use rustls::ClientConfig;
use rustls::SupportedProtocolVersion;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::{ActiveMode, Entry, Options, Server};
use crate::tls::Tls;
use crate::tls::tests::{
    Certified, certified_client, client as tls_client, connect as tls_connect, tls,
};

pub(crate) const USER: &str = "alice";
pub(crate) const OTHER: &str = "bob";
pub(crate) const PASSWORD: &str = "correct horse";

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A depot with a server.
pub(crate) struct World {
    pub(crate) depot: Depot,
    pub(crate) soft: CancellationToken,
    pub(crate) hard: CancellationToken,
    tls: Arc<Tls>,
    explicit: SocketAddr,
    implicit: SocketAddr,
    folder: tempfile::TempDir,
    _tasks: TaskTracker,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With the options changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-11-21T04:00:00Z".parse().unwrap()));
        let depot = depot(&folder, &clock).await;
        let tls = Arc::new(tls());
        let mut options = Options {
            tls: Arc::clone(&tls),
            passive_ports: 34_000..=34_999,
            balancers: Balancers::default(),
            public_addresses: Arc::default(),
            session_reuse: SessionReuse::Auto,
            active_mode: ActiveMode::Refused,
            public_name: "ftp.example.com".to_owned(),
            login_grace: PATIENCE,
            idle_timeout: PATIENCE,
            stall_timeout: PATIENCE,
            clock,
        };
        change(&mut options);
        let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
        let server = Server::new(depot.clone(), options, soft.clone(), hard.clone());
        let tasks = TaskTracker::new();
        let explicit = listen(&server, &depot, Entry::Explicit, &tasks).await;
        let implicit = listen(&server, &depot, Entry::Implicit, &tasks).await;
        Self {
            depot,
            soft,
            hard,
            tls,
            explicit,
            implicit,
            folder,
            _tasks: tasks,
        }
    }

    /// A client's TLS with a memory of its own.
    pub(crate) fn tls_of(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        tls_client(&self.tls.identity(), version)
    }

    /// A connection in the clear, greeted.
    pub(crate) async fn plain(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.explicit).await.unwrap();
        let mut client = Client::new(stream, self.tls_of(&TLS13));
        assert_eq!(client.reply().await.0, 220);
        client
    }

    /// A connection that has begun with AUTH TLS.
    pub(crate) async fn secured(&self) -> Client<TlsStream<TcpStream>> {
        let mut plain = self.plain().await;
        assert_eq!(plain.ask("AUTH TLS").await.0, 234);
        let stream = tls_connect(&plain.config, plain.stream).await.unwrap();
        Client::new(stream, plain.config)
    }

    /// A client that is logged in, over the implicit port, with PROT P and TYPE I.
    pub(crate) async fn logged_in(&self) -> Client<TlsStream<TcpStream>> {
        self.logged_in_as(USER, self.tls_of(&TLS13)).await
    }

    pub(crate) async fn logged_in_as(
        &self,
        user: &str,
        config: ClientConfig,
    ) -> Client<TlsStream<TcpStream>> {
        self.logged_in_from(Ipv4Addr::LOCALHOST, user, config).await
    }

    pub(crate) async fn logged_in_from(
        &self,
        address: Ipv4Addr,
        user: &str,
        config: ClientConfig,
    ) -> Client<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let stream = socket.connect(self.implicit).await.unwrap();
        let stream = tls_connect(&config, stream).await.unwrap();
        let mut client = Client::new(stream, config);
        assert_eq!(client.reply().await.0, 220);
        assert_eq!(client.ask(&format!("USER {user}")).await.0, 331);
        assert_eq!(client.ask(&format!("PASS {PASSWORD}")).await.0, 230);
        assert_eq!(client.ask("TYPE I").await.0, 200);
        client
    }

    /// An operator gives an account this certificate; servers notice.
    pub(crate) async fn trust(&self, account: &str, certified: &Certified) {
        let now = "2026-11-21T04:00:00Z".parse().unwrap();
        let certificate =
            NewCertificate::from_pem(certified.pem.as_bytes(), CertificateUse::Login, now).unwrap();
        let (actor, name) = (Actor::new("operator"), account.parse().unwrap());
        let registry = self.depot.registry();
        registry
            .add_certificate(&actor, &name, &certificate)
            .await
            .unwrap();
        self.depot.refresh().await.unwrap();
    }

    /// An operator changes what an account must show.
    pub(crate) async fn set_auth(&self, account: &str, auth: AuthPolicy) {
        let change = AccountChange {
            auth: Some(auth),
            ..AccountChange::default()
        };
        let (actor, name) = (Actor::new("operator"), account.parse().unwrap());
        let registry = self.depot.registry();
        registry
            .change_account(&actor, &name, &change)
            .await
            .unwrap();
    }

    /// A connection over the implicit port, greeted.
    pub(crate) async fn greeted(&self, config: ClientConfig) -> Client<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.implicit).await.unwrap();
        let stream = tls_connect(&config, stream).await.unwrap();
        let mut client = Client::new(stream, config);
        assert_eq!(client.reply().await.0, 220);
        client
    }

    /// Says these bytes at once on a port, in a connection of its own; returns when the
    /// server has ended it.
    pub(crate) async fn says(&self, entry: Entry, bytes: &[u8]) {
        let port = match entry {
            Entry::Explicit => self.explicit,
            Entry::Implicit => self.implicit,
        };
        let mut stream = TcpStream::connect(port).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        // Ended, or reset over what was not read.
        let _ = timer::timeout(PATIENCE, ended).await.expect("an end");
    }

    /// A connection over the implicit port whose handshake the server refuses; returns
    /// when the server has ended it.
    pub(crate) async fn refused(&self, config: ClientConfig) {
        let stream = TcpStream::connect(self.implicit).await.unwrap();
        // With TLS 1.3 the client is done before the server has judged.
        if let Ok(mut stream) = tls_connect(&config, stream).await {
            assert!(stream.read(&mut [0; 1]).await.is_err());
        }
    }

    /// A client's TLS with a certificate.
    pub(crate) fn tls_with(
        &self,
        version: &'static SupportedProtocolVersion,
        certified: &Certified,
    ) -> ClientConfig {
        certified_client(&self.tls.identity(), version, certified)
    }

    /// An operator changes the account's rule for data connections; servers notice.
    pub(crate) async fn set_session_reuse(&self, account: &str, reuse: Option<SessionReuse>) {
        let change = AccountChange {
            session_reuse: Some(reuse),
            ..AccountChange::default()
        };
        self.change(account, change).await;
    }

    /// An operator gives an account this quota; servers notice.
    pub(crate) async fn set_quota(&self, account: &str, quota_bytes: u64) {
        let change = AccountChange {
            quota_bytes: Some(Some(quota_bytes)),
            ..AccountChange::default()
        };
        self.change(account, change).await;
    }

    /// An operator changes an account; servers notice.
    pub(crate) async fn change(&self, account: &str, change: AccountChange) {
        let (actor, name) = (Actor::new("operator"), account.parse().unwrap());
        let registry = self.depot.registry();
        registry
            .change_account(&actor, &name, &change)
            .await
            .unwrap();
        self.depot.refresh().await.unwrap();
    }

    /// An operator says what an account may do in its whole home; servers notice.
    pub(crate) async fn permit(&self, account: &str, rights: &str) {
        let (actor, name) = (Actor::new("operator"), account.parse().unwrap());
        let registry = self.depot.registry();
        let root = layover_depot::VirtualPath::root();
        registry
            .set_permission(&actor, &name, &root, rights.parse().unwrap())
            .await
            .unwrap();
        self.depot.refresh().await.unwrap();
    }

    /// A folder in alice's home.
    pub(crate) fn make_folder(&self, path: &str) {
        let home = self.folder.path().join("homes").join(USER);
        std::fs::create_dir(home.join(path)).unwrap();
    }

    /// Makes a published file as long as this, without writing the rest.
    pub(crate) fn stretch(&self, name: &str, size_bytes: u64) {
        let path = self.folder.path().join("homes").join(USER).join(name);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(size_bytes).unwrap();
    }

    /// What a published file holds.
    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let home = self.folder.path().join("homes").join(USER);
        std::fs::read(home.join(name)).ok()
    }

    /// The journal's entries of this action.
    pub(crate) async fn entries(&self, action: &str) -> Vec<JournalEntry> {
        let filter = JournalFilter {
            limit: 1000,
            ..JournalFilter::default()
        };
        let mut entries = self.depot.journal().query(&filter).await.unwrap();
        entries.retain(|entry| entry.action == action);
        entries
    }

    /// The same, when there are so many: those of refusals are written aside.
    pub(crate) async fn entries_of(&self, action: &str, count: usize) -> Vec<JournalEntry> {
        loop {
            let entries = self.entries(action).await;
            if entries.len() >= count {
                return entries;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Transfers of this kind were asked for, and none of them began.
    pub(crate) async fn assert_none_began(&self, action: &str) {
        let began: Vec<_> = self
            .entries_of(action, 1)
            .await
            .into_iter()
            .filter(|entry| entry.detail.get("why").is_none_or(|why| why != "not-begun"))
            .collect();
        assert!(began.is_empty(), "{began:#?}");
    }
}

async fn depot(folder: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Depot {
    let keep = Keep::from_secs(5 * 86_400).unwrap();
    let depot = Depot::open(DepotOptions {
        database_url: format!("sqlite:{}", folder.path().join("layover.db").display()),
        data_dir: folder.path().join("data"),
        homes: folder.path().join("homes"),
        fsync: Fsync::Never,
        keep,
        max_keep: keep,
        partial_keep: keep,
        checksum: layover_depot::Checksum::Off,
        hardened: false,
        gate: GateOptions::open(100),
        clock: Arc::<ManualClock>::clone(clock),
        role: Role::Server,
    })
    .await
    .unwrap();
    let (actor, registry) = (Actor::new("operator"), depot.registry());
    let entity = NewEntity {
        name: "acme".parse().unwrap(),
        keep: None,
    };
    registry.add_entity(&actor, &entity).await.unwrap();
    for name in [USER, OTHER] {
        let account = NewAccount {
            name: name.parse().unwrap(),
            entity: entity.name.clone(),
            home: None,
            networks: vec![NewNetwork {
                network: Network::Any,
                reason: None,
                until: None,
            }],
            keys: Vec::new(),
            certificates: Vec::new(),
            password: Some(Secret::new(PASSWORD)),
            protocols: Protocols::ALL,
            auth: AuthPolicy::Any,
            keep: None,
            quota_bytes: None,
            read_only: false,
            tolerant_completion: name == OTHER,
            publish_on_rename: false,
            collected_keep: None,
            session_reuse: None,
            limits: layover_depot::AccountLimits::default(),
        };
        registry.add_account(&actor, &account).await.unwrap();
    }
    depot.refresh().await.unwrap();
    depot
}

async fn listen(server: &Server, depot: &Depot, entry: Entry, tasks: &TaskTracker) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, depot, spawner) = (server.clone(), depot.clone(), tasks.clone());
    tasks.spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let slot = depot.gate().admit(peer.ip()).unwrap();
            spawner.spawn(server.serve(stream, peer, None, slot, entry));
        }
    });
    address
}

/// A control connection's client.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) config: ClientConfig,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S, config: ClientConfig) -> Self {
        Self {
            stream,
            config,
            read: Vec::new(),
        }
    }

    /// Sends these bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a command and takes the reply.
    pub(crate) async fn ask(&mut self, line: &str) -> (u16, String) {
        self.raw(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// The next reply: its code and its whole text.
    pub(crate) async fn reply(&mut self) -> (u16, String) {
        let text = timer::timeout(PATIENCE, self.read_reply()).await.unwrap();
        let code = text.get(..3).and_then(|code| code.parse().ok()).unwrap();
        (code, text)
    }

    async fn read_reply(&mut self) -> String {
        let mut text = String::new();
        loop {
            let line = self.read_line().await.expect("a reply");
            text.push_str(&line);
            let is_last = line.as_bytes().get(3) == Some(&b' ')
                && line.as_bytes().iter().take(3).all(u8::is_ascii_digit);
            if is_last {
                return text;
            }
        }
    }

    /// Nothing more comes: the server has closed the connection.
    pub(crate) async fn expect_end(&mut self) {
        let line = timer::timeout(PATIENCE, self.read_line()).await.unwrap();
        assert_eq!(line, None);
    }

    async fn read_line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=at).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Asks for a data port and connects to it.
    pub(crate) async fn data_socket(&mut self) -> TcpStream {
        let (code, text) = self.ask("EPSV").await;
        assert_eq!(code, 229, "{text}");
        let port = text.rsplit('|').nth(1).unwrap().parse().unwrap();
        TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))
            .await
            .unwrap()
    }

    /// Sends a command with a data connection, up to the connection's handshake.
    pub(crate) async fn begin(&mut self, line: &str) -> TlsStream<TcpStream> {
        let socket = self.data_socket().await;
        let (code, text) = self.ask(line).await;
        assert_eq!(code, 150, "{line}: {text}");
        tls_connect(&self.config, socket).await.unwrap()
    }

    /// Uploads, ended with close_notify.
    pub(crate) async fn put(&mut self, line: &str, content: &[u8]) -> (u16, String) {
        let mut data = self.begin(line).await;
        data.write_all(content).await.unwrap();
        data.shutdown().await.unwrap();
        self.reply().await
    }

    /// Downloads, or lists.
    pub(crate) async fn get(&mut self, line: &str) -> ((u16, String), Vec<u8>) {
        let mut data = self.begin(line).await;
        let mut content = Vec::new();
        // F10: an end without close_notify would be an error here.
        data.read_to_end(&mut content).await.unwrap();
        data.shutdown().await.unwrap();
        (self.reply().await, content)
    }
}
